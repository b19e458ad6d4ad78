"""What one message of a market stream costs: botd's client, and bare picows, aiohttp and websockets.

A server in a process of its own sends book tickers and candles over a real WebSocket on loopback; each
client runs in another process, decodes every frame with :mod:`botd.market.binance.wire` and keeps the latest
price, so that the clients differ by their transport alone. *Paced*: 2,000 messages a second, processor
time a message. *Flood*: as fast as both can.

websockets is installed for the bench alone, into ``build/``. ``python -m tests.bench stream_client``.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import hashlib
import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from botd.domain.clock import WallClock, seeded_random
from botd.market.binance import wire
from botd.market.binance.shards import Shards
from tests.bench.figures import Options, Row, median
from tests.bench.processes import end

PEERS = Path(__file__).parents[2] / "build" / "bench-websockets"
CLIENTS = ("botd", "picows", "aiohttp", "websockets")
OURS = "botd"
SYMBOLS = (1, 200)
RATE = 2_000
_GREETING = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

OnFrame = Callable[[bytes | memoryview], None]


def run(options: Options) -> list[Row]:
    """Return microseconds a message at 1 and 200 symbols, and messages a second in a flood."""
    rounds, seconds, flood = (1, 1.0, 100_000) if options.quick else (3, 4.0, 400_000)
    shapes = [(f"paced, {count} symbols", count, RATE, int(RATE * seconds)) for count in SYMBOLS]
    shapes.append(("flood, 200 symbols", 200, 0, flood))
    rows: list[Row] = []
    with _server() as port:
        for name, symbols, rate, count in shapes:
            found = _measured(port, symbols, rate, count, rounds)
            rows += _rows(name, found, paced=bool(rate))
    return rows


def _measured(port: int, symbols: int, rate: int, count: int, rounds: int) -> dict[str, float]:
    """Return the median figure of every client that is there; in turns, so that a busy moment hits all."""
    taken: dict[str, list[float]] = {}
    for _ in range(rounds):
        for loop in ("asyncio", "uvloop"):
            for client in CLIENTS:
                figures = _child(client, loop, f"ws://127.0.0.1:{port}/{symbols}-{rate}-{count}")
                if figures is not None:
                    taken.setdefault(f"{client}, {loop}", []).append(figures["cpu_us" if rate else "per_cpu_second"])
    return {name: median(values) for name, values in taken.items()}


def _rows(name: str, found: dict[str, float], *, paced: bool) -> list[Row]:
    rows = []
    for loop in ("asyncio", "uvloop"):
        ours = found.get(f"{OURS}, {loop}")
        for client in CLIENTS[1:]:
            theirs = found.get(f"{client}, {loop}")
            missing = "" if theirs is not None else f"{client} is not there"
            unit = "us/message" if paced else "/s of processor"
            rows.append(Row(f"{name}, {OURS} on {loop}", ours, unit, client, theirs, note=missing))
    return rows


# -- processes


@contextlib.contextmanager
def _server() -> Iterator[int]:
    command = [sys.executable, "-m", "tests.bench.stream_client", "serve"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        end(process)
        process.stdout.close()


def _child(client: str, loop: str, url: str) -> dict[str, float] | None:
    """Run a client in a process of its own; None where its library is missing."""
    if client == "websockets" and not _peer_installed():
        return None
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(PEERS), os.environ.get("PYTHONPATH", "")))}
    command = [sys.executable, "-m", "tests.bench.stream_client", "client", client, loop, url]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    if done.returncode:
        if "ModuleNotFoundError" in done.stderr:
            return None
        raise RuntimeError(f"{client} on {loop}: {done.stderr[-500:]}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _peer_installed() -> bool:
    if not (PEERS / "websockets").exists():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*pip, "--target", str(PEERS), "websockets"], capture_output=True, timeout=300)
    return (PEERS / "websockets").exists()


# -- the server


def _frames(symbols: int) -> list[bytes]:
    """Return one round of messages, framed: of each symbol a book ticker and a candle."""
    frames = []
    for number in range(symbols):
        market, price = f"COIN{number:03d}USDT", f"{100 + number}.25000000"
        book = {"u": 400900217, "s": market, "b": price, "B": "31.21000000", "a": price, "A": "40.66000000"}
        bar = {"t": 1767225600000, "T": 1767225659999, "s": market, "i": "1m", "f": 100, "L": 200}
        bar |= {"o": price, "c": price, "h": price, "l": price, "v": "4214.00000000", "n": 101, "x": number % 2 == 0}
        bar |= {"q": "1486.22910000", "V": "1035.00000000", "Q": "365.24150000", "B": "0"}
        kline = {"e": "kline", "E": 1767225660010, "s": market, "k": bar}
        for topic, data in (("bookTicker", book), ("kline_1m", kline)):
            text = json.dumps({"stream": f"{market.lower()}@{topic}", "data": data}, separators=(",", ":")).encode()
            frames.append(b"\x81\x7e" + len(text).to_bytes(2, "big") + text)
    return frames


class _Sender(asyncio.Protocol):
    """Shakes hands, sends what the path asks for (symbols-rate-count), closes. The first request is answered."""

    def __init__(self) -> None:
        self._may_write = asyncio.Event()
        self._may_write.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def pause_writing(self) -> None:
        self._may_write.clear()

    def resume_writing(self) -> None:
        self._may_write.set()

    def data_received(self, data: bytes) -> None:
        if data[:1] == b"\x81":
            text = b'{"result":null,"id":1}'
            self._transport.write(bytes((0x81, len(text))) + text)
        if not data.startswith(b"GET "):
            return
        head, *lines = data.decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        digest = hashlib.sha1((headers["sec-websocket-key"] + _GREETING).encode()).digest()
        answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        answer += f"Sec-WebSocket-Accept: {base64.b64encode(digest).decode()}\r\n\r\n"
        self._transport.write(answer.encode())
        symbols, rate, count = map(int, head.split("/")[1].split("-"))
        self._task = asyncio.create_task(self._send(symbols, rate, count))

    async def _send(self, symbols: int, rate: int, count: int) -> None:
        frames = _frames(symbols)
        sending = self._paced(frames, rate, count) if rate else self._flood(frames, count)
        await asyncio.sleep(0.2)
        await sending
        self._transport.write(b"\x88\x02\x03\xe8")
        self._transport.close()

    async def _paced(self, frames: list[bytes], rate: int, count: int) -> None:
        began = time.monotonic()
        sent = 0
        while sent < count:
            due = min(count, int((time.monotonic() - began) * rate))
            for number in range(sent, due):
                self._transport.write(frames[number % len(frames)])
            sent = max(sent, due)
            await asyncio.sleep(1 / rate)

    async def _flood(self, frames: list[bytes], count: int) -> None:
        block = b"".join(frames[number % len(frames)] for number in range(400))
        for _ in range(count // 400):
            self._transport.write(block)
            await self._may_write.wait()
            await asyncio.sleep(0)


async def _serve() -> None:
    server = await asyncio.get_running_loop().create_server(_Sender, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


# -- the clients


class _Book:
    """What a consumer does at least: decode, keep the latest price of the symbol."""

    def __init__(self) -> None:
        self.latest: dict[str, float] = {}
        self.seen = 0
        self._cpu = 0.0

    def take(self, frame: bytes | memoryview) -> None:
        """Count from the first message on, without what came before it."""
        if not self.seen:
            self._cpu = time.process_time()
        message = wire.decode(frame)
        if isinstance(message, wire.BookTicker):
            self.latest[message.symbol] = message.bid
        elif isinstance(message, wire.Kline):
            self.latest[message.symbol] = message.bar.close
        self.seen += 1

    def figures(self) -> dict[str, float]:
        """Return microseconds of processor a message, and messages that a second of it would do."""
        cpu = time.process_time() - self._cpu
        return {"cpu_us": cpu / self.seen * 1e6, "per_cpu_second": self.seen / cpu}


async def _botd(url: str, take: OnFrame) -> None:
    over = asyncio.Event()
    shards = Shards(
        url.removesuffix("/stream"),
        on_message=take,
        clock=WallClock(),
        rng=seeded_random(0),
        on_lost=lambda connection, streams: over.set(),
    )
    shards.set_streams({"all@bench"})
    running = asyncio.create_task(shards.run())
    await over.wait()
    await shards.close()
    await running


async def _picows(url: str, take: OnFrame) -> None:
    import picows

    text = picows.WSMsgType.TEXT

    class Listener(picows.WSListener):
        def on_ws_frame(self, transport: Any, frame: Any) -> None:
            if frame.msg_type == text:
                take(frame.get_payload_as_memoryview())
            else:
                transport.disconnect()

    transport, _ = await picows.ws_connect(Listener, url)
    await transport.wait_disconnected()


async def _aiohttp(url: str, take: OnFrame) -> None:
    import aiohttp

    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(url, compress=0, decode_text=False) as socket,
    ):
        async for message in socket:
            take(message.data)


async def _websockets(url: str, take: OnFrame) -> None:
    client = importlib.import_module("websockets.asyncio.client")
    async with client.connect(url, compression=None) as socket:
        with contextlib.suppress(importlib.import_module("websockets.exceptions").ConnectionClosed):
            while True:
                take(await socket.recv(decode=False))


def _client(name: str, loop: str, url: str) -> None:
    transports: dict[str, Callable[[str, OnFrame], Awaitable[None]]]
    transports = {"botd": _botd, "picows": _picows, "aiohttp": _aiohttp, "websockets": _websockets}
    factory = importlib.import_module("uvloop").new_event_loop if loop == "uvloop" else None
    book = _Book()

    async def main() -> None:
        await transports[name](f"{url}/stream", book.take)

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())
    print(json.dumps(book.figures()))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=("serve", "client"))
    parser.add_argument("rest", nargs="*")
    given = parser.parse_args()
    if given.role == "serve":
        asyncio.run(_serve())
    else:
        _client(*given.rest)
