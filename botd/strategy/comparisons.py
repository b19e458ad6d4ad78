"""Comparisons that rounding cannot decide.

The same average over a trailing window and over the whole history differs in its last bits, so values
nearer than a tolerance count as equal: 1e-9 of the close in price units, 1e-7 of RSI. NaN (an indicator
not yet defined) is neither above nor below anything.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

PRICE_TOLERANCE = 1e-9
RSI_TOLERANCE = 1e-7

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


def above(left: Floats, right: Floats, close: Floats) -> Flags:
    """Return where ``left`` is above ``right`` by more than 1e-9 of ``close``; all three are prices."""
    result: Flags = left - right > close * PRICE_TOLERANCE
    return result


def below(left: Floats, right: Floats, close: Floats) -> Flags:
    """Return where ``left`` is below ``right`` by more than 1e-9 of ``close``."""
    result: Flags = right - left > close * PRICE_TOLERANCE
    return result


def moving(close: Floats, candles: int) -> Flags:
    """Return where the close left the one before it, by more than 1e-9 of it, in any of the last ``candles``."""
    result = np.ones(len(close), np.bool_)
    ratio = close[1:] / close[:-1]
    still = np.flatnonzero((ratio >= 1 - PRICE_TOLERANCE) & (ratio <= 1 + PRICE_TOLERANCE)) + 1
    still = np.concatenate((np.arange(1 - candles, min(1, len(close))), still))  # before the first row nothing is known
    runs = still[candles - 1 :]  # each beside the one that is so many rows that stand still before it
    result[runs[runs - still[: len(runs)] == candles - 1]] = False
    return result


def previous(values: Floats) -> Floats:
    """Return each candle's predecessor's value, NaN for the first."""
    result = np.empty_like(values)
    result[:1] = np.nan
    result[1:] = values[:-1]
    return result
