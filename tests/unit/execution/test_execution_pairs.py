"""Stop and target rest on the exchange as a pair: placed as one, ended as one, never two legs that could both sell."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from botd.domain.order import Order, OrderStatus, OrderType, Purpose, Side, offered
from botd.execution.client_ids import pair_id, parse_client_order_id
from tests.fakes.fake_exchange import buy
from tests.fakes.remote_room import RemoteRoom, run
from tests.unit.execution.test_execution_protection import Protected, topics

CANCELED, EXPIRED = OrderStatus.CANCELED, OrderStatus.EXPIRED


class Paired(Protected):
    """A room with one holding that has a stop at 95 and a target at 110."""

    def __init__(self, **rules: object) -> None:
        super().__init__(**rules)
        self.holding.goal = 110.0

    @property
    def stop(self) -> str:
        """The stop of the pair sent last."""
        return self.room.exchange.sent[-2]

    @property
    def target(self) -> str:
        return self.room.exchange.sent[-1]

    async def rest(self) -> tuple[str, str]:
        """Let a pair rest, proven."""
        await self.go(2)
        assert self.state.place == self.state.target_place == "exchange"
        return self.stop, self.target

    def sell(self, leg: str, quantity: str) -> None:
        """A leg trades; the exchange ends the other one first, as Binance does."""
        other = next(each for each in (self.stop, self.target) if each != leg)
        if self.room.exchange.orders[other].status.is_open:
            self.room.exchange.finish(other, EXPIRED)
        self.room.exchange.trade(leg, quantity)
        self.holding.held -= Decimal(quantity)

    def end_both(self) -> None:
        """The exchange ends a pair of which one leg's end was asked for."""
        for leg in (self.stop, self.target):
            self.room.exchange.finish(leg, CANCELED)


def pair_of(room: RemoteRoom, quantity: str = "2") -> list[Order]:
    common = {"side": Side.SELL, "purpose": Purpose.PROTECTION}
    stop = buy(**common, type=OrderType.STOP_LOSS, price=None, stop_price=Decimal(95))
    return room.gateway.submit_pair(
        stop, buy(**common, type=OrderType.LIMIT_MAKER, price=Decimal(110)), Decimal(quantity)
    )


# -- placing


def test_a_position_with_stop_and_target_gets_a_pair_of_our_own_ids_named_by_a_list_that_is_nobodys_order() -> None:
    async def script() -> None:
        it = Paired()
        stop, target = await it.rest()
        orders = it.room.exchange.orders
        assert (orders[stop].type, orders[stop].stop_price) == (OrderType.STOP_LOSS, Decimal(95))
        assert (orders[target].type, orders[target].price) == (OrderType.LIMIT_MAKER, Decimal(110))
        assert orders[stop].quantity == orders[target].quantity == 2
        assert [parse_client_order_id(leg) for leg in (stop, target)] == [("ABCDE", 1, 1), ("ABCDE", 1, 2)]
        assert it.room.exchange.lists == {pair_id(stop): (stop, target)}
        assert parse_client_order_id(pair_id(stop)) is None and len(pair_id("L" * 34)) == 36
        assert topics(it) == ["protection.proven"] and it.room.exchange.asked.count("order") == 1
        assert it.protection.rows()[0] | {"seconds_unprotected": 0} == {
            "bot": 1, "stop": "exchange", "target": "exchange", "seconds_unprotected": 0, "detail": "",
        }  # fmt: skip

    run(script())


def test_the_target_is_rounded_up_to_the_tick_so_that_it_is_never_sold_below() -> None:
    it = Paired()
    it.holding.goal = 110.001
    it.protection.step()
    assert it.room.exchange.orders[it.target].price == Decimal("110.01")


@pytest.mark.parametrize("goal", [95.0, 90.0])
def test_a_target_that_is_not_above_the_stop_makes_no_pair(goal: float) -> None:
    it = Paired()
    it.holding.goal = goal
    it.protection.step()
    assert it.legs() == [(Decimal("95.00"), Decimal(2))]


def test_both_intents_become_durable_at_once_and_before_a_byte_is_sent() -> None:
    room = RemoteRoom(USDT="1000", BTC="2")
    room.commit_at_once = False
    legs = pair_of(room)
    assert room.exchange.sent == [] and len(room.commits) == 1
    room.commits[0][1](None)
    assert room.exchange.sent == [leg.client_order_id for leg in legs]


def test_intents_that_did_not_become_durable_are_denied_both_and_nothing_is_sent() -> None:
    room = RemoteRoom()
    room.commit_at_once = False
    legs = pair_of(room)
    room.fail_commit()
    assert room.exchange.sent == [] and [leg.status for leg in legs] == [OrderStatus.DENIED] * 2
    assert all("the disk is full" in leg.reason for leg in legs)


