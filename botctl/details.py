"""Objects as text: key and value, aligned, nested ones indented. Rounds nothing but what its key says is money."""

from __future__ import annotations

from typing import Any

from botctl.cells import exact, gain, money, percent, text
from botctl.terms import FRACTIONS
from botctl.times import format_age, format_ms, is_moment

_GAINS = {"realized_pnl", "unrealized_pnl", "expectancy"}
_MONEY = {"capital", "equity", "fees", "cash", "positions_value", "account_cash", "account_equity", "exposure"}
_PRICES = {"quantity", "entry_price", "stop", "target", "price"}
_TITLES = {"strategy_s": "strategy time", "candles_s": "candles time"}  # beside a key of the name alone
_SUFFIXES = ("_pct", "_s", "_ms")
_ONLY_LIVE = {"candles_told", "candles_s", "candles_longest_ms", "told_late_ms"}
"""Left out where there is nothing to tell."""


def title(key: str) -> str:
    """Return what a key is called in text: without the unit that its value shows."""
    if key in _TITLES:
        return _TITLES[key]
    for suffix in _SUFFIXES:
        key = key.removesuffix(suffix)
    return key.replace("_", " ")


def shown(key: str, value: Any) -> str:
    """Return a value as its key suggests: money with two decimals, percentages with %, ages as 3m12s."""
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
        if key in FRACTIONS:
            return f"{float(value) * 100:.6g}%"
        return _by_unit(key, value)
    except (TypeError, ValueError):
        return text(value)


def _by_unit(key: str, value: Any) -> str:
    if key.endswith("_pct"):
        return percent(value)
    if key.endswith("_s"):
        return format_age(float(value)) if value >= 1 or value <= 0 else f"{value * 1000:.3g} ms"
    if is_moment(value):
        return format_ms(value)
    if key.endswith("_ms"):
        return f"{value:.3g} ms" if isinstance(value, float) and abs(value) < 100 else f"{value:,.0f} ms"
    if isinstance(value, float):
        return f"{value:.2f}" if abs(value) >= 1000 else f"{value:.6g}"
    return text(value)


def details(values: dict[str, Any], indent: str = "") -> list[str]:
    """Return one aligned line a key; a nested object gets lines of its own."""
    told = {key: value for key, value in values.items() if value is not None or key not in _ONLY_LIVE}
    flat = {key: value for key, value in told.items() if not _nested(value)}
    width = max((len(title(key)) for key in flat), default=0)
    lines = [f"{indent}{title(key):{width}}  {shown(key, value)}" for key, value in flat.items()]
    for key, value in told.items():
        if _nested(value):
            lines += section(key, value, indent)
    return lines


def settings(values: dict[str, Any]) -> str:
    """Return the parameters of a strategy in one cell: ``period=14,take_profit=3%``."""
    return ",".join(f"{key}={shown(key, value) if key in FRACTIONS else text(value)}" for key, value in values.items())


def section(name: str, values: Any, indent: str = "") -> list[str]:
    """Return a titled block of an object or of a list of objects."""
    lines = [f"{indent}{title(name)}"]
    if isinstance(values, dict):
        return lines + (details(values, indent + "  ") or [f"{indent}  none"])
    for item in values:
        lines.append(f"{indent}  " + "  ".join(f"{title(key)} {shown(key, value)}" for key, value in item.items()))
    return lines


def _nested(value: Any) -> bool:
    return (isinstance(value, dict) and bool(value)) or (
        isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)
    )
