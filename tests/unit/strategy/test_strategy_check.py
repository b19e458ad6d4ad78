"""Look-ahead and short warm-up are found, at the first candle that differs; the catalogue passes on every file."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import talib

from botd.backtest.history import from_file
from botd.domain.candles import Candles
from botd.domain.clock import rfc3339
from botd.domain.errors import DeniedError
from botd.strategy.base import Signals, SignalStrategy
from botd.strategy.check import first_difference
from botd.strategy.examination import examine
from botd.strategy.registry import Registry

DATA = Path(os.environ.get("BOTD_TEST_DATA", Path(__file__).parents[4] / "shared" / "data")) / "ohlcv"
FILES = sorted(DATA.glob("*.csv.gz")) if DATA.is_dir() else []
Flags = Any


def shifted(close: Any) -> Flags:
    """The next candle's rise: pandas' shift(-1)."""
    return np.append(close[1:] > close[:-1], False)


def centred(close: Any) -> Flags:
    """A mean of two candles before and two after."""
    return close > np.array([close[max(0, k - 2) : k + 3].mean() for k in range(len(close))])


def normalised(close: Any) -> Flags:
    """The whole sample's mean and deviation."""
    return (close - close.mean()) / close.std() > 0


def warmed_by_length(close: Any) -> Flags:
    """As long a warm-up as there are candles to come."""
    flags = np.diff(close, prepend=np.nan) > 0
    flags[: len(close) // 4] = False
    return flags


def last_read_twice(close: Any) -> Flags:
    """The next candle, and at the end the last one twice."""
    return close < np.append(close[1:], close[-1])


class Planted(SignalStrategy):
    """Enters where a function of the closes says so."""

    def __init__(self, enter: Callable[[Any], Flags], warmup: int = 20) -> None:
        super().__init__()
        self._enter, self._warmup = enter, warmup

    def warmup(self) -> int:
        return self._warmup

    def signals(self, candles: Candles) -> Signals:
        enter = self._enter(candles.close)
        return Signals(enter=enter, exit=~enter)


def walk(count: int = 400) -> Candles:
    close = np.round(100 + np.cumsum(np.random.default_rng(3).normal(0, 0.1, count)), 2)
    time = 1_704_067_200_000 + np.arange(count, dtype=np.int64) * 60_000
    return Candles("1m", time, close, close + 0.05, close - 0.05, close, np.ones(count))


MARKET = walk()
RISES = np.append(MARKET.close[1:] > MARKET.close[:-1], False)
FIRST_RISE = int(np.argmax(RISES))  # what is known there says no, the planted one, which knows more, yes
AHEAD = (shifted, last_read_twice, centred, normalised, warmed_by_length)


def first_by_hand(strategy: Planted) -> int:
    """The first candle at which all candles up to it say something else than the whole history."""
    whole = strategy.signals(MARKET).enter
    for bar in range(len(MARKET)):
        known = MARKET.close[max(0, bar + 1 - strategy.warmup()) : bar + 1]
        with np.errstate(invalid="ignore", divide="ignore"):
            if bool(strategy._enter(known)[-1]) != bool(whole[bar]):
                return bar
    raise AssertionError("it does not look ahead")


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("planted", AHEAD, ids=lambda planted: planted.__name__)
def test_look_ahead_is_refused_with_a_candle_that_differs(planted: Callable[[Any], Flags]) -> None:
    strategy = Planted(planted)
    found = first_difference(strategy, MARKET, range(len(MARKET)))
    assert found is not None and found.bar == first_by_hand(strategy)
    assert found.history != found.window
    with pytest.raises(DeniedError) as caught:
        examine("planted", strategy, MARKET)
    assert "strategy planted looks ahead: at 2024-01-01T" in caught.value.message
    assert "shift(-1)" in caught.value.hint


@pytest.mark.parametrize(("planted", "bar"), [(shifted, FIRST_RISE), (last_read_twice, FIRST_RISE)])
def test_the_first_candle_that_differs_is_the_first_that_knows_too_much(
    planted: Callable[[Any], Flags], bar: int
) -> None:
    found = first_difference(Planted(planted), MARKET, range(len(MARKET)))
    assert found is not None and (found.bar, found.history, found.window) == (bar, (True, False), (False, True))


def test_a_warm_up_that_is_too_short_is_refused_with_its_length() -> None:
    strategy = Planted(lambda close: np.nan_to_num(talib.EMA(close, 30), nan=1e9) < close, warmup=31)
    found = first_difference(strategy, MARKET, range(len(MARKET)))
    assert found is not None and found.bar == first_by_hand(strategy)
    with pytest.raises(DeniedError, match=r"strategy short warms up too short: at .* over the last 31 candles"):
        examine("short", strategy, MARKET)


def test_a_strategy_that_looks_back_far_enough_passes() -> None:
    assert examine("mean", Planted(lambda close: close > talib.SMA(close, 20)), MARKET) > 50


def named(strategy: SignalStrategy, rows: Candles = MARKET) -> tuple[int, str]:
    """The candle that a refusal names, and its words."""
    with pytest.raises(DeniedError) as caught:
        examine("planted", strategy, rows)
    bars = [bar for bar in range(len(rows)) if rfc3339(int(rows.time[bar])) in caught.value.message]
    assert len(bars) == 1
    return bars[0], caught.value.message


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("planted", AHEAD, ids=lambda planted: planted.__name__)
def test_the_candle_named_is_the_first_that_differs(planted: Callable[[Any], Flags]) -> None:
    bar, words = named(Planted(planted))
    assert bar == first_by_hand(Planted(planted)) and "looks ahead" in words


@pytest.mark.parametrize("begin", [57, 130, 211])
def test_the_first_candle_is_named_also_where_it_is_none_of_those_asked_first(begin: int) -> None:
    """Only rises of the next candle after a long quiet are looked ahead at: the first is found by asking all."""

    def late(close: Any) -> Flags:
        flags = np.append(close[1:] > close[:-1], False)
        flags[:begin] = False
        return flags

    by_hand = first_by_hand(Planted(late, warmup=400))
    assert by_hand >= begin and named(Planted(late, warmup=400))[0] == by_hand


def test_the_first_candle_of_a_short_warm_up_is_named() -> None:
    strategy = Planted(lambda close: np.nan_to_num(talib.EMA(close, 30), nan=1e9) < close, warmup=31)
    bar, words = named(strategy)
    assert bar == first_by_hand(strategy) and "warms up too short" in words


def test_of_a_strategy_that_looks_ahead_a_short_warm_up_is_not_named() -> None:
    """Its windows differ from candle 10 on, for the sum goes back to the beginning; it looks ahead from 200 on."""

    def both(close: Any) -> Flags:
        rising = np.append(close[1:] > close[:-1], False)
        total = np.cumsum(np.sign(np.diff(close, prepend=close[0]))) > 0
        return np.where(np.arange(len(close)) + (close[0] != MARKET.close[0]) * 400 >= 200, rising, total)

    bar, words = named(Planted(both, warmup=10))
    assert "looks ahead" in words and bar == 200 + int(np.argmax(RISES[200:]))


def test_where_so_few_candles_make_the_code_fail_there_is_nothing_to_name() -> None:
    bar, words = named(Planted(lambda close: close > np.convolve(close, np.ones(21) / 21, "same")))
    assert "looks ahead" in words and bar >= 20


def test_there_are_recorded_files() -> None:
    if not FILES:
        pytest.skip(f"no recorded candles in {DATA}; set BOTD_TEST_DATA")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name.removesuffix(".csv.gz"))
def test_the_catalogue_passes_on_every_recorded_file(path: Path) -> None:
    """Grid and dca place their own orders, candle by candle: there is nothing that they could see too early."""
    rows = from_file(path, "ABC/USDT", path.name.split("-")[1]).candles
    registry, examined = Registry.standard(), set()
    for info in map(registry.load, registry.names()):
        if not issubclass(info.cls, SignalStrategy):
            continue
        strategy = info.build({})
        assert isinstance(strategy, SignalStrategy)
        assert examine(info.name, strategy, rows) > 10
        examined.add(info.name)
    assert examined == {"rsi", "macd", "mean_reversion", "ema_cross", "breakout"}
