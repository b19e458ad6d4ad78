"""The ledger on virtual time: its writer without a thread, and what a crash leaves of it.

The file, the tables, the transactions are the ledger's own. A batch is written a few virtual milliseconds after it was
committed; one that was not written when the process ends is lost, as is a transaction that is cut in half.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

from botd.ledger import writer
from botd.ledger.journal import Batch
from botd.ledger.store import Ledger
from tests.simulation.trading.timeline import Crash


class Disk:
    """How long a commit takes; and where the process ends at one. ``struck`` is asked at each."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(f"disk {seed}")
        self.struck: Callable[[str], bool] = lambda place: False
        self.commits = 0

    def delay_s(self) -> float:
        return self.dice.choice((0.001, 0.002, 0.004, 0.004, 0.02)) if self.dice.random() < 0.999 else 1.5

    def failpoint(self, place: str) -> None:
        """Stand in for :func:`botd.domain.failpoints.failpoint`."""
        self.commits += place == "ledger.after_commit"
        if self.struck(place):
            raise Crash


class TimedWriter(writer.Writer):
    """The writer, its thread's turns taken by the loop."""

    disk: Disk

    def start(self) -> None:
        self._kept: deque[Batch] = deque()
        self._due = False

    def submit(self, batch: Batch) -> None:
        self._kept.append(batch)
        if not self._due:
            self._due = True
            asyncio.get_running_loop().call_later(self.disk.delay_s(), self._turn)

    def stop(self) -> None:
        self._write_all(self._kept)
        self._anchor()
        self._discard()

    def _turn(self) -> None:
        self._due = False
        if self._write_all(self._kept):
            self._maintain()


def drop(ledger: Ledger) -> None:
    """Let go of a ledger's files as the end of a process does."""
    written: Any = ledger._writer
    if written._connection is not None:
        written._connection.close()  # what is not committed is rolled back
    ledger._readers.close()


@contextlib.contextmanager
def simulated(disk: Disk, tokens: random.Random) -> Iterator[None]:
    """Put the timed writer, its failpoints and the seed's tokens in place."""

    def token(alphabet: str, length: int) -> str:
        return "".join(tokens.choice(alphabet) for _ in range(length))

    timed = type("Timed", (TimedWriter,), {"disk": disk})
    with (
        mock.patch("botd.ledger.store.Writer", timed),
        mock.patch("botd.ledger.writer.failpoint", disk.failpoint),
        mock.patch("botd.ledger.schema.random_token", token),
    ):
        yield
