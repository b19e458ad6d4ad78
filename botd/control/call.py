"""One request at work, and who waits for its answer."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from botd.control.access import Caller
from botd.control.door import Door
from botd.control.handler import Handler
from botd.control.memory import Key, same_or_conflict
from botd.control.protocol import Request


@dataclass(slots=True, eq=False)
class Waiter:
    """A peer that is owed an answer, until its timer runs out."""

    door: Door
    routing_id: bytes
    timer: asyncio.TimerHandle | None = None


@dataclass(slots=True, eq=False)
class Call:
    """A request with its checked arguments; the same work may have several waiters."""

    request: Request
    caller: Caller
    handler: Handler
    args: Any
    waiters: list[Waiter] = field(default_factory=list)
    task: asyncio.Task[bytes] | None = None

    @property
    def key(self) -> Key:
        """Return under what its answer is remembered."""
        return self.caller.identity, self.request.id

    def check_same(self, repeated: Request) -> None:
        """Raise ConflictError where the id comes again with another command."""
        same_or_conflict(self.request.id, (self.request.cmd, self.request.args), (repeated.cmd, repeated.args))
