"""Limits in the words of people: with their units, in rows and in the bounds of errors; lists of symbols."""

from __future__ import annotations

from typing import Any

import pytest

from botd.domain.errors import InvalidError
from botd.risk.settings import RiskSettings


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ({"max_exposure": "50%"}, {"value": "50%"}),
        ({"max_order_value": "500"}, {"value": "500 quote"}),
        ({"price_freshness": "2m"}, {"value": "120 s"}),
        ({"max_open_orders.bot": "7"}, {"bot": "7"}),
        ({"rate_limit.bot": "4"}, {"bot": "4 per second"}),
        ({"max_exposure": "off"}, {"value": "off"}),
        ({"symbol_allowlist": "BTC/USDT"}, {"value": "BTC/USDT"}),
    ],
)
def test_a_change_is_told_raw_and_with_its_units(change: dict[str, Any], shown: dict[str, str]) -> None:
    (row,) = RiskSettings.from_config({}).set(change)
    assert {key: row["shown_after"][key] for key in shown} == shown
    assert row["shown_before"].keys() == row["before"].keys() == row["after"].keys()


@pytest.mark.parametrize(
    ("key", "raw", "bounds"),
    [
        ("max_exposure", "-1", "above 0% to 100%, or an amount from 5 in quote"),
        ("daily_loss", "200%", "above 0% to 100%"),
        ("price_freshness", "90d", "from 0 s to 30d"),
        ("rate_limit.bot", "5000", "from 0.001 per second to 1000 per second"),
        ("max_open_orders.bot", "0", "from 1 to 1000000"),
    ],
)
def test_bounds_are_told_in_the_units_of_the_limit(key: str, raw: str, bounds: str) -> None:
    with pytest.raises(InvalidError) as caught:
        RiskSettings.from_config({}).set({key: raw})
    assert caught.value.hint == bounds


def test_an_allowlist_is_opened_to_any_switched_off_and_on_again() -> None:
    settings = RiskSettings.from_config({"symbol_allowlist": ["BTC/USDT"]})
    for said, symbols, on in (
        ("any", set(), True),
        ("ETH/USDT,BTC/USDT", {"BTC/USDT", "ETH/USDT"}, True),
        ("off", set(), False),
        ("on", {"BTC/USDT", "ETH/USDT"}, True),
        ("default", {"BTC/USDT"}, True),
    ):
        settings.set({"symbol_allowlist": said})
        assert (settings.symbols(), settings.is_on("symbol_allowlist")) == (symbols, on), said
