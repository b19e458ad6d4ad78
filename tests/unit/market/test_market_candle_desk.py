"""Candles over REST go by the exchange's time: a step of our own clock, there and back, moves it for a moment only."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from market_world import SteppingClock

from botd.domain.clock import VirtualClock
from botd.market.by_ccxt.candle_poll import CandleDesk

MINUTE, HOUR = 60_000, 3_600_000
START = 1_767_225_600_000


class Exchange:
    has = {"fetchTime": True}

    def __init__(self, clock: SteppingClock) -> None:
        self.clock = clock
        self.asked = 0
        self.minutes = 0
        self.changes: dict[int, dict[str, float]] = {}

    async def fetch_time(self) -> int:
        self.asked += 1
        return self.truth

    @property
    def truth(self) -> int:
        return VirtualClock.now_ms(self.clock) + 250

    async def fetch_ohlcv(self, *_: Any) -> list[Any]:
        return [self.row(minute, **self.changes.get(minute, {})) for minute in range(self.minutes)]

    def row(self, minute: int, high: float = 102.0) -> list[float]:
        return [START + minute * MINUTE, 100.0, high, 99.0, 101.0, 5.0]


@pytest.mark.parametrize("step_ms", [HOUR, -HOUR])
def test_a_step_of_our_clock_there_and_back_leaves_the_exchanges_time(step_ms: int) -> None:
    async def scene() -> None:
        clock = SteppingClock()
        exchange = Exchange(clock)
        desk = CandleDesk(exchange, clock)
        for clock.step_ms in (0, step_ms, 0):
            for _ in range(3):
                await desk.measure_time()
                assert desk.server_ms() == exchange.truth
                clock.advance(VirtualClock.now_ms(clock) + 10_000)
        assert exchange.asked == 3  # at first, and when the clock stepped

    asyncio.run(scene())


def test_an_impossible_candle_is_not_there_yet_and_is_counted() -> None:
    async def scene() -> None:
        clock = SteppingClock()
        exchange = Exchange(clock)
        desk = CandleDesk(exchange, clock)
        clock.advance(START + 4 * MINUTE + 10_000)
        exchange.minutes = 4
        exchange.changes = {1: {"high": 100.5}, 3: {"high": 98.0}}
        for look in (desk.history("BTC/USDT", "1m", 4), desk.closed_since("BTC/USDT", "1m", START)):
            found = [(candle.open_time - START) // MINUTE for candle in await look]
            assert found == [0, 2]  # the last one is asked for again
        assert desk.statistics()["quarantined"] == 4
        exchange.changes = {}
        assert len(await desk.closed_since("BTC/USDT", "1m", START)) == 4

    asyncio.run(scene())