def test_a_cancel_of_a_leg_that_is_not_sent_yet_is_that_of_both() -> None:
    room = RemoteRoom()
    room.commit_at_once = False
    legs = pair_of(room)
    room.gateway.cancel(legs[1])
    room.commits[0][1](None)
    assert room.exchange.sent == room.exchange.cancels == [] and [leg.status for leg in legs] == [CANCELED] * 2


def test_the_legs_of_a_pair_bind_the_same_coins() -> None:
    room = RemoteRoom(USDT="1000", BTC="2")
    legs = pair_of(room)
    assert room.gateway.table.reserved(lambda symbol: None) == {"BTC": Decimal(2)}
    other = room.order("0.5", side=Side.SELL, bot=1)
    assert offered([*legs, other]) == Decimal("2.5")
    room.exchange.finish(legs[0].client_order_id, EXPIRED)
    assert room.gateway.table.reserved(lambda symbol: None) == {"BTC": Decimal("2.5")}


# -- a leg acts


@pytest.mark.parametrize("which", ["stop", "target"])
def test_a_leg_that_fills_ends_the_other_and_nothing_is_cancelled_placed_or_called_a_failure(which: str) -> None:
    async def script() -> None:
        it = Paired()
        await it.rest()
        it.sell(getattr(it, which), "2")
        await it.go(5)
        assert it.room.exchange.cancels == [] and len(it.room.exchange.sent) == 2
        assert topics(it) == ["protection.proven"] and it.room.gateway.open_orders() == []

    run(script())


@pytest.mark.parametrize("which", ["stop", "target"])
def test_an_expiry_that_was_not_told_is_asked_for_at_once(which: str) -> None:
    async def script() -> None:
        it = Paired()
        await it.rest()
        leg = getattr(it, which)
        it.room.exchange.finish(next(o for o in (it.stop, it.target) if o != leg), EXPIRED, told=False)
        it.room.exchange.trade(leg, "2")
        it.holding.held = Decimal(0)
        await it.room.resolver.step()
        assert it.room.gateway.open_orders() == [] and it.room.exchange.cancels == []

    run(script())


def test_between_the_stops_expiry_and_the_targets_fill_nothing_is_done() -> None:
    async def script() -> None:
        it = Paired()
        stop, target = await it.rest()
        it.room.exchange.finish(stop, EXPIRED)
        it.protection.step()
        it.protection.step()
        assert it.room.exchange.cancels == [] and len(it.room.exchange.sent) == 2 and it.state.place == "placing"
        it.room.exchange.trade(target, "2")
        it.holding.held = Decimal(0)
        await it.go(5)
        assert it.room.exchange.cancels == [] and topics(it) == ["protection.proven"]

    run(script())


def test_a_target_that_fills_in_part_is_cancelled_and_the_rest_gets_a_pair_and_the_seconds_between_count() -> None:
    async def script() -> None:
        it = Paired()
        _, target = await it.rest()
        before = it.state.seconds
        it.sell(target, "0.5")
        it.protection.step()
        assert it.room.exchange.cancels == [] and it.state.place == "placing"  # it may fill on in the same breath
        await it.go(1)
        assert it.room.exchange.cancels == [target]
        await it.go(3)
        assert len(it.room.exchange.sent) == 2  # what became of the cancel is not known yet
        it.room.exchange.finish(target, CANCELED)
        await it.go(2)
        assert it.legs() == [(Decimal("95.00"), Decimal("1.5")), (None, Decimal("1.5"))]
        assert it.state.place == it.state.target_place == "exchange" and it.state.seconds - before >= 4
        assert "protection.failed" not in topics(it)

    run(script())


def test_what_a_target_leaves_that_no_other_order_could_sell_is_left_to_it() -> None:
    async def script() -> None:
        it = Paired()
        _, target = await it.rest()
        it.sell(target, "1.96")  # 0.04 at 110 is worth less than 5
        await it.go(10)
        assert it.room.exchange.cancels == [] and len(it.room.exchange.sent) == 2
        assert it.state.declared and topics(it).count("protection.bot_side") == 1
        it.sell(target, "0.04")
        await it.go(2)
        assert it.room.gateway.open_orders() == []

    run(script())


def test_a_target_that_fills_wholly_in_pieces_is_left_to_it() -> None:
    async def script() -> None:
        it = Paired()
        _, target = await it.rest()
        it.sell(target, "0.5")
        it.protection.step()
        it.sell(target, "1.5")
        await it.go(5)
        assert it.room.exchange.cancels == [] and it.room.gateway.open_orders() == []

    run(script())


