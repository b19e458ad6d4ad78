"""The control plane: the control socket and the events socket, with the access check they share."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import zmq

from botd.control.access import AccessPolicy, Caller, Role, ZapHandler
from botd.control.curve import load_keys
from botd.control.door import CurveDoor, Door, IpcDoor
from botd.control.endpoint import SocketFile
from botd.control.events import EventPublisher
from botd.control.handler import Handler
from botd.control.memory import Remembered
from botd.control.server import ControlServer
from botd.domain.clock import Clock
from botd.orchestrator.archive import Archive
from botd.orchestrator.settlement import Settlement


@dataclass(frozen=True, slots=True, kw_only=True)
class Sockets:
    """Where the control plane listens, and who may come in.

    ``group`` owns the files; ``operators`` and ``viewers`` are groups that may use them. ``tcp`` is an address
    that needs the keys in ``keys_dir`` (see :mod:`botd.control.curve`).
    """

    control: Path
    events: Path
    keys_dir: Path
    group: str | None = None
    operators: str | None = None
    viewers: str | None = None
    tcp: str | None = None


class ControlPlane:
    """Sockets of one daemon. The locks of their files are held by the caller."""

    def __init__(
        self,
        sockets: Sockets,
        handlers: Mapping[str, Handler],
        *,
        archive: Archive,
        settlement: Settlement,
        clock: Clock,
    ) -> None:
        self._archive = archive
        self._settlement = settlement
        self._context: zmq.Context[Any] = zmq.Context()
        group = sockets.group or sockets.operators or sockets.viewers
        doors: list[Door] = [IpcDoor(self._context, SocketFile(sockets.control, group))]
        allowed: dict[bytes, Role] = {}
        if sockets.tcp is not None:
            keys = load_keys(sockets.keys_dir)
            allowed = keys.clients
            doors.append(CurveDoor(self._context, sockets.tcp, keys))
        # The group of the file operates, unless it was said who does.
        operators = sockets.operators if sockets.operators or sockets.viewers else sockets.group
        policy = AccessPolicy(os.geteuid(), operators=operators, viewers=sockets.viewers)
        self._zap = ZapHandler(self._context, policy, allowed)
        self._server = ControlServer(
            doors, handlers, clock=clock, record=self._record, recall=self._recall, tell_refused=self._tell_refused
        )
        self._events = EventPublisher(
            self._context,
            SocketFile(sockets.events, group),
            epoch=archive.epoch,
            clock=clock,
            last_seq=archive.event_seq,
        )
        archive.on_events(self._events.on_commit)  # type: ignore[arg-type]

    def bind(self) -> None:
        """Listen; ConfigError where that cannot be."""
        self._zap.bind()
        self._server.bind()
        self._events.bind()

    async def close_server(self) -> None:
        """Answer no more requests; events still go out."""
        await self._server.close()

    async def close(self) -> None:
        """Close the rest."""
        self._events.close()
        self._zap.close()
        await asyncio.to_thread(self._context.term)

    async def _record(
        self, request_id: str, caller: Caller, cmd: str, args: dict[str, Any], reply: msgspec.Raw
    ) -> None:
        await self._settlement.record(request_id, caller.uid, caller.pid, cmd, args, reply)

    async def _tell_refused(self, request_id: str, caller: Caller, cmd: str, args: dict[str, Any], code: str) -> None:
        await self._settlement.record_refusal(request_id, caller.uid, caller.pid, cmd, args, code)

    async def _recall(self, request_id: str) -> list[Remembered]:
        rows = await self._archive.recall(request_id)
        return [Remembered(**row) for row in rows]
