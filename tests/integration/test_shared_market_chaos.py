"""A shared market whose Redis is absent, killed, frozen, flushed, slow, cut or full of garbage, and back each time.

In every scenario the publisher's own bots hear each candle at once, and the followers' bots each candle once, in
order and true, late at most; while they hear nothing, nothing can be opened, and health says why.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest

from botd.market.feed import Quote
from botd.market.shared.messages import SCHEMA, News, SharedCandle, SharedQuote, encode
from tests.fakes.delay_proxy import DelayProxy
from tests.fakes.redis_server import RedisServer, free_port
from tests.fakes.shared_world import BTC, ETH, KEYS, MINUTE, SharedWorld, until, with_world

OUTAGE = 7
"""Minutes of the market that pass in an outage."""


async def populate(world: SharedWorld, port: int | None = None) -> None:
    """Two publishers, one with bots of its own, and two followers; some minutes are played."""
    world.publisher(port=port).read()
    await until(lambda: world.leader)
    world.publisher(port=port)
    world.follower((BTC, "1m"), (BTC, "5m"), port=port)
    world.follower((BTC, "1m"), (ETH, "1m"), port=port)
    await world.ready()
    await world.play(5)


def is_degraded(world: SharedWorld, words: str = "") -> Callable[[], bool]:
    return lambda: all(side.feed.status == "degraded" and words in side.feed.detail for side in world.followers)


async def outage(world: SharedWorld, words: str = "does not answer") -> None:
    """Let the outage be noticed, and some minutes pass; prices that old are no ground for opening anything."""
    await until(is_degraded(world, words), say=world.say)
    await world.play(OUTAGE, wait=False)
    assert all(side.denied() for side in world.followers)
    assert world.publishers[0].assert_complete() >= OUTAGE


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> Callable[[str], list[str]]:
    caplog.set_level(logging.INFO, logger="botd")
    return lambda words: [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING and words in r.message]


def test_absent_at_the_start_and_there_later() -> None:
    async def scene(world: SharedWorld) -> None:
        world.publisher().read()
        follower = world.follower()
        await world.play(OUTAGE, wait=False)
        assert (follower.feed.status, follower.feed.detail) == ("degraded", "not started")
        assert "not shared: redis" in world.publishers[0].publisher.detail
        await asyncio.to_thread(world.server.start)
        await world.recovered()
        assert world.assert_complete() >= OUTAGE

    with_world(scene, server=False)


@pytest.mark.parametrize("times", [1, 2])
def test_killed_and_back_empty(times: int, warnings: Any) -> None:
    async def scene(world: SharedWorld) -> None:
        await populate(world)
        for _ in range(times):
            world.server.kill()
            await outage(world)
            await asyncio.to_thread(world.server.start)
            await world.recovered()
        assert world.assert_complete() > 3 * (5 + OUTAGE)

    with_world(scene)
    assert 2 * times <= len(warnings("does not answer")) <= 4 * times  # one an outage, of each that noticed it


def test_frozen_and_thawed() -> None:
    async def scene(world: SharedWorld) -> None:
        await populate(world)
        world.server.freeze()
        await outage(world)
        world.server.thaw()
        await world.recovered()
        world.assert_complete()

    with_world(scene)


def test_frozen_killed_and_back_and_frozen_again() -> None:
    async def scene(world: SharedWorld) -> None:
        await populate(world)
        world.server.freeze()
        await outage(world)
        world.server.kill()
        await world.play(2, wait=False)
        await asyncio.to_thread(world.server.start)
        world.server.freeze()
        await world.play(2, wait=False)
        world.server.thaw()
        await world.recovered()
        world.assert_complete()

    with_world(scene)


def test_flushed_while_all_goes_on() -> None:
    async def scene(world: SharedWorld) -> None:
        await populate(world)
        for _ in range(3):
            with world.raw() as client:
                client.flushall()
            await world.play(1, wait=False)
            await world.recovered()
        world.assert_complete()

    with_world(scene)


def test_flushed_together_with_the_end_of_the_leader() -> None:
    async def scene(world: SharedWorld) -> None:
        await populate(world)
        leader = world.leader
        assert leader is not None
        with world.raw() as client:
            client.flushall()
        await leader.kill()
        await world.play(2, wait=False)
        await world.recovered()
        assert world.leader not in (leader, None)
        world.assert_complete()

    with_world(scene)


def test_the_leader_ends_while_redis_is_away() -> None:
    async def scene(world: SharedWorld) -> None:
        await populate(world)
        leader = world.leader
        assert leader is not None
        world.server.kill()
        await outage(world)
        await leader.kill()
        await world.play(2, wait=False)
        await asyncio.to_thread(world.server.start)
        await world.recovered()
        world.assert_complete()

    with_world(scene)


def every_key(world: SharedWorld) -> list[str]:
    lanes = [KEYS.candles(lane) for lane in ((BTC, "1m"), (BTC, "5m"), (ETH, "1m"))]
    return [KEYS.lanes, KEYS.prices, KEYS.instruments, KEYS.wanted, KEYS.leader, KEYS.epoch, *lanes]


@pytest.mark.parametrize("kind", ["string", "list", "hash", "deleted"])
def test_something_else_in_the_place_of_every_key(kind: str) -> None:
    async def scene(world: SharedWorld) -> None:
        await populate(world)
        with world.raw() as client:
            for key in every_key(world):
                client.delete(key)
                if kind == "string":
                    client.set(key, b"\xff garbage \x00")
                elif kind == "list":
                    client.rpush(key, "garbage")
                elif kind == "hash":
                    client.hset(key, "garbage", "more")
        await world.play(2, wait=False)
        late = world.follower((ETH, "1m"))
        await world.recovered()
        world.assert_complete()
        late.assert_array((ETH, "1m"))
        assert all(publisher.task is not None and not publisher.task.done() for publisher in world.publishers)

    with_world(scene)


def test_garbage_in_the_streams_costs_no_candle_and_is_swept_away(warnings: Any) -> None:
    """Entries that are no candles, another lane's, of the future; a newer id than all to come; a stream cut short."""

    async def scene(world: SharedWorld) -> None:
        await populate(world)
        key, other = KEYS.candles((BTC, "1m")), KEYS.candles((ETH, "1m"))
        with world.raw() as client:
            now = world.clock.now_ms() // MINUTE * MINUTE
            client.xtrim(other, 5)
            client.xadd(key, {"c": "garbage"}, id=f"{now}-1")
            ((_, fields),) = client.xrevrange(other, count=1)
            client.xadd(key, fields, id=f"{now}-2")
            client.xadd(key, {b"c": fields[b"c"], b"x": b"y"}, id=f"{now + 10**12}-0")
        late = world.follower((BTC, "1m"), (ETH, "1m"))
        await world.play(2, wait=False)
        await world.recovered()
        world.assert_complete()
        late.assert_array((ETH, "1m"))
        await until(lambda: swept(world, key) and swept(world, other))

    with_world(scene)


