"""The formulas of fills, stops, size and fees: pure functions of float64, written once.

Paper and live call them per event; the backtest kernel compiles these very functions and walks arrays
with them. So they use nothing but floats and ``math``, take no objects, and keep the order of
operations fixed: parity is exact only while both sides compute in the same order.
An absent level is NaN, which no comparison ever touches.
"""

from __future__ import annotations

import math

NONE = math.nan
"""The level that is never reached."""


def buy_price(price: float, slippage: float) -> float:
    """Return what a market buy pays for ``price``; ``slippage`` is a fraction against us."""
    return price * (1.0 + slippage)


def sell_price(price: float, slippage: float) -> float:
    """Return what a market or stop sell gets for ``price``."""
    return price * (1.0 - slippage)


def fee_amount(price: float, quantity: float, rate: float) -> float:
    """Return the fee in quote on the notional ``price * quantity``."""
    return price * quantity * rate


def stop_level(entry: float, stop_loss: float) -> float:
    """Return the fixed stop for an entry fill price; NaN when ``stop_loss`` is NaN."""
    return entry * (1.0 - stop_loss)


def target_level(entry: float, take_profit: float) -> float:
    """Return the take-profit level for an entry fill price; NaN when ``take_profit`` is NaN."""
    return entry * (1.0 + take_profit)


def trailing_level(highest: float, trailing: float, fixed_stop: float) -> float:
    """Return the stop of a trailing position: below the highest price, never below the fixed stop.

    ``highest`` is the highest high from the entry candle to the *previous* candle (the entry price in
    the entry candle itself), so a candle's own high never lifts the stop that its own low hits.
    """
    level = (1.0 - trailing) * highest
    if level >= fixed_stop or math.isnan(fixed_stop):
        return level
    return fixed_stop


def atr_stop_level(entry: float, atr: float, multiple: float) -> float:
    """Return the fixed stop that lies ``multiple`` average true ranges below the entry fill price.

    ``atr`` is that of the decision candle. NaN when either is; then there is no such stop.
    """
    return entry - multiple * atr


def measures(atr: float, price: float) -> bool:
    """Tell whether an average true range says anything: one that died away is a rounding of nothing."""
    return atr > price * 1e-9


def break_even_level(entry: float, highest: float, trigger: float, fixed_stop: float) -> float:
    """Return the fixed stop, lifted to the entry price once ``highest`` was ``trigger`` above it.

    ``highest`` is that of :func:`trailing_level`: a candle's own high lifts nothing that its own low hits.
    A NaN trigger lifts nothing.
    """
    if highest >= entry * (1.0 + trigger):
        return higher(entry, fixed_stop)
    return fixed_stop


def higher(first: float, second: float) -> float:
    """Return the higher of two levels; one that is NaN is not there."""
    return second if second > first or math.isnan(first) else first


def nearer(first: float, second: float) -> float:
    """Return the smaller of two distances; one that is NaN is not there."""
    return second if second < first or math.isnan(first) else first


def stop_fill(open_: float, low: float, stop: float) -> float:
    """Return the price at which a long position's stop fills in a candle, NaN if it does not."""
    if open_ <= stop:
        return open_
    if low <= stop:
        return stop
    return NONE


def target_fill(open_: float, high: float, target: float) -> float:
    """Return the price at which a long position's target fills in a candle, NaN if it does not.

    To be asked only when the stop did not fill: where both were touched, the stop is assumed first
    (the pessimistic order; the candle leaves the true one open).
    """
    if open_ >= target:
        return open_
    if high >= target:
        return target
    return NONE


def fraction_quantity(cash: float, fraction: float, price: float, slippage: float, fee: float) -> float:
    """Return the unrounded quantity that spends ``fraction`` of ``cash`` including slippage and fee."""
    return fraction * cash / (price * (1.0 + slippage) * (1.0 + fee))


def risk_quantity(equity: float, risk: float, price: float, stop_fraction: float) -> float:
    """Return the unrounded quantity that loses ``risk`` of ``equity`` when the stop is hit."""
    return risk * equity / (price * stop_fraction)


def whole_steps(quantity: float, step: float) -> float:
    """Return how many whole steps fit in ``quantity`` (a float without fraction).

    The 1e-9 forgives binary rounding: 0.3 / 0.1 is three steps. The division is floored as a float: an
    integer of 64 bits, which compiled code would take, does not hold every quantity.
    """
    return (quantity / step + 1e-9) // 1.0
