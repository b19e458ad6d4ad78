"""The live feed against a small exchange on loopback: real sockets, a clock that the test moves."""

import asyncio
import itertools
import math
from decimal import Decimal

import pytest

from botd.domain.candle import bucket_start
from botd.domain.errors import ConfigError, NotFoundError, UnavailableError
from botd.market.by_ccxt.ccxt_client import redirected
from botd.market.by_ccxt.exchange_feed import ExchangeFeed
from botd.market.cache.cache import MemoryCache
from botd.market.manager import MarketManager
from tests.fakes.mini_binance import MINUTE, MiniBinance, price_at

START = 1_767_225_600_000 + 20 * MINUTE + 30_000
LANE = ("BTC/USDT", "1m")


class SteppedClock:
    """Stands still until the test moves it; who sleeps wakes when the time has come."""

    def __init__(self) -> None:
        self.ms = START

    def now_ms(self) -> int:
        return self.ms

    wall_ms = now_ms

    def monotonic(self) -> float:
        return self.ms / 1000

    async def sleep(self, seconds: float) -> None:
        until = self.ms + seconds * 1000
        while True:
            await asyncio.sleep(0.002)
            if self.ms >= until:
                return


class Readers:
    """The manager's side: which lanes are wanted, and what was delivered."""

    def __init__(self) -> None:
        self.wanted = {}
        self.watcher = lambda: None
        self.ticks, self.candles, self.histories = [], [], {}

    def lanes(self):
        return dict(self.wanted)

    def watch_lanes(self, watcher):
        self.watcher = watcher

    def want(self, lane, count=100):
        self.wanted[lane] = count
        self.watcher()

    def leave(self, lane):
        del self.wanted[lane]
        self.watcher()

    def on_tick(self, symbol, quote):
        self.ticks.append((symbol, quote))

    def on_candle(self, symbol, interval, candle):
        self.candles.append((symbol, interval, candle.open_time))

    def load_history(self, symbol, interval, candles):
        self.histories[symbol, interval] = candles

    def last_bid(self, symbol):
        return next((quote.bid for name, quote in reversed(self.ticks) if name == symbol), None)


class Bench:
    """An exchange, a feed and its readers; `until` moves the clock on while it waits."""

    def __init__(self) -> None:
        self.clock = SteppedClock()
        self.exchange = MiniBinance(self.clock.now_ms)
        self.readers = Readers()
        self.feed = None
        self.task = None

    def make_feed(self, **changes):
        port = self.exchange.port
        urls = {"rest": f"http://127.0.0.1:{port}", "stream": f"ws://127.0.0.1:{port}"}
        settings = {"exchange": "binance", "testnet": False, **urls} | changes
        self.feed = ExchangeFeed(market=self.readers, clock=self.clock, **settings)
        return self.feed

    async def run(self, *lanes) -> None:
        for lane in lanes:
            self.readers.wanted[lane] = 100
        await self.make_feed().start()
        self.task = asyncio.create_task(self.feed.run())

    async def until(self, condition, step_ms=0, limit_s=10) -> None:
        async with asyncio.timeout(limit_s):
            while not condition():
                self.clock.ms += step_ms
                await asyncio.sleep(0.004)

    async def pushed(self, market, bid) -> None:
        """Push until it arrives: the subscription may still be under way."""
        symbol = market.replace("USDT", "/USDT")
        for _ in range(500):
            await self.exchange.push(market, bid, bid + 0.5)
            await asyncio.sleep(0.01)
            if self.readers.last_bid(symbol) == bid:
                return
        pytest.fail(f"{market} {bid} did not arrive; {self.feed.statistics()}")

    async def close(self) -> None:
        if self.task:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)
        if self.feed:
            await self.feed.close()
        await self.exchange.stop()


def with_bench(test):
    """Run an async test with a bench; errors that asyncio would only log fail the test."""

    def run():
        async def body():
            complaints = []
            asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
            bench = Bench()
            await bench.exchange.start()
            try:
                await test(bench)
            finally:
                await bench.close()
            assert not complaints

        asyncio.run(body())

    run.__name__ = test.__name__
    return run


