"""A circuit breaker: after some failures in a row nothing is tried for a while, then one trial decides.

It keeps time by the clock it is given and knows nothing of what it protects.
"""

from __future__ import annotations

from botd.domain.clock import Clock


class Breaker:
    """Closed: all may be tried. Open: nothing. Half-open, after ``retry_s``: one trial, then closed or open."""

    def __init__(self, clock: Clock, *, limit: int = 3, retry_s: float = 5.0) -> None:
        self._clock = clock
        self._limit = limit
        self._retry_s = retry_s
        self._failures = 0
        self._retry_at: float | None = None

    @property
    def is_open(self) -> bool:
        """True from the last of the failures until a trial succeeds."""
        return self._retry_at is not None

    def allows(self) -> bool:
        """Tell whether something may be tried now; while open, at most once in ``retry_s``."""
        if self._retry_at is None:
            return True
        if self._clock.monotonic() < self._retry_at:
            return False
        self._retry_at = self._clock.monotonic() + self._retry_s
        return True

    def wait_s(self) -> float:
        """Return how long until something may be tried again."""
        return 0.0 if self._retry_at is None else max(0.0, self._retry_at - self._clock.monotonic())

    def succeeded(self) -> bool:
        """Close; return whether it was open until now."""
        was_open = self.is_open
        self._failures, self._retry_at = 0, None
        return was_open

    def failed(self) -> bool:
        """Count a failure; return whether this one opened the breaker."""
        self._failures += 1
        if self._failures < self._limit:
            return False
        opened = not self.is_open
        self._retry_at = self._clock.monotonic() + self._retry_s
        return opened
