"""What a bot did a moment ago, to the millisecond."""

from __future__ import annotations

import json
from typing import Any

from botd.risk.windows import DAY_MS, HOUR_MS, RateLimiter, RecentEntries
from tests.fakes.risk_case import NOON

ORDER, OTHER = ("buy", "market", "1", ""), ("buy", "market", "2", "")


def _row(entries: RecentEntries) -> Any:
    row = entries.drain_changes()["entries:1"]
    return None if row is None else json.loads(row)


def test_an_hour_and_a_day():
    assert (HOUR_MS, DAY_MS) == (60 * 60 * 1000, 24 * 60 * 60 * 1000)


def test_a_bucket_empties_with_every_order_and_fills_with_time():
    rates = RateLimiter()
    assert rates.delay_s(1, 2.0, 3, NOON) == 0.0
    for _ in range(4):
        rates.take(1, 2.0, NOON)
    # full again after 4 * 0.5 s; three at once leave 2 * 0.5 s of that
    assert rates.delay_s(1, 2.0, 3, NOON) == 1.0
    assert rates.delay_s(1, 2.0, 3, NOON + 400) == 0.6
    assert rates.delay_s(1, 2.0, 3, NOON + 60_000) == 0.0
    assert rates.delay_s(2, 2.0, 3, NOON) == 0.0
    rates.take(1, 2.0, NOON + 60_000)
    assert rates.delay_s(1, 2.0, 1, NOON + 60_000) == 0.5
    rates.forget(1)
    rates.forget(2)
    assert rates.delay_s(1, 2.0, 1, NOON + 60_000) == 0.0


def test_buckets_are_right_at_the_beginning_of_time_too():
    rates = RateLimiter()
    assert rates.delay_s(1, 1.0, 1, 0) == 0.0
    rates.take(1, 1.0, 0)
    assert rates.delay_s(1, 1.0, 1, 0) == 1.0


def test_an_order_is_as_old_as_its_last_acceptance():
    entries = RecentEntries()
    assert entries.age_ms(1, ORDER, NOON) is None
    entries.accept(1, NOON, ORDER, 1000, counted=False)
    entries.accept(1, NOON + 400, ORDER, 1000, counted=False)
    assert entries.age_ms(1, ORDER, NOON + 500) == 100
    assert entries.age_ms(1, OTHER, NOON) is None and entries.age_ms(2, ORDER, NOON) is None


def test_orders_are_kept_for_the_window_only():
    entries = RecentEntries()
    entries.accept(1, NOON, ORDER, 1000, counted=False)
    entries.accept(1, NOON + 999, OTHER, 1000, counted=False)
    assert _row(entries) == {"times": [], "orders": [[*ORDER, NOON], [*OTHER, NOON + 999]]}
    entries.accept(1, NOON + 1000, OTHER, 1000, counted=False)
    assert _row(entries) == {"times": [], "orders": [[*OTHER, NOON + 1000]]}


def test_times_are_kept_for_a_day_and_counted_up_to_the_very_edge():
    entries = RecentEntries()
    for at in (NOON, NOON, NOON + 10):
        entries.accept(1, at, None, 0, counted=True)
    assert entries.count(1, 10, NOON + 10) == 1
    assert entries.count(1, 11, NOON + 10) == 3
    assert entries.count(2, 11, NOON + 10) == 0
    assert _row(entries) == {"times": [NOON, NOON, NOON + 10], "orders": []}
    entries.accept(1, NOON + DAY_MS, None, 0, counted=True)
    assert _row(entries) == {"times": [NOON + 10, NOON + DAY_MS], "orders": []}


def test_what_is_neither_counted_nor_remembered_writes_nothing():
    entries = RecentEntries()
    entries.accept(1, NOON, None, 0, counted=False)
    assert entries.drain_changes() == {}


def test_entries_survive_a_restart_and_a_removed_bot_does_not():
    before, after = RecentEntries(), RecentEntries()
    before.accept(1, NOON, ORDER, 1000, counted=True)
    rows = {key: text for key, text in before.drain_changes().items() if text is not None}
    after.restore({**rows, "equity:1": "{}"})
    assert (after.count(1, HOUR_MS, NOON), after.age_ms(1, ORDER, NOON + 5)) == (1, 5)
    assert after.drain_changes() == {}
    after.forget(1)
    assert after.drain_changes() == {"entries:1": None}
    assert (after.count(1, HOUR_MS, NOON), after.age_ms(1, ORDER, NOON)) == (0, None)