def test_a_stop_that_sells_in_pieces_is_not_disturbed() -> None:
    async def script() -> None:
        it = Paired()
        stop, _ = await it.rest()
        it.sell(stop, "0.5")
        await it.go(1)
        assert it.room.exchange.cancels == []
        it.sell(stop, "1.5")
        await it.go(3)
        assert it.room.exchange.cancels == [] and it.room.gateway.open_orders() == []

    run(script())


# -- making room for others


def test_levels_that_move_end_both_legs_by_one_cancel_and_both_outcomes_are_waited_for() -> None:
    async def script() -> None:
        it = Paired()
        await it.go(6)
        stop, target = it.stop, it.target
        it.holding.level = 97.0
        it.protection.step()
        assert it.room.exchange.cancels == [stop]
        await it.go(2)
        it.room.exchange.finish(stop, CANCELED)
        it.protection.step()
        assert len(it.room.exchange.sent) == 2  # the target may yet sell
        it.room.exchange.finish(target, CANCELED)
        await it.go(2)
        assert it.legs() == [(Decimal("97.00"), Decimal(2)), (None, Decimal(2))] and it.state.place == "exchange"
        assert it.room.exchange.cancels == [stop]

    run(script())


@pytest.mark.parametrize("first", ["stop", "target"])
def test_in_whichever_order_the_legs_end_a_pair_follows(first: str) -> None:
    async def script() -> None:
        it = Paired()
        await it.go(6)
        stop, target = it.stop, it.target
        it.holding.level = 97.0
        it.protection.step()
        for leg in (stop, target) if first == "stop" else (target, stop):
            it.room.exchange.finish(leg, CANCELED)
            it.protection.step()
        assert len(it.room.exchange.sent) == 4 and len(it.legs()) == 2

    run(script())


def test_a_target_that_is_gone_while_its_stop_works_leaves_the_stop_alone_for_a_while() -> None:
    async def script() -> None:
        it = Paired()
        stop, target = await it.rest()
        it.room.exchange.finish(target, EXPIRED)  # the stop sells, and it is told late
        await it.go(3)
        assert it.room.exchange.cancels == [] and it.state.target_place == "botd" and it.state.place == "exchange"
        it.room.exchange.trade(stop, "2")
        it.holding.held = Decimal(0)
        await it.go(3)
        assert it.room.exchange.cancels == [] and it.room.gateway.open_orders() == []

    run(script())


@pytest.mark.parametrize(("goal", "legs"), [(120.0, 2), (None, 1), (110.01, 2)])
def test_another_target_is_another_pair_and_none_is_the_stop_alone(goal: float | None, legs: int) -> None:
    async def script() -> None:
        it = Paired()
        await it.go(6)
        it.holding.goal = goal
        it.protection.step()
        assert len(it.room.exchange.cancels) == 1
        it.end_both()
        await it.go(2)
        assert len(it.legs()) == legs and it.state.place == "exchange"

    run(script())


def test_a_stop_that_rests_alone_makes_room_for_a_pair_when_a_target_is_set() -> None:
    async def script() -> None:
        it = Paired()
        it.holding.goal = None
        await it.go(6)
        it.holding.goal = 110.0
        it.protection.step()
        it.confirm_cancel()
        await it.go(2)
        assert len(it.legs()) == 2 and it.state.target_place == "exchange"

    run(script())


def test_a_cancel_that_came_after_the_stops_expiry_is_followed_by_that_of_the_target() -> None:
    async def script() -> None:
        it = Paired()
        stop, target = await it.rest()
        it.room.gateway.cancel(it.room.gateway.table.find(stop))
        it.room.gateway.cancel(it.room.gateway.table.find(target))
        assert it.room.exchange.cancels == [stop]
        it.room.exchange.finish(stop, EXPIRED)  # the target had begun to sell
        it.room.exchange.trade(target, "0.5", told=False)
        it.holding.held -= Decimal("0.5")
        await it.go(2)
        assert it.room.exchange.cancels == [stop, target]
        it.room.exchange.finish(target, CANCELED)
        await it.go(2)
        assert [quantity for _, quantity in it.legs()] == [Decimal("1.5")] * 2

    run(script())


def test_a_flat_positions_pair_is_cancelled_once() -> None:
    async def script() -> None:
        it = Paired()
        stop, _ = await it.rest()
        it.holding.held = Decimal(0)
        await it.go(3)
        assert it.room.exchange.cancels == [stop]

    run(script())


# -- where no pair rests


def refuse(it: Paired, reason: str) -> None:
    for leg in (it.stop, it.target):
        order = it.room.gateway.table.find(leg)
        assert order is not None
        order.reason = reason
        it.room.exchange.tell(leg, status="rejected")


