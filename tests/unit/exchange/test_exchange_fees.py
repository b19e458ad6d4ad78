"""In which asset the simulated exchange takes its fee."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from botd.domain.order import OrderStatus
from tests.fakes.exchange_desk import Desk


def desk_with(**settings: Any) -> Desk:
    desk = Desk(**settings)
    desk.close(0, 100.0, 100.0, 100.0, 100.0)
    return desk


def test_a_fee_in_quote_is_paid_beside_a_buy_and_out_of_a_sale() -> None:
    desk = desk_with()
    desk.send("buy", "market", "1")
    desk.open(1, 100.0)
    assert (desk.total("USDT"), desk.total("BTC")) == (Decimal("9899.8"), 2)  # 100 + 0.2 %
    desk.send("sell", "market", "1")
    desk.open(2, 100.0)
    assert (desk.total("USDT"), desk.total("BTC")) == (Decimal("9999.6"), 1)


def test_a_fee_in_base_reduces_what_is_bought_and_a_sale_pays_in_quote() -> None:
    desk = desk_with(fee_asset="base")
    desk.send("buy", "market", "1")
    desk.open(1, 100.0)
    assert (desk.total("USDT"), desk.total("BTC")) == (9900, Decimal("1.998"))
    desk.send("sell", "market", "1")
    desk.open(2, 100.0)
    assert [(fill.fee_asset, fill.fee) for fill in desk.fills] == [("BTC", Decimal("0.002")), ("USDT", Decimal("0.2"))]


def test_a_fee_in_base_needs_no_quote_beside_the_price() -> None:
    desk = desk_with(fee_asset="base", balance={"USDT": Decimal(100)})
    desk.send("buy", "market", "1")
    assert desk.last.status is OrderStatus.OPEN
    desk.open(1, 100.0)
    assert desk.total("USDT") == 0


def test_a_fee_in_a_third_asset_is_converted_at_its_last_price() -> None:
    desk = desk_with(fee_asset="BNB", balance={"USDT": Decimal(1000), "BNB": Decimal(1)})
    desk.close(0, 500.0, 500.0, 500.0, 500.0, symbol="BNB/USDT")
    desk.send("buy", "market", "1")
    desk.open(1, 100.0)
    # 0.2 USDT at 500 a BNB
    assert (desk.fills[0].fee_asset, desk.fills[0].fee) == ("BNB", Decimal("0.0004"))
    assert (desk.total("USDT"), desk.total("BNB")) == (900, Decimal("0.9996"))


@pytest.mark.parametrize(("bnb", "priced"), [("0.0001", True), ("1", False)])
def test_without_enough_of_the_third_asset_or_its_price_the_fee_is_in_quote(bnb: str, priced: bool) -> None:
    desk = desk_with(fee_asset="BNB", balance={"USDT": Decimal(1000), "BNB": Decimal(bnb)})
    if priced:
        desk.close(0, 500.0, 500.0, 500.0, 500.0, symbol="BNB/USDT")
    desk.send("buy", "market", "1")
    desk.open(1, 100.0)
    assert (desk.fills[0].fee_asset, desk.total("USDT")) == ("USDT", Decimal("899.8"))
    assert desk.total("BNB") == Decimal(bnb)


def test_the_third_assets_own_pair_pays_from_what_it_bought() -> None:
    desk = desk_with(fee_asset="BNB", balance={"USDT": Decimal(1000)})
    desk.close(0, 500.0, 500.0, 500.0, 500.0, symbol="BNB/USDT")
    desk.send("buy", "market", "1", symbol="BNB/USDT")
    desk.open(1, 500.0, symbol="BNB/USDT")
    assert desk.total("BNB") == Decimal("0.998")
