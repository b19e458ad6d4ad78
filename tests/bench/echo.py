"""A process that answers pings on a socket, for round trips: ``python -m tests.bench.echo KIND PATH``.

``botd`` is the control server as it is (ZAP, JSON, schemas, deadlines), without the limit of requests a second
and with places for 200; ``bare`` a ROUTER read by its descriptor that sends frames back as they came, and
``zmq.asyncio`` the same with pyzmq's own asyncio sockets: what is left when nothing is done.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from pathlib import Path
from typing import Any

import zmq
import zmq.asyncio

from botd.control.access import AccessPolicy, ZapHandler
from botd.control.door import IpcDoor
from botd.control.endpoint import SocketFile
from botd.control.handler import Handler
from botd.control.limits import Limits
from botd.control.requests import Nothing
from botd.control.server import ControlServer
from botd.domain.clock import WallClock

KINDS = ("botd", "bare", "zmq.asyncio")


async def serve_botd(path: Path) -> None:
    """Answer as botd does."""
    clock = WallClock()

    async def ping(args: Any, caller: Any) -> dict[str, Any]:
        return {"pong": True, "time": clock.wall_ms()}

    context: zmq.Context[Any] = zmq.Context()
    ZapHandler(context, AccessPolicy(os.geteuid())).bind()
    limits = Limits(per_second=1e9, burst=1_000_000_000, in_flight=256)
    door = IpcDoor(context, SocketFile(path))
    ControlServer([door], {"ping": Handler(ping, Nothing, "read", True)}, clock=clock, limits=limits).bind()
    await asyncio.Event().wait()


async def serve_bare(path: Path) -> None:
    """Send every message back, read by the descriptor."""
    context: zmq.Context[Any] = zmq.Context()
    router = context.socket(zmq.ROUTER)
    router.bind(f"ipc://{path}")

    def drain() -> None:
        while router.getsockopt(zmq.EVENTS) & zmq.POLLIN:
            with contextlib.suppress(zmq.Again):
                while True:
                    router.send_multipart(router.recv_multipart(zmq.NOBLOCK), zmq.NOBLOCK)

    asyncio.get_running_loop().add_reader(router.fileno(), drain)
    drain()
    await asyncio.Event().wait()


async def serve_asyncio(path: Path) -> None:
    """Send every message back, with pyzmq's asyncio sockets."""
    context = zmq.asyncio.Context()
    router = context.socket(zmq.ROUTER)
    router.bind(f"ipc://{path}")
    while True:
        await router.send_multipart(await router.recv_multipart())


def main() -> None:
    """Serve until killed."""
    kind, path = sys.argv[1], Path(sys.argv[2])
    serve = {"botd": serve_botd, "bare": serve_bare, "zmq.asyncio": serve_asyncio}[kind]
    asyncio.run(serve(path))


if __name__ == "__main__":
    main()
