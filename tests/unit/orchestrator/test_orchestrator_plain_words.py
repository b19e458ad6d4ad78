"""What verbs warn of and name: stops taken away, capitals beyond the account, other currencies, failures, events."""

from __future__ import annotations

from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from botd.bot.lifecycle import BotState
from botd.control.handlers_lifecycle import LifecycleHandlers
from botd.control.handlers_trading import TradingHandlers
from botd.domain.errors import NotFoundError
from botd.domain.instrument import Instrument
from botd.ledger.records import amount
from botd.market.simulated.samples import sample_candles
from botd.orchestrator.examiner import Examiner
from tests.fakes.plain_strategies import ByClose, Hooks
from tests.fakes.small_world import SmallWorld


def verbs(small: SmallWorld, kind: Any = LifecycleHandlers) -> Any:
    """Return the handlers over a small world."""
    world = small.world
    return kind(
        SimpleNamespace(
            require_bots=lambda: None, require_market=lambda: None, lock=world.market.lock, desk=world.desk,
            orchestrator=world.orchestrator, parser=world.parser, commit=world.settlement.commit,
            portfolio=world.portfolio, player=world.player, market_status=world.market_status,
            examiner=Examiner(world.registry, sample_candles, small.home), names=lambda args: args.names,
        )
    )  # fmt: skip


async def changed(small: SmallWorld, **changes: str) -> dict[str, Any]:
    return (await verbs(small).set(SimpleNamespace(name="alpha", changes=changes), None))["rows"][0]


def test_set_says_what_changed_and_warns_of_a_stop_taken_away_and_of_capital_beyond_the_account(run: Any) -> None:
    async def script(small: SmallWorld) -> None:
        small.create(stop_loss="0.02")
        row = await changed(small, capital="1e9")
        assert row["result"] == "changed" and "sum to 1000000000 USDT, the account is worth" in row["warnings"][0]
        row = await changed(small, stop_loss="off")
        assert row["result"] == "changed" and row["warnings"][0].startswith("no stop any more: what it buys is held")
        row = await changed(small, stop_loss="off")
        assert (row["result"], row["warnings"]) == ("unchanged", [])
        warnings = small.world.views.portfolio(None)["warnings"]
        assert len(warnings) == 1 and "not all of them can be invested at once" in warnings[0]

    run(script)


def test_a_stop_taken_from_what_is_held_names_the_holding(run: Any, by_signals: Any) -> None:
    async def script(small: SmallWorld) -> None:
        bot = small.add(by_signals(ByClose()), stop_loss=Decimal("0.02"))
        await small.play(3)
        assert bot.holds
        old, bot.record.spec = bot.spec, msgspec.structs.replace(bot.spec, stop_loss=None)
        (said,) = verbs(small)._warnings_of_change(bot, old)
        assert said.startswith(f"no stop any more: the {amount(bot.book.position.quantity)} BTC it holds is held until")

    run(script, [101] * 5)


def test_a_bot_in_another_currency_is_warned_of_and_counted_where_there_is_a_price(run: Any) -> None:
    async def script(small: SmallWorld) -> None:
        grid = Instrument(
            symbol="BTC/EUR",
            base="BTC",
            quote="EUR",
            tick=Decimal("0.01"),
            step=Decimal("0.0001"),
            min_notional=Decimal(5),
        )
        small.world._instruments["BTC/EUR"] = grid
        bot = small.create("abroad", symbol="BTC/EUR", start=False)
        said = verbs(small)._warnings(bot)
        assert "its capital is in EUR: it buys with what the account holds of it, and not counted in its USDT" in said
        small.create("alpha", start=False)
        told = small.world.views.portfolio(None)
        assert told["capital"] == "1000" and told["equity"] == "1000"
        assert told["warnings"] == ["not counted, their currency has no price in USDT: abroad"]

    run(script)


def test_create_says_that_it_could_not_start(run: Any) -> None:
    async def script(small: SmallWorld) -> None:
        spec = {"name": "real", "strategy": "rsi", "symbol": "BTC/USDT", "interval": "1m", "capital": "10"}
        asked = SimpleNamespace(spec={**spec, "mode": "live"}, replace=False, start=True)
        row = await verbs(small).create(asked, None)
        assert (row["result"], row["state"], row["start_error"]["message"]) == ("created", "stopped", "no key")
        assert "not started: no key" in row["warnings"]

    run(script)


def test_a_release_of_a_bot_says_that_the_account_is_still_halted(run: Any) -> None:
    async def script(small: SmallWorld) -> None:
        small.create()
        switch = small.world.kill_switch
        switch.set(switch.scopes((), None), "halted", "uid 0")
        switch.set(switch.scopes((), "BTC/USDT"), "reduce", "uid 0")
        (row,) = switch.set(switch.scopes(["alpha"], None), "active", "uid 0")
        assert row["after"] == "active"
        assert "account halted" in row["detail"] and "symbol:BTC/USDT reduce" in row["detail"]
        assert "botctl release --symbol BTC/USDT" in row["detail"]

    run(script)


