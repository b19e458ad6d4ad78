"""Limits as people write them: ``3%``, ``0.03``, ``500``, ``4h``, ``off``; and back to text.

Raises InvalidError with what was expected; NaN and infinities are never taken (a comparison with NaN is
false, which would be a way around a limit).
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from typing import Any

from botd.domain.errors import InvalidError
from botd.domain.instrument import split_symbol
from botd.risk.controls import Part, Unit, Value

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_OFF = frozenset({"off", "no", "false", "none"})
_ON = frozenset({"on", "yes", "true"})
_LEAST_AMOUNT = 5  # between a share of 1 and this a number is taken for a share out of bounds, not for an amount


def switch(raw: Any) -> bool | None:
    """Return True or False where ``raw`` turns something on or off, None where it is a value."""
    if isinstance(raw, bool):
        return raw
    if isinstance(raw, str):
        word = raw.strip().lower()
        return False if word in _OFF else True if word in _ON else None
    return None


def parse(part: Part, raw: Any, where: str) -> Value:
    """Return the limit that ``raw`` means for ``part``; ``where`` names it in the error."""
    if part.unit is Unit.SYMBOLS:
        return _symbols(raw, where)
    if part.unit is Unit.SWITCH:
        raise InvalidError(f"{where}: {raw!r} is not on or off", f"{where} has no limit; set it on or off")
    value, percent = _number(part.unit, raw, where)
    if part.unit is Unit.SHARE_OR_QUOTE and value > 1 and (percent or value < _LEAST_AMOUNT):
        raise InvalidError(f"{where}: {raw} is above 100%", f"up to 100%, or an amount from {_LEAST_AMOUNT} in quote")
    if part.unit is Unit.COUNT and value != value.to_integral_value():
        raise InvalidError(f"{where}: {raw} is not a whole number", f"between {part.low:f} and {part.high:f}")
    lowest = part.low if part.low else Decimal(0)
    zero_ok = part.unit is Unit.SECONDS or part.name == "margin"
    if not (lowest <= value <= part.high) or (value == 0 and not zero_ok):
        raise InvalidError(f"{where}: {raw} is out of bounds", _bounds(part, zero_ok))
    return value


def show(unit: Unit, value: Value | None) -> Any:
    """Return a limit for a table or JSON: percentages as numbers (3.0 is 3 %), amounts as strings."""
    if value is None:
        return "off"
    if isinstance(value, tuple):
        return ",".join(value) if value else "any"
    if unit is Unit.SWITCH:
        return "on"
    if is_share(unit, value):
        return float(value * 100)
    if unit is Unit.SHARE_OR_QUOTE:
        return f"{value.normalize():f}"
    return int(value) if value == value.to_integral_value() else float(value)


def words(unit: Unit, value: Value | None) -> str:
    """Return a limit as people write it: ``3%``, ``500 quote``, ``10 s``, ``off``."""
    shown = show(unit, value)
    if value is None or isinstance(value, tuple) or unit is Unit.SWITCH:
        return str(shown)
    if is_share(unit, value):
        return f"{shown:g}%"
    return f"{shown} {unit_of(unit, value)}" if unit not in (Unit.COUNT, Unit.NUMBER) else str(shown)


def unit_of(unit: Unit, value: Value | None) -> str:
    """Return the unit of a limit as it stands: of a share or an amount the one that it is."""
    if unit is not Unit.SHARE_OR_QUOTE:
        return unit.value
    return "quote" if value is not None and not is_share(unit, value) else "%"


def is_share(unit: Unit, value: Value | None) -> bool:
    """Tell whether a limit is a share of something (else an amount, a count, a time)."""
    return unit is Unit.SHARE or (unit is Unit.SHARE_OR_QUOTE and isinstance(value, Decimal) and value <= 1)


def _bounds(part: Part, zero_ok: bool) -> str:
    if part.unit is Unit.SHARE_OR_QUOTE:
        return f"above 0% to 100%, or an amount from {_LEAST_AMOUNT} in quote"
    if part.unit is Unit.SECONDS:
        return f"from 0 s to {int(part.high) // _SECONDS['d']}d"
    factor, sign = (100, "%") if part.unit is Unit.SHARE else (1, " per second" if part.unit is Unit.RATE else "")
    low = f"from 0{sign}" if zero_ok else f"from {part.low * factor:f}{sign}" if part.low else f"above 0{sign}"
    return f"{low} to {part.high * factor:f}{sign}"


def _number(unit: Unit, raw: Any, where: str) -> tuple[Decimal, bool]:
    text, factor, percent = str(raw).strip().replace(" ", ""), Decimal(1), False
    if text.endswith("%") and unit in (Unit.SHARE, Unit.SHARE_OR_QUOTE):
        text, factor, percent = text[:-1], Decimal("0.01"), True
    elif unit is Unit.SECONDS and text[-1:] in _SECONDS:
        text, factor = text[:-1], Decimal(_SECONDS[text[-1]])
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal("nan")
    if isinstance(raw, bool) or raw is None or not value.is_finite():
        raise InvalidError(f"{where}: {raw!r} is not a number", f"give a number, off, or e.g. {_example(unit)}")
    return value * factor, percent


def _example(unit: Unit) -> str:
    return {Unit.SHARE: "3%", Unit.SHARE_OR_QUOTE: "10% or 500", Unit.SECONDS: "15m"}.get(unit, "5")


def _symbols(raw: Any, where: str) -> tuple[str, ...]:
    items: Iterable[Any] = raw.replace(",", " ").split() if isinstance(raw, str) else raw
    if isinstance(raw, str) and raw.strip().lower() == "any":
        return ()
    if not isinstance(items, (list, tuple, set, frozenset)):
        raise InvalidError(f"{where}: {raw!r} is not a list of symbols", "e.g. [BTC/USDT, ETH/USDT]")
    try:
        for item in items:
            split_symbol(str(item))
    except ValueError as error:
        raise InvalidError(f"{where}: {error}", "e.g. [BTC/USDT, ETH/USDT]") from None
    return tuple(sorted({str(item) for item in items}))
