"""Time and chance: the only module that reads the wall clock or makes random numbers.

Two times are kept apart. *Trading time* (:meth:`Clock.now_ms`) stamps orders, fills, equity and risk
windows; on a simulated market it is the market's own time. *Wall time* stamps logs and commands, and
monotonic seconds drive timers.
"""

from __future__ import annotations

import asyncio
import datetime
import functools
import random
import secrets
import time
from typing import Protocol


class Clock(Protocol):
    """The seam through which all of botd reads time."""

    def now_ms(self) -> int:
        """Return trading time, milliseconds since 1970-01-01 UTC."""
        ...

    def wall_ms(self) -> int:
        """Return wall time, milliseconds since 1970-01-01 UTC; for stamps, never for logic."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never step back; for timers."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait for so many seconds of monotonic time."""
        ...


class WallClock:
    """The real clock: trading time is wall time."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class MarketClock(WallClock):
    """The clock of a simulated market: trading time is what the market's player says it is."""

    def __init__(self, start_ms: int) -> None:
        self._now_ms = start_ms

    def now_ms(self) -> int:
        return self._now_ms

    def advance(self, now_ms: int) -> None:
        """Move trading time forward to ``now_ms``; it never goes back."""
        self._now_ms = max(self._now_ms, now_ms)


class VirtualClock:
    """A clock for tests and simulations: it moves by :meth:`advance` and :meth:`sleep` alone."""

    def __init__(self, start_ms: int = 1_767_225_600_000) -> None:
        self._now_ms = start_ms
        self._start_ms = start_ms

    def now_ms(self) -> int:
        return self._now_ms

    def wall_ms(self) -> int:
        return self._now_ms

    def monotonic(self) -> float:
        return (self._now_ms - self._start_ms) / 1000

    def advance(self, now_ms: int) -> None:
        """Move to ``now_ms`` (never back)."""
        self._now_ms = max(self._now_ms, now_ms)

    async def sleep(self, seconds: float) -> None:
        self.advance(self._now_ms + round(seconds * 1000))
        await asyncio.sleep(0)


Random = random.Random
"""What :func:`seeded_random` returns: the type for those who take one."""


def seeded_random(seed: int | str) -> random.Random:
    """Return a generator that gives the same numbers for the same seed, on every machine."""
    return random.Random(seed)


def random_token(alphabet: str, length: int) -> str:
    """Return ``length`` letters of ``alphabet`` nobody can guess; for ids that are born once."""
    return "".join(secrets.choice(alphabet) for _ in range(length))


@functools.lru_cache(maxsize=1024)  # lists of bots ask for the same few times again and again
def rfc3339(ms: int) -> str:
    """Return ``2026-01-01T00:00:00Z`` (with ``.123`` when there are milliseconds) for trading or wall time."""
    moment = datetime.datetime.fromtimestamp(ms // 1000, datetime.UTC)
    fraction = f".{ms % 1000:03d}" if ms % 1000 else ""
    return moment.isoformat()[:19] + fraction + "Z"


def parse_time(text: str) -> int:
    """Return milliseconds for an RFC 3339 or ISO date or time (UTC where no zone is given).

    Raises ValueError with what was expected.
    """
    try:
        moment = datetime.datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f"{text!r} is not a time; expected e.g. 2026-01-31T12:00:00Z") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    return round(moment.timestamp() * 1000)
