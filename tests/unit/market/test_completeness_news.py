"""What a feed says of a lane besides its candles: corrections of the array, doubts, in their order; and the proof."""

from __future__ import annotations

import asyncio
from typing import Any

from market_world import MINUTE, T0, RecordingListener, World, rows_at

from botd.domain.candle import Candle
from botd.market.binance.gate_values import Row
from botd.market.binance.proof import LAG_MS, has_passed, proven
from botd.market.candles import candle_list
from botd.market.feed import Quote
from botd.market.lanes import TICKER, LaneNews

BTC = "BTC/USDT"
LIMIT = 10_000


def lane(minutes: list[int]) -> tuple[World, RecordingListener]:
    world = World(None, base=None)
    reader = RecordingListener()
    world.manager.subscribe(BTC, "1m", reader, 3)
    for row in rows_at(minutes):
        world.manager.on_candle(BTC, "1m", row)
    world.manager.on_tick(BTC, Quote(1.0, 1.1, 1.05, world.clock.now_ms()))
    return world, reader


def changed(candle: Candle) -> Candle:
    return Candle(candle.open_time, candle.open, candle.high, candle.low, candle.close, 99.0)


def test_a_revision_changes_the_array_and_is_told_not_delivered() -> None:
    world, reader = lane([0, 1, 2])
    before = world.manager.window(BTC, "1m", 3)
    old, new = rows_at([1])[0], changed(rows_at([1])[0])
    world.manager.on_candle(BTC, "1m", LaneNews(corrected=(new,), revised=old))
    assert candle_list(world.manager.window(BTC, "1m", 3)) == [rows_at([0])[0], new, rows_at([2])[0]]
    assert candle_list(before) == rows_at([0, 1, 2])  # a window that was handed out stays what it was
    assert len(reader.closed) == 3
    (event,) = [event for event in world.events if event.topic == "market.revised"]
    assert (event.data["before"]["volume"], event.data["after"]["volume"]) == (old.volume, 99.0)


def test_what_was_found_later_takes_its_place_in_the_array() -> None:
    world, reader = lane([0, 1, 4])
    world.manager.on_candle(BTC, "1m", LaneNews(corrected=tuple(rows_at([2, 3]))))
    assert candle_list(world.manager.window(BTC, "1m", 9)) == rows_at([0, 1, 2, 3, 4])
    assert [c.open_time for c in reader.closed] == [T0, T0 + MINUTE, T0 + 4 * MINUTE]
    world.manager.on_candle(BTC, "1m", rows_at([5])[0])
    assert len(reader.closed) == 4


def test_a_doubt_makes_the_price_older_than_any_limit_until_it_is_over() -> None:
    world, _ = lane([0, 1])
    assert world.manager.stale(BTC, LIMIT) is None
    now = world.clock.now_ms()
    world.manager.on_candle(BTC, "1m", LaneNews(doubt="GAP", since_ms=now))
    assert world.manager.stale(BTC, LIMIT) == LIMIT + 1
    assert world.manager.doubts(BTC) == ["BTC/USDT 1m GAP"]
    assert world.manager.symbols()[0]["incomplete"] == {"1m": "GAP"}
    world.manager.on_candle(BTC, TICKER, LaneNews(doubt="STALE", since_ms=now))
    world.manager.on_candle(BTC, "1m", LaneNews(doubt=""))
    assert world.manager.stale(BTC, LIMIT) is not None
    world.manager.on_candle(BTC, TICKER, LaneNews(doubt=""))
    assert world.manager.stale(BTC, LIMIT) is None
    assert [event.topic for event in world.events] == ["market.stale", "market.complete", "market.complete"]


def test_the_doubt_of_a_lane_goes_with_the_lane() -> None:
    world = World(None, base=None)
    subscription = world.manager.subscribe(BTC, "1m", RecordingListener(), 3)
    world.manager.on_tick(BTC, Quote(1.0, 1.1, 1.05, world.clock.now_ms()))
    world.manager.on_candle(BTC, "1m", LaneNews(doubt="STALE"))
    subscription.close()
    assert world.manager.stale(BTC, LIMIT) is None
    world.manager.on_candle(BTC, "1m", LaneNews(doubt="STALE"))  # news of a lane that is gone
    assert world.manager.stale(BTC, LIMIT) is None


def test_news_keep_their_place_among_candles_that_wait() -> None:
    """Old candles are delivered in doubt, the fresh one after it, also when a hook makes all of them wait."""

    async def scene() -> None:
        world = World(None, base=None)
        seen: list[tuple[int, bool]] = []

        class Reader(RecordingListener):
            def on_closed(self, candle: Candle) -> None:
                seen.append((candle.open_time, world.manager.stale(BTC, LIMIT) is not None))

        world.manager.subscribe(BTC, "1m", Reader(), 3)
        world.manager.on_tick(BTC, Quote(1.0, 1.1, 1.05, world.clock.now_ms()))

        async def slowly(closed: Any) -> None:
            await asyncio.sleep(0)

        world.manager.set_hooks(slowly, lambda cursor: None)
        old, older, fresh = rows_at([0, 1, 2])
        for said in (LaneNews(doubt="STALE"), old, older, LaneNews(doubt=""), fresh):
            world.manager.on_candle(BTC, "1m", said)
        while len(seen) < 3:
            await asyncio.sleep(0)
        assert [denied for _, denied in seen] == [True, True, False]
        await world.manager.close()

    asyncio.run(asyncio.wait_for(scene(), 5))


def rows(minutes: range) -> list[Row]:
    return [Row(candle, 5) for candle in rows_at(list(minutes))]


def test_an_answer_is_as_recent_as_the_opening_of_its_last_row() -> None:
    asked = T0 + 10 * MINUTE + 10_000
    as_of, closed = proven(rows(range(8)), MINUTE, asked, asked)  # it lags by two minutes and more
    assert as_of == max(T0 + 7 * MINUTE, asked - LAG_MS)
    as_of, closed = proven(rows(range(11)), MINUTE, asked, asked)
    assert as_of == T0 + 10 * MINUTE
    assert [row.candle.open_time for row in closed] == [T0 + m * MINUTE for m in range(10)]


def test_rows_from_the_future_or_out_of_step_prove_nothing() -> None:
    asked = T0 + 3 * MINUTE + 10_000
    wrong = [*rows(range(2)), Row(rows_at([0], T0 + 30_000)[0], 1), *rows(range(500, 501))]
    as_of, closed = proven(wrong, MINUTE, asked, asked)
    assert as_of == asked - LAG_MS
    assert [row.candle.open_time for row in closed] == [T0, T0 + MINUTE]


def test_absence_is_shown_only_by_an_answer_that_goes_on_behind_the_hole() -> None:
    hole = T0 + 2 * MINUTE, T0 + 3 * MINUTE
    assert has_passed([*rows(range(2)), *rows(range(3, 5))], T0, *hole)
    assert not has_passed(rows(range(2)), T0, *hole)
    assert not has_passed(rows(range(5)), T0, *hole)
    assert not has_passed(rows(range(3, 5)), T0 + 3 * MINUTE, *hole)  # it was not asked for
    assert not has_passed([], T0, *hole)
