"""A venue on a clock that a test moves, and a front with an account: what the tests of the exchange begin with."""

from __future__ import annotations

import base64
import hashlib
import heapq
import hmac
import itertools
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import aiohttp
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from yarl import URL

from tests.fakes.binance import BinanceFront, Exchange, ManualClock
from tests.fakes.binance.exchange import DEFAULT_KEY, Answer, ApiKey, Call, Outcome, Venue
from tests.fakes.binance.listings import symbol_row

START_MS = 1_767_225_600_000


class Timetable:
    """A clock with callbacks; nothing happens but in :meth:`advance`."""

    def __init__(self, now_ms: int = START_MS) -> None:
        self.now_ms = now_ms
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count()

    def now(self) -> int:
        return self.now_ms

    def at(self, time_ms: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._heap, (time_ms, next(self._count), action))

    def advance(self, milliseconds: int) -> None:
        end = self.now_ms + milliseconds
        while self._heap and self._heap[0][0] <= end:
            due, _, action = heapq.heappop(self._heap)
            self.now_ms = max(self.now_ms, int(due))
            action()
        self.now_ms = end


class Heard:
    """A subscriber who keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.cuts: list[str] = []

    def event(self, event: dict[str, Any]) -> None:
        self.events.append(event)

    def cut(self, how: str) -> None:
        self.cuts.append(how)

    def reports(self) -> list[str]:
        return [f"{event['x']} {event['X']}" for event in self.events if event["e"] == "executionReport"]


class Case:
    """A venue with a market of 100 to 101, 10,000 USDT and 10 BTC."""

    def __init__(self, *symbols: str, balances: Mapping[str, str] | None = None, **options: Any) -> None:
        self.clock = Timetable()
        names = symbols or ("BTCUSDT",)
        held = balances or {"USDT": "10000", "BTC": "10"}
        rows = {name: row(name) for name in names}
        self.venue = Venue(
            rows, now=self.clock.now, at=self.clock.at, balances={name: Decimal(value) for name, value in held.items()},
            **options,
        )  # fmt: skip
        self.heard = Heard()
        self.venue.stream.subscribe(self.heard)
        for name in names:
            self.venue.set_price(name, "100.00", "101.00")

    @property
    def books(self) -> Any:
        return self.venue.books

    def ask(self, method: str, path: str, **parameters: Any) -> list[Outcome]:
        """Ask for something; return the list that its outcome comes into, now or later."""
        outcomes: list[Outcome] = []
        given = {name: str(value) for name, value in parameters.items()}
        given.setdefault("timestamp", str(self.clock.now_ms))
        self.venue.call(Call(method, "/api/v3/" + path, given, DEFAULT_KEY.key), outcomes.append)
        return outcomes

    def get(self, method: str, path: str, **parameters: Any) -> Any:
        """Ask for something that is answered at once; return the body."""
        [outcome] = self.ask(method, path, **parameters)
        assert isinstance(outcome, Answer), outcome
        return outcome.body

    def order(self, side: str, type: str, quantity: str | None = "1", **parameters: Any) -> Any:
        """Place an order on BTCUSDT; return the answer's body."""
        return self.get("POST", "order", **order(side, type, quantity, **parameters))

    def code(self, side: str, type: str, quantity: str | None = "1", **parameters: Any) -> int | None:
        """Place an order; return the code it is refused with."""
        code: int | None = self.order(side, type, quantity, **parameters).get("code")
        return code


def row(symbol: str) -> dict[str, Any]:
    """Return a listing with prices to the cent, quantities to the thousandth, five stops and two hundred orders."""
    made = symbol_row(symbol)
    for entry in made["filters"]:
        if entry["filterType"] == "PRICE_FILTER":
            entry |= {"minPrice": "0.01000000", "maxPrice": "100000.00000000", "tickSize": "0.01000000"}
        elif entry["filterType"] == "LOT_SIZE":
            entry |= {"minQty": "0.00100000", "maxQty": "9000.00000000", "stepSize": "0.00100000"}
    return made


