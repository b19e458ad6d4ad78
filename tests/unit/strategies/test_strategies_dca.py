"""Cost averaging: when it buys, where its one sell stands, and how that is replaced."""

from decimal import Decimal
from pathlib import Path

import pytest

import strategies
from botd.domain.order import Side
from botd.strategy.registry import Registry
from tests.fakes.strategy_context import FakeContext

INFO = Registry(Path(strategies.__file__).parent).load("dca")
HOUR = 3_600_000


@pytest.fixture
def context():
    return FakeContext(INFO.build({"amount": 100, "every": "1h", "take_profit": "3%"}), price=100.0)


def buys(context):
    return [order for order in context.placed if order.side == Side.BUY]


def sells(context):
    return [(str(order.price), f"{order.remaining:.5f}") for order in context.orders() if order.side == Side.SELL]


def test_it_buys_at_the_first_candle_and_then_every_interval(context):
    for _ in range(121):  # minutes 1 to 121: buys at minute 1, 61 and 121
        context.candle(100.0)
    assert len(buys(context)) == 3
    assert all(order.price is None and order.quantity == 1 for order in buys(context))


def test_a_turn_comes_when_it_is_due_also_where_candles_are_missing(context):
    context.candle(100.0)  # minute 1, next 61
    context.candle(100.0, after_ms=90 * 60_000)  # minute 91: late, next 121
    context.candle(100.0, after_ms=29 * 60_000)  # minute 120
    assert len(buys(context)) == 2
    context.candle(100.0)
    assert len(buys(context)) == 3


def test_one_sell_of_everything_stands_at_the_target_above_average_cost(context):
    context.candle(100.0)
    context.candle(100.0)  # the market buy fills: 1.00000 at 100
    assert sells(context) == [("103.00", "1.00000")]
    context.candle(80.0, after_ms=HOUR)  # buys 100 / 80 = 1.25
    context.candle(80.0)
    # cost (100 + 100) / 2.25 = 88.8889, target 91.5556, up to the next tick
    assert sells(context) == [("91.56", "2.25000")]


def test_a_target_sold_begins_anew(context):
    context.candle(100.0)
    context.candle(100.0)
    context.candle(103.5)
    assert context.held == 0
    assert sells(context) == []
    context.candle(50.0, after_ms=HOUR)
    context.candle(50.0)
    assert sells(context) == [("51.50", "2.00000")]


def test_the_old_sell_must_be_gone_before_the_new_one_is_placed(context):
    context.candle(100.0)
    context.candle(100.0)
    context.slow_cancel = True
    context.candle(80.0, after_ms=HOUR)
    context.candle(80.0)
    old = next(order for order in context.orders() if order.side == Side.SELL)
    assert old.cancel_requested
    assert sells(context) == [("103.00", "1.00000")]
    context.candle(80.0)  # still there: asked once only, nothing placed
    assert sells(context) == [("103.00", "1.00000")]
    del context.working[old.client_order_id]
    context.candle(80.0)
    assert sells(context) == [("91.56", "2.25000")]


def test_a_partly_filled_sell_stays_where_it_is(context):
    context.candle(100.0)
    context.candle(100.0)
    placed = len(context.placed)
    context.fill(next(order for order in context.orders() if order.side == Side.SELL), Decimal("0.4"))
    context.candle(100.0)
    assert len(context.placed) == placed
    assert sells(context) == [("103.00", "0.60000")]


def test_without_cash_a_turn_passes(context):
    context.money = Decimal("100.05")  # 100 and its fee of 0.1 do not fit
    context.candle(100.0)
    assert buys(context) == []
    assert "cash is 100.05" in context.notes["buy"]
    context.money = Decimal("1000")
    context.candle(100.0)
    assert buys(context) == []  # the turn is over
    context.candle(100.0, after_ms=HOUR - 60_000)
    assert len(buys(context)) == 1


def test_a_denied_buy_passes_until_the_next_turn(context):
    context.denying = True
    context.candle(100.0)
    context.denying = False
    context.candle(100.0)
    assert buys(context) == []
    context.candle(100.0, after_ms=HOUR - 60_000)
    assert len(buys(context)) == 1


def test_a_denied_sell_is_tried_again_at_the_next_candle(context):
    context.candle(100.0)
    context.denying = True
    context.candle(100.0)
    assert sells(context) == []
    context.denying = False
    context.candle(100.0)
    assert sells(context) == [("103.00", "1.00000")]


def test_an_amount_below_the_minimum_notional_is_noted_and_not_sent():
    context = FakeContext(INFO.build({"amount": 3}), price=100.0)
    context.candle(100.0)
    assert context.placed == []
    assert "below the minimum" in context.notes["buy"]


def test_after_a_restart_the_schedule_and_the_sell_stand(context):
    context.candle(100.0)
    context.candle(100.0)
    context.strategy = INFO.build({"amount": 100, "every": "1h", "take_profit": "3%"})
    context.candle(100.0)
    assert len(buys(context)) == 1
    assert sells(context) == [("103.00", "1.00000")]
