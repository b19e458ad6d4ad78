"""How long a lane's gate waits for an answer of REST before it asks again."""

from __future__ import annotations

from botd.market.binance.proof import LAG_MS

_AGAIN_MS = (1_500, 1_500, 2_000, 5_000, 10_000, 20_000, 30_000)
"""Three tries within the 5 s that bots wait for a hole, then ever more slowly."""
_STALE_MS = 15_000
_AUDIT_MS = LAG_MS + 1_000
"""An answer that was too old to serve as the audit is recent enough then."""
_BARREN_MS = 300_000
_BARREN = 5


def pause_ms(attempt: int, at_head: bool, stale: bool, missing: bool, barren: int, audit: bool) -> int:
    """Return the pause after ``attempt`` questions (0: the first is sent now).

    ``at_head``: the next candle is asked for; ``missing``: some that were passed over; ``audit``: those that were
    delivered. ``barren`` answers in a row said that the missing ones do not exist.
    """
    pause = _AGAIN_MS[min(attempt, len(_AGAIN_MS) - 1)]
    if at_head:
        return min(pause, _STALE_MS) if stale else pause
    if missing and barren < _BARREN:
        return pause
    return _AUDIT_MS if audit else _BARREN_MS
