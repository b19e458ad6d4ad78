"""Fills on tick feeds: by the quote, after the latency."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from botd.domain.order import OrderStatus
from tests.fakes.exchange_desk import START, Desk


def desk_with(**settings: Any) -> Desk:
    desk = Desk(candle_feed=False, slippage=Decimal("0.01"), **settings)
    desk.tick(99.0, 101.0)
    return desk


def prices(desk: Desk) -> list[Decimal]:
    return [fill.price for fill in desk.fills]


@pytest.mark.parametrize(("side", "price"), [("buy", 101.0 * 1.01), ("sell", 99.0 * 0.99)])
def test_a_market_order_fills_at_once_at_the_quote(side: str, price: float) -> None:
    desk = desk_with()
    order = desk.send(side, "market")
    assert desk.statuses(order) == [OrderStatus.FILLED]
    assert prices(desk) == [Decimal(repr(price))]
    assert desk.fills[0].time_ms == START


def test_before_the_first_quote_a_market_order_waits_for_it() -> None:
    desk = Desk(candle_feed=False)
    order = desk.send("buy", "market")
    assert desk.statuses(order) == [OrderStatus.OPEN]
    desk.tick(99.0, 101.0)
    assert prices(desk) == [Decimal(101)]


def test_latency_is_trading_time_and_the_fill_is_at_the_quote_then() -> None:
    desk = desk_with(latency_ms=250)
    order = desk.send("buy", "market")
    desk.clock.advance(START + 249)
    desk.tick(109.0, 110.0)
    assert desk.statuses(order) == [OrderStatus.OPEN]
    desk.clock.advance(START + 250)
    desk.tick(119.0, 120.0)
    assert prices(desk) == [Decimal(repr(120.0 * 1.01))]


def test_in_a_quiet_market_a_delayed_order_arrives_with_any_tick_or_the_timer() -> None:
    desk = desk_with(latency_ms=250)
    desk.send("sell", "market")
    desk.send("sell", "market")
    desk.exchange.cancel("c2")
    desk.clock.advance(START + 1000)
    desk.tick(500.0, 501.0, symbol="BNB/USDT")
    assert prices(desk) == [Decimal(repr(99.0 * 0.99))]
    desk.exchange.settle_due()
    assert len(desk.fills) == 1


def test_a_resting_limit_fills_at_its_price_when_the_quote_reaches_it() -> None:
    desk = desk_with()
    buy = desk.send("buy", "limit", price=100)
    sell = desk.send("sell", "limit", price=102)
    assert desk.statuses(buy) == desk.statuses(sell) == [OrderStatus.OPEN]
    desk.tick(97.0, 98.0)
    assert prices(desk) == [Decimal(100)]
    desk.tick(104.0, 105.0)
    assert prices(desk) == [Decimal(100), Decimal(102)]
    assert desk.fills[0].fee == Decimal("0.01")  # maker: 0.1 % of 10


def test_a_limit_that_crosses_on_arrival_fills_at_the_quote() -> None:
    desk = desk_with()
    desk.send("buy", "limit", price=105)
    assert prices(desk) == [Decimal(101)]


def test_stops_trigger_by_the_last_price_or_the_bid_and_fill_at_the_bid() -> None:
    desk = desk_with()
    desk.send("sell", "stop_loss", stop_price=95)
    desk.tick(96.0, 97.0, last=95.0)
    assert prices(desk) == [Decimal(repr(96.0 * 0.99))]
    desk.tick(99.0, 101.0)
    desk.send("sell", "stop_loss", stop_price=95)
    desk.tick(94.0, 97.0, last=96.0)
    assert prices(desk)[1:] == [Decimal(repr(94.0 * 0.99))]


def test_a_target_needs_the_bid_and_pays_the_maker_fee() -> None:
    desk = desk_with()
    desk.send("sell", "take_profit", stop_price=105)
    desk.tick(104.0, 106.0, last=106.0)
    assert desk.fills == []
    desk.tick(105.5, 106.0)
    assert (prices(desk), desk.fills[0].fee) == ([Decimal("105.5")], Decimal("0.01055"))


def test_a_stop_limit_that_is_jumped_rests_at_its_limit() -> None:
    desk = desk_with()
    desk.send("sell", "stop_loss_limit", stop_price=95, price=94)
    desk.tick(90.0, 91.0)
    assert desk.fills == []
    desk.tick(96.0, 97.0)
    assert prices(desk) == [Decimal(94)]


@pytest.mark.parametrize(
    ("kind", "price"), [("stop_loss", 99.0 * 0.99), ("market", 99.0 * 0.99), ("take_profit", 99.0)]
)
def test_an_order_with_a_trigger_price_sells_at_the_bid(kind: str, price: float) -> None:
    desk = desk_with()
    order = desk.send("sell", kind, trigger_price=98.0)
    assert desk.statuses(order) == [OrderStatus.FILLED]
    assert prices(desk) == [Decimal(repr(price))]


def test_candles_fill_nothing_on_a_tick_feed() -> None:
    desk = desk_with()
    desk.send("buy", "limit", price=95)
    desk.open(1, 50.0)
    desk.close(1, 50.0, 50.0, 50.0, 50.0)
    assert desk.fills == []


def test_a_listener_may_act_from_within_a_tick() -> None:
    desk = desk_with()
    for price in (98, 97, 96):
        desk.send("buy", "limit", price=price)
    desk.on_report = lambda r: desk.exchange.cancel("c2") if r.client_order_id == "c1" and r.fill else None
    desk.tick(90.0, 91.0)
    assert [fill.client_order_id for fill in desk.fills] == ["c1", "c3"]
