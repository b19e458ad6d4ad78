"""A real botd and botctl: reload, dump, lists without a limit, histories of removed bots, a group, flatten, a pause."""

from __future__ import annotations

import grp
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Botd

TRADER = ("--strategy", "ema_cross", "--symbol", "BTC/USDT", "--interval", "1m", "--capital", "1000")
FAST: dict[str, Any] = {
    "market": {"symbols": ["BTC/USDT", "ETH/USDT"], "speed": 0, "seed": 3, "autoplay": False},
    "paper": {"maker_fee": "0%", "taker_fee": "0%", "slippage": "0%"},
}


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Botd]]:
    """Start daemons; all are ended after the test."""
    made: list[Botd] = []

    def start(config: dict[str, Any], socket: Path | None = None) -> Botd:
        made.append(Botd(tmp_path / str(len(made)), config))
        made[-1].socket = socket or made[-1].socket
        return made[-1].start()

    yield start
    for botd in made:
        botd.stop()


def at_candle(botd: Botd, count: int) -> None:
    """Play until the market has so many candles a symbol, then pause it."""
    botd.run("market", "play")
    botd.until(lambda: botd.json("market", "status")["candles"] >= 2 * count, 30)
    botd.run("market", "pause")


def test_lists_have_no_limit_of_their_own(make: Callable[..., Botd]) -> None:
    botd = make(FAST)
    botd.run("create", "alpha", *TRADER, "--set", "fast=2", "--set", "slow=3", "--start")
    at_candle(botd, 5_000)
    closed = botd.json("market", "status")["candles"] // 2
    every = botd.json("candles", "BTC/USDT")
    times = [row["time"] for row in every]
    assert len(times) == closed and times == sorted(set(times))  # three pages and more, nothing twice
    assert botd.json("candles", "BTC/USDT", "-n", "3") == every[-3:]
    assert botd.json("candles", "BTC/USDT", "--since", times[-2_500]) == every[-2_500:]
    assert len(botd.json("candles", "ETH/USDT", "--interval", "1h")) == closed // 60  # no bot follows it
    fills = botd.json("fills")
    assert len({row["trade_id"] for row in fills}) == len(fills) > 500  # a page has 500
    assert len(botd.json("equity", "alpha")) > 2_000


def test_what_a_removed_bot_did_stays_under_its_name(make: Callable[..., Botd]) -> None:
    botd = make(FAST)
    for name in ("gone", "kept"):
        botd.run("create", name, *TRADER, "--set", "fast=2", "--set", "slow=3", "--start")
    at_candle(botd, 300)
    botd.run("stop", "gone", "--close", "--yes")
    botd.run("market", "play")
    botd.until(lambda: botd.json("show", "gone")["position"] is None, 20)
    botd.run("market", "pause")
    before = [botd.json(verb, "gone") for verb in ("orders", "fills", "trades")]
    botd.run("rm", "gone")
    assert [botd.json(verb, "gone") for verb in ("orders", "fills", "trades")] == before
    assert all(before) and {row["bot"] for rows in before for row in rows} == {"gone"}
    assert botd.json("trades", "--symbol", "ETH/USDT") == []  # nor what is open elsewhere
    botd.run("create", "gone", *TRADER)
    assert botd.json("trades", "gone") == []  # a name used again is a new bot
    assert [row["state"] for row in botd.json("ls", "--removed") if row["name"] == "gone"] == ["created", "removed"]


def test_hup_takes_what_can_change_and_names_the_rest_and_usr1_tells_of_the_loop(make: Callable[..., Botd]) -> None:
    botd = make({"market": {"autoplay": False}, "log": {"level": "info"}})
    assert botd.process is not None
    pid = botd.process.pid
    botd.configure({"market": {"autoplay": False, "speed": 7}, "log": {"level": "debug"}, "risk": {"preset": "live"}})
    os.kill(pid, signal.SIGHUP)
    botd.until(lambda: "reloaded: changed" in botd.log(), 10)
    assert "'risk'" in botd.log() and "'log.level'" in botd.log()
    assert "needs a restart: ['market.speed']" in botd.log()
    assert {row["preset"] for row in botd.json("risk", "show")} == {"live"}
    os.kill(pid, signal.SIGUSR1)
    botd.until(lambda: "botd.app: task supervisor: " in botd.log(), 10)
    assert "botd.app: loop {'lag_ms_p50'" in botd.log()
    assert botd.run("daemon", "ping").returncode == 0


