"""Health: collects what the parts say of themselves, and supervises the parts that may fail and come back."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from botd.domain.clock import Clock
from botd.domain.errors import BotdError
from botd.orchestrator.garbage import Garbage

logger = logging.getLogger("botd.health")

OK, DEGRADED, FAILED = "ok", "degraded", "failed"
LONGEST_PAUSE_S = 10.0
"""Between two attempts: an order in doubt needs 45 s of answers, and is to be settled a minute after an outage ends."""
_ORDER = {OK: 0, DEGRADED: 1, FAILED: 2}


class Part:
    """A part of the daemon that may be out of order while the rest serves."""

    def __init__(self, name: str, detail: str = "starting", status: str = DEGRADED) -> None:
        self.name = name
        self.status = status
        self.detail = detail

    def set(self, status: str, detail: str = "") -> None:
        """Take a new status; a change is logged once."""
        if status != self.status:
            level = logging.INFO if status == OK else logging.WARNING
            logger.log(level, "%s: %s -> %s%s", self.name, self.status, status, f" ({detail})" if detail else "")
        self.status, self.detail = status, detail


class LoopLag:
    """Measures how late the event loop wakes: the last ten minutes, ten times a second."""

    def __init__(self, clock: Clock, every_s: float = 0.1, garbage: Garbage | None = None) -> None:
        self.garbage = garbage or Garbage(clock)
        self._clock = clock
        self._every_s = every_s
        self._lags: deque[float] = deque(maxlen=6000)
        self.last_beat = clock.monotonic()

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            began = self._clock.monotonic()
            await asyncio.sleep(self._every_s)
            self.last_beat = self._clock.monotonic()
            self._lags.append(max(0.0, self.last_beat - began - self._every_s))

    def statistics(self) -> dict[str, Any]:
        """Return milliseconds: p50, p99, max; and what the collector of cycles took of them."""
        lags = sorted(self._lags)
        pauses = self.garbage.statistics()
        if not lags:
            return {"lag_ms_p50": None, "lag_ms_p99": None, "lag_ms_max": None, **pauses}
        at = {"p50": lags[len(lags) // 2], "p99": lags[int(len(lags) * 0.99)], "max": lags[-1]}
        return {**{f"lag_ms_{name}": round(value * 1000, 2) for name, value in at.items()}, **pauses}

    def lags(self, limit_s: float = 1.0) -> bool:
        """Tell whether more than one wake-up in a hundred came later than ``limit_s``, over half a minute at least."""
        late = sum(lag > limit_s for lag in self._lags)
        return len(self._lags) >= 300 and late > len(self._lags) / 100

    def healthy(self, limit_s: float = 5.0) -> bool:
        """Tell whether the loop was alive within ``limit_s``."""
        return self._clock.monotonic() - self.last_beat < limit_s


Check = Callable[[], tuple[str, str, str]]
"""Returns (name, status, detail)."""


class Health:
    """Asks every check; the worst decides."""

    def __init__(self) -> None:
        self._checks: list[Check] = []

    def add(self, check: Check) -> None:
        """Add a check."""
        self._checks.append(check)

    def report(self) -> tuple[str, list[dict[str, str]]]:
        """Return the worst status and all checks."""
        rows = [dict(zip(("name", "status", "detail"), check(), strict=True)) for check in self._checks]
        worst = max((row["status"] for row in rows), key=lambda status: _ORDER.get(status, 2), default=OK)
        return worst, rows


def pauses(chance: Callable[[], float]) -> Callable[[int], float]:
    """Return how long to wait (s) after the n-th failure in a row: twice the last time, with ``chance`` in it."""
    return lambda failures: min(LONGEST_PAUSE_S, 0.5 * 2.0 ** min(failures - 1, 10)) * (0.5 + chance() / 2)


async def supervise(
    part: Part, attempt: Callable[[], Awaitable[None]], clock: Clock, delay_s: Callable[[int], float]
) -> None:
    """Run ``attempt`` until it returns; after a failure say so and try again after ``delay_s(n)``."""
    failures = 0
    while True:
        try:
            await attempt()
        except asyncio.CancelledError:
            raise
        except Exception as error:  # the boundary of a part: the daemon goes on without it
            failures += 1
            said = (error.message if isinstance(error, BotdError) else f"{type(error).__name__}: {error}")[:300]
            if failures == 1 and part.status == DEGRADED:  # it never was in order: no change that would be logged
                logger.warning("%s: %s; it is tried again", part.name, said)
            part.set(DEGRADED, said)
            await clock.sleep(delay_s(failures))
        else:
            return
