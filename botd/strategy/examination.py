"""Is a signal strategy fit to be traded: does it look back only, and does its warm-up suffice?

Two questions, asked of the same candles. Window: is the last signal over the trailing window that a bot sees the one
that the whole history gives (:func:`botd.strategy.check.first_difference`)? Asked where it matters: around every kind
of change of the signals, and evenly spread. Cut: does what is known at a candle change when later candles are taken
away? Asked of all candles before a few cuts. Where either finds a difference, the candles are asked one by one from
the beginning, so that the first is named.

It raises DeniedError with the first candle that differs, and what to do; it repairs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from itertools import chain, islice

import numpy as np
from numpy.typing import NDArray

from botd.domain.candles import Candles
from botd.domain.clock import rfc3339
from botd.domain.errors import DeniedError, InvalidError
from botd.strategy.base import Signals, SignalStrategy
from botd.strategy.check import Difference, differences, pair, window
from botd.strategy.faults import raised
from botd.strategy.inputs import signals_of
from botd.strategy.warmup import warmup_of

MOST = 20_000
"""Candles looked at: the last so many. A strategy that looks ahead does so everywhere."""

_AROUND, _SPREAD = 24, 24
_CUTS = (0.35, 0.6, 0.85)
_SEARCH_ROWS, _SEARCH_MOST = 20_000_000, 1_000
"""Candles computed, and differences looked into, at most in the search for the first: seconds, unless it is slow."""


def examine(name: str, strategy: SignalStrategy, candles: Candles) -> int:
    """Return at how many candles window and history were compared; DeniedError where they differ.

    The last :data:`MOST` candles are looked at, or four times the warm-up. InvalidError where ``signals`` fails or does
    not return what it should.
    """
    length = max(1, warmup_of(name, strategy))
    rows = candles.tail(max(MOST, 4 * length))
    if not len(rows):
        return 0
    whole = asked(name, strategy, rows)
    try:
        cut = _cut_difference(strategy, rows, whole)
        chosen = _bars(whole, length, len(rows))
        known = cut or next(differences(strategy, rows, whole, chosen), None)
        if known is None:
            return len(chosen)
        first, ahead = _first(strategy, rows, whole, length, known, cut is not None)
    except (Exception, SystemExit) as error:  # a user's code may raise anything
        raise InvalidError(f"strategy {name}: {raised(error)}") from None
    raise _refusal(name, rows, first, ahead, length)


def asked(name: str, strategy: SignalStrategy, candles: Candles) -> Signals:
    """Return the signals of ``candles``; InvalidError for code that fails and for what are no signals."""
    try:
        signals = signals_of(strategy, candles)
    except (Exception, SystemExit) as error:  # a user's code may raise anything
        raise InvalidError(f"strategy {name}: {raised(error)}") from None
    for side in ("enter", "exit"):
        flags = getattr(signals, side, None)
        if getattr(flags, "dtype", None) != np.bool_ or getattr(flags, "shape", None) != (len(candles),):
            raise InvalidError(f"strategy {name}: {side} must be an array of {len(candles)} booleans")
    return signals


def _bars(whole: Signals, length: int, count: int) -> list[int]:
    """Return the candles to ask about: where a signal begins or ends, the ones before and after, evenly spread."""
    chosen: set[int] = set()
    for flags in (whole.enter, whole.exit):
        flips = np.flatnonzero(flags[1:] != flags[:-1]) + 1
        for k in _some(flips, _AROUND):
            chosen.update((k - 1, k, k + 1))
    chosen.update(_some(np.arange(min(count - 1, length), count), _SPREAD))
    chosen.update((0, 1, length - 1, length, length + 1, count - 1))
    return sorted(k for k in chosen if 0 <= k < count)


def _some(values: NDArray[np.int64], most: int) -> Iterator[int]:
    if len(values):
        yield from (int(values[k]) for k in np.unique(np.linspace(0, len(values) - 1, most).astype(int)))


def _cut_difference(strategy: SignalStrategy, rows: Candles, whole: Signals) -> Difference | None:
    """Return the first candle whose signals change when what comes after a cut is taken away."""
    firsts = []
    for share in _CUTS:
        end = int(len(rows) * share)
        if end < 1:
            continue
        part = signals_of(strategy, window(rows, end - 1, end))
        differ = np.flatnonzero((part.enter != whole.enter[:end]) | (part.exit != whole.exit[:end]))
        if len(differ):
            firsts.append(Difference(int(differ[0]), pair(whole, int(differ[0])), pair(part, int(differ[0]))))
    return min(firsts, key=lambda found: found.bar, default=None)


def _first(
    strategy: SignalStrategy, rows: Candles, whole: Signals, length: int, known: Difference, ahead: bool
) -> tuple[Difference, bool]:
    """Return the first candle that differs, and whether that is look-ahead; else the warm-up is too short.

    Where the window differs and all candles up to there give what the whole history gives, it is the warm-up. In a
    strategy that is known to look ``ahead``, by a cut, such candles are passed over: the first that does is wanted.
    """
    found = _search(strategy, rows, whole, min(len(rows) if ahead else known.bar, _SEARCH_ROWS // length))
    for one in chain(islice(found, _SEARCH_MOST), () if ahead else (known,)):
        seen = pair(signals_of(strategy, window(rows, one.bar, one.bar + 1)), -1)
        if seen != one.history:
            return Difference(one.bar, one.history, seen), True
        if not ahead:
            return one, False
    return known, True


def _search(strategy: SignalStrategy, rows: Candles, whole: Signals, end: int) -> Iterator[Difference]:
    """Yield the candles before ``end`` that differ. Where code fails on few candles, there is nothing to compare."""
    for bar in range(end):
        with suppress(Exception):  # a user's code may raise anything
            yield from differences(strategy, rows, whole, (bar,))


def _refusal(name: str, rows: Candles, found: Difference, ahead: bool, length: int) -> DeniedError:
    at = rfc3339(int(rows.time[found.bar]))
    then, now = _words(found.history), _words(found.window)
    if ahead:
        return DeniedError(
            f"strategy {name} looks ahead: at {at} it says {then} with the later candles known, and {now} without them",
            "use candles up to the one decided on only: no shift(-1), no centred window, no mean of the whole sample",
        )
    return DeniedError(
        f"strategy {name} warms up too short: at {at} it says {then} over the whole history, and {now} over the last "
        f"{length} candles{_inputs(rows)}, which is all that a bot sees",
        "let warmup() return more (ema_warmup(period), wilder_warmup(period) of botd.strategy.warmup), and compare by "
        "above() and below() of botd.strategy.comparisons, which rounding does not decide",
    )


def _inputs(rows: Candles) -> str:
    """Return what a bot sees besides: `` (and 50 of BTC/USDT 1h)``."""
    told = [f"{one.needs} of {one.words}" for one in (rows.inputs or {}).values()]
    return f" (and {', '.join(told)}: candles= in inputs())" if told else ""


def _words(pair: tuple[bool, bool]) -> str:
    return {
        (False, False): "nothing",
        (True, False): "enter",
        (False, True): "exit",
        (True, True): "enter and exit",
    }[pair]
