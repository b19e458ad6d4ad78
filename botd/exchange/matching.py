"""When an open order fills, and at which price: pure functions of one order and one market event.

The formulas are those of :mod:`botd.domain.rules`; this file only says which one an order type uses, and
mirrors them for the other side. It changes no order and books nothing.

A candle event is a :class:`Bar`: an OPEN is a bar of a single price. Where a candle leaves the order of
events open, the pessimistic one is assumed: stops before targets, and a stop-limit that was only
triggered in a candle rests until the next one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from decimal import Decimal
from typing import NamedTuple, Protocol

from botd.domain import rules
from botd.domain.candle import bucket_start, interval_ms
from botd.domain.order import Order, OrderType, Side
from botd.exchange.simulated_book import Reach, RestingOrder


class Quote(Protocol):
    """The latest prices of a symbol, in the shape the market room has them (this room may not import it)."""

    @property
    def bid(self) -> float: ...

    @property
    def ask(self) -> float: ...

    @property
    def last(self) -> float: ...


class Bar(NamedTuple):
    """The prices of one candle event that orders are held against."""

    open: float
    high: float
    low: float


class Match(NamedTuple):
    """A fill that the market allows: its exact price, and whether it pays the maker fee."""

    price: Decimal
    maker: bool


class Triggered(NamedTuple):
    """The stop of a stop-limit was reached, but its limit does not fill yet."""


TRIGGERED = Triggered()
Outcome = Match | Triggered | None

_STOPS = (OrderType.STOP_LOSS, OrderType.STOP_LOSS_LIMIT)
_TARGETS = (OrderType.TAKE_PROFIT, OrderType.TAKE_PROFIT_LIMIT)
_IN_CANDLE = frozenset({"stop_loss", "trailing_stop", "take_profit", "time_stop"})
"""Reasons of orders that a candle event caused: they fill in that candle."""


def exact(price: float) -> Decimal:
    """Return the float as the decimal that is written for it; never rounded to the tick."""
    return Decimal(repr(float(price)))


def slipped(side: Side, price: float, slippage: float) -> float:
    """Return the price of a market fill on ``side``."""
    return rules.buy_price(price, slippage) if side is Side.BUY else rules.sell_price(price, slippage)


def at_once(kind: OrderType, side: Side, price: float, slippage: float) -> Match:
    """Return the fill of an order that names the price it was triggered at.

    Targets and limits fill at that price and pay the maker fee; all else slips and pays the taker fee.
    """
    if kind in _TARGETS or kind.has_limit:
        return Match(exact(price), True)
    return Match(exact(slipped(side, price, slippage)), False)


def in_bar(order: RestingOrder, bar: Bar, slippage: float) -> Outcome:
    """Return what a candle event does to an order. A market order fills at the open."""
    if order.type is OrderType.MARKET:
        return Match(exact(slipped(order.side, bar.open, slippage)), False)
    if _waits_for_stop(order):
        assert order.stop_price is not None
        reached = _reached(_falls(order), bar, float(order.stop_price))
        return None if math.isnan(reached) else _after_trigger(order, reached, slippage)
    return _limit_in_bar(order, bar)


def reach_of(orders: Iterable[RestingOrder]) -> Reach:
    """Return which prices matter to any of these orders: a bar beyond them does nothing to anyone."""
    falls, rises = -math.inf, math.inf
    for order in orders:
        waits = _waits_for_stop(order)
        level = order.stop_price if waits else order.price
        if level is None:
            return Reach(math.inf, -math.inf)  # a market order: any price
        if _falls(order) if waits else order.side is Side.BUY:
            falls = max(falls, float(level))
        else:
            rises = min(rises, float(level))
    return Reach(falls, rises)


def at_quote(order: RestingOrder, quote: Quote, slippage: float) -> Outcome:
    """Return what a quote does to an order that has arrived at the exchange.

    A limit that crosses on arrival fills at the quote; one that rested fills at its own price.
    """
    price = quote.ask if order.side is Side.BUY else quote.bid
    if order.type is OrderType.MARKET:
        return Match(exact(slipped(order.side, price, slippage)), False)
    if _waits_for_stop(order):
        return _after_trigger(order, price, slippage) if _quote_triggers(order, quote, price) else None
    if not order.type.has_limit:
        return _after_trigger(order, price, slippage)
    assert order.price is not None
    if not _within(order, price):
        return None
    return Match(order.price if order.arrived else exact(price), True)


def would_trigger(kind: OrderType, side: Side, stop: float, last: float) -> bool:
    """Tell whether a stop order's stop price is already passed by the last price."""
    return last <= stop if _direction_falls(kind, side) else last >= stop


