"""The front's time: real, accelerated, moved by the test, or somebody else's.

Everything timed in the front is a callback of one of these clocks. It does not know what is timed.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Protocol

Callback = Callable[[], None]


class Handle:
    """A callback to come; :meth:`cancel` makes it none."""

    __slots__ = ("callback", "cancelled", "timer")

    def __init__(self, callback: Callback) -> None:
        self.callback = callback
        self.cancelled = False
        self.timer: asyncio.TimerHandle | None = None

    def cancel(self) -> None:
        self.cancelled = True
        if self.timer is not None:
            self.timer.cancel()


class FrontClock(Protocol):
    """The exchange's time, in milliseconds since 1970 UTC, and callbacks at such times."""

    def now_ms(self) -> int: ...

    def call_at(self, time_ms: float, callback: Callback) -> Handle:
        """Call back on the running loop at that time, soon where it is past."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait for so many seconds of this clock."""
        ...


class _Sleeper(ABC):
    @abstractmethod
    def now_ms(self) -> int: ...

    @abstractmethod
    def call_at(self, time_ms: float, callback: Callback) -> Handle: ...

    async def sleep(self, seconds: float) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def wake() -> None:
            if not done.done():
                done.set_result(None)

        handle = self.call_at(self.now_ms() + seconds * 1000, wake)
        try:
            await done
        finally:
            handle.cancel()


class RunningClock(_Sleeper):
    """Goes on by itself, ``speed`` times as fast as real time, from ``start_ms`` (default: now).

    ``held``: stands at the start until :meth:`release`.
    """

    def __init__(self, start_ms: int | None = None, speed: float = 1.0, *, held: bool = False) -> None:
        if not speed > 0:
            raise ValueError(f"speed {speed} is not positive; ManualClock stands still")
        self.speed = speed
        self._start_ms = time.time_ns() // 1_000_000 if start_ms is None else start_ms
        self._origin = None if held else time.monotonic()
        self._waiting: list[tuple[float, Handle]] = []

    def now_ms(self) -> int:
        if self._origin is None:
            return self._start_ms
        return self._start_ms + int((time.monotonic() - self._origin) * 1000 * self.speed)

    def call_at(self, time_ms: float, callback: Callback) -> Handle:
        handle = Handle(callback)
        if self._origin is None:
            self._waiting.append((time_ms, handle))
        else:
            self._arm(time_ms, handle)
        return handle

    def release(self) -> None:
        """Let a held clock go; nothing happens to one that goes. Called on the loop whose timers wait."""
        if self._origin is None:
            self._origin = time.monotonic()
            waiting, self._waiting = self._waiting, []
            for time_ms, handle in waiting:
                self._arm(time_ms, handle)

    def _arm(self, time_ms: float, handle: Handle) -> None:
        if not handle.cancelled:
            assert self._origin is not None
            # The absolute time: rounding in now_ms() must not make the callback early.
            due = self._origin + (time_ms - self._start_ms) / 1000 / self.speed
            loop = asyncio.get_running_loop()
            handle.timer = loop.call_later(due - time.monotonic() + 1e-5, handle.callback)


class ManualClock(_Sleeper):
    """Stands still until :meth:`advance`: each callback runs at its own time, in order, before the next."""

    def __init__(self, start_ms: int = 1_767_225_600_000) -> None:
        self._now_ms = start_ms
        self._heap: list[tuple[float, int, Handle]] = []
        self._count = itertools.count()
        self.between: Callable[[], Awaitable[None]] | None = None
        """Awaited after each moment: lets the sockets drain in a long advance."""

    def now_ms(self) -> int:
        return self._now_ms

    def call_at(self, time_ms: float, callback: Callback) -> Handle:
        handle = Handle(callback)
        heapq.heappush(self._heap, (max(time_ms, self._now_ms), next(self._count), handle))
        return handle

    async def advance(self, milliseconds: float) -> None:
        """Move on by so much; returns when everything that was due has been done."""
        await self.advance_to(self._now_ms + milliseconds)

    async def advance_to(self, time_ms: float) -> None:
        while self._heap and self._heap[0][0] <= time_ms:
            due, _, handle = heapq.heappop(self._heap)
            if handle.cancelled:
                continue
            self._now_ms = max(self._now_ms, int(-(-due // 1)))
            handle.callback()
            await asyncio.sleep(0)
            if self.between is not None:
                await self.between()
        self._now_ms = max(self._now_ms, int(time_ms))
        await asyncio.sleep(0)


class FollowedClock(_Sleeper):
    """Follows a clock that a test moves without telling: looks at it every ``poll_s`` of real time."""

    def __init__(self, now: Callable[[], int], poll_s: float = 0.002) -> None:
        self._now = now
        self._poll_s = poll_s
        self._heap: list[tuple[float, int, Handle]] = []
        self._count = itertools.count()
        self._polling = False

    def now_ms(self) -> int:
        return self._now()

    def call_at(self, time_ms: float, callback: Callback) -> Handle:
        handle = Handle(callback)
        heapq.heappush(self._heap, (time_ms, next(self._count), handle))
        if not self._polling:
            self._polling = True
            asyncio.get_running_loop().call_soon(self._poll)
        return handle

    def _poll(self) -> None:
        now = self._now()
        while self._heap and self._heap[0][0] <= now:
            handle = heapq.heappop(self._heap)[2]
            if not handle.cancelled:
                handle.callback()
        self._polling = bool(self._heap)
        if self._polling:
            asyncio.get_running_loop().call_later(self._poll_s, self._poll)


class WallTimers:
    """Timers of the wire itself (pings, message rates) in real time, whatever the market's clock does."""

    def monotonic(self) -> float:
        return time.monotonic()

    def call_later(self, seconds: float, callback: Callback) -> Handle:
        handle = Handle(callback)
        handle.timer = asyncio.get_running_loop().call_later(seconds, callback)
        return handle


class MarketTimers:
    """The same in the market's time, for tests in which the client lives in virtual time too."""

    def __init__(self, clock: FrontClock) -> None:
        self._clock = clock

    def monotonic(self) -> float:
        return self._clock.now_ms() / 1000

    def call_later(self, seconds: float, callback: Callback) -> Handle:
        return self._clock.call_at(self._clock.now_ms() + seconds * 1000, callback)


Timers = WallTimers | MarketTimers