@with_bench
async def test_start_loads_instruments_with_one_request(bench):
    await bench.make_feed().start()
    btc = bench.feed.instruments()["BTC/USDT"]
    assert (btc.tick, btc.step, btc.min_notional) == (Decimal("0.01"), Decimal("0.00001"), Decimal(5))
    assert (str(btc.tick), btc.base, btc.quote, btc.status, btc.max_orders) == ("0.01", "BTC", "USDT", "TRADING", 120)
    assert bench.exchange.seen == {"exchangeInfo": 1, "time": 1}
    assert bench.feed.status == "ok"


@with_bench
async def test_start_says_that_the_exchange_is_out_of_reach_and_can_be_tried_again(bench):
    feed = bench.make_feed()
    assert (feed.status, feed.detail) == ("degraded", "not started")
    await bench.exchange.stop()
    with pytest.raises(UnavailableError, match="binance: "):
        await feed.start()
    assert feed.status == "degraded"
    await bench.exchange.start()
    await feed.start()
    assert feed.status == "ok"


@with_bench
async def test_an_answer_that_is_no_json_is_unavailable_too(bench):
    bench.exchange.broken = True
    with pytest.raises(UnavailableError):
        await bench.make_feed().start()


@with_bench
async def test_an_exchange_that_ccxt_has_not_is_a_configuration_error(bench):
    with pytest.raises(ConfigError) as caught:
        await bench.make_feed(exchange="binanse").start()
    assert caught.value.hint == "did you mean binance?"


@with_bench
async def test_history_has_closed_candles_only(bench):
    await bench.make_feed().start()
    candles = await bench.feed.history("BTC/USDT", "1m", 10)
    # 20 minutes and 30 s past the hour: the last closed candle is that of minute 19
    assert [candle.open_time for candle in candles] == [
        bucket_start(START, MINUTE) - i * MINUTE for i in range(10, 0, -1)
    ]
    assert candles[-1].close == price_at(candles[-1].open_time)
    with pytest.raises(NotFoundError):
        await bench.feed.history("DOGE/USDT", "1m", 10)


@with_bench
async def test_history_is_paged(bench):
    await bench.make_feed().start()
    candles = await bench.feed.history("BTC/USDT", "1m", 2500)
    assert len(candles) == len({candle.open_time for candle in candles}) == 2500
    assert bench.exchange.seen["klines"] == 3


@with_bench
async def test_a_candle_within_two_seconds_of_its_close_is_not_proven(bench):
    await bench.make_feed().start()
    close = bucket_start(START, MINUTE) + MINUTE
    bench.clock.ms = close + 1999
    assert (await bench.feed.history("BTC/USDT", "1m", 1))[-1].open_time == close - 2 * MINUTE
    bench.clock.ms = close + 2000
    assert (await bench.feed.history("BTC/USDT", "1m", 1))[-1].open_time == close - MINUTE


@with_bench
async def test_the_exchanges_time_decides_not_ours(bench):
    bench.exchange.now = lambda: bench.clock.ms - 20_000
    bench.clock.ms = bucket_start(START, MINUTE) + 10_000  # there it is still 10 s before the close
    await bench.make_feed().start()
    assert (await bench.feed.history("BTC/USDT", "1m", 1))[-1].open_time == bucket_start(START, MINUTE) - 2 * MINUTE


@with_bench
async def test_a_lane_gets_its_history_and_then_each_closed_candle_once(bench):
    await bench.run(LANE)
    await bench.until(lambda: LANE in bench.readers.histories)
    assert len(bench.readers.histories[LANE]) == 100
    last = int(bench.readers.histories[LANE].time[-1])
    await bench.until(lambda: len(bench.readers.candles) >= 4, step_ms=2000)
    assert bench.readers.candles == [("BTC/USDT", "1m", last + i * MINUTE) for i in range(1, 5)]
    # asked after the proof, not again and again: about one request a candle
    assert bench.exchange.seen["klines"] <= 8


