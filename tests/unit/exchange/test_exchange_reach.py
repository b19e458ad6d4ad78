"""Prices that reach no open order of a lane are passed over: by any other, and by their fills, nobody can tell."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from botd.domain.order import OrderType, Side
from botd.exchange import matching
from botd.exchange.simulated_book import Book, Reach, RestingOrder

LANE = ("BTC/USDT", "1m")
_levels = st.integers(1, 60).map(lambda cents: Decimal(cents) / 10)
_kinds = st.sampled_from(list(OrderType))


@st.composite
def orders(draw: st.DrawFn) -> RestingOrder:
    """Draw an order that rests, of any kind; stops that were triggered have a limit, as on a feed of candles."""
    kind = draw(_kinds)
    return RestingOrder(
        client_order_id=str(draw(st.uuids())),
        exchange_order_id=1,
        bot=1,
        symbol=LANE[0],
        interval=LANE[1],
        lane=LANE,
        side=draw(st.sampled_from(list(Side))),
        type=kind,
        quantity=Decimal(1),
        price=draw(_levels) if kind.has_limit else None,
        stop_price=draw(_levels) if kind.has_trigger else None,
        created_ms=0,
        active_ms=0,
        asset="USDT",
        unit=Decimal(1),
        triggered=draw(st.booleans()) if kind.has_trigger and kind.has_limit else False,
    )


@given(st.lists(orders(), min_size=1, max_size=6), st.integers(1, 60), st.integers(0, 20), st.integers(0, 20))
def test_a_bar_out_of_reach_does_nothing_to_any_order(
    resting: list[RestingOrder], low: int, first: int, more: int
) -> None:
    bar = matching.Bar((low + first) / 10, (low + first + more) / 10, low / 10)
    touched = matching.reach_of(resting).is_touched(bar.low, bar.high)
    outcomes = [matching.in_bar(order, bar, 0.0) for order in resting]
    assert touched or outcomes == [None] * len(resting)
    if all(order.type is not OrderType.MARKET for order in resting):  # and it is not merely always in reach
        assert touched == any(outcome is not None for outcome in outcomes)


def test_the_book_forgets_what_was_computed_when_an_order_comes_changes_or_goes() -> None:
    book = Book()
    order = RestingOrder(
        client_order_id="a", exchange_order_id=1, bot=1, symbol=LANE[0], interval=LANE[1], lane=LANE, side=Side.BUY,
        type=OrderType.LIMIT, quantity=Decimal(1), price=Decimal(5), stop_price=None, created_ms=0, active_ms=0,
        asset="USDT", unit=Decimal(5),
    )  # fmt: skip
    for change in (book.add, book.touch, lambda order: book.finish(order, order.status)):
        book.reaches[LANE] = Reach(1.0, 2.0)
        change(order)
        assert not book.reaches
