"""Amounts as people read them, in log lines and details. The ledger and JSON keep them exactly."""

from __future__ import annotations

from decimal import Decimal

DIGITS = 8


def short(amount: Decimal) -> str:
    """Return ``amount`` with eight significant digits, and two decimals at least: 63123.123, 0.0063123123, 1000."""
    if not amount or not amount.is_finite():
        return f"{amount:f}" if amount else "0"
    decimals = max(2, DIGITS - 1 - amount.adjusted())
    text = f"{amount:.{decimals}f}"
    return text.rstrip("0").rstrip(".")
