"""One WebSocket connection: its streams, its pings, the rules it must keep, and the ways it can be ended.

Events are written to the transport as ready frames; what the client sends is read through aiohttp.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from typing import TYPE_CHECKING, Any

from aiohttp import WSMsgType, web

from tests.fakes.binance.commands import answer
from tests.fakes.binance.record import ConnectionSeen
from tests.fakes.binance.wire import PING, PONG, close_frame, frame

if TYPE_CHECKING:
    from tests.fakes.binance.clock import FrontClock, Handle, Timers
    from tests.fakes.binance.hub import Hub
    from tests.fakes.binance.rules import Rules

POLICY, GOING_AWAY = 1008, 1001


class Connection:
    """A client's connection from its handshake to its end; :meth:`run` lasts as long as it does."""

    def __init__(
        self, seen: ConnectionSeen, combined: bool, *, rules: Rules, clock: FrontClock, timers: Timers, hub: Hub
    ) -> None:
        self.seen = seen
        self.combined = combined
        self.frozen = False
        self.over = asyncio.Event()
        self._rules = rules
        self._clock = clock
        self._timers = timers
        self._hub = hub
        self._streams: dict[str, None] = {}
        self._transport: asyncio.Transport | None = None
        self._arrivals: deque[float] = deque()
        self._unanswered: dict[bytes, float] = {}
        self._pinging: Handle | None = None
        self._ending: Handle | None = None

    async def run(self, response: web.WebSocketResponse, transport: asyncio.Transport, streams: list[str]) -> None:
        """Serve a connection whose handshake is done."""
        self._transport = transport
        self._pinging = self._timers.call_later(self._rules.ping_s, self._ping)
        self._ending = self._timers.call_later(self._rules.life_s, lambda: self.close("life", GOING_AWAY))
        if streams:
            self.add(streams, "url")
        async for message in response:
            await self._thawed()
            if self.over.is_set():
                break
            self._received(message)
        self.end("client")
        await self._thawed()

    async def _thawed(self) -> None:
        """Wait for the end where the connection is half-open: nothing is answered any more."""
        if self.frozen:
            await self.over.wait()

    def _received(self, message: Any) -> None:
        self.seen.received += 1
        now = self._timers.monotonic()
        self._arrivals.append(now)
        while self._arrivals[0] < now - self._rules.message_window_s:
            self._arrivals.popleft()
        if len(self._arrivals) > self._rules.messages:
            self.close("messages", POLICY, "Too many requests")
        elif message.type is WSMsgType.TEXT:
            reply = answer(self, message.data)
            if not self.over.is_set():
                self.send(frame(reply))
        elif message.type is WSMsgType.PING:
            self.send(frame(message.data, PONG))
        elif message.type is WSMsgType.PONG:
            self.ponged(bytes(message.data))

    def ponged(self, payload: bytes) -> None:
        """Note a pong."""
        self.seen.pongs += 1
        if payload in self._unanswered:  # others are unsolicited, and prove nothing
            self._unanswered.clear()

    def add(self, streams: list[str], method: str = "SUBSCRIBE") -> None:
        """Subscribe to streams; those it has already are not doubled."""
        self.seen.subscriptions.append((self._clock.now_ms(), method, streams))
        new = [stream for stream in streams if stream not in self._streams]
        if len(self._streams) + len(new) > self._rules.streams:
            self.close("streams", POLICY, "Too many streams")
            return
        self._streams.update(dict.fromkeys(new))
        self.seen.streams = list(self._streams)
        self._hub.subscribe(self, new)

    def remove(self, streams: list[str]) -> None:
        self.seen.subscriptions.append((self._clock.now_ms(), "UNSUBSCRIBE", streams))
        gone = [stream for stream in streams if stream in self._streams]
        for stream in gone:
            del self._streams[stream]
        self.seen.streams = list(self._streams)
        self._hub.unsubscribe(self, gone)

    def listed(self) -> list[str]:
        return list(self._streams)

    def send(self, data: bytes) -> None:
        """Write a ready frame; a client that does not read is cut when too much waits for it."""
        transport = self._transport
        if self.frozen or transport is None or transport.is_closing():
            return
        transport.write(data)
        self.seen.sent += 1
        if transport.get_write_buffer_size() > self._rules.buffer:
            self.cut("slow")

    def announce(self, event: bytes) -> None:
        """Send an event that belongs to no stream: it is not wrapped in either form."""
        self.send(frame(event))

    def waiting(self) -> int:
        """Return the bytes written that the client has not taken yet."""
        return 0 if self._transport is None or self.frozen else self._transport.get_write_buffer_size()

    def owes_pong(self) -> bool:
        return bool(self._unanswered) and not self.frozen and not self.over.is_set()

    def _ping(self) -> None:
        now = self._timers.monotonic()
        oldest = next(iter(self._unanswered.values()), now)
        if now - oldest >= self._rules.pong_s:
            self.cut("pong")
            return
        payload = str(self._clock.now_ms()).encode()
        while payload in self._unanswered:
            payload += b"0"
        self._unanswered[payload] = now
        self.send(frame(payload, PING))
        left = self._rules.pong_s - (now - oldest)
        self._pinging = self._timers.call_later(min(self._rules.ping_s, left), self._ping)

    def close(self, why: str, code: int, reason: str = "") -> None:
        """End with a close frame."""
        self.send(close_frame(code, reason))
        self.end(why)
        if self._transport is not None:
            self._transport.close()

    def cut(self, why: str, how: str = "fin") -> None:
        """End without a word: ``fin``, or ``rst`` as a middlebox does."""
        self.end(why)
        if self._transport is None:
            return
        if how == "rst":
            raw = self._transport.get_extra_info("socket")
            if raw is not None:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def freeze(self) -> None:
        """Become half-open: read nothing, send nothing, and let the peer believe that all is well."""
        self.frozen = True
        self._cancel_timers()
        if self._transport is not None:
            self._transport.pause_reading()

    def end(self, why: str) -> None:
        """Note the end and let go of the streams; the first reason stays."""
        if self.over.is_set():
            return
        self.over.set()
        self.seen.why, self.seen.closed_ms = why, self._clock.now_ms()
        self._cancel_timers()
        self._hub.unsubscribe(self, list(self._streams))
        self._streams = {}

    def _cancel_timers(self) -> None:
        for handle in (self._pinging, self._ending):
            if handle is not None:
                handle.cancel()
