"""The next candle that can do anything to a position, compiled: all others need not be told to anybody.

The comparisons are those of the price-level index; what happens then is the production code's business.
"""

from __future__ import annotations

from botd.backtest.compiler import compiled
from botd.backtest.kernel import Floats


@compiled
def next_touch(low: Floats, high: Floats, first: int, end: int, stop: float, target: float, highest: float) -> int:
    """Return the first row in [first, end) that reaches stop or target, or rises above ``highest``; ``end`` if none.

    NaN is never reached.
    """
    low, high = low[first:end], high[first:end]
    for k in range(len(low)):
        if low[k] <= stop or high[k] >= target or high[k] > highest:
            return first + k
    return end