def swept(world: SharedWorld, key: str) -> bool:
    with world.raw() as client:
        ids = [int(entry_id.split(b"-")[0]) for entry_id, _ in client.xrange(key)]
    end = world.clock.now_ms() // MINUTE * MINUTE
    return ids == list(range(end - len(ids) * MINUTE, end, MINUTE)) and len(ids) == 60


def test_candles_changed_in_the_middle_of_a_stream_are_put_right() -> None:
    """Who leads compares the end of it; what is wrong further back is noticed by whoever reads it next."""

    async def scene(world: SharedWorld) -> None:
        await populate(world)
        key = KEYS.candles((BTC, "1m"))
        with world.raw() as client:
            entries = client.xrange(key)
            client.delete(key)
            for number, (entry_id, fields) in enumerate(entries):
                client.xadd(key, {"c": "garbage"} if number == 20 else fields, id=entry_id)
        rewritten = sum(side.publisher.statistics()["rewritten"] for side in world.publishers)
        late = world.follower()
        await world.recovered()
        assert late.feed.statistics()["garbage_candles"] > 0
        assert [side.feed.statistics()["garbage_candles"] for side in world.followers[:2]] == [0, 0]
        assert sum(side.publisher.statistics()["rewritten"] for side in world.publishers) > rewritten
        await until(lambda: swept(world, key), say=world.say)
        world.assert_complete()

    with_world(scene)