@with_bench
async def test_a_candle_the_exchange_has_late_is_waited_for(bench):
    await bench.run(LANE)
    await bench.until(lambda: LANE in bench.readers.histories)
    late = int(bench.readers.histories[LANE].time[-1]) + MINUTE
    bench.exchange.withheld = {late, late + MINUTE}
    bench.clock.ms = late + MINUTE + 2500
    before = bench.exchange.seen["klines"]
    await bench.until(lambda: bench.exchange.seen["klines"] >= before + 3, step_ms=100)
    assert bench.readers.candles == []
    await bench.until(lambda: "BTC/USDT 1m: candle overdue" in bench.feed.detail, step_ms=2000)
    bench.exchange.withheld = set()
    await bench.until(lambda: len(bench.readers.candles) >= 2, step_ms=200)
    assert [candle[2] for candle in bench.readers.candles][:2] == [late, late + MINUTE]
    assert bench.feed.status == "ok"


@with_bench
async def test_lanes_come_and_go_while_it_runs(bench):
    await bench.run()
    bench.readers.want(("ETH/USDT", "5m"), 20)
    await bench.until(lambda: ("ETH/USDT", "5m") in bench.readers.histories)
    assert len(bench.readers.histories["ETH/USDT", "5m"]) == 20
    bench.readers.want(("ETH/USDT", "5m"), 50)
    await bench.until(lambda: len(bench.readers.histories["ETH/USDT", "5m"]) == 50)
    bench.readers.leave(("ETH/USDT", "5m"))
    bench.readers.want(LANE)
    await bench.until(lambda: len(bench.readers.candles) >= 3, step_ms=2000)
    assert {candle[0] for candle in bench.readers.candles} == {"BTC/USDT"}


@with_bench
async def test_a_lane_dropped_and_wanted_again_begins_with_its_history(bench):
    await bench.run(LANE)
    await bench.until(lambda: LANE in bench.readers.histories)
    bench.readers.histories.clear()
    bench.readers.leave(LANE)
    bench.readers.want(LANE)
    await bench.until(lambda: LANE in bench.readers.histories)


@with_bench
async def test_quotes_come_from_the_stream(bench):
    await bench.run(LANE, ("ETH/USDT", "1m"))
    await bench.pushed("BTCUSDT", 101.0)
    await bench.pushed("ETHUSDT", 11.0)
    quote = next(quote for name, quote in bench.readers.ticks if name == "BTC/USDT" and quote.bid == 101.0)
    assert (quote.ask, quote.last, quote.time_ms) == (101.5, 101.25, START)


@with_bench
async def test_a_new_symbol_joins_the_stream(bench):
    await bench.run(LANE)
    await bench.pushed("BTCUSDT", 101.0)
    bench.readers.want(("ETH/USDT", "1m"))
    await bench.pushed("ETHUSDT", 11.0)
    await bench.pushed("BTCUSDT", 102.0)


@with_bench
async def test_absurd_quotes_are_dropped(bench):
    await bench.run(LANE)
    await bench.pushed("BTCUSDT", 101.0)
    for bid in (-1.0, 0.0, math.nan):
        await bench.exchange.push("BTCUSDT", bid, 100.0)
    await bench.exchange.push("BTCUSDT", 105.0, 104.0)
    await bench.pushed("BTCUSDT", 103.0)
    assert {quote.bid for _, quote in bench.readers.ticks} <= {100.0, 101.0, 103.0}
    assert bench.feed.statistics()["dropped"] >= 1


@with_bench
async def test_a_quiet_market_stays_fresh_by_rest(bench):
    await bench.run(LANE)
    await bench.pushed("BTCUSDT", 101.0)
    start = bench.clock.ms
    await bench.until(lambda: bench.readers.ticks[-1][1].time_ms >= start + 20_000, step_ms=200)
    assert bench.readers.last_bid("BTC/USDT") == 101.0
    times = [quote.time_ms for _, quote in bench.readers.ticks]
    assert max(b - a for a, b in itertools.pairwise(times)) < 10_000