def test_states_are_told_with_the_bots_name_and_the_time_once(run: Any) -> None:
    async def script(small: SmallWorld) -> None:
        small.create()
        switch = small.world.kill_switch
        told: list[Any] = []
        small.world.ledger.on_commit(told.extend)
        switch.set(switch.scopes(["alpha"], None), "halted", "uid 0")
        switch.set(switch.scopes((), None), "halted", "uid 0")
        await small.world.settlement.commit()
        of_bot, of_account = (event for event in told if event.topic == "risk.state")
        assert (of_bot.bot, of_bot.data["scope"]) == ("alpha", "bot:alpha")
        assert (of_account.bot, of_account.data["scope"]) == ("", "account")
        assert "time_ms" not in of_bot.data

    run(script)


def test_why_of_a_failed_bot_shows_the_error_and_a_restart_names_it(run: Any, by_signals: Any) -> None:
    async def script(small: SmallWorld) -> None:
        bot = small.add(by_signals(ByClose()))
        bot.fail(ZeroDivisionError("division by zero"))
        assert bot.state in (BotState.BACKOFF, BotState.FAILED)
        told = small.world.views.why(bot, bot.last_decision)
        assert told["outcome"] == bot.state.value and "division by zero" in told["gates"][0]["detail"]
        assert not told["gates"][0]["passed"]

        small.create("beta").fail(ZeroDivisionError("once more"))
        asked = SimpleNamespace(names=["beta"], all=False, labels=None)
        services = verbs(small)._services
        services.each = lambda args, verb: [verb(services.orchestrator.get(name)) for name in args.names]
        assert (
            "restarted; it had failed: ZeroDivisionError: once more"
            in (await LifecycleHandlers(services).restart(asked, None))["rows"][0]
        )

    run(script)


def test_what_an_event_strategy_did_is_called_by_its_name(run: Any, by_hooks: Any) -> None:
    async def script(small: SmallWorld) -> None:
        def candle(context: Any, _: Any) -> None:
            if not context.quantity():
                context.buy(Decimal(1))
            elif not context.orders():
                context.sell(Decimal(1), price=Decimal(200))

        bot = small.add(by_hooks(Hooks(candle)))
        outcomes = []
        for _ in range(4):
            await small.play(1)
            outcomes.append((bot.last_decision.outcome, bot.last_decision.gates[-1]) if bot.last_decision else None)
        found = {one[0]: one[1].detail for one in outcomes if one}
        assert found == {
            "bought": "buy 1 BTC/USDT, at the market",
            "ordered": "sell 1 BTC/USDT, rests at 200",
        }

    run(script)


def test_events_carry_the_amounts_of_the_ledger(run: Any, by_signals: Any) -> None:
    async def script(small: SmallWorld) -> None:
        told: list[Any] = []
        small.world.ledger.on_commit(told.extend)
        small.add(by_signals(ByClose()))
        await small.play(3)
        await small.world.settlement.commit()
        rows = await small.world.ledger.query("SELECT * FROM fills")
        fills = [event.data for event in told if event.topic == "order.fill"]
        keys = ("quantity", "price", "fee", "realized_pnl")
        assert fills and [[one[key] for key in keys] for one in fills] == [[row[key] for key in keys] for row in rows]

    run(script, [101] * 4, paper={"maker_fee": "0.1%", "taker_fee": "0.1%", "slippage": "0.05%"})


def test_play_of_an_ended_market_says_that_it_ended_and_its_bots_do(run: Any) -> None:
    async def script(small: SmallWorld) -> None:
        bot = small.create()
        world = small.world
        world.player._state = "ended"
        status = await verbs(small, TradingHandlers).market_play(None, None)
        assert status["state"] == "ended" and "nothing more plays" in status["detail"]
        assert small.world.views.note(bot) == "the market has ended"

    run(script)


def test_an_unknown_symbol_is_told_with_those_there_are_and_where_they_are_written(run: Any) -> None:
    async def script(small: SmallWorld) -> None:
        with pytest.raises(NotFoundError) as caught:
            small.create(symbol="DOGE/USDT")
        assert "it has BTC/USDT (market.files in the configuration)" in caught.value.hint

    run(script)


def test_a_damaged_ledger_is_named_by_notes_and_gates(run: Any, by_signals: Any) -> None:
    async def script(small: SmallWorld) -> None:
        bot = small.add(by_signals(ByClose()))
        small.world.ledger.damage = "a row of fills (symbol BTC/USDT, trade_id 7) does not fit its checksum"
        await small.play(3)
        assert small.world.views.note(bot).startswith("no entries: ledger is damaged: a row of fills")
        assert "ledger is damaged: a row of fills" in bot.last_decision.gates[-1].detail

    run(script, [101] * 5, risk={"preset": "paper"})
