"""Halt when everything else is in trouble: Redis dead, a strategy that hangs, a slow disk. (How fast: the bench.)"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.halt_live import ENTRIES, halt, troubled
from tests.fakes.slow_disk import why_not


@pytest.mark.skipif(bool(why_not()), reason=why_not())
def test_a_halt_is_durable_and_cancels_all_entries_with_redis_dead_a_strategy_hung_and_a_slow_disk(
    tmp_path: Path,
) -> None:
    with troubled(tmp_path) as (botd, venue):
        entries = {order.client_id for order in venue.books.open_orders()}
        assert len(entries) >= ENTRIES
        halt(botd, venue)
        assert venue.books.open_orders() == []
        made = len(venue.books.orders)
        botd.kill()  # what was answered survives
        botd.start()
        botd.until(botd.is_reconciled, 30)
        assert [row["state"] for row in botd.json("ls")] and "halted" in botd.run("risk", "show").stdout
        assert len(venue.books.orders) == made and venue.books.open_orders() == []
