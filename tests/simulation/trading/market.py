"""The market of the simulation: a seeded walk of prices that moves the exchange's orders and feeds botd's manager.

The walk goes on whether botd lives or not. Its feed stands where Binance's stands (:mod:`botd.feeds`): ticks and closed
candles through the manager's own calls, each lane's history when somebody begins to read it.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from botd.domain.candle import Candle, interval_ms
from botd.domain.clock import Clock
from botd.domain.errors import BotdError
from botd.domain.instrument import Instrument
from botd.exchange.binance.site import Site
from botd.market.candles import window_of
from botd.market.feed import Lane, Quote
from botd.market.manager import MarketManager
from tests.fakes.binance.exchange.venue import Venue
from tests.fakes.binance.listings import listings
from tests.simulation.trading.timeline import START_MS, Timeline

SYMBOLS = {"BTC/USDT": "BTCUSDT", "ETH/USDT": "ETHUSDT", "BNB/USDT": "BNBUSDT"}
STEP_S = 1.0
INTERVAL = "1m"
_MINUTE_MS = 60_000
_HISTORY = 200
_KEPT = 1_600
_LISTING_S, _UNSETTLED_S, _AGAIN_S = 300.0, 60.0, 10.0
_TELL_S = 0.05


class Walk:
    """One symbol's prices, second by second, and its minutes."""

    def __init__(self, symbol: str, price: float, tick: Decimal, seed: int) -> None:
        self.symbol = symbol
        self.tick = tick
        self.first = price
        self.price = price
        self._dice = random.Random(f"walk {symbol} {seed}")
        self.candles: list[Candle] = []
        self._forming: list[float] = []
        opened = START_MS // _MINUTE_MS * _MINUTE_MS
        for minute in range(opened - _HISTORY * _MINUTE_MS, opened, _MINUTE_MS):
            for _ in range(4):
                self.move(math.sqrt(15))
            self.close(minute)

    def move(self, root: float = 1.0) -> None:
        """Take a step; now and then a jump. Pulled back to where it began, so that an hour stays an hour's."""
        dice = self._dice
        pull = 0.0004 * root * root * math.log(self.first / self.price)
        change = dice.gauss(pull, 0.0004 * root)
        if dice.random() < 0.002:
            change += dice.choice((-1, 1)) * dice.uniform(0.004, 0.02)
        self.price *= math.exp(change)
        self._forming.append(float(self.bid()))

    def bid(self) -> Decimal:
        return int(Decimal(repr(self.price)) / self.tick) * self.tick

    def ask(self) -> Decimal:
        return self.bid() + self.tick

    def close(self, opened: int) -> Candle:
        """End a minute."""
        prices, self._forming = self._forming or [float(self.bid())], []
        candle = Candle(opened, prices[0], max(prices), min(prices), prices[-1], 50_000_000.0 / prices[-1])
        self.candles = [*self.candles[-_KEPT:], candle]
        return candle


class Market:
    """All walks. ``feed`` is the living botd's, None while there is none."""

    def __init__(self, timeline: Timeline, seed: int) -> None:
        self.rows = {name: listed.row for name, listed in listings(list(SYMBOLS.values())).items()}
        self.feed: Feed | None = None
        self.silent_until_s = 0.0
        """The streams carry no price until then."""
        self._timeline = timeline
        self._venue: Venue | None = None
        ticks = {name: _tick(row) for name, row in self.rows.items()}
        typical = {name: listed.price for name, listed in listings(list(SYMBOLS.values())).items()}
        self.walks = {symbol: Walk(symbol, typical[name], ticks[name], seed) for symbol, name in SYMBOLS.items()}

    def begin(self, venue: Venue) -> None:
        """Move the venue's prices from now on."""
        self._venue = venue
        for walk in self.walks.values():
            venue.set_price(SYMBOLS[walk.symbol], walk.bid(), walk.ask())
        self._timeline.after(STEP_S, self._step)

    def _step(self) -> None:
        assert self._venue is not None
        now = self._timeline.now_ms()
        closes = now % _MINUTE_MS == 0
        for walk in self.walks.values():
            walk.move()
            self._venue.set_price(SYMBOLS[walk.symbol], walk.bid(), walk.ask())
            if self.feed is not None and self._timeline.now_s >= self.silent_until_s:
                self.feed.tick(walk, now)
        if closes:
            for walk in self.walks.values():
                candle = walk.close(now - _MINUTE_MS)
                if self.feed is not None:
                    self.feed.closed(walk.symbol, candle)
        self._timeline.after(STEP_S, self._step)


