"""The grid: where it buys, how a fill is answered, and how it goes on after denials and restarts."""

import json
from decimal import Decimal
from pathlib import Path

import pytest

import strategies
from botd.domain.order import Side
from botd.strategy.registry import Registry
from tests.fakes.strategy_context import FakeContext

INFO = Registry(Path(strategies.__file__).parent).load("grid")
PARAMS = {"lower": 90, "upper": 110, "levels": 5}  # 90 95 100 105 110, 250 quote a cell of 1000


@pytest.fixture
def context():
    context = FakeContext(INFO.build(PARAMS), price=101.0)
    context.strategy.on_start(context)
    return context


def working(context):
    return sorted(
        (order.side.value, f"{order.price.normalize():f}", f"{order.remaining:.5f}") for order in context.orders()
    )


def by_price(context, price):
    return next(order for order in context.orders() if order.price == price)


def restarted(context):
    """Only what the ledger keeps comes back: the state as JSON."""
    context.state = json.loads(json.dumps(context.state))
    context.strategy = INFO.build(PARAMS)


def test_it_buys_on_the_levels_below_the_price_with_equal_quote(context):
    # 250 / (90 * 1.001) = 2.77500..., / (95 * 1.001) = 2.62894..., / (100 * 1.001) = 2.49750..., rounded down
    assert working(context) == [("buy", "100", "2.49750"), ("buy", "90", "2.77500"), ("buy", "95", "2.62894")]
    spent = sum(order.quantity * order.price for order in context.orders())
    assert spent * Decimal("1.001") <= 750


def test_it_does_not_buy_on_the_topmost_level():
    context = FakeContext(INFO.build(PARAMS), price=200.0)
    context.strategy.on_start(context)
    assert {order.price for order in context.orders()} == {90, 95, 100, 105}


def test_prices_are_on_the_tick():
    strategy = INFO.build({"lower": "1", "upper": "2", "levels": 4})
    context = FakeContext(strategy, price=5.0, capital="100")
    strategy.on_start(context)
    assert [str(order.price) for order in context.orders()] == ["1.00", "1.33", "1.66"]


def test_a_bought_level_is_answered_by_a_sell_one_level_up_and_back(context):
    context.fill(by_price(context, 100))
    assert ("sell", "105", "2.49750") in working(context)
    assert not [order for order in context.orders() if order.price == 100]
    context.fill(by_price(context, 105))
    assert ("buy", "100", "2.49750") in working(context)
    assert context.money == 1000 + Decimal("2.4975") * 5  # one step of the grid earned


def test_nothing_changes_while_nothing_fills(context):
    before = len(context.placed)
    for price in (101.0, 102.0, 101.5):
        context.candle(price)
    assert len(context.placed) == before


def test_a_level_that_comes_to_lie_below_the_price_is_bought_on_too(context):
    context.candle(106.0)
    assert by_price(context, 105).side == Side.BUY


def test_a_partial_fill_waits_for_its_rest(context):
    order = by_price(context, 100)
    context.fill(order, Decimal("1"))
    assert all(order.side == Side.BUY for order in context.orders())
    context.fill(order)
    assert by_price(context, 105).quantity == Decimal("2.49750")


def test_a_partly_filled_buy_that_was_cancelled_sells_what_it_got(context):
    order = by_price(context, 100)
    context.fill(order, Decimal("1"))
    context.cancel(order.client_order_id)
    context.candle(101.0)
    assert ("sell", "105", "1.00000") in working(context)


@pytest.mark.parametrize("denying", [True, "later"])
def test_a_denied_order_is_tried_again_at_the_next_candle(context, denying):
    context.denying = denying
    context.fill(by_price(context, 100))
    context.candle(101.0)
    assert all(order.side == Side.BUY for order in context.orders())
    context.denying = False
    context.candle(101.0)
    assert ("sell", "105", "2.49750") in working(context)


def test_after_a_restart_it_goes_on_where_it_was(context):
    context.fill(by_price(context, 100))
    before = working(context)
    restarted(context)
    context.candle(101.0)
    assert working(context) == before
    context.fill(by_price(context, 105))
    assert ("buy", "100", "2.49750") in working(context)


def test_orders_cancelled_by_a_stop_are_placed_again(context):
    before = working(context)
    context.working.clear()
    context.candle(101.0)
    assert working(context) == before


def test_fills_it_did_not_see_are_accounted_for(context):
    context.fill(by_price(context, 100), told=False)
    restarted(context)
    context.candle(101.0)
    assert ("sell", "105", "2.49750") in working(context)
    context.fill(by_price(context, 105), told=False)
    context.candle(101.0)
    assert ("buy", "100", "2.49750") in working(context)
    assert len(context.orders()) == 3


def test_after_a_manual_close_it_buys_again(context):
    context.fill(by_price(context, 100))
    context.cancel(by_price(context, 105).client_order_id)
    context.held = context.cost = Decimal(0)
    context.candle(101.0)
    assert {(order.side, order.price) for order in context.orders()} == {(Side.BUY, price) for price in (90, 95, 100)}


def test_after_a_stop_or_a_close_far_above_the_market_it_waits_for_the_price(context):
    context.fill(by_price(context, 100))
    context.working.clear()
    context.held = context.cost = Decimal(0)
    context.candle(92.0)
    assert {(order.side, order.price) for order in context.orders()} == {(Side.BUY, 90)}
    context.candle(99.0)
    assert {order.price for order in context.orders()} == {90, 95}


def test_a_fill_is_answered_at_once_wherever_the_price_went(context):
    context.fill(by_price(context, 100))
    context.last = 94.0
    context.fill(by_price(context, 105))
    assert ("buy", "100", "2.49750") in working(context)


def test_below_its_lowest_level_it_says_what_it_waits_for():
    context = FakeContext(INFO.build(PARAMS), price=80.0)
    context.strategy.on_start(context)
    assert context.orders() == [] and context.notes["waits"].endswith("80 is not above the lowest level, 90")


def test_an_order_whose_memory_was_lost_is_not_placed_twice(context):
    context.state.clear()
    context.candle(101.0)
    assert len(context.orders()) == 3
    context.fill(by_price(context, 100))
    assert ("sell", "105", "2.49750") in working(context)


def test_a_cell_below_the_minimum_notional_is_noted_and_not_sent():
    context = FakeContext(INFO.build(PARAMS), price=101.0, capital="10")
    context.strategy.on_start(context)
    assert context.placed == []
    assert "below the minimum" in context.notes["level_0"]


def test_a_fee_in_the_base_asset_sells_what_was_received(context):
    order = by_price(context, 100)
    tell = context.strategy.on_fill
    net = Decimal("2.49750") * Decimal("0.999")
    context.strategy.on_fill = lambda ctx, fill: tell(
        ctx,
        type(fill)(
            **{f: getattr(fill, f) for f in fill.__struct_fields__} | {"fee": fill.quantity - net, "fee_asset": "BTC"}
        ),
    )
    context.fill(order)
    assert by_price(context, 105).quantity == Decimal("2.49500")  # 2.4950025, rounded down
