"""How exact amounts are, and how people read them."""

from __future__ import annotations

from decimal import Decimal

import pytest

from botd.domain.amounts import EXACT, money, plain, short
from botd.ledger.accounting import average


def test_amounts_are_exact_to_50_digits_money_to_16_places_and_a_mean_price_to_18_digits() -> None:
    widest = Decimal(10**50 - 1)
    assert EXACT.plus(widest) == widest and EXACT.plus(Decimal(10**51 - 1)) == Decimal(10**51)
    assert (money(Decimal("1.00000000000000005")), money(Decimal("1.00000000000000015"))) == (
        Decimal("1.0000000000000000"),
        Decimal("1.0000000000000002"),  # half to even
    )
    assert average(Decimal(1), Decimal(3)) == Decimal("0." + "3" * 18)


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("63123.1234", "63123.123"),
        ("0.00631231234", "0.0063123123"),
        ("1000.00", "1000"),
        ("1E+3", "1000"),
        ("123456789.126", "123456789.13"),
        ("-0.50", "-0.5"),
        ("0.000", "0"),
        ("-0.00", "0"),
        ("NaN", "NaN"),
        ("-Infinity", "-Infinity"),
    ],
)
def test_an_amount_is_read_with_eight_digits_and_two_decimals_at_least(amount: str, text: str) -> None:
    assert short(Decimal(amount)) == text


@pytest.mark.parametrize(
    ("value", "text"), [("0.010", "0.01"), ("1.00", "1"), ("1E+2", "100"), ("100", "100"), ("-0.50", "-0.5")]
)
def test_a_plain_value_has_no_trailing_zeros_and_no_exponent(value: str, text: str) -> None:
    assert str(plain(Decimal(value))) == text
