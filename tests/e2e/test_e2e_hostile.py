"""Hostile conditions: a state directory, disk, database, socket or exchange that does not play along.

Each is one clear line and the right exit code, never a traceback; what was acknowledged is still there afterwards.
"""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Botd, clean_environment
from tests.fakes.refused import BIN, refused, run_botd

RSI = ["--strategy", "rsi", "--symbol", "BTC/USDT", "--interval", "1m", "--capital", "1000"]
NOBODY: dict[str, Any] = {"user": 65534, "group": 65534, "extra_groups": []}
IS_ROOT = os.geteuid() == 0
MIB = 1 << 20
STILL = {"market": {"autoplay": False}}

as_root = pytest.mark.skipif(not IS_ROOT, reason="mounting and other user ids need root")


def refuse_start(botd: Botd, code: int, says: str, hint: str = "", **more: Any) -> None:
    """Both ways of starting tell the same, and leave nothing running."""
    arguments = ["--config", str(botd.config_file)]
    for ways in ([], ["--daemon"]):
        refused(run_botd(Path("/tmp"), *arguments, *ways, **more), code, says, hint, by="botd")
        refused(botd.run("daemon", "ping", check=False), 69, "botd is not running")


# -- the state directory


def test_a_state_directory_below_a_file_is_77(make_botd: Any) -> None:
    botd = make_botd()
    botd.state_dir.write_text("")
    refuse_start(botd, 77, "state: cannot be made: .*/state is not a directory", "choose another state_dir")
    botd.state_dir = botd.state_dir / "below"
    botd.configure({})
    refuse_start(botd, 77, "state/below: cannot be made: .*/state is not a directory", "choose another state_dir")


@as_root
def test_a_state_directory_of_somebody_else_is_77(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(folder.stat().st_mode | 0o055)
    state = tmp_path / "state"
    state.mkdir(mode=0o755)
    done = run_botd(Path("/"), "--state-dir", str(state), **NOBODY)
    refused(done, 77, f"{state}: cannot be written", "correct its owner", by="botd")
    done = run_botd(Path("/"), "--state-dir", str(state / "below"), **NOBODY)
    refused(done, 77, f"{state}/below: Permission denied", "correct its owner", by="botd")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 280 MiB: new positions are opened while 200 MiB are free."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=280m", "tmpfs", place], capture_output=True)
    if mounted.returncode:
        pytest.skip("no tmpfs can be mounted here")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


def fill_up(place: Path, leave: int = 0) -> None:
    with (place / "filler").open("ab") as file:
        found = os.statvfs(place)
        os.posix_fallocate(file.fileno(), file.tell(), max(1, found.f_bavail * found.f_frsize - leave))


@as_root
def test_a_read_only_file_system_is_77(disk: Path, make_botd: Any) -> None:
    botd = Botd(disk / "a", STILL).start()
    botd.run("create", "kept", *RSI)
    botd.stop()
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    refuse_start(botd, 77, "state(/botd.lock)?: (cannot be written|Read-only file system)", "another state_dir")
    subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
    assert botd.start().run("ls", "-o", "name").stdout == "kept\n"
    botd.stop()


@as_root
def test_a_disk_that_is_full_at_the_start_is_69_and_leaves_nothing_in_the_way(disk: Path) -> None:
    botd = Botd(disk / "a", STILL)
    fill_up(disk)
    refuse_start(botd, 69, "botd.lock: the disk is full", "free space there")
    (disk / "filler").unlink()
    botd.start().run("create", "kept", *RSI)
    botd.stop()
    fill_up(disk)
    refuse_start(botd, 69, "the disk is full", "free space there")
    (disk / "filler").unlink()
    assert botd.start().run("ls", "-o", "name").stdout == "kept\n"
    botd.stop()