def sells_above(order: RestingOrder) -> bool:
    """Tell whether an order waits for a price to rise and sells there: a limit sale, a sale at a target.

    Where a candle reaches both such a price and the stop of a position, the stop came first (pessimistic).
    """
    if order.side is not Side.SELL or order.type is OrderType.MARKET:
        return False
    return not _waits_for_stop(order) or order.type in _TARGETS


def fill_time(order: Order, now: int, closing: int | None) -> int:
    """Return the open time of the candle that an order with a trigger price fills in: of the one ``closing`` now
    where that candle caused it, else of the one under way."""
    length = interval_ms(order.interval)
    if order.intent_reason in _IN_CANDLE and closing is not None and closing + length == now:
        return closing
    return bucket_start(now, length)


def turn(order: RestingOrder) -> tuple[int, float, int]:
    """Return the sort key of one event's fills.

    Waiting market orders, stops, targets, buys from the open downwards, sells from the open upwards;
    then by arrival.
    """
    if order.type is OrderType.MARKET:
        return 0, 0.0, order.exchange_order_id
    if _waits_for_stop(order):
        return (1 if order.type in _STOPS else 2), 0.0, order.exchange_order_id
    price = float(order.price or 0)
    return (3, -price, order.exchange_order_id) if order.side is Side.BUY else (4, price, order.exchange_order_id)


def _waits_for_stop(order: RestingOrder) -> bool:
    return order.type.has_trigger and not order.triggered


def _direction_falls(kind: OrderType, side: Side) -> bool:
    """A sell stop and a buy target wait for the price to fall."""
    return (kind in _STOPS) == (side is Side.SELL)


def _falls(order: RestingOrder) -> bool:
    return _direction_falls(order.type, order.side)


def _reached(falling: bool, bar: Bar, level: float) -> float:
    """Return the price at which a level was met in a bar: the open where it gapped through, else the level."""
    return rules.stop_fill(bar.open, bar.low, level) if falling else rules.target_fill(bar.open, bar.high, level)


def _after_trigger(order: RestingOrder, price: float, slippage: float) -> Outcome:
    """Return what becomes of an order whose stop was reached with the market at ``price``."""
    stop = order.type in _STOPS
    if not order.type.has_limit:
        return Match(exact(slipped(order.side, price, slippage) if stop else price), not stop)
    assert order.price is not None
    if not _within(order, price):
        return TRIGGERED
    if not stop:
        return Match(exact(price), True)
    filled = exact(slipped(order.side, price, slippage))
    worst = min(filled, order.price) if order.side is Side.BUY else max(filled, order.price)
    return Match(worst, False)


def _within(order: RestingOrder, price: float) -> bool:
    """Tell whether the limit allows a fill at ``price``."""
    limit = float(order.price or 0)
    return price <= limit if order.side is Side.BUY else price >= limit


def _limit_in_bar(order: RestingOrder, bar: Bar) -> Outcome:
    assert order.price is not None
    limit = float(order.price)
    met = _reached(order.side is Side.BUY, bar, limit)
    if math.isnan(met):
        return None
    return Match(order.price if met == limit else exact(met), True)


def _quote_triggers(order: RestingOrder, quote: Quote, price: float) -> bool:
    """Stops trigger by the last price or by the side that would fill them, targets by the latter only."""
    assert order.stop_price is not None
    stop = float(order.stop_price)
    if order.type in _TARGETS:
        return price <= stop if _falls(order) else price >= stop
    if _falls(order):
        return price <= stop or 0 < quote.last <= stop
    return price >= stop or quote.last >= stop
