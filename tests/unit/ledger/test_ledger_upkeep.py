"""What fails between commits costs no commit: the writer goes on, and trusts no sync that may have been lost."""

from __future__ import annotations

import errno
import sqlite3
import threading
from pathlib import Path

import pytest

from botd.domain.clock import VirtualClock
from botd.ledger import schema
from botd.ledger.journal import Journal
from botd.ledger.retention import Retention
from botd.ledger.writer import Writer
from tests.fakes.ledger_rows import START, WORLD

UNTIL_UPKEEP = 16
"""Transactions after which the writer prunes, however busy it is."""


class FailingUpkeep(Retention):
    """Fails once."""

    def __init__(self, error: Exception) -> None:
        super().__init__(VirtualClock(START), simulated=False)
        self.error: Exception | None = error

    def step(self, connection: sqlite3.Connection) -> bool:
        error, self.error = self.error, None
        if error is not None:
            raise error
        return super().step(connection)


def full() -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    return error


@pytest.mark.parametrize(
    ("error", "reopened"),
    [(OSError(errno.EIO, "input/output error"), True), (sqlite3.OperationalError("disk I/O error"), True),
     (full(), False)],
)  # fmt: skip
def test_pruning_that_fails_costs_no_commit_and_what_may_be_unsynced_is_written_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, error: Exception, reopened: bool
) -> None:
    path, clock = tmp_path / "ledger.db", VirtualClock(START)
    schema.prepare(path, WORLD, clock)
    done, outcomes = threading.Semaphore(0), []
    upkeep = FailingUpkeep(error)
    writer = Writer(
        path,
        settled=lambda batches, refused: (outcomes.append(refused), done.release(len(batches))),
        retention=upkeep,
        clock=clock,
        retry_s=0.01,
    )
    writer.start()
    last = UNTIL_UPKEEP + 4
    for number in range(1, last + 1):
        journal = Journal({})
        journal.keyed("a", {"n": str(number)})
        writer.submit(journal.take(number, 0))
        assert done.acquire(timeout=10), f"batch {number} was never settled"
    writer.stop()
    assert upkeep.error is None and set(outcomes) == {None}
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT value FROM keyed").fetchall() == [(str(last),)]
    connection.close()
    assert any("reopened" in line for line in caplog.messages) is reopened
