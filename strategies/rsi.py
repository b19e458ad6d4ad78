"""RSI levels: buy what is oversold, sell what is overbought."""

from __future__ import annotations

import talib

from botd.domain.candles import Candles
from botd.strategy.base import Signals, SignalStrategy
from botd.strategy.comparisons import RSI_TOLERANCE, moving
from botd.strategy.parameters import integer, number
from botd.strategy.warmup import wilder_warmup


class Rsi(SignalStrategy):
    """Enter while RSI is below `oversold`, exit while it is above `overbought` (levels, not crossings)."""

    period = integer(14, low=2, high=500, help="candles of Wilder's average")
    oversold = number(30, low=0, high=100, help="enter below this RSI")
    overbought = number(70, low=0, high=100, help="exit above this RSI")

    def validate(self) -> str:
        if self.oversold > self.overbought:
            return f"oversold must not be above overbought, not {self.oversold:g} and {self.overbought:g}"
        return ""

    def in_words(self) -> str:
        return f"enters while rsi ({self.period}) is below {self.oversold:g}, exits while above {self.overbought:g}"

    def warmup(self) -> int:
        return wilder_warmup(self.period)

    def signals(self, candles: Candles) -> Signals:
        close = candles.close
        rsi = talib.RSI(close, self.period)
        # Without a change of the close both of RSI's averages die away, and it ends as a quotient of roundings
        # (TA-Lib: 0). After five periods the last change weighs under a hundredth: from then on RSI says nothing.
        alive = moving(close, 5 * self.period)
        return Signals(
            enter=(rsi < self.oversold - RSI_TOLERANCE) & alive,
            exit=(rsi > self.overbought + RSI_TOLERANCE) & alive,
            notes={"rsi": rsi},
        )
