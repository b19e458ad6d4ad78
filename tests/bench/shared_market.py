"""A market shared through Redis: how much later a follower's bots hear what the publisher's bots hear.

Three processes on this machine: a real redis-server, a publisher whose market gets 2,000 prices a second of 200
symbols, and a follower. The market's clock runs fifteen times as fast as ours, so that every four seconds 200 candles
close: in turns within half a second, as an exchange tells them, and all at once. Every price, and every candle's
close, is the microsecond in which the publisher's market took it.

``python -m tests.bench shared_market``
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections import deque
from decimal import Decimal
from typing import Any

from botd.domain.candle import Candle
from botd.domain.clock import WallClock
from botd.domain.instrument import Instrument
from botd.market.cache.cache import MemoryCache
from botd.market.cache.redis_link import RedisLink
from botd.market.candles import window_of
from botd.market.feed import Quote
from botd.market.manager import MarketManager
from botd.market.shared.messages import Keys
from botd.market.shared.publisher import Publisher
from botd.market.shared.shared_feed import SharedFeed
from tests.bench.figures import Options, Row, quantile
from tests.bench.processes import end
from tests.fakes.redis_server import RedisServer

SYMBOLS = [f"C{number:03d}/USDT" for number in range(200)]
RATE = 2_000
SPEED = 15
SPREAD_S = 0.5
LOOKBACK = 60
MINUTE = 60_000
KEYS = Keys("bench")
_START_MS = 1_767_225_600_000
_BASE = 1e9
_WRAP = 100_000_000


class FastClock(WallClock):
    """Trading time is ``SPEED`` times as fast as the wall; the same in all processes."""

    def now_ms(self) -> int:
        return _START_MS + (time.time_ns() // 1_000 - 1_760_000_000_000_000) * SPEED // 1_000

    wall_ms = now_ms


def stamp() -> float:
    """Return now, in microseconds, as a price; far from a fifth of it in all its range."""
    return _BASE + time.time_ns() // 1_000 % _WRAP


def is_spread(open_time: int) -> bool:
    """Tell whether the candles of that minute are told one after the other, not all at once."""
    return bool(open_time // MINUTE % 2)


def run(options: Options) -> list[Row]:
    """Return latencies in milliseconds, processor time, and what was missed."""
    seconds = 9.0 if options.quick else 40.0
    with RedisServer() as server:
        follower = _process("follow", server.port, seconds)
        publisher = _process("publish", server.port, seconds)
        idle: list[float] = []
        done = threading.Event()
        sleeper = threading.Thread(target=_sleep, args=(idle, done))
        sleeper.start()
        try:
            heard: dict[str, Any] = json.loads(follower.communicate(timeout=seconds + 60)[0])
            told: dict[str, Any] = json.loads(publisher.communicate(timeout=60)[0])
        finally:
            done.set()
            sleeper.join()
            end(follower)
            end(publisher)
    note = f"{heard['prices']:,} prices"
    beside: dict[str, Any] = {"peer": "an idle thread", "theirs": quantile(idle, 0.99)}
    return [
        Row("price, publisher's market to follower's, p50", quantile(heard["price_ms"], 0.5), "ms", note=note),
        Row("the same, p99", quantile(heard["price_ms"], 0.99), "ms", bound=5.0, **beside),
        Row("candle, 200 within half a second, p50", quantile(heard["spread_ms"], 0.5), "ms"),
        Row("the same, p99", quantile(heard["spread_ms"], 0.99), "ms", bound=5.0, **beside),
        Row("candle, 200 at once, p50", quantile(heard["at_once_ms"], 0.5), "ms"),
        Row("the same, p99", quantile(heard["at_once_ms"], 0.99), "ms"),
        Row("candles heard", heard["candles"], ""),
        Row("candles missed, wrong or heard twice", heard["faults"], "", bound=0.0),
        Row("publisher's processor time", told["cpu"] * 100, "% of a core"),
        Row("follower's processor time", heard["cpu"] * 100, "% of a core"),
    ]


def _sleep(late_ms: list[float], done: threading.Event) -> None:
    """Note how late a thread wakes that does nothing else: what this machine adds to anything just now."""
    while not done.is_set():
        began = time.perf_counter()
        time.sleep(0.001)
        late_ms.append((time.perf_counter() - began) * 1000 - 1)


def _process(role: str, port: int, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.bench.shared_market", role, str(port), str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)


def _market(clock: FastClock) -> MarketManager:
    return MarketManager(
        clock=clock, cache=MemoryCache(), base_interval=None, on_event=lambda event: None, candle_feed=False,
        lookback=LOOKBACK,
    )  # fmt: skip


def _link(port: int, clock: FastClock) -> RedisLink:
    return RedisLink("127.0.0.1", port, clock, meanwhile="waiting", retry_s=0.5)


# -- the publisher's process


async def publish(port: int, seconds: float) -> dict[str, Any]:
    """Feed a market at the rate, and publish it, a little longer than the follower measures."""
    clock = FastClock()
    market = _market(clock)
    publisher = Publisher(
        _link(port, clock), KEYS, market=market, clock=clock, name="bench", exchange_ms=clock.now_ms,
        instruments=lambda: {symbol: _instrument(symbol) for symbol in SYMBOLS},
    )  # fmt: skip
    market.watch_lanes(lambda: _load(market, clock, loaded))
    loaded: set[str] = set()
    task = asyncio.create_task(publisher.run())
    until = time.monotonic() + seconds + 12
    count, began, cpu = 0, time.monotonic(), time.process_time()
    closed = clock.now_ms() // MINUTE * MINUTE
    waiting: deque[tuple[float, str, int]] = deque()
    while time.monotonic() < until:
        await asyncio.sleep(0.001)
        while count < (time.monotonic() - began) * RATE:
            price = stamp()
            market.on_tick(SYMBOLS[count * 7 % len(SYMBOLS)], Quote(price, price, price, clock.now_ms()))
            count += 1
        while closed + MINUTE <= clock.now_ms():
            gap_s = SPREAD_S / len(SYMBOLS) * is_spread(closed)
            waiting.extend((time.monotonic() + number * gap_s, symbol, closed) for number, symbol in enumerate(loaded))
            closed += MINUTE
        while waiting and waiting[0][0] <= time.monotonic():
            _, symbol, opened = waiting.popleft()
            price = stamp()
            market.on_candle(symbol, "1m", Candle(opened, price, price, price, price, 1.0))
    used = (time.process_time() - cpu) / (time.monotonic() - began)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await publisher.close()
    return {"cpu": used, **publisher.statistics()}


def _load(market: MarketManager, clock: FastClock, loaded: set[str]) -> None:
    for symbol, interval in market.lanes():
        if symbol not in loaded:
            loaded.add(symbol)
            last = clock.now_ms() // MINUTE * MINUTE
            price = stamp()
            rows = [
                Candle(opened, price, price, price, price, 1.0)
                for opened in range(last - LOOKBACK * MINUTE, last, MINUTE)
            ]
            asyncio.get_running_loop().call_soon(market.load_history, symbol, interval, window_of(interval, rows))


def _instrument(symbol: str) -> Instrument:
    return Instrument(symbol=symbol, base=symbol[:4], quote="USDT", tick=Decimal("0.01"), step=Decimal("0.01"))


# -- the follower's process


class Ears:
    """A bot's ears and a sink at once: notes how late things are, and whether a candle was missed."""

    def __init__(self) -> None:
        self.late_ms: dict[bool, list[float]] = {True: [], False: []}
        self.last: int | None = None
        self.faults = 0

    def on_closed(self, candle: Candle) -> None:
        self.late_ms[is_spread(candle.open_time)].append(_late_ms(candle.close))
        if self.last is not None and candle.open_time != self.last + MINUTE:
            self.faults += 1
        self.last = candle.open_time

    def on_open(self, open_time: int, price: float) -> None:
        """Not told on tick feeds."""