def test_a_refused_pair_is_followed_by_the_stop_alone_at_once_and_offered_again_later() -> None:
    async def script() -> None:
        it = Paired()
        it.room.exchange.silent = it.room.exchange.lose = True
        it.protection.step()
        refuse(it, "-2010 The relationship of the prices for the orders is not correct.")
        it.room.exchange.silent = it.room.exchange.lose = False
        await it.go(2)
        assert it.legs() == [(Decimal("95.00"), Decimal(2))] and it.state.place == "exchange"
        assert it.state.target_place == "botd" and "the relationship" in it.protection.rows()[0]["detail"].lower()
        assert topics(it) == ["protection.target_bot_side", "protection.proven"]
        await it.go(590)
        assert len(it.room.exchange.sent) == 3
        await it.go(15)
        it.confirm_cancel()
        await it.go(2)
        assert len(it.legs()) == 2 and it.state.target_place == "exchange" and not it.protection.rows()[0]["detail"]

    run(script())


def test_a_pair_that_was_not_sent_says_nothing_of_pairs_and_is_tried_again() -> None:
    async def script() -> None:
        it = Paired()
        it.room.exchange.silent = it.room.exchange.lose = True
        it.protection.step()
        refuse(it, "not sent: no budget within 30 s")
        it.room.exchange.silent = it.room.exchange.lose = False
        await it.go(7)
        assert len(it.legs()) == 2 and topics(it) == ["protection.failed", "protection.proven"]

    run(script())


def test_where_the_exchange_takes_no_pairs_the_stop_rests_alone_and_it_is_said_once() -> None:
    async def script() -> None:
        it = Paired()
        it.no_pairs = "the exchange takes no pairs of BTC/USDT"
        await it.go(30)
        assert it.legs() == [(Decimal("95.00"), Decimal(2))] and it.state.target_place == "botd"
        assert it.protection.rows()[0]["detail"] == it.no_pairs
        assert topics(it) == ["protection.target_bot_side", "protection.proven"]
        it.no_pairs = ""
        it.protection.step()
        assert it.room.exchange.cancels == [it.room.exchange.sent[0]]  # now it does

    run(script())


def test_a_pair_that_the_gate_denies_is_followed_by_the_stop_alone() -> None:
    it = Paired()
    it.holding.denied_pairs = True
    it.protection.step()
    assert it.legs() == [(Decimal("95.00"), Decimal(2))] and it.state.alone == "the pair was denied"


def test_a_pair_of_which_nothing_is_known_is_never_doubled_until_it_is_proved_that_it_was_not_placed() -> None:
    async def script() -> None:
        it = Paired()
        await it.room.reconciler.step()
        it.room.exchange.silent = it.room.exchange.lose = True
        it.protection.step()
        for leg in (it.stop, it.target):
            it.room.exchange.tell(leg, status="unknown")
        await it.go(30)
        assert len(it.room.exchange.sent) == 2 and len(it.room.exchange.cancels) <= 4
        it.room.exchange.silent = it.room.exchange.lose = False
        await it.go(45)
        assert len(it.room.exchange.sent) == 4 and it.state.target_place == "exchange"

    run(script())


def test_a_pair_whose_answer_was_lost_is_found_by_the_ids_of_its_legs() -> None:
    async def script() -> None:
        it = Paired()
        it.room.exchange.silent = True
        it.protection.step()
        for leg in (it.stop, it.target):
            it.room.exchange.tell(leg, status="unknown")
        it.room.exchange.silent = False
        await it.go(4)
        assert len(it.room.exchange.sent) == 2 and it.state.place == it.state.target_place == "exchange"

    run(script())


# -- after a restart


def restarted(it: Paired) -> Paired:
    after = Paired()
    after.holding.held = it.holding.held
    after.room.exchange.orders, after.room.exchange.trades = it.room.exchange.orders, it.room.exchange.trades
    after.room.exchange.sent = list(it.room.exchange.sent)
    orders = [msgspec.structs.replace(order) for order in it.room.gateway.open_orders()]
    after.room.gateway.restore(orders, {1: 2}, {order.client_order_id: () for order in orders})
    return after


def test_a_pair_from_before_is_taken_up_and_not_placed_again() -> None:
    async def script() -> None:
        it = Paired()
        await it.rest()
        after = restarted(it)
        await after.go(3)
        assert len(after.room.exchange.sent) == 2 and after.state.place == after.state.target_place == "exchange"

    run(script())


def test_a_rest_of_a_target_from_before_is_cancelled_and_what_is_left_is_protected() -> None:
    async def script() -> None:
        it = Paired()
        _, target = await it.rest()
        it.sell(target, "0.5")
        after = restarted(it)
        assert len(after.room.gateway.open_orders()) == 1
        await after.go(2)
        assert after.room.exchange.cancels == [target] and len(after.room.exchange.sent) == 2
        after.room.exchange.finish(target, CANCELED)
        await after.go(2)
        assert [quantity for _, quantity in after.legs()] == [Decimal("1.5")] * 2
        assert after.state.place == "exchange"

    run(script())
