"""The player: pace, pause, end, and that a restart changes nothing."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from market_world import MINUTE, T0, RecordingCache, RecordingListener, rows_at, source_of

from botd.domain.candle import Candle
from botd.domain.clock import MarketClock
from botd.market.feed import CandleSource
from botd.market.manager import MarketManager
from botd.market.simulated.player import Player
from botd.market.simulated.synthetic import SyntheticSource

BTC, ETH = "BTC/USDT", "ETH/USDT"


class PacedClock(MarketClock):
    """A market clock whose monotonic seconds pass only by sleeping; ``slept`` sums them up."""

    def __init__(self, start_ms: int) -> None:
        super().__init__(start_ms)
        self.slept = 0.0

    def monotonic(self) -> float:
        return self.slept

    async def sleep(self, seconds: float) -> None:
        self.slept += seconds
        await asyncio.sleep(0)


class Stage:
    def __init__(
        self, source: CandleSource, *, speed: float = 0, playing: bool = True, cursor: int | None = None
    ) -> None:
        self.clock = PacedClock(source.start_ms if cursor is None else cursor)
        self.events: list[Any] = []
        self.states: list[str] = []
        self.manager = MarketManager(
            clock=self.clock,
            cache=RecordingCache(),
            base_interval=source.interval,
            on_event=self.events.append,
            candle_feed=True,
        )
        self.manager.attach_source(source)
        self.reader = RecordingListener()
        self.settled: list[tuple[int, float]] = []
        self.manager.set_hooks(lambda closed: None, lambda at: self.settled.append((at, self.clock.slept)))
        self.player = Player(
            source=source,
            manager=self.manager,
            clock=self.clock,
            speed=speed,
            playing=playing,
            cursor_ms=cursor,
            on_state=self.states.append,
        )


def minutes(times: list[tuple[int, float]]) -> list[tuple[int, float]]:
    return [((at - T0) // MINUTE, round(slept, 3)) for at, slept in times]


def test_a_market_at_speed_60_gives_a_minute_a_second() -> None:
    stage = Stage(source_of({BTC: rows_at([0, 1, 2])}), speed=60)
    asyncio.run(stage.player.run())
    assert minutes(stage.settled) == [(0, 0.0), (1, 1.0), (2, 2.0), (3, 3.0)]


def test_after_a_restart_pacing_begins_anew_and_delivery_goes_on_behind_the_cursor() -> None:
    stage = Stage(source_of({BTC: rows_at([0, 1, 2, 3])}), speed=60, cursor=T0 + 2 * MINUTE)
    asyncio.run(stage.player.run())
    assert minutes(stage.settled) == [(3, 1.0), (4, 2.0)]


def test_a_hole_is_skipped_at_once_and_told_once() -> None:
    stage = Stage(source_of({BTC: rows_at([0, 1, 5000, 5001])}), speed=60)
    asyncio.run(stage.player.run())
    assert minutes(stage.settled) == [(0, 0.0), (1, 1.0), (2, 2.0), (5000, 2.0), (5001, 3.0), (5002, 4.0)]
    assert [event.topic for event in stage.events] == ["market.gap"]
    gap = {"symbol": BTC, "from_ms": T0 + 2 * MINUTE, "to_ms": T0 + 5000 * MINUTE, "missing": 4998}
    assert stage.player.status()["gaps"] == [gap]


def test_the_end_is_told_after_the_last_moment_is_settled() -> None:
    stage = Stage(source_of({BTC: rows_at([0, 1])}))
    order: list[Any] = []

    async def settle(cursor: int) -> None:
        await asyncio.sleep(0)
        order.append(cursor)

    stage.manager.set_hooks(lambda closed: None, settle)
    stage.player._on_state = order.append
    asyncio.run(stage.player.run())
    assert order == [T0, T0 + MINUTE, T0 + 2 * MINUTE, "ended"]
    status = stage.player.status()
    assert {key: status[key] for key in ("state", "source", "speed", "interval", "symbols", "gaps", "candles")} == {
        "state": "ended",
        "source": "replay",
        "speed": 0,
        "interval": "1m",
        "symbols": [BTC],
        "gaps": [],
        "candles": 2,
    }
    assert status["cursor_ms"] == status["time"] == T0 + 2 * MINUTE


def test_a_market_restarted_at_its_end_has_ended_and_can_neither_play_nor_pause() -> None:
    stage = Stage(source_of({BTC: rows_at([0, 1])}), cursor=T0 + 2 * MINUTE)
    asyncio.run(stage.player.run())
    stage.player.play()
    stage.player.pause()
    assert stage.player.state == "ended"
    assert stage.settled == [] and stage.states == []


def test_play_and_pause_are_idempotent_and_a_pause_stops_a_wait_under_way() -> None:
    async def scene() -> None:
        stage = Stage(source_of({BTC: rows_at([0, 1, 2])}), speed=1, playing=False)
        task = asyncio.create_task(stage.player.run())
        await asyncio.sleep(0)
        assert stage.settled == [] and stage.player.status()["cursor_ms"] is None
        stage.player.play()
        stage.player.play()
        while len(stage.settled) < 1 or stage.clock.slept < 30:
            await asyncio.sleep(0)
        stage.player.pause()
        stage.player.pause()
        for _ in range(50):
            await asyncio.sleep(0)
        assert minutes(stage.settled) == [(0, 0.0)]
        paused_at = stage.clock.slept
        stage.player.play()
        await task
        # A whole minute again from when it goes on.
        assert minutes(stage.settled)[1] == (1, round(paused_at + 60, 3))
        assert stage.states == ["playing", "paused", "playing", "ended"]

    asyncio.run(asyncio.wait_for(scene(), 10))


def test_a_stalled_market_goes_on_from_now_instead_of_rushing() -> None:
    stage = Stage(source_of({BTC: rows_at(list(range(6)))}), speed=60)

    class Staller(RecordingListener):
        def on_closed(self, candle: Candle) -> None:
            if candle.open_time == T0:
                stage.clock.slept += 100

    stage.manager.subscribe(BTC, "1m", Staller(), 5)
    asyncio.run(stage.player.run())
    assert minutes(stage.settled)[:5] == [(0, 0.0), (1, 101.0), (2, 101.0), (3, 102.0), (4, 103.0)]


def test_at_speed_0_the_loop_breathes_and_commands_get_the_lock() -> None:
    async def scene() -> int:
        source = SyntheticSource([BTC], "1m", T0, 1)
        clock = MarketClock(T0)
        manager = MarketManager(
            clock=clock, cache=RecordingCache(), base_interval="1m", on_event=print, candle_feed=True
        )
        manager.attach_source(source)
        player = Player(
            source=source,
            manager=manager,
            clock=clock,
            speed=0,
            playing=True,
            cursor_ms=None,
            on_state=lambda state: None,
        )
        task = asyncio.create_task(player.run())
        turns = 0
        while turns < 20:
            async with manager.lock:
                turns += 1
            await asyncio.sleep(0)
        task.cancel()
        return turns

    assert asyncio.run(asyncio.wait_for(scene(), 10)) == 20


@settings(deadline=None, max_examples=30)
@given(gone=st.sets(st.integers(0, 60), max_size=30), stops=st.lists(st.integers(0, 70), max_size=3).map(sorted))
def test_a_run_in_pieces_equals_an_undisturbed_one(gone: set[int], stops: list[int]) -> None:
    rows = {
        BTC: rows_at([m for m in range(70) if m not in gone]),
        ETH: rows_at([m for m in range(70) if m % 7 or m > 40]),
    }

    def run(ends: list[int | None]) -> tuple[list[Any], list[Any], list[Any]]:
        closed: list[Any] = []
        opened: list[Any] = []
        events: list[Any] = []
        cursor: int | None = None
        for end in ends:
            stage = Stage(source_of(rows), cursor=cursor)
            for symbol in rows:
                for interval in ("1m", "5m"):
                    reader = RecordingListener(closed, f"{symbol} {interval}")
                    stage.manager.subscribe(symbol, interval, reader, 30)
            until = len(ends) and end

            def stop(at: int, until: int | None = until, stage: Stage = stage) -> None:
                if until is not None and at >= T0 + until * MINUTE:
                    stage.player.pause()

            stage.manager.set_hooks(lambda closed: None, stop)

            async def go(stage: Stage = stage) -> None:
                task = asyncio.create_task(stage.player.run())
                while stage.player.state == "playing":
                    await asyncio.sleep(0)
                task.cancel()

            asyncio.run(go())
            events += [(e.time_ms, e.data) for e in stage.events]
            cursor = stage.player.cursor_ms
        return closed, opened, events

    assert run([*stops, None]) == run([None])
