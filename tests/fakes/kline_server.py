"""The REST side of a spot exchange that a download needs, on loopback, in threads: exchangeInfo, time, klines."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.fakes.mini_binance import MiniBinance

MINUTE = 60_000
NOW = 1_722_470_400_000 + 5000 * MINUTE + 30_000
"""The exchange's clock stands here."""

_TOO_MANY = '{"code":-1003,"msg":"Too many requests."}'
_REFUSALS = {400: '{"code":-1121,"msg":"Invalid symbol."}', 418: _TOO_MANY, 429: _TOO_MANY}


def kline(open_time: int, length: int = MINUTE) -> list[Any]:
    """The candle that opens then: the same for everybody who asks."""
    at = open_time // length
    close, begin = 100 + at % 50, 100 + (at - 1) % 50
    high, low = max(close, begin) + 1.25, min(close, begin) - 0.5
    prices = [f"{price:.8f}" for price in (begin, high, low, close)]
    return [open_time, *prices, f"{7 + at % 9 / 100:.8f}", open_time + length - 1, "0", 1, "0", "0", "0"]


class KlineServer(ThreadingHTTPServer):
    """BTCUSDT since ``listed``, without ``holes``. ``answers`` are given first: (status, headers), one a request."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.now, self.listed, self.holes = NOW, 0, set[int]()
        self.answers: list[tuple[int, dict[str, str]]] = []
        self.weight = 10
        self.delay_s = 0.0
        self.changed: dict[int, list[Any]] = {}
        self.asked: list[dict[str, str]] = []
        self.times: list[float] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def klines(self, startTime: str, limit: str, interval: str, **_: str) -> list[Any]:  # noqa: N803
        length = {"1m": MINUTE, "5m": 5 * MINUTE}[interval]
        at = max(-(-int(startTime) // length) * length, self.listed)
        rows: list[Any] = []
        while at <= self.now and len(rows) < int(limit):
            if at not in self.holes:
                rows.append(self.changed.get(at) or kline(at, length))
            at += length
        return rows


class _Handler(BaseHTTPRequestHandler):
    server: KlineServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server, url = self.server, urlsplit(self.path)
        query = dict(parse_qsl(url.query))
        status, headers, body = 200, {"X-MBX-USED-WEIGHT-1M": str(server.weight)}, "[]"
        if url.path.endswith("/klines"):
            server.asked.append(query)
            server.times.append(time.monotonic())
            time.sleep(server.delay_s)
            if server.answers:
                status, headers = server.answers.pop(0)
                body = _REFUSALS.get(status, "<html></html>") if status >= 400 else headers["body"]
                headers = {name: text for name, text in headers.items() if name != "body"}
            else:
                body = json.dumps(server.klines(**query))
        elif url.path.endswith("/time"):
            body = json.dumps({"serverTime": server.now})
        elif url.path.endswith("/exchangeInfo"):
            body = json.dumps(MiniBinance(lambda: server.now)._exchange_info())
        data = body.encode()
        self.send_response(status)
        for name, value in {**headers, "Content-Type": "application/json", "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def kline_server() -> Iterator[KlineServer]:
    """Serve until the block ends."""
    server = KlineServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
