"""A market shared through a real Redis: who publishes, who follows, and that each candle comes once, in order, true."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from botd.domain.candle import Candle
from botd.domain.errors import UnavailableError
from botd.market.feed import Quote
from botd.market.lanes import TICKER, LaneNews
from botd.market.shared.messages import SCHEMA, KeptCandle, Keys, News, encode
from botd.market.shared.scripts import FENCED
from tests.fakes.delay_proxy import DelayProxy
from tests.fakes.shared_world import (
    BTC,
    ETH,
    KEYS,
    LOOKBACK,
    MINUTE,
    FollowingSide,
    PublishingSide,
    SharedWorld,
    truth,
    until,
    with_world,
)


async def two_and_two(world: SharedWorld, port: int | None = None) -> tuple[PublishingSide, PublishingSide]:
    """Two publishers, the first leads, and two followers of three lanes."""
    first = world.publisher("first", port)
    await until(lambda: first.leads)
    second = world.publisher("second")
    world.follower((BTC, "1m"), (BTC, "5m"))
    world.follower((BTC, "1m"), (ETH, "1m"))
    await world.ready()
    await world.play(5)
    return first, second


def follows(world: SharedWorld, name: str) -> Callable[[], bool]:
    return lambda: all(f"following {name}" in side.feed.detail for side in world.followers)


# -- the plain life


def test_a_follower_gets_history_prices_and_each_candle_once() -> None:
    async def scene(world: SharedWorld) -> None:
        world.publisher()
        follower = world.follower((BTC, "1m"), (BTC, "5m"), (ETH, "1m"))
        await world.ready()
        await world.play(12)
        assert world.assert_complete() == 12 + 2 + 12
        assert "following p0, last value" in follower.feed.detail
        assert follower.events == []
        statistics = follower.feed.statistics()
        assert (statistics["leader"], statistics["garbage"], statistics["garbage_candles"]) == ("p0", 0, 0)
        await until(lambda: follower.market.quote(BTC) == world.publishers[0].market.quote(BTC))
        assert follower.feed.instruments()[ETH].step == world.publishers[0].publisher._listed()[ETH].step

    with_world(scene)


def test_who_wants_a_lane_makes_the_publisher_follow_it() -> None:
    async def scene(world: SharedWorld) -> None:
        publisher = world.publisher()
        follower = world.follower()
        await world.ready()
        assert publisher.market.lanes() == {(BTC, "1m"): LOOKBACK}
        follower.read(ETH, "5m")
        await world.ready()
        assert set(publisher.market.lanes()) == {(BTC, "1m"), (ETH, "5m")}
        await world.play(6)
        world.assert_complete()

    with_world(scene)


def test_many_candles_that_a_publisher_catches_up_with_at_once_are_all_told() -> None:
    async def scene(world: SharedWorld) -> None:
        publisher = world.publisher()
        world.follower()
        await world.ready()
        publisher.silent = True
        await world.play(25, wait=False)
        publisher.speak()
        await world.recovered(3.0)
        world.assert_complete()

    with_world(scene)


def test_a_reader_that_needs_more_history_gets_it() -> None:
    async def scene(world: SharedWorld) -> None:
        world.publisher()
        world.follower()
        await world.ready()
        late = world.follower()
        late.read(ETH, "1m", warmup=3 * LOOKBACK)
        await world.ready()
        assert len(late.market.window(ETH, "1m", 1000)) == 3 * LOOKBACK
        late.read(BTC, "1m", warmup=2 * LOOKBACK)
        await world.settle(lambda: len(late.market.window(BTC, "1m", 1000)) == 2 * LOOKBACK)
        window = late.market.window(BTC, "1m", 1000)
        assert window.candle(0) == truth((BTC, "1m"), int(window.time[0]))

    with_world(scene)


def test_without_a_publisher_the_start_says_what_to_do() -> None:
    async def scene(world: SharedWorld) -> None:
        follower = FollowingSide(world, world.server.port)
        with pytest.raises(UnavailableError, match="nobody publishes binance") as caught:
            await follower.feed.start()
        assert "redis.publish: true" in caught.value.hint
        world.server.kill()
        with pytest.raises(UnavailableError, match="does not answer"):
            await follower.feed.start()
        await follower.feed.close()

    with_world(scene)


def test_another_exchange_or_testnet_is_another_market() -> None:
    assert len({Keys("binance").news, Keys("binance", testnet=True).news, Keys("kraken").news}) == 3


def test_two_publishers_write_nothing_twice() -> None:
    async def scene(world: SharedWorld) -> None:
        await two_and_two(world)
        await world.play(10)
        assert [side.leads for side in world.publishers] == [True, False]
        assert "waiting, first publishes" in world.publishers[1].publisher.detail
        assert "publishing 3 lanes" in world.publishers[0].publisher.detail
        assert sum(world.publishers[1].publisher.statistics()[name] for name in ("written", "candles")) == 0
        assert world.assert_complete() > 0

    with_world(scene)


# -- who leads


def test_a_killed_leader_is_replaced_and_nobody_misses_a_candle() -> None:
    async def scene(world: SharedWorld) -> None:
        first, second = await two_and_two(world)
        await first.kill()
        await world.play(4, wait=False)  # candles close while nobody publishes
        await world.settle(follows(world, "second"))
        await world.recovered()
        assert world.assert_complete() >= 2 * 13
        again = world.publisher("third")
        await second.kill()
        await world.play(2, wait=False)
        await world.settle(lambda: again.leads)
        await world.recovered()
        assert world.assert_complete() >= 2 * 19
        assert all(side.feed.statistics()["old"] == 0 for side in world.followers)

    with_world(scene)


def test_a_leader_that_ends_in_good_order_is_replaced_at_once() -> None:
    async def scene(world: SharedWorld) -> None:
        first, second = await two_and_two(world)
        await first.kill()
        await first.publisher.close()
        await until(lambda: second.leads, 0.4)  # the lease would have lasted 0.6 s
        await world.recovered()
        world.assert_complete()

    with_world(scene)


def test_a_leader_that_hung_writes_nothing_any_more() -> None:
    async def scene(world: SharedWorld) -> None:
        proxy = await DelayProxy("127.0.0.1", world.server.port).start()
        first, second = await two_and_two(world, proxy.port)
        old_lease = first.publisher._election.lease
        proxy.held = True
        await until(lambda: second.leads)
        assert not first.leads
        await world.play(3)
        proxy.held = False  # what it wrote while it hung arrives now
        await world.play(3)
        await until(lambda: "waiting, second publishes" in first.publisher.detail)
        assert second.leads
        with world.raw() as client:
            assert client.eval(FENCED, 1, KEYS.leader, old_lease, msgspec.msgpack.encode([["SET", "x", "y"]])) == [0]
            assert client.get("x") is None
            decoder = msgspec.json.Decoder(KeptCandle)
            epochs = [decoder.decode(fields[b"c"]).epoch for _, fields in client.xrange(KEYS.candles((BTC, "1m")))]
        assert epochs == sorted(epochs) and len(set(epochs)) == 2
        world.assert_complete()
        await world.close()
        await proxy.stop()

    with_world(scene)


def test_what_a_replaced_leader_says_is_not_believed_until_the_new_one_is_silent_for_long() -> None:
    async def scene(world: SharedWorld) -> None:
        await two_and_two(world)
        follower, now = world.followers[0], world.clock.now_ms()
        epoch = follower.feed.statistics()["epoch"]
        with world.raw() as client:
            client.publish(KEYS.news, encode(News(SCHEMA, epoch - 1, 7, now, now, [], [])))
            await until(lambda: follower.feed.statistics()["old"] == 1)
            client.publish(KEYS.news, encode(News(SCHEMA, epoch + 5, 7, now, now, [], [])))  # a lie: nobody leads there
        await until(lambda: follower.feed.statistics()["old"] > 1)
        await until(lambda: follower.feed.statistics()["epoch"] == epoch)
        await world.recovered()
        world.assert_complete()

    with_world(scene)


def test_a_leader_whose_exchange_is_silent_lets_another_lead() -> None:
    async def scene(world: SharedWorld) -> None:
        first, second = await two_and_two(world)
        first.silent = True
        await world.play(1, wait=False)
        await until(lambda: second.leads)
        await world.recovered()
        for side in world.followers:
            assert not side.denied()
            side.assert_complete((BTC, "1m"))

    with_world(scene)


def test_a_publisher_alone_whose_exchange_is_silent_goes_on() -> None:
    async def scene(world: SharedWorld) -> None:
        publisher = world.publisher()
        follower = world.follower()
        await world.ready()
        publisher.silent = True
        await world.play(3, wait=False)
        await until(lambda: not publisher.leads)
        assert follower.denied()
        publisher.speak()
        await world.step(100)
        await until(lambda: publisher.leads)
        await world.settle(lambda: not follower.denied())

    with_world(scene)


# -- what the publisher knows better


def test_a_revised_candle_is_revised_for_the_followers() -> None:
    async def scene(world: SharedWorld) -> None:
        publisher = world.publisher()
        follower = world.follower()
        await world.ready()
        await world.play(4)
        before = follower.ears[BTC, "1m"].candles[-2]
        after = Candle(before.open_time, before.open, before.high + 3, before.low, before.close, before.volume)
        publisher.market.on_candle(BTC, "1m", LaneNews(corrected=(after,), revised=before))
        await until(lambda: [event.topic for event in follower.events] == ["market.revised"])
        window = follower.market.window(BTC, "1m", 3)
        assert window.candle(1) == after
        await world.play(2)
        assert [candle.open_time for candle in follower.ears[BTC, "1m"].candles].count(before.open_time) == 1

    with_world(scene)


def test_a_hole_of_the_publisher_is_a_gap_of_the_followers_until_it_is_filled() -> None:
    async def scene(world: SharedWorld) -> None:
        publisher = world.publisher()
        follower = world.follower()
        await world.ready()
        await world.play(3)
        publisher.silent = True
        lost = world.clock.now_ms() // MINUTE * MINUTE
        await world.play(1, wait=False)
        publisher.withheld, publisher.silent = [], False
        for _ in range(3):
            await world.step(MINUTE // 3)
        await world.settle(lambda: set(follower.feed.states().values()) == {"GAP"})
        assert follower.denied()
        publisher.market.on_candle(BTC, "1m", LaneNews(corrected=(truth((BTC, "1m"), lost),)))
        await world.settle(lambda: set(follower.feed.states().values()) == {"LIVE"})
        follower.assert_array()
        assert lost not in [candle.open_time for candle in follower.ears[BTC, "1m"].candles]
        assert [event.topic for event in follower.events if event.topic == "market.restored"] == ["market.restored"]

    with_world(scene)


def test_a_price_that_the_publisher_doubts_is_no_ground_for_opening_here() -> None:
    async def scene(world: SharedWorld) -> None:
        publisher = world.publisher()
        follower = world.follower()
        await world.ready()
        publisher.market.on_candle(BTC, TICKER, LaneNews(doubt="STALE", since_ms=world.clock.now_ms()))
        await until(follower.denied)
        assert "the publisher doubts it" in follower.feed.detail
        publisher.market.on_candle(BTC, TICKER, LaneNews(doubt="", since_ms=world.clock.now_ms()))
        await until(lambda: not follower.denied())

    with_world(scene)


def test_a_price_that_really_jumps_is_believed_when_redis_confirms_it() -> None:
    async def scene(world: SharedWorld) -> None:
        publisher = world.publisher()
        follower = world.follower()
        await world.ready()
        publisher.market.on_tick(BTC, Quote(2000.0, 2001.0, 2000.5, world.clock.now_ms()))
        await until(lambda: (price := follower.market.quote(BTC)) is not None and price.last == 2000.5)
        assert follower.feed.statistics()["quarantined"] == 1

    with_world(scene)


def test_a_follower_whose_clock_is_wrong_says_so_and_takes_no_old_price_for_a_new_one() -> None:
    async def scene(world: SharedWorld) -> None:
        world.publisher()
        follower = world.follower()
        await world.ready()
        for behind_s in (40, 80):
            follower.feed._clock = behind = type(world.clock)(world.clock.now_ms() - behind_s * 1000)
            follower.feed._prices._clock = behind
            await world.step(100)
            await until(lambda behind_s=behind_s: f"are {behind_s} s apart" in follower.feed.detail)
        assert follower.denied() or follower.market.quote(BTC).time_ms <= world.clock.now_ms()

    with_world(scene)
