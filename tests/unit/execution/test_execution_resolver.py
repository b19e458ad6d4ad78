"""UNKNOWN ends by evidence only: an answer, all the proofs, or a person."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from botd.domain.errors import NotFoundError, WrongStateError
from botd.domain.order import Order, OrderStatus
from tests.fakes.remote_room import RemoteRoom, run


async def unknown(*, lost: bool = True, **held: str) -> tuple[RemoteRoom, Order]:
    """A room with an open account and an order whose outcome is not known."""
    room = RemoteRoom(**held)
    await room.reconciler.step()
    room.exchange.lose, room.exchange.silent = lost, True
    order = room.order()
    room.exchange.tell(order.client_order_id, status="unknown")
    room.exchange.asked.clear()
    return room, order


def test_a_lost_order_is_not_placed_when_all_is_proved_and_not_before() -> None:
    async def script() -> None:
        room, order = await unknown()
        await room.pass_time(44)
        assert order.status is OrderStatus.UNKNOWN and room.gateway.open_orders() == [order]
        await room.pass_time(10)
        assert order.status is OrderStatus.NOT_PLACED and room.owner.ended == [order.client_order_id]
        assert "asked 8 times, 5 negative answers" in order.reason
        assert "balances clean" in order.reason and "order.not_placed" in room.journal.topics()
        assert room.exchange.sent == [order.client_order_id]  # once

    run(script())


@pytest.mark.parametrize("broken", ["order", "open_orders", "trades", "balances"])
def test_errors_and_time_are_no_evidence(broken: str) -> None:
    async def script() -> None:
        room, order = await unknown()
        room.exchange.broken.add(broken)
        await room.pass_time(2000, step_s=5)
        assert order.status is OrderStatus.UNKNOWN
        assert room.gateway.table.reserved(lambda symbol: None) == {"USDT": Decimal(100)}  # the reservation stays
        room.exchange.broken.clear()
        await room.pass_time(60)
        assert order.status is OrderStatus.NOT_PLACED

    run(script())


def test_an_order_that_arrived_is_found_with_its_fills() -> None:
    async def script() -> None:
        room, order = await unknown(lost=False)
        room.exchange.trade(order.client_order_id, "0.4", "0.001", paid="BTC", told=False)
        await room.pass_time(2)
        assert (order.status, order.filled) == (OrderStatus.PARTIAL, Decimal("0.4"))
        assert room.owner.fills[0].fee_asset == "BTC" and room.resolver.rows() == []
        assert room.exchange.asked.count("order") == 1

    run(script())


def test_an_order_that_arrives_late_is_found_though_it_was_denied_before() -> None:
    async def script() -> None:
        room, order = await unknown()
        await room.pass_time(30)
        room.exchange.arrive(order)
        room.exchange.trade(order.client_order_id, "1", told=False)
        await room.pass_time(11)
        assert (order.status, order.filled) == (OrderStatus.FILLED, Decimal(1))

    run(script())


@pytest.mark.parametrize("status", ["canceled", "expired", "rejected", "open"])
def test_any_positive_answer_ends_the_doubt(status: str) -> None:
    async def script() -> None:
        room, order = await unknown(lost=False)
        if status != "open":
            room.exchange.finish(order.client_order_id, OrderStatus(status), told=False)
        await room.pass_time(2)
        assert order.status.value == status

    run(script())


def test_a_trade_that_nobody_can_name_keeps_an_order_unknown() -> None:
    async def script() -> None:
        room, order = await unknown()
        hand = room.exchange.place_by_hand("web_1")
        room.exchange.trade("web_1", "1", told=False)
        room.exchange.broken = {"numbered"}
        await room.pass_time(120)
        assert order.status is OrderStatus.UNKNOWN
        room.exchange.listener.on_foreign(hand)  # type: ignore[union-attr]  # now it has a name
        await room.pass_time(20)
        assert order.status is OrderStatus.NOT_PLACED

    run(script())


def test_a_balance_that_changed_keeps_an_order_unknown() -> None:
    async def script() -> None:
        room, order = await unknown()
        room.exchange.held["USDT"] -= 100
        await room.pass_time(120)
        assert order.status is OrderStatus.UNKNOWN
        room.exchange.held["USDT"] += 100
        await room.pass_time(20)
        assert order.status is OrderStatus.NOT_PLACED

    run(script())


def test_the_alarm_comes_once_after_a_minute_and_says_what_lacks() -> None:
    async def script() -> None:
        room, order = await unknown()
        room.exchange.broken.add("order")
        await room.pass_time(59)
        assert "order.unresolved" not in room.journal.topics()
        await room.pass_time(60)
        alarms = [event for event in room.journal.events if event.topic == "order.unresolved"]
        assert len(alarms) == 1 and "too few negative answers" in alarms[0].data["lacks"]
        assert alarms[0].data["client_order_id"] == order.client_order_id

    run(script())


def test_a_person_may_decide_after_15_minutes_and_it_is_said_who_did() -> None:
    async def script() -> None:
        room, order = await unknown()
        room.exchange.broken.add("order")
        await room.pass_time(890, step_s=10)
        with pytest.raises(WrongStateError, match="without an answer"):
            room.resolver.resolve(order.client_order_id, "uid 1000")
        await room.pass_time(20)
        assert room.resolver.resolve(order.client_order_id, "uid 1000") is order
        assert order.status is OrderStatus.NOT_PLACED and "decided by uid 1000" in order.reason
        with pytest.raises(NotFoundError):
            room.resolver.resolve(order.client_order_id, "uid 1000")

    run(script())


def test_a_person_cannot_end_what_the_exchange_says_works() -> None:
    async def script() -> None:
        room, order = await unknown(lost=False)
        room.exchange.trade(order.client_order_id, "0.5", told=False)
        room.exchange.broken.add("trades")  # it is there, and its fills are not to be had
        await room.pass_time(1000, step_s=10)
        with pytest.raises(WrongStateError, match="works at the exchange"):
            room.resolver.resolve(order.client_order_id, "me")

    run(script())


def test_one_question_that_hangs_does_not_keep_the_others() -> None:
    async def script() -> None:
        room, first = await unknown()
        second = room.order()
        room.exchange.arrive(second)
        room.exchange.tell(second.client_order_id, status="unknown")
        held = room.exchange.find_order

        async def slow(symbol: str, client_order_id: str) -> object:
            if client_order_id == first.client_order_id:
                await never.wait()
            return await held(symbol, client_order_id)

        never = asyncio.Event()
        room.exchange.find_order = slow  # type: ignore[method-assign, assignment]
        for _ in range(5):
            room.resolver.begin()
            await asyncio.sleep(0)
            room.wait(1)
        assert second.status is OrderStatus.OPEN and first.status is OrderStatus.UNKNOWN
        await room.resolver.close()

    run(script())


# -- doubts about orders that the exchange had


def test_a_cancel_answered_unknown_order_is_a_question_and_the_order_may_have_filled() -> None:
    async def script() -> None:
        room = RemoteRoom()
        order = room.order()
        room.exchange.trade(order.client_order_id, "1", told=False)
        room.gateway.cancel(order)
        room.exchange.listener.on_doubt(order.client_order_id, "Unknown order sent.")  # type: ignore[union-attr]
        await room.resolver.step()
        assert (order.status, order.filled) == (OrderStatus.FILLED, Decimal(1))

    run(script())


def test_a_cancel_that_did_not_arrive_is_asked_again() -> None:
    async def script() -> None:
        room = RemoteRoom()
        order = room.order()
        room.gateway.cancel(order)
        room.exchange.listener.on_doubt(order.client_order_id, "no answer")  # type: ignore[union-attr]
        room.wait(6)
        await room.resolver.step()
        assert room.exchange.cancels == [order.client_order_id] * 2 and room.gateway.table.doubts == {}

    run(script())


def test_a_cancel_that_came_before_its_order_is_asked_again_within_seconds() -> None:
    async def script() -> None:
        room = RemoteRoom()
        order = room.order()
        room.gateway.cancel(order)
        room.exchange.listener.on_doubt(order.client_order_id, "Unknown order sent.")  # type: ignore[union-attr]
        await room.pass_time(4)
        assert room.exchange.cancels == [order.client_order_id]
        await room.pass_time(10)
        assert room.exchange.cancels == [order.client_order_id] * 2 and room.gateway.table.doubts == {}

    run(script())


def test_no_such_order_ends_nothing_that_the_exchange_once_had() -> None:
    async def script() -> None:
        room = RemoteRoom()
        await room.reconciler.step()
        order = room.order()
        del room.exchange.orders[order.client_order_id]
        room.exchange.listener.on_doubt(order.client_order_id, "Unknown order sent.")  # type: ignore[union-attr]
        await room.pass_time(800, step_s=5)
        assert order.status is OrderStatus.OPEN
        await room.pass_time(200, step_s=5)
        room.resolver.resolve(order.client_order_id, "me")
        assert order.status is OrderStatus.CANCELED

    run(script())


def test_an_end_that_speaks_of_more_fills_waits_until_they_were_fetched() -> None:
    async def script() -> None:
        room = RemoteRoom()
        order = room.order("2")
        room.exchange.trade(order.client_order_id, "0.5", told=False)
        room.exchange.broken.add("trades")
        room.exchange.finish(order.client_order_id, OrderStatus.CANCELED)
        await room.pass_time(5)
        assert order.status is OrderStatus.OPEN and room.owner.ended == []
        room.exchange.broken.clear()
        await room.pass_time(10)
        assert (order.status, order.filled) == (OrderStatus.CANCELED, Decimal("0.5"))

    run(script())


def test_filled_without_fills_is_not_believed_until_they_come() -> None:
    room = RemoteRoom()
    order = room.order("2")
    first = room.exchange.trade(order.client_order_id, "0.5", told=False)
    second = room.exchange.trade(order.client_order_id, "1.5", told=False)
    room.exchange.tell(order.client_order_id)
    assert order.status is OrderStatus.OPEN and list(room.gateway.table.doubts) == [order.client_order_id]
    room.exchange.tell(order.client_order_id, second)
    room.exchange.tell(order.client_order_id, first, status="partial")
    assert order.status is OrderStatus.FILLED and room.gateway.table.doubts == {}
    assert len(room.owner.fills) == 2


# -- life after the end


@pytest.mark.parametrize("end", ["rejected", "not_placed"])
def test_an_order_that_never_was_and_lives_is_told_cancelled_and_its_owner_warned(end: str) -> None:
    room = RemoteRoom()
    room.exchange.silent = True
    order = room.order("2")
    room.exchange.tell(order.client_order_id, status="unknown")
    room.gateway.table.finish(order, OrderStatus(end), "wrongly")
    room.exchange.tell(order.client_order_id)  # open
    assert room.owner.resurrected == [(order.client_order_id, end)]
    assert room.exchange.cancels == [order.client_order_id] and order.status.value == end
    room.exchange.trade(order.client_order_id, "0.5")
    assert order.filled == Decimal("0.5") and len(room.owner.fills) == 1
    room.exchange.trade(order.client_order_id, "1.5")
    assert order.status is OrderStatus.FILLED
    assert {"order.resurrected", "order.zombie"} <= set(room.journal.topics())


def test_an_open_that_comes_after_a_cancel_is_only_late() -> None:
    room = RemoteRoom()
    order = room.order()
    room.exchange.finish(order.client_order_id, OrderStatus.CANCELED)
    room.exchange.tell(order.client_order_id, status="open")
    assert (room.owner.resurrected, room.exchange.cancels) == ([], [])
