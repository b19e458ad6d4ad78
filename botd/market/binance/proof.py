"""What the stream's flag and an answer of REST prove about candles.

A row carries no time of its own, and an answer may be old: from a cache, or from a copy that lags. It is as
recent as the opening of its own last row, and it is taken to be at most ``LAG_MS`` behind its question.
"""

from __future__ import annotations

from collections.abc import Sequence

from botd.domain.candle import Candle
from botd.market.binance.gate_values import Row
from botd.market.feed import PROOF_MS as PROOF_MS

LAG_MS = 30_000
"""No answer is further behind than that."""


def proven(rows: Sequence[Row], length: int, asked_ms: int, now_ms: int) -> tuple[int, list[Row]]:
    """Return the time that an answer shows at least, and its rows that had closed by then.

    ``length`` is the interval in milliseconds, ``asked_ms`` the exchange's time of the question.
    """
    opened = [row.candle.open_time for row in rows if row.candle.open_time <= now_ms]
    as_of = max(max(opened, default=0), asked_ms - LAG_MS)
    closed = min(as_of, asked_ms - PROOF_MS) - length
    return as_of, [row for row in rows if row.candle.open_time <= closed and _is_sound(row, length)]


def called_closed(candle: Candle, length: int, event_ms: int) -> bool:
    """Tell whether the stream may close this candle at ``event_ms``: its values can be, and its time is over."""
    opened = candle.open_time
    return candle.is_sound and opened % length == 0 and event_ms >= opened + length - PROOF_MS


def has_passed(rows: Sequence[Row], asked_from: int, first: int, end: int) -> bool:
    """Tell whether an answer covers the hole from ``first`` to before ``end``, goes on behind it, and has nothing
    in it: such candles do not exist."""
    times = [row.candle.open_time for row in rows]
    return bool(times) and asked_from <= first and times[-1] >= end and not any(first <= time < end for time in times)


def _is_sound(row: Row, length: int) -> bool:
    return row.candle.open_time % length == 0 and row.trades >= 0 and row.candle.is_sound
