"""The manager on a tick feed: closed candles exactly once in order, prices, levels, history loaded later."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import numpy as np
import pytest
from market_world import MINUTE, T0, RecordingListener, World, rows_at

from botd.domain.candle import Candle
from botd.domain.candles import Candles
from botd.market.candles import candle_list
from botd.market.feed import Quote

BTC = "BTC/USDT"


def candles(minutes: list[int]) -> Candles:
    rows = rows_at(minutes)
    columns = (np.array([getattr(r, n) for r in rows]) for n in ("open", "high", "low", "close", "volume"))
    return Candles("1m", np.array([r.open_time for r in rows], dtype=np.int64), *columns)


def ticking(**more: Any) -> tuple[World, RecordingListener]:
    world = World(None, base=None, **more)
    reader = RecordingListener()
    world.manager.subscribe(BTC, "1m", reader, 3)
    return world, reader


def feed(world: World, minutes: list[int]) -> None:
    for row in rows_at(minutes):
        world.manager.on_candle(BTC, "1m", row)


def test_duplicates_and_old_candles_are_dropped_and_a_hole_is_told() -> None:
    world, reader = ticking()
    feed(world, [0, 1, 1, 0, 2, 5, 4, 6])
    assert reader.closed == rows_at([0, 1, 2, 5, 6])
    assert world.gaps() == [(BTC, "1m", T0 + 3 * MINUTE, T0 + 5 * MINUTE, 2)]
    assert world.manager.statistics()["duplicates"] == 3


@pytest.mark.parametrize(
    "wrong",
    [
        {"close": math.nan},
        {"high": 90.0},
        {"low": 0.0},
        {"high": math.inf},
        {"volume": -1.0},
        {"open": -5.0},
    ],
)
def test_absurd_candles_never_reach_a_bot(wrong: dict[str, float]) -> None:
    world, reader = ticking()
    values = {"open": 100.0, "high": 101.0, "low": 99.0, "close": 100.5, "volume": 1.0} | wrong
    world.manager.on_candle(BTC, "1m", Candle(T0, **values))
    assert reader.closed == []
    assert world.manager.statistics()["quarantined"] == 1


def test_candles_of_lanes_nobody_reads_are_ignored() -> None:
    world, reader = ticking()
    world.manager.on_candle(BTC, "5m", rows_at([0])[0])
    world.manager.on_candle("ETH/USDT", "1m", rows_at([0])[0])
    assert reader.closed == []
    assert world.manager.statistics()["ignored"] == 2


def test_history_goes_before_what_came_meanwhile_and_makes_the_lane_ready() -> None:
    world = World(None, base=None)
    reader = RecordingListener()
    subscription = world.manager.subscribe(BTC, "1m", reader, 3)
    assert not subscription.ready
    assert world.manager.lanes() == {(BTC, "1m"): 1500}
    feed(world, [5])
    world.manager.load_history(BTC, "1m", candles([2, 3, 4, 5]))
    assert subscription.ready
    assert candle_list(world.manager.window(BTC, "1m", 10)) == rows_at([2, 3, 4, 5])
    feed(world, [5, 6])
    assert reader.closed == rows_at([5, 6])
    assert world.gaps() == []


def test_larger_candles_are_built_where_the_feed_has_a_base_interval() -> None:
    world = World(None, base="1m")
    reader = RecordingListener()
    world.manager.subscribe(BTC, "3m", reader, 3)
    feed(world, [0, 1, 2, 3, 5, 6, 7, 8])
    assert [c.open_time for c in reader.closed] == [T0, T0 + 6 * MINUTE]
    assert (BTC, "3m", T0 + 3 * MINUTE, T0 + 6 * MINUTE, 1) in world.gaps()


def test_a_tick_moves_the_price_the_sinks_and_then_the_levels() -> None:
    world, _ = ticking()
    log: list[Any] = []

    class Everything:
        def on_tick(self, symbol: str, quote: Quote) -> None:
            log.append("sink")

        def on_level(self, kind: str, price: float) -> None:
            log.append((kind, price))

    world.manager.add_sink(Everything())  # type: ignore[arg-type]
    world.manager.levels.arm((BTC, "tick"), 1, Everything(), 95.0, None)
    world.manager.on_tick(BTC, Quote(94.0, 94.2, 94.1, T0))
    assert log == ["sink", ("stop", 94.0)]
    assert world.cache.quotes[BTC].ask == 94.2


@pytest.mark.parametrize(
    "bid, ask, last", [(math.nan, 1.0, 1.0), (2.0, 1.0, 1.5), (0.0, 1.0, 1.0), (1.0, 1.0, math.inf)]
)
def test_absurd_ticks_are_dropped(bid: float, ask: float, last: float) -> None:
    world, _ = ticking()
    world.manager.on_tick(BTC, Quote(bid, ask, last, T0))
    assert world.manager.quote(BTC) is None


def test_an_older_tick_does_not_take_the_price_back() -> None:
    world, _ = ticking()
    world.manager.on_tick(BTC, Quote(10.0, 10.1, 10.0, T0))
    world.manager.on_tick(BTC, Quote(9.0, 9.1, 9.0, T0 - 1))
    quote = world.manager.quote(BTC)
    assert quote is not None and quote.bid == 10.0


def test_candles_that_come_while_a_hook_awaits_or_the_lock_is_held_keep_their_order() -> None:
    async def scene() -> None:
        world, reader = ticking()
        windows = []
        going = asyncio.Event()

        async def slowly(closed: Any) -> None:
            await going.wait()
            windows.append(world.manager.window(BTC, "1m", 9).time[-1])

        world.manager.set_hooks(slowly, lambda cursor: None)
        feed(world, [0, 1])
        await asyncio.sleep(0)
        feed(world, [2])
        assert reader.closed == []
        going.set()
        while len(reader.closed) < 3:
            await asyncio.sleep(0)
        assert reader.closed == rows_at([0, 1, 2])
        assert windows == [row.open_time for row in reader.closed]
        async with world.manager.lock:
            feed(world, [3])
            await asyncio.sleep(0)
            assert len(reader.closed) == 3
        while len(reader.closed) < 4:
            await asyncio.sleep(0)
        await world.manager.close()

    asyncio.run(asyncio.wait_for(scene(), 5))


def test_a_candle_fed_from_within_a_listener_comes_after_the_one_under_way() -> None:
    world, reader = ticking()

    class Feeder(RecordingListener):
        def on_closed(self, candle: Candle) -> None:
            if candle.open_time == T0:
                feed(world, [1])

    world.manager.subscribe(BTC, "1m", Feeder(reader.log, "feeder"), 3)
    second = RecordingListener()
    world.manager.subscribe(BTC, "1m", second, 3)
    feed(world, [0])
    assert second.closed == rows_at([0, 1])


def test_a_step_of_our_clock_that_is_taken_back_freezes_no_price() -> None:
    """For an hour no stop would have fired, on a price that looked fresh."""
    world, _ = ticking()
    world.clock.step_ms = 60 * MINUTE
    world.manager.on_tick(BTC, Quote(100.0, 100.2, 100.1, T0 + 60 * MINUTE))
    world.clock.step_ms = 0
    assert world.manager.stale(BTC, 10_000) == 60 * MINUTE
    assert world.manager.symbols()[0]["stale"]
    world.manager.on_tick(BTC, Quote(90.0, 90.2, 90.1, T0))
    assert world.manager.quote(BTC) == Quote(90.0, 90.2, 90.1, T0)
    assert world.manager.stale(BTC, 10_000) is None
    world.manager.on_tick(BTC, Quote(95.0, 95.2, 95.1, T0 - 1))  # older than what is known
    assert world.manager.quote(BTC) == Quote(90.0, 90.2, 90.1, T0)
