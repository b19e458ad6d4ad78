"""How many orders the account has placed in the exchange's windows, and what each bot has used of all limits.

The exchange counts orders by account, by ten seconds and by the day of *its* clock, and says in the answer to an
order what it has counted; a fill takes the order off the count again, so what it says last is the truth, not the
most it ever said. What is under way is added. Each lane may use a share, so that entries leave room for stops.
It sends nothing and waits for nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

WINDOWS = {"10S": (10_000, 100), "1D": (86_400_000, 200_000)}
"""Name in the headers: length in milliseconds and limit, where exchangeInfo says nothing else."""
HEADER = "X-MBX-ORDER-COUNT-"


class Bill(msgspec.Struct):
    """What one bot has used since the start; bot 0 is what nobody used alone."""

    requests: int = 0
    weight: int = 0
    orders: int = 0
    failed: int = 0


class _Window:
    """One window; see the module."""

    def __init__(self, name: str, length_ms: int, limit: int) -> None:
        self.name = name
        self.length_ms = length_ms
        self.limit = limit
        self.told = 0
        self._number = 0
        self._heard_ms = 0

    def turn(self, now_ms: int) -> None:
        number = now_ms // self.length_ms
        if number > self._number or number < self._number - 1:  # or a step of our clock was taken back
            self._number, self.told, self._heard_ms = number, 0, 0

    def answered(self, count: int, sent_ms: int, told: int | None) -> None:
        """Take the exchange's count; of a request of the window before only that it was made."""
        if told is None or sent_ms // self.length_ms < self._number:
            self.told += count
        elif sent_ms >= self._heard_ms:
            self.told, self._heard_ms = told, sent_ms

    def left_s(self, now_ms: int) -> float:
        return (self.length_ms - now_ms % self.length_ms) / 1000


class OrderCounts:
    """See the module. ``server_ms`` tells the exchange's time, ``monotonic`` drives the pauses."""

    def __init__(self, server_ms: Callable[[], int], monotonic: Callable[[], float]) -> None:
        self._server_ms = server_ms
        self._monotonic = monotonic
        self._windows = [_Window(name, *row) for name, row in WINDOWS.items()]
        self._under_way = 0
        self._blocked_s = 0.0
        self.refusals = 0

    def set_limits(self, limits: Mapping[str, int]) -> None:
        """Take the account's limits, by the name of the window (``10S``, ``1D``)."""
        for window in self._windows:
            window.limit = limits.get(window.name, window.limit)

    def wait_s(self, count: int, share: float) -> float:
        """Return in how many seconds ``count`` orders may go that may use ``share`` of the limits; 0: now."""
        blocked = self._blocked_s - self._monotonic()
        if blocked > 0:
            return blocked
        now = self._server_ms()
        wait = 0.0
        for window in self._windows:
            window.turn(now)
            if window.told + self._under_way + count > window.limit * share:
                wait = max(wait, window.left_s(now))
        return wait

    def sent(self, count: int) -> None:
        """Count orders that are under way."""
        self._under_way += count

    def answered(self, count: int, sent_ms: int, headers: Mapping[str, str], *, counted: bool) -> None:
        """Take an answer; ``counted``: without a header the orders count all the same (placed, or nobody knows)."""
        self._under_way -= count
        now = self._server_ms()
        for window in self._windows:
            window.turn(now)
            told = headers.get(HEADER + window.name, "")
            if told.isdecimal() and len(told) < 10:
                window.answered(count, sent_ms, int(told))
            elif counted:
                window.answered(count, sent_ms, None)

    def taken_back(self, count: int) -> None:
        """The orders were never sent."""
        self._under_way -= count

    def refused(self, after_s: float | None) -> None:
        """The exchange says that there were too many: no orders for as long as it asks, or until the window ends."""
        self.refusals += 1
        seconds = self._windows[0].left_s(self._server_ms()) if after_s is None else after_s
        self._blocked_s = max(self._blocked_s, self._monotonic() + seconds)

    def statistics(self) -> dict[str, Any]:
        now = self._server_ms()
        for window in self._windows:
            window.turn(now)
        used = {window.name: {"used": window.told, "limit": window.limit} for window in self._windows}
        blocked = max(0.0, self._blocked_s - self._monotonic())
        return {**used, "under_way": self._under_way, "blocked_s": round(blocked, 1), "refusals": self.refusals}
