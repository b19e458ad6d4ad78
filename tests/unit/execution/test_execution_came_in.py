"""A difference beside orders in doubt: what no fill of theirs can explain is a deposit, and proves nothing else."""

from __future__ import annotations

from decimal import Decimal

import pytest

from botd.domain.order import OrderStatus, Side
from botd.execution.differences import came_in
from tests.fakes.remote_room import RemoteRoom, run


def test_a_deposit_nobody_told_of_does_not_hold_up_an_order_that_was_never_placed() -> None:
    async def script() -> None:
        room = RemoteRoom()
        await room.reconciler.step()
        room.exchange.lose = True
        order = room.order("1")
        room.exchange.tell(order.client_order_id, status="unknown")
        room.exchange.held["USDT"] += 225
        for _ in range(20):
            await room.reconciler.step()
            await room.pass_time(5)
        assert order.status is OrderStatus.NOT_PLACED
        assert ("transfer", ("USDT", "225")) in room.told
        assert [what for what, _ in room.told if what == "difference"] == []

    run(script())


def test_a_deposit_that_was_taken_and_is_told_late_counts_once() -> None:
    async def script() -> None:
        room = RemoteRoom()
        await room.reconciler.step()
        made_ms = room.clock.now_ms()
        room.exchange.held["USDT"] += 225
        await room.look(4)
        assert room.told == [("transfer", ("USDT", "225"))]
        room.reconciler.on_transfer("USDT", Decimal("225.00"), made_ms)
        assert len(room.told) == 1 and room.reconciler.account.expected["USDT"] == 10225
        room.reconciler.on_transfer("USDT", Decimal(225), room.clock.now_ms())  # another one
        assert len(room.told) == 2

    run(script())


@pytest.mark.parametrize(
    "sides, lasting, came",
    [
        ((), {"USDT": "5"}, True),
        ((), {"USDT": "-5", "BTC": "1"}, False),
        ((Side.BUY,), {"USDT": "5"}, True),
        ((Side.BUY,), {"BTC": "1"}, False),
        ((Side.BUY,), {"USDT": "5", "BTC": "1"}, False),  # a deposit may hide what the purchase took
        ((Side.SELL,), {"USDT": "5"}, True),  # what it sold would be missing
        ((Side.SELL,), {"USDT": "5", "BTC": "-1"}, False),
        ((Side.BUY, Side.SELL), {"USDT": "5"}, True),  # both may work in one grid
    ],
)
def test_what_came_in_is_what_no_order_in_doubt_can_have_brought(
    sides: tuple[Side, ...], lasting: dict[str, str], came: bool
) -> None:
    room = RemoteRoom()
    orders = [room.order("1", side=side) for side in sides]
    assert came_in({asset: Decimal(amount) for asset, amount in lasting.items()}, orders) is came
