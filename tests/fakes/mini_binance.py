"""The few public endpoints of a spot exchange that a market feed needs, over real sockets on loopback."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

from aiohttp import WSMsgType, web

MINUTE = 60_000


def price_at(open_time: int) -> float:
    """The close of the candle that opens then: the same for everybody who asks."""
    return 100.0 + open_time // MINUTE % 50


class MiniBinance:
    """BTCUSDT and ETHUSDT. `now` is the exchange's clock; `push` sends a book ticker to the subscribed.

    `withheld` open times are missing from the klines, `silent` streams send nothing, `broken` answers no JSON.
    """

    def __init__(self, now: Callable[[], int]) -> None:
        self.now, self.port = now, 0
        self.book = {"BTCUSDT": (100.0, 100.5), "ETHUSDT": (10.0, 10.1)}
        self.withheld: set[int] = set()
        self.silent = self.broken = False
        self.seen: Counter[str] = Counter()
        self.sockets: dict[web.WebSocketResponse, set[str]] = {}
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen, on the same port after a stop."""
        app = web.Application()
        for path, handler in {
            "exchangeInfo": self._exchange_info,
            "time": lambda: {"serverTime": self.now()},
            "klines": self._klines,
            "ticker/bookTicker": self._book_tickers,
        }.items():
            app.router.add_get(f"/api/v3/{path}", self._answer(path, handler))
        app.router.add_get("/ws", self._stream)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        for socket in list(self.sockets):
            await socket.close()
        if self._runner:
            await self._runner.cleanup()

    async def push(self, market: str, bid: float, ask: float) -> None:
        self.book[market] = (bid, ask)
        message = {"u": 1, "s": market, "b": str(bid), "B": "1", "a": str(ask), "A": "1"}
        for socket, streams in list(self.sockets.items()):
            if f"{market.lower()}@bookTicker" in streams and not self.silent:
                await socket.send_str(json.dumps(message))

    def _answer(self, path: str, handler: Callable[..., Any]) -> Any:
        async def answer(request: web.Request) -> web.Response:
            self.seen[path] += 1
            if self.broken:
                return web.Response(text="<html>maintenance</html>")
            return web.json_response(handler(**request.query))

        return answer

    def _exchange_info(self, **_: str) -> dict[str, Any]:
        filters = [
            {"filterType": "PRICE_FILTER", "minPrice": "0.01", "maxPrice": "1000000", "tickSize": "0.01000000"},
            {"filterType": "LOT_SIZE", "minQty": "0.00001", "maxQty": "9000", "stepSize": "0.00001000"},
            {"filterType": "NOTIONAL", "minNotional": "5.00000000", "maxNotional": "9000000"},
            {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": 120},
        ]
        common = {"status": "TRADING", "quoteAsset": "USDT", "baseAssetPrecision": 8, "quoteAssetPrecision": 8}
        common |= {"isSpotTradingAllowed": True, "filters": filters, "permissions": [], "permissionSets": [["SPOT"]]}
        return {"symbols": [{"symbol": f"{base}USDT", "baseAsset": base, **common} for base in ("BTC", "ETH")]}

    def _klines(self, startTime: str = "0", limit: str = "500", interval: str = "1m", **_: str) -> list[Any]:  # noqa: N803
        length = {"1m": MINUTE, "5m": 5 * MINUTE}[interval]
        first = -(-int(startTime) // length) * length
        opens = [first + i * length for i in range(int(limit)) if first + i * length <= self.now()]
        return [
            [t, "99", "160", "90", str(price_at(t)), "7", t + length - 1, "0", 1, "0", "0", "0"]
            for t in opens
            if t not in self.withheld
        ]

    def _book_tickers(self, symbols: str = "[]", **_: str) -> list[dict[str, str]]:
        return [
            {"symbol": market, "bidPrice": str(self.book[market][0]), "askPrice": str(self.book[market][1])}
            for market in json.loads(symbols)
        ]

    async def _stream(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.seen["ws"] += 1
        self.sockets[socket] = set()
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                wish = json.loads(message.data)
                self.sockets[socket].update(wish["params"])
                await socket.send_json({"result": None, "id": wish["id"]})
        self.sockets.pop(socket, None)
        return socket
