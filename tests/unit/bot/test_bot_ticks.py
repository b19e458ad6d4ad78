"""Bots on a market of ticks: the guard sells once, hooks hear prices, orders wait for their turn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from botd.bot.lifecycle import BotState
from botd.config import from_mapping
from botd.domain.clock import VirtualClock
from botd.domain.instrument import Instrument
from botd.market.feed import Quote
from botd.strategy.base import Context
from botd.world import World
from tests.fakes.plain_strategies import Hooks
from tests.fakes.small_world import START, SmallWorld

BTC = Instrument(symbol="BTC/USDT", base="BTC", quote="USDT", tick=Decimal("0.01"), step=Decimal("0.0001"),
                 min_notional=Decimal(5))  # fmt: skip
ONE = Decimal(1)


class TickWorld(SmallWorld):
    """The same, on a market whose prices the test makes."""

    def open(self) -> World:
        self.world = World(
            from_mapping({**self.config, "market": {"source": "exchange"}, "instruments": {}}, self.home)
        )
        self.clock = self.world.clock = VirtualClock(START)
        self.world.build()
        self.world._instruments.update({"BTC/USDT": BTC})
        self.world.exchange.list_instruments({"BTC/USDT": BTC})
        return self.world

    async def tick(self, price: float, after_ms: int = 100) -> None:
        self.clock.advance(self.clock.now_ms() + after_ms)
        self.world.market.on_tick("BTC/USDT", Quote(price, price, price, self.clock.now_ms()))
        for _ in range(6):
            await asyncio.sleep(0)


@pytest.fixture
def ticking(tmp_path: Path) -> Callable[..., None]:
    def go(script: Any, **paper: Any) -> None:
        async def all_of_it() -> None:
            free = {"maker_fee": "0%", "taker_fee": "0%", "slippage": "0%", **paper}
            small = TickWorld(tmp_path, paper=free)
            await small.begin()
            try:
                await small.tick(100)
                await script(small)
                await small.world.settlement.commit()
            finally:
                await small.end()

        asyncio.run(all_of_it())

    return go


async def until(condition: Callable[[], bool]) -> None:
    """The evaluation thread is a real one: wait for what it will have done."""
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("not within five seconds")


def buy_now(bot: Any, quantity: Decimal) -> None:
    from botd.bot.intents import market_entry

    bot.place(market_entry(bot, 100.0), quantity)


def begun(small: TickWorld, mind: Any, **spec: Any) -> Any:
    """A bot that runs: on this feed its history comes from nobody, so it need not be awaited."""
    bot = small.add(mind, start=False, **spec)
    bot.move(BotState.STARTING)
    bot.record.desired = "running"
    bot.begin()
    return bot


def test_a_stop_sells_once_however_many_ticks_fall_below_it(ticking: Any, by_hooks: Any) -> None:
    async def script(small: TickWorld) -> None:
        bot = begun(small, by_hooks(Hooks()), stop_loss=Decimal("0.1"))
        buy_now(bot, ONE)
        await small.tick(100, 1000)
        assert bot.holds
        for price in (89.0, 88.0, 87.0, 86.0):  # the exchange takes half a second
            await small.tick(price, 100)
        assert len(bot.orders()) == 1
        await small.tick(85.0, 300)
        assert not bot.holds and bot.orders() == []
        await small.world.settlement.commit()
        sold = small.rows("SELECT status FROM orders WHERE side = 'sell'")
        assert [row["status"] for row in sold] == ["filled"]

    ticking(script, latency_ms=500)


def test_a_sale_that_the_filters_refuse_is_tried_again_every_ten_seconds_only(ticking: Any, by_hooks: Any) -> None:
    async def script(small: TickWorld) -> None:
        bot = begun(small, by_hooks(Hooks()), stop_loss=Decimal("0.1"))
        buy_now(bot, ONE)
        await small.tick(100)
        bot.book.position.quantity = Decimal("0.01")  # less than the exchange takes
        for _ in range(50):
            await small.tick(80.0, 100)
        await small.world.settlement.commit()
        assert bot.denials.series.count == 1
        await small.tick(80.0, 10_000)
        await small.world.settlement.commit()
        assert bot.denials.series.count == 2
        assert len(small.rows("SELECT id FROM orders WHERE status = 'denied'")) == 1  # the same one, counted

    ticking(script)


@pytest.mark.parametrize("trusted", [True, False])
def test_hooks_hear_ticks_and_fills(ticking: Any, by_hooks: Any, trusted: bool) -> None:
    class Ticks(Hooks):
        def on_tick(self, context: Context, price: float) -> None:
            self.heard.append(f"tick {price:g}")
            if price == 102:
                context.buy(ONE)

    async def script(small: TickWorld) -> None:
        strategy = Ticks()
        bot = begun(small, by_hooks(strategy, trusted))
        for price in (101.0, 102.0, 103.0):
            await small.tick(price)
            told = "fill buy 1" if price == 102 else f"tick {price:g}"
            await until(lambda told=told: told in strategy.heard)
        assert strategy.heard == ["tick 101", "tick 102", "fill buy 1", "tick 103"]
        small.world.orchestrator.stop(bot)
        await small.tick(104)
        assert strategy.heard[-1] == "tick 103"

    ticking(script)


def test_a_slow_hook_hears_the_latest_tick_and_not_all_of_them(ticking: Any, by_hooks: Any) -> None:
    import threading

    gate = threading.Event()

    class Ticks(Hooks):
        def on_tick(self, context: Context, price: float) -> None:
            self.heard.append(f"tick {price:g}")
            gate.wait(20)

    async def script(small: TickWorld) -> None:
        small.world.evaluator._timeout_s = 30.0
        strategy = Ticks()
        begun(small, by_hooks(strategy, False))
        await small.tick(100.0)
        await until(lambda: strategy.heard == ["tick 100"])
        for price in range(101, 200):
            await small.tick(float(price))
        gate.set()
        await until(lambda: strategy.heard == ["tick 100", "tick 199"])

    ticking(script)


def test_a_hook_that_raises_on_a_fill_fails_its_bot_and_nothing_else(ticking: Any, by_hooks: Any) -> None:
    async def script(small: TickWorld) -> None:
        def fill(context: Any, _: Any) -> None:
            raise LookupError("in the fill")

        bot = begun(small, by_hooks(Hooks(fill=fill)))
        buy_now(bot, ONE)
        await small.tick(100)
        assert bot.state is BotState.BACKOFF and bot.holds
        small.clock.advance(bot.retry_at_ms)
        small.world.orchestrator.supervise()
        assert bot.state is BotState.STARTING

    ticking(script)
