"""How many candles an indicator needs before where they began no longer matters.

Moving averages with a memory weigh a value of *n* candles ago with (1 - alpha)^n. After
36 / -ln(1 - alpha) candles that is e^-36, 2e-16: below the last bit of a float64. The seed of TA-Lib's
averages (a simple average of the first ``period`` values) comes on top.
"""

from __future__ import annotations

import math
import operator

import numpy as np

from botd.domain.candle import interval_ms
from botd.domain.candles import Candles
from botd.domain.errors import InvalidError
from botd.strategy.base import SignalStrategy, Strategy
from botd.strategy.faults import raised

MOST_CANDLES = 1_000_000

_DECAYS = 36.0


def ema_warmup(period: int) -> int:
    """Return the candles after which an EMA of ``period`` (alpha = 2 / (period + 1)) forgot its seed."""
    return period + _memory(2.0 / (period + 1))


def wilder_warmup(period: int) -> int:
    """Return the same for Wilder's average (alpha = 1 / period) of *changes*, which take one candle more."""
    return period + 1 + _memory(1.0 / period)


def _memory(alpha: float) -> int:
    return 0 if alpha >= 1.0 else math.ceil(_DECAYS / -math.log1p(-alpha))


def warmup_of(name: str, strategy: Strategy) -> int:
    """Return how many candles a strategy needs, whatever its author wrote; InvalidError for what is no such number."""
    try:
        needs = operator.index(strategy.warmup())
    except (Exception, SystemExit) as error:  # a user's code may raise anything
        raise InvalidError(f"strategy {name}: warmup(): {raised(error)}") from None
    if not 0 <= needs <= MOST_CANDLES:
        raise InvalidError(f"strategy {name}: warmup() must be from 0 to {MOST_CANDLES}, not {needs}")
    return needs


def defined_from(strategy: SignalStrategy, candles: Candles, most: int) -> int:
    """Return with how many candles all notes of a strategy are numbers, 0 where that is not seen.

    Asked of ``most`` candles that repeat the given ones: where NaN ends counts, not what the numbers are.
    """
    if not len(candles) or candles.inputs:
        return 0
    columns = (getattr(candles, name) for name in ("open", "high", "low", "close", "volume"))
    time = candles.time[0] + interval_ms(candles.interval) * np.arange(most)
    rows = Candles(candles.interval, time, *(np.resize(column, most) for column in columns))
    try:
        notes = [np.asarray(value, dtype=np.float64) for value in strategy.signals(rows).notes.values()]
    except (Exception, SystemExit):  # a user's code may raise anything; where it does so on real candles, it is told
        return 0
    known = [~np.isnan(note) for note in notes if note.shape == (most,)]
    return 1 + max(int(one.argmax()) for one in known) if known and all(one.any() for one in known) else 0
