"""Publishers and followers of one market around a real Redis, in one process: the market's time is moved by the test.

Every publisher has the same exchange behind it, whose candles are a function of their time: what followers hear can
be compared with the truth to the last digit.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from decimal import Decimal
from typing import Any

import redis

from botd.domain.candle import Candle, interval_ms
from botd.domain.clock import VirtualClock
from botd.domain.events import Event
from botd.domain.instrument import Instrument
from botd.market.cache.cache import MemoryCache
from botd.market.cache.redis_link import RedisLink
from botd.market.candles import window_of
from botd.market.feed import Lane, Quote
from botd.market.manager import MarketManager
from botd.market.shared.messages import Keys
from botd.market.shared.publisher import Publisher
from botd.market.shared.shared_feed import SharedFeed
from tests.fakes.live_scene import Reader, play
from tests.fakes.redis_server import RedisServer

MINUTE = 60_000
START = 1_767_225_600_000 + 500 * MINUTE
BTC, ETH = "BTC/USDT", "ETH/USDT"
LOOKBACK = 60
FRESH_MS = 10_000
KEYS = Keys("binance")


class SteppedClock(VirtualClock):
    """Market time stands until the test moves it; timers run."""

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def truth(lane: Lane, open_time: int) -> Candle:
    """The exchange's candle of that time."""
    number = open_time // interval_ms(lane[1])
    price = 100.0 + (number * 37 % 101) / 8 + len(lane[1]) + (1000.0 if lane[0] == BTC else 0.0)
    return Candle(open_time, price, price + 2.5, price - 1.25, price + 0.625, float(number % 7))


def instrument(symbol: str) -> Instrument:
    base, quote = symbol.split("/")
    return Instrument(symbol=symbol, base=base, quote=quote, tick=Decimal("0.01"), step=Decimal("0.00001"))