def order(side: str, type: str, quantity: str | None = "1", **parameters: Any) -> dict[str, Any]:
    """Return the parameters of an order; those in time are GTC where nothing else is said."""
    given = {"symbol": "BTCUSDT", "side": side, "type": type, **parameters}
    if quantity is not None:
        given["quantity"] = quantity
    if type in ("LIMIT", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT"):
        given.setdefault("timeInForce", "GTC")
    return given


def oco(**changes: Any) -> dict[str, Any]:
    """Return the parameters of a pair that sells one at 110, or below 90."""
    pair = {
        "symbol": "BTCUSDT", "side": "SELL", "quantity": "1", "aboveType": "LIMIT_MAKER", "abovePrice": "110.00",
        "belowType": "STOP_LOSS_LIMIT", "belowStopPrice": "90.00", "belowPrice": "89.00", "belowTimeInForce": "GTC",
    }  # fmt: skip
    return {name: value for name, value in (pair | changes).items() if value is not None}


# -- over the wire -----------------------------------------------------------------------------------------------------


def hmac_signature(payload: str, secret: str = DEFAULT_KEY.secret) -> str:
    return hmac.new(secret.encode(), payload.encode(), hashlib.sha256).hexdigest()


def ed25519_signature(private: Ed25519PrivateKey) -> Callable[[str], str]:
    return lambda payload: base64.b64encode(private.sign(payload.encode())).decode()


class Trader:
    """A bare client of a front: signs as Binance asks for it, and shows what comes."""

    def __init__(
        self, front: BinanceFront, session: aiohttp.ClientSession, key: ApiKey, sign: Callable[[str], str]
    ) -> None:
        self.front = front
        self.session = session
        self.key = key
        self.sign = sign

    async def send(
        self, method: str, path: str, *, body: bool = False, headers: Mapping[str, str] | None = None,
        signature: str | None = None, timeout_s: float = 5.0, **parameters: Any,
    ) -> tuple[int, Any, Mapping[str, str]]:  # fmt: skip
        """Send a signed request; return status, body and headers."""
        parameters.setdefault("timestamp", self.front.clock.now_ms())
        path = path if path.startswith("/") else "/api/v3/" + path
        text = "&".join(f"{name}={quote(str(value), safe='')}" for name, value in parameters.items())
        text += "&signature=" + quote(self.sign(text) if signature is None else signature, safe="")
        url = self.front.rest_url + path
        given = {"X-MBX-APIKEY": self.key.key} if headers is None else dict(headers)
        data = None
        if body:
            data, given["content-type"] = text, "application/x-www-form-urlencoded"
        else:
            url += "?" + text
        async with self.session.request(
            method, URL(url, encoded=True), headers=given, data=data, timeout=aiohttp.ClientTimeout(timeout_s)
        ) as response:
            content = await response.read()
            try:
                return response.status, json.loads(content), response.headers
            except ValueError:
                return response.status, content, response.headers

    async def get(self, method: str, path: str, **parameters: Any) -> Any:
        return (await self.send(method, path, **parameters))[1]

    async def connect(self) -> Socket:
        return Socket(self, await self.session.ws_connect(self.front.ws_url + "/ws-api/v3"))


class Socket:
    """A connection to the WebSocket API; events and answers apart."""

    def __init__(self, trader: Trader, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.events: list[dict[str, Any]] = []
        self._trader = trader
        self._ids = itertools.count(1)

    def signed(self, **parameters: Any) -> dict[str, Any]:
        given = {"apiKey": self._trader.key.key, "timestamp": self._trader.front.clock.now_ms(), **parameters}
        payload = "&".join(f"{name}={given[name]}" for name in sorted(given))
        return {**given, "signature": self._trader.sign(payload)}

    async def ask(self, method: str, params: Mapping[str, Any] | None = None) -> Any:
        number = next(self._ids)
        await self.socket.send_json({"id": number, "method": method, "params": params or {}})
        while True:
            message = json.loads((await self.socket.receive(5)).data)
            if message.get("id") == number:
                return message
            self.events.append(message)

    async def subscribe(self) -> Any:
        return await self.ask("userDataStream.subscribe.signature", self.signed())

    async def arrived(self, seconds: float = 0.05) -> list[dict[str, Any]]:
        """Return the events that came until it was quiet for so long."""
        while True:
            try:
                message = await self.socket.receive(seconds)
            except TimeoutError:
                found, self.events = self.events, []
                return found
            if message.type is not aiohttp.WSMsgType.TEXT:
                found, self.events = self.events, []
                return found
            self.events.append(json.loads(message.data))

    async def end(self) -> int | None:
        while True:
            message = await self.socket.receive(5)
            if message.type is not aiohttp.WSMsgType.TEXT:
                return self.socket.close_code


@asynccontextmanager
async def trading(
    exchange: Exchange | None = None, *, key: ApiKey = DEFAULT_KEY, sign: Callable[[str], str] = hmac_signature,
    symbols: tuple[str, ...] = ("BTCUSDT",), prices: bool = True, **options: Any,
) -> AsyncIterator[tuple[Exchange, Trader]]:  # fmt: skip
    """Start a front with an account at a market of 60000 to 60001, and a client of it."""
    exchange = exchange or Exchange({"USDT": "100000", "BTC": "1"})
    options.setdefault("clock", ManualClock())
    front = await BinanceFront(list(symbols), exchange=exchange, **options).start()
    if prices:
        exchange.set_price("BTCUSDT", "60000.00", "60001.00")
    try:
        async with aiohttp.ClientSession() as session:
            yield exchange, Trader(front, session, key, sign)
    finally:
        await front.stop()
    exchange.books.check()
