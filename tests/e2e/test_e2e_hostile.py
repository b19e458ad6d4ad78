"""Hostile conditions: a state directory, database, socket or exchange that does not play along.

Each is one clear line and the right exit code, never a traceback; what was acknowledged is still there afterwards.
"""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Botd, clean_environment
from tests.fakes.refused import refuse_both_starts, refuse_start, refused, run_botd

RSI = ["--strategy", "rsi", "--symbol", "BTC/USDT", "--interval", "1m", "--capital", "1000"]
IS_ROOT = os.geteuid() == 0
STILL = {"market": {"autoplay": False}}

as_root = pytest.mark.skipif(not IS_ROOT, reason="mounting and other user ids need root")


def as_nobody(program: str, *arguments: str, home: str = "/nonexistent") -> subprocess.CompletedProcess[str]:
    """Run botd or botctl as another user, who may not even be able to read this interpreter's files."""
    loads = "import os, sys, difflib, botd.app, botd.daemonize, botd.offline, botctl.cli, botctl.commands.inspect, zmq"
    drops = "os.setgroups([]); os.setgid(65534); os.setuid(65534)"
    runs = f"sys.argv[0] = {program!r}; import {program}.cli; {program}.cli.main()"
    command = [sys.executable, "-c", f"{loads}; {drops}; {runs}", *arguments]
    environment = {**clean_environment(), "HOME": home}
    return subprocess.run(command, env=environment, capture_output=True, text=True, cwd="/", timeout=30)


# -- the state directory


def test_a_state_directory_below_a_file_is_77(make_botd: Any) -> None:
    botd = make_botd()
    botd.state_dir.write_text("")
    refuse_both_starts(botd, 77, "state: cannot be made: .*/state is not a directory", "choose another state_dir")
    botd.state_dir = botd.state_dir / "below"
    botd.configure({})
    refuse_start(botd, 77, "state/below: cannot be made: .*/state is not a directory", "choose another state_dir")


def test_a_log_that_cannot_be_written_is_77(make_botd: Any) -> None:
    botd = make_botd({"log": {"file": "/proc/nope/botd.log"}})
    refuse_both_starts(botd, 77, "/proc/nope/botd.log: No such file", "see log.file")


@as_root
def test_a_state_directory_of_somebody_else_is_77() -> None:
    with tempfile.TemporaryDirectory() as name:
        state = Path(name)
        state.chmod(0o755)
        done = as_nobody("botd", "--state-dir", name)
        refused(done, 77, f"{state}: cannot be written", "correct its owner", by="botd")
        done = as_nobody("botd", "--state-dir", f"{name}/below")
        refused(done, 77, f"{state}/below: Permission denied", "correct its owner", by="botd")
        assert list(state.iterdir()) == []
        state.chmod(0o700)  # sudo keeps a HOME that the user may not look into: what stands there is not overlooked
        done = as_nobody("botd", "--state-dir", f"{name}/below", home=name)
        refused(done, 78, r"\.config/botd/botd\.yaml: cannot be read: Permission denied", "set HOME", by="botd")


# -- the database


def test_a_database_that_does_not_fit_is_78(make_botd: Any) -> None:
    botd = make_botd(STILL).start()
    botd.run("create", "kept", *RSI)
    assert botd.stop() == 0
    ledger = botd.state_dir / "ledger.db"
    good = ledger.read_bytes()

    def refuse(
        says: str, hint: str = "put a copy made by `botctl backup` in its place", how: Any = refuse_start
    ) -> None:
        how(botd, 78, says, hint)
        ledger.write_bytes(good)

    with sqlite3.connect(ledger) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    refuse("schema version 99, this botd knows versions up to 2", "install the newer botd again", refuse_both_starts)
    ledger.write_bytes(b"hello, I am no database\n" * 100)
    refuse("damaged or not a ledger")
    ledger.write_bytes(good[: len(good) // 2])
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
        ({"source": "exchange"}, "a synthetic market", "exchange binance"),
    ):
        botd.configure({"market": market})
        says = f"another world: the ledger is of .*{has}.*, the configuration says .*{wants}"
        refuse_start(botd, 78, says, "another world wants another state_dir")
    botd.configure(STILL)
    botd.start()


# -- the socket


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Botd]:
    """One daemon whose market stands still, with one bot."""
    running = Botd(tmp_path_factory.mktemp("still"), STILL)
    try:
        running.start().run("create", "kept", *RSI)
        yield running
        assert running.run("ls", "-o", "name").stdout == "kept\n"
    finally:
        running.stop()