@as_root
def test_a_disk_that_fills_up_denies_entries_and_loses_nothing(disk: Path) -> None:
    market = {"symbols": ["BTC/USDT", "ETH/USDT"], "speed": 3000}
    botd = Botd(disk / "a", {"market": market, "risk": {"preset": "off"}}).start()
    often = ["--set", "period=3", "--set", "oversold=49", "--set", "overbought=51"]
    botd.run("create", "busy", *RSI, *often, "--start")
    botd.until(lambda: len(botd.json("trades", "busy")) > 5, 20)
    before = [row["trade_id"] for row in botd.json("fills")]
    fill_up(disk, leave=100 * MIB)  # low: still written, nothing opened
    botd.until(lambda: ledger_check(botd)["status"] == "failed", 10)
    assert ledger_check(botd)["detail"].endswith("disk critical")
    botd.until(lambda: botd.json("show", "busy")["position"] is None, 20)
    botd.until(lambda: gates(botd).get("readiness") == "not ready: ledger", 20)
    denied = botd.json("orders", "--status", "denied")
    assert denied and {row["reason"] for row in denied} == {"NOT_READY"}
    (disk / "filler").unlink()
    held = len(botd.json("trades", "busy"))
    botd.until(lambda: len(botd.json("trades", "busy")) > held + 2, 20)
    fill_up(disk)
    botd.until(lambda: botd.run("health", check=False).returncode == 1 and "disk is full" in botd.log(), 20)
    for arguments in (["daemon", "ping"], ["ls"], ["show", "busy"], ["portfolio"], ["fills"], ["market", "status"]):
        assert botd.run(*arguments).stderr == ""
    assert "disk is full" in ledger_check(botd)["detail"]
    refused(botd.run("create", "later", *RSI, check=False), 69, "the disk is full", "nothing is lost")
    refused(botd.run("halt", "--timeout", "5", check=False), 69, "the disk is full", "nothing is lost")
    (disk / "filler").unlink()
    botd.until(lambda: ledger_check(botd)["status"] != "failed", 20)
    assert botd.run("release").stdout == "account  halted -> active\n"
    assert botd.run("create", "later", *RSI).stdout.startswith("later  unchanged")
    fills = botd.json("fills")
    assert [row["trade_id"] for row in fills][: len(before)] == before
    assert botd.run("backup", "--verify").stdout.rstrip().endswith("verified")
    botd.kill()
    botd.start()
    again = [row["trade_id"] for row in botd.json("fills")]
    assert again[: len(fills)] == [row["trade_id"] for row in fills]
    assert len(set(again)) == len(again)
    assert "Traceback" not in botd.log()
    botd.stop()


def ledger_check(botd: Botd) -> dict[str, str]:
    health = json.loads(botd.run("health", "-o", "json", check=False).stdout)
    return next(check for check in health["checks"] if check["name"] == "ledger")


def gates(botd: Botd) -> dict[str, str]:
    return {gate["gate"]: gate["detail"] for gate in botd.json("why", "busy")["gates"]}


# -- the database


