"""Presets, the configuration section, and what ``risk set`` changes."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from botd.domain.errors import InvalidError
from botd.risk.controls import CONTROLS
from botd.risk.gate import CHECKS
from botd.risk.presets import PRESETS
from botd.risk.settings import RiskSettings, check
from botd.risk.table import risk_rows
from botd.risk.trading_state import TradingStates
from tests.fakes.risk_case import NOON, Room

TABLE = """mode trading_state readiness price_freshness symbol_allowlist filters price_collar max_order_value
max_order_size max_position max_exposure max_open_orders rate_limit duplicate_order repeated_execution self_trade
funds budget daily_loss max_drawdown consecutive_losses reject_storm unknown_outstanding volatility_halt
exchange_degraded""".split()  # noqa: SIM905 - the table reads better so

OFF_IN_PAPER = {
    "daily_loss",
    "max_drawdown",
    "consecutive_losses",
    "volatility_halt",
    "repeated_execution",
    "reject_storm",
    "price_collar",
    "max_order_size",
    "max_position",
}


def on(settings: RiskSettings) -> set[str]:
    return {name for name in TABLE if settings.is_on(name)}


def test_the_table_has_its_order_and_a_check_for_every_control():
    assert [control.name for control in CONTROLS] == TABLE
    assert set(CHECKS) == set(TABLE)


def test_preset_live_has_all_on():
    assert on(RiskSettings(PRESETS["live"])) == set(TABLE)


def test_preset_paper_has_all_on_but_nine():
    assert set(TABLE) - on(RiskSettings(PRESETS["paper"])) == OFF_IN_PAPER


def test_preset_off_keeps_filters_funds_and_what_has_no_switch():
    expected = {"mode", "trading_state", "filters", "funds", "budget"}
    assert on(RiskSettings(PRESETS["off"])) == expected


def test_preset_paper_keeps_no_margin_and_lets_an_order_take_the_whole_equity():
    paper = RiskSettings(PRESETS["paper"])
    assert paper.funds_margin() == 0.0
    assert paper.numbers("max_order_value") == {"value": 1.0}
    assert RiskSettings(PRESETS["live"]).funds_margin() == 0.002


def test_the_preset_follows_the_mode_where_none_is_given():
    assert RiskSettings.from_config({}, "live").preset.name == "live"
    assert RiskSettings.from_config(None).preset.name == "paper"


def test_yaml_reads_off_as_false():
    assert RiskSettings.from_config({"preset": False}).preset.name == "off"


def test_preset_off_is_refused_in_live_mode():
    with pytest.raises(InvalidError, match="for paper only"):
        RiskSettings.from_config({"preset": "off"}, "live")


def test_a_key_switches_a_control_on_or_off_in_any_preset():
    settings = RiskSettings.from_config({"preset": "off", "daily_loss": True, "max_position": "on"})
    assert settings.numbers("daily_loss") == {"bot": 0.03, "account": 0.05}
    assert settings.numbers("max_position") == {"value": 0.2}
    assert not RiskSettings.from_config({"self_trade": "off"}).is_on("self_trade")


@pytest.mark.parametrize(
    ("control", "raw", "expected"),
    [
        ("max_exposure", "50%", {"value": 0.5}),
        ("max_exposure", 0.5, {"value": 0.5}),
        ("max_order_value", "250", {"value": 250.0}),
        ("max_order_value", Decimal("0.25"), {"value": 0.25}),
        ("daily_loss", {"bot": "2%", "account": "4%"}, {"bot": 0.02, "account": 0.04}),
        ("daily_loss", {"bot": "2%"}, {"bot": 0.02}),  # off for the account in preset paper, and stays so
        ("daily_loss", {"bot": False, "account": "4%"}, {"account": 0.04}),
        ("daily_loss", "2%", {"bot": 0.02, "account": 0.02}),
        ("max_open_orders.bot", 5, {"symbol": 20.0, "bot": 5.0, "account": 150.0}),
        ("consecutive_losses", 3, {"losses": 3.0, "pause": 14400.0}),
        ("consecutive_losses.pause", "30m", {"losses": 5.0, "pause": 1800.0}),
        ("volatility_halt", "3%", {"move": 0.03, "sigma": 8.0, "pause": 900.0}),
        ("funds", "1%", {"margin": 0.01}),
    ],
)
def test_limits_are_read_as_written(control: str, raw: Any, expected: dict[str, float]):
    assert RiskSettings.from_config({control: raw}).numbers(control.partition(".")[0]) == expected


def test_the_allowlist_is_a_list_of_symbols():
    settings = RiskSettings.from_config({"symbol_allowlist": ["ETH/USDT", "BTC/USDT"]})
    assert settings.symbols() == {"BTC/USDT", "ETH/USDT"}
    assert RiskSettings.from_config({}).symbols() == frozenset()


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        ({"max_exposre": "50%"}, ["max_exposre: no such control", "did you mean max_exposure?"]),
        ({"max_exposure": "150%"}, ["max_exposure: 150% is above 100%"]),
        ({"max_exposure": 1.5}, ["max_exposure: 1.5 is above 100%"]),
        ({"max_exposure": "nan"}, ["not a number"]),
        ({"max_order_value": "inf"}, ["not a number"]),
        ({"max_position": "-5%"}, ["out of bounds"]),
        ({"max_position": 0}, ["out of bounds"]),
        ({"daily_loss": "120%"}, ["daily_loss: 120% is out of bounds", "to 100%"]),
        ({"daily_loss": {"bots": "3%"}}, ["daily_loss.bots: no such limit", "bot, account"]),
        ({"max_open_orders": 7}, ["does not say which limit", "symbol:"]),
        ({"max_open_orders": {"bot": 2.5}}, ["not a whole number"]),
        ({"self_trade": 5}, ["not on or off"]),
        ({"filters": False}, ["filters: cannot be switched"]),
        ({"trading_state": False}, ["cannot be switched"]),
        ({"funds": False}, ["cannot be switched"]),
        ({"funds": {"margin": False}}, ["funds.margin: cannot be switched off"]),
        ({"preset": "wild"}, ["preset: 'wild' is unknown", "paper, live, off"]),
        ({"symbol_allowlist": ["btcusdt"]}, ["not a symbol"]),
        ({"rate_limit": {"bot": True, "account": None}}, ["not a number"]),
    ],
)
def test_a_mistake_is_named_with_its_remedy(mapping: dict[str, Any], words: list[str]):
    (line,) = check(mapping)
    for word in words:
        assert word in line
    with pytest.raises(InvalidError):
        RiskSettings.from_config(mapping)


def test_check_finds_every_mistake_and_nothing_in_a_good_section():
    assert len(check({"a": 1, "max_exposure": "x", "daily_loss": "3%"})) == 2
    assert check({"preset": "paper", "max_exposure": "100%", "daily_loss": {"bot": "3%", "account": "5%"}}) == []


def test_risk_set_changes_all_or_nothing():
    settings = RiskSettings.from_config({})
    with pytest.raises(InvalidError):
        settings.set({"max_exposure": "50%", "max_position": "500%"})
    assert settings.numbers("max_exposure") == {"value": 1.0}
    assert settings.drain_changes() == {}


def test_risk_set_tells_before_and_after():
    settings = RiskSettings.from_config({})
    (row,) = settings.set({"max_exposure": "0.5"})
    assert row == {
        "control": "max_exposure",
        "scope": "account",
        "before": {"value": 100.0},
        "after": {"value": 50.0},
        "shown_before": {"value": "100%"},
        "shown_after": {"value": "50%"},
        "result": "changed",
    }
    assert settings.set({"max_exposure": "50%"})[0]["result"] == "unchanged"


def test_a_bots_own_limit_binds_that_bot_only():
    settings = RiskSettings.from_config({"preset": "live"}, "live")
    settings.set({"daily_loss": "1%"}, bot=7)
    assert settings.numbers("daily_loss", 7) == {"bot": 0.01, "account": 0.05}
    assert settings.numbers("daily_loss", 8) == {"bot": 0.03, "account": 0.05}


def test_a_bots_off_leaves_the_accounts_limit_on():
    settings = RiskSettings.from_config({"preset": "live"}, "live")
    settings.set({"daily_loss": "off"}, bot=7)
    assert settings.numbers("daily_loss", 7) == {"account": 0.05}


def test_what_belongs_to_the_account_cannot_be_set_for_a_bot():
    settings = RiskSettings.from_config({})
    for key in ("daily_loss.account", "exchange_degraded"):
        with pytest.raises(InvalidError, match="belongs to the account"):
            settings.set({key: "5%"}, bot=7)


def test_off_keeps_the_limit_for_a_later_on_and_default_drops_it():
    settings = RiskSettings.from_config({})
    settings.set({"max_exposure": "40%"})
    settings.set({"max_exposure": "off"})
    assert not settings.is_on("max_exposure")
    settings.set({"max_exposure": "on"})
    assert settings.numbers("max_exposure") == {"value": 0.4}
    settings.set({"max_exposure": "default"})
    assert settings.numbers("max_exposure") == {"value": 1.0}
    assert settings.drain_changes() == {"override:account:max_exposure": None}


def test_overrides_survive_a_restart():
    settings = RiskSettings.from_config({})
    settings.set({"max_exposure": "40%", "symbol_allowlist": "BTC/USDT", "rate_limit.bot": "0.5"})
    settings.set({"max_open_orders": 3, "self_trade": "off"}, bot=12)
    rows = {key: text for key, text in settings.drain_changes().items() if text}
    again = RiskSettings.from_config({})
    again.restore(rows)
    for bot in (0, 3, 12):
        assert again.limits(bot) == settings.limits(bot)
    assert settings.drain_changes() == {}


def test_a_removed_bots_overrides_are_dropped():
    settings = RiskSettings.from_config({})
    settings.set({"max_open_orders": 3}, bot=12)
    settings.drain_changes()
    settings.forget(12)
    assert settings.drain_changes() == {"override:bot:12:max_open_orders": None}
    assert settings.overrides() == []


def test_a_reload_keeps_what_risk_set_changed_and_a_bad_one_changes_nothing():
    settings = RiskSettings.from_config({"max_exposure": "80%"})
    settings.set({"max_open_orders.bot": 9})
    version = settings.version
    with pytest.raises(InvalidError):
        settings.reload({"max_exposure": "8000%"})
    assert settings.numbers("max_exposure") == {"value": 0.8}
    settings.reload({"preset": "live"})
    assert settings.numbers("max_exposure") == {"value": 1.0}
    assert settings.numbers("max_open_orders")["bot"] == 9.0
    assert settings.version > version


def test_rows_show_every_limit_its_default_and_who_is_held():
    room = Room(preset="live", max_order_value="250")
    room.gate.set({"daily_loss": "1%"}, now_ms=NOON, bot=7)
    room.monitors.on_equity(7, Decimal(1000), NOON)
    room.monitors.on_equity(7, Decimal(980), NOON)
    rows = risk_rows(room.settings, room.states, NOON, {7: "alpha"})
    by = {(row["control"], row["limit"], row["scope"]): row for row in rows}
    value = by["max_order_value", "value", "account"]
    assert (value["value"], value["default"], value["unit"], value["on"]) == ("250", 10.0, "quote", True)
    loss = by["daily_loss", "bot", "account"]
    assert (loss["value"], loss["state"], loss["tripped"]) == (3.0, "tripped", ["bot:alpha"])
    assert loss["until"] == "2026-01-02T00:00:00Z"
    assert by["daily_loss", "bot", "bot:alpha"]["value"] == 1.0
    assert {row["control"] for row in rows} == set(TABLE)


def test_rows_of_preset_off_say_off():
    settings = RiskSettings.from_config({"preset": "off"})
    rows = risk_rows(settings, TradingStates(), NOON)
    row = next(row for row in rows if row["control"] == "max_exposure")
    assert (row["value"], row["default"], row["on"], row["preset"]) == ("off", "off", False, "off")
