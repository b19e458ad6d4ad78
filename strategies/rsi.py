"""RSI levels: buy what is oversold, sell what is overbought."""

from __future__ import annotations

import talib

from botd.domain.candles import Candles
from botd.strategy.base import Signals, SignalStrategy
from botd.strategy.comparisons import RSI_TOLERANCE, moving
from botd.strategy.parameters import integer, number
from botd.strategy.warmup import wilder_warmup

_STILL_PERIODS = 5


class Rsi(SignalStrategy):
    """Enter while RSI is below `oversold`, exit while it is above `overbought` (levels, not crossings).

    Neither once the close stood still for five periods.
    """

    period = integer(14, low=2, high=500, help="candles of Wilder's average")
    oversold = number(30, low=0, high=100, help="enter below this RSI")
    overbought = number(70, low=0, high=100, help="exit above this RSI")

    def validate(self) -> str:
        if self.oversold > self.overbought:
            return f"oversold must not be above overbought, not {self.oversold:g} and {self.overbought:g}"
        return ""

    def in_words(self) -> str:
        levels = f"enters while rsi ({self.period}) is below {self.oversold:g}, exits while above {self.overbought:g}"
        return f"{levels}; neither once the close stood still for {_STILL_PERIODS * self.period} candles"

    def warmup(self) -> int:
        return wilder_warmup(self.period)

    def signals(self, candles: Candles) -> Signals:
        close = candles.close
        rsi = talib.RSI(close, self.period)
        # While the close stands still both of RSI's averages shrink alike: it goes on saying what trades of long ago
        # made of it, and in the end divides roundings. After five periods less than a hundredth is left of either.
        alive = moving(close, _STILL_PERIODS * self.period)
        return Signals(
            enter=(rsi < self.oversold - RSI_TOLERANCE) & alive,
            exit=(rsi > self.overbought + RSI_TOLERANCE) & alive,
            notes={"rsi": rsi},
        )
