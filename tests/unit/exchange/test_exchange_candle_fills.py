"""Fills on candle feeds, by BACKTEST.md."""

from __future__ import annotations

from decimal import Decimal

import pytest

from botd.domain.candle import Candle
from botd.domain.order import OrderStatus, Purpose
from tests.fakes.exchange_desk import MINUTE, START, Desk


@pytest.fixture
def desk() -> Desk:
    """Candle 0 (100 100 100 100) has just closed; the clock stands at minute 1."""
    desk = Desk(slippage=Decimal("0.01"))
    desk.open(0, 100.0)
    desk.close(0, 100.0, 100.0, 100.0, 100.0)
    return desk


def prices(desk: Desk) -> list[Decimal]:
    return [fill.price for fill in desk.fills]


def test_a_market_order_waits_for_the_next_open_of_its_lane_and_slips(desk: Desk) -> None:
    order = desk.send("buy", "market")
    assert desk.statuses(order) == [OrderStatus.OPEN]
    desk.exchange.on_open("BTC/USDT", "5m", START + MINUTE, 50.0)
    assert desk.fills == []
    desk.open(1, 110.0)
    (fill,) = desk.fills
    # 110 x 1.01 as float: 111.10000000000001; fee 0.2 % of 0.1 x that
    assert fill.price == Decimal(repr(110.0 * (1.0 + 0.01)))
    assert fill.fee == fill.notional * Decimal("0.002")
    assert fill.time_ms == START + MINUTE
    assert desk.statuses(order) == [OrderStatus.OPEN, OrderStatus.FILLED]


def test_a_market_sell_slips_down(desk: Desk) -> None:
    desk.send("sell", "market")
    desk.open(1, 110.0)
    assert prices(desk) == [Decimal(repr(110.0 * (1.0 - 0.01)))]


def test_a_market_order_is_not_filled_by_the_close_of_the_candle_it_came_in(desk: Desk) -> None:
    desk.open(1, 100.0)
    desk.send("buy", "market")
    desk.close(1, 100.0, 120.0, 90.0, 110.0)
    assert desk.fills == []
    desk.open(2, 111.0)
    assert desk.fills[0].time_ms == START + 2 * MINUTE


def test_an_order_that_an_open_fill_caused_waits_for_the_next_open(desk: Desk) -> None:
    desk.on_report = lambda report: (
        desk.send("sell", "market") if report.client_order_id == "c1" and report.fill else None
    )
    desk.send("buy", "market")
    desk.open(1, 100.0)
    assert len(desk.fills) == 1
    desk.open(2, 105.0)
    assert len(desk.fills) == 2


@pytest.mark.parametrize(
    ("kind", "price", "fee_rate"),
    [
        ("stop_loss", 95.0 * (1.0 - 0.01), "0.002"),
        ("market", 95.0 * (1.0 - 0.01), "0.002"),
        ("take_profit", 95.0, "0.001"),
    ],
)
def test_an_order_with_a_trigger_price_fills_within_submit(desk: Desk, kind: str, price: float, fee_rate: str) -> None:
    order = desk.send("sell", kind, trigger_price=95.0, intent_reason="stop_loss", purpose=Purpose.PROTECTION)
    assert desk.statuses(order) == [OrderStatus.FILLED]
    (fill,) = desk.fills
    assert fill.price == Decimal(repr(price))
    assert fill.fee == fill.notional * Decimal(fee_rate)
    assert fill.time_ms == START  # caused by the candle that closes now, so it happened in that candle
    assert desk.exchange.open_orders() == []


def test_a_stop_at_the_open_fills_in_the_candle_that_opens(desk: Desk) -> None:
    desk.open(1, 90.0)
    desk.send("sell", "stop_loss", trigger_price=90.0, intent_reason="stop_loss")
    assert desk.fills[0].time_ms == START + MINUTE


def test_a_manual_close_fills_in_the_candle_under_way(desk: Desk) -> None:
    desk.send("sell", "market", trigger_price=100.0, intent_reason="manual")
    assert desk.fills[0].time_ms == START + MINUTE


def test_a_limit_order_sent_at_a_close_works_from_the_next_open(desk: Desk) -> None:
    desk.send("buy", "limit", price=99)
    desk.exchange.on_closed("BTC/USDT", "1m", _candle(0, 100, 100, 50, 100))  # the close it was sent in, again
    assert desk.fills == []
    desk.open(1, 98.5)
    (fill,) = desk.fills
    assert (fill.price, fill.fee) == (Decimal("98.5"), Decimal("0.00985"))  # at the open, maker fee 0.1 %


