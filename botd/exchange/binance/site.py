"""Binance as this machine reaches it: its hosts, and what all who talk to it from here share.

One HTTP session, one ledger of limits, one measure of its time, one listing: the market feed and the account
stand on the same site, so ``exchangeInfo`` is asked for once. It holds no key and knows no order.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator
from decimal import Decimal
from typing import Any, TypeVar

import msgspec
import picows

from botd.domain.clock import Clock
from botd.domain.errors import NotFoundError
from botd.exchange.binance.client import BinanceClient, NoAnswerError, RestError, decoded
from botd.exchange.binance.dial import dial
from botd.exchange.binance.listing import GONE, TRADING, ExchangeInfo, Listed, Listing
from botd.exchange.binance.server_time import ServerTime
from botd.exchange.binance.stream_rules import StreamRules
from botd.exchange.binance.transport import HttpTransport, Transport
from botd.exchange.binance.weights import weight_of
from botd.exchange.governor import Governor, Lane

PRODUCTION, TESTNET = "https://api.binance.com", "https://testnet.binance.vision"
STREAMS, STREAMS_TESTNET = "wss://stream.binance.com:9443", "wss://stream.testnet.binance.vision"
WS_API, WS_API_TESTNET = "wss://ws-api.binance.com:443", "wss://ws-api.testnet.binance.vision"
PUBLIC_TIMEOUT_S = 15.0
_REFRESHED = 100
"""Symbols in one request: its url stays short."""

Kind = TypeVar("Kind")
Dial = Callable[[str, picows.WSListener, StreamRules], Awaitable[picows.WSTransport]]
"""Reaches a WebSocket server, as :func:`botd.exchange.binance.dial.dial` does."""


class _Book(msgspec.Struct, rename="camel"):
    symbol: str
    bid_price: Decimal


class _Time(msgspec.Struct, rename="camel"):
    server_time: int


class Site:
    """See the module. ``rest``, ``stream`` and ``ws_api`` are base urls without a path, in place of Binance's own;
    ``transport`` and ``user_dial`` are in place of the network itself."""

    def __init__(
        self,
        clock: Clock,
        *,
        testnet: bool = False,
        rest: str | None = None,
        stream: str | None = None,
        ws_api: str | None = None,
        ssl_context: ssl.SSLContext | None = None,
        resolver: Any = None,
        timeout_s: float = PUBLIC_TIMEOUT_S,
        transport: Transport | None = None,
        user_dial: Dial | None = None,
    ) -> None:
        self.testnet = testnet
        self.stream_url = stream or (STREAMS_TESTNET if testnet else STREAMS)
        self.ws_api_url = ws_api or (WS_API_TESTNET if testnet else WS_API)
        self.ssl_context = ssl_context
        self.resolver = resolver
        self.governor = Governor(clock)
        self.time = ServerTime(clock, self.governor)
        self.client = BinanceClient(
            rest or (TESTNET if testnet else PRODUCTION),
            clock=clock,
            governor=self.governor,
            time=self.time,
            transport=transport or HttpTransport(ssl_context=ssl_context, resolver=resolver, timeout_s=timeout_s),
        )
        self._user_dial = user_dial
        self.attended: set[str] = set()
        """Symbols whose filters and statuses are to stay fresh: whoever trades or watches one adds it."""
        self.doubted: set[str] = set()
        """Of which an order was refused for a filter or a closed market: the listing may be out of date."""
        self._clock = clock
        self._listing = Listing()
        self._listed_s = float("-inf")
        self._loading = asyncio.Lock()

    async def dial_user(self, path: str, listener: picows.WSListener, rules: StreamRules) -> picows.WSTransport:
        """Connect to the WebSocket API; ConnectionFailed where it is out of reach."""
        if self._user_dial is not None:
            return await self._user_dial(self.ws_api_url + path, listener, rules)
        return await dial(self.ws_api_url + path, listener, rules, self.ssl_context, self.resolver)

    async def ask(self, endpoint: str, params: dict[str, Any], kind: type[Kind], patience_s: float = 30.0) -> Kind:
        """Ask a public endpoint; RestError where it does not give a ``kind``."""
        return (await self.ask_at(endpoint, params, kind, Lane.MARKET, patience_s))[0]

    async def ask_at(
        self, endpoint: str, params: dict[str, Any], kind: type[Kind], lane: Lane, patience_s: float
    ) -> tuple[Kind, int]:
        """The same, with the exchange's time when it was asked."""
        weight = weight_of(endpoint, params)
        try:
            answer = await self.client.call(
                "GET", f"/api/v3/{endpoint}", params, weight=weight, lane=lane, patience_s=patience_s
            )
        except NoAnswerError as error:
            raise RestError(error.message) from None
        try:
            return decoded(endpoint, answer, kind, params.get("symbol", "")), answer.asked_ms
        except RestError:
            self.client.counts["failures"] += answer.status == 200  # the others are counted
            raise

    async def bids(self, symbols: Iterable[str]) -> dict[str, Decimal]:
        """Return what a unit of each listed symbol sells for now."""
        names = {self._listing.pairs[symbol].name: symbol for symbol in symbols if symbol in self._listing.pairs}
        found: dict[str, Decimal] = {}
        for chosen in _parts(names):
            books = await self.ask("ticker/bookTicker", {"symbols": chosen}, list[_Book])
            found |= {names[book.symbol]: book.bid_price for book in books if book.symbol in names}
        return found

    @property
    def listing(self) -> Listing:
        """What was loaded last; empty before :meth:`load_listing`."""
        return self._listing

    async def load_listing(self) -> Listing:
        """Load what the exchange lists, if nobody did before."""
        async with self._loading:
            if not self._listing.pairs:
                await self._load_all()
        return self._listing

    def unsettled(self) -> set[str]:
        """Return the attended symbols that are worth a look before the others: not trading now, or doubted."""
        idle = {at for at, row in self._attended().items() if row.instrument.status != TRADING}
        return idle | (self.doubted & self._attended().keys())

    def _attended(self) -> dict[str, Listed]:
        pairs = self._listing.pairs
        listed = {symbol: pairs[symbol] for symbol in self.attended & pairs.keys()}
        return {symbol: pair for symbol, pair in listed.items() if pair.instrument.status != GONE}

    async def refresh_listing(self, only: Collection[str] | None = None) -> None:
        """Load the attended symbols again, or some of them. (All there are would hold up everybody else for a tenth of
        a second.)"""
        pairs = {at: row for at, row in self._attended().items() if only is None or at in only}
        async with self._loading:
            try:
                for chosen in _parts(pair.name for pair in pairs.values()):
                    self._listing.update(await self.ask("exchangeInfo", {"symbols": chosen}, ExchangeInfo))
            except NotFoundError:  # one is gone, and the exchange does not say which
                await self._load_all()
            self.doubted -= pairs.keys()
            if only is None:
                self._listed_s = self._clock.monotonic()

    @property
    def listing_age_s(self) -> float:
        """For how long nobody has loaded the listing, or the attended part of it."""
        return self._clock.monotonic() - self._listed_s

    async def _load_all(self) -> None:
        self._listing.take(await self.ask("exchangeInfo", {"showPermissionSets": "false"}, ExchangeInfo))
        self.governor.orders.set_limits(self._listing.order_limits)
        self._listed_s = self._clock.monotonic()

    async def measure_time(self) -> int:
        """Measure the exchange's time; return by how much its clock is ahead of ours, in ms."""

        async def told() -> tuple[int, int]:
            answer, left_ms = await self.ask_at("time", {}, _Time, Lane.MARKET, 30.0)
            return answer.server_time, left_ms

        return await self.time.measure(told)

    async def close(self) -> None:
        """Let go of the connections."""
        await self.client.close()


def _parts(names: Iterable[str]) -> Iterator[str]:
    """Return the parameters ``symbols`` of the requests that it takes."""
    wanted = sorted(names)
    for start in range(0, len(wanted), _REFRESHED):
        yield json.dumps(wanted[start : start + _REFRESHED], separators=(",", ":"))