def test_a_market_that_was_paused_stands_still_after_kill_9_whatever_autoplay_says(make: Callable[..., Botd]) -> None:
    botd = make({"market": {**FAST["market"], "autoplay": True}})
    at_candle(botd, 10)
    cursor = botd.json("market", "status")["cursor"]
    botd.kill()
    botd.start()
    botd.run("wait", "--for", "health=ok", "--timeout", "20")
    status = botd.json("market", "status")
    assert (status["state"], status["cursor"]) == ("paused", cursor)
    botd.run("market", "play")
    botd.until(lambda: botd.json("market", "status")["cursor"] > cursor, 20)


def ask(socket: Path, uid: int, gid: int, also: int, cmd: str) -> str:
    """Ask as another user, who could not read this interpreter's files: everything is imported before."""
    script = (
        "import os, sys; from botctl.client import Client; from botctl.exit_codes import Fault; import zmq\n"
        f"os.setgroups([{also}]); os.setgid({gid}); os.setuid({uid})\n"
        f"try: Client({str(socket)!r}).call({cmd!r}, {{}}, 5.0); print('done')\n"
        "except Fault as fault: print(fault.exit_code, fault.message)"
    )
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30).stdout.strip()


@pytest.mark.skipif(os.geteuid() != 0, reason="other user ids need root")
def test_members_of_the_group_reach_in_and_do_what_their_role_allows(make: Callable[..., Botd]) -> None:
    door, viewers, operators = grp.getgrall()[:3]
    with tempfile.TemporaryDirectory() as place:
        os.chmod(place, 0o755)
        socket = Path(place) / "run" / "c.sock"
        names = {"group": door.gr_name, "viewers": viewers.gr_name, "operators": operators.gr_name}
        botd = make({"market": {"autoplay": False}, "control": {"socket": str(socket), **names}}, socket)
        uid = 54321
        assert ask(socket, uid, viewers.gr_gid, door.gr_gid, "ls") == "done"
        assert ask(socket, uid, viewers.gr_gid, door.gr_gid, "halt") == f"77 halt: uid {uid} may look, not operate"
        assert ask(socket, uid, operators.gr_gid, door.gr_gid, "halt") == "done"
        assert ask(socket, uid, uid, door.gr_gid, "ls") == f"77 ls: botd does not admit uid {uid}"
        assert ask(socket, uid, operators.gr_gid, operators.gr_gid, "ls").startswith("77 no permission to reach botd")
        assert botd.stop() == 0
    rows = [
        json.loads(row) for row in botd.run("audit", "export", "--config", str(botd.config_file)).stdout.splitlines()
    ]
    given = [row["entry"] for row in rows if row["kind"] == "command"]
    assert {(entry["cmd"], entry["uid"]) for entry in given} == {("halt", uid)}
    assert [entry["ok"] for entry in given][-1] is True  # the operator's; what was refused is before it, or not there


def test_flatten_halts_also_where_nothing_can_be_sold_yet(make: Callable[..., Botd]) -> None:
    nowhere = {"rest": "http://127.0.0.1:9", "stream": "ws://127.0.0.1:9", "ws_api": "ws://127.0.0.1:9/ws-api/v3"}
    botd = make({"market": {"source": "exchange"}, "endpoints": nowhere})
    done = botd.run("flatten", "--yes", check=False)
    assert done.returncode == 69 and "entries are halted, nothing is sold" in done.stderr
    assert botd.json("portfolio")["trading"] == "halted"


def test_a_reload_names_what_differs_from_what_runs_until_it_does_not(make: Callable[..., Botd]) -> None:
    botd = make(FAST)

    def reload_at(speed: int) -> list[str]:
        botd.configure({**FAST, "market": {**FAST["market"], "speed": speed}})
        return list(botd.json("daemon", "reload")["restart_needed"])

    assert reload_at(7) == ["market.speed"]
    assert reload_at(7) == ["market.speed"]  # read again: what runs is still the old one
    assert reload_at(0) == []
