"""The price cache: the latest quotes and the last closed candles, for others to read; never the truth.

Here is its seam and the cache in memory, which is what runs without Redis. No decision of a bot may
depend on it: the manager has its own arrays.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

from botd.domain.candle import Candle
from botd.market.feed import Lane, PriceCache, Quote

KEEP = 500
"""Candles kept per lane."""


class ReadableCache(PriceCache, Protocol):
    """A price cache with its reading side and its life.

    Reading never raises and never waits longer than the cache's own time limit; a value that cannot be
    trusted is absent. ``time_ms`` of a quote is the exchange's time: a value is as fresh as that says.
    """

    async def latest(self, symbol: str) -> Quote | None:
        """Return the latest quote, None where none is known."""
        ...

    async def candles(self, symbol: str, interval: str, count: int) -> list[Candle]:
        """Return up to ``count`` closed candles, oldest first."""
        ...

    async def start(self) -> None:
        """Begin; returns at once, whatever the state of the store."""
        ...

    async def close(self) -> None:
        """End; what is not written yet may be lost."""
        ...

    def status(self) -> dict[str, str]:
        """Return ``name``, ``status`` (ok or degraded) and ``detail`` for ``health``."""
        ...


class MemoryCache:
    """The cache of one process."""

    def __init__(self, keep: int = KEEP) -> None:
        self._keep = keep
        self._quotes: dict[str, Quote] = {}
        self._lanes: dict[Lane, deque[Candle]] = {}

    def put_quote(self, symbol: str, quote: Quote) -> None:
        """Keep the latest quote."""
        self._quotes[symbol] = quote

    def put_candle(self, symbol: str, interval: str, candle: Candle) -> None:
        """Append a closed candle; the same one again replaces itself, an older one is passed over."""
        lane = self._lanes.get((symbol, interval))
        if lane is None:
            lane = self._lanes[symbol, interval] = deque(maxlen=self._keep)
        if lane and candle.open_time <= lane[-1].open_time:
            if candle.open_time < lane[-1].open_time:
                return
            lane.pop()
        lane.append(candle)

    def quote(self, symbol: str) -> Quote | None:
        """Return the latest quote, without waiting."""
        return self._quotes.get(symbol)

    def since(self, lane: Lane, open_time: int) -> list[Candle]:
        """Return the kept candles of a lane that open at ``open_time`` or later, oldest first."""
        found: list[Candle] = []
        for candle in reversed(self._lanes.get(lane, ())):
            if candle.open_time < open_time:
                break
            found.append(candle)
        found.reverse()
        return found

    def kept(self, lane: Lane) -> int:
        """Return how many candles of a lane are kept."""
        return len(self._lanes.get(lane, ()))

    def oldest(self, lane: Lane) -> int:
        """Return the open time of the oldest candle of a lane that is kept, 0 where there is none."""
        candles = self._lanes.get(lane)
        return candles[0].open_time if candles else 0

    async def latest(self, symbol: str) -> Quote | None:
        """Return the latest quote, None where none came yet."""
        return self._quotes.get(symbol)

    async def candles(self, symbol: str, interval: str, count: int) -> list[Candle]:
        """Return up to ``count`` closed candles, oldest first."""
        return list(self._lanes.get((symbol, interval), ()))[-count:] if count > 0 else []

    async def start(self) -> None:
        """Nothing to start."""

    async def close(self) -> None:
        """Nothing to end."""

    def status(self) -> dict[str, str]:
        """Return that memory always works."""
        return {"name": "redis", "status": "ok", "detail": "not configured, prices are kept in memory"}
