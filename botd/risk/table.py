"""The rows of ``risk show``: every limit with its value, its default and whether it holds somebody back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from botd.domain.clock import rfc3339
from botd.risk.controls import BY_NAME, CONTROLS, Control, Part, Unit
from botd.risk.settings import ACCOUNT, RiskSettings
from botd.risk.trading_state import MANUAL, Cause, TradingStates
from botd.risk.units import is_share, show
from botd.risk.words import scope_name


def risk_rows(
    settings: RiskSettings, states: TradingStates, now_ms: int, bots: Mapping[int, str] | None = None
) -> list[dict[str, Any]]:
    """Return the account's limits in the table's order, then those that bots have of their own.

    ``bots`` maps numbers to names. Percentages are numbers (3.0 is 3 %), amounts strings, times RFC 3339.
    """
    names = bots or {}
    rows = [row for control in CONTROLS for row in _control_rows(settings, states, control, ACCOUNT, names, now_ms)]
    for bot, name in settings.overrides():
        if bot != ACCOUNT:
            rows += _control_rows(settings, states, BY_NAME[name], bot, names, now_ms)
    return rows


def _control_rows(
    settings: RiskSettings, states: TradingStates, control: Control, bot: int, names: Mapping[int, str], now_ms: int
) -> list[dict[str, Any]]:
    parts = [part for part in control.parts if bot == ACCOUNT or part.scope != "account"]
    tripped = _tripped(states, control, names, now_ms) if bot == ACCOUNT else []
    until = [cause.until_ms for _scope, cause in tripped if cause.until_ms is not None]
    shared = {
        "control": control.name,
        "code": ",".join(control.codes),
        "scope": f"bot:{names.get(bot, bot)}" if bot else "account",
        "effect": control.effect,
        "preset": settings.preset.name,
        "state": "tripped" if tripped else "ok",
        "tripped": [scope for scope, _cause in tripped],
        "until": rfc3339(max(until)) if until else None,
        "help": control.help,
    }
    return [shared | _limit(settings, control, part, bot) for part in parts]


def _limit(settings: RiskSettings, control: Control, part: Part, bot: int) -> dict[str, Any]:
    value = settings.limits(bot)[control.name][part.name]
    default = settings.preset.defaults(control.name)[part.name]
    on_by_default = settings.preset.switches_on(control.name)
    unit = part.unit.value
    if part.unit is Unit.SHARE_OR_QUOTE:
        unit = "%" if is_share(part.unit, default if value is None else value) else "quote"
    return {
        "limit": part.name,
        "value": show(part.unit, value),
        "default": show(part.unit, default) if on_by_default else "off",
        "unit": unit,
        "on": value is not None,
    }


def _tripped(states: TradingStates, control: Control, names: Mapping[int, str], now_ms: int) -> list[tuple[str, Cause]]:
    codes = {MANUAL} if control.name == "trading_state" else set(control.codes)
    held = [(scope, cause) for scope, code, cause in states.causes() if code in codes and cause.holds(now_ms)]
    return [(scope_name(scope, names), cause) for scope, cause in held]
