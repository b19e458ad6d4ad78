"""Rows of candles as arrays: is this sound, where are holes, and what do two sets of rows make together?

Pure functions; nothing here knows a file. A *span* is (from, to): open times in milliseconds, ``to`` excluded.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from botd.domain.candle import interval_ms
from botd.domain.candles import Candles
from botd.domain.clock import rfc3339

Span = tuple[int, int]
FIELDS = ("open", "high", "low", "close", "volume")
_LATEST_MS = 1 << 43  # the year 2248


@dataclass(frozen=True, slots=True)
class Merged:
    """The rows of both; ``difference`` names the first candle that the two know differently, else it is empty."""

    rows: Candles
    added: int
    equal: int
    replaced: int
    difference: str = ""


def columns_of(rows: Candles) -> tuple[NDArray[Any], ...]:
    """Return time, open, high, low, close, volume."""
    return rows.time, rows.open, rows.high, rows.low, rows.close, rows.volume


def candles_of(interval: str, columns: Sequence[NDArray[Any]]) -> Candles:
    """Return columns as candles that nobody can write to."""
    for column in columns:
        column.setflags(write=False)
    return Candles(interval, *columns)


def between(rows: Candles, from_ms: int | None, to_ms: int | None) -> Candles:
    """Return the rows that open at ``from_ms`` or later and before ``to_ms``, without copying."""
    start = 0 if from_ms is None else int(np.searchsorted(rows.time, from_ms))
    end = len(rows) if to_ms is None else int(np.searchsorted(rows.time, to_ms))
    return rows.part(start, end)


def joined_rows(interval: str, parts: Sequence[Candles]) -> Candles:
    """Return the parts one after the other."""
    if not parts:
        return Candles.empty(interval)
    return candles_of(interval, [np.concatenate(column) for column in zip(*map(columns_of, parts), strict=True)])


def fault_of(rows: Candles) -> str:
    """Return the first thing that no row of candles may be, or an empty string."""
    if not len(rows):
        return ""
    time, open_, high, low, close, volume = columns_of(rows)
    step = np.diff(time, prepend=time[0] - 1)
    values = np.stack((open_, high, low, close, volume))
    checks = (
        (step <= 0, "does not come after the one before"),
        ((time <= 0) | (time > _LATEST_MS), "has an impossible open time"),
        (time % interval_ms(rows.interval) != 0, f"does not open at a multiple of {rows.interval}"),
        (~np.isfinite(values).all(axis=0), "has a value that is not a finite number"),
        (values[:4].min(axis=0) <= 0, "has a price that is not above zero"),
        ((low > np.minimum(open_, close)) | (high < np.maximum(open_, close)), "opens or closes outside low and high"),
        (volume < 0, "has a negative volume"),
    )
    found = [(int(wrong.argmax()), fact) for wrong, fact in checks if wrong.any()]
    if not found:
        return ""
    row, fact = min(found)
    return f"the candle of {_when(int(time[row]))} {fact}"


def holes(time: NDArray[np.int64], length: int) -> list[Span]:
    """Return the spans between the first and the last row for which there is no row."""
    at = np.flatnonzero(np.diff(time) != length)
    return [(int(time[index]) + length, int(time[index + 1])) for index in at]


def merge(old: Candles, new: Candles) -> Merged:
    """Return both together; where they differ, the new row is taken (and the first difference is named)."""
    if not len(old):
        return Merged(new, len(new), 0, 0)
    place = np.searchsorted(old.time, new.time)
    known = np.zeros(len(new), dtype=bool)
    inside = place < len(old)
    known[inside] = old.time[place[inside]] == new.time[inside]
    before = np.stack([getattr(old, name)[place[known]] for name in FIELDS])
    after = np.stack([getattr(new, name)[known] for name in FIELDS])
    differs = (before != after).any(axis=0)
    rows = old
    if not known.all() or differs.any():
        kept = np.ones(len(old), dtype=bool)
        kept[place[known]] = False
        parts = [np.concatenate((a[kept], b)) for a, b in zip(columns_of(old), columns_of(new), strict=True)]
        order = np.argsort(parts[0], kind="stable")
        rows = candles_of(old.interval, [part[order] for part in parts])
    difference = ""
    if differs.any():
        row = int(differs.argmax())
        field = int((before[:, row] != after[:, row]).argmax())
        when = _when(int(new.time[known][row]))
        difference = (
            f"{when}: {FIELDS[field]} is {before[field, row]:.12g} in the store and {after[field, row]:.12g} now"
        )
    same = int((~differs).sum())
    return Merged(rows, int((~known).sum()), same, int(differs.sum()), difference)


# -- spans ---------------------------------------------------------------------------------------------------


def union(spans: Iterable[Span]) -> list[Span]:
    """Return the spans sorted, with those that touch made one."""
    found: list[Span] = []
    for start, end in sorted(span for span in spans if span[0] < span[1]):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found


def without(spans: Iterable[Span], taken: Iterable[Span]) -> list[Span]:
    """Return what is in ``spans`` and not in ``taken``."""
    cuts = union(taken)
    found: list[Span] = []
    at = 0
    for start, end in union(spans):
        while at < len(cuts) and cuts[at][1] <= start:
            at += 1
        while at < len(cuts) and cuts[at][0] < end:
            first, last = cuts[at]
            if start < first:
                found.append((start, first))
            start = last
            if last > end:
                break
            at += 1
        if start < end:
            found.append((start, end))
    return found


def covers(spans: Iterable[Span], span: Span) -> bool:
    """Tell whether all of ``span`` lies in one of ``spans`` (which are a union)."""
    return any(start <= span[0] and span[1] <= end for start, end in spans)


def _when(time: int) -> str:
    return rfc3339(time) if 0 <= time <= _LATEST_MS else str(time)
