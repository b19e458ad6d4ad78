"""Objects as text: key and value, aligned, nested ones indented. Rounds nothing but what its key says is money."""

from __future__ import annotations

from typing import Any

from botctl.cells import exact, gain, money, percent, text

_GAINS = {"realized_pnl", "unrealized_pnl", "expectancy"}
_MONEY = {"capital", "equity", "fees", "cash", "positions_value", "account_cash", "account_equity", "exposure"}
_PRICES = {"quantity", "entry_price", "stop", "target", "price", "last_price", "mark", "mark_price"}


def shown(key: str, value: Any) -> str:
    """Return a value as its key suggests: money with two decimals, ``_pct`` with %."""
    if value is None or value == "":
        return "-"
    if value == [] or value == {}:
        return "none"
    try:
        if key in _GAINS:
            return gain(value)
        if key in _MONEY:
            return money(value)
        if key in _PRICES:
            return exact(value)
        if key.endswith("_pct"):
            return percent(value)
    except (TypeError, ValueError):
        pass
    return text(value)


def details(values: dict[str, Any], indent: str = "") -> list[str]:
    """Return one aligned line a key; a nested object gets lines of its own."""
    flat = {key: value for key, value in values.items() if not _nested(value)}
    width = max((len(key) for key in flat), default=0)
    lines = [f"{indent}{key.replace('_', ' '):{width}}  {shown(key, value)}" for key, value in flat.items()]
    for key, value in values.items():
        if _nested(value):
            lines += section(key, value, indent)
    return lines


def section(title: str, values: Any, indent: str = "") -> list[str]:
    """Return a titled block of an object or of a list of objects."""
    lines = [f"{indent}{title.replace('_', ' ')}"]
    if isinstance(values, dict):
        return lines + (details(values, indent + "  ") or [f"{indent}  none"])
    for item in values:
        lines.append(f"{indent}  " + "  ".join(f"{key} {shown(key, value)}" for key, value in item.items()))
    return lines


def _nested(value: Any) -> bool:
    return (isinstance(value, dict) and bool(value)) or (
        isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)
    )
