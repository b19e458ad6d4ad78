"""The gate at its edges: what it remembers of entries, settings that change, sales at odd prices and sizes."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from botd.domain.instrument import ZERO
from botd.domain.order import OrderType, Side
from botd.risk.gate import exit_quantity
from botd.risk.trading_state import REDUCE
from tests.fakes.risk_case import BTC, NOON, Portfolio, Room, intent, limit, only, request, resting, sale


def _orders(room: Room) -> list[Any]:
    """Return the orders of bot 1 that are remembered, newest last."""
    row = room.gate.drain_changes()["entries:1"]
    assert row is not None
    found: list[Any] = json.loads(row)["orders"]
    return found


# -- the gate's memory


def test_changed_settings_bind_the_very_next_entry_of_everybody():
    room = only("max_order_size", "5%")
    assert room.code(volume=1000.0) == "" and room.code(what=intent(bot=2), volume=1000.0) == ""
    rows = room.gate.set({"max_order_size": "1%"}, now_ms=NOON)
    assert [(row["control"], row["result"]) for row in rows] == [("max_order_size", "changed")]
    for bot in (1, 2):
        verdict = room.decide("20", intent(bot=bot), volume=100.0, portfolio=Portfolio(cash=Decimal(9000)))
        assert verdict.quantity == Decimal(1)


def test_what_was_worked_out_for_a_bot_is_kept_until_settings_change():
    room = only("max_order_size")
    room.decide()
    plan = room.gate._plan(1)
    room.decide()
    assert room.gate._plan(1) is plan
    room.gate.set({"max_order_size": "1%"}, now_ms=NOON)
    fresh = room.gate._plan(1)
    assert fresh is not plan and room.gate._plan(1) is fresh


def test_a_bot_that_takes_a_removed_ones_number_is_judged_afresh():
    room = only("max_order_size")
    plan = room.gate._plan(1)
    room.gate.forget(1)
    assert room.gate._plan(1) is not plan


def test_a_decision_tells_of_the_causes_whose_time_is_over():
    room = Room(preset="live")
    room.states.trip("bot:1", "DAILY_LOSS", REDUCE, now_ms=NOON, until_ms=NOON + 1)
    room.decide("0.5", sale(), now_ms=NOON + 1)  # a sale is bound by none of them
    assert not room.states.quiet
    room.decide("0.5", now_ms=NOON + 1)
    assert room.states.quiet and room.changes[-1].lifted == ["DAILY_LOSS"]


def test_an_order_is_remembered_for_the_longest_window_and_no_longer():
    room = only("duplicate_order", {"limit": 2, "market": 10})
    assert room.code() == ""
    assert room.code("2", limit("99"), now_ms=NOON + 9_999) == ""  # another order comes in between
    assert len(_orders(room)) == 2
    assert room.code(now_ms=NOON + 9_999) == "DUPLICATE_ORDER"
    assert room.code("3", limit("99"), now_ms=NOON + 10_000) == ""
    assert [order[2] for order in _orders(room)] == ["2", "3"]


def test_the_largest_is_zero_where_a_control_leaves_nothing_and_the_first_of_equals_is_named():
    room = Room(preset="live")
    nothing = Portfolio(by_symbol={"BTC/USDT": Decimal(200)})
    assert room.gate.largest(request(portfolio=nothing)) == (ZERO, "max_position")
    # order value: 10 % of 1000 = 1 BTC; the volume allows 5 % of 20 = 1 BTC as well
    assert room.gate.largest(request(volume=20.0)) == (Decimal(1), "max_order_value")


# -- sales


def test_a_sale_shows_its_checks():
    room = only("self_trade")
    orders = [resting(2, Side.BUY, "100", name="hit"), resting(3, Side.BUY, "101", name="too")]
    verdict = room.decide("1.0005", sale(), portfolio=Portfolio(orders=orders))
    filters, self_trade = verdict.checks
    assert (filters.gate, filters.passed, filters.value, filters.limit) == (
        "filters",
        True,
        "1.0005",
        "the exchange's filters",
    )
    assert filters.detail == "1.000 of 1.0005"
    assert (self_trade.gate, self_trade.passed, self_trade.value) == ("self_trade", True, 2.0)
    assert self_trade.detail == "cancels hit, too first"
    assert room.decide("1", sale()).checks[1].detail == ""


def test_a_sale_that_is_not_sent_says_why():
    verdict = Room().decide("0.0004", sale())
    assert [(check.gate, check.passed) for check in verdict.checks] == [("filters", False)]
    assert verdict.told == {
        "value": "0.0004",
        "limit": "the exchange's filters",
        "detail": "dust: 0.0004 BTC is less than the step 0.001",
    }


@pytest.mark.parametrize("quantity", ["0", "-0.5", "NaN", "Infinity"])
def test_a_sale_of_nothing_or_of_no_number_is_not_sent_also_where_a_level_triggered_it(quantity: str):
    for what in (sale(), sale(trigger_price=95.0)):
        assert exit_quantity(request(quantity, what)) == (ZERO, f"quantity {quantity} must be finite and above zero")


@pytest.mark.parametrize("price", [0.0, -5.0, float("inf"), float("nan")])
def test_a_sale_at_market_goes_without_a_price_to_value_it_by(price: float):
    assert exit_quantity(request("0.5", sale(reference_price=price))) == (Decimal("0.5"), "")
    capped = msgspec.structs.replace(BTC, max_notional=Decimal(10))
    assert exit_quantity(request("0.5", sale(reference_price=price), instrument=capped)) == (Decimal("0.5"), "")


def test_the_price_of_a_level_values_the_sale_that_it_triggered():
    capped = msgspec.structs.replace(BTC, max_notional=Decimal(100))
    what = sale(reference_price=100.0, trigger_price=50.0)
    assert exit_quantity(request("5", what, instrument=capped)) == (Decimal(2), "")  # 100 / 50


def test_a_sale_of_a_cheap_coin_is_valued_like_any_other():
    quantity, refusal = exit_quantity(request("9", sale(reference_price=0.5)))
    assert quantity == 9 and refusal == "NOTIONAL: 4.5 USDT is below the minimum 5"
    assert exit_quantity(request("10", sale(reference_price=0.5))) == (Decimal(10), "")


def test_a_sale_is_cut_to_the_maximum_quantity_and_a_smaller_one_is_not():
    capped = msgspec.structs.replace(BTC, max_quantity=Decimal(2))
    assert exit_quantity(request("5", sale(), instrument=capped)) == (Decimal(2), "")
    assert exit_quantity(request("1", sale(), instrument=capped)) == (Decimal(1), "")


def test_a_sale_below_the_minimum_quantity_is_dust_and_at_it_goes():
    least = msgspec.structs.replace(BTC, min_quantity=Decimal("0.1"))
    quantity, refusal = exit_quantity(request("0.0995", sale(), instrument=least))
    assert quantity == Decimal("0.099") and refusal == "dust: 0.099 BTC is below the minimum 0.1"
    assert exit_quantity(request("0.1", sale(), instrument=least)) == (Decimal("0.1"), "")


def test_a_triggered_sale_below_the_step_goes_as_it_is():
    assert exit_quantity(request("0.0004", sale(trigger_price=95.0))) == (Decimal("0.0004"), "")
    assert exit_quantity(request("0.0404", sale(trigger_price=95.0))) == (Decimal("0.040"), "")


def test_a_sale_at_a_limit_is_held_to_the_tick_and_one_at_market_is_not():
    what = sale(type=OrderType.LIMIT, price=Decimal("100.001"))
    assert exit_quantity(request("1", what))[1].startswith("PRICE_FILTER")
    assert exit_quantity(request("1", sale(reference_price=100.001)))[1] == ""


def test_a_sale_of_more_than_any_order_has_is_not_sent():
    assert exit_quantity(request("1E+40", sale())) == (ZERO, "quantity 1E+40 is more than any order has")
    assert "price" in exit_quantity(request("1", sale(reference_price=1e40)))[1]


def test_a_sale_at_a_limit_that_is_no_price_is_not_sent():
    what = sale(type=OrderType.LIMIT, price=Decimal("NaN"))
    assert "must be finite" in exit_quantity(request("1", what))[1]
