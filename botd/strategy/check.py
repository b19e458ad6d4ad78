"""Does a signal strategy look back only, and far enough?

Its last signal over the trailing window of ``warmup()`` candles must equal its signal over the whole
history. A difference is look-ahead or too short a warm-up.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from botd.domain.candles import Candles
from botd.strategy.base import SignalStrategy


@dataclass(frozen=True, slots=True)
class Difference:
    """The first candle whose signals differ, as (enter, exit) over the history and over the window."""

    bar: int
    history: tuple[bool, bool]
    window: tuple[bool, bool]


def first_difference(strategy: SignalStrategy, candles: Candles, bars: Iterable[int]) -> Difference | None:
    """Return the first of ``bars`` (indices) at which window and history disagree, None if they all agree.

    Where fewer candles exist than the warm-up, the window is all there are.
    """
    whole = strategy.signals(candles)
    length = max(1, strategy.warmup())
    for bar in bars:
        last = strategy.signals(window(candles, bar, length))
        history = bool(whole.enter[bar]), bool(whole.exit[bar])
        trailing = bool(last.enter[-1]), bool(last.exit[-1])
        if history != trailing:
            return Difference(bar, history, trailing)
    return None


def window(candles: Candles, bar: int, length: int) -> Candles:
    """Return the ``length`` candles that end with ``bar`` (fewer at the beginning), without copying."""
    cut = slice(max(0, bar + 1 - length), bar + 1)
    return Candles(
        candles.interval,
        candles.time[cut],
        candles.open[cut],
        candles.high[cut],
        candles.low[cut],
        candles.close[cut],
        candles.volume[cut],
    )
