"""Candles, and the intervals they span."""

from __future__ import annotations

from math import inf

import msgspec

INTERVALS: dict[str, int] = {
    "1m": 60_000,
    "3m": 180_000,
    "5m": 300_000,
    "15m": 900_000,
    "30m": 1_800_000,
    "1h": 3_600_000,
    "2h": 7_200_000,
    "4h": 14_400_000,
    "6h": 21_600_000,
    "8h": 28_800_000,
    "12h": 43_200_000,
    "1d": 86_400_000,
}
"""Interval name to milliseconds; all start at multiples of themselves since 1970 UTC."""


class Candle(msgspec.Struct, frozen=True, gc=False):
    """One candle. ``open_time`` in milliseconds UTC; prices in quote, volume in base units."""

    open_time: int
    open: float
    high: float
    low: float
    close: float
    volume: float

    @property
    def is_sound(self) -> bool:
        """Whether a market can have made it: finite, prices above zero, open and close from low to high."""
        inside = self.low <= self.open <= self.high and self.low <= self.close <= self.high
        return inside and self.low > 0.0 and self.high < inf and 0.0 <= self.volume < inf


def interval_ms(interval: str) -> int:
    """Return the length of ``interval`` in milliseconds; ValueError names the known ones."""
    try:
        return INTERVALS[interval]
    except KeyError:
        raise ValueError(f"unknown interval {interval!r}; one of {', '.join(INTERVALS)}") from None


def bucket_start(time_ms: int, length_ms: int) -> int:
    """Return the open time of the candle of ``length_ms`` that contains ``time_ms``."""
    return time_ms - time_ms % length_ms
