"""Columns and cells of tables: how a value of a reply becomes a few characters.

Rounding happens here and only here. A cell never holds a control character. Knows no verb.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from botctl.session import clean
from botctl.times import format_age

_RED, _GREEN, _YELLOW, _DIM, _PLAIN = "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[2m", "\x1b[0m"
STATE_COLORS = {
    "running": _GREEN,
    "ok": _GREEN,
    "active": _GREEN,
    "failed": _RED,
    "halted": _RED,
    "backoff": _YELLOW,
    "degraded": _YELLOW,
    "paused": _YELLOW,
    "reduce": _YELLOW,
    "stopped": _DIM,
}


class Column:
    """One column: where its value is (``position.quantity``), its title, how its cells look.

    ``wide`` columns are shown by ``-o wide`` only (and always in tsv and csv). Where a terminal is too narrow, the
    column with ``drop`` 1 goes first, then 2 and so on; ``prose`` becomes narrower before names do, down to that many
    characters: it goes on in the next line, or is cut where ``one_line``.
    """

    __slots__ = ("drop", "form", "key", "one_line", "paint", "path", "prose", "right", "title", "wide")

    def __init__(
        self,
        key: str,
        title: str = "",
        form: Callable[[Any], str] | None = None,
        *,
        right: bool | None = None,
        wide: bool = False,
        prose: int = 0,
        paint: str = "",
        drop: int = 0,
        one_line: bool = False,
    ) -> None:
        self.key = key
        self.path = key.split(".") if "." in key else None
        self.title = title or key.rpartition(".")[2].replace("_", " ").upper()
        self.form = form or text
        self.right = right if right is not None else form in _RIGHT
        self.wide = wide
        self.prose = prose
        self.paint = paint
        self.drop = drop
        self.one_line = one_line

    def value(self, row: Any) -> Any:
        """Return the row's value, None where there is none."""
        if self.path is None:
            return row.get(self.key)
        for part in self.path:
            row = row.get(part) if isinstance(row, dict) else None
        return row

    def painted(self, cell: str) -> str:
        """Return the cell in its colour, for terminals."""
        if self.paint == "state":
            color = STATE_COLORS.get(cell, "")
        elif self.paint == "sign":
            color = _RED if cell.startswith("-") and cell != "-" else _GREEN if cell.startswith("+") else ""
        else:
            color = ""
        return f"{color}{cell}{_PLAIN}" if color else cell


def dim(text: str) -> str:
    """Return what matters less, for terminals with colour."""
    return f"{_DIM}{text}{_PLAIN}"


def render(column: Column, row: Any) -> str:
    """Return the cell of a row; what cannot be formatted is shown as it is."""
    value = column.value(row)
    if value is None:
        return "-"
    try:
        return column.form(value)
    except (TypeError, ValueError):
        return text(value)


def text(value: Any) -> str:
    """Return any value in one line without control characters."""
    if isinstance(value, str):
        return clean(value)
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.10g}"
    if isinstance(value, dict):
        return ",".join(f"{clean(str(key))}={text(item)}" for key, item in value.items())
    if isinstance(value, list):
        return ",".join(text(item) for item in value)
    return str(value)


def money(value: Any) -> str:
    """Return an amount of quote with two decimals: ``10,034.12``."""
    if value == "":
        return "-"
    return f"{float(value):,.2f}"


def gain(value: Any) -> str:
    """Return a profit or loss with its sign: ``+34.12``, ``-0.50``, ``0.00``."""
    amount = f"{float(value):+,.2f}"
    return "0.00" if amount in ("+0.00", "-0.00") else amount


def exact(value: Any) -> str:
    """Return a price or quantity: as it came up to 8 decimals, else 8 significant digits of the fraction."""
    shown = str(value)
    if "e" in shown.lower():
        shown = f"{float(shown):.16f}"
    whole, _, fraction = shown.partition(".")
    if len(fraction) <= 8:
        return shown
    rounded = f"{float(shown):.{2 if len(whole.lstrip('-')) > 3 else 8}f}"
    return rounded.rstrip("0").rstrip(".") if rounded.endswith("000") else rounded


def percent(value: Any) -> str:
    """Return a percentage: the number 1.5 is ``1.50%``."""
    shown = f"{float(value):.2f}%"
    return "0.00%" if shown == "-0.00%" else shown


def ratio(value: Any) -> str:
    """Return a plain figure with two decimals."""
    return f"{float(value):.2f}"


def count(value: Any) -> str:
    """Return a whole number."""
    return text(value)


def age(value: Any) -> str:
    """Return seconds as ``3m12s``."""
    return format_age(float(value))


def moment(value: Any) -> str:
    """Return an RFC 3339 time shortened for tables: ``2026-01-01 10:00:00``, in UTC."""
    shown = text(value)
    if len(shown) >= 20 and shown[10] == "T":
        return shown[:10] + " " + shown[11:19]
    return shown or "-"


def dated(value: Any) -> str:
    """Return a time as :func:`moment` does, for tables that span years: shortened, it keeps its date."""
    return moment(value)


def dated_to_the_minute(value: Any) -> str:
    """Return the same, for rows less than a day apart: shortened, it loses its seconds only."""
    return moment(value)


def brief_moment(shown: str, width: int, form: Callable[[Any], str] = moment) -> str:
    """Return a time that :func:`moment` made in fewer characters: without what its form gives up first."""
    if len(shown) != FULL_MOMENT or shown[10] != " " or width >= FULL_MOMENT:
        return shown
    short = width < MOMENT_SIZES[form][1]
    if form is moment:
        return shown[5:16] if short else shown[5:]
    return shown[:10] if short else shown[:16]


FULL_MOMENT = 19
"""``2026-01-01 10:00:00``"""
MOMENT_SIZES: dict[Callable[[Any], str], tuple[int, int, int]] = {
    moment: (FULL_MOMENT, 14, 11),  # 01-01 10:00:00, 01-01 10:00
    dated: (FULL_MOMENT, 16, 10),  # 2026-01-01 10:00, 2026-01-01
    dated_to_the_minute: (FULL_MOMENT, 16, 16),
}
_RIGHT = {money, gain, exact, percent, ratio, count, age}