@with_bench
async def test_a_stream_that_missed_moves_is_made_anew(bench):
    await bench.run(LANE)
    await bench.pushed("BTCUSDT", 101.0)
    connections = bench.exchange.seen["ws"]
    bench.exchange.silent = True  # connected, but dead

    def moved_on():
        bench.exchange.book["BTCUSDT"] = (bench.exchange.book["BTCUSDT"][0] + 1, 500.0)
        return bench.exchange.seen["ws"] > connections

    await bench.until(moved_on, step_ms=100)
    bench.exchange.silent = False
    await bench.until(lambda: bench.feed.status == "ok", step_ms=50)
    await bench.pushed("BTCUSDT", 77.0)


@with_bench
async def test_it_recovers_when_the_exchange_was_away(bench):
    await bench.run(LANE)
    await bench.until(lambda: LANE in bench.readers.histories)
    last = int(bench.readers.histories[LANE].time[-1])
    await bench.pushed("BTCUSDT", 101.0)

    await bench.exchange.stop()
    await bench.until(lambda: {"quotes", "candles"} <= bench.feed._troubles.keys(), step_ms=1000)
    assert bench.feed.status == "degraded"
    assert "quotes: " in bench.feed.detail

    await bench.exchange.start()
    await bench.until(lambda: len(bench.readers.candles) >= 3, step_ms=1000)
    await bench.pushed("BTCUSDT", 102.0)
    await bench.until(lambda: bench.feed.status == "ok", step_ms=50)
    opens = [candle[2] for candle in bench.readers.candles]
    assert opens == [last + i * MINUTE for i in range(1, len(opens) + 1)]


@with_bench
async def test_the_manager_is_fed_by_it(bench):
    class Bot:
        closed = []

        def on_open(self, open_time, price):
            pass

        def on_closed(self, candle):
            self.closed.append(candle.open_time)

    manager = MarketManager(
        clock=bench.clock,
        cache=MemoryCache(),
        base_interval=None,
        on_event=lambda event: pytest.fail(f"{event}"),
        candle_feed=False,
        lookback=50,
    )
    bench.readers = manager
    await bench.make_feed().start()
    bench.task = asyncio.create_task(bench.feed.run())
    subscription = manager.subscribe(*LANE, Bot(), 30)
    assert not subscription.ready
    await bench.until(lambda: subscription.ready and manager.quote("BTC/USDT"), step_ms=100)
    assert len(manager.window(*LANE, 30)) == 30
    last = int(manager.window(*LANE, 1).time[0])
    await bench.until(lambda: len(Bot.closed) >= 2, step_ms=1000)
    assert Bot.closed == [last + MINUTE, last + 2 * MINUTE]
    await bench.until(lambda: manager.stale("BTC/USDT", 10_000) is None, step_ms=10)  # what is on its way arrives
    await manager.close()


def test_every_url_is_redirected_and_keeps_its_path():
    urls = {
        "public": "https://api.x.com/api/v3",
        "ws": {"spot": "wss://stream.x.com:9443/ws", "api": {"a": "wss://y/z"}},
    }
    moved = redirected(urls, "http://127.0.0.1:1/", "ws://127.0.0.1:2", spot_marker=True)
    assert moved == {
        "public": "http://127.0.0.1:1/api/v3",
        "ws": {"spot": "ws://127.0.0.1:2/ws#/stream", "api": {"a": "ws://127.0.0.1:2/z#/stream"}},
    }
    assert redirected(urls, None, None, spot_marker=True) == urls


def test_no_url_of_the_exchange_is_left_over():
    async def addresses():
        bench = Bench()
        feed = bench.make_feed(rest="http://127.0.0.1:1", stream="ws://127.0.0.1:1")
        with pytest.raises(UnavailableError):
            await feed.start()
        urls = feed._client.urls["api"]
        await feed.close()
        return str(urls)

    text = asyncio.run(addresses())
    assert text.count("://") == text.count("://127.0.0.1:1")
