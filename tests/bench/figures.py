"""Figures, and the table they are printed in."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import tabulate


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """One figure. ``peer`` names whose ``theirs`` is; ``bound`` is what ours must not exceed (or, with
    ``at_least``, must reach). A row with a ``note`` alone tells what could not be measured."""

    figure: str
    ours: float | None
    unit: str = ""
    peer: str = ""
    theirs: float | None = None
    bound: float | None = None
    at_least: bool = False
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """Ours divided by theirs."""
        return None if self.ours is None or not self.theirs else self.ours / self.theirs

    @property
    def met(self) -> bool | None:
        """Whether the bound is kept, None where there is none."""
        if self.bound is None or self.ours is None:
            return None
        return self.ours >= self.bound if self.at_least else self.ours <= self.bound


@dataclasses.dataclass(frozen=True, slots=True)
class Options:
    """How long a run may take: ``seconds`` is that of the capacity bench, ``quick`` shortens everything. ``asked_s`` is
    what was asked for, None where nothing was."""

    quick: bool = False
    seconds: float = 300.0
    asked_s: float | None = None


HEADERS = ("figure", "ours", "peer", "", "ratio", "bound", "met", "")


def table(rows: Iterable[Row]) -> str:
    """Return the rows as text."""
    cells = [
        (
            row.figure,
            amount(row.ours, row.unit),
            row.peer,
            amount(row.theirs, row.unit),
            "" if row.ratio is None else f"{row.ratio:.2f}",
            "" if row.bound is None else f"{'>=' if row.at_least else '<='} {amount(row.bound, row.unit)}",
            {None: "", True: "yes", False: "no"}[row.met],
            row.note,
        )
        for row in rows
    ]
    align = ("left", "right", "left", "right", "right", "right", "left", "left")
    return tabulate.tabulate(cells, headers=HEADERS, tablefmt="simple", colalign=align, disable_numparse=True)


def amount(value: float | None, unit: str) -> str:
    """Return a figure with its unit: three digits that count, thousands apart."""
    if value is None:
        return ""
    shown = f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"
    return f"{shown} {unit}".rstrip()


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value below which ``share`` of the values lie (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def median(values: Sequence[float]) -> float:
    """Return the middle one."""
    return quantile(values, 0.5)
