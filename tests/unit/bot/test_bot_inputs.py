"""What a bot's strategy reads besides, on a market of ticks: its lanes, lateness, gaps, and what ``why`` says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from botd.bot.bot import Bot
from botd.bot.lifecycle import BotState
from botd.bot.signal_mind import SignalMind
from botd.domain.candle import Candle
from botd.domain.candles import Candles
from botd.market.lanes import LaneNews
from botd.strategy.base import Input, Signals, SignalStrategy
from botd.strategy.inputs import reads_of
from tests.fakes.small_world import MINUTE, START
from tests.unit.bot.test_bot_ticks import TickWorld

BEGIN = START + 60 * MINUTE
"""Before it there is history; the first candle that is told opens here."""


class Listening(SignalStrategy):
    """Keeps what it saw at every candle; enters where it is told to buy."""

    def __init__(self) -> None:
        super().__init__()
        self.buys = False
        self.saw: list[tuple[float, float]] = []
        self.lengths: list[int] = []
        self.steps: set[int] = set()

    def warmup(self) -> int:
        return 3

    def inputs(self) -> list[Input]:
        return [Input("5m", 4), Input("5m", 2, "ETH/USDT")]

    def signals(self, candles: Candles) -> Signals:
        own, other = candles.at("5m"), candles.at("5m", symbol="ETH/USDT")
        self.saw.append((float(own.align(own.close)[-1]), float(other.align(other.close)[-1])))
        self.lengths.append(len(own))
        self.steps.update(int(step) for step in np.diff(own.time))
        flags = np.full(len(candles), self.buys)
        return Signals(enter=flags, exit=np.zeros(len(candles), np.bool_))


def rows(interval: str, length: int, closes: list[float]) -> Candles:
    """Candles that end at BEGIN."""
    values = np.array(closes)
    time = BEGIN + (np.arange(len(closes), dtype=np.int64) - len(closes)) * length
    return Candles(interval, time, values, values, values, values, np.ones(len(closes)))


class Market:
    """A bot on BTC/USDT 1m that reads 5m of BTC and of ETH; candles come when the test says."""

    def __init__(self, world: TickWorld, strategy: Listening) -> None:
        self.world, self.strategy = world, strategy
        self.market = world.world.market
        self.bot: Bot = world.add(self._mind, start=False)

    def _mind(self, bot: Bot) -> SignalMind:
        reads = reads_of("listening", self.strategy, "BTC/USDT", "1m")
        return SignalMind(bot, self.strategy, ("listening",), needs=3, trusted=True, reads=reads)

    def start(self) -> None:
        self.world.world.orchestrator.start(self.bot)

    def warm(self) -> None:
        self.market.load_history("BTC/USDT", "1m", rows("1m", MINUTE, [1.0] * 30))
        self.market.load_history("BTC/USDT", "5m", rows("5m", 5 * MINUTE, [10.0] * 9 + [11.0]))
        self.market.load_history("ETH/USDT", "5m", rows("5m", 5 * MINUTE, [20.0] * 9 + [21.0]))
        self.world.world.orchestrator.supervise()

    async def minute(self, number: int, close: float) -> None:
        """Tell the bot's own candle a moment after its close."""
        opened = BEGIN + number * MINUTE
        await self.world.tick(close, opened + MINUTE + 50 - self.world.clock.now_ms())
        self.market.on_candle("BTC/USDT", "1m", Candle(opened, close, close, close, close, 1.0))
        for _ in range(6):
            await asyncio.sleep(0)

    def five(self, symbol: str, number: int, close: float) -> None:
        opened = BEGIN + number * 5 * MINUTE
        self.market.on_candle(symbol, "5m", Candle(opened, close, close, close, close, 1.0))

    @property
    def outcome(self) -> str:
        return "" if self.bot.last_decision is None else self.bot.last_decision.outcome

    @property
    def why(self) -> str:
        assert self.bot.last_decision is not None
        return self.bot.last_decision.gates[-1].detail


@pytest.fixture
def go(tmp_path: Path) -> Callable[[Any], None]:
    def run(script: Callable[[Market], Any]) -> None:
        async def all_of_it() -> None:
            small = TickWorld(tmp_path)
            await small.begin()
            try:
                await small.tick(100, BEGIN - small.clock.now_ms())
                await script(Market(small, Listening()))
            finally:
                await small.end(killed=True)

        asyncio.run(all_of_it())

    return run


def test_the_lanes_it_reads_are_the_bots_and_go_with_it(go: Any) -> None:
    async def script(at: Market) -> None:
        assert at.market.lanes() == {}
        at.start()
        wanted = at.market.lanes()
        assert set(wanted) == {("BTC/USDT", "1m"), ("BTC/USDT", "5m"), ("ETH/USDT", "5m")}
        assert {row["symbol"]: row["lanes"] for row in at.market.symbols()}["ETH/USDT"] == ["5m"]
        at.warm()
        assert at.bot.state is BotState.RUNNING
        at.world.world.orchestrator.stop(at.bot)
        assert at.market.lanes() == {}

    go(script)


