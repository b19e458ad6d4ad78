"""A daemon's socket without a daemon: a ROUTER in a thread that answers from a table of functions."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zmq

Handler = Callable[[dict[str, Any]], Any]


class Refusal(Exception):
    """Raised by a handler to answer with an error of the wire."""

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.error = {"code": code, "message": message, "hint": hint}


class FakeBotd:
    """Answers ``handlers[cmd](args)``; keeps what it was asked in ``requests``."""

    def __init__(self, path: Path, handlers: dict[str, Handler]) -> None:
        self.path = path
        self.handlers = handlers
        self.requests: list[dict[str, Any]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="fake botd", daemon=True)
        self._bound = threading.Event()

    def __enter__(self) -> FakeBotd:
        self._thread.start()
        assert self._bound.wait(5)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(5)

    def asked(self, cmd: str) -> list[dict[str, Any]]:
        """Return the arguments of every request of one verb."""
        return [request["args"] for request in self.requests if request["cmd"] == cmd]

    def _serve(self) -> None:
        with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
            router.linger = 200
            router.bind(f"ipc://{self.path}")
            self._bound.set()
            while not self._stop.is_set():
                if router.poll(20):
                    peer, version, payload = router.recv_multipart()
                    reply = self._answer(json.loads(payload))
                    if reply is not None:
                        router.send_multipart([peer, version, json.dumps(reply).encode()])
        self.path.unlink(missing_ok=True)

    def _answer(self, request: dict[str, Any]) -> dict[str, Any] | None:
        self.requests.append(request)
        handler = self.handlers.get(request["cmd"])
        if handler is None:
            error = {"code": "USAGE", "message": f"{request['cmd']}: unknown command", "hint": ""}
            return {"id": request["id"], "ok": False, "error": error}
        try:
            result = handler(request["args"])
        except Refusal as refusal:
            return {"id": request["id"], "ok": False, "error": refusal.error}
        return None if result is ... else {"id": request["id"], "ok": True, "result": result}
