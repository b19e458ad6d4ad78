"""Group commit carries a busy fleet; the bounds leave room for a loaded machine (measured: ten times as much)."""

from __future__ import annotations

import asyncio
import time
from decimal import Decimal
from pathlib import Path

from tests.fakes.ledger_rows import fill, open_ledger, order, position, record

FILLS = 5000


def test_thousands_of_durable_fills_a_second_each_its_own_batch(tmp_path: Path) -> None:
    async def scenario() -> float:
        ledger = open_ledger(tmp_path)
        ledger.journal.bot(record(1))
        await ledger.commit()
        started = time.perf_counter()
        for number in range(FILLS):
            ledger.journal.order(order(1, number))
            ledger.journal.fill(fill(number), Decimal(1))
            ledger.journal.position(position())
            ledger.commit()
            await ledger.drain(256)
        await ledger.flush()
        seconds = time.perf_counter() - started
        rows = await ledger.query("SELECT count(*) n FROM fills")
        assert rows == [{"n": FILLS}]
        await ledger.close()
        return seconds

    assert FILLS / asyncio.run(scenario()) > 1000


def test_a_commit_of_nothing_costs_next_to_nothing(tmp_path: Path) -> None:
    async def scenario() -> float:
        ledger = open_ledger(tmp_path)
        started = time.perf_counter()
        for _ in range(20_000):
            ledger.commit()
        seconds = time.perf_counter() - started
        assert ledger.statistics()["transactions"] == 0
        await ledger.close()
        return seconds

    assert asyncio.run(scenario()) / 20_000 < 50e-6