def test_a_database_that_does_not_fit_is_78(make_botd: Any) -> None:
    botd = make_botd(STILL).start()
    botd.run("create", "kept", *RSI)
    assert botd.stop() == 0
    ledger = botd.state_dir / "ledger.db"
    good = ledger.read_bytes()

    def refuse(says: str, hint: str = "put a copy made by `botctl backup` in its place") -> None:
        refuse_start(botd, 78, says, hint)
        ledger.write_bytes(good)

    with sqlite3.connect(ledger) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    refuse("schema version 99, this botd knows versions up to 1", "install the newer botd again")
    ledger.write_bytes(b"hello, I am no database\n" * 100)
    refuse("damaged or not a ledger")
    ledger.write_bytes(good[: len(good) // 2])
    refuse("damaged or not a ledger")
    ledger.write_bytes(good[:5000] + b"\xff" * 3000 + good[8000:])
    refuse("damaged or not a ledger")
    ledger.unlink()
    with sqlite3.connect(ledger) as connection:
        connection.execute("CREATE TABLE mine (x)")
    connection.close()
    refuse("is a database of another program", "use another state_dir")
    ledger.unlink()
    ledger.mkdir()
    refuse_start(botd, 77, "ledger.db cannot be opened")
    ledger.rmdir()
    ledger.write_bytes(good)
    assert botd.start().run("ls", "-o", "name").stdout == "kept\n"


def test_the_ledger_of_another_world_is_78_and_names_both(make_botd: Any) -> None:
    botd = make_botd(STILL).start()
    assert botd.stop() == 0
    for market, has, wants in (
        ({"seed": 2}, "market.seed=1", "market.seed=2"),
        ({"symbols": ["BTC/USDT"]}, r'market.symbols=\["BTC/USDT","ETH/USDT"\]', r'market.symbols=\["BTC/USDT"\]'),
        ({"source": "exchange"}, 'market.source="synthetic"', 'market.source="exchange"'),
    ):
        botd.configure({"market": market})
        says = f"another world: the ledger has .*{has}.*, the configuration has .*{wants}"
        refuse_start(botd, 78, says, "another world wants another state_dir")
    botd.configure(STILL)
    botd.start()


# -- the socket


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Botd]:
    """One daemon whose market stands still, with one bot."""
    running = Botd(tmp_path_factory.mktemp("still"), STILL).start()
    running.run("create", "kept", *RSI)
    yield running
    assert running.run("ls", "-o", "name").stdout == "kept\n"
    running.stop()


@as_root
def test_a_user_who_may_not_is_77(still: Botd) -> None:
    def ask() -> subprocess.CompletedProcess[str]:
        command = [BIN / "botctl", "--endpoint", str(still.socket), "ls"]
        return subprocess.run(command, env=clean_environment(), capture_output=True, text=True, cwd="/", **NOBODY)

    refused(ask(), 77, "no permission to reach botd", "run as its owner or join its group")
    opened = [still.socket, *still.socket.parents[:-2]]
    modes = {path: path.stat().st_mode & 0o777 for path in opened}
    try:
        for path in opened:  # even where the file system lets them through, the daemon asks who they are
            path.chmod(0o777)
        refused(ask(), 77, "uid 65534")
    finally:
        for path, mode in modes.items():
            path.chmod(mode)


def test_a_socket_left_behind_is_69_and_a_missing_one_too(still: Botd, tmp_path: Path) -> None:
    path = tmp_path / "s"
    gone = socket.socket(socket.AF_UNIX)
    gone.bind(str(path))
    gone.close()
    for endpoint, says in ((path, "left behind by a botd that was killed"), (tmp_path / "no", "no such socket")):
        done = still.run("--endpoint", str(endpoint), "ls", check=False)
        refused(done, 69, f"{endpoint}: {says}", "botctl daemon start")
    (tmp_path / "file").write_text("")
    refused(still.run("--endpoint", str(tmp_path / "file"), "ls", check=False), 69, "botd is not running")


def test_a_path_that_is_too_long_is_78(still: Botd, tmp_path: Path) -> None:
    long = tmp_path / ("x" * 110) / "control.sock"
    refused(still.run("--endpoint", str(long), "ls", check=False), 78, "longer than the 107 bytes", "shorter")
    done = run_botd(tmp_path, "--state-dir", str(long.parent))
    refused(done, 78, "too long for a socket path .at most 107", "choose a shorter state_dir", by="botd")
    assert not long.parent.exists()


def test_a_second_daemon_is_75_and_names_the_first(still: Botd, tmp_path: Path) -> None:
    pid = still.json("daemon", "status")["pid"]
    again = ["--config", str(still.config_file)]
    other = tmp_path / "b.yaml"
    other.write_text(f"state_dir: {tmp_path}/state\ncontrol: {{socket: {still.socket}, events: {tmp_path}/e}}\n")
    for ways in ([], ["--daemon"]):
        done = run_botd(tmp_path, *again, *ways)
        refused(done, 75, rf"another botd \(pid {pid}\) holds .*botd\.lock", "botctl daemon status", by="botd")
        done = run_botd(tmp_path, "--config", str(other), *ways)
        refused(done, 75, rf"another botd \(pid {pid}\) holds .*control\.sock\.lock", by="botd")
    assert still.run("ls", "-o", "name").stdout == "kept\n"


def test_after_kill_9_the_next_one_takes_over_without_cleaning(make_botd: Any) -> None:
    botd = make_botd(STILL).start()
    botd.run("create", "kept", *RSI)
    botd.kill()
    refused(botd.run("ls", check=False), 69, "left behind by a botd that was killed", "botctl daemon start")
    assert botd.run("daemon", "status", check=False).returncode == 3
    assert botd.start().run("ls", "-o", "name").stdout == "kept\n"


# -- switches and keys


def test_disabled_bots_can_be_read_and_not_moved(make_botd: Any) -> None:
    botd = make_botd(STILL).start()
    botd.run("create", "kept", *RSI, "--start")
    botd.stop()
    botd.environment["BINANCE_ENABLE_BOTS"] = "false"
    botd.start()
    (botd.config_file.parent / "f.yaml").write_text(botd.run("export").stdout)
    fleet = str(botd.config_file.parent / "f.yaml")
    for arguments in (
        *(["create", "new", *RSI], ["set", "kept", "period=9"], ["apply", "-f", fleet]),
        *([verb, "kept"] for verb in ("start", "stop", "restart", "pause", "resume", "rm", "close")),
        *(["start-all"], ["stop-all"], ["flatten", "--yes"]),
    ):
        done = botd.run(*arguments, check=False)
        refused(done, 69, "bots are disabled", "unset BINANCE_ENABLE_BOTS or set enable_bots: true")
    for verb in ("ls", "stats", "portfolio", "orders", "fills", "trades", "positions", "equity", "prices", "symbols"):
        assert botd.run(verb).returncode == 0
    shown = botd.json("show", "kept")
    assert (shown["desired"], shown["note"]) == ("running", "bots are disabled")
    assert botd.run("halt").stdout == "account  active -> halted\n"  # the kill switch always works
    assert botd.run("release").returncode == 0
    health = botd.run("health", check=False)
    assert health.returncode == 1 and "disabled" in health.stdout
    botd.stop()
    del botd.environment["BINANCE_ENABLE_BOTS"]
    botd.start()
    botd.until(lambda: botd.json("show", "kept")["state"] == "running", 10)


def test_a_live_bot_without_a_key_stays_stopped(still: Botd) -> None:
    made = still.run("create", "real", *RSI, "--live", "--start", check=False)
    shown = still.json("show", "real")
    assert (shown["mode"], shown["state"], shown["desired"], shown["note"]) == ("live", "stopped", "stopped", "no key")
    assert "no key" in made.stdout + made.stderr and "Traceback" not in made.stderr
    done = still.run("start", "real", check=False)
    refused(done, 5, "real: no key", "never runs on paper instead")
    still.run("rm", "real")


@pytest.fixture(scope="module")
def closed_port() -> int:
    """A port of the loopback where nobody listens."""
    with socket.socket() as stream:
        stream.bind(("127.0.0.1", 0))
        return int(stream.getsockname()[1])


def out_of_reach(port: int) -> dict[str, Any]:
    endpoints = {"rest": f"http://127.0.0.1:{port}", "stream": f"ws://127.0.0.1:{port}"}
    return {"market": {"source": "exchange"}, "endpoints": endpoints}


def test_an_exchange_out_of_reach_leaves_a_daemon_that_answers(make_botd: Any, closed_port: int) -> None:
    botd = make_botd({**out_of_reach(closed_port), "mode": "live"})
    botd.environment |= {"BINANCE_API_KEY": "k" * 64, "BINANCE_API_SECRET": "s" * 64, "BINANCE_TEST_MODE": "true"}
    began = time.monotonic()
    botd.start()
    assert time.monotonic() - began < 5  # READY does not wait for the exchange
    assert botd.json("daemon", "status")["mode"] == "paper"  # BINANCE_TEST_MODE forces it
    botd.until(lambda: "binance" in market_check(botd)["detail"], 20)
    assert market_check(botd)["status"] == "degraded"
    assert botd.run("wait", "--for", "health=degraded", "--timeout", "5").returncode == 0
    refused(botd.run("create", "a", *RSI, check=False), 69, "market: not ready", "it keeps trying")
    refused(botd.run("candles", "BTC/USDT", check=False), 69, "market: not ready", "it keeps trying")
    assert botd.json("ls") == [] and botd.json("portfolio")["bots"] == 0
    assert botd.run("halt").stdout == "account  active -> halted\n"
    refused(botd.run("market", "play", check=False), 69, "cannot be played")
    assert "k" * 64 not in botd.log() + botd.run("daemon", "status", "-o", "json").stdout
    assert "Traceback" not in botd.log()
    assert botd.stop() == 0


def market_check(botd: Botd) -> dict[str, str]:
    health = json.loads(botd.run("health", "-o", "json", check=False).stdout)
    return next(check for check in health["checks"] if check["name"] == "market")


def test_test_mode_false_alone_never_makes_live(make_botd: Any) -> None:
    botd = make_botd(STILL)
    botd.environment["BINANCE_TEST_MODE"] = "false"
    assert botd.start().json("daemon", "status")["mode"] == "paper"
    botd.stop()
    botd.environment["BINANCE_TEST_MODE"] = "maybe"
    done = run_botd(Path("/"), "--config", str(botd.config_file), env={"BINANCE_TEST_MODE": "maybe"})
    refused(done, 78, r"\$BINANCE_TEST_MODE: .*'maybe'", by="botd")
