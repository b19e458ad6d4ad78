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


def test_a_purchase_costs_its_slippage_and_its_fee():
    assert cost(2.0, 100.0, 0.01, 0.001) == pytest.approx(2 * 101 * 1.001)
    assert affordable(cost(2.0, 100.0, 0.01, 0.001), 100.0, 0.01, 0.001) == pytest.approx(2.0)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 0.0, -0.5, -5.0])
def test_no_quantity_is_made_of_what_is_not_finite_or_not_above_zero(bad: float):
    free = msgspec.structs.replace(BTC, step=ZERO)
    assert whole_quantity(bad, BTC) == whole_quantity(bad, free) == ZERO


def test_without_a_step_a_quantity_is_taken_as_it_is():
    free = msgspec.structs.replace(BTC, step=ZERO)
    assert whole_quantity(0.12345, free) == Decimal("0.12345")
    assert not below_minimum(Decimal("0.05"), 100.0, free) and below_minimum(Decimal("0.0499"), 100.0, free)


def test_nothing_is_too_small_also_where_the_exchange_has_no_minimum():
    free = msgspec.structs.replace(BTC, min_notional=ZERO)
    assert below_minimum(ZERO, 100.0, free) and not below_minimum(BTC.step, 100.0, free)


def test_a_minimum_quantity_is_no_longer_too_small():
    least = msgspec.structs.replace(BTC, min_quantity=Decimal(1))
    assert not below_minimum(Decimal(1), 100.0, least) and below_minimum(Decimal("0.999"), 100.0, least)


def test_a_size_says_how_it_came_about():
    sized = size(bot=spec(fraction=Decimal("0.5")))
    assert (sized.wanted, sized.detail, sized.skipped_min_notional) == (5.0, "50.0000% of cash 1000", False)
    risk = size(bot=spec(risk_per_trade=Decimal("0.01"), stop_loss=Decimal("0.05")))
    assert (risk.wanted, risk.detail) == (2.0, "risk 1.0000% of equity 1000 over a stop of 5.0000%")


@pytest.mark.parametrize(("cash", "price"), [("NaN", 100.0), ("1000", 0.0), ("1000", -0.5), ("1000", math.nan)])
def test_no_size_says_why_and_wants_nothing(cash: str, price: float):
    sized = size(cash=Decimal(cash), price=price)
    assert (sized.quantity, sized.wanted, sized.skipped_min_notional) == (ZERO, 0.0, False)
    assert sized.detail == f"no size for cash {cash} at price {price}"


def test_equity_that_is_no_number_gives_no_size_and_says_so():
    bot = spec(risk_per_trade=Decimal("0.01"), stop_loss=Decimal("0.05"))
    sized = size(bot=bot, equity=Decimal("NaN"))
    assert (sized.quantity, sized.wanted, sized.skipped_min_notional) == (ZERO, 0.0, False)
    assert sized.detail.startswith("no size: risk")


def test_what_is_too_small_keeps_what_was_wanted_and_names_the_quantity_only_where_that_is_the_reason():
    sized = size(cash=Decimal("4.99"))
    assert sized.wanted == pytest.approx(0.0499)
    assert "0.049 at 100.0 is below the minimum notional 5 USDT" in sized.detail
    coarse = msgspec.structs.replace(BTC, min_quantity=Decimal("0.01"))
    assert "minimum notional" in size(cash=Decimal("4.99"), instrument=coarse).detail  # 0.049 is enough of it
    assert "minimum notional" in size(cash=Decimal(1), instrument=coarse, price=2000.0).detail  # less than a step
    assert "minimum notional" in size(cash=Decimal(1), instrument=coarse).detail  # 0.01 is exactly the minimum


def test_an_atr_stop_is_its_multiple_of_the_range_away_and_the_nearest_stop_counts():
    wide = spec(risk_per_trade=Decimal("0.01"), atr_stop=Decimal(2))
    assert size(bot=wide, atr=2.0).quantity == Decimal("2.5")  # 10 over 2 * 2
    both = spec(risk_per_trade=Decimal("0.01"), atr_stop=Decimal(2), stop_loss=Decimal("0.05"))
    assert size(bot=both, atr=2.0).quantity == Decimal("2.5")
    assert size(bot=both, atr=4.0).quantity == Decimal(2)  # 8 away; the fixed one is 5 away


def test_a_cheap_coin_is_sized_like_any_other():
    assert size(price=0.5).quantity == Decimal(2000)


def test_what_the_cash_buys_exactly_is_not_capped():
    # 1 % of 1000 = 10 over 1 % of 100 = 1 a unit: 10 units, and 1000 buys 10
    sized = size(bot=spec(risk_per_trade=Decimal("0.01"), stop_loss=Decimal("0.01")))
    assert sized.quantity == Decimal(10) and "capped" not in sized.detail
