"""A denial that repeats: one row and one event a series, and a count for whoever asks."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from tests.fakes.plain_strategies import ByClose, Hooks
from tests.fakes.small_world import SmallWorld

# Closes end in 1: enter, 2: exit, else nothing.


def denied(small: SmallWorld) -> list[str]:
    return [row["reason"] for row in small.rows("SELECT reason FROM orders WHERE status = 'denied' ORDER BY id")]


def halt(small: SmallWorld, *names: str) -> None:
    switch = small.world.kill_switch
    switch.set(switch.scopes(names, None), "halted", "me")


def last_gate(bot: Any) -> Any:
    return bot.last_decision.gates[-1]


def test_a_halted_bot_whose_signal_lasts_writes_one_row_and_one_event(run: Any, by_signals: Any) -> None:
    async def script(small: SmallWorld) -> None:
        bot = small.add(by_signals(ByClose()))
        halt(small)
        await small.play()
        await small.world.settlement.commit()
        assert denied(small) == ["TRADING_HALTED"]
        assert len(small.rows("SELECT seq FROM events WHERE topic = 'order.denied'")) == 1
        assert bot.denials.series is not None and bot.denials.series.count == 5
        assert bot.last_decision.outcome == "denied"
        assert "account halted" in last_gate(bot).detail and "botctl release" in last_gate(bot).detail
        assert last_gate(bot).detail.endswith("denied 5 times in a row, since 2026-01-01T00:01:00Z")
        assert small.world.risk_desk.statistics()["denied"] == {"TRADING_HALTED": 5}
        assert small.world.views.details(bot)["denied"] == {
            "code": "TRADING_HALTED",
            "side": "buy",
            "count": 5,
            "since": "2026-01-01T00:01:00Z",
        }

    run(script, market=(101,) * 5)


def test_another_outcome_in_between_begins_a_new_series(run: Any, by_signals: Any) -> None:
    async def script(small: SmallWorld) -> None:
        bot = small.add(by_signals(ByClose()))
        halt(small)
        await small.play()
        await small.world.settlement.commit()
        assert denied(small) == ["TRADING_HALTED"] * 2
        assert bot.denials.series is not None and bot.denials.series.count == 1

    run(script, market=(101, 101, 100, 101))


def test_another_code_begins_a_new_series(run: Any, by_signals: Any) -> None:
    async def script(small: SmallWorld) -> None:
        small.add(by_signals(ByClose()))
        halt(small)
        await small.play(2)
        switch = small.world.kill_switch
        switch.set(switch.scopes((), None), "reduce", "me")
        await small.play()
        await small.world.settlement.commit()
        assert denied(small) == ["TRADING_HALTED", "REDUCE_ONLY"]

    run(script, market=(101,) * 5)


def test_an_order_that_goes_ends_the_series(run: Any, by_signals: Any) -> None:
    async def script(small: SmallWorld) -> None:
        bot = small.add(by_signals(ByClose()))
        halt(small)
        await small.play(2)
        switch = small.world.kill_switch
        switch.set(switch.scopes((), None), "active", "me")
        await small.play(1)
        assert bot.denials.series is None and bot.last_decision.outcome == "entered"

    run(script, market=(101,) * 5)


def test_a_restart_goes_on_counting(run: Any, by_hooks: Any) -> None:
    async def script(small: SmallWorld) -> None:
        small.create(strategy="dca", params={"every": "1m", "amount": "50"})
        halt(small, "alpha")
        await small.play(3)
        await small.end()
        world = await small.begin()
        await small.play(2)
        await world.settlement.commit()
        series = world.orchestrator.bots["alpha"].denials.series
        assert denied(small) == ["TRADING_HALTED"]
        assert series is not None and series.count >= 4

    run(script)


def test_the_orders_of_one_hook_are_one_series_too(run: Any, by_hooks: Any) -> None:
    def candle(context: Any, _: Any) -> None:
        context.buy(Decimal(1), Decimal(50))
        context.buy(Decimal(1), Decimal(40))

    async def script(small: SmallWorld) -> None:
        bot = small.add(by_hooks(Hooks(candle)))
        halt(small)
        await small.play(3)
        await small.world.settlement.commit()
        assert denied(small) == ["TRADING_HALTED"]
        assert bot.denials.series is not None and bot.denials.series.count == 4  # two candles closed

    run(script)


def test_a_hold_says_what_would_hold_an_entry_back(run: Any, by_signals: Any) -> None:
    async def script(small: SmallWorld) -> None:
        bot = small.add(by_signals(ByClose()))
        await small.play(2)
        assert [gate.gate for gate in bot.last_decision.gates] == ["signal", "position"]
        now = small.world.clock.now_ms()
        states, detail = small.world.states, "lost 3.20% since 00:00 UTC, limit 3.00%"
        states.trip(f"bot:{bot.number}", "DAILY_LOSS", "reduce", now_ms=now, until_ms=now + 3_600_000, detail=detail)
        await small.play(1)
        gate = last_gate(bot)
        assert (bot.last_decision.outcome, gate.gate, gate.passed, gate.value) == (
            "hold",
            "trading_state",
            False,
            "reduce",
        )
        assert f"no entry would go: bot:alpha reduce: {detail}" in gate.detail
        assert "until 2026-01-01T01:" in gate.detail and "botctl risk set alpha daily_loss=off" in gate.detail

    run(script)
