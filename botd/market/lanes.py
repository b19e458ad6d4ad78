"""What the manager keeps per symbol and per lane: the latest price, the candle array, the subscribers.

Plain records without behaviour of their own beyond bookkeeping; :mod:`botd.market.manager` moves them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from botd.domain.candle import Candle, interval_ms
from botd.domain.clock import Clock, rfc3339
from botd.domain.events import Event
from botd.market.candles import CandleArray
from botd.market.feed import Lane, LaneListener, Quote

TICKER = "ticker"
"""Stands for the interval where a symbol's price is doubted, not its candles."""


class LaneNews(msgspec.Struct, frozen=True):
    """What a feed says of a lane besides its candles, in their order.

    ``doubt``: why it is not complete (``GAP``, ``STALE``), empty when it is again, None: as before.
    ``corrected``: candles of the past with other values, or found after all; ``revised``: of those, what was
    delivered before, so that it can be told.
    """

    doubt: str | None = None
    since_ms: int = 0
    corrected: tuple[Candle, ...] = ()
    revised: Candle | None = None


class Subscription:
    """One reader's claim on a lane, from :meth:`botd.market.manager.MarketManager.subscribe`."""

    __slots__ = ("_close", "lane", "late_ms", "listener", "live", "longest_s", "rank", "spent_s", "told", "warmup")

    def __init__(
        self, lane: LaneState, listener: LaneListener, warmup: int, rank: int, close: Callable[[Subscription], None]
    ) -> None:
        self.lane = lane
        self.listener = listener
        self.warmup = warmup
        self.rank = rank
        self.live = True
        self.told = 0
        """Closed candles of a tick feed that the listener was told of, and what it did with them took:"""
        self.spent_s = self.longest_s = 0.0
        self.late_ms: int | None = None
        """How long after the close of the last one it was told."""
        self._close = close

    def tell(self, candle: Candle, clock: Clock) -> None:
        """Tell the listener of a closed candle, and account what that takes."""
        self.late_ms = clock.now_ms() - candle.open_time - self.lane.length
        began = clock.monotonic()
        self.listener.on_closed(candle)
        took = clock.monotonic() - began
        self.told += 1
        self.spent_s += took
        self.longest_s = max(self.longest_s, took)

    @property
    def ready(self) -> bool:
        """Whether the history that was asked for is there (on candle feeds: from the beginning)."""
        return self.lane.complete or len(self.lane.array) >= self.warmup

    def close(self) -> None:
        """Give the claim up; nothing is delivered any more, also not in the moment under way. Idempotent."""
        if self.live:
            self.live = False
            self._close(self)


class LaneState:
    """One (symbol, interval): its candles and who is told about them."""

    __slots__ = (
        "array",
        "complete",
        "expected",
        "interval",
        "key",
        "length",
        "per",
        "subscriptions",
        "symbol",
        "wanted",
    )

    def __init__(self, symbol: str, interval: str, per: int, wanted: int) -> None:
        self.symbol = symbol
        self.interval = interval
        self.key: Lane = (symbol, interval)
        self.length = interval_ms(interval) if interval else 0
        self.per = per
        """Base candles that make up one of this lane's; 1 for a lane that is fed as it is."""
        self.wanted = wanted
        """How many closed candles readers may ask for."""
        self.array = CandleArray(interval, wanted)
        self.complete = False
        """Whether the history was loaded: ``wanted`` candles, or all there are."""
        self.expected: int | None = None
        """Open time of the candle that comes next if none is missing; None before the first."""
        self.subscriptions: tuple[Subscription, ...] = ()


class SymbolState:
    """One symbol: its price, its holes, and its lanes, the base lane first and then by length."""

    __slots__ = (
        "ask",
        "base",
        "bid",
        "doubts",
        "expected",
        "gaps",
        "lanes",
        "larger",
        "price",
        "seen",
        "symbol",
        "time_ms",
        "unread",
    )

    def __init__(self, symbol: str, base_interval: str) -> None:
        self.symbol = symbol
        self.unread = LaneState(symbol, base_interval, 1, 0)
        """Stands in for the base lane while nobody reads it: sinks are told all the same."""
        self.bid = self.ask = self.price = 0.0
        self.time_ms = 0
        """Market time of the price; 0 before the first."""
        self.expected: int | None = None
        """Open time of the base candle that comes next if none is missing."""
        self.seen = False
        """Whether ``expected`` was looked up after a start in the middle of the data."""
        self.gaps = 0
        self.doubts: dict[str, tuple[str, int]] = {}
        """By interval: what is wrong with a lane's candles, and since when."""
        self.lanes: dict[str, LaneState] = {}
        self.base: LaneState | None = None
        self.larger: tuple[LaneState, ...] = ()

    def add(self, lane: LaneState, is_base: bool) -> None:
        self.lanes[lane.interval] = lane
        self._sort(lane if is_base else self.base)

    def remove(self, lane: LaneState) -> None:
        del self.lanes[lane.interval]
        self.doubts.pop(lane.interval, None)
        self._sort(None if lane is self.base else self.base)

    def _sort(self, base: LaneState | None) -> None:
        self.base = base
        ordered = sorted(self.lanes.values(), key=lambda lane: lane.length)
        self.larger = tuple(lane for lane in ordered if lane.per > 1)
        self.lanes = {lane.interval: lane for lane in ordered}

    def price_now(self, price: float, time_ms: int) -> None:
        """Take a candle feed's price: there is no spread."""
        self.bid = self.ask = self.price = price
        self.time_ms = time_ms

    def quote(self) -> Quote | None:
        return Quote(self.bid, self.ask, self.price, self.time_ms) if self.time_ms else None


def gap_event(symbol: str, interval: str, start_ms: int, end_ms: int, now_ms: int) -> Event:
    """Return ``market.gap``: the candles that open from ``start_ms`` to before ``end_ms`` do not exist."""
    data: dict[str, Any] = {
        "symbol": symbol,
        "interval": interval,
        "from": rfc3339(start_ms),
        "to": rfc3339(end_ms),
        "from_ms": start_ms,
        "to_ms": end_ms,
        "missing": (end_ms - start_ms) // interval_ms(interval),
    }
    return Event(topic="market.gap", time_ms=now_ms, data=data)
