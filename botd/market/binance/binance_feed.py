"""The live feed of Binance: streams for prices and candles, REST for history and proof; complete, or says it is not.

It composes: :mod:`.shards` carries the streams, :mod:`.wire` decodes, :mod:`.live_prices` and :mod:`.live_lanes`
judge and deliver to the manager, :mod:`.rest` asks within the governor's budget. It decides nothing for bots,
places no order and holds no key. What fails is tried again for ever, with growing, jittered pauses.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from botd.domain.candle import Candle, interval_ms
from botd.domain.clock import Clock, seeded_random
from botd.domain.errors import BotdError, NotFoundError, UnavailableError, said
from botd.domain.instrument import Instrument
from botd.exchange.binance.site import Site
from botd.exchange.binance.stream_rules import StreamRules
from botd.market.binance import wire
from botd.market.binance.connection import Connection
from botd.market.binance.gate_values import GAP, HOLD, LIVE, STALE
from botd.market.binance.live_lanes import FedLanes, LiveLanes
from botd.market.binance.live_prices import CHECK_S, FedPrices, LivePrices
from botd.market.binance.proof import proven
from botd.market.binance.rest import BinanceRest
from botd.market.binance.shards import Shards
from botd.market.feed import Lane

TICK_S = 0.25  # how late a gate may be called
TIME_S = 600.0  # the exchange's time is measured so often
LISTING_S = 300.0  # and so often what is in use is looked up
UNSETTLED_S = 60.0
"""What does not trade, or not by the rules that are known, is looked up so often."""
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0
_NAMED = 3  # symbols in trouble that are named, before the others are counted
_WORST = {LIVE: 0, HOLD: 1, GAP: 2, STALE: 3}

logger = logging.getLogger("botd.market")


class FedMarket(FedLanes, FedPrices, Protocol):
    """Who is fed: the market manager."""

    def watch_lanes(self, watcher: Callable[[], None]) -> None:
        """Call ``watcher`` at every change of the lanes."""
        ...


class BinanceFeed:
    """See the module. :meth:`start` until it succeeds, then :meth:`run`; :meth:`close` at the end.

    ``site`` is shared by all who call the exchange from this address; without one the feed makes its own, where
    ``rest`` and ``stream`` are base urls in place of the exchange's. ``on_listing`` is called when the symbols in use
    were looked up again: one may have been halted.
    """

    def __init__(
        self,
        *,
        market: FedMarket,
        clock: Clock,
        testnet: bool = False,
        rest: str | None = None,
        stream: str | None = None,
        site: Site | None = None,
        rules: StreamRules | None = None,
        ssl_context: ssl.SSLContext | None = None,
        resolver: Any = None,
        on_listing: Callable[[], None] = lambda: None,
        seed: int | str = "binance-feed",
    ) -> None:
        self._market = market
        self._on_listing = on_listing
        self._listing_due_s = clock.monotonic() + LISTING_S
        self._unsettled_due_s = clock.monotonic() + UNSETTLED_S
        self._clock = clock
        self._rng = seeded_random(seed)
        self._site = site or Site(
            clock, testnet=testnet, rest=rest, stream=stream, ssl_context=ssl_context, resolver=resolver
        )
        self._owns_site = site is None
        self.governor = self._site.governor
        self._rest = BinanceRest(self._site)
        self._shards = Shards(
            self._site.stream_url,
            on_message=self._on_frame,
            clock=clock,
            rng=self._rng,
            rules=rules,
            ssl_context=self._site.ssl_context,
            resolver=self._site.resolver,
            on_connected=self._on_connected,
            on_lost=self._on_lost,
        )
        self._lanes = LiveLanes(market, self._rest, clock, self._rng, self._shards.reconnect)
        self._prices = LivePrices(market, self._rest, clock, lambda: self._shards)
        self._names: dict[str, str] = {}
        self._lanes_changed = asyncio.Event()
        self._troubles: dict[str, str] = {}
        self._counts = {"frames": 0, "garbage": 0, "klines": 0, "lost": 0}

    # -- the life of the feed

    async def start(self) -> None:
        """Load the exchange's instruments and time. May be called again after it raised UnavailableError."""
        try:
            if not self._names:
                found = await self._rest.instruments()
                if not found:
                    raise UnavailableError("binance: it lists no spot market")
                self._names = {symbol: name for symbol, (name, _) in found.items()}
            if self._site.time.age_s > TIME_S:
                await self._site.measure_time()
        except BotdError as error:
            self._troubles["start"] = error.message
            raise
        self._troubles.pop("start", None)

    async def run(self) -> None:
        """Feed for ever; failures are waited out."""
        self._market.watch_lanes(self._lanes_changed.set)
        self._lanes_changed.set()
        parts: tuple[tuple[str, Callable[[], Awaitable[None]]], ...] = (
            ("lanes", self._follow),
            ("candles", self._watch_time),
            ("prices", self._compare),
            ("time", self._measure),
            ("listing", self._list),
        )
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._shards.run(), name="feed-streams")
                for name, part in parts:
                    group.create_task(self._supervise(name, part), name=f"feed-{name}")
        finally:
            await self._lanes.close()

    async def close(self) -> None:
        """Let go of all connections."""
        await self._lanes.close()
        await self._shards.close()
        if self._owns_site:
            await self._site.close()

    # -- what others ask

    def instruments(self) -> dict[str, Instrument]:
        """Return what may be traded; empty before :meth:`start` succeeded."""
        return dict(self._site.listing.instruments) if self._names else {}

    def exchange_ms(self) -> int:
        """Return the exchange's time, as far as it was measured."""
        return self._site.time.now_ms()

    async def history(self, symbol: str, interval: str, count: int) -> list[Candle]:
        """Return up to ``count`` closed candles, the latest there are, oldest first.

        NotFoundError for a symbol the exchange has not, UnavailableError when it cannot be asked.
        """
        if symbol not in self._names:
            raise NotFoundError(f"{symbol}: no such symbol on binance")
        found = await self._rest.history(self._names[symbol], interval, count)
        rows = proven(found.rows, interval_ms(interval), found.asked_ms, self._rest.server_ms())[1]
        return [row.candle for row in rows][-count:]

    @property
    def status(self) -> str:
        """``ok`` or ``degraded``."""
        return "degraded" if self.detail else "ok"

    @property
    def detail(self) -> str:
        """What is wrong now, in one line; empty when nothing is."""
        if not self._names and not self._troubles:
            return "not started"
        found = [f"{name}: {trouble}" for name, trouble in self._troubles.items()]
        if blocked := self.governor.detail:
            found.append(blocked)
        found += [f"stream: {row['trouble']}" for row in self._shards.statistics()["shards"] if row["trouble"]]
        symbols = self._prices.troubles() + self._lanes.troubles()
        found += symbols[:_NAMED]
        if len(symbols) > _NAMED:
            found.append(f"and {len(symbols) - _NAMED} more")
        return "; ".join(found)

    def states(self) -> dict[Lane, str]:
        """Return the state of every lane: LIVE, HOLD, GAP or STALE."""
        return {key: lane.gate.state for key, lane in self._lanes.lanes.items()}

    def statistics(self) -> dict[str, Any]:
        """Return status, detail, counters, and a row for every symbol."""
        return {
            "status": self.status,
            "detail": self.detail,
            "instruments": len(self._names),
            "lanes": len(self._lanes.lanes),
            **self._counts,
            **self._prices.counts,
            "server_offset_ms": self._site.time.offset_ms,
            "rest": {**self._rest.counts, "clock_steps": self._site.time.steps, **self.governor.statistics()},
            "streams": self._shards.statistics(),
            "symbols": self._symbol_rows(),
        }

    def _symbol_rows(self) -> dict[str, dict[str, Any]]:
        rows = {}
        for symbol, lanes in self._lanes.statistics().items():
            worst = max((lane["state"] for lane in lanes.values()), key=_WORST.__getitem__)
            total = {
                name: sum(lane[name] for lane in lanes.values())
                for name in ("holds", "gaps", "restored", "revised", "synthetic", "by_rest")
            }
            price = self._prices.row(self._names[symbol])
            rows[symbol] = {"state": worst, **price, **total, "lanes": lanes}
        return rows

    # -- streams

    def _on_frame(self, frame: bytes) -> None:
        """Decode a frame and hand it on: the hot path."""
        self._counts["frames"] += 1
        try:
            message = wire.decode(frame)
        except wire.WireError as error:
            self._garbage(error)
            return
        kind = type(message)
        if kind is wire.BookTicker:
            self._prices.on_tick(message.symbol, message.bid, message.ask, message.update)  # type: ignore[union-attr]
        elif isinstance(message, wire.Kline):
            bar = message.bar
            stream = f"{message.symbol.lower()}@kline_{bar.interval}"
            if bar.closed:
                self._counts["klines"] += 1
                self._lanes.on_kline(stream, bar.candle(), bar.trades, message.event_ms)
            else:
                self._lanes.on_forming(stream, bar.open_time)

    def _garbage(self, error: wire.WireError) -> None:
        self._counts["garbage"] += 1
        log = logger.warning if self._counts["garbage"] == 1 else logger.debug
        log("a frame of the stream is none: %s", error)

    def _on_connected(self, connection: Connection, streams: frozenset[str]) -> None:
        logger.info("%s carries %d streams", connection.name, len(streams))
        self._prices.on_connected(streams)
        self._lanes.on_connected(streams)

    def _on_lost(self, connection: Connection, streams: frozenset[str]) -> None:
        self._counts["lost"] += 1
        logger.warning("%s ended (%s): %d streams are without", connection.name, connection.reason, len(streams))

    # -- parts that run for ever

    async def _follow(self) -> None:
        """Follow the lanes that the manager wants."""
        while True:
            self._lanes_changed.clear()
            streams = self._lanes.follow(self._names)
            self._site.attended.update(self._lanes.symbols())
            streams |= self._prices.follow({self._names[symbol]: symbol for symbol in self._lanes.symbols()})
            self._shards.set_streams(streams)
            self._well("lanes")
            await self._lanes_changed.wait()

    async def _watch_time(self) -> None:
        while True:
            self._prices.beat()
            self._lanes.on_time()
            self._well("candles")
            await self._clock.sleep(TICK_S)

    async def _compare(self) -> None:
        while True:
            await self._clock.sleep(CHECK_S)
            self._prices.on_time()
            await self._prices.compare()
            self._well("prices")

    async def _measure(self) -> None:
        """Measure the exchange's time now and then, and notice when our clock steps."""
        while True:
            if step := self._site.time.notice_step():
                logger.warning("our clock stepped by %d ms", step)
                self._site.time.distrust()
            if self._site.time.age_s >= TIME_S:
                await self._site.measure_time()
                self._well("time")
            await self._clock.sleep(1.0)

    async def _list(self) -> None:
        """Look the symbols in use up again now and then, sooner what is unsettled: statuses and filters change."""
        while True:
            now = self._clock.monotonic()
            is_due, unsettled = now >= self._listing_due_s, self._site.unsettled()
            if is_due or (unsettled and now >= self._unsettled_due_s):
                self._unsettled_due_s = now + UNSETTLED_S
                await self._site.refresh_listing(None if is_due else unsettled)
                self._listing_due_s = now + LISTING_S if is_due else self._listing_due_s
                self._on_listing()
                self._well("listing")
            await self._clock.sleep(1.0)

    async def _supervise(self, name: str, part: Callable[[], Awaitable[None]]) -> None:
        """Run a part again whenever it fails."""
        failures = 0
        while True:
            try:
                await part()
            except Exception as error:  # the boundary of a part: the feed goes on
                failures = failures + 1 if name in self._troubles else 1
                expected = isinstance(error, BotdError)
                logger.log(
                    logging.WARNING if failures == 1 else logging.DEBUG,
                    "feed %s: %s; trying again",
                    name,
                    error,
                    exc_info=None if expected else error,
                )
                self._troubles[name] = said(error)
            longest = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2 ** min(failures - 1, 10))
            await self._clock.sleep(self._rng.uniform(0.0, longest))

    def _well(self, name: str) -> None:
        if name in self._troubles:
            del self._troubles[name]
            logger.info("feed %s: back", name)
