"""The least a program can take from candle to order: each closing candle is answered at once. Run as a process.

    python -m tests.bench.bare_client PORT SECONDS SYMBOL,SYMBOL...     (key and secret: FRONT_KEY, FRONT_SECRET)

It decides nothing, counts nothing, keeps nothing, reads no answer: one signed POST is written to an open connection.
What it takes is the front's, the loopback's and the machine's part of everybody's figure.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable

import msgspec
import picows

from botd.exchange.binance.signing import KEY_HEADER, Signer, make_signer

VALUE = 20.0


class _Kline(msgspec.Struct):
    close: float = msgspec.field(name="c")
    is_closed: bool = msgspec.field(name="x")


class _Data(msgspec.Struct):
    symbol: str = msgspec.field(name="s")
    kline: _Kline | None = msgspec.field(name="k", default=None)


class _Message(msgspec.Struct):
    data: _Data


class _Stream(picows.WSListener):
    def __init__(self, on_close: Callable[[str, float], None]) -> None:
        self._on_close = on_close
        self._decode = msgspec.json.Decoder(_Message, strict=False).decode

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        data = self._decode(frame.get_payload_as_bytes()).data
        if data.kline is not None and data.kline.is_closed:
            self._on_close(data.symbol, data.kline.close)


def order(signer: Signer, port: int, symbol: str, price: float) -> bytes:
    """Return a signed market order as the bytes of its request."""
    params = {
        "symbol": symbol,
        "side": "BUY",
        "type": "MARKET",
        "quantity": f"{VALUE / price + 0.001:.3f}",
        "newClientOrderId": f"bare{time.monotonic_ns()}",
        "timestamp": time.time_ns() // 1_000_000,
    }
    body = signer.query(params).encode()
    head = (
        f"POST /api/v3/order HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{KEY_HEADER}: {signer.api_key}\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def main(port: int, seconds: float, names: list[str]) -> None:
    """Answer candles for so long."""
    signer = make_signer(os.environ["FRONT_KEY"], os.environ["FRONT_SECRET"])
    loop = asyncio.get_running_loop()
    to_rest, _ = await loop.create_connection(asyncio.Protocol, "127.0.0.1", port)
    streams = "/".join(f"{name.lower()}@kline_1m" for name in names)
    transport, _ = await picows.ws_connect(
        lambda: _Stream(lambda symbol, price: to_rest.write(order(signer, port, symbol, price))),
        f"ws://127.0.0.1:{port}/stream?streams={streams}",
    )
    await asyncio.sleep(seconds)
    transport.disconnect()
    to_rest.close()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3].split(",")))
