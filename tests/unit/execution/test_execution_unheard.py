"""Orders of ours whose answer was never heard, and what a look must not lose while it looks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import pytest

from botd.domain.order import Order, OrderStatus, Report
from botd.exchange.remote import RemoteTrade
from botd.execution.client_ids import client_order_id
from botd.execution.durable import KeptOrder
from tests.fakes.remote_room import RemoteRoom, run

HALF, ONE = Decimal("0.5"), Decimal(1)


async def ended(room: RemoteRoom, status: OrderStatus, quantity: str = "1") -> Order:
    """An order that the exchange has, of which nobody heard, and that was taken for never placed."""
    await room.reconciler.step()
    room.exchange.silent = True
    order = room.order(quantity)
    report = Report(client_order_id=order.client_order_id, status=OrderStatus.UNKNOWN, time_ms=1, reason="timeout")
    room.gateway.on_report(report)
    room.gateway.table.finish(order, status, "wrongly")
    return order


def as_trades_are_read(room: RemoteRoom, happens: Callable[[], object]) -> None:
    """Let something happen each time that the exchange is asked for trades."""
    find = room.exchange.find_trades

    async def find_trades(symbol: str, **more: Any) -> Sequence[RemoteTrade]:
        happens()
        return await find(symbol, **more)

    room.exchange.find_trades = find_trades  # type: ignore[method-assign]


@pytest.mark.parametrize("status", [OrderStatus.NOT_PLACED, OrderStatus.REJECTED])
@pytest.mark.parametrize("forgotten", [False, True])
def test_the_fill_of_an_order_that_was_taken_for_never_placed_is_its_bots(status: OrderStatus, forgotten: bool) -> None:
    async def script() -> None:
        room = RemoteRoom()
        order = await ended(room, status)
        room.exchange.trade(order.client_order_id, "1", told=False)
        if forgotten:
            room.gateway.table._ended.clear()
            room.kept[order.client_order_id] = KeptOrder(order)
        await room.look(3)
        assert [fill.client_order_id for fill in room.owner.fills] == [order.client_order_id]
        assert room.owner.resurrected == [(order.client_order_id, status.value)]
        assert order.status is OrderStatus.FILLED and room.reconciler.explain().match
        assert "account.external" not in room.journal.topics()

    run(script())


@pytest.mark.parametrize("filled", [False, True])
def test_one_that_works_is_resurrected_once_filled_and_cancelled(filled: bool) -> None:
    async def script() -> None:
        room = RemoteRoom()
        order = await ended(room, OrderStatus.NOT_PLACED, "2")
        if filled:
            room.exchange.trade(order.client_order_id, "0.5", told=False)
        await room.look(3)
        assert room.owner.resurrected[0] == (order.client_order_id, "not_placed")
        assert len(room.owner.fills) == filled and order.exchange_order_id
        assert set(room.exchange.cancels) == {order.client_order_id}
        assert room.journal.topics().count("order.resurrected") == 1 + filled

    run(script())


def test_a_trade_of_somebody_else_is_asked_about_once_an_order() -> None:
    async def script() -> None:
        room = RemoteRoom()
        await room.reconciler.step()
        room.exchange.place_by_hand("web_1", "2")
        room.exchange.asked.clear()
        room.exchange.trade("web_1", "1", told=False)
        room.exchange.trade("web_1", "1", told=False)  # it works no more, and no list names it
        await room.look(2)
        assert room.exchange.asked.count("order") == 1
        assert room.journal.topics().count("account.external") == 2 and room.owner.fills == []

    run(script())


@pytest.mark.parametrize("whose", ["another", "no intent"])
def test_what_stands_in_the_way_does_not_lapse_during_a_look(whose: str) -> None:
    async def script() -> None:
        room = RemoteRoom()
        await room.reconciler.step()
        order = room.order("2")
        room.exchange.place_by_hand(client_order_id("live", "ZZZZZ" if whose == "another" else "ABCDE", 1, 77))
        await room.look()
        assert len(room.reconciler.refusals()) == 1
        room.exchange.trade(order.client_order_id, "0.5", told=False)
        seen: list[int] = []
        as_trades_are_read(room, lambda: seen.append(len(room.reconciler.refusals())))
        await room.look()
        assert seen and set(seen) == {1}
        room.exchange.orders.popitem()
        await room.look()
        assert room.reconciler.refusals() == []

    run(script())


def test_a_fill_during_a_persons_look_is_no_mismatch() -> None:
    async def script() -> None:
        room = RemoteRoom()
        await room.reconciler.step()
        order = room.order("2")
        as_trades_are_read(room, lambda: order.filled or room.exchange.trade(order.client_order_id, "0.5"))
        await room.reconciler.look_now()
        assert order.filled == HALF and room.reconciler.explain().match

    run(script())


def test_a_persons_look_ends_where_fills_never_do() -> None:
    async def script() -> None:
        room = RemoteRoom()
        await room.reconciler.step()
        order = room.order("1000")
        as_trades_are_read(room, lambda: room.exchange.trade(order.client_order_id, "1"))
        await room.reconciler.look_now()
        assert 1 < room.exchange.asked.count("balances") <= 10 and order.filled > ONE

    run(script())


def test_an_order_of_before_the_restart_can_be_cancelled_before_the_first_look() -> None:
    room, after = RemoteRoom(), RemoteRoom()
    order = room.order()
    after.gateway.restore([order], {1: 1}, {})
    assert after.exchange.symbols == {order.client_order_id: "BTC/USDT"}