class Feed:
    """One life's feed, as the world asks it for everything."""

    status, detail = "ok", ""

    def __init__(
        self, market: Market, manager: MarketManager, site: Site, clock: Clock, told: Callable[[], None]
    ) -> None:
        self.governor = site.governor
        self._market = market
        self._manager = manager
        self._site = site
        self._clock = clock
        self._on_listing = told
        self._loaded: set[Lane] = set()
        self._changed = asyncio.Event()
        self._listed_s = clock.monotonic()

    async def start(self) -> None:
        """Know what is listed."""
        await self._site.load_listing()
        self._site.attended.update(SYMBOLS)

    async def run(self) -> None:
        """Feed for ever."""
        self._manager.watch_lanes(self._changed.set)
        self._changed.set()
        self._market.feed = self
        try:
            await self._follow()
        finally:
            self._market.feed = None

    async def _follow(self) -> None:
        due_s = self._clock.monotonic() + _UNSETTLED_S
        while True:
            try:
                async with asyncio.timeout(max(0.0, due_s - self._clock.monotonic())):
                    await self._changed.wait()
            except TimeoutError:
                due_s = self._clock.monotonic() + await self._list()
            self._changed.clear()
            await asyncio.sleep(_TELL_S)
            self._load()

    async def _list(self) -> float:
        """Look up what is listed, as Binance's feed does, oftener what is unsettled; return when to look again."""
        now, unsettled = self._clock.monotonic(), self._site.unsettled()
        is_due = now - self._listed_s >= _LISTING_S
        if is_due or unsettled:
            try:
                await self._site.refresh_listing(None if is_due else unsettled)
            except BotdError:
                return _AGAIN_S
            self._listed_s = now if is_due else self._listed_s
            self._on_listing()
        return _UNSETTLED_S

    async def close(self) -> None:
        """Nothing is held."""

    def instruments(self) -> Mapping[str, Instrument]:
        listed = self._site.listing.instruments
        return {symbol: listed[symbol] for symbol in SYMBOLS if symbol in listed}

    def statistics(self) -> dict[str, Any]:
        return {}

    def tick(self, walk: Walk, now_ms: int) -> None:
        """A price moved."""
        if self._manager.warmup(walk.symbol, INTERVAL):
            bid, ask = float(walk.bid()), float(walk.ask())
            self._manager.on_tick(walk.symbol, Quote(bid, ask, bid, self._clock.now_ms()))

    def closed(self, symbol: str, candle: Candle) -> None:
        """A minute ended."""
        if (symbol, INTERVAL) in self._loaded:
            self._manager.on_candle(symbol, INTERVAL, candle)

    def _load(self) -> None:
        lanes = self._manager.lanes()
        self._loaded &= set(lanes)
        for symbol, interval in lanes:
            if (symbol, interval) not in self._loaded:
                assert interval_ms(interval) == _MINUTE_MS
                self._loaded.add((symbol, interval))
                self._manager.load_history(symbol, interval, window_of(interval, self._market.walks[symbol].candles))


def _tick(row: Mapping[str, Any]) -> Decimal:
    return next(Decimal(each["tickSize"]) for each in row["filters"] if each["filterType"] == "PRICE_FILTER")
