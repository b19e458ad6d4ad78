"""A live feed, its manager and its readers against the Binance front: real sockets, a clock that the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from botd.domain.candle import Candle
from botd.domain.events import Event
from botd.exchange.binance.stream_rules import StreamRules
from botd.market.binance.binance_feed import BinanceFeed
from botd.market.cache.cache import MemoryCache
from botd.market.manager import MarketManager
from tests.fakes.binance import BinanceFront, CandleMarket, Fault, ManualClock, Pace, Rules
from tests.fakes.binance.market import Market, text
from tests.fakes.live_scene import Reader, play

MINUTE = 60_000
STEP_MS = 500
FRESH_MS = 10_000
START = 1_767_225_600_000 + 200 * MINUTE + 20_300


class FrontTime:
    """The front's clock as botd's: both live in the same time."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self.step_ms = 0
        """How far our wall clock is ahead of the exchange's."""

    def now_ms(self) -> int:
        return self._clock.now_ms() + self.step_ms

    wall_ms = now_ms

    def monotonic(self) -> float:
        return self._clock.now_ms() / 1000

    async def sleep(self, seconds: float) -> None:
        await self._clock.sleep(seconds)


class LiveBench:
    """Between :meth:`start` and :meth:`close` time goes on in :meth:`play` and :meth:`until` only."""

    def __init__(
        self,
        *symbols: str,
        faults: tuple[Fault, ...] = (),
        pace: Pace | None = None,
        market: Market | None = None,
        start_ms: int = START,
        stream: StreamRules | None = None,
        **rules: Any,
    ) -> None:
        self.clock = ManualClock(start_ms)
        market = market or CandleMarket(list(symbols) or ["BTCUSDT"], pace=pace or Pace(book_ms=1000.0))
        wire_rules = Rules(timers="market", **rules)
        self.front = BinanceFront(market, clock=self.clock, rules=wire_rules, faults=faults)
        self.time = FrontTime(self.clock)
        self.events: list[Event] = []
        self.manager = MarketManager(
            clock=self.time, cache=MemoryCache(), base_interval=None, on_event=self.events.append, candle_feed=False,
            lookback=100,
        )  # fmt: skip
        self.readers: dict[tuple[str, str], Reader] = {}
        self._stream_rules = stream or StreamRules(open_s=2.0)
        self._task: asyncio.Task[None] | None = None

    async def start(self, *, begin: bool = True) -> None:
        await self.front.start()
        self.feed = BinanceFeed(
            market=self.manager, clock=self.time, rest=self.front.rest_url, stream=self.front.ws_url,
            rules=self._stream_rules,
        )  # fmt: skip
        if begin:
            await self.feed.start()
            self.run()

    def run(self) -> None:
        self._task = asyncio.create_task(self.feed.run(), name="live feed")

    def read(self, symbol: str = "BTC/USDT", interval: str = "1m", warmup: int = 30) -> Reader:
        reader = self.readers[symbol, interval] = Reader(lambda: self.opens_denied(symbol))
        self.manager.subscribe(symbol, interval, reader, warmup)
        return reader

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self.feed.close()
        await self.manager.close()
        await self.front.stop()

    # -- time

    async def play(self, seconds: float, step_ms: int = STEP_MS) -> None:
        """Let time pass, in steps so small that sockets keep up."""
        end = self.clock.now_ms() + seconds * 1000
        while self.clock.now_ms() < end:
            await self.step(step_ms)

    async def step(self, step_ms: int = STEP_MS) -> None:
        """Let a little time pass, and what was sent arrive: requests are answered before the next step."""
        await self.clock.advance(step_ms)
        for turn in range(200):
            await asyncio.sleep(0.0005)
            if turn >= 1 and not self.feed.governor.statistics()["under_way"]:
                return

    async def leap(self, seconds: float) -> None:
        """Let time pass at once, as when the machine slept: what was due is late."""
        self.clock._now_ms += round(seconds * 1000)
        await self.step()

    async def until(self, condition: Callable[[], Any], seconds: float = 120.0) -> float:
        """Let time pass until something holds; return after how many seconds it did."""
        begin = self.clock.now_ms()
        while not condition():
            assert self.clock.now_ms() - begin < seconds * 1000, f"not within {seconds} s: {self.feed.statistics()}"
            await self.step()
        return (self.clock.now_ms() - begin) / 1000

    async def ready(self) -> None:
        """Wait for the history, the streams and the first prices."""
        await self.until(lambda: self.feed.states() and set(self.feed.states().values()) == {"LIVE"})
        await self.until(
            lambda: self.feed.statistics()["streams"]["live"] == self.feed.statistics()["streams"]["streams"]
        )
        await self.until(lambda: all(self.manager.quote(symbol) for symbol, _ in self.readers))

    # -- judging

    def state(self, symbol: str = "BTC/USDT", interval: str = "1m") -> str:
        return self.feed.states()[symbol, interval]

    def opens_denied(self, symbol: str = "BTC/USDT") -> bool:
        """What the risk gate is told: older than the limit."""
        return self.manager.stale(symbol, FRESH_MS) is not None

    def truth(self, symbol: str, interval: str, first: int, end: int) -> list[Candle]:
        name = symbol.replace("/", "")
        listing = self.front.market.listings[name]
        prices, amounts = listing.price_decimals, listing.quantity_decimals
        return [
            Candle(
                bar.open_time,
                *(float(text(value, prices)) for value in (bar.open, bar.high, bar.low, bar.close)),
                float(text(bar.volume, amounts)),
            )
            for bar in self.front.market.truth(name, interval, first, end)
        ]

    def assert_complete(self, symbol: str = "BTC/USDT", interval: str = "1m", behind: int = 0) -> None:
        """Every candle since the reader came, but for the last ``behind`` ones: once, in order, true; the array too."""
        candles = self.readers[symbol, interval].candles
        assert candles, "nothing was delivered"
        length = candles[0].open_time and {"1m": MINUTE, "5m": 5 * MINUTE, "1h": 60 * MINUTE}[interval]
        end = self.clock.now_ms() // length * length - behind * length
        expected = self.truth(symbol, interval, candles[0].open_time, end)
        assert candles[: len(expected)] == expected
        assert [c.open_time for c in candles] == list(range(candles[0].open_time, candles[-1].open_time + 1, length))
        self.assert_array(symbol, interval)

    def assert_array(self, symbol: str = "BTC/USDT", interval: str = "1m", count: int = 60) -> None:
        window = self.manager.window(symbol, interval, count)
        rows = [window.candle(i) for i in range(len(window))]
        length = rows[1].open_time - rows[0].open_time
        assert rows == self.truth(symbol, interval, rows[0].open_time, rows[-1].open_time + length)

    def topics(self, topic: str) -> list[Event]:
        return [event for event in self.events if event.topic == topic]


def with_bench(bench: LiveBench, scene: Callable[[LiveBench], Coroutine[Any, Any, None]]) -> None:
    """Run a scene; what asyncio would only log fails it."""

    async def body() -> None:
        await bench.start()
        try:
            await scene(bench)
        finally:
            await bench.close()

    play(body, 60)
    assert bench.front.record.while_banned() == []
