"""How many of the latest requests went wrong: whether an exchange can be relied upon at the moment."""

from __future__ import annotations

import collections

from botd.domain.clock import Clock

WINDOW_S = 60.0
LEAST = 6  # requests that say something of a share
_KEPT = 200  # of a busy minute the last ones


class ErrorShare:
    """Counts answers and their lack over the last minute."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._latest: collections.deque[tuple[float, bool]] = collections.deque(maxlen=_KEPT)

    def note(self, *, failed: bool) -> None:
        """Count one request: failed are those without an answer, and those that the exchange could not serve."""
        self._latest.append((self._clock.monotonic(), failed))

    @property
    def share(self) -> float:
        """The share of failures; 0 while there were too few requests to tell."""
        since = self._clock.monotonic() - WINDOW_S
        recent = [failed for at, failed in self._latest if at >= since]
        return sum(recent) / len(recent) if len(recent) >= LEAST else 0.0
