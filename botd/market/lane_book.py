"""Which lanes there are, who reads them, what they hold, and which candles they miss.

Lanes are opened by the first subscription and freed with the last; a base lane also stays for the larger
lanes that are built from it. Holes are told once, as ``market.gap``. Delivery is the manager's.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec

from botd.domain.candle import bucket_start, interval_ms
from botd.domain.candles import Candles
from botd.domain.clock import Clock
from botd.domain.errors import InvalidError, NotFoundError
from botd.domain.events import Event
from botd.market.candles import CandleArray, merged
from botd.market.feed import CandleSource, Lane, LaneListener
from botd.market.lanes import TICKER, LaneNews, LaneState, Subscription, SymbolState, gap_event


class LaneBook:
    """The manager's records of symbols and lanes; ``watcher`` is called when the set of lanes changed."""

    def __init__(
        self, *, clock: Clock, base_interval: str | None, on_event: Callable[[Event], None], lookback: int
    ) -> None:
        self.symbols: dict[str, SymbolState] = {}
        self.watcher: Callable[[], None] | None = None
        self._clock = clock
        self._base = base_interval or ""
        self._base_ms = interval_ms(base_interval) if base_interval else 0
        self._on_event = on_event
        self._lookback = lookback
        self._source: CandleSource | None = None

    def attach_source(self, source: CandleSource) -> None:
        """Take history from ``source``, also for the lanes that are open already."""
        self._source = source
        for symbol in source.symbols:
            for lane in self.state(symbol).lanes.values():
                self._load(lane)

    def state(self, symbol: str) -> SymbolState:
        """Return the record of ``symbol``, made at its first mention."""
        state = self.symbols.get(symbol)
        if state is None:
            state = self.symbols[symbol] = SymbolState(symbol, self._base)
        return state

    def lane(self, symbol: str, interval: str) -> LaneState | None:
        state = self.symbols.get(symbol)
        return state.lanes.get(interval) if state else None

    def wanted(self) -> dict[Lane, int]:
        """Return the lanes that the feed must deliver itself, and how much history each wants."""
        lanes = (lane for state in self.symbols.values() for lane in state.lanes.values())
        return {lane.key: lane.wanted for lane in lanes if lane.per == 1}

    def warmup(self, symbol: str, interval: str) -> int:
        """Return how many candles the most demanding reader of a lane needs."""
        lane = self.lane(symbol, interval)
        return max((reader.warmup for reader in lane.subscriptions), default=0) if lane else 0

    def rows(self, now: int, limit_ms: int) -> list[dict[str, Any]]:
        """Return a row a symbol for ``symbols``; a price older than ``limit_ms`` is stale."""
        source = self._source.name if self._source else "exchange"
        return [
            {
                "symbol": state.symbol,
                "source": source,
                "price": format(Decimal(repr(state.price)), "f") if state.time_ms else None,
                "age_s": (now - state.time_ms) / 1000 if state.time_ms else None,
                "stale": abs(now - state.time_ms) > limit_ms or bool(state.doubts),
                "lanes": [lane.interval for lane in state.lanes.values() if lane.subscriptions],
                "gaps": state.gaps,
                "incomplete": {interval: doubt for interval, (doubt, _) in state.doubts.items()},
            }
            for state in self.symbols.values()
        ]

    def subscribe(self, symbol: str, interval: str, listener: LaneListener, warmup: int, rank: int) -> Subscription:
        lane = self._claim(symbol, interval, max(warmup, self._lookback))
        subscription = Subscription(lane, listener, warmup, rank, self._release)
        lane.subscriptions = tuple(sorted((*lane.subscriptions, subscription), key=lambda reader: reader.rank))
        return subscription

    def window(self, symbol: str, interval: str, count: int) -> Candles:
        """Return the last closed candles, from the lane's array, or from the source where there is none."""
        lane = self.lane(symbol, interval)
        if lane is not None and (len(lane.array) >= count or count <= lane.wanted or self._source is None):
            return lane.array.window(count)
        if self._source is None or symbol not in self._source.symbols:
            return Candles.empty(interval)
        self._per(interval)
        return self._source.history(symbol, interval, self._clock.now_ms(), count)

    def prepend(self, symbol: str, interval: str, candles: Candles) -> None:
        """Put history before what a lane received so far; nothing happens when the lane is gone."""
        lane = self.lane(symbol, interval)
        if lane is None:
            return
        have = lane.array.window(len(lane.array))
        older = candles.part(0, int(candles.time.searchsorted(have.time[0]))) if len(have) else candles
        lane.array = CandleArray(interval, lane.wanted, older)
        for row in range(len(have)):
            lane.array.append(have.candle(row))
        self._loaded(lane)

    # -- opening and freeing --------------------------------------------------------------------------

    def _claim(self, symbol: str, interval: str, wanted: int) -> LaneState:
        """Return the lane with at least ``wanted`` candles of history, opened if it is not there."""
        per = self._per(interval)
        if self._source is not None and symbol not in self._source.symbols:
            raise NotFoundError(f"{symbol} is not in this market", f"it has {', '.join(self._source.symbols)}")
        if per > 1:
            self._claim(symbol, self._base, max(per, self._lookback))
        state = self.state(symbol)
        lane = state.lanes.get(interval)
        if lane is None:
            lane = LaneState(symbol, interval, per, wanted)
            state.add(lane, is_base=interval == self._base)
        elif wanted <= lane.wanted:
            return lane
        lane.wanted = lane.array.keep = wanted
        self._load(lane)
        self._changed()
        return lane

    def _release(self, subscription: Subscription) -> None:
        lane = subscription.lane
        lane.subscriptions = tuple(other for other in lane.subscriptions if other is not subscription)
        state = self.symbols[lane.symbol]
        before = len(state.lanes)
        needed = bool(lane.subscriptions) or (lane is state.base and bool(state.larger))
        if not needed and state.lanes.get(lane.interval) is lane:
            state.remove(lane)
        if state.base is not None and not state.base.subscriptions and not state.larger:
            state.remove(state.base)
        if len(state.lanes) != before:
            self._changed()

    def _per(self, interval: str) -> int:
        """Return how many base candles make one of ``interval``; InvalidError when that is not whole."""
        try:
            length = interval_ms(interval)
        except ValueError as error:
            raise InvalidError(str(error)) from None
        if not self._base_ms:
            return 1
        per, rest = divmod(length, self._base_ms)
        if rest or not per:
            hint = f"choose a multiple of {self._base}, or set market.interval"
            raise InvalidError(f"{interval} candles cannot be built from {self._base} candles", hint)
        return per

    def _load(self, lane: LaneState) -> None:
        """Fill a lane with its history up to now, as far as the source has any."""
        source = self._source
        if source is None:
            lane.complete = False
            return
        now = self._clock.now_ms()
        lane.array = CandleArray(
            lane.interval, lane.wanted, source.history(lane.symbol, lane.interval, now, lane.wanted)
        )
        self._loaded(lane)
        if lane.per > 1:
            self._expect(source, lane, now)

    def _expect(self, source: CandleSource, lane: LaneState, now: int) -> None:
        """Find which larger candle would come next: what was missing before the last one begun was told then."""
        start = bucket_start(now, lane.length)
        begun = source.bar_index(lane.symbol, self._base, start + 1) > source.bar_index(lane.symbol, self._base, start)
        if begun:
            lane.expected = start
            return
        time = source.history(lane.symbol, self._base, now, max(lane.per, self._lookback)).time
        first = time[time % lane.length == 0]
        if len(first):
            lane.expected = max(int(first[-1]), lane.expected or 0)

    def _loaded(self, lane: LaneState) -> None:
        lane.complete = True
        last = lane.array.last_time
        lane.expected = None if last is None else last + lane.length

    def _changed(self) -> None:
        if self.watcher is not None:
            self.watcher()

    # -- completeness ---------------------------------------------------------------------------------

    def take_news(self, symbol: str, interval: str, news: LaneNews) -> None:
        """Correct a lane's array, and note whether it is complete; what is gone meanwhile is of no interest."""
        lane = self.lane(symbol, interval)
        if lane is None and not (interval == TICKER and symbol in self.symbols):
            return
        if news.corrected and lane is not None:
            lane.array = merged(lane.array, news.corrected)
        if news.revised is not None:
            before, after = msgspec.to_builtins(news.revised), msgspec.to_builtins(news.corrected[0])
            self._told("market.revised", symbol, interval, before=before, after=after)
        elif news.corrected:
            self._told("market.restored", symbol, interval, candles=len(news.corrected))
        if news.doubt is not None:
            self._doubt(symbol, interval, news)

    def _doubt(self, symbol: str, interval: str, news: LaneNews) -> None:
        doubts = self.symbols[symbol].doubts
        before = doubts.pop(interval, None)
        if news.doubt:
            doubts[interval] = (news.doubt, news.since_ms if before is None else before[1])
            if news.doubt == "STALE":
                self._told("market.stale", symbol, interval)
        elif before is not None:
            self._told("market.complete", symbol, interval, seconds=(self._clock.now_ms() - before[1]) // 1000)

    def doubted_ms(self, symbol: str) -> int | None:
        """Return since when a lane of the symbol is not complete, None while all are."""
        state = self.symbols.get(symbol)
        return min((since for _, since in state.doubts.values()), default=None) if state and state.doubts else None

    def doubts(self, symbol: str) -> list[str]:
        """Return what is wrong with the symbol's candles, as ``why`` shows it."""
        state = self.symbols.get(symbol)
        return [f"{symbol} {interval} {doubt}" for interval, (doubt, _) in state.doubts.items()] if state else []

    def _told(self, topic: str, symbol: str, interval: str, **data: Any) -> None:
        told = {"symbol": symbol, "interval": interval, **data}
        self._on_event(Event(topic=topic, time_ms=self._clock.now_ms(), data=told))

    # -- holes ----------------------------------------------------------------------------------------

    def base_hole(self, state: SymbolState, open_time: int, now: int, *, opening: bool) -> None:
        """A base candle is not the one expected: tell the hole, if it is one.

        The first candle seen after a start in the middle of the data is compared with what the source has
        before it; a candle that was open at the start was compared when it opened.
        """
        if not state.seen and opening and self._source is not None:
            before = self._source.history(state.symbol, self._source.interval, now, 1)
            state.expected = int(before.time[0]) + self._base_ms if len(before) else None
        state.seen = True
        if state.expected is not None and state.expected < open_time:
            self._tell(state, self._base, state.expected, open_time)

    def lane_hole(self, state: SymbolState, lane: LaneState, open_time: int) -> None:
        """A lane's candle begins at ``open_time``: tell what is missing between it and the one before."""
        if lane.expected is not None and lane.expected < open_time:
            self._tell(state, lane.interval, lane.expected, open_time)

    def _tell(self, state: SymbolState, interval: str, start_ms: int, end_ms: int) -> None:
        state.gaps += 1
        self._on_event(gap_event(state.symbol, interval, start_ms, end_ms, self._clock.now_ms()))
