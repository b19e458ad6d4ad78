"""The market manager: one place where market data comes in and from which all of botd reads it.

Candle feeds (synthetic, replay) come in moments through :meth:`MarketManager.deliver`; tick feeds through
:meth:`MarketManager.on_tick` and :meth:`MarketManager.on_candle`. Subscriptions are counted: a lane has one
candle array however many read it, and it is freed with the last reader. Each closed candle is delivered
exactly once, in order. Larger candles are cut out of the base candles; one that misses a base candle is
not delivered.

The order within a moment: prices and arrays, ``prepare``, then per closed lane sinks, levels, listeners;
then per opened lane the same; then ``settle``. The manager decides nothing, keeps no money and catches no
exception of a listener: a bot handles its own.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from botd.domain.candle import Candle, interval_ms
from botd.domain.candles import Candles
from botd.domain.clock import Clock
from botd.domain.events import Event
from botd.market.feed import CandleSource, Lane, LaneListener, MarketSink, Moment, PriceCache, Quote
from botd.market.lane_book import LaneBook
from botd.market.lanes import LaneNews, LaneState, Subscription, SymbolState
from botd.market.levels import LevelIndex

Closed = list[tuple[str, str, Candle]]
"""(symbol, interval, candle) of the lanes with subscribers, in the order of delivery."""

_Told = tuple[LaneState, Candle, tuple[Subscription, ...]]

_CANDLE_GRACE_MS = 90_000
_TICK_FRESH_MS = 10_000


class MarketManager:
    """See the module. ``lock`` is held while a moment is applied; whatever changes bots takes it too.

    ``base_interval`` is what the feed delivers and larger candles are built from; None on a tick feed whose
    candles all come ready-made. ``lookback`` is how many closed candles a lane keeps at least.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        cache: PriceCache,
        base_interval: str | None,
        on_event: Callable[[Event], None],
        candle_feed: bool,
        lookback: int = 1500,
    ) -> None:
        self.levels = LevelIndex()
        self.lock = asyncio.Lock()
        self.candle_feed = candle_feed
        self._clock = clock
        self._advance: Callable[[int], None] | None = getattr(clock, "advance", None) if candle_feed else None
        self._cache = cache
        self._base = base_interval
        self._base_ms = interval_ms(base_interval) if base_interval else 0
        self._source: CandleSource | None = None
        self._sinks: tuple[MarketSink, ...] = ()
        self._prepare: Callable[[Closed], Awaitable[None] | None] | None = None
        self._settle: Callable[[int], Awaitable[None] | None] | None = None
        self._between: Callable[[], Awaitable[None] | None] | None = None
        self._book = LaneBook(clock=clock, base_interval=base_interval, on_event=on_event, lookback=lookback)
        self._symbols = self._book.symbols
        self._queue: deque[tuple[str, str, Candle | LaneNews]] = deque()
        self._worker: asyncio.Task[None] | None = None
        self._pumping = False
        self._counts = dict.fromkeys(("moments", "candles", "ticks", "duplicates", "quarantined", "ignored"), 0)

    # -- wiring ---------------------------------------------------------------------------------------

    def attach_source(self, source: CandleSource) -> None:
        """Take history, bar numbers and completeness from ``source`` (candle feeds only)."""
        self._source = source
        self._book.attach_source(source)

    def add_sink(self, sink: MarketSink) -> None:
        """Feed ``sink`` before the levels and listeners; sinks are told in the order they were added."""
        self._sinks = (*self._sinks, sink)

    def set_hooks(
        self,
        prepare: Callable[[Closed], Awaitable[None] | None],
        settle: Callable[[int], Awaitable[None] | None],
        between: Callable[[], Awaitable[None] | None] | None = None,
    ) -> None:
        """Call ``prepare`` before closed candles are told, ``between`` after that and before what opened,
        ``settle`` when all is told; awaited if they say so."""
        self._prepare = prepare
        self._settle = settle
        self._between = between

    def watch_lanes(self, watcher: Callable[[], None]) -> None:
        """Call ``watcher`` whenever :meth:`lanes` changed: a stream follows what is wanted."""
        self._book.watcher = watcher

    # -- reading --------------------------------------------------------------------------------------

    def subscribe(self, symbol: str, interval: str, listener: LaneListener, warmup: int, rank: int = 0) -> Subscription:
        """Tell ``listener`` of the lane's candles from the next one on; load ``warmup`` candles of history.

        Listeners of a lane are told by rising ``rank``, whenever they came: after a restart as before. On
        candle feeds the history is there at once. Raises NotFoundError for a symbol that the market has not,
        InvalidError for an interval that cannot be built.
        """
        return self._book.subscribe(symbol, interval, listener, warmup, rank)

    def window(self, symbol: str, interval: str, count: int) -> Candles:
        """Return the last ``count`` closed candles (fewer where there are not so many); read-only views."""
        return self._book.window(symbol, interval, count)

    def quote(self, symbol: str) -> Quote | None:
        """Return the latest price, None before the first."""
        state = self._symbols.get(symbol)
        return state.quote() if state else None

    def prime(self, symbol: str, quote: Quote) -> None:
        """Know a price before the first one arrives (after a restart); nobody is told."""
        self._book.state(symbol).price_now(quote.last, quote.time_ms)

    def stale(self, symbol: str, limit_ms: int) -> int | None:
        """Return the age of the price in milliseconds when it is older than ``limit_ms``, else None.

        A symbol without a price is as old as time; one with :meth:`doubts` is older than any limit. A price of a time
        that has not come yet (a step of our clock was taken back) is no fresher than one as far in the past.
        """
        state, now = self._symbols.get(symbol), self._clock.now_ms()
        age = abs(now - (state.time_ms if state else 0))
        if state is not None and state.doubts:
            age = max(age, limit_ms + 1, now - (self._book.doubted_ms(symbol) or now))
        return age if age > limit_ms else None

    def doubts(self, symbol: str) -> list[str]:
        """Return which lanes of a symbol are not complete, and why; empty when all are."""
        return self._book.doubts(symbol)

    def bar_index(self, symbol: str, interval: str, open_time: int) -> int:
        """Return the number of the lane's candle that opens at ``open_time``; differences count bars."""
        if self._source is not None:
            return self._source.bar_index(symbol, interval, open_time)
        return open_time // interval_ms(interval)

    def lanes(self) -> dict[Lane, int]:
        """Return the lanes that a feed must deliver, and how many candles of history each wants."""
        return self._book.wanted()

    def warmup(self, symbol: str, interval: str) -> int:
        """Return how many candles the most demanding reader of a lane needs."""
        return self._book.warmup(symbol, interval)

    def symbols(self) -> list[dict[str, Any]]:
        """Return a row a symbol: symbol, source, price (None: none yet), age_s, stale, lanes, gaps, incomplete."""
        limit = self._base_ms + _CANDLE_GRACE_MS if self.candle_feed else _TICK_FRESH_MS
        return self._book.rows(self._clock.now_ms(), limit)

    def statistics(self) -> dict[str, Any]:
        """Return counts of what came in, was dropped and is held."""
        lanes = [lane for state in self._symbols.values() for lane in state.lanes.values()]
        return {
            **self._counts,
            "gaps": sum(state.gaps for state in self._symbols.values()),
            "symbols": len(self._symbols),
            "lanes": len(lanes),
            "subscriptions": sum(len(lane.subscriptions) for lane in lanes),
            "queued": len(self._queue),
            "levels": self.levels.statistics(),
        }

    # -- candle feeds ---------------------------------------------------------------------------------

    async def deliver(self, moment: Moment) -> None:
        """Apply one moment under the lock: move the clock, tell what closed, what opened, settle."""
        async with self.lock:
            for waiting in self._apply(moment):
                await waiting

    def _apply(self, moment: Moment) -> Iterator[Awaitable[None]]:
        now = moment.time_ms
        if self._advance is not None:
            self._advance(now)
        counts = self._counts
        counts["moments"] += 1
        if moment.closed:
            counts["candles"] += len(moment.closed)
            told = self._take_closed(moment, now)
            yield from self._prepared(told)
            for lane, candle, subscriptions in told:
                self._tell_closed(lane, candle, subscriptions)
            if self._between is not None and (waiting := self._between()) is not None:
                yield waiting
        if moment.opened:
            self._take_opened(moment, now)
            for symbol, price in moment.opened:
                self._tell_opened(self._symbols[symbol], price, now)
        self._publish(moment)
        if self._settle is not None and (waiting := self._settle(now)) is not None:
            yield waiting

    def _take_closed(self, moment: Moment, now: int) -> list[_Told]:
        """Set the prices, append to the arrays, and return whom to tell what."""
        told: list[_Told] = []
        for symbol, candle in moment.closed:
            state = self._symbols.get(symbol) or self._book.state(symbol)
            state.price_now(candle.close, now)
            if state.expected != now:
                self._book.base_hole(state, candle.open_time, now, opening=False)
                state.expected = now
            base = state.base
            if base is None:
                told.append((state.unread, candle, ()))
                continue
            base.array.append(candle)
            told.append((base, candle, base.subscriptions))
            if state.larger:
                self._close_larger(state, base, now, told)
        return told

    def _close_larger(self, state: SymbolState, base: LaneState, now: int, told: list[_Told]) -> None:
        """Build the larger candles that end with the base candle just appended."""
        for lane in state.larger:
            if now % lane.length:
                continue
            bucket = base.array.bucket(now - lane.length, lane.per)
            if bucket is not None:
                self._book.lane_hole(state, lane, bucket.open_time)
                lane.array.append(bucket)
                lane.expected = now
                told.append((lane, bucket, lane.subscriptions))

    def _tell_closed(self, lane: LaneState, candle: Candle, subscriptions: tuple[Subscription, ...]) -> None:
        if self.candle_feed:
            for sink in self._sinks:
                sink.on_closed(lane.symbol, lane.interval, candle)
            self.levels.on_closed(lane.key, candle.open, candle.high, candle.low)
            for sink in self._sinks:
                sink.after_levels(lane.symbol, lane.interval, candle)
        self._cache.put_candle(lane.symbol, lane.interval, candle)
        for subscription in subscriptions:
            if subscription.live and self.candle_feed:
                subscription.listener.on_closed(candle)
            elif subscription.live:
                subscription.tell(candle, self._clock)

    def _take_opened(self, moment: Moment, now: int) -> None:
        for symbol, price in moment.opened:
            state = self._symbols.get(symbol) or self._book.state(symbol)
            if state.expected != now:
                self._book.base_hole(state, now, now, opening=True)
            state.expected = now + self._base_ms
            state.price_now(price, now)

    def _tell_opened(self, state: SymbolState, price: float, now: int) -> None:
        self._tell_open(state.base or state.unread, price, now)
        for lane in state.larger:
            if now % lane.length == 0:
                self._book.lane_hole(state, lane, now)
                lane.expected = now
                if self._source is None or self._source.is_complete(lane.symbol, lane.interval, now):
                    self._tell_open(lane, price, now)

    def _tell_open(self, lane: LaneState, price: float, now: int) -> None:
        subscriptions = lane.subscriptions
        for sink in self._sinks:
            sink.on_open(lane.symbol, lane.interval, now, price)
        self.levels.on_open(lane.key, price)
        for subscription in subscriptions:
            if subscription.live:
                subscription.listener.on_open(now, price)

    def _publish(self, moment: Moment) -> None:
        """Leave the price that each symbol has after the moment in the cache, once."""
        now = moment.time_ms
        put = self._cache.put_quote
        for symbol, price in moment.opened:
            put(symbol, Quote(price, price, price, now))
        if len(moment.opened) < len(moment.closed):
            opened = {symbol for symbol, _ in moment.opened}
            for symbol, candle in moment.closed:
                if symbol not in opened:
                    put(symbol, Quote(candle.close, candle.close, candle.close, now))

    def _prepared(self, told: list[_Told]) -> Iterator[Awaitable[None]]:
        if self._prepare is None:
            return
        closed = [(lane.symbol, lane.interval, candle) for lane, candle, readers in told if readers]
        if closed and (waiting := self._prepare(closed)) is not None:
            yield waiting

    # -- tick feeds -----------------------------------------------------------------------------------

    def on_tick(self, symbol: str, quote: Quote) -> None:
        """Take a price: sinks first, then the levels of the symbol's tick lane. Older or absurd ones are dropped."""
        if not quote.is_sound:
            self._counts["quarantined"] += 1
            return
        state = self._symbols.get(symbol) or self._book.state(symbol)
        if quote.time_ms < state.time_ms <= self._clock.now_ms():  # else a step of our clock was taken back
            self._counts["ignored"] += 1
            return
        self._counts["ticks"] += 1
        state.bid, state.ask, state.price, state.time_ms = quote.bid, quote.ask, quote.last, quote.time_ms
        self._cache.put_quote(symbol, quote)
        for sink in self._sinks:
            sink.on_tick(symbol, quote)
        self.levels.on_tick(symbol, quote.bid)

    def on_candle(self, symbol: str, interval: str, candle: Candle | LaneNews) -> None:
        """Take a closed candle of a lane; what was there already is dropped, a hole is told as market.gap.

        Told at once, unless a hook awaits or the lock is held: then a task goes on, in the same order. A lane's
        news come the same way, so that they keep their place among the candles.
        """
        self._queue.append((symbol, interval, candle))
        if self._worker is None and not self._pumping:
            self._pump()

    def load_history(self, symbol: str, interval: str, candles: Candles) -> None:
        """Put closed candles before those that came since (tick feeds: warm-up over REST); the lane is ready."""
        self._book.prepend(symbol, interval, candles)

    async def close(self) -> None:
        """End the task of :meth:`on_candle`, if there is one; what is queued is dropped."""
        self._queue.clear()
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)

    def _pump(self) -> None:
        self._pumping = True
        try:
            while self._queue:
                if self.lock.locked():
                    self._worker = asyncio.get_running_loop().create_task(self._work(None, None), name="market-candles")
                    return
                steps = self._apply_candle(*self._queue.popleft())
                waiting = next(steps, None)
                if waiting is not None:
                    work = self._work(steps, waiting)
                    self._worker = asyncio.get_running_loop().create_task(work, name="market-candles")
                    return
        finally:
            self._pumping = False

    async def _work(self, steps: Iterator[Awaitable[None]] | None, waiting: Awaitable[None] | None) -> None:
        """Finish the candle under way, then the queue; each under the lock."""
        try:
            while steps is not None or self._queue:
                async with self.lock:
                    if steps is None:
                        steps = self._apply_candle(*self._queue.popleft())
                    if waiting is not None:
                        await waiting
                    for step in steps:
                        await step
                steps = waiting = None
        finally:
            self._worker = None

    def _apply_candle(self, symbol: str, interval: str, candle: Candle | LaneNews) -> Iterator[Awaitable[None]]:
        if isinstance(candle, LaneNews):
            self._book.take_news(symbol, interval, candle)
            return
        told = self._accept(symbol, interval, candle)
        if not told:
            return
        yield from self._prepared(told)
        for lane, closed, subscriptions in told:
            self._tell_closed(lane, closed, subscriptions)
        if self._settle is not None and (waiting := self._settle(self._clock.now_ms())) is not None:
            yield waiting

    def _accept(self, symbol: str, interval: str, candle: Candle) -> list[_Told]:
        """Append a tick feed's candle if it is the lane's next, and return whom to tell."""
        state = self._symbols.get(symbol)
        lane = state.lanes.get(interval) if state else None
        if state is None or lane is None:
            self._counts["ignored"] += 1
            return []
        if not candle.is_sound:
            self._counts["quarantined"] += 1
            return []
        last = lane.array.last_time
        if last is not None and candle.open_time <= last:
            self._counts["duplicates"] += 1
            return []
        self._counts["candles"] += 1
        self._book.lane_hole(state, lane, candle.open_time)
        lane.array.append(candle)
        lane.expected = end = candle.open_time + lane.length
        told: list[_Told] = [(lane, candle, lane.subscriptions)]
        if lane is state.base:
            self._close_larger(state, lane, end, told)
        return told
