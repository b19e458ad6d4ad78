"""Virtual time: one timeline for everything outside of botd, and an event loop of asyncio's that lives on it.

    timeline = Timeline()                 # seconds; it stands still while anything is ready to run
    timeline.at(time_ms, action)          # the world outside: the exchange, the network, the market
    loop = VirtualLoop(timeline)          # one life of botd; a crash drops it, the timeline goes on

No sockets, no threads: what asyncio would hand to a thread runs at once. The order of everything follows from the order
in which it was asked for.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from asyncio import base_events
from collections import deque
from collections.abc import Callable
from typing import Any

START_MS = 1_767_225_600_000 + 200 * 60_000
EXECUTOR_S = 0.001


class Crash(KeyboardInterrupt):
    """The process ends here. Of this kind so that asyncio lets it through."""


class Over(KeyboardInterrupt):
    """The time that was asked for has passed."""


class Timeline:
    """Times are seconds since the beginning; milliseconds since 1970 for the outside's own clock."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.until_s = 0.0
        """When the loop that runs is to return."""
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def now_ms(self) -> int:
        return START_MS + int(self.now_s * 1000 + 1e-6)

    def at(self, time_ms: float, action: Callable[[], None]) -> None:
        """Do something at a time, soon where it is past."""
        self.at_s((time_ms - START_MS) / 1000, action)

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        self.at_s(self.now_s + seconds, action)

    def at_s(self, due_s: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._due, (max(due_s, self.now_s), next(self._order), action))

    def select(self, timeout: float | None) -> tuple[()]:
        """Be a loop's selector: let time pass to what comes next, in here or outside."""
        if timeout is not None and timeout <= 0:
            return ()
        wakes = self.until_s if timeout is None else min(self.until_s, self.now_s + timeout)
        if self._due and self._due[0][0] <= wakes:
            due, _, action = heapq.heappop(self._due)
            self.now_s = max(self.now_s, due)
            action()
            return ()
        if wakes >= self.until_s:
            self.now_s = self.until_s
            raise Over
        self.now_s = wakes
        return ()

    def pass_to(self, until_s: float) -> None:
        """Let time pass while nobody runs."""
        while self._due and self._due[0][0] <= until_s:
            due, _, action = heapq.heappop(self._due)
            self.now_s = max(self.now_s, due)
            action()
        self.now_s = max(self.now_s, until_s)


class _Steps(deque[Any]):
    """The loop's ready handles; ``left`` of them still run, then the process ends."""

    left: int | None = None
    done = 0

    def popleft(self) -> Any:
        self.done += 1
        if self.left is not None:
            if self.left <= 0:
                raise Crash
            self.left -= 1
        return super().popleft()


class VirtualLoop(base_events.BaseEventLoop):
    """asyncio's own loop, scheduling included, with a timeline in place of clock and selector."""

    def __init__(self, timeline: Timeline) -> None:
        super().__init__()
        self._timeline = timeline
        self._selector = timeline
        self._clock_resolution = 1e-6
        self.steps = self._ready = _Steps()
        self.dead = False
        self.complaints: list[dict[str, Any]] = []
        self.set_exception_handler(lambda _, context: self.complaints.append(context))

    def time(self) -> float:
        return self._timeline.now_s

    def crash_after(self, steps: int) -> None:
        """End the process after so many more turns of anything: at the next await for 0."""
        self.steps.left = steps

    def play(self, until_s: float) -> bool:
        """Run to a time; False where the process ended before."""
        self._timeline.until_s = until_s
        try:
            self.run_forever()
        except Over:
            return True
        except Crash:
            return False
        raise RuntimeError("the loop was stopped")

    def drop(self) -> None:
        """Forget every task as a process does that ends: nothing of them has any effect any more."""
        self.dead = True
        self.set_exception_handler(lambda _, context: None)
        for task in asyncio.all_tasks(self):
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            try:
                task.get_coro().close()  # type: ignore[union-attr]
            except (RuntimeError, ValueError):  # it awaited while closing; it never began
                pass
        self._ready.clear()
        self._scheduled.clear()  # type: ignore[attr-defined]
        self.close()

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        """Run at once; the result is there a moment later."""
        future = self.create_future()
        try:
            value, error = func(*args), None
        except Exception as raised:
            value, error = None, raised

        def settle() -> None:
            if future.done():
                return
            if error is None:
                future.set_result(value)
            else:
                future.set_exception(error)

        self.call_later(EXECUTOR_S, settle)
        return future

    def _process_events(self, event_list: Any) -> None: ...

    def _write_to_self(self) -> None: ...


class LoopClock:
    """botd's clock on a timeline; ``step_ms`` is how far its wall clock is off."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self.step_ms = 0

    def now_ms(self) -> int:
        return self._timeline.now_ms() + self.step_ms

    wall_ms = now_ms

    def monotonic(self) -> float:
        return self._timeline.now_s

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
