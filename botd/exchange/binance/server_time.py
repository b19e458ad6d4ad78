"""The exchange's time: measured as the median of round trips, then counted on by monotonic seconds.

So a step of our own clock moves it not at all, and is noticed. It asks nobody by itself and knows no timer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from statistics import median

from botd.domain.clock import Clock
from botd.exchange.governor import Governor

STEP_MS = 500  # our clock against the monotonic one; less is drift
_SAMPLES = 3  # round trips: their median


class ServerTime:
    """See the module. The governor is told, for its windows."""

    def __init__(self, clock: Clock, governor: Governor) -> None:
        self._clock = clock
        self._governor = governor
        self._ahead_ms: float = 0.0
        """The exchange's time less our monotonic time."""
        self._offset_ms: int | None = None
        self._measured_s = float("-inf")
        self.steps = 0
        self.on_step: list[Callable[[], None]] = []
        """Who is to be told when our clock stepped, whoever noticed."""

    def now_ms(self) -> int:
        """Return the exchange's time, as far as it was measured."""
        if self._offset_ms is None:
            return self._clock.now_ms()
        return round(self._clock.monotonic() * 1000 + self._ahead_ms)

    @property
    def offset_ms(self) -> int | None:
        """By how much the exchange's clock was ahead of ours at the last measurement; None before the first."""
        return self._offset_ms

    @property
    def age_s(self) -> float:
        """How long ago it was measured."""
        return self._clock.monotonic() - self._measured_s

    def distrust(self) -> None:
        """The exchange says that our time is wrong: the measurement is to be made anew."""
        self._measured_s = float("-inf")

    async def measure(self, ask: Callable[[], Awaitable[tuple[int, int]]]) -> int:
        """Take the median of three round trips, each at its middle.

        ``ask`` returns the exchange's milliseconds and what :meth:`now_ms` was when the request left: it may have
        waited for its permit before.
        """
        wrong = []
        for _ in range(_SAMPLES):
            told, left = await ask()
            wrong.append(told - (left + self.now_ms()) / 2)
        now_ms, self._measured_s = self.now_ms(), self._clock.monotonic()
        self._ahead_ms = now_ms + median(wrong) - self._measured_s * 1000
        self._offset_ms = round(self._measured_s * 1000 + self._ahead_ms) - self._clock.now_ms()
        self._governor.set_offset(self._offset_ms)
        return self._offset_ms

    def notice_step(self) -> int:
        """Return by how much our clock stepped since it was measured, in ms, and take that in; 0 for less than 500."""
        if self._offset_ms is None:
            return 0
        offset = self.now_ms() - self._clock.now_ms()
        step = self._offset_ms - offset
        if abs(step) <= STEP_MS:
            return 0
        self._offset_ms = offset
        self._governor.set_offset(offset)
        self.steps += 1
        for tell in self.on_step:
            tell()
        return step