def test_a_limit_order_sent_at_an_open_works_from_that_candles_close(desk: Desk) -> None:
    desk.open(1, 100.0)
    desk.send("buy", "limit", price="99.5")
    desk.close(1, 100.0, 101.0, 99.5, 100.0)
    (fill,) = desk.fills
    assert (fill.price, fill.time_ms) == (Decimal("99.5"), START + MINUTE)


def test_a_limit_order_sent_in_the_middle_of_a_larger_candle_waits_for_the_next(desk: Desk) -> None:
    desk.send("buy", "limit", price=99, interval="5m")  # minute 1 of the 5m candle that opened at minute 0
    desk.clock.advance(START + 5 * MINUTE)
    desk.exchange.on_closed("BTC/USDT", "5m", _candle(0, 100, 100, 90, 100))
    assert desk.fills == []
    desk.exchange.on_open("BTC/USDT", "5m", START + 5 * MINUTE, 100.0)
    desk.clock.advance(START + 10 * MINUTE)
    desk.exchange.on_closed("BTC/USDT", "5m", _candle(5, 100, 100, 90, 100))
    assert prices(desk) == [Decimal(99)]


def test_limit_orders_fill_in_price_order_from_the_open(desk: Desk) -> None:
    for side, price in [("sell", 106), ("buy", 95), ("sell", 102), ("buy", 98), ("buy", 80)]:
        desk.send(side, "limit", price=price)
    desk.open(1, 100.0)
    desk.close(1, 100.0, 106.0, 90.0, 100.0)
    assert prices(desk) == [Decimal(98), Decimal(95), Decimal(102), Decimal(106)]
    assert [order.price for order in desk.exchange.open_orders()] == [Decimal(80)]


def test_limits_that_the_open_passed_fill_at_the_open(desk: Desk) -> None:
    desk.send("buy", "limit", price=98)
    desk.send("buy", "limit", price=99)
    desk.send("sell", "limit", price=101)
    desk.open(1, 97.25)
    assert prices(desk) == [Decimal("97.25")] * 2
    assert [fill.client_order_id for fill in desk.fills] == ["c2", "c1"]  # the better price first
    desk.open(2, 103.5)
    assert prices(desk)[2:] == [Decimal("103.5")]


def test_fills_are_whole_even_at_volume_zero(desk: Desk) -> None:
    desk.send("buy", "limit", price=99)
    desk.open(1, 100.0)
    desk.close(1, 100.0, 100.0, 99.0, 99.0, volume=0.0)
    assert desk.fills[0].quantity == Decimal("0.1")


@pytest.mark.parametrize(
    ("side", "kind", "stop", "open_", "high", "low", "price", "rate"),
    [
        ("sell", "stop_loss", 95, 100.0, 101.0, 94.0, 95.0 * 0.99, "0.002"),
        ("sell", "stop_loss", 95, 93.0, 101.0, 92.0, 93.0 * 0.99, "0.002"),  # gap: at the open
        ("sell", "take_profit", 105, 100.0, 105.0, 99.0, 105.0, "0.001"),
        ("sell", "take_profit", 105, 107.0, 108.0, 99.0, 107.0, "0.001"),
        ("buy", "stop_loss", 105, 100.0, 106.0, 99.0, 105.0 * 1.01, "0.002"),
        ("buy", "take_profit", 95, 100.0, 101.0, 95.0, 95.0, "0.001"),
    ],
)
def test_resting_stops_and_targets(
    desk: Desk, side: str, kind: str, stop: int, open_: float, high: float, low: float, price: float, rate: str
) -> None:
    desk.send(side, kind, stop_price=stop)
    desk.open(1, open_)
    desk.close(1, open_, high, low, 100.0)
    (fill,) = desk.fills
    assert float(fill.price) == pytest.approx(price, rel=1e-15)
    assert fill.fee == fill.notional * Decimal(rate)
    assert fill.time_ms == START + MINUTE


def test_a_stop_fills_before_a_target_of_the_same_candle(desk: Desk) -> None:
    desk.send("sell", "take_profit", stop_price=105)
    desk.send("sell", "stop_loss", stop_price=95)
    desk.open(1, 100.0)
    desk.close(1, 100.0, 110.0, 90.0, 100.0)
    assert [fill.client_order_id for fill in desk.fills] == ["c2", "c1"]


