"""`botctl check`, and the examination that runs before every backtest: look-ahead and short warm-up are refused."""

from __future__ import annotations

import json
import stat

import numpy as np
import pytest

from botd.domain.errors import DeniedError
from botd.strategy.base import SignalStrategy
from botd.strategy.examination import examine
from botd.strategy.registry import Registry
from botd.strategy.trust import trusted
from tests.unit.lab.conftest import Lab, csv_of

LANE = ("--symbol", "BTC/USDT", "--interval", "1m")
BUILT_IN = ("rsi", "macd", "mean_reversion", "ema_cross", "breakout")
AHEAD = {
    "shifted": "rising = np.r_[close[1:] > close[:-1], False]\nreturn Signals(rising, ~rising)",
    "centred": (
        "mean = np.convolve(close, np.ones(21) / 21, 'same')\n"
        "return Signals(close < mean * 0.998, close > mean * 1.002)"
    ),
    "normalised": "z = (close - close.mean()) / close.std()\nreturn Signals(z < -1.0, z > 1.0)",
    "by_the_end": "ready = np.arange(len(close)) >= len(close) // 10\nreturn Signals(ready & (close > 0), close < 0)",
    "future_low": (
        "low = np.array([close[k : k + 5].min() for k in range(len(close))])\nreturn Signals(close <= low, close > low)"
    ),
    "last_twice": "seen = np.r_[close[:-1], close[-2:-1]]\nreturn Signals(seen > np.median(close), seen < 0)",
}
SHORT = {
    "ema_of_hundred": "mean = talib.EMA(close, 100)\nreturn Signals(close > mean, close < mean)",
    "sum_of_all": "total = np.cumsum(np.sign(np.diff(close, prepend=close[0])))\nreturn Signals(total > 0, total < 0)",
}


@pytest.mark.parametrize("name", AHEAD)
def test_a_strategy_that_looks_ahead_is_refused_with_the_first_candle(lab: Lab, name: str) -> None:
    lab.strategy(name, AHEAD[name])
    for words in (("check", name), ("check", name, *LANE), ("backtest", name, *LANE)):
        done = lab.run(*words)
        assert (done.code, done.out) == (5, "") and "Z it says" in done.err
        assert f"strategy {name} looks ahead: at 2024-" in done.err and "hint: use candles up to the one" in done.err


@pytest.mark.parametrize("name", SHORT)
def test_a_warm_up_that_is_too_short_is_refused_and_the_remedy_named(lab: Lab, name: str) -> None:
    lab.strategy(name, SHORT[name])
    done = lab.run("backtest", name, *LANE)
    assert done.code == 5 and f"strategy {name} warms up too short: at 2024-" in done.err
    assert "over the last 50 candles" in done.err and "ema_warmup(period)" in done.err


def test_with_enough_warm_up_the_same_passes(lab: Lab) -> None:
    name = lab.strategy("patient", SHORT["ema_of_hundred"], warmup="100 + 1800")
    assert "patient  ok: window and history agree at" in lab.run("check", name).out
    assert lab.run("backtest", name, *LANE).code == 0


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_built_in_strategies_pass(lab: Lab, name: str) -> None:
    row = lab.json("check", name, *LANE)
    assert (row["result"], row["candles"], row["of"]) == ("ok", 6000, "BTC/USDT 1m") and row["compared"] > 50
    strategy = Registry.standard().load(name).build({})
    assert isinstance(strategy, SignalStrategy)
    assert examine(name, strategy, lab.candles) == row["compared"]


def test_an_event_strategy_has_nothing_to_examine(lab: Lab) -> None:
    assert lab.json("check", "grid")["result"] == "ok"


@pytest.mark.parametrize(
    ("body", "fact"),
    [
        ("return Signals(close > 1, close[1:] > 1)", "exit must be an array of 5000 booleans"),
        ("return Signals(close, close > 1)", "enter must be an array of 5000 booleans"),
        ("return close.nothing", "AttributeError"),
        ("raise SystemExit('no data')", "signals() ends the program: sys.exit('no data')"),
    ],
)
def test_what_are_no_signals_is_an_error_of_the_strategy(lab: Lab, body: str, fact: str) -> None:
    done = lab.run("check", lab.strategy("odd", body))
    assert done.code == 2 and "strategy odd" in done.err and fact in done.err


def test_the_difference_tells_what_both_say(lab: Lab) -> None:
    name = lab.strategy("shifted", AHEAD["shifted"])
    strategy = Registry.standard(lab.home / "strategies").load(name).build({})
    assert isinstance(strategy, SignalStrategy)
    with pytest.raises(DeniedError, match="says enter with the later candles known, and exit without them"):
        examine(name, strategy, lab.candles)
    assert examine(name, strategy, lab.candles.tail(0)) == 0


def test_trust_notes_the_digest_of_the_file(lab: Lab) -> None:
    name = lab.strategy("mine", "return Signals(close > np.inf, close < 0)")
    digest = lab.json("check", name, "--trust")["digest"]
    assert trusted(lab.home / "state") == {"mine": digest}
    path = lab.home / "state" / "trusted_strategies.json"
    assert json.loads(path.read_text()) == {"mine": digest} and stat.S_IMODE(path.stat().st_mode) == 0o600
    lab.strategy("ahead", AHEAD["shifted"])
    assert lab.run("check", "ahead", "--trust").code == 5 and "ahead" not in trusted(lab.home / "state")


def test_a_sweep_and_a_walk_forward_are_examined_too(lab: Lab) -> None:
    name = lab.strategy("shifted", AHEAD["shifted"])
    assert lab.run("sweep", name, *LANE, "--range", "period=5:9").code == 5
    assert lab.run("walk-forward", name, *LANE, "--range", "period=5:9", "--train", "1d", "--test", "12h").code == 5


def test_signals_are_compared_where_they_change(lab: Lab) -> None:
    """One candle in three thousand is enough to be found, when it is where a signal begins."""
    body = "high = talib.MAX(close, 40)\nfar = np.r_[close[1:], close[-1:]]\n"
    body += "return Signals((close >= high) & (far < close), np.zeros(len(close), bool))"
    name = lab.strategy("rare", body)
    assert lab.run("check", name, *LANE).code == 5
    assert np.isfinite(lab.candles.close).all()


@pytest.mark.parametrize("count", [2, 12, 50])
def test_candles_that_prove_nothing_are_refused_and_vouch_for_nothing(lab: Lab, count: int) -> None:
    lab.strategy("normalised", AHEAD["normalised"])
    (lab.home / "few.csv").write_text(csv_of(lab.candles.tail(count)))
    done = lab.run("check", "normalised", *LANE, "--data", "few.csv", "--trust")
    assert (done.code, done.out) == (2, "") and trusted(lab.home / "state") == {}
    assert f"{count} candles prove nothing of normalised, which warms up on 50" in done.err
    assert "hint: give more, or none: botctl check normalised (synthetic ones)" in done.err


def test_candles_without_a_signal_prove_nothing(lab: Lab) -> None:
    lab.strategy("normalised", AHEAD["normalised"])
    one = [line.split(",") for line in csv_of(lab.candles.tail(2000)).splitlines()]
    (lab.home / "flat.csv").write_text("\n".join(",".join([row[0], *["100"] * 5]) for row in one[1:]) + "\n")
    done = lab.run("check", "normalised", *LANE, "--data", "flat.csv", "--trust")
    assert (done.code, done.out) == (2, "") and "no signal on these 2,000 candles, which proves nothing" in done.err
