"""The beginning of a new strategy: what ``botctl strategies --new NAME`` writes."""

from __future__ import annotations

from botd.domain.errors import InvalidError
from botd.strategy.registry import NAME

_STRATEGY = '''"""{title}: say here in one line when it buys and when it sells."""

import talib

from botd.domain.candles import Candles
from botd.strategy.base import SignalStrategy, Signals
from botd.strategy.comparisons import above, below
from botd.strategy.parameters import integer


class {cls}(SignalStrategy):
    """In while the close is above its simple average, out while it is below."""

    period = integer(20, low=2, high=500, help="candles of the average")

    def warmup(self) -> int:
        # The last signal of so many candles must equal that over the whole history.
        return self.period

    # It may read more: larger candles of its own symbol, or another market. With Input of botd.strategy.base:
    #     def inputs(self): return [Input("1h", candles=300), Input("1h", candles=50, symbol="BTC/USDT")]
    # and in signals: hour = candles.at("1h"); trend = hour.align(talib.EMA(hour.close, 20)). Closed candles only.

    def signals(self, candles: Candles) -> Signals:
        # Arrays, oldest first; look back only. An average not yet defined is NaN, which signals nothing.
        average = talib.SMA(candles.close, self.period)
        return Signals(
            enter=above(candles.close, average, candles.close),
            exit=below(candles.close, average, candles.close),
            notes={{"average": average}},
        )
'''

_TEST = '''"""Run with pytest: the rules that every signal strategy must keep."""

from pathlib import Path

import numpy as np

from botd.domain.candles import Candles
from botd.strategy.check import first_difference
from botd.strategy.inputs import with_inputs
from botd.strategy.registry import Registry

HERE = Path(__file__).parent


def candles(closes: np.ndarray) -> Candles:
    time = np.arange(len(closes), dtype=np.int64) * 60_000
    return Candles("1m", time, closes, closes * 1.001, closes * 0.999, closes, np.ones_like(closes))


def strategy():
    return Registry(builtin_dir=HERE).load("{name}").build({{}})


def test_signals_of_a_trailing_window_equal_those_of_the_whole_history():
    walk = 100 * np.exp(np.cumsum(np.random.default_rng(1).normal(0, 1e-3, 3000)))
    mine = strategy()
    assert first_difference(mine, with_inputs(mine, candles(walk)), range(0, 3000, 7)) is None


def test_a_flat_market_signals_nothing():
    mine = strategy()
    signals = mine.signals(with_inputs(mine, candles(np.full(1000, 100.0))))
    assert not signals.enter.any() and not signals.exit.any()
'''


def scaffold(name: str) -> dict[str, str]:
    """Return file name -> text of a strategy that works, and of its test; InvalidError for a bad name."""
    if not NAME.fullmatch(name) or name.startswith("test_"):
        raise InvalidError(f"strategy {name!r}: not a name", "lower-case letters, digits and _, a letter first")
    title = name.replace("_", " ").capitalize()
    cls = "".join(part.capitalize() for part in name.split("_"))
    return {
        f"{name}.py": _STRATEGY.format(title=title, cls=cls),
        f"test_{name}.py": _TEST.format(name=name),
    }