def test_it_waits_for_the_history_of_all_its_lanes(go: Any) -> None:
    async def script(at: Market) -> None:
        at.start()
        at.market.load_history("BTC/USDT", "1m", rows("1m", MINUTE, [1.0] * 30))
        at.market.load_history("BTC/USDT", "5m", rows("5m", 5 * MINUTE, [10.0] * 10))
        at.world.world.orchestrator.supervise()
        assert at.bot.state is BotState.STARTING and not at.bot.ready
        at.market.load_history("ETH/USDT", "5m", rows("5m", 5 * MINUTE, [20.0] * 10))
        at.world.world.orchestrator.supervise()
        assert at.bot.state is BotState.RUNNING

    go(script)


def test_a_larger_candle_that_comes_late_is_made_of_its_own_candles(go: Any) -> None:
    async def script(at: Market) -> None:
        at.start()
        at.warm()
        for number in range(5):
            await at.minute(number, 100.0 + number)
        assert at.strategy.saw == [(11.0, 21.0)] * 4 + [(104.0, 21.0)]  # closed by minute 4, told by nobody yet
        assert at.outcome == "hold" and at.strategy.lengths == [5, 4, 4, 4, 5]  # four for the first of the window
        at.five("BTC/USDT", 0, 104.0)
        at.five("ETH/USDT", 0, 22.0)
        await at.minute(5, 106.0)
        assert at.strategy.saw[-1] == (104.0, 22.0)

    go(script)


def test_another_markets_candle_of_the_same_instant_is_not_seen_though_it_is_there(go: Any) -> None:
    async def script(at: Market) -> None:
        at.start()
        at.warm()
        at.five("ETH/USDT", 0, 22.0)  # earlier than ours that close with it
        for number in range(6):
            await at.minute(number, 100.0)
        assert [other for _, other in at.strategy.saw] == [21.0] * 5 + [22.0]

    go(script)


def test_another_markets_candle_that_does_not_come_is_waited_for_and_why_says_so(go: Any) -> None:
    async def script(at: Market) -> None:
        at.start()
        at.warm()
        for number in range(5):
            await at.minute(number, 100.0)
        assert at.outcome == "hold" and len(at.strategy.saw) == 5
        at.strategy.buys = True
        await at.minute(5, 100.0)
        assert (at.outcome, len(at.strategy.saw)) == ("waiting", 5)  # not asked
        assert at.why == "waits for the candle of ETH/USDT 5m that opened at 2026-01-01T01:00:00Z"
        assert at.world.world.views.note(at.bot) == at.why and not at.bot.orders()
        at.five("ETH/USDT", 0, 22.0)
        await at.minute(6, 100.0)
        assert at.outcome == "entered" and at.strategy.saw[-1] == (100.0, 22.0)

    go(script)


def test_a_lane_that_is_known_to_miss_candles_is_waited_for(go: Any) -> None:
    async def script(at: Market) -> None:
        at.start()
        at.warm()
        at.strategy.buys = True
        at.market.on_candle("ETH/USDT", "5m", LaneNews(doubt="GAP", since_ms=BEGIN))
        await at.minute(0, 100.0)
        assert at.outcome == "waiting" and at.why == "waits for ETH/USDT 5m GAP" and not at.bot.orders()
        at.market.on_candle("ETH/USDT", "5m", LaneNews(doubt=""))
        await at.minute(1, 100.0)
        assert at.outcome == "entered"

    go(script)


def test_a_hole_in_its_own_candles_leaves_the_larger_one_out(go: Any) -> None:
    async def script(at: Market) -> None:
        at.start()
        at.warm()
        for number in (0, 1, 3, 4):
            await at.minute(number, 100.0)
        assert at.outcome == "waiting"
        assert at.why == "waits for the candle of BTC/USDT 5m that opened at 2026-01-01T01:00:00Z"
        at.five("BTC/USDT", 0, 100.5)
        at.five("ETH/USDT", 0, 22.0)
        await at.minute(5, 100.0)
        assert at.strategy.saw[-1] == (100.5, 22.0)

    go(script)


@pytest.mark.parametrize("minutes", [15, 40, 90])
def test_candles_made_of_its_own_leave_no_hole_however_many_did_not_come(go: Any, minutes: int) -> None:
    async def script(at: Market) -> None:
        at.start()
        at.warm()
        for number in range(minutes):
            await at.minute(number, 100.0 + number)
            if number % 5 == 4:
                at.five("ETH/USDT", number // 5, 22.0)
        assert at.strategy.steps == {5 * MINUTE}
        made = at.strategy.saw[-1][0] == 100.0 + minutes - 1
        assert made or at.why.startswith("waits for the candle of BTC/USDT 5m")

    go(script)