class Prices:
    """A sink that notes how late prices are."""

    def __init__(self) -> None:
        self.late_ms: list[float] = []

    def on_tick(self, symbol: str, quote: Quote) -> None:
        self.late_ms.append(_late_ms(quote.last))

    def on_open(self, symbol: str, interval: str, open_time: int, price: float) -> None:
        """Not told on tick feeds."""

    def on_closed(self, symbol: str, interval: str, candle: Candle) -> None:
        """Bots hear of candles."""

    after_levels = on_closed


def _late_ms(price: float) -> float:
    return (stamp() - price) % _WRAP / 1_000


async def follow(port: int, seconds: float) -> dict[str, Any]:
    """Follow all symbols; measure when all lanes are live."""
    clock = FastClock()
    market = _market(clock)
    feed = SharedFeed(_link(port, clock), KEYS, market=market, clock=clock)
    prices, candles = Prices(), [Ears() for _ in SYMBOLS]
    market.add_sink(prices)
    for symbol, ears in zip(SYMBOLS, candles, strict=True):
        market.subscribe(symbol, "1m", ears, 20)
    while not feed.instruments():
        try:
            await feed.start()
        except Exception:  # nobody publishes yet
            await asyncio.sleep(0.2)
    task = asyncio.create_task(feed.run())
    deadline = time.monotonic() + 10
    while list(feed.states().values()).count("LIVE") < len(SYMBOLS) or feed.status != "ok":
        await asyncio.sleep(0.2)
        if time.monotonic() > deadline:
            raise TimeoutError(feed.detail)
    await asyncio.sleep(1)
    for ears in candles:
        ears.late_ms = {True: [], False: []}
        ears.faults, ears.last = 0, None
    prices.late_ms.clear()
    cpu, began = time.process_time(), time.monotonic()
    await asyncio.sleep(seconds)
    used = (time.process_time() - cpu) / (time.monotonic() - began)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await feed.close()
    spread, at_once = ([late for ears in candles for late in ears.late_ms[which]] for which in (True, False))
    return {
        "price_ms": sorted(prices.late_ms)[:: max(1, len(prices.late_ms) // 5000)],
        "prices": len(prices.late_ms),
        "spread_ms": sorted(spread),
        "at_once_ms": sorted(at_once),
        "candles": len(spread) + len(at_once),
        "faults": sum(ears.faults for ears in candles) + sum(ears.last != candles[0].last for ears in candles),
        "cpu": used,
    }


if __name__ == "__main__":
    part = {"publish": publish, "follow": follow}[sys.argv[1]]
    print(json.dumps(asyncio.run(part(int(sys.argv[2]), float(sys.argv[3])))))
