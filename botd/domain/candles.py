"""A window of candles as arrays: what strategies see."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from botd.domain.candle import Candle


class Candles(msgspec.Struct, frozen=True, eq=False):
    """Candles of one symbol and interval, oldest first; all arrays have the same length.

    ``time`` holds open times (int64, milliseconds UTC), the others are float64. The arrays may be views
    on the store that all bots share: they are read-only.
    """

    interval: str
    time: NDArray[np.int64]
    open: NDArray[np.float64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    close: NDArray[np.float64]
    volume: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.time)

    def tail(self, count: int) -> Candles:
        """Return the last ``count`` candles (fewer where there are not so many), without copying."""
        cut = slice(max(0, len(self.time) - count), None)
        return Candles(
            self.interval,
            self.time[cut],
            self.open[cut],
            self.high[cut],
            self.low[cut],
            self.close[cut],
            self.volume[cut],
        )

    def candle(self, index: int) -> Candle:
        """Return the candle at ``index`` (negative counts from the end)."""
        return Candle(
            int(self.time[index]),
            float(self.open[index]),
            float(self.high[index]),
            float(self.low[index]),
            float(self.close[index]),
            float(self.volume[index]),
        )

    @classmethod
    def empty(cls, interval: str) -> Candles:
        """Return a window of no candles."""
        none = np.empty(0, dtype=np.float64)
        return cls(interval, np.empty(0, dtype=np.int64), none, none, none, none, none)
