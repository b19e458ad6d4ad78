"""Turns the text of a configuration key into its value, or says in one line what was expected.

Every reader takes the raw value (text, None, list or dict from YAML; native values from a mapping) and the
:class:`Spot` it stands on. Percentages become fractions, dates milliseconds UTC.
"""

from __future__ import annotations

import datetime
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

from botd.config_yaml import Document
from botd.domain.candle import INTERVALS
from botd.domain.clock import parse_time
from botd.domain.errors import ConfigError
from botd.domain.hints import did_you_mean
from botd.domain.instrument import split_symbol

Reader = Callable[[Any, "Spot"], Any]

TRUE = ("true", "yes", "on", "1")
FALSE = ("false", "no", "off", "0")
OURS = "binance"
"""The exchange that needs no ccxt."""
SOCKET_PATH_BYTES = 107
"""sockaddr_un holds 108 bytes, the last one zero."""


@dataclass(frozen=True, slots=True)
class Spot:
    """A place in a document: for messages, and to resolve relative paths."""

    document: Document
    where: tuple[str, ...]

    def child(self, key: str) -> Spot:
        return Spot(self.document, (*self.where, key))

    def fail(self, message: str, hint: str = "") -> NoReturn:
        raise ConfigError(f"{self.document.at(self.where)}: {message}", hint)


def text_of(raw: Any, spot: Spot) -> str:
    """Return a scalar as text: native booleans, numbers and dates as YAML would write them."""
    if raw is None or isinstance(raw, dict | list):
        spot.fail("expected a single value")
    if isinstance(raw, bool):
        return "true" if raw else "false"
    if isinstance(raw, datetime.datetime | datetime.date):
        return raw.isoformat()
    return str(raw).strip()


def boolean(raw: Any, spot: Spot) -> bool:
    text = text_of(raw, spot).lower()
    if text not in TRUE and text not in FALSE:
        spot.fail(f"{text!r} is neither true nor false")
    return text in TRUE


def number(text: str) -> Decimal | None:
    """Return a finite Decimal, or None when ``text`` is not one."""
    try:
        value = Decimal(text.replace("_", ""))
    except InvalidOperation:
        return None
    return value if value.is_finite() else None


def decimal(low: str | None = None, high: str | None = None, *, above: str | None = None) -> Reader:
    """Make a reader of a finite number in [low, high], or above ``above``."""

    def read(raw: Any, spot: Spot) -> Decimal:
        text = text_of(raw, spot)
        value = number(text)
        if value is None:
            spot.fail(f"{text!r} is not a finite number")
        if above is not None and value <= Decimal(above):
            spot.fail(f"{text} must be above {above}")
        if low is not None and value < Decimal(low):
            spot.fail(f"{text} must be at least {low}")
        if high is not None and value > Decimal(high):
            spot.fail(f"{text} must be at most {high}")
        return value

    return read


def integer(low: int, high: int) -> Reader:
    """Make a reader of a whole number in [low, high]."""

    def read(raw: Any, spot: Spot) -> int:
        text = text_of(raw, spot)
        value = number(text)
        if value is None or value != value.to_integral_value():
            spot.fail(f"{text!r} is not a whole number")
        if not low <= value <= high:
            spot.fail(f"{text} is outside {low} to {high}")
        return int(value)

    return read


def fraction_of(text: str) -> Decimal | None:
    """Return ``0.1%`` or ``0.001`` as the fraction 0.001, or None."""
    if text.endswith("%"):
        value = number(text[:-1].strip())
        return None if value is None else value / 100
    return number(text)


def fraction(high: str) -> Reader:
    """Make a reader of a share from 0 to ``high`` (a percentage, or a plain fraction)."""

    def read(raw: Any, spot: Spot) -> Decimal:
        text = text_of(raw, spot)
        value = fraction_of(text)
        if value is None:
            spot.fail(f"{text!r} is not a percentage such as 0.1%")
        if not 0 <= value <= Decimal(high):
            hint = "" if text.endswith("%") else f"write {text}% if percent was meant"
            spot.fail(f"{text} is outside 0% to {(Decimal(high) * 100).normalize():f}%", hint)
        return value

    return read


def or_off(inner: Reader) -> Reader:
    """Make a reader of ``off`` (None) or what ``inner`` reads."""

    def read(raw: Any, spot: Spot) -> Any:
        if raw is None or raw is False or str(raw).strip().lower() in ("off", "false", "no"):
            return None
        return inner(raw, spot)

    return read


def or_null(inner: Reader) -> Reader:
    """Make a reader of null (None) or what ``inner`` reads."""
    return lambda raw, spot: None if raw is None else inner(raw, spot)


def choice(*words: str) -> Reader:
    """Make a reader of one of ``words``."""

    def read(raw: Any, spot: Spot) -> str:
        text = "off" if raw is False and "off" in words else text_of(raw, spot).lower()
        if text not in words:
            spot.fail(f"{text!r} is not one of {', '.join(words)}", did_you_mean(text, words))
        return text

    return read


def word(pattern: str, expected: str) -> Reader:
    """Make a reader of text that matches ``pattern`` entirely."""

    def read(raw: Any, spot: Spot) -> str:
        text = text_of(raw, spot)
        if not re.fullmatch(pattern, text):
            spot.fail(f"{text!r} is not {expected}")
        return text

    return read


