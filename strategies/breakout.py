"""Channel breakout: buy above the highest high, sell below the lowest low, of the candles before."""

from __future__ import annotations

import talib

from botd.domain.candles import Candles
from botd.strategy.base import Signals, SignalStrategy
from botd.strategy.comparisons import above, below, previous
from botd.strategy.parameters import integer


class Breakout(SignalStrategy):
    """Enter above the highest high of the previous `entry` candles, exit below the lowest low of `exit`."""

    entry = integer(20, low=2, high=1000, help="candles of the upper channel")
    exit = integer(10, low=2, high=1000, help="candles of the lower channel")

    def in_words(self) -> str:
        return f"enters on a close above highest (of {self.entry} candles), exits below lowest (of {self.exit})"

    def warmup(self) -> int:
        return int(max(self.entry, self.exit)) + 1

    def signals(self, candles: Candles) -> Signals:
        highest = previous(talib.MAX(candles.high, self.entry))
        lowest = previous(talib.MIN(candles.low, self.exit))
        return Signals(
            enter=above(candles.close, highest, candles.close),
            exit=below(candles.close, lowest, candles.close),
            notes={"highest": highest, "lowest": lowest},
        )
