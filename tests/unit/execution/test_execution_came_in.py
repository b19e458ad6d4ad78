"""A difference beside orders in doubt: what no fill of theirs can explain is a deposit, and proves nothing else."""

from __future__ import annotations

from decimal import Decimal

import pytest

from botd.domain.order import OrderStatus, Side
from botd.execution.account import AccountBook
from botd.execution.differences import came_in, may_come_of
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


def test_a_deposit_beside_balances_that_lag_is_taken_once_two_looks_agree_on_its_amount() -> None:
    async def script() -> None:
        room = RemoteRoom()
        await room.reconciler.step()
        room.exchange.held["USDT"] += 225
        for lag in (0, 0, 499, 0, 0):  # a purchase is booked, and the balances do not know it yet
            room.exchange.held["USDT"] += lag
            await room.look()
            assert room.told.count(("transfer", ("USDT", "724"))) == 0
            room.exchange.held["USDT"] -= lag
        assert ("transfer", ("USDT", "225")) in room.told and room.told[-1] == ("agreement", [1])
        assert room.reconciler.account.expected["USDT"] == 10225

    run(script())


@pytest.mark.parametrize("order", [(100, 125), (125, 100)])
def test_two_deposits_that_were_taken_as_one_and_are_told_late_count_once(order: tuple[int, int]) -> None:
    async def script() -> None:
        room = RemoteRoom()
        await room.reconciler.step()
        made_ms = room.clock.now_ms()
        room.exchange.held["USDT"] += 225
        await room.look(4)
        rows = kept(room, {})
        for amount in order:
            room.reconciler.on_transfer("USDT", Decimal(amount), made_ms)
        assert room.told == [("transfer", ("USDT", "225"))]
        assert room.reconciler.account.expected["USDT"] == 10225
        assert [key for key in kept(room, rows) if key.startswith("inferred:")] == []
        room.reconciler.on_transfer("USDT", Decimal(1), made_ms)  # nothing is left of what was taken
        assert len(room.told) == 2

    run(script())


def test_of_two_sums_the_one_that_is_told_is_forgotten_and_one_that_is_larger_than_any_is_another() -> None:
    book = AccountBook()
    book.infer("USDT", Decimal(300), 10)
    book.infer("USDT", Decimal(100), 20)
    assert book.was_inferred("USDT", Decimal(100), 5) and not book.was_inferred("USDT", Decimal(301), 5)
    assert not book.was_inferred("USDT", Decimal(-100), 5) and not book.was_inferred("USDT", Decimal(100), 11)
    assert book.was_inferred("USDT", Decimal(300), 5) and not book.was_inferred("USDT", Decimal(1), 5)


def kept(room: RemoteRoom, rows: dict[str, str]) -> dict[str, str]:
    """Return the ledger's rows after what changed was written over them."""
    changed = room.reconciler.drain_changes()
    return {key: value for key, value in {**rows, **changed}.items() if value is not None}


def test_a_deposit_taken_before_a_restart_and_told_after_it_counts_once() -> None:
    async def script() -> None:
        room = RemoteRoom()
        await room.reconciler.step()
        made_ms = room.clock.now_ms()
        room.exchange.held["USDT"] += 225
        await room.look(4)
        rows = kept(room, {})
        after = RemoteRoom(USDT="10225")
        after.reconciler.restore(rows)
        await after.reconciler.step()
        after.reconciler.on_transfer("USDT", Decimal("225.00"), made_ms)
        assert after.told == [] and after.reconciler.account.expected["USDT"] == 10225
        assert [key for key in kept(after, rows) if key.startswith("inferred:")] == []
        after.reconciler.on_transfer("USDT", Decimal(225), made_ms)  # it was told, and is another one
        assert after.told == [("transfer", ("USDT", "225"))]

    run(script())


def test_a_withdrawal_that_a_person_accepted_and_that_is_told_late_counts_once() -> None:
    async def script() -> None:
        room = RemoteRoom()
        await room.reconciler.step()
        made_ms = room.clock.now_ms()
        room.exchange.held["USDT"] -= 1000
        await room.look(4)
        assert room.reconciler.accept_difference("USDT", "uid 0") == -1000
        after = RemoteRoom(USDT="9000")
        after.reconciler.restore(kept(room, {}))
        await after.reconciler.step()
        after.reconciler.on_transfer("USDT", Decimal(-1000), made_ms)
        assert after.told == [] and after.reconciler.account.expected["USDT"] == 9000

    run(script())


def test_of_transfers_that_nobody_ever_told_of_the_last_few_are_remembered() -> None:
    book = AccountBook()
    for number in range(100):
        book.infer(f"C{number}", Decimal(number), number)
    assert not book.was_inferred("C35", Decimal(35), 0)
    assert book.was_inferred("C36", Decimal(36), 0) and not book.was_inferred("C36", Decimal(36), 0)
    again = AccountBook()
    again.restore({key: row for key, row in book.drain_changes().items() if row is not None})
    assert again.was_inferred("C99", Decimal(99), 99) and not again.was_inferred("C98", Decimal(98), 99)


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


@pytest.mark.parametrize(
    "sides, differences, may",
    [
        ((), {"USDT": "5"}, False),
        ((Side.BUY,), {"USDT": "430"}, False),  # a purchase takes: nothing is waited for
        ((Side.BUY,), {"USDT": "-100"}, False),  # it would have brought something too
        ((Side.BUY,), {"BTC": "1", "USDT": "330"}, True),  # what it took may be hidden behind a deposit
        ((Side.SELL,), {"USDT": "100"}, False),  # nothing is missing that it would have sold
        ((Side.SELL,), {"BTC": "-1"}, True),
        ((Side.SELL,), {"USDT": "-5"}, False),
        ((Side.BUY, Side.SELL), {"ETH": "1"}, False),
    ],
)
def test_a_difference_is_waited_for_where_an_order_in_doubt_would_move_the_balance_that_way(
    sides: tuple[Side, ...], differences: dict[str, str], may: bool
) -> None:
    room = RemoteRoom()
    orders = [room.order("1", side=side) for side in sides]
    assert may_come_of(orders, {asset: Decimal(amount) for asset, amount in differences.items()}) is may