def symbol(raw: Any, spot: Spot) -> str:
    text = text_of(raw, spot)
    try:
        split_symbol(text)
    except ValueError as error:
        spot.fail(str(error))
    return text


def interval(raw: Any, spot: Spot) -> str:
    text = text_of(raw, spot)
    if text not in INTERVALS:
        spot.fail(f"unknown interval {text!r}; one of {', '.join(INTERVALS)}")
    return text


def moment(raw: Any, spot: Spot) -> int:
    """Read a date or time as milliseconds UTC."""
    try:
        return parse_time(text_of(raw, spot))
    except (ValueError, OverflowError) as error:
        spot.fail(str(error))


def path(raw: Any, spot: Spot) -> Path:
    """Read a path: ``~`` is the home directory, a relative one starts at the configuration file."""
    text = text_of(raw, spot)
    if not text or "\0" in text:
        spot.fail("expected a path")
    try:
        expanded = Path(text).expanduser()
    except RuntimeError as error:
        spot.fail(str(error), "set HOME, or give the path in full")
    return Path(os.path.normpath(spot.document.base(spot.where) / expanded))


def existing_file(raw: Any, spot: Spot) -> Path:
    found = path(raw, spot)
    if not found.is_file():
        spot.fail(f"no such file: {found}", "a relative path starts at the directory of the configuration")
    return found


def socket_path(raw: Any, spot: Spot) -> Path:
    """Read the path of a Unix socket, which the kernel limits to 107 bytes."""
    text = text_of(raw, spot).removeprefix("ipc://")
    found = path(text, spot)
    too_long = socket_path_problem(found)
    if too_long:
        spot.fail(too_long, "choose a shorter state_dir or control.socket")
    return found


def socket_path_problem(found: Path) -> str:
    """Return why the kernel would refuse ``found`` as a socket, or an empty string."""
    length = len(os.fsencode(found))
    return f"{length} bytes are too long for a socket path (at most {SOCKET_PATH_BYTES})" * (length > SOCKET_PATH_BYTES)


def url(*schemes: str) -> Reader:
    """Make a reader of a base url with one of ``schemes``, without a trailing slash."""

    def read(raw: Any, spot: Spot) -> str:
        text = text_of(raw, spot)
        if not re.fullmatch(rf"(?:{'|'.join(schemes)})://[^\s/@]+(?:/\S*)?", text):
            spot.fail(f"{text!r} is not a url starting with {'://, '.join(schemes)}://")
        return text.rstrip("/")

    return read


def exchange_id(raw: Any, spot: Spot) -> str:
    """Read the id that ccxt gives an exchange; an unknown one is refused with the nearest."""
    text = text_of(raw, spot)
    known = ccxt_ids()
    if text != OURS and known and text not in known:
        spot.fail(f"{text!r} is no exchange that ccxt knows", did_you_mean(text.lower(), known, "see docs.ccxt.com"))
    return text


def ccxt_ids(part: str = ".") -> frozenset[str]:
    """Return the ids of ccxt's exchanges, of those with streams for ``pro``: the names of its files.

    The package itself is not imported: it takes longer than botd's whole start.
    """
    found = find_spec("ccxt")
    places = found.submodule_search_locations if found is not None else None
    return frozenset(file.stem for place in places or () for file in Path(place, part).glob("[a-z]*.py"))


def sequence(inner: Reader) -> Reader:
    """Make a reader of a list without duplicates; a single value is a list of one."""

    def read(raw: Any, spot: Spot) -> tuple[Any, ...]:
        items = list(raw) if isinstance(raw, list | tuple) else [raw]
        values = [inner(item, spot.child(str(index))) for index, item in enumerate(items)]
        for index, value in enumerate(values):
            if value in values[:index]:
                spot.child(str(index)).fail(f"{value} is listed twice")
        return tuple(values)

    return read


def mapping(key: Reader, value: Reader) -> Reader:
    """Make a reader of a mapping whose keys and values are read each by their own."""

    def read(raw: Any, spot: Spot) -> dict[str, Any]:
        if raw is None:
            return {}
        if not isinstance(raw, dict):
            spot.fail("expected a mapping such as {KEY: value}")
        return {key(name, spot.child(str(name))): value(item, spot.child(str(name))) for name, item in raw.items()}

    return read


def risk_value(raw: Any, spot: Spot) -> Any:
    """Read the setting of one control: True, False, or text such as ``3%`` or ``15m``, which the risk room reads.

    A mapping holds one such value a part or scope; a list stays a list of words. NaN and infinities end here.
    """
    if isinstance(raw, dict):
        return {str(name): risk_value(item, spot.child(str(name))) for name, item in raw.items()}
    if isinstance(raw, list | tuple):
        return [text_of(item, spot.child(str(index))) for index, item in enumerate(raw)]
    text = text_of(raw, spot)
    if text.lower() in ("on", "true", "yes"):
        return True
    if text.lower() in ("off", "false", "no"):
        return False
    if re.fullmatch(r"[-+.]*(nan|inf|infinity)%?", text, re.IGNORECASE) or text.startswith("-"):
        spot.fail(f"{text} is not a finite number of at least 0")
    return text
