"""May an order enter the simulated exchange's book? Refusals in the exchange's words, and reservations.

Pure of the book: it is told the last price and the counts it needs, and changes nothing.
"""

from __future__ import annotations

import math
from decimal import Decimal

import msgspec

from botd.domain import rules
from botd.domain.amounts import EXACT
from botd.domain.instrument import ZERO, Instrument
from botd.domain.order import Order, OrderType, Purpose, Side
from botd.exchange import matching
from botd.exchange.simulated_account import FeePolicy

INSUFFICIENT = "Account has insufficient balance for requested action."
NO_SYMBOL = "Invalid symbol."
CLOSED = "Market is closed."
MISSING = "Mandatory parameter '{}' was not sent, was empty/null, or malformed."
TRIGGERS = "Order would trigger immediately."
TAKES = "Order would immediately match and take."
FILTER = "Filter failure: {}"
DUPLICATE = "Duplicate order sent."
UNKNOWN_ORDER = "Unknown order sent."

TOLERANCE = Decimal("1e-9")
"""The relative excess of a buy's cost over the free balance that counts as binary rounding, not as lack."""


def refusal(
    order: Order, instrument: Instrument | None, last: float | None, *, resting: int, algo: int, min_notional: bool
) -> str:
    """Return why the exchange refuses ``order``, balances apart; empty when it takes it.

    ``last`` is the last price of the symbol, ``resting`` and ``algo`` count the open orders there.
    ``min_notional`` False lets an order below the minimum notional pass.
    """
    if instrument is None:
        return NO_SYMBOL
    if instrument.status != "TRADING":
        return CLOSED
    return (
        _malformed(order)
        or _filters(order, instrument, last, resting, algo, min_notional)
        or _impossible_at(order, last if order.trigger_price is None else None)
    )


def may_leave_small(order: Order, candle_feed: bool) -> bool:
    """Tell whether the minimum notional is waived: exits of candle feeds.

    The backtest's rules sell every position; an exit refused for its size would leave a position that
    no stop can end.
    """
    return candle_feed and order.purpose is not Purpose.ENTRY


def reservation(
    order: Order, instrument: Instrument, last: float | None, fees: FeePolicy, slippage: float
) -> tuple[str, Decimal, bool]:
    """Return (asset, amount for one unit of quantity, whether a price was known).

    A sell reserves what it sells. A buy reserves what it costs at the worst price it may now expect,
    with the fee where that may fall due in quote.
    """
    if order.side is Side.SELL:
        return instrument.base, Decimal(1), True
    price = _worst_price(order, last, slippage)
    if price is None:
        return instrument.quote, ZERO, False
    rate = ZERO
    if fees.in_quote(instrument, order.side):
        rate = fees.maker if order.type.has_limit and order.type is not OrderType.STOP_LOSS_LIMIT else fees.taker
    return instrument.quote, EXACT.multiply(price, EXACT.add(Decimal(1), rate)), True


def affordable(side: Side, needed: Decimal, free: Decimal) -> bool:
    """Tell whether ``free`` covers ``needed``; only a buy is forgiven rounding, a holding is never oversold."""
    if needed <= free:
        return True
    return side is Side.BUY and EXACT.multiply(needed, EXACT.subtract(Decimal(1), TOLERANCE)) <= free


def _worst_price(order: Order, last: float | None, slippage: float) -> Decimal | None:
    if order.type.has_limit:
        return order.price
    if order.trigger_price is not None:
        return matching.at_once(order.type, order.side, order.trigger_price, slippage).price
    basis = float(order.stop_price) if order.type.has_trigger and order.stop_price is not None else last
    return None if basis is None else matching.exact(rules.buy_price(basis, slippage))


def _malformed(order: Order) -> str:
    if order.type.has_limit and order.price is None:
        return MISSING.format("price")
    if order.trigger_price is not None:
        return "" if math.isfinite(order.trigger_price) and order.trigger_price > 0 else MISSING.format("price")
    if order.type.has_trigger and order.stop_price is None:
        return MISSING.format("stopPrice")
    return ""


def _filters(
    order: Order, instrument: Instrument, last: float | None, resting: int, algo: int, min_notional: bool
) -> str:
    price = _valuation(order, last)
    if not min_notional or price is None:
        instrument = _without_notional(instrument)
    failure = instrument.refusal(
        order.quantity, Decimal(1) if price is None else price, limit_price=order.type.has_limit
    )
    if failure:
        return FILTER.format(failure)
    stop = order.stop_price
    if stop is not None and (not stop.is_finite() or stop <= 0 or (instrument.tick and stop % instrument.tick)):
        return FILTER.format(f"PRICE_FILTER: stop price {stop} is not a multiple of the tick {instrument.tick}")
    if order.type is OrderType.MARKET or order.trigger_price is not None:
        return ""
    if instrument.max_orders and resting >= instrument.max_orders:
        return FILTER.format(f"MAX_NUM_ORDERS: {resting} orders are open")
    if order.type.has_trigger and instrument.max_algo_orders and algo >= instrument.max_algo_orders:
        return FILTER.format(f"MAX_NUM_ALGO_ORDERS: {algo} orders wait for a stop price")
    return ""


def _valuation(order: Order, last: float | None) -> Decimal | None:
    """Return the price that the notional is computed with; None where nothing is known."""
    if order.type.has_limit:
        return order.price
    if order.trigger_price is not None:
        return matching.exact(order.trigger_price)
    if order.type.has_trigger:
        return order.stop_price
    return None if last is None else matching.exact(last)


def _without_notional(instrument: Instrument) -> Instrument:
    return msgspec.structs.replace(instrument, min_notional=ZERO, max_notional=ZERO)


def _impossible_at(order: Order, last: float | None) -> str:
    """Return the refusal of a stop that is already passed, or of a maker order that would take."""
    if last is None:
        return ""
    if order.stop_price is not None and order.type.has_trigger:
        return TRIGGERS if matching.would_trigger(order.type, order.side, float(order.stop_price), last) else ""
    if order.type is OrderType.LIMIT_MAKER and order.price is not None:
        crosses = last <= float(order.price) if order.side is Side.BUY else last >= float(order.price)
        return TAKES if crosses else ""
    return ""
