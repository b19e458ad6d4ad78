"""What the simulated exchange takes and refuses, and what it sets aside."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from botd.domain.order import OrderStatus, Purpose, Report
from tests.fakes.exchange_desk import BTC, Desk


@pytest.fixture
def desk() -> Desk:
    desk = Desk(slippage=Decimal("0.01"))
    desk.close(0, 100.0, 100.0, 100.0, 100.0)
    return desk


@pytest.mark.parametrize(
    ("side", "kind", "quantity", "fields", "words"),
    [
        ("buy", "market", "1", {"symbol": "XXX/USDT"}, "Invalid symbol."),
        ("buy", "limit", "1", {}, "Mandatory parameter 'price' was not sent"),
        ("buy", "stop_loss", "1", {}, "Mandatory parameter 'stopPrice' was not sent"),
        ("sell", "market", "1", {"trigger_price": float("nan")}, "Mandatory parameter 'price' was not sent"),
        ("buy", "market", "0", {}, "Filter failure: LOT_SIZE: less than the step"),
        ("buy", "market", "NaN", {}, "Filter failure: quantity NaN"),
        ("buy", "limit", "1", {"price": "Infinity"}, "Filter failure: quantity 1 and price Infinity"),
        ("buy", "market", "0.000001", {}, "Filter failure: LOT_SIZE"),
        ("buy", "limit", "1", {"price": "99.001"}, "Filter failure: PRICE_FILTER"),
        ("sell", "stop_loss", "1", {"stop_price": "90.001"}, "Filter failure: PRICE_FILTER"),
        ("sell", "stop_loss", "1", {"stop_price": "NaN"}, "Filter failure: "),
        ("buy", "market", "0.04", {}, "Filter failure: NOTIONAL"),  # 4 USDT at the last price
        ("buy", "limit", "0.05", {"price": "99"}, "Filter failure: NOTIONAL"),
        ("buy", "limit_maker", "1", {"price": "100"}, "Order would immediately match and take."),
        ("sell", "limit_maker", "1", {"price": "100"}, "Order would immediately match and take."),
        ("sell", "stop_loss", "1", {"stop_price": "100"}, "Order would trigger immediately."),
        ("buy", "stop_loss_limit", "1", {"stop_price": "99", "price": "99"}, "Order would trigger immediately."),
        ("sell", "take_profit", "1", {"stop_price": "100"}, "Order would trigger immediately."),
        ("buy", "take_profit", "1", {"stop_price": "101"}, "Order would trigger immediately."),
        ("sell", "market", "1.00001", {}, "Account has insufficient balance for requested action."),
        ("buy", "limit", "200", {"price": "100"}, "Account has insufficient balance for requested action."),
        ("buy", "stop_loss", "95", {"stop_price": "110"}, "Account has insufficient balance for requested action."),
    ],
)
def test_refusals_carry_the_exchanges_words(
    desk: Desk, side: str, kind: str, quantity: str, fields: dict[str, Any], words: str
) -> None:
    order = desk.send(side, kind, quantity, **fields)
    assert desk.statuses(order) == [OrderStatus.REJECTED]
    assert desk.last.reason.startswith(words)
    assert desk.exchange.open_orders() == []
    assert desk.free("USDT") == 10_000


def test_a_symbol_that_does_not_trade_refuses(desk: Desk) -> None:
    import msgspec

    desk.exchange._instruments["BTC/USDT"] = msgspec.structs.replace(BTC, status="BREAK")
    desk.send("buy", "market")
    assert desk.last.reason == "Market is closed."


def test_limit_order_counts_are_bounded_and_waiting_market_orders_do_not_count(desk: Desk) -> None:
    for _ in range(3):
        desk.send("buy", "market")
    for _ in range(5):
        desk.send("sell", "stop_loss", stop_price=90)
    desk.send("sell", "stop_loss", stop_price=90)
    assert desk.last.reason.startswith("Filter failure: MAX_NUM_ALGO_ORDERS")
    for _ in range(195):
        desk.send("buy", "limit", price=50)
    assert desk.last.status is OrderStatus.OPEN
    desk.send("buy", "limit", price=50)
    assert desk.last.reason.startswith("Filter failure: MAX_NUM_ORDERS")


def test_an_exit_on_a_candle_feed_may_be_smaller_than_the_minimum_notional(desk: Desk) -> None:
    order = desk.send("sell", "market", "0.01", purpose=Purpose.EXIT)
    assert desk.statuses(order) == [OrderStatus.OPEN]


def test_a_market_buy_is_checked_at_the_last_price_with_slippage_and_fee(desk: Desk) -> None:
    # 10000 / (100 x 1.01 x 1.002) = 98.8122...
    desk.send("buy", "market", "98.81229")
    assert desk.last.status is OrderStatus.REJECTED
    desk.send("buy", "market", "98.8122")
    assert desk.last.status is OrderStatus.OPEN


def test_binary_rounding_of_a_whole_balance_is_no_lack(desk: Desk) -> None:
    small = Desk(balance={"USDT": Decimal("101.202") - Decimal("1e-8")}, slippage=Decimal("0.01"))
    small.close(0, 100.0, 100.0, 100.0, 100.0)
    small.send("buy", "market", "1")  # costs 100 x 1.01 x 1.002 = 101.202; lacks 1e-10 of it
    assert small.last.status is OrderStatus.OPEN


def test_an_open_that_costs_more_than_the_balance_takes_it_below_zero_by_the_gap(desk: Desk) -> None:
    desk.send("buy", "market", "98.8122")
    desk.open(1, 110.0)
    # 98.8122 x 111.1 x 1.002
    assert desk.total("USDT") == Decimal(10_000) - desk.fills[0].notional * Decimal("1.002") < 0
    desk.send("buy", "market")
    assert desk.last.reason == "Account has insufficient balance for requested action."


def test_open_orders_reserve_what_they_may_cost_and_give_it_back(desk: Desk) -> None:
    buy = desk.send("buy", "limit", "2", price=90)
    sell = desk.send("sell", "limit", "0.4", price=110)
    assert desk.free("USDT") == Decimal(10_000) - Decimal("180.18")  # 2 x 90 x 1.001
    assert desk.free("BTC") == Decimal("0.6")
    assert desk.total("USDT") == 10_000
    desk.exchange.cancel(buy)
    desk.exchange.cancel(sell)
    assert (desk.free("USDT"), desk.free("BTC")) == (10_000, 1)
    assert desk.statuses(buy) == [OrderStatus.OPEN, OrderStatus.CANCELED]


def test_what_a_better_fill_saved_is_free_again(desk: Desk) -> None:
    desk.send("buy", "limit", "2", price=90)
    desk.open(1, 80.0)
    assert desk.free("USDT") == desk.total("USDT") == Decimal(10_000) - Decimal("160.16")  # 2 x 80 x 1.001


def test_a_late_cancel_reports_how_the_order_ended_and_an_unknown_id_is_counted(desk: Desk) -> None:
    order = desk.send("sell", "market", trigger_price=100.0)
    heard = len(desk.reports)
    desk.exchange.cancel(order)
    assert (desk.last.status, desk.last.fill, desk.last.reason) == (OrderStatus.FILLED, None, "Unknown order sent.")
    desk.exchange.cancel("nobody")
    assert len(desk.reports) == heard + 1
    assert desk.exchange.statistics()["unknown_cancels"] == 2


def test_a_duplicate_of_an_open_order_changes_nothing(desk: Desk) -> None:
    order = desk.send("buy", "limit", price=90)
    desk.exchange.submit(desk.order("buy", "limit", price=90, client_order_id=order))
    assert (desk.last.status, desk.last.reason) == (OrderStatus.OPEN, "Duplicate order sent.")
    assert len(desk.exchange.open_orders()) == 1


def test_a_buy_accepted_before_any_price_was_known_expires_when_it_cannot_be_paid() -> None:
    desk = Desk()
    order = desk.send("buy", "market", "1000")
    desk.open(1, 100.0)
    assert desk.statuses(order) == [OrderStatus.OPEN, OrderStatus.EXPIRED]
    assert desk.last.reason == "Account has insufficient balance for requested action."
    assert desk.total("USDT") == 10_000


def test_the_exchange_keeps_no_reference_to_the_order(desk: Desk) -> None:
    order = desk.order("buy", "limit", price=90)
    desk.exchange.submit(order)
    order.quantity = Decimal(77)
    assert desk.exchange.open_orders()[0].quantity == Decimal("0.1")


# -- a listener that acts from within a report


def test_a_listener_may_cancel_what_the_same_event_would_fill(desk: Desk) -> None:
    desk.send("buy", "limit", price=99)
    other = desk.send("buy", "limit", price=98)

    def cancel_the_other(report: Report) -> None:
        if report.fill is not None and report.client_order_id == "c1":
            desk.exchange.cancel(other)

    desk.on_report = cancel_the_other
    desk.open(1, 90.0)
    assert desk.statuses(other) == [OrderStatus.OPEN, OrderStatus.CANCELED]
    assert len(desk.fills) == 1


def test_a_listener_may_cancel_an_order_it_is_just_told_of(desk: Desk) -> None:
    desk.on_report = lambda r: desk.exchange.cancel(r.client_order_id) if r.status is OrderStatus.OPEN else None
    order = desk.send("buy", "limit", price=99)
    assert desk.statuses(order) == [OrderStatus.OPEN, OrderStatus.CANCELED]
    assert desk.free("USDT") == 10_000


def test_a_listener_may_answer_a_fill_with_an_order_that_fills_at_once(desk: Desk) -> None:
    def sell_again(report: Report) -> None:
        if report.client_order_id == "c1" and report.fill is not None:
            desk.send("sell", "stop_loss", trigger_price=99.0)

    desk.on_report = sell_again
    desk.send("buy", "market")
    desk.open(1, 100.0)
    assert [fill.client_order_id for fill in desk.fills] == ["c1", "c2"]
    assert desk.total("BTC") == 1