def test_lies_in_the_channel_are_not_believed() -> None:
    """Noise, another schema, an older epoch or one from the future, a price from tomorrow, a candle not closed yet."""

    async def scene(world: SharedWorld) -> None:
        await populate(world)
        now = world.clock.now_ms()
        epoch = world.followers[0].feed.statistics()["epoch"]
        opened = now // MINUTE * MINUTE
        candle = SharedCandle(BTC, "1m", opened, 5.0, 6.0, 4.0, 5.0, 1.0)
        absurd = SharedCandle(BTC, "1m", opened - MINUTE, 5.0, 1.0, 9.0, 5.0, 1.0)
        quote = SharedQuote(BTC, 5.0, 6.0, 5.5, now)
        lies = [
            *(b"", b"garbage", b"\xff\xfe", b"[]", b"{}", b"[1,2,3]", b"[" * 5000, b"null", b'[1,1,1,1,1,["a"],[]]'),
            encode(News(SCHEMA + 1, epoch, 10**9, now, now, [quote], [candle])),
            encode(News(SCHEMA, epoch - 1, 10**9, now, now, [quote], [candle])),
            encode(News(SCHEMA, epoch, 0, now, now, [quote], [candle])),
            encode(News(SCHEMA, 10**15, 1, now, now, [quote], [candle])),
            encode(News(SCHEMA, epoch, 10**9, now + 10**7, now, [quote], [candle])),
        ]
        with world.raw() as client:
            for lie in lies:
                client.publish(KEYS.news, lie)
            # From here on they look like the leader's own: the values themselves must not be believed.
            tomorrow = SharedQuote(BTC, 5.0, 6.0, 5.5, now + 86_400_000)
            crossed = SharedQuote(BTC, 6.0, 5.0, 5.5, now)
            far = SharedQuote(BTC, 5.0, 6.0, 5.5, now)  # a far price that Redis does not confirm
            client.publish(
                KEYS.news, encode(News(SCHEMA, epoch, 10**6, now, now, [tomorrow, crossed, far], [candle, absurd]))
            )
        await until(lambda: all(side.feed.statistics()["quarantined"] == 1 for side in world.followers), say=world.say)
        heard = [side.market.quote(BTC) for side in world.followers]
        assert all(isinstance(price, Quote) and price.last > 1000 for price in heard)
        await world.settle(lambda: world.followers[0].feed.statistics()["missed"] > 1)
        await world.recovered()
        world.assert_complete()

    with_world(scene)


def test_a_redis_that_is_slow_for_all() -> None:
    """A second each way: publishers give up writing, followers grow stale; then all is caught up with."""

    async def scene(world: SharedWorld) -> None:
        proxy = await DelayProxy("127.0.0.1", world.server.port).start()
        await populate(world, proxy.port)
        proxy.delay_s = 1.0
        await until(is_degraded(world), say=world.say)
        await world.play(OUTAGE, wait=False)
        assert all(side.denied() for side in world.followers)
        proxy.delay_s = 0.0
        await world.recovered(12.0)
        world.assert_complete()
        await world.close()
        await proxy.stop()

    with_world(scene)


def test_a_redis_that_is_slow_for_a_follower_only_costs_it_time_and_no_candle() -> None:
    async def scene(world: SharedWorld) -> None:
        proxy = await DelayProxy("127.0.0.1", world.server.port).start()
        world.publisher().read()
        follower = world.follower((BTC, "1m"), port=proxy.port)
        await world.ready()
        await world.play(3)
        proxy.delay_s = 0.5
        before = len(follower.ears[BTC, "1m"].candles)
        await world.play(3, wait=True)  # each is heard, late
        assert len(follower.ears[BTC, "1m"].candles) == before + 3
        proxy.delay_s = 0.0
        await world.recovered()
        world.assert_complete()
        await world.close()
        await proxy.stop()

    with_world(scene)


def test_connections_that_hang_and_are_cut_again_and_again() -> None:
    async def scene(world: SharedWorld) -> None:
        proxy = await DelayProxy("127.0.0.1", world.server.port).start()
        await populate(world, proxy.port)
        for turn in range(3):
            proxy.held = turn % 2 == 0
            await world.play(1, wait=False)
            await asyncio.sleep(0.1)
            await proxy.cut()
            await world.play(1, wait=False)
            proxy.held = False
            await world.recovered()
        world.assert_complete()
        await world.close()
        await proxy.stop()

    with_world(scene)


def test_a_server_that_refuses_writes() -> None:
    async def scene(world: SharedWorld) -> None:
        await populate(world)
        with world.raw() as client:
            client.config_set("maxmemory", "1")
            await until(is_degraded(world), say=world.say)
            await world.play(OUTAGE, wait=False)
            client.config_set("maxmemory", "0")
        await world.recovered()
        world.assert_complete()

    with_world(scene)


def test_something_else_behind_the_port() -> None:
    async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n\x00\xff" * 10)
        writer.close()

    async def scene(world: SharedWorld) -> None:
        port = free_port()
        listener = await asyncio.start_server(nonsense, "127.0.0.1", port)
        world.publisher(port=port).read()
        follower = world.follower(port=port)
        async with listener:
            await world.play(OUTAGE, wait=False)
            await asyncio.sleep(0.3)
            assert follower.feed.status == "degraded"
        world.server = RedisServer(port)
        await asyncio.to_thread(world.server.start)
        await world.recovered()
        world.assert_complete()

    with_world(scene, server=False)
