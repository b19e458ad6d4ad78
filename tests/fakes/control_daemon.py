"""A control server on a loop of its own thread, with handlers for tests, and plain clients for it."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import msgspec
import zmq

from botd.control.access import AccessPolicy, ZapHandler
from botd.control.door import Door, IpcDoor
from botd.control.endpoint import SocketFile
from botd.control.events import EventPublisher
from botd.control.handler import Handler
from botd.control.limits import Limits
from botd.control.requests import Nothing
from botd.control.server import ControlServer
from botd.domain.clock import WallClock

UNLIMITED = Limits(per_second=1e9, burst=1_000_000_000)


async def ping(args: Any, caller: Any) -> dict[str, Any]:
    return {"pong": True, "uid": caller.uid, "pid": caller.pid, "role": caller.role}


PING = Handler(ping, Nothing, "read", True)


class ControlDaemon:
    """``with ControlDaemon(path, handlers) as daemon``: bound on entry, closed on exit."""

    def __init__(
        self,
        directory: Path,
        handlers: Mapping[str, Handler] | None = None,
        *,
        policy: AccessPolicy | None = None,
        group: str | None = None,
        zap_keys: Mapping[bytes, Any] | None = None,
        doors: Callable[[zmq.Context[Any]], list[Door]] | None = None,
        **server: Any,
    ) -> None:
        self.path = directory / "control.sock"
        self.events_path = directory / "events.sock"
        self.loop = asyncio.new_event_loop()
        self.problems: list[dict[str, Any]] = []
        self.loop.set_exception_handler(lambda loop, problem: self.problems.append(problem))
        self._context: zmq.Context[Any] = zmq.Context()
        self.zap = ZapHandler(self._context, policy or AccessPolicy(os.geteuid()), zap_keys)
        self.doors = [IpcDoor(self._context, SocketFile(self.path, group)), *(doors(self._context) if doors else [])]
        server.setdefault("clock", WallClock())
        self.server = ControlServer(self.doors, {"ping": PING, **(handlers or {})}, **server)
        self.events = EventPublisher(
            self._context, SocketFile(self.events_path, group), epoch="e1", clock=WallClock(), heartbeat_s=0.2
        )
        self._thread = threading.Thread(target=self.loop.run_forever, name="control-daemon", daemon=True)

    def __enter__(self) -> ControlDaemon:
        self._thread.start()
        self.on_loop(self._bind)
        return self

    def __exit__(self, *exc: object) -> None:
        self.run(self.server.close(0.2))
        self.on_loop(self.events.close)
        self.on_loop(self.zap.close)
        self._context.term()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(5)
        self.loop.close()

    def run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(10)

    def on_loop(self, function: Callable[..., Any], *args: Any) -> Any:
        done: Future[Any] = Future()

        def call() -> None:
            try:
                done.set_result(function(*args))
            except BaseException as error:
                done.set_exception(error)

        self.loop.call_soon_threadsafe(call)
        return done.result(10)

    def _bind(self) -> None:
        self.zap.bind()
        self.server.bind()
        self.events.bind()

    def client(self) -> ControlClient:
        return ControlClient(f"ipc://{self.path}")


class ControlClient:
    """A DEALER that sends what it is told, right or wrong."""

    def __init__(self, url: str, prepare: Callable[[zmq.Socket[Any]], None] = lambda socket: None) -> None:
        self._context: zmq.Context[Any] = zmq.Context()
        self.socket = self._context.socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.sndhwm = self.socket.rcvhwm = 0
        prepare(self.socket)
        self.socket.connect(url)
        self._number = 0

    def __enter__(self) -> ControlClient:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close(linger=0)
        self._context.term()

    def send(self, cmd: str, args: Any = None, *, id: str | None = None, tag: bytes = b"botd/1", **more: Any) -> str:
        self._number += 1
        request_id = id or f"t{os.getpid()}-{self._number}-{time.monotonic_ns()}"
        request = {"id": request_id, "cmd": cmd, "args": args or {}, **more}
        self.raw(tag, json.dumps(request).encode())
        return request_id

    def raw(self, *frames: bytes) -> None:
        self.socket.send_multipart(frames)

    def receive(self, timeout_s: float = 5.0) -> dict[str, Any] | None:
        if not self.socket.poll(int(timeout_s * 1000)):
            return None
        frames = self.socket.recv_multipart()
        assert frames[0] == b"botd/1" and len(frames) == 2
        reply: dict[str, Any] = msgspec.json.decode(frames[1])
        return reply

    def call(self, cmd: str, args: Any = None, *, timeout_s: float = 5.0, **more: Any) -> dict[str, Any]:
        request_id = self.send(cmd, args, **more)
        until = time.monotonic() + timeout_s
        while (left := until - time.monotonic()) > 0:
            reply = self.receive(left)
            if reply is not None and reply["id"] == request_id:
                return reply
        raise AssertionError(f"no reply to {cmd} within {timeout_s} s")

    def ping(self) -> bool:
        return bool(self.call("ping")["result"]["pong"])
