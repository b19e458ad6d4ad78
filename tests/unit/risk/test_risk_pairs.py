"""A protective pair in the eyes of the gate: one decision, whose target another bot's entry may not meet."""

from __future__ import annotations

from decimal import Decimal

import pytest

from botd.domain.order import Order, OrderStatus, OrderType, Purpose, Side, pairs_as_one
from tests.fakes.risk_case import Portfolio, Room, limit, only, resting, sale, spec

OPEN, UNKNOWN = OrderStatus.OPEN, OrderStatus.UNKNOWN


def leg(bot: int, kind: OrderType, price: str, status: OrderStatus) -> Order:
    name = f"{kind}{bot}"
    order = resting(bot, Side.SELL, price, name=name, type=kind, purpose=Purpose.PROTECTION, status=status)
    if kind is OrderType.STOP_LOSS:
        order.price, order.stop_price = None, Decimal(price)
    return order


def pair(bot: int = 2, target: str = "110", *, stop: OrderStatus = OPEN, goal: OrderStatus = OPEN) -> list[Order]:
    """The legs of a bot's position: a stop at 95, and the target."""
    return [leg(bot, OrderType.STOP_LOSS, "95", stop), leg(bot, OrderType.LIMIT_MAKER, target, goal)]


def test_of_a_pair_the_stop_stands_for_both_and_a_leg_alone_for_itself() -> None:
    (stop, target), (other, _) = pair(2), pair(3)
    assert pairs_as_one([stop, target, other]) == [stop, other]
    assert pairs_as_one([target, stop]) == [stop] and pairs_as_one([target, other]) == [target, other]
    buy = resting(2, Side.BUY, "90", type=OrderType.LIMIT_MAKER)
    assert pairs_as_one(iter([stop, buy])) == [stop, buy]


@pytest.mark.parametrize("part", ["symbol", "account"])
def test_a_pair_is_one_of_the_open_orders(part: str) -> None:
    room = only("max_open_orders", {"symbol": 9, "bot": 9, "account": 9} | {part: 3})
    assert room.code("1", limit("100"), portfolio=Portfolio(orders=[*pair(2), *pair(3)])) == ""
    full = [*pair(2), *pair(3), *pair(4)]
    assert room.code("1", limit("100"), portfolio=Portfolio(orders=full)) == "MAX_OPEN_ORDERS"


@pytest.mark.parametrize(("stop", "goal"), [(UNKNOWN, UNKNOWN), (OPEN, UNKNOWN), (UNKNOWN, OPEN)])
def test_a_pair_without_a_known_outcome_is_one_unknown(stop: OrderStatus, goal: OrderStatus) -> None:
    orders = [*pair(2, stop=stop, goal=goal), *pair(3, stop=stop, goal=goal)]
    room = Room("live", preset="paper", unknown_outstanding={"account": 3}, duplicate_order=False)
    live = {"spec": spec(mode="live"), "unarmed": ""}
    assert room.code("1", portfolio=Portfolio(orders=orders), **live) == ""
    orders += pair(4, stop=stop, goal=goal)
    assert room.code("1", portfolio=Portfolio(orders=orders), **live) == "UNKNOWN_OUTSTANDING"


@pytest.mark.parametrize(
    ("target", "code"), [("100.01", "SELF_TRADE"), ("100.05", "SELF_TRADE"), ("100.06", ""), ("110", "")]
)
def test_an_entry_below_anothers_target_goes_unless_it_may_slip_so_far(target: str, code: str) -> None:
    assert only("self_trade").code("1", slippage=0.0005, portfolio=Portfolio(orders=pair(2, target))) == code


def test_a_stop_that_waits_for_its_level_cancels_no_entries_which_the_price_meets_before_it() -> None:
    buys = [resting(3, Side.BUY, price) for price in ("99", "96", "95", "94.99")]
    stop = sale(type=OrderType.STOP_LOSS, stop_price=Decimal(95), reference_price=95.0)
    verdict = only("self_trade").decide("1", stop, slippage=0.0005, portfolio=Portfolio(orders=buys))
    assert verdict.allowed and verdict.cancel_first == []
