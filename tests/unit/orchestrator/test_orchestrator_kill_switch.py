"""Halt, reduce, release, close, flatten; and what trips by itself."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from botd.bot.lifecycle import BotState
from botd.domain.errors import NotFoundError, UnavailableError
from tests.fakes.plain_strategies import ByClose, Hooks
from tests.fakes.small_world import SmallWorld

ONE = Decimal(1)


def resting(*, also_sell: bool = False) -> Hooks:
    """Holds one coin, bids for another at 50, and (``also_sell``) offers the one at 200."""

    def candle(context: Any, _: Any) -> None:
        if also_sell and context.quantity() and not any(o.side == "sell" for o in context.orders()):
            context.sell(ONE, Decimal(200))

    def start(context: Any) -> None:
        context.buy(ONE)
        context.buy(ONE, Decimal(50))

    return Hooks(candle, start=start)


def sides(bot: Any) -> list[str]:
    return sorted(order.side.value for order in bot.orders())


@pytest.mark.parametrize("state", ["halted", "reduce"])
@pytest.mark.parametrize(("names", "symbol"), [((), None), (("alpha",), None), ((), "BTC/USDT")])
def test_a_halt_cancels_entries_of_its_scope_and_leaves_exits(
    run: Any, by_hooks: Any, state: str, names: Any, symbol: Any
) -> None:
    async def script(small: SmallWorld) -> None:
        switch = small.world.kill_switch
        bot, other = small.add(by_hooks(resting(also_sell=True))), small.add(by_hooks(resting()), "beta")
        await small.play(3)
        assert (sides(bot), sides(other)) == (["buy", "sell"], ["buy"])
        scopes = switch.scopes(names, symbol)
        assert [row["result"] for row in switch.set(scopes, state, "me")] == ["changed"]
        switch.cancel_entries(scopes)
        assert sides(bot) == ["sell"] and sides(other) == (["buy"] if names else [])
        assert [row["result"] for row in switch.set(scopes, state, "me")] == ["unchanged"]
        row = switch.set(scopes, "active", "me")[0]
        assert (row["before"], row["after"], row["result"]) == (state, "active", "changed")

    run(script)


def test_an_unknown_bot_is_no_scope(run: Any) -> None:
    async def script(small: SmallWorld) -> None:
        with pytest.raises(NotFoundError):
            small.world.kill_switch.scopes(["nobody"], None)

    run(script)


def test_a_halt_is_durable_also_while_a_moment_is_under_way(run: Any, by_hooks: Any) -> None:
    async def script(small: SmallWorld) -> None:
        world = small.world
        small.add(by_hooks(resting()))
        await small.play(2)
        async with world.market.lock:  # a strategy is waited for
            world.kill_switch.set([("account", "account")], "halted", "me")
            await world.settlement.commit_states()
            assert small.rows("SELECT * FROM keyed WHERE space = 'trading_state'")
            assert not small.events("risk.state")  # what the moment journals waits for its end

    run(script)


def test_after_a_restart_in_the_midst_of_a_halt_no_entry_works_on(tmp_path: Any) -> None:
    import asyncio

    async def script() -> None:
        small = SmallWorld(tmp_path, [100] * 9)
        world = await small.begin()
        small.create(strategy="grid", params={"lower": "50", "upper": "150", "levels": "5"})
        await small.play(3)
        assert len(world.gateway.open_orders()) >= 2
        async with world.market.lock:
            world.kill_switch.set([("account", "account")], "halted", "me")
            await world.settlement.commit_states()
        await small.end(killed=True)  # before the cancels were kept
        world = await small.begin()
        assert world.gateway.open_orders() == [] and world.exchange.open_orders() == []
        await small.play(3)
        assert world.gateway.open_orders() == []
        await small.end()

    asyncio.run(script())


def test_a_monitor_that_trips_cancels_the_working_entries_and_keeps_the_exits(run: Any, by_hooks: Any) -> None:
    async def script(small: SmallWorld) -> None:
        bot = small.add(by_hooks(resting(also_sell=True)), stop_loss=Decimal("0.9"))
        other = small.add(by_hooks(resting()), "beta")
        await small.play(3)
        assert sides(bot) == ["buy", "sell"]
        await small.play(3)  # the price falls by 40 %: 4 % of the bot's equity
        assert small.world.states.state("bot:1", small.world.clock.now_ms()) == "halted"
        assert sides(bot) == ["sell"] and sides(other) == []
        await small.world.settlement.commit()
        assert {event["code"] for event in small.events("risk.state")} == {"MAX_DRAWDOWN"}

    risk = {"preset": "paper", "max_drawdown": {"bot": "3%", "account": "50%"}}
    run(script, [100, 100, 100, 60, 60, 60, 60], risk=risk)


def test_close_sells_at_the_price_and_pauses(run: Any, by_hooks: Any) -> None:
    async def script(small: SmallWorld) -> None:
        bot = small.add(by_hooks(resting(also_sell=True)))
        await small.play(3)
        row = small.world.kill_switch.close(bot, keep_running=False)
        assert (row["sold"], row["remaining"], row["state"], row["result"]) == ("1", "0", "paused", "changed")
        assert bot.orders() == [] and bot.state is BotState.PAUSED and bot.record.desired == "paused"
        assert small.world.kill_switch.close(bot, keep_running=False)["result"] == "unchanged"
        await small.world.settlement.commit()
        assert [row["exit_reason"] for row in small.rows("SELECT * FROM trades")] == ["manual"]

    run(script)


def test_close_may_leave_the_bot_running(run: Any, by_hooks: Any) -> None:
    async def script(small: SmallWorld) -> None:
        bot = small.add(by_hooks(resting()))
        await small.play(2)
        assert small.world.kill_switch.close(bot, keep_running=True)["state"] == "running"

    run(script)


@pytest.mark.parametrize("state", ["failed", "backoff", "stopped"])
def test_close_of_a_bot_that_does_not_run_sells_and_leaves_the_rest(run: Any, by_hooks: Any, state: str) -> None:
    async def script(small: SmallWorld) -> None:
        bot = small.add(by_hooks(resting()))
        await small.play(2)
        bot.end(BotState(state), "for a reason")
        row = small.world.kill_switch.close(bot, keep_running=False)
        assert (row["sold"], row["state"], bot.record.reason) == ("1", state, "for a reason")
        assert bot.record.desired == ("paused" if state == "backoff" else "running")

    run(script)


def test_flatten_halts_then_sells_everything_also_what_rests(run: Any, by_hooks: Any, by_signals: Any) -> None:
    async def script(small: SmallWorld) -> None:
        one, two = small.add(by_hooks(resting(also_sell=True))), small.add(by_signals(ByClose()), "beta")
        await small.play(3)
        assert one.holds and two.holds
        assert small.world.kill_switch.flatten(None, "me") == [one, two]
        assert not one.holds and not two.holds and small.world.gateway.open_orders() == []
        assert small.world.states.state("account", small.world.clock.now_ms()) == "halted"
        await small.play(2)
        assert not one.holds and not two.holds

    run(script, [101] * 6)


def test_flatten_sells_what_it_can_where_a_price_is_missing(run: Any, by_hooks: Any) -> None:
    async def script(small: SmallWorld) -> None:
        blind, seeing = small.add(by_hooks(resting()), "blind"), small.add(by_hooks(resting()), "seeing")
        await small.play(2)
        quote, asked = small.world.market.quote, list[str]()

        def once(symbol: str) -> Any:
            asked.append(symbol)
            return None if len(asked) == 1 else quote(symbol)

        small.world.market.quote = once  # type: ignore[method-assign]
        assert small.world.kill_switch.flatten(None, "me") == [blind, seeing]
        assert (blind.holds, seeing.holds) == (True, False)

    run(script)


def test_close_without_a_price_is_refused_and_cancels_nothing(run: Any, by_hooks: Any) -> None:
    async def script(small: SmallWorld) -> None:
        bot = small.add(by_hooks(resting()))
        await small.play(2)
        small.world.market.quote = lambda symbol: None  # type: ignore[method-assign]
        with pytest.raises(UnavailableError, match="no price"):
            small.world.kill_switch.close(bot, keep_running=False)
        assert bot.orders() and bot.state is BotState.RUNNING

    run(script)


def test_with_a_full_disk_entries_are_denied_and_exits_go_on(run: Any, by_signals: Any) -> None:
    async def script(small: SmallWorld) -> None:
        holds, flat = small.add(by_signals(ByClose()), "holds"), small.add(by_signals(ByClose(), key="b"), "flat")
        small.world.orchestrator.pause(flat)
        await small.play(2)
        small.world.orchestrator.resume(flat)
        small.world.ledger._free, small.world.ledger._free_seen = (lambda path: 0), (-9.0, 0)
        await small.play(1)
        assert not holds.holds and not flat.holds
        await small.play(1)
        decision = flat.last_decision
        assert decision is not None and decision.outcome == "denied"
        assert (decision.gates[-1].gate, decision.gates[-1].detail) == (
            "readiness",
            "not ready: ledger: the disk is nearly full",
        )

    run(script, [101, 102, 101, 101], risk={"preset": "paper"})
