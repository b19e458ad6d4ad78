"""What an event strategy reads besides, on a market of ticks: what its hooks see, and when they are not called."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from botd.bot.bot import Bot
from botd.bot.event_mind import EventMind
from botd.bot.lifecycle import BotState
from botd.domain.candle import Candle
from botd.domain.order import Fill
from botd.market.lanes import LaneNews
from botd.strategy.base import Context, EventStrategy, Input
from botd.strategy.inputs import reads_of
from tests.fakes.plain_strategies import Hooks
from tests.fakes.small_world import MINUTE, SmallWorld
from tests.unit.bot.test_bot_inputs import BEGIN, Market
from tests.unit.bot.test_bot_ticks import TickWorld, until


class Listening(EventStrategy):
    """Keeps what its hooks saw: (hook, own close, close of its five minutes, close of the other's)."""

    def __init__(self) -> None:
        super().__init__()
        self.saw: list[tuple[str, float, float, float]] = []
        self.lengths: set[tuple[int, int]] = set()
        self.buys = False
        self.go_on: threading.Event | None = None

    def warmup(self) -> int:
        return 3

    def inputs(self) -> list[Input]:
        return [Input("5m", 4), Input("5m", 2, "ETH/USDT")]

    def on_start(self, context: Context) -> None:
        self._see("start", context)

    def on_candle(self, context: Context, candle: Candle) -> None:
        if self.go_on is not None:
            self.go_on.wait(5)
        self._see("candle", context)
        if self.buys:
            self.buys = False
            context.buy(Decimal(1))

    def on_fill(self, context: Context, fill: Fill) -> None:
        self._see("fill", context)

    def _see(self, hook: str, context: Context) -> None:
        own, other = context.candles.at("5m"), context.candles.at("5m", symbol="ETH/USDT")
        self.saw.append((hook, *(float(rows.close[-1]) for rows in (context.candles, own, other))))
        self.lengths.add((len(context.candles), len(other)))

    def seen_by(self, hook: str) -> list[tuple[float, ...]]:
        return [tuple(rest) for name, *rest in self.saw if name == hook]


class EventMarket(Market):
    """The same, for a strategy that places its own orders."""

    def __init__(self, world: TickWorld, strategy: Any, trusted: bool = True) -> None:
        self.trusted = trusted
        super().__init__(world, strategy)

    def _mind(self, bot: Bot) -> EventMind:  # type: ignore[override]
        reads = reads_of("listening", self.strategy, "BTC/USDT", "1m")
        needs = self.strategy.warmup()
        return EventMind(bot, self.strategy, {}, needs=needs, trusted=self.trusted, reads=reads)  # type: ignore[arg-type]


Go = Callable[..., None]


@pytest.fixture
def go(tmp_path: Path) -> Go:
    def run(script: Callable[[Any, Listening], Any], trusted: bool = True) -> None:
        async def all_of_it() -> None:
            small = TickWorld(tmp_path, paper={"maker_fee": "0%", "taker_fee": "0%", "slippage": "0%"})
            await small.begin()
            try:
                await small.tick(100, BEGIN - small.clock.now_ms())
                strategy = Listening()
                await script(EventMarket(small, strategy, trusted), strategy)
            finally:
                await small.end(killed=True)

        asyncio.run(all_of_it())

    return run


@pytest.mark.parametrize("trusted", [True, False])
def test_a_hook_sees_closed_candles_only_and_its_own_late_one_is_made_of_smaller_ones(go: Go, trusted: bool) -> None:
    async def script(at: EventMarket, strategy: Listening) -> None:
        at.start()
        assert set(at.market.lanes()) == {("BTC/USDT", "1m"), ("BTC/USDT", "5m"), ("ETH/USDT", "5m")}
        at.warm()
        assert at.bot.state is BotState.RUNNING
        at.five("ETH/USDT", 0, 22.0)  # earlier than ours that close with it: of the same instant, hence not seen
        for number in range(6):
            await at.minute(number, 100.0 + number)
            await until(lambda number=number: len(strategy.seen_by("candle")) == number + 1)  # type: ignore[misc]
        assert strategy.seen_by("start") == [(100.0, 11.0, 21.0)]
        assert strategy.seen_by("candle") == [
            *((100.0 + k, 11.0, 21.0) for k in range(4)),
            (104.0, 104.0, 21.0),
            (105.0, 104.0, 22.0),
        ]
        assert {own for own, _ in strategy.lengths} == {3}

    go(script, trusted)


@pytest.mark.parametrize("trusted", [True, False])
def test_while_an_input_is_missing_no_candle_is_told_and_why_says_so(go: Go, trusted: bool) -> None:
    async def script(at: EventMarket, strategy: Listening) -> None:
        at.start()
        at.warm()
        for number in range(5):
            await at.minute(number, 100.0)
        await until(lambda: len(strategy.seen_by("candle")) == 5)
        assert at.outcome == ""  # it asked for nothing
        await at.minute(5, 100.0)
        assert at.outcome == "waiting"
        assert at.why == "waits for the candle of ETH/USDT 5m that opened at 2026-01-01T01:00:00Z"
        assert at.world.world.views.note(at.bot) == at.why and len(strategy.seen_by("candle")) == 5
        at.five("ETH/USDT", 0, 22.0)
        await at.minute(6, 100.0)
        await until(lambda: at.outcome == "hold")  # what is not so any more is not said any more
        assert strategy.seen_by("candle")[5:] == [(100.0, 100.0, 22.0)] and at.world.world.views.note(at.bot) == ""

    go(script, trusted)


def test_it_starts_with_the_first_candle_that_misses_nothing(go: Go) -> None:
    async def script(at: EventMarket, strategy: Listening) -> None:
        at.start()
        at.warm()
        at.market.on_candle("ETH/USDT", "5m", LaneNews(doubt="GAP", since_ms=BEGIN))
        await at.minute(0, 100.0)
        assert (at.outcome, at.why, strategy.saw) == ("waiting", "waits for ETH/USDT 5m GAP", [])
        at.market.on_candle("ETH/USDT", "5m", LaneNews(doubt=""))
        await at.minute(1, 101.0)
        assert [hook for hook, *_ in strategy.saw] == ["start", "candle"]
        assert at.bot.memory["started"] is True

    go(script)


def test_a_fill_while_an_input_is_missing_is_told_with_what_was_seen_last(go: Go) -> None:
    async def script(at: EventMarket, strategy: Listening) -> None:
        at.start()
        at.warm()
        for number in range(4):
            await at.minute(number, 100.0)
        await at.minute(4, 100.0)
        await at.minute(5, 107.0)
        assert at.outcome == "waiting"
        strategy.buys = True
        at.five("ETH/USDT", 0, 22.0)
        await at.minute(6, 108.0)
        at.market.on_candle("ETH/USDT", "5m", LaneNews(doubt="STALE", since_ms=BEGIN))
        await at.minute(7, 109.0)
        assert at.bot.holds and strategy.seen_by("fill") == [(108.0, 100.0, 22.0)]
        assert len(strategy.seen_by("candle")) == 6

    go(script)


def test_after_a_new_start_a_hook_before_the_first_candle_sees_what_has_closed(go: Go) -> None:
    async def script(at: EventMarket, strategy: Listening) -> None:
        at.start()
        at.warm()
        strategy.buys = True
        await at.minute(0, 103.0)
        at.world.world.orchestrator.stop(at.bot)
        at.start()
        at.warm()
        assert at.bot.state is BotState.RUNNING
        strategy.saw.clear()
        at.bot._mind.on_fill(None)  # type: ignore[arg-type]
        await at.world.tick(103.0)
        assert [hook for hook, *_ in strategy.saw] == ["fill"] and strategy.saw[0][2:] == (11.0, 21.0)

    go(script)


def test_what_a_hook_in_its_thread_sees_had_closed_when_it_was_called(go: Go) -> None:
    """The market goes on meanwhile; the arrays that the hook was given do not."""

    async def script(at: EventMarket, strategy: Listening) -> None:
        at.start()
        at.warm()
        strategy.go_on = threading.Event()
        await at.minute(0, 100.0)
        at.five("ETH/USDT", 0, 22.0)
        at.market.on_candle("BTC/USDT", "1m", Candle(BEGIN + MINUTE, 7.0, 7.0, 7.0, 7.0, 1.0))
        strategy.go_on.set()
        await until(lambda: len(strategy.seen_by("candle")) == 2)
        assert strategy.seen_by("candle") == [(100.0, 11.0, 21.0), (7.0, 11.0, 21.0)]

    go(script, False)


class Looking(Hooks):
    """Looks back three of its own candles, and reads nothing else."""

    def warmup(self) -> int:
        return 3


def test_own_candles_are_there_by_the_warm_up_alone(run: Any) -> None:
    async def script(small: SmallWorld) -> None:
        saw: list[list[float]] = []
        strategy = Looking(lambda context, _: saw.append(context.candles.close.tolist()))
        small.add(lambda bot: EventMind(bot, strategy, {}, needs=strategy.warmup(), trusted=True))
        await small.play(5)
        assert saw == [[100.0], [100.0, 101.0], [100.0, 101.0, 102.0], [101.0, 102.0, 103.0]]

    run(script, [100.0 + k for k in range(6)])


def test_who_declares_nothing_is_told_what_to_declare_and_costs_no_look(run: Any, by_hooks: Any) -> None:
    async def script(small: SmallWorld) -> None:
        asked: list[Any] = []
        bot = small.add(by_hooks(Hooks(lambda context, _: asked.append(context.candles))))
        bot._mind._look = lambda: asked.append("looked")  # type: ignore[attr-defined]
        await small.play(2)
        assert asked == [] and bot.state is BotState.BACKOFF
        assert "LookupError: context.candles has what the strategy declares to look back on" in bot.record.reason

    run(script, [100] * 4)
