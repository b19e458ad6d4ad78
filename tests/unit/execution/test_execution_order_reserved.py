"""What open orders reserve, and the two legs of a pair in the order table."""

from __future__ import annotations

from decimal import Decimal

import pytest

from botd.domain.order import OrderType, Purpose, Side
from tests.fakes.fake_exchange import fill_of
from tests.unit.execution.test_execution_order_table import Room


@pytest.fixture
def room() -> Room:
    return Room()


def test_open_orders_reserve_quote_for_purchases_and_base_for_sales(room: Room) -> None:
    room.keep("a", quantity=Decimal(2), price=Decimal(90))
    room.keep("b", quantity=Decimal(1), price=None, stop_price=Decimal(110), type=OrderType.STOP_LOSS)
    room.keep("c", quantity=Decimal(3), price=None, type=OrderType.MARKET, filled=Decimal(1))
    room.keep("d", quantity=Decimal(5), side=Side.SELL, filled=Decimal(1))
    # 180 + 110 + 2 * 100; what filled is reserved no more
    assert room.table.reserved(lambda symbol: Decimal(100)) == {"USDT": 490, "BTC": 4}
    assert room.table.reserved(lambda symbol: None) == {"USDT": 290, "BTC": 4}


def test_an_overfilled_order_reserves_nothing(room: Room) -> None:
    room.keep("a", filled=Decimal(12))
    room.keep("b", filled=Decimal(9))
    assert room.table.reserved(lambda symbol: None) == {"USDT": 100}


def test_the_legs_of_a_pair_reserve_the_coins_once_and_one_doubts_the_other(room: Room) -> None:
    leg = {"side": Side.SELL, "purpose": Purpose.PROTECTION, "quantity": Decimal(2)}
    stop = room.keep("stop", type=OrderType.STOP_LOSS, price=None, stop_price=Decimal(90), **leg)
    assert room.table.partner(stop) is None and room.table.reserved(lambda symbol: None) == {"BTC": 2}
    target = room.keep("target", type=OrderType.LIMIT_MAKER, **leg)
    sale = room.keep("sale", side=Side.SELL, purpose=Purpose.EXIT, quantity=Decimal(1))
    assert (room.table.partner(stop), room.table.partner(target)) == (target, stop)
    assert room.table.partner(sale) is None
    assert room.table.reserved(lambda symbol: None) == {"BTC": 3}
    room.say("target", "partial", fill_of("target", "t1", "1"))
    assert room.table.doubts == {"stop": "the other leg of its pair: open, 1 filled"}
    room.table.clear(stop)
    room.say("target", "canceled")
    assert room.table.doubts == {"stop": "the other leg of its pair: canceled, 1 filled"}


@pytest.mark.parametrize("status", ["intent", "unknown"])
def test_a_leg_that_is_not_known_to_work_is_doubted_by_nobody(room: Room, status: str) -> None:
    leg = {"side": Side.SELL, "purpose": Purpose.PROTECTION}
    room.keep("stop", status, type=OrderType.STOP_LOSS, **leg)
    room.keep("target", type=OrderType.LIMIT_MAKER, **leg)
    room.say("target", "canceled")
    assert room.table.doubts == {}


def test_a_leg_that_filled_in_part_works_and_is_doubted(room: Room) -> None:
    leg = {"side": Side.SELL, "purpose": Purpose.PROTECTION}
    room.keep("stop", "partial", type=OrderType.STOP_LOSS, **leg)
    room.keep("target", type=OrderType.LIMIT_MAKER, **leg)
    room.say("target", "canceled")
    assert list(room.table.doubts) == ["stop"]


def test_orders_are_found_by_a_number_of_the_exchange_that_is_one(room: Room) -> None:
    room.keep("remote")
    assert room.table.find_by_exchange_id("BTC/USDT", "") is None
    simulated = Room(remote=False)
    simulated.keep("simulated", exchange_order_id="77")
    assert simulated.table.find_by_exchange_id("BTC/USDT", "77") is None  # nobody asks: there is nothing to look up


def test_a_simulated_exchange_knows_no_pairs() -> None:
    room = Room(remote=False)
    leg = {"side": Side.SELL, "purpose": Purpose.PROTECTION}
    stop = room.keep("stop", type=OrderType.STOP_LOSS, **leg)
    room.keep("target", type=OrderType.LIMIT_MAKER, **leg)
    assert room.table.partner(stop) is None and room.table.find_by_exchange_id("BTC/USDT", "") is None
