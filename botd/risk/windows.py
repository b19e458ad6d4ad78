"""What a bot did a moment ago: rates, the same order again, entries an hour.

All windows run on trading time. Rates are kept in memory only: no wait is longer than 30 s and simulated
markets move by a minute or more, so after any restart on a candle feed a bucket is as full as it would
have been; on tick feeds a restart costs nothing but the memory of some seconds. Accepted entries are
durable (rows ``entries:N`` of the space ``risk``).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from typing import Any

from botd.risk.durable import ChangedRows, from_json

PREFIX = "entries:"
LONGEST_WAIT_S = 30.0
BOT_BURST, ACCOUNT_BURST = 5, 8
HOUR_MS, DAY_MS = 3_600_000, 86_400_000

Signature = tuple[str, ...]
"""What makes two orders the same: side, type, quantity, price."""


class RateLimiter:
    """Token buckets a bot and for the account, as one number each: when the bucket is full again."""

    def __init__(self) -> None:
        self._full_at: dict[int, float] = {}

    def delay_s(self, bot: int, per_second: float, burst: int, now_ms: int) -> float:
        """Return how long the next order must wait for a token (0: none)."""
        gap = 1000.0 / per_second
        return max(0.0, (self._full_at.get(bot, 0.0) - (burst - 1) * gap - now_ms) / 1000.0)

    def take(self, bot: int, per_second: float, now_ms: int) -> None:
        """Take one token."""
        self._full_at[bot] = max(self._full_at.get(bot, 0.0), float(now_ms)) + 1000.0 / per_second

    def forget(self, bot: int) -> None:
        """Drop the bucket of a bot."""
        self._full_at.pop(bot, None)


class RecentEntries:
    """The accepted entries of each bot: when, and what the latest ones were."""

    def __init__(self) -> None:
        self._times: dict[int, list[int]] = {}
        self._orders: dict[int, dict[Signature, int]] = {}
        self._changed = ChangedRows(self._row)

    def age_ms(self, bot: int, signature: Signature, now_ms: int) -> int | None:
        """Return how long ago the same order was accepted, None where not lately."""
        time_ms = self._orders.get(bot, {}).get(signature)
        return None if time_ms is None else now_ms - time_ms

    def count(self, bot: int, span_ms: int, now_ms: int) -> int:
        """Return how many entries were accepted in the last ``span_ms`` (at most a day)."""
        times = self._times.get(bot, [])
        return len(times) - bisect_right(times, now_ms - span_ms)

    def accept(self, bot: int, now_ms: int, signature: Signature | None, window_ms: int, counted: bool) -> None:
        """Remember an entry: its signature for ``window_ms``, its time for a day if ``counted``."""
        if signature is not None:
            orders = self._orders.get(bot, {})
            kept = {known: time for known, time in orders.items() if time > now_ms - window_ms}
            self._orders[bot] = kept | {signature: now_ms}
        if counted:
            times = self._times.setdefault(bot, [])
            del times[: bisect_right(times, now_ms - DAY_MS)]
            times.append(now_ms)
        if counted or signature is not None:
            self._changed.mark(f"{PREFIX}{bot}")

    def forget(self, bot: int) -> None:
        """Drop what is kept of a bot that is no more."""
        self._times.pop(bot, None)
        self._orders.pop(bot, None)
        self._changed.mark(f"{PREFIX}{bot}")

    def drain_changes(self) -> dict[str, str | None]:
        """Return the rows that changed since the last drain."""
        return self._changed.drain()

    def restore(self, rows: Mapping[str, str]) -> None:
        """Take the rows back (others than its own are left alone)."""
        for key, text in rows.items():
            if key.startswith(PREFIX):
                bot, row = int(key.removeprefix(PREFIX)), from_json(text)
                self._times[bot] = row["times"]
                self._orders[bot] = {tuple(order): time for *order, time in row["orders"]}

    def _row(self, key: str) -> dict[str, Any] | None:
        bot = int(key.removeprefix(PREFIX))
        times, orders = self._times.get(bot, []), self._orders.get(bot, {})
        if not times and not orders:
            return None
        return {"times": times, "orders": [[*signature, time] for signature, time in orders.items()]}