@as_root
def test_a_user_who_may_not_is_77(make_botd: Any) -> None:
    with tempfile.TemporaryDirectory() as name:
        botd = make_botd({**STILL, "control": {"socket": f"{name}/c", "events": f"{name}/e"}})
        botd.socket = Path(name) / "c"
        botd.start()
        done = as_nobody("botctl", "--endpoint", str(botd.socket), "ls")
        refused(done, 77, "no permission to reach botd", "run as its owner or join its group")
        for path in (Path(name), botd.socket):  # who gets past the file system is asked by the daemon
            path.chmod(0o777)
        done = as_nobody("botctl", "--endpoint", str(botd.socket), "ls")
        refused(done, 77, "uid 65534")
        assert botd.run("ls").returncode == 0
        assert botd.stop() == 0


def test_a_socket_left_behind_is_69_and_a_missing_one_too(still: Botd, tmp_path: Path) -> None:
    path = tmp_path / "s"
    gone = socket.socket(socket.AF_UNIX)
    gone.bind(str(path))
    gone.close()
    for endpoint, says in ((path, "nobody listens there .left behind by a botd"), (tmp_path / "no", "no such socket")):
        done = still.run("--endpoint", str(endpoint), "ls", check=False)
        refused(done, 69, f"{endpoint}: {says}", "botctl daemon start")
    (tmp_path / "file").write_text("")
    refused(still.run("--endpoint", str(tmp_path / "file"), "ls", check=False), 69, "not a socket")


def test_a_socket_whose_owner_is_silent_is_75(still: Botd, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "s"))
        silent.listen()
        done = still.run("--endpoint", str(tmp_path / "s"), "--timeout", "300ms", "ls", check=False)
        refused(done, 75, "ls: no answer within 0.3 s", "look before you repeat it")


def test_what_is_no_socket_is_never_replaced_by_one(make_botd: Any) -> None:
    botd = make_botd()
    botd.state_dir.mkdir()
    for name in ("control.sock", "events.sock"):
        (botd.state_dir / name).write_text("mine")
        refuse_start(botd, 78, f"{name}: there is a file that is no socket", "choose another path")
        assert (botd.state_dir / name).read_text() == "mine"
        (botd.state_dir / name).unlink()


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
        *([verb, "kept"] for verb in ("start", "stop", "pause", "resume", "rm", "close")),
        *(["stop-all"], ["flatten", "--yes"]),
    ):
        done = botd.run(*arguments, check=False)
        refused(done, 69, "bots are disabled", "unset BINANCE_ENABLE_BOTS or set enable_bots: true")
    for verb in ("ls", "stats", "portfolio", "orders", "trades", "prices"):
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
    botd.until(lambda: f"127.0.0.1:{closed_port}" in botd.health_check("market")["detail"], 20)
    assert botd.health_check("market")["status"] == "degraded"
    assert botd.run("wait", "--for", "health=degraded", "--timeout", "5").returncode == 0
    refused(botd.run("create", "a", *RSI, check=False), 69, "market: not ready", "it keeps trying")
    refused(botd.run("candles", "BTC/USDT", check=False), 69, "market: not ready", "it keeps trying")
    assert botd.json("ls") == [] and botd.json("portfolio")["bots"] == 0
    assert botd.run("halt").stdout == "account  active -> halted\n"
    refused(botd.run("market", "play", check=False), 69, "cannot be played")
    assert "WARN  botd.health: market: " in botd.log()
    assert "k" * 64 not in botd.log() + botd.run("daemon", "status", "-o", "json").stdout
    assert "Traceback" not in botd.log()
    assert botd.stop() == 0


def test_test_mode_false_alone_never_makes_live(make_botd: Any) -> None:
    botd = make_botd(STILL)
    botd.environment["BINANCE_TEST_MODE"] = "false"
    assert botd.start().json("daemon", "status")["mode"] == "paper"
    botd.stop()
    botd.environment["BINANCE_TEST_MODE"] = "maybe"
    done = run_botd(Path("/"), "--config", str(botd.config_file), env={"BINANCE_TEST_MODE": "maybe"})
    refused(done, 78, r"\$BINANCE_TEST_MODE: .*'maybe'", by="botd")
