"""One WebSocket connection to the exchange's market streams, from the handshake to its end.

It keeps the streams it carries equal to the streams that are wanted, by requests that stay within the
exchange's message budget; it answers the server's pings and sends none of its own; it notices that it is
dead (no frame for a while, a request without an answer) and that the server is about to go. Market data is
handed out as it came, one ``bytes`` a message, on the loop, in order: nothing is decoded here.

It does not reconnect, keeps no history and knows no symbols: a new connection is a new object, made by
:mod:`botd.market.binance.shards`.

picows carries it, chosen by ``python -m tests.bench stream_client``: processor time a message over a real socket,
typed decoding included, 200 symbols, medians of three on two busy cores, asyncio's loop / uvloop:

    2,000 a second   this 32 / 26 us   picows alone 29 / 24   aiohttp 50 / 32   websockets 59 / 43
    flood            this  3.3 / 3.2   picows alone 3.3 / 2.6  aiohttp 5.0 / 5.6  websockets 10 / 10

Most of a paced message is the loop's own waking and reading, hence uvloop's share. Whether the payload is taken
as ``bytes`` or as a view made no difference; ``bytes`` may be kept. Neither did aiofastnet's sockets.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable, Collection
from typing import Any, Protocol

import msgspec
import picows

from botd.domain.clock import Clock
from botd.domain.errors import said
from botd.exchange.binance.dial import LONGEST_FRAME, ConnectionFailed, Resolver, dial
from botd.exchange.binance.stream_rules import MessageBudget, StreamRules
from botd.market.binance import wire

logger = logging.getLogger("botd.market")

_TEXT = picows.WSMsgType.TEXT
_SHORT = 128
"""Market data is longer, and begins with ``{"stream"``; what is not so is looked at more closely."""
_S = ord("s")
_LOOKS = 16
"""looks of the watchdog within the time that it measures"""


class Owner(Protocol):
    """Who is told what becomes of a connection. Called on the loop; must not raise."""

    def on_live(self, connection: Connection, streams: frozenset[str]) -> None:
        """The server has acknowledged these streams: from now on their messages come."""

    def on_shutdown(self, connection: Connection) -> None:
        """The server will end this connection; it goes on until then."""

    def on_end(self, connection: Connection) -> None:
        """Nothing comes through it any more; called once for every connection that was open."""


class _Socket(picows.WSListener):
    """The hot path: counts frames and sorts them. One call a frame."""

    def __init__(self, connection: Connection, on_message: Callable[[bytes], None]) -> None:
        super().__init__()
        self._connection = connection
        self._on_message = on_message
        self._parts: list[bytes] = []
        self.frames = 0

    def on_ws_connected(self, transport: picows.WSTransport) -> None:
        """Nobody waits for it any more: let it go."""
        if self._connection.reason:
            transport.disconnect()

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        """Hand out a message of the market; everything else is rare."""
        self.frames += 1
        if frame.msg_type is _TEXT and frame.fin:
            data = frame.get_payload_as_bytes()
            if len(data) >= _SHORT and data[2] == _S:
                self._on_message(data)
            else:
                self._unusual(data)
        else:
            self._rare(frame)

    def _unusual(self, data: bytes) -> None:
        told = wire.control(data)
        if told is None:
            self._on_message(data)
        else:
            self._connection.hear(told)

    def _rare(self, frame: picows.WSFrame) -> None:
        kind = frame.msg_type
        if kind == picows.WSMsgType.PING:
            self._connection.pinged(frame.get_payload_as_bytes())
        elif kind == picows.WSMsgType.CLOSE:
            words = f"{frame.get_close_code():d} {frame.get_close_reason() or ''}"
            self._connection.close(f"closed by the server: {words}".rstrip())
        elif kind != picows.WSMsgType.PONG:
            self._parts.append(frame.get_payload_as_bytes())
            if sum(map(len, self._parts)) > LONGEST_FRAME:
                self._connection.end("a message without end")
            elif frame.fin:
                data, self._parts = b"".join(self._parts), []
                self._unusual(data)

    def on_ws_disconnected(self, transport: picows.WSTransport) -> None:
        """The socket is gone, whoever closed it."""
        self._connection.end("cut")


class Connection:
    """See the module. :meth:`open` once, :meth:`want` any time, :meth:`close` at the end."""

    def __init__(
        self,
        url: str,
        *,
        name: str,
        owner: Owner,
        on_message: Callable[[bytes], None],
        clock: Clock,
        rules: StreamRules,
        ssl_context: ssl.SSLContext | None = None,
        resolver: Resolver | None = None,
    ) -> None:
        self.name = name
        self.reason = ""
        """why it ended; empty while it lives"""
        self.live: set[str] = set()
        """streams that the server has acknowledged"""
        self.refused: dict[str, str] = {}
        """streams that the server does not give, with its reason"""
        self.opened_s = clock.monotonic()
        self._url = url.rstrip("/") + "/stream"
        self._owner = owner
        self._clock = clock
        self._rules = rules
        self._ssl_context = ssl_context
        self._resolver = resolver
        self._socket = _Socket(self, on_message)
        self._transport: picows.WSTransport | None = None
        self._budget = MessageBudget(rules, clock)
        self._wanted: frozenset[str] = frozenset()
        self._asked: dict[str, int] = {}
        self._requests: dict[int, tuple[str, tuple[str, ...], float]] = {}
        self._suspects: list[tuple[str, ...]] = []
        self._pong: bytes | None = None
        self._last_id = 0
        self._heard_s = self.opened_s
        self._work = asyncio.Event()
        self._progress = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    # -- life

    async def open(self) -> None:
        """Connect and shake hands; ConnectionFailed says why it could not be."""
        try:
            self._transport = await dial(self._url, self._socket, self._rules, self._ssl_context, self._resolver)
        except BaseException as error:
            self.reason = self.reason or said(error)
            raise
        self.opened_s = self._heard_s = self._clock.monotonic()
        for what, work in (("requests", self._send_all()), ("watchdog", self._watch())):
            task = asyncio.create_task(work, name=f"{self.name} {what}")
            task.add_done_callback(self._stopped)
            self._tasks.append(task)
        logger.info("%s: connected to %s", self.name, self._url)

    async def settled(self) -> None:
        """Wait until the streams wanted now are carried (or refused); ConnectionFailed if it ends before."""
        first = self._wanted
        while not self.reason:
            if not (first & self._wanted) - self.live - self.refused.keys():
                return
            self._progress.clear()
            await self._progress.wait()
        raise ConnectionFailed(self.reason)

    def end(self, reason: str) -> None:
        """Give the socket up at once; nothing more is sent or waited for."""
        if self.reason:
            return
        self.reason = reason
        for task in self._tasks:
            task.cancel()
        self._progress.set()
        if self._transport is None:
            return
        self._transport.disconnect(graceful=False)
        logger.info("%s: ended: %s", self.name, reason)
        self._owner.on_end(self)

    def close(self, reason: str = "closed") -> None:
        """End it in order: the server is told."""
        if self._transport is not None and not self.reason:
            self._transport.send_close(picows.WSCloseCode.OK)
            self._transport.disconnect()
        self.end(reason)

    @property
    def age_s(self) -> float:
        """Return for how long it has been open."""
        return self._clock.monotonic() - self.opened_s

    @property
    def silent_s(self) -> float:
        """Return for how long nothing has come, to within a sixteenth of the time that the watchdog allows."""
        return self._clock.monotonic() - self._heard_s

    def statistics(self) -> dict[str, Any]:
        """Return what has passed through it."""
        return {
            "name": self.name,
            "streams": len(self.live),
            "pending": len(self._wanted - self.live - self.refused.keys()),
            "refused": dict(self.refused),
            "frames": self._socket.frames,
            "sent": self._budget.count,
            "age_s": round(self.age_s, 3),
            "silent_s": round(self.silent_s, 3),
            "ended": self.reason,
        }

    # -- streams

    def want(self, streams: Collection[str]) -> None:
        """Carry exactly these streams; the server is asked as fast as it allows. At most ``rules.streams``."""
        self._wanted = frozenset(streams)
        for stream in self.refused.keys() - self._wanted:
            del self.refused[stream]
        self._work.set()
        self._progress.set()

    def hear(self, told: wire.Reply | wire.ServerShutdown) -> None:
        """Take an answer of the server, or its announcement that it goes."""
        if isinstance(told, wire.ServerShutdown):
            logger.info("%s: the server announces its shutdown", self.name)
            self._owner.on_shutdown(self)
        elif isinstance(told.id, int) and told.id in self._requests:
            method, streams, _ = self._requests.pop(told.id)
            if method == "SUBSCRIBE":
                mine = tuple(stream for stream in streams if self._asked.get(stream) == told.id)
                self._subscribed(mine) if told.fault is None else self._denied(mine, told.fault)
        elif told.fault is not None:
            logger.warning("%s: the server says %d %s", self.name, told.fault.code, told.fault.msg)

    def pinged(self, payload: bytes) -> None:
        """Answer a ping, at once where the budget allows; of several that wait, the last."""
        if self._transport is not None and self._budget.pong_wait_s() == 0:
            self._answer(payload)
        else:
            self._pong = payload
            self._work.set()

    def _subscribed(self, streams: tuple[str, ...]) -> None:
        new = frozenset(streams) - self.live
        self.live |= new
        self._progress.set()
        if new:
            self._owner.on_live(self, new)

    def _denied(self, streams: tuple[str, ...], fault: wire.Fault) -> None:
        """Find the stream that is to blame: one wrong name must not cost the others of its request."""
        for stream in streams:
            del self._asked[stream]
        if len(streams) > 1:
            half = len(streams) // 2
            self._suspects += [streams[:half], streams[half:]]
        elif streams:
            self.refused[streams[0]] = fault.msg
            logger.warning("%s: %s is refused: %d %s", self.name, streams[0], fault.code, fault.msg)
        self._work.set()
        self._progress.set()

    # -- sending

    async def _send_all(self) -> None:
        """Send what there is to send, when it may be sent; for ever."""
        while True:
            await self._work.wait()
            self._work.clear()
            while True:
                pong = self._pong is not None
                if not pong and not self._gone() and not self._new():
                    break
                if (wait := self._budget.pong_wait_s() if pong else self._budget.request_wait_s()) > 0:
                    await self._clock.sleep(wait)
                elif self._pong is not None:
                    self._answer(self._pong)
                else:
                    self._request()

    def _gone(self) -> list[str]:
        return sorted(self._asked.keys() - self._wanted)

    def _new(self) -> list[str]:
        """Return what to ask for next; after a refusal, a part of what was refused together."""
        while self._suspects:
            part = self._wanted.intersection(self._suspects[-1]) - self._asked.keys()
            if part:
                return sorted(part)
            self._suspects.pop()
        return sorted(self._wanted - self._asked.keys() - self.refused.keys())

    def _request(self) -> None:
        """Send one request. What is to go goes first, so that the server never counts too many streams."""
        if gone := self._batch(self._gone()):
            for stream in gone:
                del self._asked[stream]
            self.live.difference_update(gone)
            self._ask("UNSUBSCRIBE", gone)
        elif new := self._batch(self._new()):
            self._asked.update(dict.fromkeys(new, self._last_id + 1))
            self._ask("SUBSCRIBE", new)

    def _batch(self, streams: list[str]) -> tuple[str, ...]:
        room, count = self._rules.batch_bytes - 64, 0
        for stream in streams[: self._rules.batch]:
            room -= len(stream) + 3
            if room < 0:
                break
            count += 1
        return tuple(streams[: max(1, count)])

    def _ask(self, method: str, streams: tuple[str, ...]) -> None:
        assert self._transport is not None
        self._last_id += 1
        self._requests[self._last_id] = (method, streams, self._clock.monotonic())
        text = msgspec.json.encode({"method": method, "params": streams, "id": self._last_id})
        self._budget.requested()
        self._transport.send(picows.WSMsgType.TEXT, text)

    def _answer(self, payload: bytes) -> None:
        assert self._transport is not None
        self._pong = None
        self._budget.answered()
        self._transport.send_pong(payload)

    # -- watching

    async def _watch(self) -> None:
        """End the connection when it says nothing for too long, or does not answer a request."""
        seen = -1
        while True:
            now = self._clock.monotonic()
            if self._socket.frames != seen:
                seen, self._heard_s = self._socket.frames, now
            if now - self._heard_s >= self._rules.silence_s:
                return self.end(f"silent for {self._rules.silence_s:g} s")
            if any(now - sent >= self._rules.reply_s for _, _, sent in self._requests.values()):
                return self.end(f"a request was not answered within {self._rules.reply_s:g} s")
            await self._clock.sleep(min(self._rules.silence_s, self._rules.reply_s) / _LOOKS)

    def _stopped(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("%s stopped", task.get_name(), exc_info=error)
            self.end(said(error))
