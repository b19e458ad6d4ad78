"""The price cache against a real redis-server: present, absent, killed, frozen, flushed, full of garbage."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import redis

from botd.domain.candle import Candle
from botd.domain.clock import VirtualClock
from botd.market.cache.redis_cache import RedisCache
from botd.market.feed import Quote
from tests.fakes.redis_server import RedisServer

START = 1_767_225_600_000
LANE = ("BTC/USDT", "1m")


class StillClock(VirtualClock):
    """Trading time stands still; timers run."""

    def monotonic(self) -> float:
        return time.monotonic()


@pytest.fixture
def server() -> Iterator[RedisServer]:
    server = RedisServer()
    yield server
    server.stop()


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.INFO, logger="botd.market.cache")
    return lambda: [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING and r.name != "asyncio"]


@asynccontextmanager
async def cache_of(server: RedisServer, **settings: Any) -> AsyncIterator[RedisCache]:
    settings = {"prefix": "botd:abcde:", "retry_s": 0.2, "keep": 50} | settings
    cache = RedisCache(server.host, server.port, StillClock(START + 10_000 * 60_000), **settings)
    await cache.start()
    try:
        yield cache
    finally:
        await cache.close()


def raw(server: RedisServer) -> redis.Redis:
    return redis.Redis(host=server.host, port=server.port)


def candle(minute: int) -> Candle:
    return Candle(START + minute * 60_000, 100.0, 101.5, 99.5, 100.25 + minute / 1000, 1.0)


def quote(number: int) -> Quote:
    return Quote(100.0 + number, 101.0 + number, 100.5 + number, START + number)


def put_candles(cache: RedisCache, first: int, last: int) -> None:
    for minute in range(first, last + 1):
        cache.put_candle(*LANE, candle(minute))


async def until(condition: Callable[[], bool], what: str, timeout_s: float = 5.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"still not: {what}"
        await asyncio.sleep(0.01)


def is_ok(cache: RedisCache) -> Callable[[], bool]:
    return lambda: cache.status()["status"] == "ok"


def is_degraded(cache: RedisCache) -> Callable[[], bool]:
    return lambda: cache.status()["status"] == "degraded" and "does not answer" in cache.status()["detail"]


def all_written(cache: RedisCache) -> Callable[[], bool]:
    return lambda: cache.statistics()["lacking"] == 0 and is_ok(cache)()


async def read_candles(server: RedisServer, count: int = 50, **settings: Any) -> list[Candle]:
    """Read as another process would: with nothing in memory."""
    async with cache_of(server, **settings) as reader:
        return await reader.candles(*LANE, count)


async def read_quote(server: RedisServer) -> Quote | None:
    async with cache_of(server) as reader:
        return await reader.latest("BTC/USDT")


def test_what_is_put_can_be_read_by_others_and_expires(server: RedisServer, warnings: Any) -> None:
    async def scenario() -> None:
        async with cache_of(server) as cache:
            cache.put_quote("BTC/USDT", quote(1))
            put_candles(cache, 0, 69)
            await until(all_written(cache), "written")
            assert await read_quote(server) == quote(1)
            assert await read_candles(server) == [candle(minute) for minute in range(20, 70)]  # the last fifty
            assert await read_candles(server, 3) == [candle(67), candle(68), candle(69)]
            assert cache.status() == {"name": "redis", "status": "ok", "detail": f"127.0.0.1:{server.port}"}

    server.start()
    asyncio.run(scenario())
    with raw(server) as client:
        assert sorted(client.keys()) == [b"botd:abcde:candles:BTC/USDT:1m", b"botd:abcde:quote:BTC/USDT"]
        assert 0 < client.ttl("botd:abcde:quote:BTC/USDT") <= 300
        assert 0 < client.ttl("botd:abcde:candles:BTC/USDT:1m") <= 7 * 86_400
        assert json.loads(client.get("botd:abcde:quote:BTC/USDT") or b"")["time"] == START + 1
    assert warnings() == []


def test_followers_get_each_closed_candle_once_and_in_order(server: RedisServer) -> None:
    async def scenario() -> None:
        async with cache_of(server) as cache:
            for minute in range(30):
                cache.put_candle(*LANE, candle(minute))
                cache.put_quote("BTC/USDT", quote(minute))
                if minute % 7 == 0:
                    await until(all_written(cache), "written")
            await until(all_written(cache), "written")

    server.start()
    with raw(server) as client, client.pubsub() as follower:
        follower.psubscribe("botd:abcde:*")
        asyncio.run(scenario())
        heard: dict[str, list[int]] = {"candle": [], "quote": []}
        while (message := follower.get_message(timeout=0.2)) is not None:
            if message["type"] == "pmessage":
                kind = message["channel"].decode().split(":")[2]
                heard[kind].append(json.loads(message["data"])["time"])
    assert heard["candle"] == [candle(minute).open_time + 60_000 for minute in range(30)]
    assert heard["quote"] == sorted(heard["quote"])
    assert heard["quote"][-1] == quote(29).time_ms  # the latest wins: in between some may be missing


def test_absent_at_start_it_warns_once_and_writes_all_when_redis_appears(server: RedisServer, warnings: Any) -> None:
    async def scenario() -> None:
        async with cache_of(server) as cache:
            assert cache.status()["status"] == "degraded"
            cache.put_quote("BTC/USDT", quote(1))
            put_candles(cache, 0, 9)
            await until(is_degraded(cache), "degraded")
            await asyncio.sleep(0.6)  # some more trials
            assert len(warnings()) == 1
            assert await cache.latest("BTC/USDT") == quote(1)
            assert await cache.candles(*LANE, 5) == [candle(minute) for minute in range(5, 10)]
            await asyncio.to_thread(server.start)
            await until(all_written(cache), "written")
            assert await read_candles(server) == [candle(minute) for minute in range(10)]
            assert await read_quote(server) == quote(1)

    asyncio.run(scenario())
    assert len(warnings()) == 1


def test_killed_it_serves_from_memory_and_refills_the_empty_successor(server: RedisServer, warnings: Any) -> None:
    async def scenario() -> None:
        async with cache_of(server) as cache:
            put_candles(cache, 0, 9)
            await until(all_written(cache), "written")
            for outage in (1, 2):
                server.kill()
                put_candles(cache, outage * 10, outage * 10 + 9)
                cache.put_quote("BTC/USDT", quote(outage))
                await until(is_degraded(cache), "degraded")
                assert await cache.latest("BTC/USDT") == quote(outage)
                assert len(await cache.candles(*LANE, 50)) == outage * 10 + 10
                await asyncio.to_thread(server.start)
                await until(all_written(cache), "written")
                assert len(warnings()) == outage
                assert await read_candles(server) == [candle(minute) for minute in range(outage * 10 + 10)]

    server.start()
    asyncio.run(scenario())


def test_frozen_it_never_holds_up_the_loop_and_goes_on_when_thawed(server: RedisServer, warnings: Any) -> None:
    async def scenario() -> None:
        async with cache_of(server) as cache, cache_of(server) as reader:
            cache.put_quote("BTC/USDT", quote(0))
            await until(all_written(cache), "written")
            server.freeze()
            longest, number, before = 0.0, 0, time.monotonic()
            while not (is_degraded(cache)() and number > 50):
                number += 1
                cache.put_quote("BTC/USDT", quote(number))
                cache.put_candle(*LANE, candle(number))
                await asyncio.sleep(0.001)
                now = time.monotonic()
                longest, before = max(longest, now - before), now
                assert number < 5000, "never degraded"
            assert longest < 0.25  # nobody waited for Redis (the rest is what a busy machine needs)
            began = time.monotonic()
            assert await reader.latest("BTC/USDT") is None
            assert await reader.candles(*LANE, 5) == []
            assert time.monotonic() - began < 1.0
            assert await cache.latest("BTC/USDT") == quote(number)
            server.thaw()
            await until(all_written(cache), "written")
            await until(is_ok(reader), "reader ok")
            assert await reader.latest("BTC/USDT") == quote(number)
            expected = [candle(minute) for minute in range(max(1, number - 49), number + 1)]
            assert await reader.candles(*LANE, 50) == expected

    server.start()
    asyncio.run(scenario())
    assert 1 <= len(warnings()) <= 2  # the writer's, and the reader's own if it noticed


def test_frozen_in_a_quiet_market_health_tells_too(server: RedisServer, warnings: Any) -> None:
    async def scenario() -> None:
        async with cache_of(server) as cache:
            await until(is_ok(cache), "ok")
            server.freeze()
            await until(is_degraded(cache), "degraded")
            server.thaw()
            await until(is_ok(cache), "ok again")

    server.start()
    asyncio.run(scenario())
    assert len(warnings()) == 1


def test_flushed_the_lane_is_written_anew_with_its_next_candle(server: RedisServer, warnings: Any) -> None:
    async def scenario() -> None:
        async with cache_of(server) as cache:
            put_candles(cache, 0, 29)
            await until(all_written(cache), "written")
            with raw(server) as client:
                client.flushall()
            assert await read_candles(server) == []
            cache.put_candle(*LANE, candle(30))
            await until(all_written(cache), "written")
            assert await read_candles(server) == [candle(minute) for minute in range(31)]
            assert cache.statistics()["rewritten"] == 1

    server.start()
    asyncio.run(scenario())
    assert warnings() == []


@pytest.mark.parametrize("garbage", [b"garbage", b"\xff\xfe", b"{}", b'{"schema":1}', b""])
def test_garbage_in_place_of_a_quote_is_no_quote_and_the_next_one_heals_it(server: RedisServer, garbage: bytes) -> None:
    async def scenario() -> None:
        async with cache_of(server) as cache:
            cache.put_quote("BTC/USDT", quote(1))
            await until(all_written(cache), "written")
            with raw(server) as client:
                client.set("botd:abcde:quote:BTC/USDT", garbage)
            assert await read_quote(server) is None
            assert await cache.latest("BTC/USDT") == quote(1)
            cache.put_quote("BTC/USDT", quote(2))
            await until(all_written(cache), "written")
            assert await read_quote(server) == quote(2)

    server.start()
    asyncio.run(scenario())


def test_a_quote_under_the_key_of_another_symbol_is_no_quote(server: RedisServer) -> None:
    async def scenario() -> None:
        async with cache_of(server) as cache:
            cache.put_quote("ETH/USDT", quote(1))
            await until(all_written(cache), "written")
            with raw(server) as client:
                client.copy("botd:abcde:quote:ETH/USDT", "botd:abcde:quote:BTC/USDT")
            assert await read_quote(server) is None

    server.start()
    asyncio.run(scenario())


def test_garbage_among_candles_is_passed_over_and_what_claims_to_be_newer_goes(server: RedisServer) -> None:
    async def scenario() -> None:
        async with cache_of(server) as cache:
            put_candles(cache, 0, 9)
            await until(all_written(cache), "written")
            with raw(server) as client:
                client.zadd("botd:abcde:candles:BTC/USDT:1m", {"nonsense": candle(5).open_time, "more": 9e15})
            assert await read_candles(server) == [candle(minute) for minute in range(10)]
            cache.put_candle(*LANE, candle(10))
            await until(all_written(cache), "written")
            with raw(server) as client:
                assert b"more" not in client.zrange("botd:abcde:candles:BTC/USDT:1m", 0, -1)
            assert await read_candles(server) == [candle(minute) for minute in range(11)]

    server.start()
    asyncio.run(scenario())


def test_a_candle_among_ours_that_is_not_ours_goes_with_the_next_write(server: RedisServer) -> None:
    async def scenario() -> None:
        async with cache_of(server) as cache:
            put_candles(cache, 0, 69)
            await until(all_written(cache), "written")
            key = "botd:abcde:candles:BTC/USDT:1m"
            with raw(server) as client:
                (value,) = client.zrangebyscore(key, candle(60).open_time, candle(60).open_time)
                wrong = json.dumps({**json.loads(value), "high": 9000.0})
                client.zadd(key, {wrong: candle(60).open_time, "nonsense": candle(65).open_time})
            cache.put_candle(*LANE, candle(70))
            await until(all_written(cache), "written")
            assert await read_candles(server) == [candle(minute) for minute in range(21, 71)]
            with raw(server) as client:
                assert client.zcard(key) == 50
            assert cache.statistics()["rewritten"] == 1

    server.start()
    asyncio.run(scenario())


def test_what_a_former_process_wrote_stays_below_what_this_one_writes(server: RedisServer) -> None:
    async def scenario() -> None:
        async with cache_of(server) as former:
            put_candles(former, 0, 19)
            await until(all_written(former), "written")
        async with cache_of(server) as cache:
            put_candles(cache, 20, 21)
            await until(all_written(cache), "written")
            assert await cache.candles(*LANE, 50) == [candle(minute) for minute in range(22)]
            assert cache.statistics()["rewritten"] == 0

    server.start()
    asyncio.run(scenario())


def test_a_key_of_another_type_is_replaced_and_is_no_outage(server: RedisServer, warnings: Any) -> None:
    async def scenario() -> None:
        async with cache_of(server) as cache, cache_of(server) as reader:
            put_candles(cache, 0, 9)
            await until(all_written(cache), "written")
            with raw(server) as client:
                client.set("botd:abcde:candles:BTC/USDT:1m", "a string")
                client.delete("botd:abcde:quote:BTC/USDT")
                client.rpush("botd:abcde:quote:BTC/USDT", "a list")
            assert await reader.latest("BTC/USDT") is None
            assert await reader.candles(*LANE, 5) == []
            cache.put_candle(*LANE, candle(10))
            cache.put_quote("BTC/USDT", quote(10))
            await until(all_written(cache), "written")
            assert await read_candles(server) == [candle(minute) for minute in range(11)]
            assert await read_quote(server) == quote(10)
            assert is_ok(reader)()

    server.start()
    asyncio.run(scenario())
    assert warnings() == []


def test_a_server_that_refuses_writes_is_an_outage(server: RedisServer, warnings: Any) -> None:
    async def scenario() -> None:
        async with cache_of(server) as cache:
            with raw(server) as client:
                client.config_set("maxmemory", "1")
                cache.put_quote("BTC/USDT", quote(1))
                await until(is_degraded(cache), "degraded")
                client.config_set("maxmemory", "0")
            await until(all_written(cache), "written")

    server.start()
    asyncio.run(scenario())
    assert len(warnings()) == 1


def test_something_else_behind_the_port_is_an_outage(warnings: Any) -> None:
    async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n\x00\xff" * 10)
        writer.close()

    async def scenario() -> None:
        listener = await asyncio.start_server(nonsense, "127.0.0.1", 0)
        other = RedisServer(port=listener.sockets[0].getsockname()[1])
        async with listener, cache_of(other) as cache:
            cache.put_quote("BTC/USDT", quote(1))
            await until(is_degraded(cache), "degraded")
            assert await cache.latest("BTC/USDT") == quote(1)

    asyncio.run(scenario())
    assert len(warnings()) == 1


def test_a_busy_loop_is_not_taken_for_a_slow_redis(server: RedisServer, warnings: Any) -> None:
    async def scenario() -> None:
        async with cache_of(server) as cache:
            busy_until = time.monotonic() + 1.5
            number = 0
            while time.monotonic() < busy_until:
                slice_end = time.monotonic() + 0.06  # longer than an operation may take
                while time.monotonic() < slice_end:
                    number += 1
                    cache.put_quote("BTC/USDT", quote(number))
                await asyncio.sleep(0)
            await until(all_written(cache), "written")
            assert cache.statistics()["failures"] == 0

    server.start()
    asyncio.run(scenario())
    assert warnings() == []


def test_a_put_costs_microseconds_and_the_backlog_is_bounded(server: RedisServer) -> None:
    async def scenario() -> None:
        async with cache_of(server) as cache:  # nobody listens on that port
            began = time.perf_counter()
            for number in range(20_000):
                cache.put_quote("BTC/USDT", quote(number))
                cache.put_candle(*LANE, candle(number))
            assert (time.perf_counter() - began) / 40_000 < 20e-6
            assert cache.statistics()["lacking"] == 2
            assert len(await cache.candles(*LANE, 20_000)) == 50

    asyncio.run(scenario())


def test_closing_is_quick_whatever_became_of_redis(server: RedisServer) -> None:
    async def scenario() -> float:
        async with cache_of(server) as cache:
            await until(is_ok(cache), "ok")
            server.freeze()
            cache.put_quote("BTC/USDT", quote(1))
            began = time.monotonic()
        return time.monotonic() - began

    server.start()
    assert asyncio.run(scenario()) < 2.0


def test_closing_writes_what_is_left(server: RedisServer) -> None:
    async def scenario() -> None:
        async with cache_of(server) as cache:
            await until(is_ok(cache), "ok")
            cache.put_quote("BTC/USDT", quote(7))
        assert await read_quote(server) == quote(7)

    server.start()
    asyncio.run(scenario())
