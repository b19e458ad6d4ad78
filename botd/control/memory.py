"""The first answer to each request id, so that a repeated command does nothing twice.

Bounded in number, bytes and age; what fell out is asked of the ledger by the server. It runs nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import msgspec

from botd.domain.clock import Clock
from botd.domain.errors import ConflictError

DAY_MS = 24 * 3_600_000

Key = tuple[str, str]
"""Identity of the caller, request id: nobody reads another's answers by guessing an id."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """A command that was done. ``reply`` is the whole reply: as it was sent, or the value of it (from the ledger)."""

    uid: int
    cmd: str
    args: dict[str, Any]
    reply: Any
    time_ms: int

    def payload(self) -> bytes:
        """Return the reply as it goes over the wire."""
        return self.reply if isinstance(self.reply, bytes) else msgspec.json.encode(self.reply)

    def check_same(self, request_id: str, cmd: str, args: dict[str, Any]) -> None:
        """Raise ConflictError where an id comes again with another command."""
        same_or_conflict(request_id, (self.cmd, self.args), (cmd, args))


def same_or_conflict(request_id: str, first: tuple[str, Any], again: tuple[str, Any]) -> None:
    """Raise ConflictError unless both are the same command with the same arguments."""
    if first != again:
        raise ConflictError(
            f"request id {request_id} was used for another command ({first[0]})", "use a new id for each command"
        )


class RequestMemory:
    """Remembers for 24 hours of wall time, the newest ``capacity`` answers of at most ``max_bytes``."""

    def __init__(self, clock: Clock, *, capacity: int = 10_000, max_bytes: int = 16 * 1024 * 1024) -> None:
        self._clock = clock
        self._capacity = capacity
        self._max_bytes = max_bytes
        self._bytes = 0
        self._answers: OrderedDict[Key, tuple[Remembered, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._answers)

    def find(self, key: Key) -> Remembered | None:
        """Return what was answered under ``key`` within 24 hours."""
        found = self._answers.get(key)
        return found[0] if found is not None and self.is_fresh(found[0]) else None

    def is_fresh(self, remembered: Remembered) -> bool:
        """Return whether it is younger than 24 hours."""
        return self._clock.wall_ms() - remembered.time_ms < DAY_MS

    def keep(self, key: Key, remembered: Remembered) -> None:
        """Remember an answer, and forget the oldest where there are too many."""
        self._forget(key)
        size = len(remembered.reply) + 512
        self._answers[key] = (remembered, size)
        self._bytes += size
        while self._answers and (len(self._answers) > self._capacity or self._bytes > self._max_bytes):
            self._forget(next(iter(self._answers)))

    def _forget(self, key: Key) -> None:
        forgotten = self._answers.pop(key, None)
        if forgotten is not None:
            self._bytes -= forgotten[1]
