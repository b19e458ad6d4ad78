"""Trading states in words: who is held back, since when and why, and what ends it.

For the denials of the gate, ``why``, ``risk show`` and ``health``. It changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from botd.domain.clock import rfc3339
from botd.risk.trading_state import MANUAL, Cause, TradingStates

Names = Mapping[int, str]
"""The bots' names by number."""


def scope_name(scope: str, names: Names) -> str:
    """Return a scope as people call it: ``account``, ``bot:alpha``, ``symbol:BTC/USDT``."""
    kind, _, number = scope.partition(":")
    return f"bot:{names.get(int(number), number)}" if kind == "bot" else scope


def remedy(scope: str, cause: Cause) -> str:
    """Return the command that ends a cause before its time. ``scope`` as :func:`scope_name` writes it."""
    kind, _, name = scope.partition(":")
    if cause.until_ms is None:
        return "botctl release" + {"bot": f" {name}", "symbol": f" --symbol {name}"}.get(kind, "")
    return f"botctl risk set{f' {name}' if kind == 'bot' else ''} {cause.code.lower()}=off"


def explain(scope: str, cause: Cause) -> str:
    """Return a cause in one line: who, what, why, since when, until when, and what ends it sooner."""
    why = f": {cause.detail}" if cause.detail else ""
    by = f" by {cause.by}" if cause.code == MANUAL and cause.by else ""
    said = f"{scope} {cause.state}{why} (since {rfc3339(cause.since_ms)}{by})"
    if cause.until_ms is None:
        return f"{said}, until released: {remedy(scope, cause)}"
    return f"{said}, until {rfc3339(cause.until_ms)} by itself; sooner: {remedy(scope, cause)}"


def held_rows(states: TradingStates, now_ms: int, names: Names) -> list[dict[str, Any]]:
    """Return a row for every cause in force, for ``risk show``."""
    rows = []
    for scope, code, cause in states.causes():
        if cause.holds(now_ms):
            named = scope_name(scope, names)
            row = {
                "scope": named,
                "state": cause.state,
                "code": code,
                "since": rfc3339(cause.since_ms),
                "by": cause.by,
                "reason": cause.detail,
                "until": None if cause.until_ms is None else rfc3339(cause.until_ms),
                "remedy": remedy(named, cause),
            }
            rows.append(row)
    return rows
