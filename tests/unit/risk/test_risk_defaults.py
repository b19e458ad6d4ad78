"""The table of controls, spelled out: every default, its bounds, whose it is, and where it is on."""

from __future__ import annotations

import pytest

from botd.risk.controls import BY_NAME, CONTROLS, Part, Unit

TABLE = """
mode                 deny    always  on=1 switch bot 0..1
trading_state        deny    always  on=1 switch bot 0..1
readiness            deny    both    on=1 switch bot 0..1
price_freshness      deny    both    value=10 s bot 0..2592000
symbol_allowlist     deny    both    value=() symbols bot 0..1
filters              deny    always  on=1 switch bot 0..1
price_collar         deny    live    limit=0.02 % bot 0..1; market=0.005 % bot 0..1
max_order_value      shrink  both    value=0.1 % or quote bot 0..1000000000000000
max_order_size       shrink  live    value=0.05 % bot 0..1
max_position         shrink  live    value=0.2 % or quote bot 0..1000000000000000
max_exposure         shrink  both    value=1 % or quote bot 0..1000000000000000
max_open_orders      deny    both    symbol=20 count symbol 1..1000000; bot=50 count bot 1..1000000; \
account=150 count account 1..1000000
rate_limit           deny    both    bot=2 per second bot 0.001..1000; account=8 per second account 0.001..1000
duplicate_order      deny    both    limit=2 s bot 0..2592000; market=10 s bot 0..2592000
repeated_execution   deny    live    hour=30 count bot 1..1000000; day=200 count bot 1..1000000
self_trade           deny    both    on=1 switch bot 0..1
funds                shrink  always  margin=0.002 % bot 0..1
budget               shrink  switch  value=1 % bot 0..1
daily_loss           trip    live    bot=0.03 % bot 0..1; account=0.05 % account 0..1
max_drawdown         trip    live    bot=0.1 % bot 0..1; account=0.15 % account 0..1
consecutive_losses   trip    live    losses=5 count bot 1..1000000; pause=14400 s bot 0..2592000
reject_storm         trip    live    bot=5 count bot 1..1000000; account=20 count account 1..1000000
unknown_outstanding  deny    both    bot=1 count bot 1..1000000; account=3 count account 1..1000000
volatility_halt      trip    live    move=0.05 % symbol 0..1; sigma=8 number symbol 1..100; \
pause=900 s symbol 0..2592000
exchange_degraded    deny    both    errors=0.5 % account 0..1
"""
WHERE = {
    (True, "live off paper"): "always",
    (False, "live off paper"): "switch",  # on everywhere, and may be switched off
    (False, "live paper"): "both",
    (False, "live"): "live",
}


def _part(part: Part) -> str:
    return f"{part.name}={part.default} {part.unit.value} {part.scope} {part.low}..{part.high}"


@pytest.mark.parametrize("row", TABLE.strip().splitlines(), ids=lambda row: row.split()[0])
def test_a_control_is_as_the_table_says(row: str):
    name, effect, where, parts = row.split(maxsplit=3)
    control = BY_NAME[name]
    assert (control.effect, WHERE[control.fixed, " ".join(sorted(control.presets))]) == (effect, where)
    assert "; ".join(map(_part, control.parts)) == parts


def test_the_table_names_them_all():
    assert [row.split()[0] for row in TABLE.strip().splitlines()] == [control.name for control in CONTROLS]


def test_a_code_is_the_first_and_a_part_is_found_by_its_name():
    assert (BY_NAME["trading_state"].code, BY_NAME["mode"].code) == ("TRADING_HALTED", "MODE_NOT_ARMED")
    assert BY_NAME["volatility_halt"].part("sigma").unit is Unit.NUMBER
    with pytest.raises(KeyError):
        BY_NAME["funds"].part("value")
    plain = Part("x", (), Unit.COUNT)
    assert (plain.low, plain.high, plain.scope) == (0, 1, "bot")
