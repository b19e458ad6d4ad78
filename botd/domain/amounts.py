"""Amounts: how money is computed, exactly; and how people read it, in log lines and details.

The ledger and the simulated account compute with :data:`EXACT` and book on one grid: they agree to the last digit.
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal, DivisionByZero, InvalidOperation, Overflow

EXACT = Context(prec=50, rounding=ROUND_HALF_EVEN, traps=[InvalidOperation, DivisionByZero, Overflow])
"""Wide enough that no sum and no product of amounts is ever rounded; Python's own 28 digits are not."""
DIGITS = 8
_MONEY = Decimal("1e-16")


def money(value: Decimal) -> Decimal:
    """Return an amount as it is booked: on the grid of 1e-16, half to even."""
    return value.quantize(_MONEY, context=EXACT)


def plain(value: Decimal) -> Decimal:
    """Return a value without trailing zeros and without an exponent: 0.01, 1, 100."""
    exact = value.normalize()
    return exact.quantize(Decimal(1)) if exact == exact.to_integral_value() else exact


def short(amount: Decimal) -> str:
    """Return ``amount`` with eight significant digits, and two decimals at least: 63123.123, 0.0063123123, 1000."""
    if not amount or not amount.is_finite():
        return f"{amount:f}" if amount else "0"
    decimals = max(2, DIGITS - 1 - amount.adjusted())
    text = f"{amount:.{decimals}f}"
    return text.rstrip("0").rstrip(".")
