"""The parameters of a strategy: declared once, with type, default, bounds and help.

The same declaration checks what ``botctl create --set`` sends (text) and what a fleet file or the control
socket sends (JSON), prints ``botctl strategies NAME`` and fills the instance. This page knows no strategy.

A fraction may be written as ``3%`` or ``0.03``; a duration as ``90s``, ``15m``, ``1h`` or ``1d``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

from botd.domain import hints
from botd.domain.errors import InvalidError
from botd.domain.instrument import split_symbol

Kind = Literal["int", "float", "amount", "fraction", "duration", "bool", "choice", "symbol"]

_KIND_WORDS: dict[str, str] = {
    "int": "an integer",
    "float": "a number",
    "amount": "an amount",
    "fraction": "a fraction such as 3% or 0.03",
    "duration": "a duration such as 30s, 5m or 1h",
    "bool": "true or false",
    "symbol": "a symbol such as BTC/USDT",
}
_UNITS_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_BOOLS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter. ``default`` None means that it must be given.

    The Python type of a value: int -> int, float and fraction -> float, amount -> Decimal, duration -> int
    milliseconds, bool -> bool, choice and symbol -> str. ``low`` and ``high`` are inclusive and of that type.
    """

    kind: Kind
    default: Any = None
    low: Any = None
    high: Any = None
    choices: tuple[str, ...] = ()
    help: str = ""

    @property
    def required(self) -> bool:
        return self.default is None

    def parse(self, name: str, given: Any) -> Any:
        """Return the checked value of what came as text or JSON; InvalidError says what was expected."""
        try:
            value = _READERS[self.kind](given)
        except (ValueError, TypeError, KeyError, AttributeError, InvalidOperation, OverflowError):
            value = None
        if value is None or not self._within(value):
            raise InvalidError(f"{name} must be {self.expected()}, not {_shown(given)}")
        return value

    def expected(self) -> str:
        """Return what a value must be, in words: ``an integer from 2 to 500``."""
        if self.kind == "choice":
            return "one of " + ", ".join(self.choices)
        word = _KIND_WORDS[self.kind]
        if self.low is not None and self.high is not None:
            return f"{word} from {self.show(self.low)} to {self.show(self.high)}"
        if self.low is not None:
            return f"{word} of at least {self.show(self.low)}"
        if self.high is not None:
            return f"{word} of at most {self.show(self.high)}"
        return word

    def plain(self, value: Any) -> int | float | str | bool:
        """Return a checked value as JSON carries it; :meth:`parse` takes it back."""
        if self.kind == "amount":
            return f"{value:f}"
        if self.kind == "duration":
            return duration_text(value)
        if self.kind in ("float", "fraction") and value == int(value):
            return int(value)
        return value  # type: ignore[no-any-return]

    def show(self, value: Any) -> str:
        """Return a checked value for people: ``3%``, ``1h``, ``0.5``."""
        if self.kind == "fraction":
            return f"{Decimal(repr(value)) * 100:f}".rstrip("0").rstrip(".") + "%" if value else "0%"
        if self.kind == "bool":
            return "true" if value else "false"
        return str(self.plain(value))

    def describe(self, name: str) -> dict[str, Any]:
        """Return the row that ``botctl strategies NAME`` prints."""
        optional = {"low": self.low, "high": self.high}
        bounds = {key: None if bound is None else self.plain(bound) for key, bound in optional.items()}
        return {
            "name": name,
            "type": self.kind,
            "required": self.required,
            "default": None if self.required else self.plain(self.default),
            **bounds,
            "choices": list(self.choices),
            "expected": self.expected(),
            "help": self.help,
        }

    def _within(self, value: Any) -> bool:
        if self.choices and value not in self.choices:
            return False
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)


def integer(default: int | None = None, *, low: int | None = None, high: int | None = None, help: str = "") -> Any:
    """Declare a whole number. (The result stands for the value, hence the type Any; so below.)"""
    return Parameter("int", default, low, high, help=help)


def number(default: float | None = None, *, low: float | None = None, high: float | None = None, help: str = "") -> Any:
    """Declare a float."""
    return Parameter("float", _optional(float, default), _optional(float, low), _optional(float, high), help=help)


def amount(
    default: str | int | None = None, *, low: str | int | None = None, high: str | int | None = None, help: str = ""
) -> Any:
    """Declare an exact amount of money, quantity or price: a Decimal, above zero unless ``low`` says else."""
    bound = _SMALLEST if low is None else Decimal(low)
    return Parameter("amount", _optional(Decimal, default), bound, _optional(Decimal, high), help=help)


def fraction(
    default: float | None = None, *, low: float | None = None, high: float | None = None, help: str = ""
) -> Any:
    """Declare a fraction: 0.03, also written 3%."""
    return Parameter("fraction", _optional(float, default), _optional(float, low), _optional(float, high), help=help)


