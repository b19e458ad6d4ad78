"""MACD: be in while the histogram is above zero."""

from __future__ import annotations

import talib

from botd.domain.candles import Candles
from botd.strategy.base import Signals, SignalStrategy
from botd.strategy.comparisons import PRICE_TOLERANCE
from botd.strategy.parameters import integer
from botd.strategy.warmup import ema_warmup


class Macd(SignalStrategy):
    """Enter while the MACD histogram is above 0, exit while it is below."""

    fast = integer(12, low=2, high=1000, help="candles of the fast average")
    slow = integer(26, low=3, high=1000, help="candles of the slow average")
    signal = integer(9, low=2, high=1000, help="candles of the signal line, the average of the difference")

    def validate(self) -> str:
        # TA-Lib would silently swap the two.
        return "" if self.fast < self.slow else f"fast must be below slow, not {self.fast} and {self.slow}"

    def in_words(self) -> str:
        return "enters while histogram is above 0, exits below 0"

    def warmup(self) -> int:
        # The signal line averages what the slow average has forgotten: one memory after the other.
        return ema_warmup(self.slow) + ema_warmup(self.signal)

    def signals(self, candles: Candles) -> Signals:
        macd, signal, histogram = talib.MACD(candles.close, self.fast, self.slow, self.signal)
        tolerance = candles.close * PRICE_TOLERANCE
        return Signals(
            enter=histogram > tolerance,
            exit=histogram < -tolerance,
            notes={"macd": macd, "signal": signal, "histogram": histogram},
        )
