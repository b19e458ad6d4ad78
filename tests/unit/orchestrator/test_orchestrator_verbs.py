"""Verbs state what should be: done twice they change nothing, and what cannot be is refused and changes nothing."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from botd.bot.lifecycle import BotState
from botd.control.handlers_lifecycle import LifecycleHandlers
from botd.domain.errors import ConflictError, NotFoundError, UnavailableError, WrongStateError
from botd.market.simulated.samples import sample_candles
from botd.orchestrator.examiner import Examiner
from tests.fakes.plain_strategies import ByClose, Hooks
from tests.fakes.small_world import SmallWorld


def changed(bot: Any, **values: Any) -> Any:
    return msgspec.structs.replace(bot.spec, **values)


def test_create_twice_is_unchanged_and_with_another_spec_a_conflict_unless_replace(run: Any) -> None:
    async def script(small: SmallWorld) -> None:
        orchestrator = small.world.orchestrator
        bot = small.create(start=False)
        assert bot.state is BotState.CREATED and bot.record.desired == "stopped"
        assert orchestrator.create(bot.spec, start=False, replace=False) == (bot, "unchanged")
        other = changed(bot, capital=Decimal(2000))
        with pytest.raises(ConflictError, match="capital 1000 -> 2000"):
            orchestrator.create(other, start=False, replace=False)
        with pytest.raises(ConflictError, match=r"\(take_profit none -> 0\.02\)"):
            orchestrator.create(changed(bot, take_profit=Decimal("0.02")), start=False, replace=False)
        assert orchestrator.create(other, start=False, replace=True) == (bot, "replaced")
        assert (bot.spec.capital, bot.book.cash, bot.number) == (2000, 2000, 1)

    run(script)


def test_start_stop_pause_and_resume_twice_change_nothing(run: Any) -> None:
    async def script(small: SmallWorld) -> None:
        orchestrator = small.world.orchestrator
        bot = small.create(start=False)
        for verb, state, desired in (
            (orchestrator.start, BotState.RUNNING, "running"),
            (orchestrator.pause, BotState.PAUSED, "paused"),
            (orchestrator.resume, BotState.RUNNING, "running"),
            (orchestrator.stop, BotState.STOPPED, "stopped"),
        ):
            verb(bot)
            since = bot.record.since_ms
            await small.play(1)
            verb(bot)
            assert (bot.state, bot.record.desired, bot.record.since_ms) == (state, desired, since)
        await small.world.settlement.commit()
        assert len(small.events("bot.state")) == 5  # starting, running, paused, running, stopped

    run(script)


def test_start_of_a_paused_bot_lets_it_run(run: Any) -> None:
    async def script(small: SmallWorld) -> None:
        bot = small.create()
        small.world.orchestrator.pause(bot)
        small.world.orchestrator.start(bot)
        assert (bot.state, bot.record.desired) == (BotState.RUNNING, "running")

    run(script)


def test_pause_and_resume_need_a_bot_that_runs(run: Any) -> None:
    async def script(small: SmallWorld) -> None:
        bot = small.create(start=False)
        with pytest.raises(WrongStateError, match="only a running bot"):
            small.world.orchestrator.pause(bot)
        with pytest.raises(WrongStateError, match="not paused"):
            small.world.orchestrator.resume(bot)

    run(script)


def test_without_a_market_start_is_refused_and_stop_is_not(run: Any) -> None:
    async def script(small: SmallWorld) -> None:
        orchestrator, bot = small.world.orchestrator, small.create()
        orchestrator.market_lost("market: no route")
        with pytest.raises(UnavailableError, match="no route"):
            orchestrator.start(bot)
        orchestrator.stop(bot)
        assert bot.state is BotState.STOPPED
        orchestrator.market_ready()
        orchestrator.start(bot)
        assert bot.state is BotState.RUNNING

    run(script)


def test_a_market_that_comes_back_leaves_running_bots_alone(run: Any, by_signals: Any) -> None:
    async def script(small: SmallWorld) -> None:
        bot = small.add(by_signals(ByClose()))
        await small.play(2)
        small.world.orchestrator.market_lost("gone")
        small.world.orchestrator.market_ready()
        assert bot.state is BotState.RUNNING and small.world.evaluator.statistics()["readers"] == 1

    run(script, [101, 101, 101])


def test_disabled_bots_stand_still_and_come_back_as_they_were(run: Any, by_signals: Any) -> None:
    async def script(small: SmallWorld) -> None:
        orchestrator = small.world.orchestrator
        runs = small.add(by_signals(ByClose()), "runs", stop_loss=Decimal("0.1"))
        small.add(by_signals(ByClose()), "rests", start=False)
        await small.play(2)
        orchestrator.enable(False)
        assert (runs.state, runs.record.reason, runs.record.desired) == (
            BotState.STOPPED, "bots are disabled", "running",
        )  # fmt: skip
        with pytest.raises(UnavailableError, match="disabled"):
            orchestrator.start(runs)
        orchestrator.enable(True)
        assert [bot.state.value for bot in orchestrator.bots.values()] == ["running", "created"]
        assert runs.holds and runs.guard.stop() is not None

    run(script, [101, 101, 101])


def test_set_moves_the_levels_of_what_is_held(run: Any, by_signals: Any) -> None:
    async def script(small: SmallWorld) -> None:
        bot = small.add(by_signals(ByClose()))
        await small.play(2)
        assert bot.guard.stop() is None
        small.world.orchestrator.change(bot, changed(bot, stop_loss=Decimal("0.5")))
        assert bot.guard.stop() == 50.5
        await small.play(1)
        assert not bot.holds

    run(script, [101, (101, 101, 50, 50), 50])


def test_a_changed_parameter_makes_a_new_mind_and_keeps_number_position_and_history(run: Any) -> None:
    async def script(small: SmallWorld) -> None:
        orchestrator = small.world.orchestrator
        bot = small.create(strategy="rsi", params={"period": 5, "oversold": 99, "overbought": 100}, stop_loss="0.5")
        await small.play(9)
        assert bot.holds
        fresh = orchestrator.change(bot, changed(bot, params={**bot.spec.params, "period": 7}))
        assert fresh is not bot and orchestrator.get("alpha") is fresh
        assert (fresh.number, fresh.holds, fresh.state) == (1, True, BotState.RUNNING)
        assert small.world.market.levels.statistics()["armed"] == 1
        assert small.world.evaluator.statistics()["readers"] == 1
        await small.play(1)
        assert fresh.trades == 1  # its stop sold

    run(script, [100, 99, 98, 97, 96, 95, 94, 93, (93, 93, 10, 10), 10])


def test_a_stopped_bot_with_changed_parameters_is_guarded_still_on_larger_candles_too(run: Any) -> None:
    async def script(small: SmallWorld) -> None:
        orchestrator = small.world.orchestrator
        params = {"every": "5m", "amount": "100", "take_profit": "10"}
        bot = small.create(strategy="dca", interval="5m", params=params, stop_loss="0.1")
        await small.play(7)
        orchestrator.stop(bot)
        assert bot.holds
        fresh = orchestrator.change(bot, changed(bot, params={**bot.spec.params, "amount": "50"}))
        await small.play(10)
        assert fresh.state is BotState.STOPPED and not fresh.holds

    run(script, [100] * 7 + [50] * 10)


def test_a_bot_in_backoff_with_changed_parameters_is_tried_again(run: Any, by_hooks: Any) -> None:
    async def script(small: SmallWorld) -> None:
        orchestrator = small.world.orchestrator
        bot = small.create(strategy="dca", params={"every": "1m", "amount": "100"})
        bot.fail(ValueError("once"))
        fresh = orchestrator.change(bot, changed(bot, params={**bot.spec.params, "amount": "50"}))
        assert fresh.state is BotState.BACKOFF
        await small.play(4)
        assert fresh.state is BotState.RUNNING and fresh.holds

    run(script)


def test_symbol_and_interval_of_what_is_held_stay(run: Any, by_signals: Any) -> None:
    async def script(small: SmallWorld) -> None:
        bot = small.add(by_signals(ByClose()))
        await small.play(2)
        with pytest.raises(WrongStateError, match="interval cannot change"):
            small.world.orchestrator.change(bot, changed(bot, interval="5m"))
        assert bot.spec.interval == "1m" and bot.state is BotState.RUNNING

    run(script, [101, 101])


def test_a_paper_bot_stays_a_paper_bot(run: Any) -> None:
    async def script(small: SmallWorld) -> None:
        bot = small.create()
        with pytest.raises(WrongStateError, match="is a paper bot, and stays one"):
            small.world.orchestrator.change(bot, changed(bot, mode="live"))

    run(script)


def test_more_capital_is_neither_gain_nor_loss_for_the_monitors(run: Any, by_signals: Any) -> None:
    async def script(small: SmallWorld) -> None:
        bot = small.add(by_signals(ByClose()))
        await small.play(2)
        monitors = small.world.monitors
        assert monitors.drawdown(1) == 0
        small.world.orchestrator.change(bot, changed(bot, capital=Decimal(9000)))
        assert (bot.book.cash + bot.book.position.cost, monitors.drawdown(1), monitors.loss(1)) == (9000, 0, 0)
        small.world.orchestrator.change(bot, changed(bot, capital=Decimal(5000)))
        assert monitors.drawdown(1) == 0
        await small.play(1)
        assert small.world.states.quiet

    run(script, [101, 101, 101], risk={"preset": "paper", "max_drawdown": {"bot": "10%", "account": "50%"}})


def test_rm_archives_and_a_name_used_again_is_another_number(run: Any) -> None:
    async def script(small: SmallWorld) -> None:
        orchestrator = small.world.orchestrator
        bot = small.create()
        assert orchestrator.remove(bot, force=False) == ""
        with pytest.raises(NotFoundError):
            orchestrator.get("alpha")
        assert small.create().number == 2
        await small.world.settlement.commit()
        assert [row["number"] for row in small.rows("SELECT number FROM bots WHERE removed_ms IS NULL")] == [0, 2]
        assert [bot.number for bot in await small.world.archive.removed()] == [1]

    run(script)


def test_rm_of_a_position_needs_force_and_says_what_it_leaves(run: Any, by_signals: Any) -> None:
    async def script(small: SmallWorld) -> None:
        orchestrator = small.world.orchestrator
        bot = small.add(by_signals(ByClose()), stop_loss=Decimal("0.1"))
        small.add(by_signals(ByClose()), "beta")
        await small.play(2)
        held = f"{bot.book.position.quantity:f} BTC"
        with pytest.raises(WrongStateError, match=held):
            orchestrator.remove(bot, force=False)
        assert bot.state is BotState.RUNNING
        assert orchestrator.remove(bot, force=True) == f"{held} now unassigned"
        await small.play(2)  # its levels are gone with it
        rows = small.world.portfolio.unassigned()
        assert [(row["asset"], row["quantity"]) for row in rows] == [("BTC", held.split()[0])]

    run(script, [101, 101, 50, 50])


def test_rm_forgets_halts_settings_and_marks_of_the_bot(run: Any) -> None:
    async def script(small: SmallWorld) -> None:
        bot, world = small.create(), small.world
        world.kill_switch.set(world.kill_switch.scopes(["alpha"], None), "halted", "me")
        world.risk_desk.change(bot, {"max_order_value": "5"}, "me")
        await world.settlement.commit()
        assert small.rows("SELECT * FROM keyed WHERE key LIKE 'bot:1|%'")
        world.orchestrator.remove(bot, force=True)
        await world.settlement.commit()
        assert world.states.quiet
        assert not small.rows("SELECT * FROM keyed WHERE key LIKE 'bot:1%' AND value IS NOT NULL")
        assert small.create().number == 2

    run(script, risk={"preset": "paper"})


def test_rm_of_working_orders_needs_force_or_a_stop(run: Any, by_hooks: Any) -> None:
    async def script(small: SmallWorld) -> None:
        bot = small.add(by_hooks(Hooks(start=lambda context: context.buy(Decimal(1), Decimal(50)) and None)))
        await small.play(2)
        with pytest.raises(WrongStateError, match="1 open orders"):
            small.world.orchestrator.remove(bot, force=False)
        small.world.orchestrator.stop(bot)
        small.world.orchestrator.remove(bot, force=False)
        await small.world.settlement.commit()
        assert [row["status"] for row in small.rows("SELECT status FROM orders")] == ["canceled"]
        assert small.world.exchange.open_orders() == []

    run(script)


def test_selecting_keeps_the_order_of_birth_and_names_unknown_bots(run: Any) -> None:
    async def script(small: SmallWorld) -> None:
        small.create("b", labels={"team": "x"}), small.create("a", labels={"team": "y"})
        select = small.world.orchestrator.select
        assert select(everything=True) == ["b", "a"] and select(labels={"team": "y"}) == ["a"]
        assert select(["a", "nobody", "a"]) == ["a", "nobody"]

    run(script)


def test_winding_down_cancels_entries_and_lists_what_is_held(run: Any, by_hooks: Any) -> None:
    async def script(small: SmallWorld) -> None:
        def start(context: Any) -> None:
            context.buy(Decimal(1))
            context.buy(Decimal(1), Decimal(50))

        bot = small.add(by_hooks(Hooks(start=start)), stop_loss=Decimal("0.1"))
        await small.play(2)
        assert small.world.orchestrator.wind_down() == ["alpha holds 1 BTC, stop 90 rests with botd"]
        assert bot.orders() == [] and bot.holds

    run(script)


def test_bots_of_equal_strategy_parameters_symbol_and_interval_are_evaluated_once(run: Any) -> None:
    async def script(small: SmallWorld) -> None:
        small.create("a"), small.create("b", params={"period": 14}, capital="5", stop_loss="0.1")
        statistics = small.world.evaluator.statistics
        assert (statistics()["evaluations"], statistics()["readers"]) == (1, 2)
        small.create("c", params={"period": 15}), small.create("d", interval="5m")
        assert (statistics()["evaluations"], statistics()["readers"]) == (3, 4)

    run(script)


def test_two_changes_at_once_both_hold_and_leave_one_bot(run: Any) -> None:
    async def script(small: SmallWorld) -> None:
        world = small.world
        small.create()
        verbs = LifecycleHandlers(
            SimpleNamespace(  # type: ignore[arg-type]
                require_bots=lambda: None, require_market=lambda: None, lock=world.market.lock,
                orchestrator=world.orchestrator, parser=world.parser, commit=world.settlement.commit,
                examiner=Examiner(world.registry, sample_candles, small.home),
            )
        )  # fmt: skip
        changes = [{"period": "7"}, {"oversold": "20"}, {"stop_loss": "0.1"}]
        async with world.market.lock:  # a moment is under way: all of them wait
            asked = [
                asyncio.ensure_future(verbs.set(SimpleNamespace(name="alpha", changes=change), None))
                for change in changes
            ]
            await asyncio.sleep(0)
        await asyncio.gather(*asked)
        spec = world.orchestrator.get("alpha").spec
        assert (spec.params["period"], spec.params["oversold"], spec.stop_loss) == (7, 20, Decimal("0.1"))
        assert world.evaluator.statistics()["readers"] == 1

    run(script)
