"""A position with a stop has a leg that was seen on the exchange, or says that botd guards it; never two live legs."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from botd.domain.amounts import short
from botd.domain.instrument import Instrument
from botd.domain.order import Order, OrderStatus, OrderType, Purpose, Side
from botd.execution.positions import Levels
from botd.execution.protection import ProtectionRules, ProtectiveOrders
from tests.fakes.fake_exchange import buy
from tests.fakes.remote_room import RemoteRoom, run

BTC = Instrument(symbol="BTC/USDT", base="BTC", quote="USDT", tick=Decimal("0.01"), step=Decimal("0.001"))


class Holding:
    """A bot that holds something, with a level."""

    name, symbol, instrument = "alpha", "BTC/USDT", BTC

    def __init__(self, room: RemoteRoom, number: int = 1) -> None:
        self.room, self.number = room, number
        self.level: float | None = 95.0
        self.goal: float | None = None
        self.held = Decimal(2)
        self.selling, self.why_not, self.denied, self.denied_pairs = False, "", False, False
        self.flattened: list[str] = []

    def stop(self) -> float | None:
        return self.level if self.held else None

    def target(self) -> float | None:
        return self.goal if self.held else None

    def quantity(self) -> Decimal:
        return self.held

    def exiting(self) -> bool:
        return self.selling

    def refusal(self) -> str:
        return self.why_not

    def place(self, levels: Levels) -> list[Order]:
        if self.denied or (levels.target is not None and self.denied_pairs):
            return []
        stop = buy(bot=self.number, side=Side.SELL, type=OrderType.STOP_LOSS, purpose=Purpose.PROTECTION,
                   reason="stop_loss", price=None, stop_price=levels.stop)  # fmt: skip
        if levels.target is None:
            return [self.room.gateway.submit(stop, levels.quantity)]
        target = buy(bot=self.number, side=Side.SELL, type=OrderType.LIMIT_MAKER, purpose=Purpose.PROTECTION,
                     reason="take_profit", price=levels.target)  # fmt: skip
        return self.room.gateway.submit_pair(stop, target, levels.quantity)

    def cancel(self, order: Order) -> None:
        self.room.gateway.cancel(order)

    def flatten(self, reason: str) -> None:
        self.flattened.append(reason)


class Protected:
    """A room with one holding and its protection."""

    def __init__(self, **rules: Any) -> None:
        self.room = RemoteRoom(USDT="1000", BTC="2")
        self.room.reconciler.ready = True  # the account was read
        self.holding = Holding(self.room)
        self.no_pairs = ""
        self.holdings = [self.holding]
        self.protection = ProtectiveOrders(gateway=self.room.gateway, positions=lambda: self.holdings,
                                           journal=self.room.journal, clock=self.room.clock,
                                           unpaired=lambda symbol: self.no_pairs,
                                           rules=ProtectionRules(**rules))  # fmt: skip

    @property
    def state(self) -> Any:
        return self.protection.where(1)

    def legs(self) -> list[RemoteLeg]:
        return [(o.stop_price, o.quantity) for o in self.room.exchange.orders.values() if o.status.is_open]

    async def go(self, seconds: float = 1.0) -> None:
        for _ in range(round(seconds)):
            self.protection.step()
            await self.room.resolver.step()
            self.room.wait(1)
        self.protection.step()

    def confirm_cancel(self) -> None:
        """The exchange does what it was asked last."""
        self.room.exchange.finish(self.room.exchange.cancels[-1], OrderStatus.CANCELED)


RemoteLeg = tuple[Decimal | None, Decimal]


def topics(it: Protected) -> list[str]:
    return [topic for topic in it.room.journal.topics() if topic.startswith("protection.")]


def test_a_leg_is_placed_and_proven_by_a_question_of_its_own() -> None:
    async def script() -> None:
        it = Protected()
        it.protection.step()
        assert it.legs() == [(Decimal("95.00"), Decimal(2))] and it.state.place == "placing"
        await it.go(2)
        assert it.state.place == "exchange" and "order" in it.room.exchange.asked
        assert topics(it) == ["protection.proven"] and it.state.seconds == 1.0

    run(script())


def test_the_level_is_floored_to_the_tick_and_the_quantity_to_the_step() -> None:
    it = Protected()
    it.holding.level, it.holding.held = 95.127, Decimal("1.9989")  # a fee in base was taken
    it.protection.step()
    assert it.legs() == [(Decimal("95.12"), Decimal("1.998"))]


def test_a_moved_level_waits_for_the_old_legs_end_before_the_next_is_placed() -> None:
    async def script() -> None:
        it = Protected()
        await it.go(6)
        it.holding.level = 97.0
        it.protection.step()
        assert len(it.room.exchange.cancels) == 1 and len(it.room.exchange.sent) == 1
        await it.go(3)  # the cancel is under way
        assert len(it.room.exchange.sent) == 1 and it.legs() == [(Decimal("95.00"), Decimal(2))]
        it.confirm_cancel()
        await it.go(2)
        assert it.legs() == [(Decimal("97.00"), Decimal(2))] and it.state.place == "exchange"
        assert it.state.seconds >= 3  # the gap is counted

    run(script())


def test_an_old_leg_that_fills_while_it_is_cancelled_leaves_no_other() -> None:
    async def script() -> None:
        it = Protected()
        await it.go(6)
        it.holding.level = 97.0
        it.protection.step()
        it.room.exchange.trade(it.room.exchange.sent[0], "2")
        it.holding.held = Decimal(0)
        await it.go(5)
        assert it.legs() == [] and len(it.room.exchange.sent) == 1

    run(script())


@pytest.mark.parametrize(("level", "seconds"), [(95.05, 60), (97.0, 3)])
def test_a_level_that_moved_little_or_just_now_stays(level: float, seconds: int) -> None:
    async def script() -> None:
        it = Protected()
        await it.go(1)
        it.holding.level = level
        await it.go(seconds)
        assert it.room.exchange.cancels == []

    run(script())


def test_another_quantity_is_another_leg_at_once() -> None:
    async def script() -> None:
        it = Protected()
        await it.go(1)
        it.holding.held = Decimal(3)  # the entry filled on
        it.protection.step()
        it.confirm_cancel()
        it.protection.step()
        assert it.legs() == [(Decimal("95.00"), Decimal(3))]

    run(script())


def test_no_leg_is_placed_beside_an_exit_and_an_exits_leg_is_left_to_it() -> None:
    async def script() -> None:
        it = Protected()
        it.holding.selling = True
        await it.go(5)
        assert it.room.exchange.sent == []
        it.holding.selling = False
        await it.go(5)
        it.holding.selling, it.holding.level = True, 99.0
        await it.go(20)
        assert len(it.room.exchange.sent) == 1 and it.room.exchange.cancels == []

    run(script())


@pytest.mark.parametrize(
    ("limit", "goal", "quantity"),
    [
        ({"max_quantity": Decimal("1.5")}, None, "1.5"),
        ({"max_quantity": Decimal("1.5")}, 105.0, "1.5"),
        ({"max_notional": Decimal(105)}, None, "1.105"),
        ({"max_notional": Decimal(105)}, 105.0, "1.000"),
    ],
)
def test_of_more_than_one_order_may_have_that_much_rests_and_botd_guards_the_rest(
    limit: dict[str, Decimal], goal: float | None, quantity: str
) -> None:
    async def script() -> None:
        it = Protected()
        it.holding.instrument = msgspec.structs.replace(BTC, **limit)
        it.holding.goal = goal
        await it.go(30)
        legs = 1 if goal is None else 2
        assert [held for _, held in it.legs()] == [Decimal(quantity)] * legs and len(it.room.exchange.sent) == legs
        assert it.room.exchange.cancels == [] and it.state.place == "exchange"
        rest = 2 - Decimal(quantity)
        assert it.protection.rows()[0]["detail"] == f"botd guards {short(rest)} beyond what one order may have"
        it.holding.held = Decimal("0.5")
        it.protection.step()
        for key in list(it.room.exchange.sent):
            it.room.exchange.finish(key, OrderStatus.CANCELED)
        await it.go(2)
        assert {held for _, held in it.legs()} == {Decimal("0.5")} and it.protection.rows()[0]["detail"] == ""

    run(script())


def test_a_flat_positions_leg_is_cancelled() -> None:
    async def script() -> None:
        it = Protected()
        await it.go(2)
        it.holding.held = Decimal(0)
        it.protection.step()
        assert it.room.exchange.cancels == it.room.exchange.sent

    run(script())


# -- when a leg fails


def refuse(it: Protected) -> None:
    it.room.exchange.silent = it.room.exchange.lose = True
    it.protection.step()
    it.room.exchange.tell(it.room.exchange.sent[-1], status="rejected")


def test_retry_tries_three_times_then_declares_and_offers_again_later() -> None:
    async def script() -> None:
        it = Protected(policy="retry")
        for attempt in (1, 2, 3):
            refuse(it)
            it.protection.step()
            assert len(it.room.exchange.sent) == attempt
            it.room.wait(5)
        assert it.state.place == "botd" and "rejected" in it.state.declared
        assert topics(it) == ["protection.failed"] * 3 + ["protection.bot_side"]
        before = it.state.seconds
        await it.go(500)
        assert len(it.room.exchange.sent) == 3 and it.state.seconds == before  # declared: botd guards it
        it.room.exchange.silent = it.room.exchange.lose = False
        await it.go(120)
        assert it.state.place == "exchange"

    run(script())


@pytest.mark.parametrize("policy", ["bot_side", "flatten"])
def test_the_policy_says_what_follows_a_refused_leg(policy: str) -> None:
    it = Protected(policy=policy)
    refuse(it)
    it.protection.step()
    assert it.holding.flattened == (["unprotected"] if policy == "flatten" else [])
    assert (it.state.place == "botd") == (policy == "bot_side")


def test_a_leg_that_is_not_seen_within_10_s_is_cancelled_and_never_doubled_while_it_is_unknown() -> None:
    async def script() -> None:
        it = Protected(policy="retry")
        await it.room.reconciler.step()
        it.room.exchange.silent = it.room.exchange.lose = True
        it.protection.step()
        it.room.exchange.tell(it.room.exchange.sent[0], status="unknown")
        await it.go(30)
        assert len(it.room.exchange.sent) == 1 and it.room.exchange.cancels == it.room.exchange.sent
        assert topics(it) == ["protection.failed"] and it.state.seconds >= 29
        it.room.exchange.silent = it.room.exchange.lose = False
        await it.go(40)  # proved: it was never placed
        assert len(it.room.exchange.sent) == 2 and it.state.place == "exchange"

    run(script())


def test_a_denied_leg_is_a_failure_too() -> None:
    it = Protected(policy="bot_side")
    it.holding.denied = True
    it.protection.step()
    assert it.state.place == "botd"


def test_the_exchange_takes_five_stop_orders_of_a_symbol_the_others_are_guarded_here() -> None:
    async def script() -> None:
        it = Protected()
        it.holdings = [Holding(it.room, number) for number in range(1, 8)]
        await it.go(3)
        places = [it.protection.where(number).place for number in range(1, 8)]  # type: ignore[union-attr]
        assert places == ["exchange"] * 5 + ["botd"] * 2
        assert "takes 5 stop orders of BTC/USDT" in it.protection.rows()[6]["detail"]

    run(script())


def test_a_position_whose_strategy_sells_by_itself_is_declared() -> None:
    it = Protected()
    it.holding.why_not = "its strategy places sales of its own"
    it.protection.step()
    assert it.room.exchange.sent == [] and it.state.declared == "its strategy places sales of its own"


def test_a_symbol_of_which_the_exchange_takes_no_stops_is_declared() -> None:
    it = Protected()
    it.protection._unable = lambda symbol: f"no stop orders of {symbol}"
    it.protection.step()
    assert it.room.exchange.sent == [] and it.state.declared == "no stop orders of BTC/USDT"


# -- after a restart


def test_a_leg_from_before_is_taken_up_asked_for_and_not_placed_again() -> None:
    async def script() -> None:
        it, after = Protected(), Protected()
        await it.go(2)
        leg = it.room.gateway.open_orders()[0]
        rows = {key: row for key, row in it.protection.drain_changes().items() if row is not None}
        assert rows == {"1": "2.0"} and it.protection.drain_changes() == {}
        after.protection.restore(rows)
        after.room.exchange.orders = it.room.exchange.orders
        after.room.gateway.restore([msgspec.structs.replace(leg)], {1: 1}, {})
        await after.go(2)
        assert after.room.exchange.sent == [] and after.state.place == "exchange" and after.state.seconds >= 1

    run(script())


def test_a_position_that_ended_leaves_no_row() -> None:
    async def script() -> None:
        it = Protected()
        await it.go(2)
        it.protection.drain_changes()
        it.holdings = []
        it.protection.step()
        assert it.protection.drain_changes() == {"1": None} and it.protection.rows() == []

    run(script())


def test_after_a_restart_a_leg_waits_for_the_symbols_trades_and_for_nothing_else() -> None:
    async def script() -> None:
        it = Protected()
        it.room.reconciler.ready = False
        it.room.reconciler.account.opened_ms = 1
        it.room.exchange.broken = {"trades"}
        for _ in range(20):
            await it.room.reconciler.step()
            await it.go(1)
        assert it.room.exchange.sent == [] and it.state.place == "placing" and it.state.seconds >= 19
        it.room.exchange.broken = set()
        await it.room.reconciler.look_now()  # balances that differ may take a minute to explain: no leg waits for that
        it.protection.step()
        assert not it.room.reconciler.ready and it.legs() == [(Decimal("95.00"), Decimal(2))]

    run(script())
