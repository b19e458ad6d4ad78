"""The lanes of a live feed: history is asked for until it is there, whatever goes wrong on the way."""

from __future__ import annotations

import asyncio
from typing import Any

from market_world import MINUTE, T0, rows_at

from botd.domain.candle import Candle
from botd.domain.candles import Candles
from botd.domain.clock import VirtualClock, seeded_random
from botd.domain.errors import UnavailableError
from botd.market.binance.gate_values import LIVE, Row
from botd.market.binance.live_lanes import LiveLanes
from botd.market.binance.rest import Klines
from botd.market.feed import Lane

LANE = ("BTC/USDT", "1m")


class FailingRest:
    """History at the third attempt: one fails as REST does, one in a way that nobody thought of."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.failures: list[Exception] = [UnavailableError("no answer"), LookupError("a mistake of ours")]

    def server_ms(self) -> int:
        return self.clock.now_ms()

    async def klines(self, *_: Any) -> Klines:
        return Klines([], self.clock.now_ms())

    async def history(self, name: str, interval: str, count: int) -> Klines:
        if self.failures:
            raise self.failures.pop(0)
        return Klines([Row(candle, 1) for candle in rows_at(list(range(60)))], self.clock.now_ms())


class Market:
    def __init__(self) -> None:
        self.loaded: list[int] = []

    def on_candle(self, symbol: str, interval: str, candle: Candle | Any) -> None: ...

    def load_history(self, symbol: str, interval: str, candles: Candles) -> None:
        self.loaded.append(len(candles))

    def lanes(self) -> dict[Lane, int]:
        return {LANE: 30}

    def warmup(self, symbol: str, interval: str) -> int:
        return 30


def test_a_lane_gets_its_history_also_after_a_failure_that_nobody_thought_of() -> None:
    async def scene() -> None:
        clock, market = VirtualClock(T0 + 60 * MINUTE), Market()
        lanes = LiveLanes(market, FailingRest(clock), clock, seeded_random(1), lambda stream, reason: False)
        lanes.follow({"BTC/USDT": "BTCUSDT"})
        for _ in range(40):
            await asyncio.sleep(0)
        assert market.loaded == [59]  # the last one is not proven closed yet
        assert (lanes.lanes[LANE].gate.state, lanes.lanes[LANE].trouble) == (LIVE, "")
        await lanes.close()

    asyncio.run(scene())
