"""The manager on a candle feed: what is delivered, in which order, and what is told of holes."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from market_world import MINUTE, T0, RecordingListener, World, naive_buckets, rows_at, source_of

from botd.domain.candle import Candle
from botd.domain.errors import InvalidError, NotFoundError
from botd.market.candles import candle_list
from botd.market.simulated.synthetic import SyntheticSource

BTC, ETH = "BTC/USDT", "ETH/USDT"
# Two neighbours at least, else the file looks like one of a longer interval.
_minutes = st.sets(st.integers(0, 70), max_size=70).map(lambda found: sorted(found | {30, 31}))


class Sink:
    def __init__(self, log: list[tuple[Any, ...]]) -> None:
        self.log = log

    def on_open(self, symbol: str, interval: str, open_time: int, price: float) -> None:
        self.log.append(("sink open", f"{symbol} {interval}", open_time))

    def on_closed(self, symbol: str, interval: str, candle: Candle) -> None:
        self.log.append(("sink closed", f"{symbol} {interval}", candle.open_time))

    def after_levels(self, symbol: str, interval: str, candle: Candle) -> None:
        self.log.append(("sink after", f"{symbol} {interval}", candle.open_time))

    def on_tick(self, symbol: str, quote: Any) -> None:
        self.log.append(("sink tick", symbol, quote.last))


@settings(deadline=None, max_examples=60)
@given(btc=_minutes, eth=_minutes, interval=st.sampled_from(["3m", "5m", "15m"]), cursor=st.integers(-1, 75))
def test_lanes_deliver_exactly_the_truth_from_any_cursor(
    btc: list[int], eth: list[int], interval: str, cursor: int
) -> None:
    rows = {BTC: rows_at(btc), ETH: rows_at(eth)}
    source = source_of(rows)
    at = T0 + cursor * MINUTE
    world = World(source, start=at)
    source.seek(at)
    readers = {(s, i): RecordingListener() for s in rows for i in ("1m", interval)}
    for (symbol, lane), reader in readers.items():
        world.manager.subscribe(symbol, lane, reader, 20)
    asyncio.run(world.play())
    for (symbol, lane), reader in readers.items():
        truth = rows[symbol] if lane == "1m" else naive_buckets(rows[symbol], lane)
        length = {"1m": 1, "3m": 3, "5m": 5, "15m": 15}[lane] * MINUTE
        assert reader.closed == [c for c in truth if c.open_time + length > at]
        assert reader.opened == [(c.open_time, c.open) for c in truth if c.open_time > at]
        assert candle_list(world.manager.window(symbol, lane, 100)) == truth


@settings(deadline=None, max_examples=60)
@given(minutes=_minutes, cursor=st.integers(0, 75))
def test_every_hole_is_told_exactly_once_however_often_it_restarts(minutes: list[int], cursor: int) -> None:
    rows = {BTC: rows_at(minutes)}
    whole = World(source_of(rows))
    whole.manager.subscribe(BTC, "5m", RecordingListener(), 20)
    asyncio.run(whole.play())
    holes = [(a + 1, b) for a, b in itertools.pairwise(minutes) if b - a > 1]
    assert [gap[2:] for gap in whole.gaps() if gap[1] == "1m"] == [
        (T0 + a * MINUTE, T0 + b * MINUTE, b - a) for a, b in holes
    ]
    told = []
    at = T0 + cursor * MINUTE
    first = World(source_of(rows))
    first.manager.subscribe(BTC, "5m", RecordingListener(), 20)

    async def until() -> None:
        assert first.source is not None
        while (moment := first.source.next()) is not None and moment.time_ms <= at:
            await first.manager.deliver(moment)

    asyncio.run(until())
    told += first.gaps()
    again = World(source_of(rows), start=at)
    assert again.source is not None
    again.source.seek(at)
    again.manager.subscribe(BTC, "5m", RecordingListener(), 20)
    asyncio.run(again.play())
    assert told + again.gaps() == whole.gaps()


def test_order_within_a_moment() -> None:
    source = source_of({BTC: rows_at(list(range(5, 11))), ETH: rows_at(list(range(5, 11)))})
    world = World(source)
    log: list[tuple[Any, ...]] = []
    world.manager.add_sink(Sink(log))

    class Level:
        def on_level(self, kind: str, price: float) -> None:
            log.append(("level", kind, price))

    world.manager.set_hooks(
        lambda closed: log.append(("prepare", [(s, i) for s, i, _ in closed], world.clock.now_ms())),
        lambda cursor: log.append(("settle", cursor, world.clock.now_ms())),
        lambda: log.append(("between",)),
    )
    world.manager.subscribe(BTC, "5m", RecordingListener(log, "first"), 5)
    world.manager.subscribe(BTC, "1m", RecordingListener(log, "base"), 5)
    world.manager.subscribe(BTC, "5m", RecordingListener(log, "second"), 5)
    asyncio.run(world.play(5))
    log.clear()
    world.manager.levels.arm((BTC, "5m"), 1, Level(), 104.0, None)
    asyncio.run(world.play(1))
    m9, m5, now = T0 + 9 * MINUTE, T0 + 5 * MINUTE, T0 + 10 * MINUTE
    # The minutes 5 to 9 have lows from 98.5 on, so the stop at 104 lies within the 5m candle.
    assert log == [
        ("prepare", [(BTC, "1m"), (BTC, "5m")], now),
        ("sink closed", "BTC/USDT 1m", m9),
        ("sink after", "BTC/USDT 1m", m9),
        ("closed", "base", m9),
        ("sink closed", "BTC/USDT 5m", m5),
        ("level", "stop", 104.0),
        ("sink after", "BTC/USDT 5m", m5),
        ("closed", "first", m5),
        ("closed", "second", m5),
        ("sink closed", "ETH/USDT 1m", m9),
        ("sink after", "ETH/USDT 1m", m9),
        ("between",),
        ("sink open", "BTC/USDT 1m", now),
        ("open", "base", now),
        ("sink open", "ETH/USDT 1m", now),
        ("settle", now, now),
    ]


def test_a_larger_candle_that_will_miss_a_base_candle_is_not_opened_and_is_told_as_a_gap() -> None:
    minutes = [m for m in range(15) if m != 7]
    world = World(source_of({BTC: rows_at(minutes)}))
    reader = RecordingListener()
    world.manager.subscribe(BTC, "5m", reader, 5)
    asyncio.run(world.play())
    assert [t for t, _ in reader.opened] == [T0, T0 + 10 * MINUTE]
    assert [c.open_time for c in reader.closed] == [T0, T0 + 10 * MINUTE]
    assert (BTC, "5m", T0 + 5 * MINUTE, T0 + 10 * MINUTE, 1) in world.gaps()
    assert len(world.gaps()) == 2
    assert world.manager.symbols()[0]["gaps"] == 2


def test_hooks_that_await_are_awaited_before_anything_is_told_and_under_the_lock() -> None:
    world = World(source_of({BTC: rows_at([0, 1, 2])}))
    log: list[tuple[Any, ...]] = []

    async def slowly(closed: Any) -> None:
        await asyncio.sleep(0)
        log.append(("prepared", closed[0][2].open_time, world.manager.lock.locked()))

    async def kept(cursor: int) -> None:
        await asyncio.sleep(0)
        log.append(("kept", cursor, world.manager.lock.locked()))

    world.manager.set_hooks(slowly, kept)
    world.manager.subscribe(BTC, "1m", RecordingListener(log, "bot"), 5)
    asyncio.run(world.play(2))
    assert log[2:] == [
        ("prepared", T0, True),
        ("closed", "bot", T0),
        ("open", "bot", T0 + MINUTE),
        ("kept", T0 + MINUTE, True),
    ]


def test_a_subscription_in_the_middle_completes_the_candle_under_way() -> None:
    rows = rows_at(list(range(60 * 24 * 2)))
    world = World(source_of({BTC: rows}), lookback=10)
    reader = RecordingListener()
    asyncio.run(world.play(60 * 24 + 700))
    world.manager.subscribe(BTC, "1d", reader, 5)
    subscription = world.manager.subscribe(BTC, "1h", RecordingListener(), 100)
    assert subscription.ready
    assert len(world.manager.window(BTC, "1h", 100)) == 24 + 11
    asyncio.run(world.play())
    assert reader.closed == naive_buckets(rows, "1d")[1:]


def test_the_last_reader_frees_the_lane_and_closing_is_idempotent() -> None:
    world = World(source_of({BTC: rows_at(list(range(20)))}))
    changes: list[int] = []
    world.manager.watch_lanes(lambda: changes.append(1))
    one = world.manager.subscribe(BTC, "5m", RecordingListener(), 5)
    two = world.manager.subscribe(BTC, "5m", RecordingListener(), 5)
    assert world.manager.statistics()["lanes"] == 2  # 5m, and 1m that it is built from
    assert world.manager.lanes() == {(BTC, "1m"): 1500}
    one.close()
    one.close()
    assert world.manager.statistics() | {"lanes": 2, "subscriptions": 1} == world.manager.statistics()
    two.close()
    assert world.manager.statistics()["lanes"] == 0
    assert len(world.manager.window(BTC, "1m", 5)) == 0  # nothing has closed yet
    asyncio.run(world.play(4))
    assert len(world.manager.window(BTC, "1m", 5)) == 3  # from the source, without a lane


def test_readers_share_one_array() -> None:
    world = World(source_of({BTC: rows_at(list(range(20)))}))
    for _ in range(3):
        world.manager.subscribe(BTC, "1m", RecordingListener(), 5)
    asyncio.run(world.play(10))
    assert np.shares_memory(world.manager.window(BTC, "1m", 5).close, world.manager.window(BTC, "1m", 9).close)
    assert world.manager.statistics()["lanes"] == 1


def test_a_listener_closed_by_another_in_the_same_moment_hears_nothing() -> None:
    world = World(source_of({BTC: rows_at(list(range(5)))}))
    later = RecordingListener()

    class Closer(RecordingListener):
        def on_closed(self, candle: Candle) -> None:
            subscription.close()

    world.manager.subscribe(BTC, "1m", Closer(), 5)
    subscription = world.manager.subscribe(BTC, "1m", later, 5)
    asyncio.run(world.play())
    assert later.closed == []


def test_a_listener_that_subscribes_while_told_is_told_from_the_next_candle_on() -> None:
    world = World(source_of({BTC: rows_at(list(range(6)))}))
    late = RecordingListener()

    class Inviter(RecordingListener):
        def on_closed(self, candle: Candle) -> None:
            if candle.open_time == T0 + 2 * MINUTE:
                world.manager.subscribe(BTC, "1m", late, 5)

    world.manager.subscribe(BTC, "1m", Inviter(), 5)
    asyncio.run(world.play())
    assert [c.open_time for c in late.closed] == [T0 + m * MINUTE for m in (3, 4, 5)]
    assert late.opened[0][0] == T0 + 3 * MINUTE


def test_prices_follow_closes_and_opens_and_reach_the_cache_once_a_moment() -> None:
    world = World(source_of({BTC: rows_at([0, 1, 2]), ETH: rows_at([0])}))
    assert world.manager.quote(BTC) is None
    seen = []

    class Watcher(RecordingListener):
        def on_closed(self, candle: Candle) -> None:
            quote = world.manager.quote(BTC)
            assert quote is not None
            seen.append((quote.last, quote.bid, quote.ask, quote.time_ms))

    world.manager.subscribe(BTC, "1m", Watcher(), 5)
    asyncio.run(world.play(2))
    assert seen == [(101.0, 101.0, 101.0, T0 + MINUTE)]
    assert world.cache.quotes[BTC].last == 101.0  # minute 1 opened at 100 + 1
    assert world.cache.quotes[ETH].last == 101.0  # closed, nothing opened
    assert [(s, i) for s, i, _ in world.cache.candles] == [(BTC, "1m"), (ETH, "1m")]


def test_a_price_is_stale_when_older_than_the_limit() -> None:
    world = World(source_of({BTC: rows_at([0, 1]), ETH: rows_at(list(range(10)))}))
    asyncio.run(world.play())
    assert world.manager.stale(ETH, 150_000) is None
    assert world.manager.stale(BTC, 150_000) == 8 * MINUTE
    assert world.manager.stale("XRP/USDT", 150_000) is not None
    rows = {row["symbol"]: row for row in world.manager.symbols()}
    assert rows[BTC] == {
        "symbol": BTC,
        "source": "replay",
        "price": "102.0",
        "age_s": 480.0,
        "stale": True,
        "lanes": [],
        "gaps": 0,
        "incomplete": {},
    }
    assert rows[ETH]["stale"] is False


def test_unknown_symbols_and_intervals_are_refused_with_the_known_ones() -> None:
    world = World(source_of({BTC: rows_at([0])}, "1m"))
    with pytest.raises(NotFoundError, match="DOGE"):
        world.manager.subscribe("DOGE/USDT", "1m", RecordingListener(), 5)
    with pytest.raises(InvalidError, match="7m"):
        world.manager.subscribe(BTC, "7m", RecordingListener(), 5)
    coarse = World(SyntheticSource([BTC], "5m", T0, 1), base="5m")
    with pytest.raises(InvalidError, match="cannot be built from 5m"):
        coarse.manager.subscribe(BTC, "1m", RecordingListener(), 5)
    with pytest.raises(InvalidError, match="cannot be built from 5m"):
        coarse.manager.subscribe(BTC, "3m", RecordingListener(), 5)


def test_an_exception_of_a_listener_is_not_swallowed_and_the_lock_is_free_after_it() -> None:
    world = World(source_of({BTC: rows_at([0, 1])}))

    class Broken(RecordingListener):
        def on_closed(self, candle: Candle) -> None:
            raise RuntimeError("listener")

    world.manager.subscribe(BTC, "1m", Broken(), 5)
    with pytest.raises(RuntimeError, match="listener"):
        asyncio.run(world.play())
    assert not world.manager.lock.locked()


def test_bar_index_counts_existing_candles_on_files_and_time_on_ticks() -> None:
    world = World(source_of({BTC: rows_at([0, 1, 5, 6])}))
    assert world.manager.bar_index(BTC, "1m", T0 + 6 * MINUTE) - world.manager.bar_index(BTC, "1m", T0) == 3
    ticks = World(None, base=None)
    assert ticks.manager.bar_index(BTC, "5m", T0 + 30 * MINUTE) - ticks.manager.bar_index(BTC, "5m", T0) == 6
