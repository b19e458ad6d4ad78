"""`create`, `apply`, `set` examine a user's strategy as `botctl check` does; with real money a changed file waits."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.binance import FrontThread, RunningClock
from tests.fakes.binance.exchange.wire import Exchange
from tests.fakes.live_daemon import HOLDER, configure, live_market, ready

HEAD = '''"""A strategy of a user's own."""
import numpy as np
import talib
from botd.strategy.base import Signals, SignalStrategy
from botd.strategy.parameters import integer

class Mine(SignalStrategy):
    """Mine."""
    period = integer(20, low=2, high=500)

    def warmup(self):
        return 50

    def signals(self, candles):
        close = candles.close
'''
PLANTED = {
    "shifted": "above = np.r_[close[1:] > close[:-1], False]",
    "centred": "above = close > np.array([close[max(0, k - 9) : k + 10].mean() for k in range(len(close))])",
    "normalised": "above = close > close.mean()",
    "by_the_end": "above = np.arange(len(close)) >= len(close) // 10",
    "last_twice": "above = close < np.r_[close[1:], close[-1:]]",
}
SOUND = "above = close > talib.SMA(close, self.period)"
SHORT = "above = close > talib.EMA(close, self.period)"
HANGS = "above = close > 0\n        while len(close) > 1: pass"
LANE = ("--symbol", "BTC/USDT", "--interval", "1m", "--capital", "1000")


@pytest.fixture
def botd(make_botd: Any) -> Any:
    daemon = make_botd({"market": {"autoplay": False}})
    (daemon.config_file.parent / "strategies").mkdir()
    return daemon


def write(botd: Any, name: str, body: str) -> Path:
    file: Path = botd.config_file.parent / "strategies" / f"{name}.py"
    file.write_text(f"{HEAD}        {body}\n        return Signals(above, ~above)\n")
    return file


def check(botd: Any, name: str, *more: str) -> Any:
    botd.environment["BOTD_CONFIG"] = str(botd.config_file)
    return botd.run("check", name, *more, check=False)


def test_what_check_refuses_is_refused_by_create_with_the_same_line(botd: Any) -> None:
    botd.start()
    for name, body in {**PLANTED, "short": SHORT}.items():
        write(botd, name, body)
        made, checked = botd.run("create", name, "--strategy", name, *LANE, check=False), check(botd, name)
        assert (made.returncode, made.stdout, checked.returncode) == (5, "", 5)
        assert made.stderr == checked.stderr and "Z it says" in made.stderr and "hint: " in made.stderr
        assert ("warms up too short: at 2024-" if name == "short" else "looks ahead: at 2024-") in made.stderr
    assert botd.json("ls") == []

    write(botd, "sound", SOUND)
    botd.run("create", "alpha", "--strategy", "sound", *LANE, "--start")
    fleet = botd.config_file.parent / "fleet.yaml"
    bot = {"symbol": "BTC/USDT", "interval": "1m", "capital": 1000}
    fleet.write_text(f"bots:\n  - {bot | {'name': 'beta', 'strategy': 'rsi'}}\n"
                     f"  - {bot | {'name': 'gamma', 'strategy': 'shifted'}}\n")  # fmt: skip
    for words in (("apply", "-f", str(fleet)), ("apply", "-f", str(fleet), "--plan")):
        refused = botd.run(*words, check=False)
        assert refused.returncode == 5 and "bot gamma: strategy shifted looks ahead: at 2024-" in refused.stderr
    refused = botd.run("set", "alpha", "strategy=short", check=False)
    assert refused.returncode == 5 and "warms up too short" in refused.stderr
    assert [(row["name"], row["strategy"], row["state"]) for row in botd.json("ls")] == [("alpha", "sound", "running")]
    botd.kill()
    botd.start()
    assert [row["name"] for row in botd.json("ls")] == ["alpha"]
    assert "Traceback" not in botd.log()


def test_a_strategy_that_hangs_is_refused_in_time_and_the_daemon_answers_meanwhile(botd: Any) -> None:
    write(botd, "hangs", HANGS)
    botd.start()
    refused: list[Any] = []
    asker = threading.Thread(
        target=lambda: refused.append(botd.run("create", "alpha", "--strategy", "hangs", *LANE, check=False))
    )
    asker.start()
    answered = 0
    while asker.is_alive():
        assert botd.json("ls") == []
        answered += 1
        time.sleep(0.1)
    assert answered > 2 and refused[0].returncode == 5
    assert "strategy hangs: its examination did not end within 8 s" in refused[0].stderr
    botd.run("create", "alpha", "--strategy", "rsi", *LANE)
    assert [row["name"] for row in botd.json("ls")] == ["alpha"]


def test_with_real_money_a_changed_file_waits_for_its_owners_word(make_botd: Any) -> None:
    with FrontThread(live_market(), clock=RunningClock(), exchange=Exchange({"USDT": "10000"})) as front:
        botd = configure(make_botd(), front).start()
        ready(botd)
        bot = ("--strategy", "holder", "--symbol", "ETH/USDT", "--interval", "1m", "--capital", "1000", "--live")
        botd.run("create", "beta", *bot, "--start")
        assert botd.stop() == 0
        file = botd.config_file.parent / "strategies" / "holder.py"
        file.write_text(HOLDER + "\n# better\n")

        botd.start()
        botd.until(lambda: botd.json("show", "beta")["state"] == "failed", 20)
        assert "is not the file that beta traded real money by" in botd.json("show", "beta")["note"]
        botd.until(lambda: "market" not in botd.run("start", "beta", check=False).stderr, 20)
        refused = botd.run("start", "beta", check=False)
        assert refused.returncode == 5 and "botctl check holder --trust" in refused.stderr
        assert check(botd, "holder").returncode == 0 and botd.run("start", "beta", check=False).returncode == 5
        trusted = check(botd, "holder", "--trust")
        assert trusted.returncode == 0 and "trusted: " in trusted.stdout
        botd.run("start", "beta")
        botd.until(lambda: botd.json("show", "beta")["state"] == "running", 20)
        assert botd.stop() == 0
        botd.start()
        botd.until(lambda: botd.json("show", "beta")["state"] in ("running", "degraded"), 30)
        assert "Traceback" not in botd.log()
