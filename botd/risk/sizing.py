"""How large an entry is: rule 7 of the fill rules, and the one cost function.

The arithmetic is that of :mod:`botd.domain.rules` in float64, in the same order as the backtest kernel,
so that both give the same whole number of steps; only then the quantity becomes an exact Decimal. The
minimum-notional test is made in floats too (``steps * step * price``): at the edge it can only be
stricter than the exact product, so what passes here passes the exchange's exact filter.
"""

from __future__ import annotations

import math
from decimal import Decimal

import msgspec

from botd.domain import rules
from botd.domain.bot_spec import BotSpec
from botd.domain.errors import InvalidError
from botd.domain.instrument import ZERO, Instrument


class Sized(msgspec.Struct, frozen=True, kw_only=True):
    """The size of an entry. ``wanted`` is the unrounded quantity; ``quantity`` is zero where there is no
    trade, and ``skipped_min_notional`` tells that it was too small rather than impossible."""

    quantity: Decimal
    wanted: float
    detail: str
    skipped_min_notional: bool = False


def cost(quantity: float, price: float, slippage: float, fee: float) -> float:
    """Return what buying ``quantity`` takes in quote, slippage and fee included."""
    return quantity * rules.buy_price(price, slippage) * (1.0 + fee)


def affordable(value: float, price: float, slippage: float, fee: float) -> float:
    """Return the unrounded quantity whose :func:`cost` is ``value``: the sizing's own formula, so an
    order sized from an amount is never cut by a limit of the same amount."""
    return rules.fraction_quantity(value, 1.0, price, slippage, fee)


def whole_quantity(quantity: float, instrument: Instrument) -> Decimal:
    """Return ``quantity`` rounded down to the step, exact; zero for what is not finite or not above zero."""
    if not (math.isfinite(quantity) and quantity > 0):
        return ZERO
    if not instrument.step:
        return Decimal(repr(quantity))
    return instrument.quantity(rules.whole_steps(quantity, float(instrument.step)))


def below_minimum(quantity: Decimal, price: float, instrument: Instrument) -> bool:
    """Tell whether an order of ``quantity`` is too small for the exchange (NaN counts as too small)."""
    if quantity <= 0 or quantity < instrument.min_quantity:
        return True
    step = float(instrument.step)
    exact = float(quantity / instrument.step) * step if step else float(quantity)
    return not (exact * price >= float(instrument.min_notional))


def stop_fraction(spec: BotSpec, price: float, atr: float) -> float:
    """Return the distance to the stop as a fraction of ``price``: the nearest of fixed, trailing and ATR stop."""
    if not spec.has_stop:
        raise InvalidError(
            f"{spec.name}: risk per trade needs a stop",
            "give --stop-loss, --trailing-stop or --atr-stop, or use --fraction",
        )
    fixed, trailing, multiple = map(_number, (spec.stop_loss, spec.trailing_stop, spec.atr_stop))
    return rules.nearer(rules.nearer(fixed, trailing), multiple * atr / price)


def size_entry(
    spec: BotSpec,
    *,
    cash: Decimal,
    equity: Decimal,
    price: float,
    slippage: float,
    fee: float,
    instrument: Instrument,
    margin: float = 0.0,
    atr: float = rules.NONE,
) -> Sized:
    """Return the quantity of an entry decided at ``price`` (the candle's close, the last tick).

    ``margin`` is the share of the cash that is kept back (the funds control; 0 in presets paper and off), ``atr``
    the average true range that an ATR stop is measured by.
    """
    usable = float(cash) * (1.0 - margin)
    if not (math.isfinite(usable) and math.isfinite(price) and price > 0):
        return Sized(quantity=ZERO, wanted=0.0, detail=f"no size for cash {cash} at price {price}")
    wanted, detail = _wanted(spec, usable, float(equity), price, slippage, fee, atr)
    if not math.isfinite(wanted):
        return Sized(quantity=ZERO, wanted=0.0, detail=f"no size: {detail}")
    quantity = whole_quantity(wanted, instrument)
    if below_minimum(quantity, price, instrument):
        least = f"the minimum notional {instrument.min_notional:f} {instrument.quote}"
        if quantity and quantity < instrument.min_quantity:
            least = f"the minimum quantity {instrument.min_quantity:f} {instrument.base}"
        detail = f"{detail}; {quantity:f} at {price!r} is below {least}"
        return Sized(quantity=ZERO, wanted=wanted, detail=detail, skipped_min_notional=True)
    return Sized(quantity=quantity, wanted=wanted, detail=detail)


def _wanted(
    spec: BotSpec, cash: float, equity: float, price: float, slippage: float, fee: float, atr: float
) -> tuple[float, str]:
    if spec.risk_per_trade is None:
        fraction = 1.0 if spec.fraction is None else float(spec.fraction)
        return rules.fraction_quantity(cash, fraction, price, slippage, fee), f"{fraction:.4%} of cash {cash:.8g}"
    distance, risk = stop_fraction(spec, price, atr), float(spec.risk_per_trade)
    wanted = rules.risk_quantity(equity, risk, price, distance)
    most = affordable(cash, price, slippage, fee)
    detail = f"risk {risk:.4%} of equity {equity:.8g} over a stop of {distance:.4%}"
    return (most, f"{detail}, capped by cash {cash:.8g}") if wanted > most else (wanted, detail)


def _number(value: Decimal | None) -> float:
    return rules.NONE if value is None else float(value)
