"""Does a signal strategy look back only, and far enough?

Its last signal over the trailing window of ``warmup()`` candles must equal its signal over the whole
history. A difference is look-ahead or too short a warm-up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from botd.domain.candles import Candles
from botd.strategy.base import Signals, SignalStrategy
from botd.strategy.inputs import signals_of


@dataclass(frozen=True, slots=True)
class Difference:
    """The first candle whose signals differ, as (enter, exit) over the history and over the window."""

    bar: int
    history: tuple[bool, bool]
    window: tuple[bool, bool]


def first_difference(strategy: SignalStrategy, candles: Candles, bars: Iterable[int]) -> Difference | None:
    """Return the first of ``bars`` (indices) at which window and history disagree, None if they all agree."""
    return next(differences(strategy, candles, signals_of(strategy, candles), bars), None)


def differences(
    strategy: SignalStrategy, candles: Candles, whole: Signals, bars: Iterable[int]
) -> Iterator[Difference]:
    """Yield those of ``bars`` at which the window's last signal is not that of the history, which is ``whole``.

    Where fewer candles exist than the warm-up, the window is all there are.
    """
    length = max(1, strategy.warmup())
    for bar in bars:
        trailing = pair(signals_of(strategy, window(candles, bar, length)), -1)
        if trailing != pair(whole, bar):
            yield Difference(bar, pair(whole, bar), trailing)


def pair(signals: Signals, bar: int) -> tuple[bool, bool]:
    """Return what is said at a candle: (enter, exit)."""
    return bool(signals.enter[bar]), bool(signals.exit[bar])


def window(candles: Candles, bar: int, length: int) -> Candles:
    """Return the ``length`` candles that end with ``bar`` (fewer at the beginning), without copying.

    Of each input they see so many candles as it wants, and none that had not closed by then.
    """
    return candles.part(max(0, bar + 1 - length), bar + 1)
