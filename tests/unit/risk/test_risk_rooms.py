"""The limits of quantity: what is shown of a room, what is used of it, and how it is filled. Price 100, equity 1000."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from botd.domain.order import OrderType, Side
from botd.risk.case import Case
from botd.risk.checks_quantity import Room as Space
from botd.risk.checks_quantity import least, most_quantity
from tests.fakes.risk_case import Portfolio, Room, alone, only, request, resting
from tests.unit.risk.test_risk_checks import last


def test_a_room_is_shown_with_what_is_used_of_it():
    verdict = Room(preset="off").decide("2", bot_cash=Decimal(600))
    checks = {check.gate: check for check in verdict.checks}
    assert (checks["funds"].value, checks["funds"].limit) == (200.0, 1000.0)
    assert (checks["budget"].value, checks["budget"].limit) == (600.0, 1000.0)  # 400 are invested
    size = last(only("max_order_size"), "2", volume=100.0)
    assert (size.value, size.limit) == (2.0, 5.0)
    held = Portfolio(by_symbol={"BTC/USDT": Decimal(50)})
    position = last(only("max_position"), "1", portfolio=held)
    assert (position.value, position.limit, position.passed) == (150.0, 200.0, True)


def test_one_is_all_and_more_than_one_is_an_amount():
    all_of_it = alone("max_order_value", "100%").decide("9.5", portfolio=Portfolio(cash=Decimal(9000)))
    assert all_of_it.quantity == Decimal("9.5")
    held = Portfolio(by_symbol={"BTC/USDT": Decimal(900)})
    assert only("max_position", "100%").decide("9", portfolio=held).quantity == 1
    assert only("max_exposure", "100%").decide("9", portfolio=Portfolio(gross=Decimal(900))).quantity == 1


def test_what_was_armed_for_binds_where_it_is_less():
    for armed, quantity in ((Decimal(300), 2), (Decimal(5000), 9)):
        verdict = only("max_exposure").decide("9.001", most_held=armed, portfolio=Portfolio(gross=Decimal(100)))
        assert verdict.quantity == quantity
    unknown = only("max_exposure").decide("1", most_held=Decimal("NaN"))
    assert unknown.code == "MAX_EXPOSURE" and "the limit is unknown" in unknown.detail


def test_a_budget_counts_open_entries_as_used():
    orders = [resting(1, Side.BUY, "99", quantity="4"), resting(1, Side.BUY, "98", quantity="1", filled=Decimal("0.5"))]
    verdict = Room(preset="off").decide("1", fee=0.01, portfolio=Portfolio(orders=orders))
    (check,) = [one for one in verdict.checks if one.gate == "budget"]
    # (4 * 99 + 0.5 * 98) * 1.01 = 449.45 reserved, 101 asked
    assert check.value == pytest.approx(550.45) and check.limit == pytest.approx(1000.0)


@pytest.mark.parametrize(
    ("kind", "price", "stop", "worth"),
    [
        (OrderType.MARKET, "1", None, 101),  # the present price and its slippage
        (OrderType.LIMIT, "99", None, 99),
        (OrderType.STOP_LOSS, None, "110", 111.1),  # a purchase on the way up, at market then
        (OrderType.STOP_LOSS_LIMIT, "112", "110", 112),
        (OrderType.STOP_LOSS, None, None, 101),
    ],
)
def test_a_waiting_entry_is_reserved_at_what_it_will_cost(
    kind: OrderType, price: str | None, stop: str | None, worth: float
):
    order = msgspec.structs.replace(
        resting(1, Side.BUY, "1", quantity="2", type=kind),
        price=None if price is None else Decimal(price),
        stop_price=None if stop is None else Decimal(stop),
    )
    verdict = Room(preset="off").decide("1", slippage=0.01, portfolio=Portfolio(orders=[order]))
    (check,) = [one for one in verdict.checks if one.gate == "budget"]
    assert check.value == pytest.approx(2 * worth + 101)


def test_more_cash_than_worth_makes_no_budget():
    odd: dict[str, Any] = {"bot_cash": Decimal(2000), "bot_equity": Decimal(500)}
    assert Room(preset="off").decide("9", **odd).quantity == 5
    assert only("budget", "50%").decide("9", **odd).quantity == Decimal("2.5")


def test_the_smaller_of_two_is_unknown_where_one_is():
    assert (least(1.0, 2.0), least(2.0, 1.0)) == (1.0, 1.0)
    assert math.isnan(least(math.nan, 1.0)) and math.isnan(least(1.0, math.nan))


@pytest.mark.parametrize(
    ("room", "quantity"),
    [
        (Space("cost", 202.0), "1"),  # 202 / (100 * 1.01 * 2)
        (Space("value", 250.0), "2.5"),
        (Space("quantity", 2.5), "2.5"),
        (Space("value", 0.5), "0.005"),
        (Space("value", 0.0), "0"),
        (Space("value", -1.0), "0"),
        (Space("value", math.inf), "0"),
        (Space("value", math.nan), "0"),
    ],
)
def test_a_room_is_filled_with_whole_steps(room: Space, quantity: str):
    asked = request("9", slippage=0.01, fee=1.0)
    desk = only("max_position").gate._plan(1).desk
    assert most_quantity(Case(asked, desk), room) == Decimal(quantity)


def test_exactly_what_fits_is_not_cut():
    verdict = only("max_position").decide("2")
    assert (verdict.quantity, verdict.shrunk_by, verdict.checks[3].detail) == (2, [], "")
