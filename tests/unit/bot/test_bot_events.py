"""Event bots: hooks record what they want; it is done when they returned, all of it or nothing."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from botd.bot.lifecycle import BotState
from botd.domain.order import OrderStatus
from tests.fakes.plain_strategies import Hooks
from tests.fakes.small_world import SmallWorld

BOTH = pytest.mark.parametrize("trusted", [True, False], ids=["inline", "in the thread"])
ONE = Decimal(1)


@BOTH
def test_orders_are_placed_when_the_hook_has_returned_and_fills_are_told(
    run: Any, by_hooks: Any, trusted: bool
) -> None:
    async def script(small: SmallWorld) -> None:
        seen: list[int] = []

        def candle(context: Any, _: Any) -> None:
            if context.quantity() == 0 and not context.orders():
                context.buy(ONE)
                seen.append(len(bot.orders()))

        strategy = Hooks(candle)
        bot = small.add(by_hooks(strategy, trusted))
        await small.play(2)
        assert seen == [0] and bot.book.position.quantity == 1
        assert strategy.heard == ["start", "candle", "fill buy 1"]
        assert bot.last_decision is not None and bot.last_decision.outcome == "bought"
        await small.play(1)
        assert strategy.heard == ["start", "candle", "fill buy 1", "candle"]

    run(script, [100] * 4)


@BOTH
def test_a_hook_that_raises_half_way_has_done_nothing_and_remembers_nothing(
    run: Any, by_hooks: Any, trusted: bool
) -> None:
    async def script(small: SmallWorld) -> None:
        broken = [True]

        def candle(context: Any, _: Any) -> None:
            context.state["count"] = context.state.get("count", 0) + 1
            context.note(count=context.state["count"])
            if broken[0]:
                context.buy(ONE)
                context.cancel("whatever")
                raise KeyError("half-way")

        bot = small.add(by_hooks(Hooks(candle), trusted, started=True, memory={"count": 7}))
        await small.play(2)
        assert bot.state is BotState.BACKOFF and bot.orders() == [] and not bot.holds
        assert bot.memory == {"started": True, "memory": {"count": 7}}
        broken[0] = False
        await small.play(1)  # nothing of the hook that failed is carried out with the one that did not
        assert bot.state is BotState.RUNNING and bot.memory["memory"] == {"count": 8}
        await small.world.settlement.commit()
        assert small.rows("SELECT * FROM orders") == []
        states = [json.loads(row["state"]) for row in small.rows("SELECT state FROM strategy_states")]
        assert states == [{"started": True, "memory": {"count": 8}}]

    run(script, [100] * 5)


@BOTH
def test_a_start_that_failed_is_a_start_still_to_come(run: Any, by_hooks: Any, trusted: bool) -> None:
    async def script(small: SmallWorld) -> None:
        def start(context: Any) -> None:
            if len(strategy.heard) == 1:
                raise OSError("no")
            context.state["begun"] = True

        strategy = Hooks(start=start)
        bot = small.add(by_hooks(strategy, trusted))
        await small.play(3)
        assert strategy.heard == ["start", "start", "candle"] and bot.memory["memory"] == {"begun": True}

    run(script, [100] * 5)


@BOTH
def test_cancel_then_place_in_one_hook_replaces_an_order(run: Any, by_hooks: Any, trusted: bool) -> None:
    async def script(small: SmallWorld) -> None:
        seen: list[int] = []

        def candle(context: Any, _: Any) -> None:
            for order in context.orders():
                context.cancel(order.client_order_id)
            seen.append(len(context.orders()))  # an exchange in the process cancels at once
            context.buy(ONE, Decimal(90) + len(seen))

        bot = small.add(by_hooks(Hooks(candle), trusted))
        await small.play(4)
        assert seen == [0, 0, 0]
        assert [(o.price, o.status) for o in bot.orders()] == [(Decimal(93), OrderStatus.OPEN)]
        await small.world.settlement.commit()
        assert [row["status"] for row in small.rows("SELECT status FROM orders")] == ["canceled", "canceled", "open"]

    run(script, [100] * 5)


@BOTH
def test_the_state_is_restored_after_a_restart_and_the_start_is_not_called_again(
    run: Any, by_hooks: Any, trusted: bool
) -> None:
    async def script(small: SmallWorld) -> None:
        strategy = Hooks(lambda context, _: context.state.update(seen=context.state.get("seen", 0) + 1))
        bot = small.add(by_hooks(strategy, trusted))
        await small.play(3)
        kept = bot.memory
        again = Hooks(strategy.candle)
        other = small.add(by_hooks(again, trusted, **kept), "beta")
        await small.play(1)
        assert "start" not in again.heard and other.memory == {"started": True, "memory": {"seen": 3}}

    run(script, [100] * 5)


@pytest.mark.parametrize("quantity", [Decimal(0), Decimal(-1), Decimal("NaN"), Decimal("Infinity"), "abc", None])
def test_an_amount_that_is_none_fails_the_hook_at_that_line(run: Any, by_hooks: Any, quantity: Any) -> None:
    async def script(small: SmallWorld) -> None:
        bot = small.add(by_hooks(Hooks(lambda context, _: context.buy(quantity)), False))
        await small.play(2)
        assert bot.state is BotState.BACKOFF and "buy quantity must be" in bot.record.reason

    run(script, [100] * 3)


def test_floats_and_integers_are_taken_as_they_print(run: Any, by_hooks: Any) -> None:
    async def script(small: SmallWorld) -> None:
        bot = small.add(by_hooks(Hooks(lambda context, _: context.buy(1, 90.1)), False))
        await small.play(2)
        assert [(o.quantity, o.price) for o in bot.orders()] == [(ONE, Decimal("90.1"))]

    run(script, [100] * 3)


@BOTH
def test_a_memory_that_json_cannot_carry_is_the_hook_s_failure_before_anything_is_placed(
    run: Any, by_hooks: Any, trusted: bool
) -> None:
    async def script(small: SmallWorld) -> None:
        def candle(context: Any, _: Any) -> None:
            context.state["self"] = object()
            context.buy(ONE)

        bot = small.add(by_hooks(Hooks(candle), trusted))
        await small.play(2)
        assert bot.state is BotState.BACKOFF and not bot.orders() and bot.memory["memory"] == {}

    run(script, [100] * 3)


@BOTH
def test_a_memory_may_be_replaced_whole(run: Any, by_hooks: Any, trusted: bool) -> None:
    async def script(small: SmallWorld) -> None:
        def candle(context: Any, _: Any) -> None:
            context.state = {"fresh": True}

        bot = small.add(by_hooks(Hooks(candle), trusted))
        await small.play(2)
        assert bot.memory["memory"] == {"fresh": True}

    run(script, [100] * 3)


def test_a_strategy_sells_what_its_bot_holds_and_no_more(run: Any, by_hooks: Any) -> None:
    async def script(small: SmallWorld) -> None:
        def candle(context: Any, _: Any) -> None:
            if len(strategy.heard) == 2:
                context.buy(ONE)
            elif context.quantity():
                context.sell(Decimal(3), Decimal(150))
                context.sell(Decimal(3), Decimal(160))

        strategy = Hooks(candle)
        bot = small.add(by_hooks(strategy))
        await small.play(3)
        assert [(o.quantity, o.price) for o in bot.orders()] == [(ONE, Decimal(150))]
        assert bot.last_decision is not None
        told = [check.detail for check in bot.last_decision.gates if check.gate == "holding"]
        assert told == ["3 asked for, 1 held and not offered yet", "3 asked for, 0 held and not offered yet"]

    run(script, [100] * 4)


@BOTH
def test_a_paused_event_bot_sells_and_does_not_buy(run: Any, by_hooks: Any, trusted: bool) -> None:
    async def script(small: SmallWorld) -> None:
        def candle(context: Any, _: Any) -> None:
            if context.quantity():
                context.sell(context.quantity())
            context.buy(ONE)

        bot = small.add(by_hooks(Hooks(candle), trusted))
        await small.play(2)
        small.world.orchestrator.pause(bot)
        await small.play(1)
        assert not bot.holds and bot.orders() == [] and bot.state is BotState.PAUSED
        assert bot.last_decision is not None and bot.last_decision.gates[-1].detail == "paused: no entries"

    run(script, [100] * 5)


def test_after_a_failure_nothing_of_the_same_moment_is_carried_out(run: Any, by_hooks: Any) -> None:
    async def script(small: SmallWorld) -> None:
        def start(context: Any) -> None:
            raise ValueError("at once")

        bot = small.add(by_hooks(Hooks(lambda context, _: context.buy(ONE), start=start), False))
        await small.play(2)  # both hooks were queued for the thread
        assert bot.state is BotState.BACKOFF and bot.orders() == [] and not bot.holds

    run(script, [100] * 3)


def test_what_a_hook_left_behind_does_later_counts_for_nothing(run: Any, by_hooks: Any) -> None:
    import threading

    go_on, gone_on = threading.Event(), threading.Event()

    async def script(small: SmallWorld) -> None:
        def candle(context: Any, _: Any) -> None:
            if len(strategy.heard) == 2:
                go_on.wait(20)
                context.state["late"] = True
                context.buy(Decimal(5))
                gone_on.set()

        strategy = Hooks(candle)
        bot = small.add(by_hooks(strategy, False))
        await small.play(2)
        assert bot.state is BotState.FAILED and bot.record.reason.startswith("quarantined:")
        small.world.orchestrator.start(bot)
        go_on.set()
        gone_on.wait(0.2)  # its thread ends at its next step, or has asked for what nobody places
        await small.play(2)
        assert bot.state is BotState.RUNNING and bot.orders() == [] and not bot.holds
        assert bot.memory["memory"] == {}

    run(script, [100] * 6)


def test_set_capital_is_what_the_hooks_see(run: Any, by_hooks: Any) -> None:
    async def script(small: SmallWorld) -> None:
        import msgspec

        seen: list[Decimal] = []
        bot = small.add(by_hooks(Hooks(lambda context, _: seen.append(context.capital))))
        await small.play(2)
        small.world.orchestrator.change(bot, msgspec.structs.replace(bot.spec, capital=Decimal(2500)))
        await small.play(1)
        assert seen == [Decimal(1000), Decimal(2500)] and bot.book.cash == 2500

    run(script, [100] * 4)


def test_several_fills_make_one_position_with_levels_from_the_order_s_average(run: Any, by_hooks: Any) -> None:
    async def script(small: SmallWorld) -> None:
        bot = small.add(
            by_hooks(Hooks(start=lambda context: context.buy(Decimal(2)) and None)), stop_loss=Decimal("0.1")
        )
        await small.play(3)
        assert bot.book.position.quantity == 1 and bot.book.position.stop == pytest.approx(0.9 * 110)
        await small.play(1)
        assert bot.book.position.quantity == 2 and bot.book.position.stop == pytest.approx(0.9 * 115)

    # ten per cent of a candle's ten units may be bought in it, at its open
    paper = {"maker_fee": "0%", "taker_fee": "0%", "slippage": "0%", "max_volume_pct": "10%"}
    run(script, [(100, 101, 99, 100), (110, 111, 109, 110), (120, 121, 119, 120), (120, 121, 119, 120)], paper=paper)


def test_selling_beyond_the_book_is_told_and_logged(run: Any, by_hooks: Any, caplog: Any) -> None:
    async def script(small: SmallWorld) -> None:
        bot = small.add(by_hooks(Hooks(start=lambda context: context.buy(ONE) and None)))
        await small.play(2)
        bot.book.position.quantity = Decimal("0.4")  # the rest was somebody else's
        bot.place(_sale(bot, 100.0), ONE)
        await small.play(1)
        await small.world.settlement.commit()
        assert [event["quantity"] for event in small.events("book.oversold")] == ["0.6"]
        assert "beyond the holding" in caplog.text

    run(script, [100] * 4)


def _sale(bot: Any, price: float) -> Any:
    from botd.bot.intents import exit_of_all

    return exit_of_all(bot, "signal", price, None)
