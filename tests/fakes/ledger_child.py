"""A process that commits numbered batches and prints each number once it is durable, until it is killed.

``python ledger_child.py DIRECTORY FIRST`` goes on from batch FIRST.
"""

from __future__ import annotations

import asyncio
import os
import sys
from decimal import Decimal
from pathlib import Path

from botd.domain.events import Event
from botd.ledger.journal import Journal
from tests.fakes.ledger_rows import START, fill, open_ledger, order, record, trade


def journal_batch(journal: Journal, number: int) -> None:
    """Append one batch: some rows that must come together, of every kind of writing."""
    journal.bot(record(1))
    journal.order(order(1, number))
    journal.fill(fill(number), Decimal(number))
    journal.trade(trade(bars=number))
    journal.keyed("child", {"last": str(number), f"old{number % 7}": None if number % 2 else "x"})
    journal.event(Event(topic="child.batch", time_ms=START, data={"n": number}))


async def main(directory: Path, number: int) -> None:
    ledger = open_ledger(directory)

    async def report(future: asyncio.Future[None], number: int) -> None:
        await future
        os.write(1, b"%d\n" % number)

    reports: set[asyncio.Task[None]] = set()
    while True:
        for _ in range(1 + number % 5):
            journal_batch(ledger.journal, number)
            task = asyncio.create_task(report(ledger.commit(), number))
            reports.add(task)
            task.add_done_callback(reports.discard)
            number += 1
        await ledger.drain(1 + number % 9)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
