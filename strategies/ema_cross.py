"""Two exponential averages: be in while the fast one is above the slow one."""

from __future__ import annotations

import talib

from botd.domain.candles import Candles
from botd.strategy.base import Signals, SignalStrategy
from botd.strategy.comparisons import above, below
from botd.strategy.parameters import integer
from botd.strategy.warmup import ema_warmup


class EmaCross(SignalStrategy):
    """Enter while the fast EMA is above the slow EMA, exit while it is below."""

    fast = integer(12, low=2, high=1000, help="candles of the fast average")
    slow = integer(26, low=3, high=1000, help="candles of the slow average")

    def validate(self) -> str:
        return "" if self.fast < self.slow else f"fast must be below slow, not {self.fast} and {self.slow}"

    def in_words(self) -> str:
        return f"enters while fast ({self.fast} candles) is above slow ({self.slow}), exits while it is below"

    def warmup(self) -> int:
        return ema_warmup(self.slow)

    def signals(self, candles: Candles) -> Signals:
        fast = talib.EMA(candles.close, self.fast)
        slow = talib.EMA(candles.close, self.slow)
        return Signals(
            enter=above(fast, slow, candles.close),
            exit=below(fast, slow, candles.close),
            notes={"fast": fast, "slow": slow},
        )
