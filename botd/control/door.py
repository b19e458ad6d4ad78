"""Where requests come in: a ROUTER socket on a socket file, or over TCP with CURVE.

A door knows frames and peers, no request.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import zmq

from botd.control.access import CURVE_DOMAIN, IPC_DOMAIN
from botd.control.curve import CurveKeys
from botd.control.endpoint import SocketFile
from botd.control.protocol import TAG
from botd.control.reader import Reader
from botd.domain.errors import BotdError, ConfigError

logger = logging.getLogger(__name__)

HANDSHAKE_MS = 2000
HIGH_WATER = 100
LINGER_MS = 500
BACKLOG = 256
MAX_FRAME_BYTES = 1024 * 1024
"""A peer that sends more is cut off by ZeroMQ; between this and the limit of a request it gets an answer."""

OnMessage = Callable[["Door", list[zmq.Frame]], None]


class Door(ABC):
    """One ROUTER. Subclasses say where it listens."""

    def __init__(self, context: zmq.Context[Any], domain: bytes) -> None:
        self._context = context
        self._domain = domain
        self._reader: Reader | None = None

    def bind(self, on_message: OnMessage, pause_s: Callable[[], float]) -> None:
        """Listen, and hand over each message; ConfigError where that cannot be."""
        socket = self._context.socket(zmq.ROUTER)
        guarded(socket, self._domain, MAX_FRAME_BYTES)
        socket.setsockopt(zmq.SNDHWM, HIGH_WATER)
        socket.setsockopt(zmq.RCVHWM, HIGH_WATER)
        try:
            self._listen(socket)
        except BotdError:
            socket.close(linger=0)
            raise
        self._reader = Reader(socket, lambda frames: on_message(self, frames), pause_s)
        self._reader.start()

    def send(self, routing_id: bytes, payload: bytes) -> None:
        """Answer a peer; one that is gone or does not read gets nothing."""
        if self._reader is not None:
            self._reader.send([routing_id, TAG, payload])

    @abstractmethod
    def watch(self) -> None:
        """Make good what happened to the place from outside."""

    def close(self) -> None:
        """Listen no more; answers on their way have half a second."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    @abstractmethod
    def _listen(self, socket: zmq.Socket[Any]) -> None:
        """Bind the socket to the place; BotdError where that cannot be."""


class IpcDoor(Door):
    """The socket file; whoever binds it holds its lock."""

    def __init__(self, context: zmq.Context[Any], file: SocketFile) -> None:
        super().__init__(context, IPC_DOMAIN)
        self._file = file
        self._socket: zmq.Socket[Any] | None = None

    def watch(self) -> None:
        """Bind again where the file was removed or replaced; connected peers stay connected."""
        if self._socket is not None:
            rebind_if_lost(self._file, self._socket)

    def close(self) -> None:
        super().close()
        self._socket = None
        self._file.remove()

    def _listen(self, socket: zmq.Socket[Any]) -> None:
        self._file.bind(socket)
        self._socket = socket


class CurveDoor(Door):
    """TCP, for the keys of the allow list only."""

    def __init__(self, context: zmq.Context[Any], address: str, keys: CurveKeys) -> None:
        """``address`` is ``tcp://host:port``."""
        if not address.startswith("tcp://"):
            raise ConfigError(f"control.tcp: {address!r} is no address", "write tcp://127.0.0.1:7700")
        super().__init__(context, CURVE_DOMAIN)
        self._address = address
        self._keys = keys
        self.bound = ""
        """Where it listens, with the port that was given where 0 was asked for."""

    def watch(self) -> None:
        """Nobody can take a port away."""

    def _listen(self, socket: zmq.Socket[Any]) -> None:
        socket.curve_server = True
        socket.curve_secretkey = self._keys.secret
        try:
            socket.bind(self._address)
        except zmq.ZMQError as error:
            fact = f"control.tcp: cannot listen on {self._address}: {error.strerror}"
            raise ConfigError(fact, "choose an address of this host and a port that is free") from None
        self.bound = socket.getsockopt_string(zmq.LAST_ENDPOINT)


def guarded(socket: zmq.Socket[Any], domain: bytes, max_frame_bytes: int) -> None:
    """Set what every socket of the control room has: ZAP, and bounds against bad peers."""
    socket.setsockopt(zmq.ZAP_DOMAIN, domain)
    socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
    socket.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)
    socket.setsockopt(zmq.MAXMSGSIZE, max_frame_bytes)
    socket.setsockopt(zmq.BACKLOG, BACKLOG)
    socket.setsockopt(zmq.LINGER, LINGER_MS)


def rebind_if_lost(file: SocketFile, socket: zmq.Socket[Any]) -> None:
    """Bind again where the socket file is not the one that was bound."""
    if socket.closed or file.is_ours():
        return
    try:
        file.bind(socket)
    except BotdError as error:
        logger.warning("control socket lost, and not bound again: %s", error.message)
    else:
        logger.warning("%s was removed or replaced by somebody; bound again", file.path)
