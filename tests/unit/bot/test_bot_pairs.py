"""Bots whose stop and target rest as a pair: exits end both first, and the guard leaves the target to the exchange."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from botd.bot.guarding import Guarding
from botd.domain.order import OrderStatus, OrderType, Purpose
from tests.unit.bot.test_bot_remote import Quiet, RemoteWorld, remote  # noqa: F401  (a fixture)
from tests.unit.bot.test_bot_ticks import ONE, begun, buy_now, until

CANCELED, EXPIRED, REJECTED = OrderStatus.CANCELED, OrderStatus.EXPIRED, OrderStatus.REJECTED


@pytest.fixture
def quiet(by_signals: Any) -> Any:
    return by_signals(Quiet())


async def paired(small: RemoteWorld, quiet: Any, **spec: Any) -> tuple[Any, str, str]:
    """A bot that holds one, with stop 90 and target 110 at the exchange."""
    bot = begun(small, quiet, stop_loss=Decimal("0.1"), take_profit=Decimal("0.1"), **spec)
    await small.bought(bot)
    await until(lambda: len(small.remote.sent) == 3)
    return bot, *small.remote.sent[1:]


def end(small: RemoteWorld, *legs: str, status: OrderStatus = CANCELED) -> None:
    for leg in legs:
        small.remote.finish(leg, status)


def test_after_the_entrys_fill_stop_and_target_rest_as_a_pair(remote: Any, quiet: Any) -> None:  # noqa: F811
    async def script(small: RemoteWorld) -> None:
        bot, stop, target = await paired(small, quiet)
        orders = small.remote.orders
        assert (orders[stop].type, orders[stop].stop_price) == (OrderType.STOP_LOSS, Decimal("90.00"))
        assert (orders[target].type, orders[target].price) == (OrderType.LIMIT_MAKER, Decimal("110.00"))
        assert [o.purpose for o in bot.orders()] == [Purpose.PROTECTION] * 2 and bot.sellable() == 0

    remote(script)


def test_the_guard_leaves_a_target_that_rests_to_the_exchange(remote: Any, quiet: Any) -> None:  # noqa: F811
    async def script(small: RemoteWorld) -> None:
        bot, stop, target = await paired(small, quiet)
        for price in (110.1, 110.5, 111.0):
            await small.tick(price)
        assert small.remote.cancels == [] and len(small.remote.sent) == 3
        assert target in small.world.gateway.table.doubts  # it is asked whether it has sold
        end(small, stop, status=EXPIRED)
        small.remote.trade(target, "1")
        await small.tick(112.0)
        await small.settle()
        assert not bot.holds and small.remote.cancels == [] and len(small.remote.sent) == 3

    remote(script)


def test_a_target_beyond_which_the_price_stays_while_its_leg_does_not_sell_is_sold_by_botd(
    remote: Any,  # noqa: F811
    quiet: Any,
) -> None:
    async def script(small: RemoteWorld) -> None:
        bot, stop, target = await paired(small, quiet)
        for _ in range(11):
            await small.tick(110.1, 1000)
        assert small.remote.cancels == [stop] and len(small.remote.sent) == 3
        end(small, stop, target)
        await until(lambda: len(small.remote.sent) == 4)
        assert small.remote.orders[small.remote.sent[3]].type is OrderType.MARKET
        small.remote.trade(small.remote.sent[3], "1")
        await small.settle()
        assert not bot.holds and len(small.remote.sent) == 4

    remote(script)


def test_a_price_that_comes_back_to_the_target_later_is_left_to_it_again(remote: Any, quiet: Any) -> None:  # noqa: F811
    async def script(small: RemoteWorld) -> None:
        await paired(small, quiet)
        await small.tick(110.1)
        await small.tick(100.0, 30_000)
        await small.tick(110.1, 30_000)
        assert small.remote.cancels == []

    remote(script)


def test_a_stop_reached_just_after_the_target_has_a_patience_of_its_own(remote: Any, quiet: Any) -> None:  # noqa: F811
    async def script(small: RemoteWorld) -> None:
        _, stop, _ = await paired(small, quiet)
        await small.tick(110.1)
        await small.tick(89.0, 2500)
        await small.tick(89.0, 2500)
        assert small.remote.cancels == [] and stop in small.world.gateway.table.doubts
        await small.tick(89.0, 600)
        assert small.remote.cancels == [stop]

    remote(script)


def test_a_target_lower_than_the_leg_that_rests_is_botds(remote: Any, quiet: Any) -> None:  # noqa: F811
    async def script(small: RemoteWorld) -> None:
        bot, stop, _ = await paired(small, quiet)
        bot.book.position.target = 105.0
        bot.guard.watch(bot.book.position)
        await small.tick(106.0)
        assert small.remote.cancels == [stop]

    remote(script)


def test_the_stops_level_ends_both_legs_before_botd_sells(remote: Any, quiet: Any) -> None:  # noqa: F811
    async def script(small: RemoteWorld) -> None:
        bot, stop, target = await paired(small, quiet)
        for _ in range(4):
            await small.tick(89.0, 1100)
        assert small.remote.cancels == [stop] and len(small.remote.sent) == 3
        end(small, stop)
        await small.settle()
        assert len(small.remote.sent) == 3  # the target may yet sell
        end(small, target)
        await until(lambda: len(small.remote.sent) == 4)
        small.remote.trade(small.remote.sent[3], "1")
        await small.settle()
        assert not bot.holds and small.remote.cancels == [stop]

    remote(script)


def test_a_target_that_sold_in_part_leaves_the_rest_to_the_exit(remote: Any, quiet: Any) -> None:  # noqa: F811
    async def script(small: RemoteWorld) -> None:
        bot, stop, target = await paired(small, quiet)
        assert bot.sell_all("signal", 100.0) is not None
        end(small, stop, status=EXPIRED)
        small.remote.trade(target, "0.25")
        end(small, target)
        await until(lambda: len(small.remote.sent) == 4)
        sale = small.remote.orders[small.remote.sent[3]]
        assert (sale.type, sale.quantity) == (OrderType.MARKET, Decimal("0.75"))

    remote(script)


@pytest.mark.parametrize("verb", ["flatten", "close"])
def test_the_kill_switch_ends_both_legs_by_one_cancel_and_sells_once(remote: Any, quiet: Any, verb: str) -> None:  # noqa: F811
    async def script(small: RemoteWorld) -> None:
        bot, stop, target = await paired(small, quiet)
        if verb == "flatten":
            small.world.kill_switch.flatten(None, "me")
        else:
            small.world.kill_switch.close(bot, keep_running=True)
        await small.settle()
        assert small.remote.cancels == [stop]
        end(small, stop, target)
        await until(lambda: len(small.remote.sent) == 4)
        small.remote.trade(small.remote.sent[3], "1")
        await small.settle()
        assert not bot.holds and len(small.remote.sent) == 4

    remote(script)


@pytest.mark.parametrize("halt", [True, False])
def test_a_halt_or_a_stop_of_the_bot_keeps_the_pair(remote: Any, quiet: Any, halt: bool) -> None:  # noqa: F811
    async def script(small: RemoteWorld) -> None:
        bot, _, _ = await paired(small, quiet)
        if halt:
            small.world.kill_switch.set([("account", "account")], "halted", "me")
            small.world.kill_switch.cancel_entries([("account", "account")])
        else:
            small.world.orchestrator.stop(bot)
        await small.settle()
        assert small.remote.cancels == [] and len(bot.orders()) == 2

    remote(script)


def test_a_refused_pair_counts_as_one_refusal_and_the_guard_does_not_rest(remote: Any, quiet: Any) -> None:  # noqa: F811
    async def script(small: RemoteWorld) -> None:
        bot = begun(small, quiet, stop_loss=Decimal("0.1"), take_profit=Decimal("0.1"))
        counted: list[int] = []
        object.__setattr__(small.world.desk.monitors, "on_reject", lambda number, now: counted.append(number))
        small.remote.silent = small.remote.lose = True
        buy_now(bot, ONE)
        await until(lambda: len(small.remote.sent) == 1)
        small.remote.arrive(bot.orders()[0])
        small.remote.trade(small.remote.sent[0], "1")
        await until(lambda: len(small.remote.sent) == 3)
        for leg in small.remote.sent[1:]:
            small.remote.tell(leg, status="rejected")
        assert counted == [bot.number]
        await until(lambda: len(small.remote.sent) == 4)  # the stop alone
        small.remote.tell(small.remote.sent[3], status="rejected")
        await small.tick(111.0)
        await until(lambda: len(small.remote.sent) == 5)  # the target was beyond: botd sells at once

    remote(script)


def test_another_strategy_leaves_the_pair_where_it_is(remote: Any, quiet: Any) -> None:  # noqa: F811
    async def script(small: RemoteWorld) -> None:
        bot, *_ = await paired(small, quiet)
        fresh = small.world.orchestrator.change(bot, msgspec.structs.replace(bot.spec, strategy="rsi"))
        await small.settle()
        assert fresh is not bot and small.remote.cancels == [] and len(fresh.orders()) == 2

    remote(script)


def test_a_sale_that_waits_for_its_legs_goes_on_in_the_bot_with_another_strategy(remote: Any, quiet: Any) -> None:  # noqa: F811
    async def script(small: RemoteWorld) -> None:
        bot, stop, target = await paired(small, quiet)
        small.world.kill_switch.close(bot, keep_running=True)
        fresh = small.world.orchestrator.change(bot, msgspec.structs.replace(bot.spec, strategy="rsi"))
        assert small.remote.cancels == [stop] and fresh.exit.under_way
        end(small, stop, target)
        await until(lambda: len(small.remote.sent) == 4)
        small.remote.trade(small.remote.sent[3], "1")
        await small.settle()
        assert not fresh.holds and len(small.remote.sent) == 4

    remote(script)


@pytest.mark.parametrize("ended", [False, True])
def test_a_sale_that_waits_for_its_legs_outlives_a_restart(remote: Any, quiet: Any, ended: bool) -> None:  # noqa: F811
    async def script(small: RemoteWorld) -> None:
        bot, stop, target = await paired(small, quiet)
        small.world.kill_switch.close(bot, keep_running=True)
        if ended:
            end(small, stop, target)  # and botd ends before its sale is durable
        small.world.listing.take({"BTC/USDT": bot.instrument})
        await small.world.settlement.commit()
        await small.end(killed=True)
        before = small.remote
        small.open()
        small.connect()
        gateway, may_sell = small.world.gateway, small.world.gateway.may_sell
        gateway.may_sell = lambda symbol: False
        small.remote.orders = before.orders
        await small.tick(100)
        if not ended:
            end(small, stop, target)
        small.world.orchestrator.supervise()
        await small.settle()
        assert small.remote.sent == []  # not before the trades were read: it may have been sold meanwhile
        gateway.may_sell = may_sell
        small.world.orchestrator.supervise()
        await until(lambda: small.remote.sent)
        small.remote.trade(small.remote.sent[0], "1")
        await small.settle()
        assert not small.world.orchestrator.get(bot.name).holds and len(small.remote.sent) == 1
        await small.world.settlement.commit()
        assert await small.world.ledger.query("SELECT * FROM keyed WHERE space = 'exits'", ()) == []

    remote(script)


def test_a_bot_that_is_removed_by_force_sells_nothing_any_more(remote: Any, quiet: Any) -> None:  # noqa: F811
    async def script(small: RemoteWorld) -> None:
        bot, stop, target = await paired(small, quiet)
        small.world.kill_switch.close(bot, keep_running=True)
        small.world.orchestrator.remove(bot, force=True)
        end(small, stop, target)
        await small.settle()
        assert len(small.remote.sent) == 3 and bot.holds

    remote(script)


def test_the_trade_ends_with_the_reason_of_the_leg_that_sold(remote: Any, quiet: Any) -> None:  # noqa: F811
    async def script(small: RemoteWorld) -> None:
        told = []
        for number, which in ((0, 2), (1, 1)):
            bot = begun(small, quiet, name=f"bot{number}", stop_loss=Decimal("0.1"), take_profit=Decimal("0.1"))
            before = len(small.remote.sent)
            buy_now(bot, ONE)
            await until(lambda before=before: len(small.remote.sent) == before + 1)
            small.remote.trade(small.remote.sent[before], "1")
            await until(lambda before=before: len(small.remote.sent) == before + 3)
            legs = small.remote.sent[before + 1 :]
            end(small, legs[2 - which], status=EXPIRED)
            small.remote.trade(legs[which - 1], "1")
            await small.settle()
            assert not bot.holds
            told.append(bot.number)
        await small.world.settlement.commit()
        rows = await small.world.ledger.query("SELECT bot, exit_reason FROM trades ORDER BY bot", ())
        assert [row["exit_reason"] for row in rows] == ["take_profit", "stop_loss"]

    remote(script)


def test_what_rests_is_said(remote: Any, quiet: Any) -> None:  # noqa: F811
    async def script(small: RemoteWorld) -> None:
        bot, *_ = await paired(small, quiet)
        known = small.protection.where(bot.number)
        assert known is not None
        known.proven = True
        object.__setattr__(
            small.world.desk, "protection", lambda number: Guarding(known.place, known.seconds, known.target_place)
        )
        row = small.world.views.position(bot)
        assert row is not None
        assert (row["guard"], row["guard_detail"]) == ("exchange", "stop and target rest on the exchange")
        assert small.world.views.why(bot, None)["notes"]["guard"] == row["guard_detail"]
        said = f"{bot.name} holds 1 BTC, stop 90 rests on the exchange, target 110 rests on the exchange"
        assert small.world.orchestrator.wind_down() == [said]

    remote(script)


def test_the_words_of_what_guards_a_position() -> None:
    both = {"stop": True, "target": True}
    assert Guarding("exchange", 0, "exchange").told(**both) == "stop and target rest on the exchange"
    assert Guarding("exchange", 0, "botd", "no pairs").told(**both) == (
        "the stop rests on the exchange, botd watches the target: no pairs"
    )
    assert Guarding("exchange").told(stop=True, target=False) == "the stop rests on the exchange"
    assert Guarding("placing").told(**both) == "the stop is on its way to the exchange, botd guards stop and target"
    assert Guarding("botd", 0, "botd", "5 rest").told(stop=True, target=False) == "botd guards the stop: 5 rest"
    assert Guarding().told(stop=False, target=True) == "botd watches the target"
    assert Guarding().told(stop=False, target=False) == ""
