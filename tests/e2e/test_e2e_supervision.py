"""Strategies that raise, hang, change or disappear: named and set aside, while the others trade on.

A real botd replays a market of the test's making, twenty candles a second, with strategies of a user's.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from botctl.client import Client
from tests.fakes.ledger_file import LedgerFile
from tests.fakes.small_world import GRID, START

CANDLES, DROP_AT = 20_000, 40

HEAD = '''"""Of a user's own."""
import pathlib, time
from decimal import Decimal
from botd.strategy.base import EventStrategy, Signals, SignalStrategy

HERE = pathlib.Path(__file__).parent
def number(open_time):
    return (open_time - {start}) // 60_000
'''

SIGNALS = '''
class Mine(SignalStrategy):
    """Calls `act` with the candle's number."""

    def warmup(self):
        return 1

    def signals(self, candles):
        n = number(int(candles.time[-1]))
        {act}
        return Signals(enter=candles.close > 0, exit=candles.close < 0)
'''

HOOKS = '''
class Mine(EventStrategy):
    """Calls `act` with the candle's number."""

    def on_candle(self, context, candle):
        n = number(candle.open_time)
        context.state["last"] = n
        {act}
'''

HANG = """if n >= {at}:
            (HERE / "{name}.hangs").touch()
            {how}"""


class Bots:
    """A botd with the test's strategies; ``ls`` by name."""

    def __init__(self, make_botd: Any, home: Path) -> None:
        self.home, self.strategies = home / "a", home / "a" / "strategies"
        self.strategies.mkdir(parents=True)
        market = home / "market.csv"
        lines = ["open_time_ms,open,high,low,close,volume"]
        for i in range(CANDLES):
            price = (100 if i < DROP_AT else 80) + (i % 10) / 10
            lines.append(f"{START + i * 60_000},{price},{price + 0.2},{price - 0.2},{price},5")
        market.write_text("\n".join(lines) + "\n")
        replay = {"source": "replay", "files": {"BTC/USDT": str(market)}, "interval": "1m", "speed": 1200}
        config = {"market": {**replay, "autoplay": False}, "risk": {"preset": "off"}, "instruments": GRID}
        self.botd = make_botd(config)

    def write(self, name: str, kind: str, act: str) -> Path:
        file = self.strategies / f"{name}.py"
        file.write_text(HEAD.format(start=START) + kind.format(act=act))
        return file

    def create(self, name: str, strategy: str = "", *more: str) -> None:
        self.botd.run(
            "create", name, "--strategy", strategy or name, "--symbol", "BTC/USDT", "--interval", "1m",
            "--capital", "1000", *more, "--start",
        )  # fmt: skip

    def ls(self) -> dict[str, Any]:
        return {row["name"]: row for row in self.botd.json("ls")}

    def until(self, condition: Callable[[dict[str, Any]], bool], timeout_s: float = 25) -> dict[str, Any]:
        """Wait until the fleet is as wanted; return it."""
        found: dict[str, Any] = {}

        def look() -> bool:
            found.update(self.ls())
            return condition(found)

        self.botd.until(look, timeout_s)
        return found


@pytest.fixture
def bots(make_botd: Any, tmp_path: Path) -> Bots:
    return Bots(make_botd, tmp_path)


def test_strategies_that_raise_are_backed_off_then_failed_and_the_others_trade_on(bots: Bots) -> None:
    bots.write("raises", SIGNALS, 'if n >= 5: raise ValueError(f"broken at {n}")')
    bots.write("once", SIGNALS, 'if n == 5: raise RuntimeError("only once")')
    bots.write("hooks", HOOKS, 'if n >= 5: raise LookupError("in the hook")')
    botd = bots.botd.start()
    bots.create("raises", "raises", "--stop-loss", "10%")
    bots.create("once")
    bots.create("hooks")
    bots.create("sound", "dca", "--set", "every=1m", "--set", "amount=20", "--set", "take_profit=0.1%")
    botd.run("market", "play")
    found = bots.until(lambda ls: ls["raises"]["state"] == ls["hooks"]["state"] == "failed")
    assert found["raises"]["note"].startswith("5 failures, last ValueError: broken at ")
    assert found["hooks"]["note"] == "5 failures, last LookupError: in the hook (hooks.py, line 16)"
    assert found["once"]["state"] == "running" and found["once"]["note"] == ""
    # Held by nobody's strategy, guarded all the same: the market falls through its stop.
    found = bots.until(lambda ls: ls["raises"]["position"] is None and ls["sound"]["trades"] > 0)
    assert [row["exit_reason"] for row in botd.json("trades", "raises")] == ["stop_loss"]
    assert found["raises"]["state"] == "failed" and found["sound"]["state"] == "running"
    assert found["once"]["position"] is not None
    waits = [
        event["data"]["reason"] for event in botd.json("events")
        if event["topic"] == "bot.state" and event["bot"] == "raises" and event["data"]["after"] == "backoff"
    ]  # fmt: skip
    assert len(waits) == 4 and all("; retry " in reason for reason in waits)
    seconds = [reason.rpartition(":")[2] for reason in waits]
    assert len(set(seconds)) > 1  # jittered: not at the same second of each minute
    health = botd.run("health", "-o", "json", check=False)
    assert health.returncode == 1 and "failing: " in health.stdout


def measure(ask: Callable[[], Any]) -> float:
    began = time.monotonic()
    ask()
    return time.monotonic() - began


def halt_seconds(bots: Bots, client: Client) -> tuple[float, float]:
    """Halt the account; return after how long it was durable, and after how long it was answered."""
    ledger = LedgerFile()
    ledger.home = bots.home
    began, answered = time.monotonic(), list[float]()
    asker = threading.Thread(target=lambda: (client.call("halt"), answered.append(time.monotonic() - began)))
    asker.start()
    while not ledger.rows("SELECT 1 FROM keyed WHERE space = 'trading_state' AND value IS NOT NULL"):
        assert time.monotonic() - began < 5
        time.sleep(0.002)
    durable = time.monotonic() - began
    asker.join()
    return durable, answered[0]


@pytest.mark.parametrize("how", ["while True: pass", "time.sleep(60)"], ids=["spins", "sleeps"])
def test_strategies_that_hang_are_quarantined_and_the_daemon_answers_meanwhile(
    bots: Bots, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bots.write("signal", SIGNALS, HANG.format(at=10, name="signal", how=how))
    bots.write("event", HOOKS, HANG.format(at=30, name="event", how=how))
    bots.write("mine", SIGNALS, "pass")
    botd = bots.botd.start()
    bots.create("signal", "signal", "--stop-loss", "10%")
    bots.create("event")
    bots.create("mine")
    botd.run("market", "play")
    client = Client(str(botd.socket))

    botd.until((bots.strategies / "signal.hangs").exists, 20)
    ls = sorted(measure(lambda: client.call("ls")) for _ in range(10))
    command_line = measure(lambda: botd.run("ls"))
    assert client.call("show", {"name": "signal"})["state"] == "running"  # it hangs still
    found = bots.until(lambda ls: ls["signal"]["state"] == "failed", 10)
    assert found["signal"]["note"] == "quarantined: the strategy did not answer within 2 s"
    assert found["signal"]["position"] is not None and found["mine"]["state"] == "running"

    botd.until((bots.strategies / "event.hangs").exists, 20)
    durable, answered = halt_seconds(bots, client)
    bots.until(lambda ls: ls["event"]["state"] == "failed", 10)
    client.call("release")
    bots.until(lambda ls: ls["signal"]["position"] is None)  # the guard goes on, and the feed with it
    found = bots.until(lambda ls: ls["mine"]["last_candle"] > "2026-01-01T00:40")
    assert found["mine"]["state"] == "running"
    client.close()
    with capsys.disabled():
        print(f"\n  {how}: ls {ls[4] * 1000:.0f} ms (worst {ls[-1] * 1000:.0f}), botctl ls {command_line:.2f} s,"
              f" halt durable {durable * 1000:.0f} ms, answered {answered * 1000:.0f} ms")  # fmt: skip
    assert ls[4] < 0.5 and command_line < 2 and durable < 1 and answered < 1


def test_a_strategy_file_that_changes_breaks_or_disappears(bots: Bots) -> None:
    mine = bots.write("mine", SIGNALS, "pass")
    bots.write("other", SIGNALS, "pass")
    gone = bots.write("gone", SIGNALS, "pass")
    botd = bots.botd.start()
    for name in ("mine", "other", "gone"):
        bots.create(name, name, "--stop-loss", "10%")
    botd.run("market", "play")
    bots.until(lambda ls: all(row["position"] for row in ls.values()))

    mine.write_text(mine.read_text() + "\n# another thought\n")
    changed = bots.until(lambda ls: ls["mine"]["last_candle"] > "2026-01-01T00:05")["mine"]
    assert changed["state"] == "running" and "file changed, the loaded code goes on" in changed["note"]
    botd.run("restart", "mine")
    assert bots.ls()["mine"]["note"] == ""
    assert "the file of strategy mine is another than before" in botd.log()

    (bots.strategies / "other.py").write_text("def signals(:\n")
    gone.unlink()
    botd.kill()
    botd.start()
    found = bots.until(lambda ls: ls["mine"]["state"] == "running")
    assert found["other"]["state"] == found["gone"]["state"] == "failed"
    assert "other.py, line 1: invalid syntax" in found["other"]["note"]
    assert "gone: no such strategy" in found["gone"]["note"]
    found = bots.until(lambda ls: ls["gone"]["position"] is None and ls["other"]["position"] is None)
    assert [row["exit_reason"] for row in botd.json("trades", "gone")] == ["stop_loss"]
    assert botd.run("start", "gone", check=False).returncode == 4
    botd.run("rm", "gone", "--yes")
    assert "gone" not in bots.ls()
    bots.write("other", SIGNALS, "pass")
    botd.run("start", "other")
    bots.until(lambda ls: ls["other"]["state"] == "running")

    bots.write("rsi", SIGNALS, "pass")
    refused = botd.run(
        "create", "shadow", "--strategy", "rsi", "--symbol", "BTC/USDT", "--interval", "1m", "--capital", "100",
        check=False,
    )  # fmt: skip
    assert refused.returncode == 5 and "has the name of a built-in" in refused.stderr
    assert "shadow" not in bots.ls()


def test_ended_twice_in_the_midst_of_a_moment_nothing_of_it_is_kept(bots: Bots) -> None:
    bots.write("event", HOOKS, HANG.format(at=10, name="event", how="time.sleep(60)"))
    botd = bots.botd.start()
    bots.create("event")
    bots.create("sound", "dca", "--set", "every=1m", "--set", "amount=20", "--set", "take_profit=5%")
    botd.run("market", "play")
    botd.until((bots.strategies / "event.hangs").exists, 20)
    botd.process.terminate()
    time.sleep(0.2)  # it waits for the moment's end
    assert botd.process.poll() is None
    botd.process.terminate()
    assert botd.process.wait(1.5) == 0
    ledger = LedgerFile()
    ledger.home = bots.home
    cursor = int(ledger.rows("SELECT value FROM keyed WHERE space = 'market' AND key = 'cursor'")[0]["value"])
    assert cursor == START + 10 * 60_000  # the moment before the one in which candle 10 closed
    for table in ("equity", "decisions"):
        assert ledger.rows(f"SELECT max(time_ms) AS last FROM {table}")[0]["last"] <= cursor
    assert len(ledger.rows("SELECT id FROM fills")) == 10
