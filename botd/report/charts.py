"""Small charts as inline SVG: curves, bars, points. They need nothing but the page that holds them.

Pure functions of numbers; colours come from the page's style sheet by class. A curve of a million points is drawn by
the lowest and the highest of each column of pixels, so nothing that the eye could see is lost.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Times = NDArray[np.int64]

WIDTH, LEFT, RIGHT, TOP, BOTTOM = 960, 72, 12, 10, 26
_COLUMNS = 640
_TICKS = 5


@dataclass(frozen=True, slots=True)
class Line:
    """A curve over the times of its chart. ``css`` names its class; ``fill`` paints down to the base line."""

    name: str
    values: Floats
    css: str
    fill: bool = False


def curves(time: Times, lines: Sequence[Line], *, height: int = 260, unit: str = "") -> str:
    """Return a chart of curves over time."""
    low = min(float(np.nanmin(line.values)) for line in lines)
    high = max(float(np.nanmax(line.values)) for line in lines)
    frame = _Frame(float(time[0]), float(time[-1]), low, high, height)
    body = [frame.grid(unit), frame.months(time)]
    for line in lines:
        rows = outline(line.values)
        points = " ".join(f"{frame.x(float(time[k])):.1f},{frame.y(float(line.values[k])):.1f}" for k in rows)
        if line.fill:
            ends = f"{frame.x(float(time[rows[-1]])):.1f},{frame.y(high):.1f}"
            body.append(f'<polygon class="{line.css} fill" points="{LEFT},{frame.y(high):.1f} {points} {ends}"/>')
        body.append(f'<polyline class="{line.css} line" points="{points}"/>')
    return _svg(height, body, ", ".join(line.name for line in lines))


def scatter(time: Times, values: Floats, axis: Times, *, height: int = 240, unit: str = "") -> str:
    """Return a chart of points over the time of ``axis``: above zero ``up``, below it ``down``."""
    if not len(time):
        return ""
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    frame = _Frame(float(axis[0]), float(axis[-1]), low, high, height)
    body = [frame.grid(unit), frame.months(axis), frame.zero()]
    for k in _thinned(values):
        at, value = float(time[k]), float(values[k])
        css = "up" if value > 0 else "down"
        body.append(f'<circle class="{css}" cx="{frame.x(at):.1f}" cy="{frame.y(value):.1f}" r="2.6"/>')
    return _svg(height, body, "trades")


def histogram(values: Floats, *, height: int = 220, unit: str = "") -> str:
    """Return how often values occur, in some thirty classes that part at zero."""
    if not len(values):
        return ""
    least, most = float(values.min()), float(values.max())
    step = _nice(max(most - least, 0.01 * max(abs(least), abs(most)), 1e-9) / 30)
    first = math.floor(least / step)
    classes = np.floor(values / step).astype(np.int64) - first
    counts = np.bincount(classes)
    frame = _Frame(first * step, (first + len(counts)) * step, 0.0, float(counts.max()), height)
    body = [frame.grid("", whole=True)]
    for k, count in enumerate(counts.tolist()):
        left, right = frame.x((first + k) * step), frame.x((first + k + 1) * step)
        top, css = frame.y(float(count)), "up" if first + k >= 0 else "down"
        size = f'x="{left:.1f}" y="{top:.1f}" width="{max(0.5, right - left - 1):.1f}" height="{frame.base - top:.1f}"'
        body.append(f'<rect class="{css}" {size}><title>{(first + k) * step:.4g}{unit}: {count}</title></rect>')
    body.append(frame.axis(unit))
    return _svg(height, body, "distribution")


class _Frame:
    """From values to pixels."""

    def __init__(self, left: float, right: float, low: float, high: float, height: int) -> None:
        spread = high - low
        # What no label could show (ten digits) is flat: steps so small would be lost in rounding.
        room = spread * 0.04 if spread > 1e-9 * abs(high) else abs(high) * 0.01 or 1.0
        self._left, self._right = left, right if right > left else left + 1.0
        self._low, self._high = (low - room if low else low), high + room
        self.base, self._top = height - BOTTOM, TOP

    def x(self, value: float) -> float:
        return LEFT + (value - self._left) / (self._right - self._left) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        return self.base - (value - self._low) / (self._high - self._low) * (self.base - self._top)

    def grid(self, unit: str, whole: bool = False) -> str:
        """Return horizontal lines with their values."""
        parts = []
        for value in _marks(self._low, self._high, _TICKS, least=1.0 if whole else 0.0):
            at = self.y(value)
            label = f"{value:,.10g}" if abs(value) >= 1000 else f"{round(value, 10):g}"
            parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
            parts.append(f'<text x="{LEFT - 6}" y="{at + 4:.1f}" class="end">{label}{unit}</text>')
        return "".join(parts)

    def zero(self) -> str:
        """Return the line of zero."""
        at = self.y(0.0)
        return f'<line class="zero" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>'

    def months(self, time: Times) -> str:
        """Return dates below, evenly spread."""
        first, last, parts = int(time[0]), int(time[-1]), []
        long = last - first > 3 * 86_400_000
        for k in range(6):
            at = first + (last - first) * k // 5
            word = str(np.datetime64(at, "ms").astype("datetime64[D]" if long else "datetime64[m]")).replace("T", " ")
            place = "start" if k == 0 else "end" if k == 5 else "middle"
            parts.append(f'<text x="{self.x(at):.1f}" y="{self.base + 18}" class="{place}">{word}</text>')
        return "".join(parts)

    def axis(self, unit: str) -> str:
        """Return values below, for charts that are not over time."""
        return "".join(
            f'<text x="{self.x(value):.1f}" y="{self.base + 18}" class="middle">{round(value, 10):g}{unit}</text>'
            for value in _marks(self._left, self._right, 8)
        )


def outline(values: Floats, columns: int = _COLUMNS) -> list[int]:
    """Return the rows to draw: all, or the first, the lowest and the highest of each column, and the very last."""
    count = len(values)
    if count <= 3 * columns:
        return list(range(count))
    rows: set[int] = {0, count - 1}
    edges = np.linspace(0, count, columns + 1).astype(int)
    for start, end in itertools.pairwise(edges.tolist()):
        part = values[start:end]
        rows.update((start, start + int(part.argmin()), start + int(part.argmax())))
    return sorted(rows)


def _thinned(values: Floats, most: int = 4000) -> list[int]:
    """Return the rows of points to draw: all, or the extreme ones and every so many of the rest."""
    if len(values) <= most:
        return list(range(len(values)))
    order = np.argsort(values)
    return sorted({*order[:200].tolist(), *order[-200:].tolist(), *range(0, len(values), -(-len(values) // most))})


def _marks(low: float, high: float, count: int, least: float = 0.0) -> list[float]:
    """Return round values from ``low`` to ``high``, at most ``count`` steps of at least ``least`` apart."""
    step = max(least, _nice((high - low) / count))
    return [number * step for number in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _nice(step: float) -> float:
    """Return 1, 2 or 5 times a power of ten, at least ``step``."""
    power = 10.0 ** math.floor(math.log10(step)) if step > 0 else 1.0
    return next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= step * 0.999999)


def _svg(height: int, body: Sequence[str], label: str) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(label)}">{"".join(body)}</svg>'
