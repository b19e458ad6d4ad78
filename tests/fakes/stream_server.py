"""A stream server that does nothing by itself: it notes what a client sends, and misbehaves when told to."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from typing import Any

from aiohttp import WSCloseCode, WSMsgType, web


class Peer:
    """One client's connection, as the server sees it."""

    def __init__(self, socket: web.WebSocketResponse, transport: asyncio.Transport) -> None:
        self.socket = socket
        self.streams: set[str] = set()
        self.heard: list[tuple[float, str, Any]] = []
        """(seconds, ping | pong | close | method, params)"""
        self.frozen = False
        self.most = 0
        self.ended = asyncio.Event()
        self._transport = transport

    async def send(self, message: dict[str, Any] | str) -> None:
        if not self.frozen and not self.socket.closed:
            await self.socket.send_str(message if isinstance(message, str) else json.dumps(message))

    def cut(self) -> None:
        self._transport.abort()

    def methods(self) -> list[str]:
        return [what for _, what, _ in self.heard]


class StreamServer:
    """Listens on loopback. `refuse` is an HTTP status for new connections, `mute` answers no request,
    `bad` streams are refused with an error, `frozen` connections hear and say nothing more."""

    def __init__(self) -> None:
        self.peers: list[Peer] = []
        self.port = 0
        self.refuse: int | None = None
        self.headers: dict[str, str] = {}
        self.tried = 0
        self.mute = False
        self.bad: set[str] = set()
        self._runner: web.AppRunner | None = None

    async def start(self, ssl_context: ssl.SSLContext | None = None) -> None:
        app = web.Application()
        app.router.add_get("/stream", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=ssl_context)
        await site.start()
        assert site._server is not None
        self.port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]

    async def stop(self) -> None:
        for peer in self.open:
            peer.cut()
        if self._runner:
            await self._runner.cleanup()

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    @property
    def open(self) -> list[Peer]:
        return [peer for peer in self.peers if not peer.ended.is_set()]

    async def publish(self, stream: str, number: int) -> int:
        """Send a message to all subscribers; returns how many those are."""
        found = [peer for peer in self.open if stream in peer.streams]
        for peer in found:
            await peer.send(message(stream, number))
        return len(found)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        self.tried += 1
        if self.refuse is not None:
            return web.Response(status=self.refuse, headers=self.headers)
        socket = web.WebSocketResponse(autoping=False, autoclose=False)
        await socket.prepare(request)
        assert isinstance(request.transport, asyncio.Transport)
        peer = Peer(socket, request.transport)
        self.peers.append(peer)
        try:
            async for frame in socket:
                await self._hear(peer, frame)
        finally:
            if socket.close_code is not None:
                peer.heard.append((time.monotonic(), "close", socket.close_code))
            peer.ended.set()
        return socket

    async def _hear(self, peer: Peer, frame: Any) -> None:
        now = time.monotonic()
        if frame.type is not WSMsgType.TEXT:
            peer.heard.append((now, frame.type.name.lower(), bytes(frame.data or b"")))
            return
        wish = json.loads(frame.data)
        peer.heard.append((now, wish["method"], wish["params"]))
        if peer.frozen or self.mute:
            return
        if self.bad.intersection(wish["params"]):
            await peer.send({"error": {"code": 2, "msg": "Invalid request: no such stream"}, "id": wish["id"]})
            return
        if wish["method"] == "SUBSCRIBE":
            peer.streams.update(wish["params"])
        else:
            peer.streams.difference_update(wish["params"])
        peer.most = max(peer.most, len(peer.streams))
        await peer.send({"result": None, "id": wish["id"]})


def message(stream: str, number: int) -> dict[str, Any]:
    """A book ticker whose update number is `number`."""
    market = stream.partition("@")[0].upper()
    data = {"u": number, "s": market, "b": "25.35190000", "B": "31.21000000", "a": "25.36520000", "A": "40.66000000"}
    return {"stream": stream, "data": data}


SHUTDOWN = {"e": "serverShutdown", "E": 1_767_225_600_000}
GOING_AWAY = WSCloseCode.GOING_AWAY
