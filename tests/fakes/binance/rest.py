"""The public REST endpoints: parameters checked as the exchange does, answers made from the market at one moment.

An endpoint is a row of a table: path, weight, handler. More of them (orders, account, signed ones) come as further
desks; see :class:`Desk`. Limits, faults and the record are :mod:`.rest_gate`'s.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple, Protocol

from tests.fakes.binance import payloads
from tests.fakes.binance.listings import Listing, exchange_info
from tests.fakes.binance.market import INTERVALS, Market, text

Parameters = Mapping[str, str]
_LONGS = 2**63


class ApiError(Exception):
    """An answer ``{"code", "msg"}`` with an HTTP status."""

    def __init__(self, code: int, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


class Request(NamedTuple):
    """What a handler is given: the parameters, the headers, and the moment to answer for."""

    parameters: Parameters
    headers: Mapping[str, str]
    now_ms: int


class Route(NamedTuple):
    """An endpoint. ``weight`` may depend on the parameters; ``free``: who succeeds gets it back.

    ``serve`` answers the HTTP request itself, instead of the handler.
    """

    weight: int | Callable[[Parameters], int]
    handler: Callable[[Request], Any] | None
    serve: Callable[[Any], Awaitable[Any]] | None = None
    free: bool = False

    def cost(self, parameters: Parameters) -> int:
        return self.weight(parameters) if callable(self.weight) else self.weight


class Desk(Protocol):
    """A set of endpoints: (method, path) -> route. The place for orders, account and signed requests."""

    def routes(self) -> Mapping[tuple[str, str], Route]: ...


class PublicDesk:
    """Market data."""

    def __init__(self, market: Market) -> None:
        self._market = market

    def routes(self) -> dict[tuple[str, str], Route]:
        table: dict[str, Route] = {
            "ping": Route(1, lambda request: {}),
            "time": Route(1, lambda request: {"serverTime": request.now_ms}),
            "exchangeInfo": Route(20, self.exchange_info),
            "klines": Route(2, self.klines),
            "uiKlines": Route(2, self.klines),
            "aggTrades": Route(4, self.agg_trades),
            "trades": Route(25, self.trades),
            "depth": Route(_depth_weight, self.depth),
            "avgPrice": Route(2, self.average_price),
            "ticker/bookTicker": Route(_one_or_all(2, 4), self.book_tickers),
            "ticker/price": Route(_one_or_all(2, 4), self.prices),
            "ticker/24hr": Route(_day_weight, self.days),
        }
        return {("GET", f"/api/v3/{path}"): route for path, route in table.items()}

    def exchange_info(self, request: Request) -> dict[str, Any]:
        wanted = self._wanted(request.parameters)
        return exchange_info(self._market.listings if wanted is None else wanted, request.now_ms)

    def klines(self, request: Request) -> list[Any]:
        given = request.parameters
        listing = self._listing(given)
        interval = _text(given, "interval")
        if interval not in INTERVALS:
            raise ApiError(-1120, "Invalid interval.")
        start, end = _long(given, "startTime"), _long(given, "endTime")
        rows = self._market.klines(listing.symbol, interval, request.now_ms, start, end, _limit(given, 500, 1000))
        return [payloads.kline_row(listing, INTERVALS[interval], bar) for bar in rows]

    def agg_trades(self, request: Request) -> list[Any]:
        given = request.parameters
        listing = self._listing(given)
        start, end, first = _long(given, "startTime"), _long(given, "endTime"), _long(given, "fromId")
        now = request.now_ms if end is None else min(end, request.now_ms)
        found = self._market.prints(listing.symbol, now, start, first, _limit(given, 500, 1000))
        return [payloads.agg_trade_row(listing, trade) for trade in found]

    def trades(self, request: Request) -> list[Any]:
        listing = self._listing(request.parameters)
        found = self._market.prints(listing.symbol, request.now_ms, limit=_limit(request.parameters, 500, 1000))
        return [payloads.trade_row(listing, trade) for trade in found]

    def depth(self, request: Request) -> dict[str, Any]:
        listing = self._listing(request.parameters)
        quote = self._market.quote(listing.symbol, request.now_ms)
        return payloads.depth(listing, quote, request.now_ms, _limit(request.parameters, 100, 5000))

    def average_price(self, request: Request) -> dict[str, Any]:
        listing = self._listing(request.parameters)
        price = text(self._market.last_price(listing.symbol, request.now_ms), listing.price_decimals)
        return {"mins": 5, "price": price, "closeTime": request.now_ms}

    def book_tickers(self, request: Request) -> Any:
        def row(listing: Listing) -> dict[str, str]:
            return payloads.book_row(listing, self._market.quote(listing.symbol, request.now_ms))

        return self._one_or_many(request.parameters, row)

    def prices(self, request: Request) -> Any:
        def row(listing: Listing) -> dict[str, str]:
            price = self._market.last_price(listing.symbol, request.now_ms)
            return {"symbol": listing.symbol, "price": text(price, listing.price_decimals)}

        return self._one_or_many(request.parameters, row)

    def days(self, request: Request) -> Any:
        def row(listing: Listing) -> dict[str, Any]:
            day = self._market.day(listing.symbol, request.now_ms)
            return payloads.day_row(listing, day, self._market.quote(listing.symbol, request.now_ms), request.now_ms)

        return self._one_or_many(request.parameters, row)

    def _one_or_many(self, given: Parameters, row: Callable[[Listing], Any]) -> Any:
        if "symbol" in given:
            return row(self._listing(given))
        wanted = self._wanted(given)
        return [row(listing) for listing in (self._market.listings if wanted is None else wanted).values()]

    def _wanted(self, given: Parameters) -> dict[str, Listing] | None:
        """Return the listings that ``symbol`` or ``symbols`` name; None where neither is given."""
        if "symbol" in given:
            listing = self._listing(given)
            return {listing.symbol: listing}
        if "symbols" not in given:
            return None
        try:
            names = json.loads(given["symbols"])
        except ValueError:
            names = None
        if not isinstance(names, list):
            raise ApiError(
                -1100, "Illegal characters found in parameter 'symbols'; legal range is an array of symbols."
            )
        return {name: self._listing({"symbol": str(name)}) for name in names}

    def _listing(self, given: Parameters) -> Listing:
        symbol = _text(given, "symbol")
        if not symbol.isascii() or not symbol.replace("-", "").replace("_", "").isalnum() or symbol != symbol.upper():
            legal = "^[A-Z0-9-_.]{1,20}$"
            raise ApiError(-1100, f"Illegal characters found in parameter 'symbol'; legal range is '{legal}'.")
        if symbol not in self._market.listings:
            raise ApiError(-1121, "Invalid symbol.")
        return self._market.listings[symbol]


def _text(given: Parameters, name: str) -> str:
    if name not in given:
        raise ApiError(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
    if not given[name]:
        raise ApiError(-1105, f"Parameter '{name}' was empty.")
    return given[name]


def _long(given: Parameters, name: str) -> int | None:
    if name not in given:
        return None
    value = given[name]
    if not (value.isascii() and value.isdigit()) or int(value) >= _LONGS:
        raise ApiError(-1100, f"Illegal characters found in parameter '{name}'; legal range is '^[0-9]{{1,20}}$'.")
    return int(value)


def _limit(given: Parameters, default: int, most: int) -> int:
    """Return the limit; more than the most is the most, as the exchange has it."""
    limit = _long(given, "limit")
    if limit == 0:
        raise ApiError(-1130, "Data sent for parameter 'limit' is not valid.")
    return min(limit or default, most)


def _one_or_all(one: int, many: int) -> Callable[[Parameters], int]:
    return lambda given: one if "symbol" in given else many


def _depth_weight(given: Parameters) -> int:
    limit = int(given.get("limit", "100")) if given.get("limit", "100").isdigit() else 100
    return next(weight for most, weight in ((100, 5), (500, 25), (1000, 50), (10**20, 250)) if limit <= most)


def _day_weight(given: Parameters) -> int:
    if "symbol" in given:
        return 2
    named = given["symbols"].count(",") + 1 if "symbols" in given else 101
    return 2 if named <= 20 else 40 if named <= 100 else 80
