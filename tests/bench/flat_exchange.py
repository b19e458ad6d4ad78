"""An exchange that costs its clients nothing: flat prices, frames made ahead, any rate. A process of its own.

``python -m tests.bench.flat_exchange --symbols 200 --rate 2000 --burst 10`` prints ``REST-PORT STREAM-PORT``. REST
answers what a feed asks for; on the streams whoever subscribes gets book tickers and candles of what it subscribed
to, nine to one, in bursts of ``--burst``; candles close with the real minute. Update ids are :data:`STAMP` plus the
monotonic clock in nanoseconds at the moment of sending. Rules and faults of the wire are ``tests/fakes/binance``'s.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import itertools
import json
import time
from typing import Any

from aiohttp import web

MINUTE = 60_000
STAMP = 10**16
"""Added to the time, so that every id has as many digits."""
_GREETING = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CANDLE_TURN = 10
_SETTLED_S = 0.3
_BEHIND = 256 * 1024


def name_of(number: int) -> str:
    return f"C{number:03d}USDT"


def price_of(number: int) -> str:
    return f"{100 + number}.25000000"


def framed(text: bytes) -> bytes:
    """Return a server's text frame."""
    head = bytes((0x81, len(text))) if len(text) < 126 else b"\x81\x7e" + len(text).to_bytes(2, "big")
    return head + text


class _Stream:
    """What one stream says, as bytes, now."""

    def __init__(self, name: str) -> None:
        symbol, _, self.topic = name.partition("@")
        self.name, self.symbol = name, symbol.upper()
        self.price = price_of(int(symbol[1:4]))
        self.closed_ms = int(time.time() * 1000) // MINUTE * MINUTE - MINUTE
        parts = (f'"s":"{self.symbol}","b":"{self.price}","B":"31.21000000"', f'"a":"{self.price}","A":"4.66000000"}}')
        self._book = f'{{"stream":"{name}","data":{{"u":', f",{','.join(parts)}}}"

    def ticker(self) -> bytes:
        before, after = self._book
        return framed(f"{before}{STAMP + time.monotonic_ns()}{after}".encode())

    def candle(self, now_ms: int) -> bytes:
        """Return the candle that forms, or first the one that closed."""
        opened = now_ms // MINUTE * MINUTE
        if closes := opened - MINUTE > self.closed_ms:
            self.closed_ms = opened = opened - MINUTE
        bar = {"t": opened, "T": opened + MINUTE - 1, "s": self.symbol, "i": "1m", "f": 100, "L": 200}
        bar |= dict.fromkeys("ochl", self.price) | {"v": "4214.00000000", "n": 101, "x": closes}
        bar |= {"q": "1486.22910000", "V": "1035.00000000", "Q": "365.24150000", "B": "0"}
        data = {"e": "kline", "E": now_ms, "s": self.symbol, "k": bar}
        return framed(json.dumps({"stream": self.name, "data": data}, separators=(",", ":")).encode())