def test_a_stop_limit_fills_where_its_limit_allows_the_slip(desk: Desk) -> None:
    desk.send("sell", "stop_loss_limit", stop_price=95, price="94.5")
    desk.open(1, 100.0)
    desk.close(1, 100.0, 101.0, 90.0, 92.0)
    assert prices(desk) == [Decimal("94.5")]  # 95 x 0.99 = 94.05 is below the limit: the limit


def test_a_stop_limit_that_gapped_past_its_limit_rests_and_fills_at_its_price_later(desk: Desk) -> None:
    desk.send("sell", "stop_loss_limit", stop_price=95, price=94)
    desk.open(1, 90.0)
    assert desk.fills == []
    desk.close(1, 90.0, 93.0, 89.0, 91.0)
    desk.open(2, 92.0)
    desk.close(2, 92.0, 94.0, 91.0, 93.0)
    (fill,) = desk.fills
    assert (fill.price, fill.fee) == (Decimal(94), Decimal("0.0094"))  # as a resting limit: maker


def test_a_take_profit_limit_fills_at_the_target(desk: Desk) -> None:
    desk.send("sell", "take_profit_limit", stop_price=105, price=104)
    desk.open(1, 100.0)
    desk.close(1, 100.0, 105.5, 99.0, 105.0)
    assert prices(desk) == [Decimal(105)]


def test_a_hole_in_the_data_is_spanned_by_a_waiting_order(desk: Desk) -> None:
    desk.send("buy", "market")
    desk.open(300, 123.0)
    assert desk.fills[0].time_ms == START + 300 * MINUTE


def test_prices_of_fills_are_not_rounded_to_the_tick(desk: Desk) -> None:
    desk.send("buy", "market")
    desk.open(1, 33.33)
    assert prices(desk) == [Decimal(repr(33.33 * 1.01))]


def _candle(minute: int, open_: float, high: float, low: float, close: float) -> Candle:
    return Candle(START + minute * MINUTE, float(open_), float(high), float(low), float(close), 1.0)


# -- volume-limited fills


@pytest.fixture
def thin() -> Desk:
    """A tenth of each candle's volume may be ours."""
    desk = Desk(max_volume_pct=Decimal("0.1"))
    desk.close(0, 100.0, 100.0, 100.0, 100.0)
    return desk


def test_a_market_order_takes_its_share_of_each_candle_at_the_open_price(thin: Desk) -> None:
    order = thin.send("buy", "market", "0.5")
    thin.open(1, 101.0)
    assert thin.fills == []  # the volume is known at the close only
    thin.close(1, 101.0, 110.0, 90.0, 105.0, volume=3.0)
    thin.close(2, 102.0, 110.0, 90.0, 105.0, volume=0.0)
    thin.close(3, 103.0, 110.0, 90.0, 105.0, volume=100.0)
    assert [(fill.quantity, fill.price) for fill in thin.fills] == [
        (Decimal("0.3"), Decimal(101)),
        (Decimal("0.2"), Decimal(103)),
    ]
    assert thin.statuses(order) == [OrderStatus.OPEN, OrderStatus.PARTIAL, OrderStatus.FILLED]


def test_the_share_is_one_for_all_orders_of_the_candle(thin: Desk) -> None:
    thin.send("buy", "limit", "0.2", price=99)
    thin.send("buy", "limit", "0.2", price=98)
    thin.open(1, 100.0)
    thin.close(1, 100.0, 100.0, 90.0, 95.0, volume=3.0)
    assert [(fill.client_order_id, fill.quantity) for fill in thin.fills] == [
        ("c1", Decimal("0.2")),
        ("c2", Decimal("0.1")),
    ]
    assert thin.free("USDT") == Decimal(10_000) - Decimal("19.8198") - Decimal("9.8098") - Decimal("9.8098")


def test_the_rest_of_a_partly_filled_order_can_be_cancelled(thin: Desk) -> None:
    order = thin.send("sell", "limit", "0.5", price=101)
    thin.close(1, 100.0, 102.0, 99.0, 100.0, volume=1.0)
    thin.exchange.cancel(order)
    assert thin.statuses(order) == [OrderStatus.OPEN, OrderStatus.PARTIAL, OrderStatus.CANCELED]
    assert thin.free("BTC") == thin.total("BTC") == Decimal("0.9")
