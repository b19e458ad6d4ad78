"""One symbol's best bid and ask: which of the stream's ticks are believed, and when the price is stale.

A pure state machine, as :mod:`botd.market.binance.completeness` is for candles. A quiet market is not a stale one: a
symbol without ticks is compared with REST, and what REST confirms is fresh. A jump waits for a second source, or
until it has lasted.
"""

from __future__ import annotations

from math import inf

from botd.market.feed import Quote

QUIET_MS = 4_000
"""Without a tick for so long REST is asked."""
DISTRUST_MS = 10_000
"""A stream is distrusted after so long without a tick, when REST has another price and a second later still has."""
UNSEEN_MS = 60_000
"""A quiet symbol whose connection lives may go so long without a word of REST."""
MAX_JUMP = 0.2
"""A price further from the one before, as a share of it, waits for a second source."""
JUMP_AGE_MS = 10_000
"""A price so old says nothing about how far the next may be."""
_AGAIN_MS = 1_000  # between two questions about a price that is doubted
_LASTS_MS = 3_000  # a price far off is believed once it has lasted so long
_LASTS_TICKS = 3  # and for more ticks than these
_NEAR = 0.05  # prices that differ by less, as a share, count as the same far one


class PriceWatch:
    """See the module. Times are ours, in milliseconds."""

    __slots__ = (
        "asked_ms",
        "base",
        "confirmed_ms",
        "counts",
        "differs_ms",
        "doubt",
        "heard_ms",
        "last",
        "live_ms",
        "suspect",
        "suspect_ms",
        "suspect_ticks",
        "update",
    )

    def __init__(self, now_ms: int) -> None:
        self.last: Quote | None = None
        self.live_ms = now_ms
        """When the stream was last known to be carried by a connection."""
        self.doubt = ""
        """Why the stream is not trusted: then REST's prices serve exits, and nothing may be opened."""
        self.heard_ms = 0
        """When the stream said something last."""
        self.confirmed_ms = 0
        """When the stream or REST said something last."""
        self.update = 0
        self.base: Quote | None = None
        """What the stream said last, or REST when the stream began: what a stream that is silent stands for."""
        self.differs_ms: int | None = None
        """Since when REST has another price."""
        self.suspect: float | None = None
        """A price too far from the one before."""
        self.suspect_ms = 0
        self.suspect_ticks = 0
        self.asked_ms = 0
        self.counts = {"quarantined": 0, "old": 0, "differs": 0}

    def on_tick(self, bid: float, ask: float, update: int, now_ms: int) -> Quote | None:
        """Return the stream's tick as a quote; None for one that is old, absurd, or too far off to be believed yet."""
        if update <= self.update and now_ms - self.heard_ms < DISTRUST_MS:
            self.counts["old"] += 1
            return None
        if not 0.0 < bid <= ask < inf:
            self.counts["quarantined"] += 1
            return None
        self.update = update
        self.heard_ms = now_ms
        price = (bid + ask) / 2
        last = self.last
        if last is not None and abs(price / last.last - 1.0) > MAX_JUMP and not self._has_lasted(price, now_ms):
            self.counts["quarantined"] += 1
            return None
        # What trust and _believe do, in one go: thousands a second come this way.
        self.doubt = ""
        self.suspect = self.differs_ms = None
        self.live_ms = self.confirmed_ms = now_ms
        self.last = self.base = quote = Quote(bid, ask, price, now_ms)
        return quote

    def trust(self, now_ms: int) -> None:
        """The stream speaks, or is carried anew."""
        self.base = self.differs_ms = None
        self.live_ms = now_ms
        self.doubt = ""

    def on_time(self, now_ms: int, is_carried: bool) -> None:
        """Notice that no connection carries the stream, and that a step of our clock was taken back."""
        if now_ms < max(self.confirmed_ms, self.live_ms, self.asked_ms):
            self.heard_ms = self.confirmed_ms = self.live_ms = self.asked_ms = now_ms
        if is_carried:
            self.live_ms = now_ms
        elif now_ms - self.live_ms >= DISTRUST_MS and not self.doubt:
            self.doubt = "no connection"

    def on_rest(self, bid: float, ask: float, now_ms: int) -> tuple[Quote | None, bool]:
        """Take REST's quote, asked while the stream was quiet. Returns it, and whether to distrust the stream."""
        if not 0.0 < bid <= ask < inf:
            return None, False
        distrust = False
        base = self.base
        if base is None or self.suspect is not None or (base.bid == bid and base.ask == ask):
            self.base, self.differs_ms = base or Quote(bid, ask, (bid + ask) / 2, now_ms), None
        elif self.differs_ms is None:
            self.differs_ms = now_ms
        elif now_ms - self.differs_ms >= _AGAIN_MS and now_ms - self.heard_ms >= DISTRUST_MS:
            self.counts["differs"] += not self.doubt
            self.doubt = self.doubt or "REST has another price"
            distrust = True
        return self._believe(bid, ask, (bid + ask) / 2, now_ms), distrust

    def on_rest_failed(self, now_ms: int, spoke_ms: int | None) -> Quote | None:
        """REST cannot be asked: a quiet symbol has its last price, for a while, as of when its connection said
        anything at all last (None: it has no connection)."""
        last = self.last
        if last is None or spoke_ms is None or spoke_ms <= last.time_ms or self.suspect is not None:
            return None
        if now_ms - self.confirmed_ms > UNSEEN_MS:
            return None
        self.last = Quote(last.bid, last.ask, last.last, spoke_ms)
        return self.last

    def wants_rest(self, now_ms: int) -> bool:
        """Tell whether REST is to be asked now: nothing was heard for a while, or something that is hard to believe."""
        if self.suspect is not None or self.differs_ms is not None:
            return now_ms - self.asked_ms >= _AGAIN_MS
        return now_ms - max(self.confirmed_ms, self.asked_ms) >= QUIET_MS

    def age_ms(self, now_ms: int) -> int | None:
        """Return how old the price is, None where there is none."""
        return None if self.last is None else now_ms - self.last.time_ms

    def _believe(self, bid: float, ask: float, price: float, now_ms: int) -> Quote:
        self.suspect = None
        self.confirmed_ms = now_ms
        self.last = Quote(bid, ask, price, now_ms)
        return self.last

    def _has_lasted(self, price: float, now_ms: int) -> bool:
        """Tell whether a price far from the last one may follow it: when that is old, or when it has lasted."""
        if now_ms - self.confirmed_ms > JUMP_AGE_MS:
            return True
        if self.suspect is None or abs(price / self.suspect - 1.0) > _NEAR:
            self.suspect, self.suspect_ms, self.suspect_ticks = price, now_ms, 0
        self.suspect_ticks += 1
        return self.suspect_ticks > _LASTS_TICKS and now_ms - self.suspect_ms >= _LASTS_MS