class _Sender(asyncio.Protocol):
    """One connection: shakes hands, takes subscriptions, sends."""

    def __init__(self, rate: float, burst: int) -> None:
        self._rate, self._burst = rate, burst
        self._heard = b""
        self._open = False
        self._streams: dict[str, _Stream] = {}
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        self._heard += data
        if not self._open:
            if b"\r\n\r\n" not in self._heard:
                return
            head, _, self._heard = self._heard.partition(b"\r\n\r\n")
            self._greet(head.decode())
        while (message := self._message()) is not None:
            if message[0] == 1:
                self._subscribe(json.loads(message[1]))
            elif message[0] == 8:
                self._transport.close()

    def _greet(self, head: str) -> None:
        lines = (line.partition(":") for line in head.split("\r\n"))
        headers = {name.lower(): value.strip() for name, _, value in lines}
        digest = hashlib.sha1((headers["sec-websocket-key"] + _GREETING).encode()).digest()
        answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        self._transport.write(f"{answer}Sec-WebSocket-Accept: {base64.b64encode(digest).decode()}\r\n\r\n".encode())
        self._open = True

    def _message(self) -> tuple[int, bytes] | None:
        """Return (kind, payload) of the next whole frame of the client, which are all masked."""
        data = self._heard
        if len(data) < 6:
            return None
        length, at = data[1] & 0x7F, 2
        if length >= 126:
            at = 4 if length == 126 else 10
            length = int.from_bytes(data[2:at], "big")
        end = at + 4 + length
        if len(data) < end:
            return None
        mask = data[at : at + 4]
        payload = bytes(byte ^ key for byte, key in zip(data[at + 4 : end], itertools.cycle(mask), strict=False))
        self._heard = data[end:]
        return data[0] & 0x0F, payload

    def _subscribe(self, request: dict[str, Any]) -> None:
        if request["method"] == "SUBSCRIBE":
            self._streams |= {name: _Stream(name) for name in request["params"]}
        self._transport.write(framed(json.dumps({"result": None, "id": request["id"]}).encode()))
        if self._task is None:
            self._task = asyncio.create_task(self._send())

    async def _send(self) -> None:
        await asyncio.sleep(_SETTLED_S)
        began, sent, turn, known = time.monotonic(), 0, 0, 0
        tickers: list[_Stream] = []
        candles: list[_Stream] = []
        while not self._transport.is_closing():
            if len(self._streams) != known:
                known = len(self._streams)
                candles = [stream for stream in self._streams.values() if stream.topic.startswith("kline")]
                tickers = [stream for stream in self._streams.values() if stream.topic == "bookTicker"]
            due = int((time.monotonic() - began) * self._rate) // self._burst * self._burst
            while sent < due and not self._transport.is_closing():
                now_ms, block = int(time.time() * 1000), []
                for _ in range(self._burst):
                    turn += 1
                    if candles and (not tickers or turn % _CANDLE_TURN == 0):
                        block.append(candles[turn // (_CANDLE_TURN if tickers else 1) % len(candles)].candle(now_ms))
                    else:
                        block.append(tickers[turn % len(tickers)].ticker())
                self._transport.write(b"".join(block))
                sent += self._burst
                if self._transport.get_write_buffer_size() > _BEHIND:  # a client that cannot follow: go on from here
                    began, sent = time.monotonic(), 0
                    break
            await asyncio.sleep(max(0.0, began + (sent + self._burst) / self._rate - time.monotonic()))


# -- REST


def _info(symbols: int) -> dict[str, Any]:
    filters = [
        {"filterType": "PRICE_FILTER", "minPrice": "0.01", "maxPrice": "1000000", "tickSize": "0.01"},
        {"filterType": "LOT_SIZE", "minQty": "0.00001", "maxQty": "9000", "stepSize": "0.00001"},
        {"filterType": "NOTIONAL", "minNotional": "5.0", "applyMinToMarket": True, "maxNotional": "9000000"},
    ]
    rows = [
        {
            "symbol": name_of(number), "status": "TRADING", "baseAsset": name_of(number)[:4], "quoteAsset": "USDT",
            "baseAssetPrecision": 8, "quotePrecision": 8, "isSpotTradingAllowed": True, "permissions": [],
            "permissionSets": [["SPOT"]], "orderTypes": ["LIMIT", "MARKET"], "filters": filters,
        }
        for number in range(symbols)
    ]  # fmt: skip
    return {"timezone": "UTC", "serverTime": int(time.time() * 1000), "rateLimits": [], "symbols": rows}


def _klines(query: Any) -> list[list[Any]]:
    price, now = price_of(int(query["symbol"][1:4])), int(time.time() * 1000)
    limit = int(query.get("limit", 500))
    first = int(query.get("startTime", now - (limit - 1) * MINUTE))
    opens = range(-(-first // MINUTE) * MINUTE, now, MINUTE)[:limit]
    tail = ["1486.22910000", 101, "1035.00000000", "365.24150000", "0"]
    return [[opened, price, price, price, price, "4214.00000000", opened + MINUTE - 1, *tail] for opened in opens]


def _quotes(query: Any) -> Any:
    names = json.loads(query["symbols"]) if "symbols" in query else [query["symbol"]]
    rows = [
        {"symbol": name, "bidPrice": price, "bidQty": "31.21", "askPrice": price, "askQty": "4.66"}
        for name, price in ((name, price_of(int(name[1:4]))) for name in names)
    ]
    return rows if "symbols" in query else rows[0]


async def serve(options: argparse.Namespace) -> None:
    answers = {
        "exchangeInfo": lambda query: _info(options.symbols),
        "time": lambda query: {"serverTime": int(time.time() * 1000)},
        "klines": _klines,
        "ticker/bookTicker": _quotes,
    }

    async def answer(request: web.Request) -> web.Response:
        return web.json_response(answers[request.match_info["what"]](request.query))

    app = web.Application()
    app.router.add_get("/api/v3/{what:.+}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    loop = asyncio.get_running_loop()
    streams = await loop.create_server(lambda: _Sender(options.rate, options.burst), "127.0.0.1", 0)
    print(runner.addresses[0][1], streams.sockets[0].getsockname()[1], flush=True)
    async with streams:
        await streams.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--symbols", type=int, default=200)
    parser.add_argument("--rate", type=float, default=2000.0, help="messages a second on each connection")
    parser.add_argument("--burst", type=int, default=1, help="messages in one write")
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