async def until(condition: Callable[[], Any], seconds: float = 8.0, say: Callable[[], Any] = str) -> None:
    """Wait until something holds, in real time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s: {say()}"
        await asyncio.sleep(0.005)


class Side:
    """What publishers and followers have in common: a market and its readers."""

    def __init__(self, world: SharedWorld, port: int) -> None:
        self.world = world
        self.port = port
        self.events: list[Event] = []
        self.market = MarketManager(
            clock=world.clock, cache=MemoryCache(), base_interval=None, on_event=self.events.append,
            candle_feed=False, lookback=LOOKBACK,
        )  # fmt: skip
        self.ears: dict[Lane, Reader] = {}
        self.task: asyncio.Task[None] | None = None

    def link(self) -> RedisLink:
        return RedisLink("127.0.0.1", self.port, self.world.clock, meanwhile="waiting", retry_s=0.15)

    def read(self, symbol: str = BTC, interval: str = "1m", warmup: int = 20) -> Reader:
        ears = self.ears[symbol, interval] = Reader(lambda: self.denied(symbol))
        self.market.subscribe(symbol, interval, ears, warmup)
        return ears

    def denied(self, symbol: str = BTC) -> bool:
        """What the risk gate is told."""
        return self.market.stale(symbol, FRESH_MS) is not None

    def assert_complete(self, lane: Lane = (BTC, "1m")) -> int:
        """Every candle since the first one heard, up to now: once, in order, true; the array too. Returns how many."""
        heard, length = self.ears[lane].candles, interval_ms(lane[1])
        assert heard, f"nothing was delivered of {lane}"
        end = self.world.clock.now_ms() // length * length
        times = [candle.open_time for candle in heard]
        missed = sorted(set(range(times[0], end, length)) - set(times))
        assert not missed, (lane, missed, times[-1], self.events[-6:], self.world.say())
        assert times == list(range(times[0], end, length)), lane
        assert heard == [truth(lane, opened) for opened in times]
        assert [event for event in self.events if event.topic == "market.gap"] == []
        self.assert_array(lane)
        return len(heard)

    def assert_array(self, lane: Lane = (BTC, "1m")) -> None:
        window = self.market.window(*lane, LOOKBACK)
        rows = [window.candle(row) for row in range(len(window))]
        length = interval_ms(lane[1])
        assert len(rows) == LOOKBACK
        assert rows == [truth(lane, rows[0].open_time + row * length) for row in range(LOOKBACK)]

    async def kill(self) -> None:
        """End the daemon without a word: its lease stays until it ends."""
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)
            self.task = None


class PublishingSide(Side):
    """A daemon with an exchange connection that publishes."""

    def __init__(self, world: SharedWorld, port: int, name: str) -> None:
        super().__init__(world, port)
        self.silent = False
        self.withheld: list[tuple[Lane, int]] = []
        self.loaded: dict[Lane, int] = {}
        self.publisher = Publisher(
            self.link(), KEYS, market=self.market, clock=world.clock, name=name, exchange_ms=world.clock.now_ms,
            instruments=lambda: {symbol: instrument(symbol) for symbol in (BTC, ETH)}, lease_s=0.6, beat_s=0.05,
            check_s=0.2,
        )  # fmt: skip
        self.market.watch_lanes(self.load)

    def begin(self) -> PublishingSide:
        self.task = asyncio.create_task(self.publisher.run(), name="publisher")
        return self

    def load(self) -> None:
        """Load the history of new lanes, as the exchange has it."""
        lanes = self.market.lanes()
        self.loaded = {lane: count for lane, count in self.loaded.items() if lane in lanes}
        for lane, count in lanes.items():
            if self.loaded.get(lane, 0) < count:
                self.loaded[lane] = count
                length = interval_ms(lane[1])
                end = self.world.clock.now_ms() // length * length
                rows = [truth(lane, opened) for opened in range(end - count * length, end, length)]
                asyncio.get_running_loop().call_soon(self.market.load_history, *lane, window_of(lane[1], rows))

    def tick(self, symbol: str, price: float) -> None:
        if not self.silent:
            self.market.on_tick(symbol, Quote(price, price + 0.5, price + 0.25, self.world.clock.now_ms()))

    def close_lane(self, lane: Lane, open_time: int) -> None:
        if self.silent:
            self.withheld.append((lane, open_time))
        else:
            self.market.on_candle(*lane, truth(lane, open_time))

    def speak(self) -> None:
        """End the silence: what closed meanwhile comes first."""
        self.silent = False
        for lane, open_time in self.withheld:
            self.close_lane(lane, open_time)
        self.withheld = []

    @property
    def leads(self) -> bool:
        return self.task is not None and self.publisher.statistics()["role"] == "leading"


class FollowingSide(Side):
    """A daemon without an exchange connection."""

    def __init__(self, world: SharedWorld, port: int) -> None:
        super().__init__(world, port)
        self.feed = SharedFeed(
            self.link(), KEYS, market=self.market, clock=world.clock, want_s=0.1, silent_s=0.6, tick_s=0.01
        )

    def begin(self) -> FollowingSide:
        self.task = asyncio.create_task(self._run(), name="follower")
        return self

    async def _run(self) -> None:
        while True:
            try:
                await self.feed.start()
                break
            except Exception:
                await asyncio.sleep(0.03)
        await self.feed.run()

    @property
    def holds(self) -> bool:
        """Whether a candle waits behind a hole that can be read back."""
        lanes = (lane for symbol in self.feed.statistics()["symbols"].values() for lane in symbol.values())
        return not self.feed._link.is_open and any(lane["waiting"] for lane in lanes)

    @property
    def is_live(self) -> bool:
        states = self.feed.states()
        return set(states) >= set(self.ears) and set(states.values()) == {"LIVE"} and self.feed.status == "ok"


class SharedWorld:
    """See the module."""

    def __init__(self) -> None:
        self.clock = SteppedClock(START)
        self.server = RedisServer()
        self.publishers: list[PublishingSide] = []
        self.followers: list[FollowingSide] = []
        self.price = 0

    def publisher(self, name: str = "", port: int | None = None) -> PublishingSide:
        side = PublishingSide(self, port or self.server.port, name or f"p{len(self.publishers)}")
        self.publishers.append(side)
        return side.begin()

    def follower(self, *lanes: Lane, port: int | None = None) -> FollowingSide:
        side = FollowingSide(self, port or self.server.port)
        self.followers.append(side)
        for lane in lanes or ((BTC, "1m"),):
            side.read(*lane)
        return side.begin()

    @property
    def leader(self) -> PublishingSide | None:
        return next((side for side in self.publishers if side.leads), None)

    async def ready(self, seconds: float = 8.0) -> None:
        """Wait, the market going on slowly, until all followers are live."""
        await self.settle(lambda: all(side.is_live for side in self.followers), seconds)

    async def settle(self, condition: Callable[[], Any], seconds: float = 8.0) -> None:
        """Wait until something holds; meanwhile the market's time goes on about as fast as real time."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, [side.feed.statistics() for side in self.followers]
            await self.step(20)
            await asyncio.sleep(0.01)

    async def step(self, milliseconds: int) -> None:
        """Let the market go on: candles close at their time, prices are quoted."""
        before, now = self.clock.now_ms(), self.clock.now_ms() + milliseconds
        self.clock.advance(now)
        self.price += 1
        for side in self.publishers:
            if side.task is None:
                continue
            for lane in list(side.market.lanes()):
                length = interval_ms(lane[1])
                for end in range(before // length * length + length, now + 1, length):
                    side.close_lane(lane, end - length)
            for symbol in (BTC, ETH):
                side.tick(symbol, (1100.0 if symbol == BTC else 110.0) + self.price % 16 / 16)

    async def play(self, minutes: int, *, wait: bool = True) -> None:
        """Play so many minutes; with ``wait`` every one is heard by all followers before the next."""
        for _ in range(minutes):
            for _ in range(3):
                await self.holes_asked_for()
                await self.step(MINUTE // 3)
                await asyncio.sleep(0.002)
            if wait:
                await self.settle(lambda: all(self.has_heard(side) for side in self.followers), 5.0)

    async def holes_asked_for(self) -> None:
        """Let what was missed be read back: the five seconds that a lane holds are real ones in life, and here the
        market's time is far faster than Redis. Not waited for while Redis is away: then lanes hold on by themselves."""
        end = time.monotonic() + 5.0
        while time.monotonic() < end and any(side.holds for side in self.followers if side.task is not None):
            await asyncio.sleep(0.005)

    def has_heard(self, side: FollowingSide) -> bool:
        """Tell whether a follower's lanes are as far as the market, and its prices fresh."""
        now = self.clock.now_ms()
        ends = {lane: side.market.window(*lane, 1).time for lane in side.ears}
        return side.task is None or all(
            len(time) and time[0] + 2 * interval_ms(interval) > now and not side.denied(symbol)
            for (symbol, interval), time in ends.items()
        )

    def say(self) -> Any:
        return [side.feed.statistics() for side in self.followers], [s.publisher.statistics() for s in self.publishers]

    def raw(self) -> redis.Redis:
        """A client of the test's own."""
        return redis.Redis(port=self.server.port, socket_timeout=5)

    async def recovered(self, seconds: float = 8.0) -> None:
        """Wait until all followers are live and have heard all there is, and play on for a while."""
        await self.settle(lambda: all(side.is_live and self.has_heard(side) for side in self.followers), seconds)
        await self.play(4)

    def assert_complete(self) -> int:
        """Nobody missed a candle, heard one twice or a wrong one, followers and publishers. Returns how many."""
        sides = [side for side in (*self.followers, *self.publishers) if side.task is not None]
        assert not any(side.denied(symbol) for side in sides for symbol, _ in side.ears)
        return sum(side.assert_complete(lane) for side in sides for lane in side.ears)

    async def close(self) -> None:
        for side in (*self.followers, *self.publishers):
            await side.kill()
            await side.market.close()
        for follower in self.followers:
            await follower.feed.close()
        for publisher in self.publishers:
            await publisher.publisher.close()
        self.server.stop()


def with_world(scene: Callable[[SharedWorld], Coroutine[Any, Any, None]], *, server: bool = True) -> None:
    """Run a scene; what asyncio would only log fails it."""

    async def body() -> None:
        world = SharedWorld()
        if server:
            world.server.start()
        try:
            await scene(world)
        finally:
            await world.close()

    play(body, 60)
