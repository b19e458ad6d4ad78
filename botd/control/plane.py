"""The control plane: the control socket and the events socket, with the access check they share."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import Any

import msgspec
import zmq

from botd.config import Config
from botd.control.access import AccessPolicy, Caller, Role, ZapHandler
from botd.control.curve import load_keys
from botd.control.door import CurveDoor, Door, IpcDoor
from botd.control.endpoint import SocketFile
from botd.control.events import EventPublisher
from botd.control.handler import Handler
from botd.control.memory import Remembered
from botd.control.server import ControlServer
from botd.domain.clock import Clock
from botd.ledger import queries
from botd.ledger.store import Ledger
from botd.orchestrator.settlement import Settlement


class ControlPlane:
    """Sockets of one daemon. The locks of their files are held by the caller."""

    def __init__(
        self,
        config: Config,
        handlers: Mapping[str, Handler],
        *,
        ledger: Ledger,
        settlement: Settlement,
        clock: Clock,
    ) -> None:
        control = config.control
        self._ledger = ledger
        self._settlement = settlement
        self._clock = clock
        self._context: zmq.Context[Any] = zmq.Context()
        group = control.group or control.operators or control.viewers
        doors: list[Door] = [IpcDoor(self._context, SocketFile(config.socket, group))]
        allowed: dict[bytes, Role] = {}
        if control.tcp is not None:
            keys = load_keys(config.state_dir)
            allowed = keys.clients
            doors.append(CurveDoor(self._context, control.tcp, keys))
        # The group of the file operates, unless it was said who does.
        operators = control.operators if control.operators or control.viewers else control.group
        policy = AccessPolicy(os.geteuid(), operators=operators, viewers=control.viewers)
        self._zap = ZapHandler(self._context, policy, allowed)
        self._server = ControlServer(doors, handlers, clock=clock, record=self._record, recall=self._recall)
        self._events = EventPublisher(
            self._context,
            SocketFile(config.events_socket, group),
            epoch=ledger.instance,
            clock=clock,
            last_seq=ledger.statistics()["event_seq"],
        )
        ledger.on_commit(self._events.on_commit)  # type: ignore[arg-type]

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

    async def _recall(self, request_id: str) -> list[Remembered]:
        rows = await queries.recall(self._ledger, request_id, self._clock.wall_ms())
        return [Remembered(**row) for row in rows]
