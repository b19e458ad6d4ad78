"""Bots in front of an exchange outside the process: exits and protective legs never offer the same coins twice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from botd.bot.lifecycle import BotState
from botd.bot.protected import ProtectedPosition
from botd.domain.order import OrderStatus, OrderType, Purpose, Report
from botd.execution.differences import Differences
from botd.execution.durable import DurableOrders
from botd.execution.protection import ProtectiveOrders
from botd.orchestrator.household import BotHousehold
from botd.strategy.base import Signals, SignalStrategy
from tests.fakes.fake_exchange import buy
from tests.fakes.plain_strategies import Hooks
from tests.fakes.remote_exchange import RemoteFake
from tests.unit.bot.test_bot_ticks import ONE, TickWorld, begun, buy_now, until


class Quiet(SignalStrategy):
    """Says nothing by itself."""

    def warmup(self) -> int:
        return 1

    def signals(self, candles: Any) -> Signals:
        raise AssertionError("not asked")


class RemoteWorld(TickWorld):
    """The same bots, their orders at an exchange outside the process."""

    def connect(self) -> None:
        self.remote = RemoteFake(USDT="100000")
        gateway = self.world.gateway
        gateway._exchange = self.remote
        gateway.table._remote = True
        gateway._commit_intent = DurableOrders(self.world.ledger).commit_intent
        self.remote.listen(gateway.on_report)
        bots = self.world.orchestrator.bots
        self.protection = ProtectiveOrders(
            gateway=gateway, positions=lambda: [ProtectedPosition(bot) for bot in bots.values()],
            journal=self.world.journal, clock=self.clock, unpaired=lambda symbol: "",
        )  # fmt: skip
        object.__setattr__(self.world.desk, "protect", self.protection.step)

    async def bought(self, bot: Any) -> None:
        buy_now(bot, ONE)
        await until(lambda: len(self.remote.sent) == 1)
        self.remote.trade(self.remote.sent[0], "1")

    async def protected(self, bot: Any) -> str:
        """The bot holds one, and its leg rests."""
        await self.bought(bot)
        await until(lambda: len(self.remote.sent) == 2)
        return self.remote.sent[1]

    async def settle(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0.005)


@pytest.fixture
def remote(tmp_path: Path) -> Callable[..., None]:
    def go(script: Any) -> None:
        async def all_of_it() -> None:
            small = RemoteWorld(tmp_path, risk={"preset": "paper"})
            await small.begin()
            small.connect()
            try:
                await small.tick(100)
                await script(small)
            finally:
                await small.end(killed=True)

        asyncio.run(all_of_it())

    return go


@pytest.fixture
def quiet(by_signals: Any) -> Any:
    return by_signals(Quiet())


def test_after_the_entrys_fill_the_stop_rests_on_the_exchange(remote: Any, quiet: Any) -> None:
    async def script(small: RemoteWorld) -> None:
        bot = begun(small, quiet, stop_loss=Decimal("0.1"))
        leg = small.remote.orders[await small.protected(bot)]
        assert (leg.type, leg.stop_price, leg.quantity) == (OrderType.STOP_LOSS, Decimal("90.00"), ONE)
        assert bot.orders()[0].purpose is Purpose.PROTECTION

    remote(script)


def test_an_exit_waits_for_the_legs_end_and_then_sells_once(remote: Any, quiet: Any) -> None:
    async def script(small: RemoteWorld) -> None:
        bot = begun(small, quiet, stop_loss=Decimal("0.1"))
        leg = await small.protected(bot)
        assert bot.sell_all("signal", 100.0) is not None
        bot.sell_all("signal", 100.0)
        await small.settle()
        assert small.remote.cancels == [leg] and len(small.remote.sent) == 2
        small.remote.finish(leg, OrderStatus.CANCELED)
        await until(lambda: len(small.remote.sent) == 3)
        assert small.remote.orders[small.remote.sent[2]].type is OrderType.MARKET
        small.remote.trade(small.remote.sent[2], "1")
        await small.settle()
        assert not bot.holds and bot.orders() == [] and len(small.remote.sent) == 3

    remote(script)


def test_a_leg_that_fills_while_an_exit_waits_for_it_is_the_exit(remote: Any, quiet: Any) -> None:
    async def script(small: RemoteWorld) -> None:
        bot = begun(small, quiet, stop_loss=Decimal("0.1"))
        leg = await small.protected(bot)
        bot.sell_all("signal", 100.0)
        for price in (89.0, 88.0, 87.0):  # the guard sees it too
            await small.tick(price)
        assert small.remote.cancels == [leg]
        small.remote.trade(leg, "1")
        await small.settle()
        assert not bot.holds and len(small.remote.sent) == 2

    remote(script)


def test_a_leg_that_fills_in_part_leaves_the_rest_to_the_exit(remote: Any, quiet: Any) -> None:
    async def script(small: RemoteWorld) -> None:
        bot = begun(small, quiet, stop_loss=Decimal("0.1"))
        leg = await small.protected(bot)
        bot.sell_all("signal", 100.0)
        small.remote.trade(leg, "0.25")
        small.remote.finish(leg, OrderStatus.CANCELED)
        await until(lambda: len(small.remote.sent) == 3)
        assert small.remote.orders[small.remote.sent[2]].quantity == Decimal("0.75")

    remote(script)


def test_the_guard_leaves_a_stop_that_rests_to_the_exchange(remote: Any, quiet: Any) -> None:
    async def script(small: RemoteWorld) -> None:
        bot = begun(small, quiet, stop_loss=Decimal("0.1"))
        leg = await small.protected(bot)
        for price in (90.0, 89.0, 88.0):
            await small.tick(price)
        assert small.remote.cancels == [] and len(small.remote.sent) == 2
        assert leg in small.world.gateway.table.doubts  # it is asked whether it has sold
        small.remote.trade(leg, "1")
        await small.tick(87.0)
        await small.settle()
        assert not bot.holds and small.remote.cancels == [] and len(small.remote.sent) == 2

    remote(script)


def test_a_stop_below_which_the_price_stays_while_its_leg_does_not_sell_is_sold_by_botd(
    remote: Any, quiet: Any
) -> None:
    async def script(small: RemoteWorld) -> None:
        bot = begun(small, quiet, stop_loss=Decimal("0.1"))
        leg = await small.protected(bot)
        for seconds in range(4):
            assert small.remote.cancels == [], f"after {seconds} s"
            await small.tick(89.0, 1100)
        assert small.remote.cancels == [leg]
        small.remote.finish(leg, OrderStatus.CANCELED)
        await until(lambda: len(small.remote.sent) == 3)
        small.remote.trade(small.remote.sent[2], "1")
        await small.settle()
        assert not bot.holds and len(small.remote.sent) == 3

    remote(script)


@pytest.mark.parametrize("why", ["the leg is lower", "the leg is not seen", "the leg is gone"])
def test_a_stop_that_does_not_rest_where_the_price_is_is_botds_at_once(remote: Any, quiet: Any, why: str) -> None:
    async def script(small: RemoteWorld) -> None:
        bot = begun(small, quiet, stop_loss=Decimal("0.1"))
        if why == "the leg is not seen":
            await small.bought(bot)
            small.remote.silent = True
            await until(lambda: len(small.remote.sent) == 2)
            leg = small.remote.sent[1]
        else:
            leg = await small.protected(bot)
        if why == "the leg is lower":
            bot.book.position.stop = 95.0
            bot.guard.watch(bot.book.position)
        elif why == "the leg is gone":
            object.__setattr__(small.world.desk, "protect", lambda: None)
            small.remote.finish(leg, OrderStatus.CANCELED)
        await small.tick(94.0 if why == "the leg is lower" else 89.0)
        if why == "the leg is gone":
            await until(lambda: len(small.remote.sent) == 3)
            assert small.remote.orders[small.remote.sent[2]].type is OrderType.MARKET
        else:
            assert small.remote.cancels == [leg]

    remote(script)


def test_an_exit_the_exchange_refuses_is_followed_by_protection_again(remote: Any, quiet: Any) -> None:
    async def script(small: RemoteWorld) -> None:
        bot = begun(small, quiet, stop_loss=Decimal("0.1"))
        leg = await small.protected(bot)
        bot.sell_all("signal", 100.0)
        small.remote.silent = True
        small.remote.finish(leg, OrderStatus.CANCELED)
        await until(lambda: len(small.remote.sent) == 3)
        small.remote.silent = False
        small.remote.tell(small.remote.sent[2], status="rejected")
        await until(lambda: len(small.remote.sent) == 4)
        assert small.remote.orders[small.remote.sent[3]].type is OrderType.STOP_LOSS and bot.holds

    remote(script)


@pytest.mark.parametrize("sold", [True, False])
def test_after_a_restart_nothing_is_sold_before_the_symbols_trades_were_read(
    remote: Any, quiet: Any, sold: bool
) -> None:
    async def script(small: RemoteWorld) -> None:
        bot = begun(small, quiet, stop_loss=Decimal("0.1"))
        leg = await small.protected(bot)
        read: set[str] = set()
        small.world.gateway.may_sell = lambda symbol: symbol in read
        assert bot.sellable() == 0
        for _ in range(6):
            await small.tick(89.0, 1100)
        small.world.orchestrator.supervise()
        await small.settle()
        assert small.remote.cancels == [] and len(small.remote.sent) == 2 and bot.exit.under_way
        if sold:
            small.remote.trade(leg, "1")
        read.add("BTC/USDT")
        small.world.orchestrator.supervise()
        await small.settle()
        assert small.remote.cancels == ([] if sold else [leg])
        if not sold:
            small.remote.finish(leg, OrderStatus.CANCELED)
            await until(lambda: len(small.remote.sent) == 3)
            small.remote.trade(small.remote.sent[2], "1")
            await small.settle()
        assert not bot.holds and not bot.exit.under_way and len(small.remote.sent) == (2 if sold else 3)

    remote(script)


@pytest.mark.parametrize("refused", [False, True])
def test_what_one_order_may_not_have_is_sold_by_the_next_until_one_sells_nothing(
    remote: Any, quiet: Any, refused: bool
) -> None:
    async def script(small: RemoteWorld) -> None:
        bot = begun(small, quiet)
        await small.bought(bot)
        bot.instrument = msgspec.structs.replace(bot.instrument, max_quantity=Decimal("0.4"))
        assert bot.sell_all("signal", 100.0) is not None
        await until(lambda: len(small.remote.sent) == 2)
        small.world.orchestrator.supervise()
        assert small.remote.cancels == []  # the first goes on
        small.remote.trade(small.remote.sent[1], "0.4")
        await until(lambda: len(small.remote.sent) == 3)
        if refused:
            small.remote.tell(small.remote.sent[2], status="rejected")
            small.world.orchestrator.supervise()
            await small.settle()
            assert len(small.remote.sent) == 3 and not bot.exit.under_way and bot.holds
            return
        small.remote.trade(small.remote.sent[2], "0.4")
        await until(lambda: len(small.remote.sent) == 4)
        small.remote.trade(small.remote.sent[3], "0.2")
        await small.settle()
        assert not bot.holds and len(small.remote.sent) == 4 and not bot.exit.under_way

    remote(script)


def test_the_kill_switch_takes_the_leg_back_before_it_sells(remote: Any, quiet: Any) -> None:
    async def script(small: RemoteWorld) -> None:
        bot = begun(small, quiet, stop_loss=Decimal("0.1"))
        leg = await small.protected(bot)
        small.world.kill_switch.flatten(None, "me")
        await small.settle()
        assert small.remote.cancels == [leg] and len(small.remote.sent) == 2
        small.remote.finish(leg, OrderStatus.CANCELED)
        await until(lambda: len(small.remote.sent) == 3)
        small.remote.trade(small.remote.sent[2], "1")
        assert not bot.holds

    remote(script)


def test_an_event_strategys_position_is_guarded_by_botd_and_its_orders_are_its_own(remote: Any, by_hooks: Any) -> None:
    async def script(small: RemoteWorld) -> None:
        bot = begun(small, by_hooks(Hooks()), stop_loss=Decimal("0.1"))
        await small.bought(bot)
        await small.settle()
        state = small.protection.where(bot.number)
        assert len(small.remote.sent) == 1 and state is not None and state.place == "botd"
        await small.tick(89.0)
        await until(lambda: len(small.remote.sent) == 2)
        assert small.remote.orders[small.remote.sent[1]].type is OrderType.MARKET

    remote(script)


@pytest.mark.parametrize(("ended_as", "state"), [("not_placed", "paused"), ("canceled", "running")])
def test_a_fill_of_an_order_that_never_was_pauses_its_bot(remote: Any, quiet: Any, ended_as: str, state: str) -> None:
    async def script(small: RemoteWorld) -> None:
        bot = begun(small, quiet, stop_loss=Decimal("0.1"))
        small.remote.silent = True
        buy_now(bot, ONE)
        await until(lambda: len(small.remote.sent) == 1)
        order = bot.orders()[0]
        small.remote.tell(order.client_order_id, status="unknown")
        small.world.gateway.table.finish(order, OrderStatus(ended_as), "wrongly")
        small.remote.trade(order.client_order_id, "1")
        assert bot.holds and bot.state.value == state and bot.guard.stop() == 90.0
        assert (bot.record.desired == "paused") is (state == "paused")

    remote(script)


def test_a_degraded_bot_does_not_enter_and_still_leaves(remote: Any, quiet: Any) -> None:
    async def script(small: RemoteWorld) -> None:
        bot = begun(small, quiet)
        await small.bought(bot)
        bot.move(BotState.DEGRADED, "unexplained: -3 USDT")
        buy_now(bot, ONE)
        await small.settle()
        assert len(small.remote.sent) == 1
        bot.sell_all("signal", 100.0)
        await until(lambda: len(small.remote.sent) == 2)

    remote(script)


def test_a_fee_in_a_third_asset_counts_by_the_accounts_price_of_it(remote: Any, quiet: Any) -> None:
    async def script(small: RemoteWorld) -> None:
        bot = begun(small, quiet)
        object.__setattr__(small.world.desk, "worth", {"BNB": Decimal(600), "USDT": ONE}.get)
        buy_now(bot, ONE)
        await until(lambda: len(small.remote.sent) == 1)
        small.remote.trade(small.remote.sent[0], "1", "0.01", paid="BNB")
        await small.settle()
        assert (bot.book.fees, bot.book.cash) == (6, Decimal(1000) - 100 - 6)

    remote(script)


def test_while_the_account_differs_its_bots_open_nothing_whatever_their_state(remote: Any, quiet: Any) -> None:
    async def script(small: RemoteWorld) -> None:
        bot = begun(small, quiet)
        bots = small.world.orchestrator
        household = BotHousehold(lambda: bots.bots.values(), lambda asset, amount: None)
        found = Differences(household, 3, lambda told: None)
        object.__setattr__(small.world.desk, "difference", lambda number: found.degraded.get(number, ""))

        def look(*, differs: bool = True) -> None:
            amounts = {bot.instrument.base: -ONE} if differs else {}
            lasting = found.note(amounts)
            found.differ(lasting) if lasting else found.agree(amounts)

        bots.pause(bot)
        for _ in range(3):
            look()
        assert bot.state is BotState.PAUSED
        bots.resume(bot)
        buy_now(bot, ONE)
        await small.settle()
        assert small.remote.sent == []  # before anybody has looked again
        look()
        assert bot.state is BotState.DEGRADED
        look(differs=False)
        assert bot.state is BotState.RUNNING
        buy_now(bot, ONE)
        await until(lambda: len(small.remote.sent) == 1)

    remote(script)


@pytest.mark.parametrize(
    ("reason", "again"),
    [("not sent: no budget", True), ("turned away: -1021 Timestamp", True), ("-2010 Account has insufficient", False)],
)
def test_a_sale_that_is_only_turned_away_is_tried_again(remote: Any, quiet: Any, reason: str, again: bool) -> None:
    async def script(small: RemoteWorld) -> None:
        bot = begun(small, quiet)
        await small.bought(bot)
        small.remote.lose = small.remote.silent = True
        assert bot.sell_all("signal", 100.0) is not None
        await until(lambda: len(small.remote.sent) == 2)
        refused = Report(client_order_id=small.remote.sent[1], status=OrderStatus.REJECTED, time_ms=1, reason=reason)
        small.world.gateway.on_report(refused)
        small.world.orchestrator.supervise()
        await small.settle()
        assert len(small.remote.sent) == 2 and bot.exit.under_way is again  # not at once
        await small.tick(100, 5_000)
        small.remote.lose = small.remote.silent = False
        small.world.orchestrator.supervise()
        await small.settle()
        assert len(small.remote.sent) == 2 + again
        if again:
            sale = small.remote.orders[small.remote.sent[2]]
            assert (sale.type, sale.quantity) == (OrderType.MARKET, ONE)
            small.remote.trade(sale.client_order_id, "1")
            small.world.orchestrator.supervise()
            assert not bot.holds and not bot.exit.under_way

    remote(script)


def test_a_purchase_that_anothers_exit_takes_back_says_for_whom(remote: Any, quiet: Any) -> None:
    async def script(small: RemoteWorld) -> None:
        seller, buyer = begun(small, quiet), begun(small, quiet, name="beta")
        await small.bought(seller)
        resting, _ = buyer.place(buy(bot=buyer.number, price=Decimal(100)), ONE)
        await until(lambda: len(small.remote.sent) == 2)
        assert seller.sell_all("signal", 100.0) is not None
        assert resting.cancel_requested and "alpha trades the other way" in resting.reason

    remote(script)
