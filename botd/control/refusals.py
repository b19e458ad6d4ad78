"""Operator commands that were turned away before they began, told to the audit: by whom, what, and why.

A caller who asks for what is refused again and again must not fill the ledger: so many a minute are told, and of
long arguments their size only. It refuses nothing itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from botd.control.access import Caller
from botd.control.protocol import Request
from botd.domain.clock import Clock

logger = logging.getLogger(__name__)

A_MINUTE = 30
MOST_BYTES = 4096
_MINUTE_S = 60.0

Tell = Callable[[str, Caller, str, dict[str, Any], str], Awaitable[None]]
"""Keep ``(request_id, caller, cmd, args, code)`` of a refused command."""


class Refusals:
    """Tells, without making anybody wait."""

    def __init__(self, clock: Clock, tell: Tell | None) -> None:
        self._clock = clock
        self._tell = tell
        self._minute = 0
        self._counts: dict[str, int] = {}
        self._telling: set[asyncio.Future[None]] = set()

    def add(self, request: Request, caller: Caller, code: str) -> None:
        """Tell of one, where there is room in this minute."""
        if self._tell is None or not self._room(caller.identity):
            return
        size = len(msgspec.json.encode(request.args))
        args = request.args if size <= MOST_BYTES else {"bytes": size}
        telling = asyncio.ensure_future(self._tell(request.id, caller, request.cmd, args, code))
        self._telling.add(telling)
        telling.add_done_callback(self._told)

    async def close(self) -> None:
        """Wait a moment for what is being told."""
        if self._telling:
            await asyncio.wait(self._telling, timeout=1.0)

    def _room(self, identity: str) -> bool:
        minute = int(self._clock.monotonic() // _MINUTE_S)
        if minute != self._minute:
            self._minute, self._counts = minute, {}
        count = self._counts[identity] = self._counts.get(identity, 0) + 1
        return count <= A_MINUTE

    def _told(self, telling: asyncio.Future[None]) -> None:
        self._telling.discard(telling)
        if not telling.cancelled() and (error := telling.exception()) is not None:
            logger.error("a refused command could not be recorded: %r", error)
