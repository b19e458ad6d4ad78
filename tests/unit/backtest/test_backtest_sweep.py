"""A sweep gives what single backtests give, and computes what is the same once."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import talib

import botd.backtest.sweep
from botd.backtest import indicators as room
from botd.backtest.history import from_candles
from botd.backtest.indicators import Indicators, remembering
from botd.backtest.run import backtest
from botd.backtest.sweep import Set, outcomes, sweep
from botd.backtest.terms import Terms
from botd.domain.candles import Candles
from botd.domain.clock import VirtualClock
from botd.domain.errors import InvalidError
from botd.strategy.registry import Registry, StrategyInfo

BTC = "BTC/USDT"
TERMS = (Terms(), Terms(stop_loss=Decimal("0.01"), atr_stop=Decimal(2)), Terms(trailing_stop=Decimal("0.01")))
OWN = '''
import talib as ta
from talib import SMA

from botd.strategy.base import Signals, SignalStrategy
from botd.strategy.parameters import integer


class Own(SignalStrategy):
    """Both ways to name a function, an average of an average, and one of an array of its own."""

    period = integer(5, low=2, high=50)

    def warmup(self):
        return 200

    def signals(self, candles):
        smooth = ta.EMA(SMA(candles.close, 5), timeperiod=self.period)
        own = ta.EMA(candles.close * 1.0, 9)
        {more}
        return Signals(enter=smooth > own, exit=smooth < own)
'''


def own(directory: Path, more: str = "") -> StrategyInfo:
    (directory / "own.py").write_text(OWN.replace("{more}", more))
    return Registry(directory).load("own")


def alone(rows: Candles, info: StrategyInfo, one: Set) -> dict[str, Any]:
    strategy: Any = info.build(one.params)
    return backtest(from_candles(rows, BTC), info.name, strategy, one.terms, VirtualClock()).statistics


@pytest.mark.parametrize(("threads", "rows"), [(1, 1), (3, 4 * 5000), (2, 500_000)])
@pytest.mark.parametrize("name", ["rsi", "macd", "mean_reversion", "ema_cross", "breakout"])
def test_every_set_gives_what_it_gives_alone_to_the_last_bit(
    candles: Candles, name: str, threads: int, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(botd.backtest.sweep, "BATCH_ROWS", rows)
    info = Registry.standard().load(name)
    parameter = next(iter(info.parameters))
    sets = [Set({parameter: value}, terms) for value in (9, 12, 20) for terms in TERMS]
    swept = sweep(from_candles(candles, BTC), info, sets, threads=threads)
    assert [outcome.set for outcome in swept] == sets
    assert [outcome.statistics for outcome in swept] == [alone(candles, info, one) for one in sets]
    assert len({str(outcome.statistics) for outcome in swept}) == len(sets)


def test_distinct_indicators_are_computed_once(
    candles: Candles, rsi: StrategyInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: Counter[tuple[Any, ...]] = Counter()

    def counted(self: Indicators, function: Any, args: Any, options: Any, call: Any = Indicators._call) -> Any:
        def told(*given: Any, **more: Any) -> Any:
            calls[function.__name__, *(value for value in given if isinstance(value, int))] += 1
            return function(*given, **more)

        told.__name__ = function.__name__
        return call(self, told, args, options)

    monkeypatch.setattr(Indicators, "_call", counted)
    sets = [Set({"period": period, "oversold": low}) for period in (7, 14) for low in range(20, 40)]
    sweep(from_candles(candles, BTC), rsi, sets, threads=3)
    assert calls == {("RSI", 7): 1, ("RSI", 14): 1, ("moving", 35): 1, ("moving", 70): 1}


def test_a_page_of_the_users_shares_what_it_computes_of_the_candles(candles: Candles, tmp_path: Path) -> None:
    info = own(tmp_path)
    memory = Indicators(candles)
    with remembering(info.cls, memory):
        for period in (5, 9, 5, 9):
            strategy: Any = info.build({"period": period})
            strategy.signals(candles)
    # One SMA and two EMAs of it; the EMA of an array of its own goes through and is nobody else's.
    assert (memory.computed, memory.asked) == (3, 8)
    page = info.cls.signals.__globals__
    assert page["ta"] is talib and page["SMA"] is talib.SMA
    sets = [Set({"period": period}) for period in (5, 9, 20)]
    swept = sweep(from_candles(candles, BTC), info, sets)
    assert [outcome.statistics for outcome in swept] == [alone(candles, info, one) for one in sets]


def test_a_page_that_writes_to_an_indicator_gets_its_own(candles: Candles, tmp_path: Path) -> None:
    info = own(tmp_path, "smooth[:100] = 0.0")
    sets = [Set({"period": period}) for period in (5, 9, 9)]
    swept = sweep(from_candles(candles, BTC), info, sets)
    assert [outcome.statistics for outcome in swept] == [alone(candles, info, one) for one in sets]


def test_a_full_memory_forgets_and_goes_on(candles: Candles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MOST_BYTES", 3 * candles.close.nbytes)
    memory = Indicators(candles)
    for period in (*range(2, 20), *range(2, 20)):
        np.testing.assert_array_equal(memory.EMA(candles.close, period), talib.EMA(candles.close, period))
    assert memory.computed == 36


def test_constants_and_other_names_of_ta_lib_are_as_they_are(candles: Candles) -> None:
    assert Indicators(candles).MA_Type is talib.MA_Type
    with pytest.raises(AttributeError):
        _ = Indicators(candles).no_such_name


def test_a_set_that_does_not_fit_says_why_and_the_others_are_played(candles: Candles, rsi: StrategyInfo) -> None:
    sets = [Set({"period": 1}), Set({"period": 9}), Set({"oversold": 60, "overbought": 40})]
    swept = sweep(from_candles(candles, BTC), rsi, sets)
    assert swept[0].error.startswith("strategy rsi: period must be an integer from 2 to 500, not 1")
    assert "must not be above" in swept[2].error
    assert swept[1].statistics is not None and not swept[1].error


def test_an_event_strategy_is_refused(candles: Candles) -> None:
    with pytest.raises(InvalidError, match="strategy grid places its own orders"):
        sweep(from_candles(candles, BTC), Registry.standard().load("grid"), [Set()])


def test_who_stops_early_keeps_what_came_and_leaves_the_page_as_it_was(
    candles: Candles, rsi: StrategyInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(botd.backtest.sweep, "BATCH_ROWS", 10 * len(candles))
    sets = [Set({"period": n}) for n in range(5, 60)]
    found = outcomes(from_candles(candles, BTC), rsi, sets, threads=1)
    came = [next(found) for _ in range(15)]
    assert rsi.cls.signals.__globals__["talib"] is not talib
    found.close()
    assert [number for number, _ in came] == list(range(15))
    assert came[3][1].statistics == alone(candles, rsi, sets[3])
    assert rsi.cls.signals.__globals__["talib"] is talib


def test_tell_hears_of_every_set(candles: Candles, rsi: StrategyInfo) -> None:
    told: list[tuple[int, int]] = []
    sets = [Set({"period": period}) for period in (9, 1, 14)]
    sweep(from_candles(candles, BTC), rsi, sets, tell=lambda done, of: told.append((done, of)))
    assert told == [(1, 3), (2, 3), (3, 3)]
