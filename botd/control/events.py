"""Events for followers: an XPUB on a socket file of its own.

Frames are ``[topic][json]``; a subscription is a beginning of a topic, empty for everything. ``seq`` comes from
the ledger and rises by one from event to event, so who sees a gap, or in a ``heartbeat`` or ``welcome`` a later
``seq`` than their last, asks the command ``events`` for what is missing; another ``epoch`` means another
ledger or start. A follower that does not read loses messages; the daemon never waits for one. It reads
nothing but subscriptions.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import zmq

from botd.control.access import IPC_DOMAIN
from botd.control.door import guarded, rebind_if_lost
from botd.control.endpoint import SocketFile
from botd.control.protocol import HEARTBEAT, WELCOME
from botd.control.reader import Reader
from botd.control.replies import to_json
from botd.domain.clock import Clock, rfc3339
from botd.domain.errors import BotdError

logger = logging.getLogger(__name__)

HEARTBEAT_S = 5.0
WELCOME_DELAY_S = 0.01
"""Subscriptions that come together get one welcome."""
HIGH_WATER = 1000
"""Events that wait for a slow follower before it loses some."""
MAX_SUBSCRIPTION_BYTES = 1024


class DurableEvent(Protocol):
    """An event as the ledger hands it out."""

    @property
    def seq(self) -> int: ...

    @property
    def topic(self) -> str: ...

    @property
    def time_ms(self) -> int: ...

    @property
    def bot(self) -> str: ...

    @property
    def data(self) -> dict[str, Any]: ...


class EventPublisher:
    """Publishes what the ledger has made durable."""

    def __init__(
        self,
        context: zmq.Context[Any],
        file: SocketFile,
        *,
        epoch: str,
        clock: Clock,
        last_seq: int = 0,
        heartbeat_s: float = HEARTBEAT_S,
    ) -> None:
        """``epoch`` names the ledger and this start of the daemon; ``last_seq`` is the ledger's last event."""
        self._context = context
        self._file = file
        self._epoch = epoch
        self._clock = clock
        self._seq = last_seq
        self._heartbeat_s = heartbeat_s
        self._socket: zmq.Socket[Any] | None = None
        self._reader: Reader | None = None
        self._beat: asyncio.TimerHandle | None = None
        self._welcome: asyncio.TimerHandle | None = None

    def bind(self) -> None:
        """Listen; ConfigError where that cannot be. On the running loop, with the lock held."""
        socket = self._context.socket(zmq.XPUB)
        guarded(socket, IPC_DOMAIN, MAX_SUBSCRIPTION_BYTES)
        socket.setsockopt(zmq.SNDHWM, HIGH_WATER)
        socket.setsockopt(zmq.XPUB_VERBOSER, 1)  # each new follower is seen, also on a topic that has some
        try:
            self._file.bind(socket)
        except BotdError:
            socket.close(linger=0)
            raise
        self._socket = socket
        self._reader = Reader(socket, self._on_subscription)
        self._reader.start()
        self._schedule_heartbeat()

    def publish(self, event: Mapping[str, Any]) -> None:
        """Send one durable event: ``seq``, ``ts`` (or ``time_ms``), ``topic``, ``bot`` and ``data``. Never waits."""
        self._seq = event["seq"]
        body = {
            "seq": self._seq,
            "epoch": self._epoch,
            "ts": event["ts"] if "ts" in event else rfc3339(event["time_ms"]),
            "topic": event["topic"],
            "bot": event.get("bot", ""),
            "data": event.get("data", {}),
        }
        self._send(event["topic"], body)

    def on_commit(self, events: Iterable[DurableEvent]) -> None:
        """Publish the events of a durable batch: the ledger's listener."""
        for event in events:
            fields = ("seq", "time_ms", "topic", "bot", "data")
            self.publish({name: getattr(event, name) for name in fields})

    def close(self) -> None:
        """Say nothing more."""
        for timer in (self._beat, self._welcome):
            if timer is not None:
                timer.cancel()
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        self._file.remove()

    def heartbeat(self) -> None:
        """Tell the last ``seq``, so that who missed an event in a quiet hour notices."""
        self._send_position(HEARTBEAT)

    def _schedule_heartbeat(self) -> None:
        self._beat = asyncio.get_running_loop().call_later(self._heartbeat_s, self._on_timer)

    def _on_timer(self) -> None:
        if self._socket is not None:
            rebind_if_lost(self._file, self._socket)
        self.heartbeat()
        self._schedule_heartbeat()

    def _on_subscription(self, frames: list[zmq.Frame]) -> None:
        if frames[0].bytes[:1] == b"\x01" and self._welcome is None:  # one came; 0: one went
            self._welcome = asyncio.get_running_loop().call_later(WELCOME_DELAY_S, self._send_welcome)

    def _send_welcome(self) -> None:
        self._welcome = None
        self._send_position(WELCOME)

    def _send_position(self, topic: str) -> None:
        ts = rfc3339(self._clock.wall_ms())
        body = {"seq": self._seq, "epoch": self._epoch, "ts": ts, "topic": topic, "bot": "", "data": {}}
        self._send(topic, body)

    def _send(self, topic: str, body: dict[str, Any]) -> None:
        if self._reader is None:
            return
        try:
            payload = to_json(body)
        except (TypeError, ValueError) as error:  # its followers find the gap; the ledger must not fail for it
            logger.error("event %s (%s) cannot be published: %s", body["seq"], topic, error)
            return
        self._reader.send([topic.encode(), payload])