def duration(default: str | None = None, *, low: str = "1s", high: str | None = None, help: str = "") -> Any:
    """Declare a duration, given here as text (``1h``); the value is in milliseconds."""
    bounds = _optional(duration_ms, default), duration_ms(low), _optional(duration_ms, high)
    return Parameter("duration", *bounds, help=help)


def boolean(default: bool, *, help: str = "") -> Any:
    """Declare a switch."""
    return Parameter("bool", default, help=help)


def choice(*choices: str, default: str | None = None, help: str = "") -> Any:
    """Declare one of a few words."""
    return Parameter("choice", default, choices=choices, help=help)


def symbol(default: str | None = None, *, help: str = "") -> Any:
    """Declare a market whose candles are read besides (:class:`botd.strategy.base.Input`)."""
    return Parameter("symbol", default, help=help)


def check_parameters(owner: str, declared: Mapping[str, Parameter], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the value of every declared parameter, given or default.

    InvalidError, beginning with ``owner``, for an unknown name (with the nearest one), a wrong value or a
    required parameter that is missing.
    """
    for name in given:
        if name not in declared:
            raise InvalidError(f"{owner}: no parameter {name!r}{nearest(name, declared)}", _known(declared))
    values = {}
    for name, parameter in declared.items():
        if name in given:
            try:
                values[name] = parameter.parse(name, given[name])
            except InvalidError as error:
                raise InvalidError(f"{owner}: {error.message}", parameter.help) from None
        elif parameter.required:
            raise InvalidError(f"{owner}: {name} is required", f"add --set {name}=... ({parameter.expected()})")
        else:
            values[name] = parameter.default
    return values


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``; did you mean 'period'?``, or nothing where no known name is near."""
    found = hints.nearest(name, known)
    return f"; did you mean {found!r}?" if found else ""


def duration_ms(text: str) -> int:
    """Return the milliseconds of ``500ms``, ``90s``, ``15m``, ``1h``, ``1.5d``; ValueError otherwise."""
    match = _DURATION.fullmatch(text.strip().lower())
    if not match:
        raise ValueError(f"{text!r} is not {_KIND_WORDS['duration']}")
    length = Decimal(match[1]) * _UNITS_MS[match[2]]
    if length != int(length):
        raise ValueError(f"{text!r} is not a whole number of milliseconds")
    return int(length)


def duration_text(ms: int) -> str:
    """Return the shortest whole form of a duration: 3600000 -> ``1h``."""
    unit = next(unit for unit in ("d", "h", "m", "s", "ms") if ms % _UNITS_MS[unit] == 0)
    return f"{ms // _UNITS_MS[unit]}{unit}"


_SMALLEST = Decimal("0.00000001")


def _optional(convert: Any, value: Any) -> Any:
    return None if value is None else convert(value)


def _known(declared: Mapping[str, Parameter]) -> str:
    return "parameters: " + ", ".join(declared) if declared else "it has no parameters"


def _shown(given: Any) -> str:
    text = given if isinstance(given, str) and given.strip() else repr(given)
    return text if len(text) <= 40 else text[:37] + "..."


def _decimal(given: Any) -> Decimal:
    """Return a finite Decimal of a number or its text; a bool is not a number."""
    if isinstance(given, bool) or not isinstance(given, int | float | str | Decimal) or "_" in str(given):
        raise ValueError(given)
    value = Decimal(str(given).strip())
    # Far beyond any amount or period; keeps 1e999999 from becoming a number of a million digits.
    if not value.is_finite() or (value and not -30 <= value.adjusted() <= 30):
        raise ValueError(given)
    return value


def _integer(given: Any) -> int:
    value = _decimal(given)
    if value != value.to_integral_value():
        raise ValueError(given)
    return int(value)


def _float(given: Any) -> float:
    value = float(_decimal(given))
    if not math.isfinite(value):
        raise ValueError(given)
    return value


def _fraction(given: Any) -> float:
    if isinstance(given, str) and given.strip().endswith("%"):
        return float(_decimal(given.strip()[:-1]) / 100)
    return _float(given)


def _duration(given: Any) -> int:
    return duration_ms(given)


def _boolean(given: Any) -> bool:
    return given if isinstance(given, bool) else _BOOLS[str(given).strip().lower()]


def _word(given: Any) -> str:
    if not isinstance(given, str):
        raise ValueError(given)
    return given.strip()


def _symbol(given: Any) -> str:
    return "/".join(split_symbol(_word(given).upper()))


_READERS: dict[str, Any] = {
    "int": _integer,
    "float": _float,
    "amount": _decimal,
    "fraction": _fraction,
    "duration": _duration,
    "bool": _boolean,
    "choice": _word,
    "symbol": _symbol,
}
