"""Rule 7: how large an entry is."""

from __future__ import annotations

import math
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from botd.domain import rules
from botd.domain.errors import InvalidError
from botd.domain.instrument import ZERO
from botd.risk.sizing import Sized, affordable, below_minimum, cost, size_entry, whole_quantity
from tests.fakes.risk_case import BTC, spec


def size(**changes: object) -> Sized:
    values: dict[str, object] = {
        "cash": Decimal(1000),
        "equity": Decimal(1000),
        "price": 100.0,
        "slippage": 0.0,
        "fee": 0.0,
        "instrument": BTC,
    }
    bot = changes.pop("bot", spec())
    return size_entry(bot, **values | changes)  # type: ignore[arg-type]


def test_without_a_fraction_all_cash_is_used():
    assert size().quantity == Decimal("10.000")


def test_fraction_sizing_leaves_room_for_slippage_and_fee():
    # 0.5 * 1000 / (100 * 1.001 * 1.002) = 4.98503..., step 0.001
    sized = size(bot=spec(fraction=Decimal("0.5")), slippage=0.001, fee=0.002)
    assert sized.quantity == Decimal("4.985")
    assert sized.wanted == rules.fraction_quantity(1000.0, 0.5, 100.0, 0.001, 0.002)


def test_the_quantity_is_whole_steps_exactly():
    assert str(size(cash=Decimal("30.03")).quantity) == "0.300"  # 0.3003 -> 300 steps of 0.001


def test_risk_sizing_loses_the_risk_at_the_stop():
    # 1 % of 1000 = 10, over 5 % of 100 = 5 a unit: 2 units
    bot = spec(risk_per_trade=Decimal("0.01"), stop_loss=Decimal("0.05"))
    assert size(bot=bot).quantity == Decimal(2)


def test_risk_sizing_takes_the_trailing_stop_where_there_is_no_fixed_one():
    bot = spec(risk_per_trade=Decimal("0.01"), trailing_stop=Decimal("0.02"))
    assert size(bot=bot).quantity == Decimal(5)  # 10 / (100 * 0.02)


def test_risk_sizing_takes_the_nearer_of_two_stops():
    bot = spec(risk_per_trade=Decimal("0.01"), stop_loss=Decimal("0.05"), trailing_stop=Decimal("0.02"))
    assert size(bot=bot).quantity == Decimal(5)


def test_risk_sizing_is_capped_by_the_cash():
    # 5 % of 1000 = 50 over 1 % of 100 = 1 a unit: 50 units wanted, 1000 buys 10
    sized = size(bot=spec(risk_per_trade=Decimal("0.05"), stop_loss=Decimal("0.01")))
    assert sized.quantity == Decimal(10)
    assert "capped by cash" in sized.detail


def test_risk_sizing_without_a_stop_is_refused():
    with pytest.raises(InvalidError, match="needs a stop"):
        size(bot=spec(risk_per_trade=Decimal("0.01")))


def test_below_the_minimum_notional_there_is_no_trade_and_it_says_so():
    sized = size(cash=Decimal("4.99"))  # 0.049 * 100 = 4.9 < 5
    assert (sized.quantity, sized.skipped_min_notional) == (ZERO, True)
    assert "minimum notional 5 USDT" in sized.detail


def test_exactly_the_minimum_notional_trades():
    assert size(cash=Decimal(5)).quantity == Decimal("0.05")


def test_below_the_minimum_quantity_there_is_no_trade():
    coarse = msgspec.structs.replace(BTC, min_quantity=Decimal(1))
    sized = size(cash=Decimal(50), instrument=coarse)
    assert (sized.quantity, sized.skipped_min_notional) == (ZERO, True)
    assert "minimum quantity 1 BTC" in sized.detail


def test_the_margin_is_kept_back():
    assert size(margin=0.002).quantity == Decimal("9.98")  # 998 / 100


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, -1.0, 0.0])
def test_a_price_that_is_no_price_gives_no_size(bad: float):
    assert size(price=bad).quantity == ZERO


@pytest.mark.parametrize("bad", ["NaN", "Infinity", "-Infinity", "-5", "0"])
def test_cash_that_is_no_cash_gives_no_size(bad: str):
    assert size(cash=Decimal(bad)).quantity == ZERO


@pytest.mark.parametrize("bad", ["NaN", "-Infinity", "-5"])
def test_equity_that_is_no_equity_gives_no_size(bad: str):
    bot = spec(risk_per_trade=Decimal("0.01"), stop_loss=Decimal("0.05"))
    assert size(bot=bot, equity=Decimal(bad)).quantity == ZERO


@given(
    cash=st.decimals(min_value=1, max_value=10**7, places=6),
    price=st.floats(min_value=0.01, max_value=1e5),
    slippage=st.floats(min_value=0, max_value=0.02),
    fee=st.floats(min_value=0, max_value=0.01),
)
def test_what_is_sized_from_an_amount_costs_no_more_and_is_never_cut_by_that_amount(
    cash: Decimal, price: float, slippage: float, fee: float
):
    sized = size(cash=cash, price=price, slippage=slippage, fee=fee)
    assert cost(float(sized.quantity), price, slippage, fee) <= float(cash) + 2e-9 * float(
        BTC.step
    ) * price + 1e-9 * float(cash)
    assert sized.quantity <= whole_quantity(affordable(float(cash), price, slippage, fee), BTC)
    if sized.quantity:
        assert not BTC.refusal(sized.quantity, Decimal(repr(price)), limit_price=False)


def test_nan_is_below_every_minimum():
    assert below_minimum(Decimal(1), math.nan, BTC)
