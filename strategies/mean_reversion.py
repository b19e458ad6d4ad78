"""Mean reversion: buy below the lower Bollinger band, sell above the middle."""

from __future__ import annotations

import talib

from botd.domain.candles import Candles
from botd.strategy.base import Signals, SignalStrategy
from botd.strategy.comparisons import above, below
from botd.strategy.parameters import integer, number


class MeanReversion(SignalStrategy):
    """Enter while the close is below the lower Bollinger band, exit while it is above the middle."""

    period = integer(20, low=2, high=1000, help="candles of the average and the deviation")
    deviations = number(2, low=0.01, high=10, help="width of the band in standard deviations")

    def in_words(self) -> str:
        return f"enters while close is below lower ({self.deviations:g} deviations under middle), exits above middle"

    def warmup(self) -> int:
        return int(self.period)

    def signals(self, candles: Candles) -> Signals:
        close = candles.close
        _, middle, lower = talib.BBANDS(close, self.period, self.deviations, self.deviations)
        return Signals(
            enter=below(close, lower, close),
            exit=above(close, middle, close),
            notes={"close": close, "middle": middle, "lower": lower},
        )
