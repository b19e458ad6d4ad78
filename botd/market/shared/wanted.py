"""The lanes that other daemons want: subscribed to like a bot's, and let go when nobody has asked for a while.

It reads what the market has and changes nothing in it; what is written of a lane is :mod:`.publisher`'s business.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Container

from botd.domain.candle import Candle
from botd.domain.clock import Clock
from botd.market.feed import Lane
from botd.market.lanes import Subscription
from botd.market.manager import MarketManager
from botd.market.shared.messages import parse_wanted

KEEP_S = 60.0
"""So long is a lane kept after nobody wants it: a Redis that forgot is not the end of it."""
MOST_LANES = 2000
_AFTER_ALL_BOTS = 1 << 30
_LONGEST_S = 2.0
_MOST_FRESH = 8

logger = logging.getLogger("botd.market.shared")


class WantedLane:
    """One lane that is shared."""

    def __init__(self, lane: Lane, changed: Callable[[WantedLane], None]) -> None:
        self.key = lane
        self.warmup = -1
        self.subscription: Subscription | None = None
        self.unasked_s = 0.0
        """For how long nobody has asked for it, as far as Redis could be read."""
        self.last = 0
        """Open time of the newest candle that Redis has."""
        self.in_step = False
        """Whether the lane's stream was compared with our candles; not any more when something went wrong."""
        self.fresh: list[Candle] = []
        """Some that closed since then."""
        self._changed = changed

    @property
    def is_due(self) -> bool:
        """Whether its stream is to be compared now: our own history is there."""
        return not self.in_step and self.subscription is not None and self.subscription.lane.complete

    @property
    def length(self) -> int:
        """How many candles of it are kept."""
        return self.subscription.lane.wanted if self.subscription is not None else 0

    def on_closed(self, candle: Candle) -> None:
        """A candle closed: it stands in the market's array by now."""
        if len(self.fresh) >= _MOST_FRESH:
            self.fresh.clear()  # nobody writes now, or many come at once: the array has them
        self.fresh.append(candle)
        self._changed(self)

    def on_open(self, open_time: int, price: float) -> None:
        """Not told on tick feeds."""


class WantedLanes:
    """See the module. ``changed`` is called when a lane has news."""

    def __init__(self, market: MarketManager, clock: Clock, changed: Callable[[], None]) -> None:
        self.lanes: dict[Lane, WantedLane] = {}
        self.news: dict[Lane, WantedLane] = {}
        """Those in which a candle closed."""
        self.symbols: frozenset[str] = frozenset()
        self.garbage = 0
        self._market = market
        self._clock = clock
        self._changed = changed
        self._taken_s = clock.monotonic()

    def take(self, members: list[bytes], known: Container[str]) -> set[str]:
        """Follow what is wanted, as it stands in Redis, of the symbols that are known; returns symbols that are new."""
        now = self._clock.monotonic()
        passed = min(now - self._taken_s, _LONGEST_S)  # while Redis is away nobody can ask
        self._taken_s = now
        wanted = self._read(members, known)
        for lane, warmup in wanted.items():
            if (found := self._follow(lane)) is not None and warmup > found.warmup:
                self._subscribe(found, warmup)
        for lane, found in list(self.lanes.items()):
            found.unasked_s = 0.0 if lane in wanted else found.unasked_s + passed
            if found.unasked_s > KEEP_S:
                self._close(self.lanes.pop(lane))
                self.news.pop(lane, None)
        before, self.symbols = self.symbols, frozenset(symbol for symbol, _ in self.lanes)
        return set(self.symbols - before)

    def out_of_step(self) -> None:
        """Nothing is known of what Redis has."""
        for lane in self.lanes.values():
            lane.in_step = False

    def _follow(self, lane: Lane) -> WantedLane | None:
        if lane not in self.lanes and len(self.lanes) < MOST_LANES:
            self.lanes[lane] = WantedLane(lane, self._note)
        return self.lanes.get(lane)

    def _note(self, lane: WantedLane) -> None:
        self.news[lane.key] = lane
        self._changed()

    def _read(self, members: list[bytes], known: Container[str]) -> dict[Lane, int]:
        wanted: dict[Lane, int] = {}
        for member in members:
            parsed = parse_wanted(member)
            if parsed is None or parsed[0][0] not in known:
                self.garbage += 1
                log = logger.warning if self.garbage == 1 else logger.debug
                log("a lane that is wanted of us is none of this exchange: %r", member[:80])
            else:
                wanted[parsed[0]] = max(parsed[1], wanted.get(parsed[0], 0))
        return wanted

    def _subscribe(self, found: WantedLane, warmup: int) -> None:
        before, found.warmup = found.subscription, warmup
        found.subscription = self._market.subscribe(*found.key, found, warmup, _AFTER_ALL_BOTS)
        found.in_step = False
        self._close_subscription(before)

    def _close(self, found: WantedLane) -> None:
        self._close_subscription(found.subscription)
        found.subscription = None

    def _close_subscription(self, subscription: Subscription | None) -> None:
        if subscription is not None:
            subscription.close()

    def close(self) -> None:
        """Let go of all lanes."""
        for found in self.lanes.values():
            self._close(found)
        self.lanes = {}
