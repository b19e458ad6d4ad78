"""Signal bots: when they enter, when they exit, and what they leave alone."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from botd.bot.lifecycle import BotState
from tests.fakes.plain_strategies import ByClose, Raising
from tests.fakes.small_world import SmallWorld

# Closes end in 1: enter, 2: exit, 3: both, else nothing. A decision at a close fills at the next open.


def outcome(small: SmallWorld, name: str = "alpha") -> str:
    decision = small.world.orchestrator.bots[name].last_decision
    return "" if decision is None else decision.outcome


def gate(small: SmallWorld, name: str) -> Any:
    decision = small.world.orchestrator.bots["alpha"].last_decision
    assert decision is not None
    return next(check for check in decision.gates if check.gate == name)


def test_an_entry_fills_at_the_next_open_and_an_exit_likewise(run: Any, by_signals: Any) -> None:
    async def script(small: SmallWorld) -> None:
        bot = small.add(by_signals(ByClose()))
        await small.play(2)  # open 0; close 101 and open of the next at 110
        assert bot.holds and outcome(small) == "entered"
        assert bot.book.position.entry_price == 110
        assert bot.book.position.quantity == Decimal("9.9009")  # 1000 / 101, in steps of 0.0001
        await small.play(1)
        assert not bot.holds and outcome(small) == "exited"
        trade = small.world.ledger.journal  # committed with the moment
        await small.world.settlement.commit()
        row = small.rows("SELECT * FROM trades")[0]
        assert (row["entry_price"], row["exit_price"], row["exit_reason"], row["bars"]) == ("110", "120", "signal", 1)
        assert trade.empty

    run(script, [(100, 101, 100, 101), (110, 112, 110, 112), (120, 120, 120, 120)])


def test_where_both_are_true_exit_wins_and_flat_stays_flat(run: Any, by_signals: Any) -> None:
    async def script(small: SmallWorld) -> None:
        bot = small.add(by_signals(ByClose()))
        await small.play(2)
        assert outcome(small) == "hold" and not bot.holds
        await small.play(1)
        assert bot.holds
        await small.play(1)
        assert outcome(small) == "exited"

    run(script, [103, 101, 103, 100, 100])


def test_enter_while_holding_and_exit_while_flat_do_nothing(run: Any, by_signals: Any) -> None:
    async def script(small: SmallWorld) -> None:
        bot = small.add(by_signals(ByClose()))
        await small.play(2)
        assert outcome(small) == "hold"  # exit while flat
        await small.play(1)
        quantity = bot.book.position.quantity
        await small.play(2)
        assert outcome(small) == "hold" and bot.book.position.quantity == quantity > 0

    run(script, [102, 101, 101, 101, 101])


def test_a_pending_order_holds_back_the_next_one(run: Any, by_signals: Any) -> None:
    async def script(small: SmallWorld) -> None:
        bot = small.add(by_signals(ByClose()))
        await small.play(3)  # nothing fills: a millionth of the volume is less than a step
        assert not bot.holds and len(bot.orders()) == 1
        assert gate(small, "pending").detail == "an entry is already working"

    run(script, [101] * 6, paper={"maker_fee": "0%", "taker_fee": "0%", "slippage": "0%", "max_volume_pct": "0.0001%"})


def test_a_paused_bot_exits_and_does_not_enter(run: Any, by_signals: Any) -> None:
    async def script(small: SmallWorld) -> None:
        orchestrator = small.world.orchestrator
        bot = small.add(by_signals(ByClose()))
        await small.play(2)
        assert bot.holds
        orchestrator.pause(bot)
        await small.play(2)
        assert outcome(small) == "hold" and not bot.holds  # sold at 102's next open, the 101 after it ignored
        assert gate(small, "state").value == "paused"
        orchestrator.resume(bot)
        await small.play(1)
        assert outcome(small) == "entered"

    run(script, [101, 102, 101, 101, 101])


def test_pausing_cancels_the_entry_that_waits(run: Any, by_signals: Any) -> None:
    async def script(small: SmallWorld) -> None:
        bot = small.add(by_signals(ByClose()))
        small.world.market.set_hooks(small.world._prepare, small.world.settlement.settle, lambda: pause(small))

        def pause(small: SmallWorld) -> None:  # between the close and the next open
            if bot.orders():
                small.world.orchestrator.pause(bot)

        await small.play(3)
        assert not bot.holds and bot.state is BotState.PAUSED

    run(script, [101, 100, 100])


def test_a_stopped_bot_decides_nothing_and_its_stop_still_sells(run: Any, by_signals: Any) -> None:
    async def script(small: SmallWorld) -> None:
        strategy = ByClose()
        bot = small.add(by_signals(strategy), stop_loss=Decimal("0.1"))
        await small.play(2)
        small.world.orchestrator.stop(bot)
        calls = strategy.calls
        await small.play(1)
        assert bot.holds and strategy.calls == calls
        await small.play(1)  # opens beyond the stop
        assert not bot.holds and bot.state is BotState.STOPPED
        await small.world.settlement.commit()
        assert [row["exit_reason"] for row in small.rows("SELECT * FROM trades")] == ["stop_loss"]

    run(script, [101, 102, 101, 80, 80])


def test_bots_with_the_same_strategy_and_parameters_evaluate_once(run: Any, by_signals: Any) -> None:
    async def script(small: SmallWorld) -> None:
        one, other = ByClose(), ByClose()
        for name in ("a", "b", "c"):
            small.add(by_signals(one), name)
        small.add(by_signals(other, key="other parameters"), "d")
        await small.play(2)
        assert (one.calls, other.calls) == (1, 1)
        assert {outcome(small, name) for name in "abcd"} == {"entered"}
        assert small.world.evaluator.statistics()["evaluations"] == 2
        for name in ("a", "b", "c"):
            small.world.orchestrator.stop(small.world.orchestrator.bots[name])
        await small.play(1)
        assert (one.calls, other.calls) == (1, 2)
        assert small.world.evaluator.statistics()["evaluations"] == 1

    run(script, [101, 101, 101])


def test_a_bot_that_joins_reads_the_next_candle_first(run: Any, by_signals: Any) -> None:
    async def script(small: SmallWorld) -> None:
        strategy = ByClose()
        small.add(by_signals(strategy), "early")
        await small.play(2)
        small.add(by_signals(strategy), "late")
        assert outcome(small, "late") == ""
        await small.play(1)
        assert outcome(small, "late") == "entered" and strategy.calls == 2

    run(script, [100, 101, 100])


def test_too_small_an_entry_is_skipped_and_counted(run: Any, by_signals: Any) -> None:
    async def script(small: SmallWorld) -> None:
        bot = small.add(by_signals(ByClose()), capital=Decimal(4))  # the exchange takes 5 and more
        await small.play(3)
        assert (outcome(small), bot.skipped_min_notional, bot.orders()) == ("skipped_min_notional", 2, [])
        await small.world.settlement.commit()
        assert small.rows("SELECT * FROM orders") == []

    run(script, [101, 101, 101])


def test_notes_and_gates_are_kept_for_why(run: Any, by_signals: Any) -> None:
    async def script(small: SmallWorld) -> None:
        bot = small.add(by_signals(ByClose()))
        await small.play(2)
        assert bot.last_decision is not None and bot.last_decision.notes == {"last": 1.0}
        names = [check.gate for check in bot.last_decision.gates]
        assert names[:3] == ["signal", "position", "sizing"] and "trading_state" in names

    run(script, [101, 101])


def test_a_denied_entry_leaves_row_event_and_trace(run: Any, by_signals: Any) -> None:
    async def script(small: SmallWorld) -> None:
        small.add(by_signals(ByClose()))
        small.world.kill_switch.set([("account", "account")], "halted", "uid 0")
        await small.play(2)
        assert outcome(small) == "denied"
        await small.world.settlement.commit()
        assert [(r["status"], r["reason"]) for r in small.rows("SELECT * FROM orders")] == [
            ("denied", "TRADING_HALTED")
        ]
        told = small.events("order.denied")[0]
        assert (told["reason"], told["value"], told["limit"]) == ("TRADING_HALTED", "halted", "active")

    run(script, [101, 101])


@pytest.mark.parametrize("trusted", [True, False])
def test_a_strategy_that_raises_backs_off_and_recovers(run: Any, by_signals: Any, trusted: bool) -> None:
    async def script(small: SmallWorld) -> None:
        strategy = Raising()
        bot = small.add(by_signals(strategy, trusted=trusted))
        await small.play(2)
        assert bot.state is BotState.BACKOFF
        assert bot.record.reason.startswith("ZeroDivisionError: by zero; retry 1 at 2026-01-01T00:01:0")
        strategy.broken = False
        await small.play(1)
        assert bot.state is BotState.RUNNING and bot.record.reason == ""
        await small.play(1)
        assert bot.holds

    run(script, [101] * 6)


def test_after_five_failures_in_a_row_a_bot_is_failed_with_the_reason(run: Any, by_signals: Any) -> None:
    async def script(small: SmallWorld) -> None:
        bot = small.add(by_signals(Raising()))
        other = small.add(by_signals(ByClose(), key="sound"), "beta")
        await small.play(200)
        assert (bot.state, bot.record.reason) == (BotState.FAILED, "5 failures, last ZeroDivisionError: by zero")
        assert other.holds and bot.record.desired == "running"
        small.world.orchestrator.start(bot)
        assert (bot.state, bot.record.failures) == (BotState.RUNNING, 0)

    run(script, [101] * 60)


def test_a_failing_bot_s_position_is_guarded_and_its_backoff_goes_on_when_that_is_sold(
    run: Any, by_signals: Any
) -> None:
    async def script(small: SmallWorld) -> None:
        strategy = Raising()
        strategy.broken = False
        bot = small.add(by_signals(strategy), stop_loss=Decimal("0.1"))
        await small.play(2)
        assert bot.holds
        strategy.broken = True
        await small.play(1)
        assert bot.state is BotState.BACKOFF and bot.holds
        await small.play(1)  # through the stop
        assert not bot.holds and bot.state is not BotState.FAILED
        strategy.broken = False
        await small.play(5)
        assert bot.state is BotState.RUNNING and bot.holds

    run(script, [101, 105, (105, 105, 70, 71), *[71] * 8])


def test_a_strategy_that_hangs_is_quarantined_and_the_others_trade_on(run: Any, by_signals: Any) -> None:
    class Hangs(ByClose):
        def signals(self, candles: Any) -> Any:
            while True:
                pass

    async def script(small: SmallWorld) -> None:
        bot = small.add(by_signals(Hangs(), trusted=False))
        other = small.add(by_signals(ByClose(), key="sound", trusted=False), "beta")
        await small.play(4)
        assert bot.state is BotState.FAILED
        assert bot.record.reason == "quarantined: the strategy did not answer within 0.3 s"
        assert other.holds

    run(script, [101] * 4)


def test_many_variants_of_a_strategy_that_hangs_cost_one_timeout_a_candle(run: Any, by_signals: Any) -> None:
    class Hangs(ByClose):
        def signals(self, candles: Any) -> Any:
            while True:
                pass

    async def script(small: SmallWorld) -> None:
        variants = [small.add(by_signals(Hangs(), str(i), False), f"v{i}") for i in range(3)]
        for failed in range(4):
            await small.play(1)
            assert [bot.state is BotState.FAILED for bot in variants].count(True) == failed

    run(script, [101] * 5)


def test_a_strategy_that_is_slow_again_and_again_is_quarantined(run: Any, by_signals: Any) -> None:
    import time

    class Slow(ByClose):
        def signals(self, candles: Any) -> Any:
            time.sleep(0.02)
            return super().signals(candles)

    async def script(small: SmallWorld) -> None:
        small.world.evaluator._slow_s = 0.01
        bot = small.add(by_signals(Slow(), trusted=False))
        await small.play(5)
        assert bot.state is BotState.RUNNING and bot.effort.calls == 4
        await small.play(1)
        assert bot.state is BotState.FAILED and "5 times in a row" in bot.record.reason

    run(script, [100] * 8)
