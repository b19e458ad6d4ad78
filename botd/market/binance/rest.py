"""The public REST side of Binance: instruments, time, candles, best prices; typed, and through the governor.

Every request has a permit of :class:`botd.exchange.governor.Governor`, and the governor hears of every answer.
The exchange's time is counted on from a measurement by monotonic seconds, so a step of our clock does not move
it. It signs nothing, holds no key, and retries nothing: whoever asks knows whether it still matters.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from decimal import Decimal
from statistics import median
from typing import Any, TypeVar

import aiohttp
import msgspec
from aiohttp.abc import AbstractResolver

from botd.domain.candle import Candle, bucket_start, interval_ms
from botd.domain.clock import Clock
from botd.domain.errors import NotFoundError, UnavailableError
from botd.domain.instrument import ZERO, Instrument
from botd.exchange.governor import Governor, Lane, weight_of
from botd.market.binance.gate_values import Row

PRODUCTION, TESTNET = "https://api.binance.com", "https://testnet.binance.vision"
PAGE = 1000
STEP_MS = 500
_TIMEOUT_S = 10.0
_SAMPLES = 3
_ANSWER_BYTES = 64 * 1024 * 1024
_AGAIN = "it is tried again by itself"

Answer = TypeVar("Answer")


class RestError(UnavailableError):
    """REST did not give what was asked for. ``status`` and ``code`` are the exchange's, 0 where there is none."""

    def __init__(self, message: str, status: int = 0, code: int = 0) -> None:
        super().__init__(message, _AGAIN)
        self.status = status
        self.exchange_code = code


class Klines(msgspec.Struct, frozen=True):
    """Rows, oldest first, and the exchange's time when they were asked for."""

    rows: list[Row]
    asked_ms: int


class _Kline(msgspec.Struct, array_like=True, gc=False):
    open_time: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    close_time: int
    quote_volume: float
    trades: int


class _Filter(msgspec.Struct, rename="camel"):
    filter_type: str
    tick_size: Decimal = ZERO
    step_size: Decimal = ZERO
    min_qty: Decimal = ZERO
    max_qty: Decimal = ZERO
    min_notional: Decimal = ZERO
    max_notional: Decimal = ZERO
    max_num_orders: int = 200
    max_num_algo_orders: int = 5


class _Symbol(msgspec.Struct, rename="camel"):
    symbol: str
    status: str
    base_asset: str
    quote_asset: str
    filters: list[_Filter]
    is_spot_trading_allowed: bool = True


class _ExchangeInfo(msgspec.Struct):
    symbols: list[_Symbol]


class _Time(msgspec.Struct, rename="camel"):
    server_time: int


class BookRow(msgspec.Struct, rename="camel", gc=False):
    """Best bid and ask of a symbol, by the exchange's name of it."""

    symbol: str
    bid_price: float
    ask_price: float


class _Fault(msgspec.Struct):
    code: int
    msg: str = ""


class BinanceRest:
    """See the module. ``url`` without a path; ``ssl_context`` and ``resolver`` for tests on loopback."""

    def __init__(
        self,
        url: str,
        *,
        clock: Clock,
        governor: Governor,
        ssl_context: ssl.SSLContext | None = None,
        resolver: AbstractResolver | None = None,
        timeout_s: float = _TIMEOUT_S,
    ) -> None:
        self.governor = governor
        self._url = url.rstrip("/")
        self._clock = clock
        self._ssl_context = ssl_context
        self._resolver = resolver
        self._timeout_s = timeout_s
        self._session: aiohttp.ClientSession | None = None
        self._ahead_ms: float = 0.0
        """The exchange's time less our monotonic time."""
        self._offset_ms: int | None = None
        self.counts = {"requests": 0, "failures": 0, "clock_steps": 0}

    # -- time

    def server_ms(self) -> int:
        """Return the exchange's time, as far as it was measured."""
        if self._offset_ms is None:
            return self._clock.now_ms()
        return round(self._clock.monotonic() * 1000 + self._ahead_ms)

    @property
    def offset_ms(self) -> int | None:
        """By how much the exchange's clock was ahead of ours at the last measurement; None before the first."""
        return self._offset_ms

    async def measure_time(self) -> int:
        """Measure the exchange's time: the median of three round trips, each taken at its middle."""
        ahead = []
        for _ in range(_SAMPLES):
            before = self._clock.monotonic()
            answer = await self._get("time", {}, _Time, Lane.MARKET)
            middle = (before + self._clock.monotonic()) / 2
            ahead.append(answer.server_time - middle * 1000)
        self._ahead_ms = median(ahead)
        self._offset_ms = round(self._clock.monotonic() * 1000 + self._ahead_ms) - self._clock.now_ms()
        self.governor.set_offset(self._offset_ms)
        return self._offset_ms

    def notice_step(self) -> int:
        """Return by how much our clock stepped since it was measured, in ms, and take that in; 0 for less than 500."""
        if self._offset_ms is None:
            return 0
        offset = self.server_ms() - self._clock.now_ms()
        step = self._offset_ms - offset
        if abs(step) <= STEP_MS:
            return 0
        self._offset_ms = offset
        self.governor.set_offset(offset)
        self.counts["clock_steps"] += 1
        return step

    # -- market data

    async def instruments(self) -> dict[str, tuple[str, Instrument]]:
        """Return the spot pairs: symbol -> (the exchange's name of it, instrument)."""
        info = await self._get("exchangeInfo", {}, _ExchangeInfo, Lane.MARKET)
        found = {}
        for symbol in info.symbols:
            if symbol.is_spot_trading_allowed and symbol.base_asset and symbol.quote_asset:
                instrument = _instrument(symbol)
                found[instrument.symbol] = (symbol.symbol, instrument)
        return found

    async def klines(
        self, name: str, interval: str, first_ms: int, limit: int, lane: Lane = Lane.MARKET, patience_s: float = 30.0
    ) -> Klines:
        """Return up to ``limit`` (1000) rows from ``first_ms`` on; the last one may still be forming."""
        params = {"symbol": name, "interval": interval, "startTime": max(0, first_ms), "limit": min(limit, PAGE)}
        asked: list[int] = []
        rows = await self._get("klines", params, list[_Kline], lane, patience_s, asked)
        found = sorted(rows, key=lambda row: row.open_time)
        return Klines([_row(row) for row in found], asked[0])

    async def history(self, name: str, interval: str, count: int, patience_s: float = 300.0) -> Klines:
        """Return the last ``count`` rows and the forming one, in pages; fewer where there are not so many."""
        length = interval_ms(interval)
        first = max(0, bucket_start(self.server_ms(), length) - count * length)
        found: list[Row] = []
        while True:
            page = await self.klines(name, interval, first, PAGE, Lane.HISTORY, patience_s)
            found += page.rows
            if len(page.rows) < PAGE:
                return Klines(found, page.asked_ms)
            first = page.rows[-1].candle.open_time + length

    async def book_tickers(self, names: Sequence[str], patience_s: float = 5.0) -> list[BookRow]:
        """Return the best bid and ask of each name, in one request."""
        if len(names) == 1:
            row = await self._get("ticker/bookTicker", {"symbol": names[0]}, BookRow, Lane.MARKET, patience_s)
            return [row]
        text = "[" + ",".join(f'"{name}"' for name in names) + "]"
        return await self._get("ticker/bookTicker", {"symbols": text}, list[BookRow], Lane.MARKET, patience_s)

    async def close(self) -> None:
        """Let go of the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    # -- one request

    async def _get(
        self,
        endpoint: str,
        params: dict[str, Any],
        kind: type[Answer],
        lane: Lane,
        patience_s: float = 30.0,
        asked: list[int] | None = None,
    ) -> Answer:
        """Return an answer as ``kind``; ``asked`` gets the exchange's time when the request was sent."""
        url = f"{self._url}/api/v3/{endpoint}"
        async with self.governor.permit(weight_of(endpoint, params), lane, patience_s=patience_s) as permit:
            self.counts["requests"] += 1
            if asked is not None:
                asked.append(self.server_ms())
            try:
                async with asyncio.timeout(self._timeout_s), self._open().get(url, params=params) as response:
                    permit.answered(response.status, response.headers)
                    body = await response.content.read(_ANSWER_BYTES)
                    while not response.content.at_eof() and len(body) < _ANSWER_BYTES:
                        body += await response.content.read(_ANSWER_BYTES)
                    status = response.status
            except TimeoutError:
                self.counts["failures"] += 1
                raise RestError(f"{endpoint}: no answer within {self._timeout_s:g} s") from None
            except (aiohttp.ClientError, OSError, ValueError) as error:
                self.counts["failures"] += 1
                raise RestError(f"{endpoint}: {_said(error)}") from error
        return self._decode(endpoint, params, status, body, kind)

    def _decode(self, endpoint: str, params: dict[str, Any], status: int, body: bytes, kind: type[Answer]) -> Answer:
        if status != 200:
            self.counts["failures"] += 1
            raise _refusal(endpoint, params, status, body)
        try:
            return msgspec.json.decode(body, type=kind, strict=False)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            self.counts["failures"] += 1
            raise RestError(f"{endpoint}: an answer that is none: {error}", status) from None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                limit=16, ssl=self._ssl_context or True, resolver=self._resolver, keepalive_timeout=30.0
            )
            self._session = aiohttp.ClientSession(connector=connector, auto_decompress=True)
        return self._session


def _row(row: _Kline) -> Row:
    return Row(Candle(row.open_time, row.open, row.high, row.low, row.close, row.volume), row.trades)


def _instrument(symbol: _Symbol) -> Instrument:
    rules = {rule.filter_type: rule for rule in symbol.filters}
    none = _Filter("")
    price, lot = rules.get("PRICE_FILTER", none), rules.get("LOT_SIZE", none)
    notional = rules.get("NOTIONAL") or rules.get("MIN_NOTIONAL", none)
    return Instrument(
        symbol=f"{symbol.base_asset}/{symbol.quote_asset}",
        base=symbol.base_asset,
        quote=symbol.quote_asset,
        tick=_exact(price.tick_size),
        step=_exact(lot.step_size),
        min_quantity=_exact(lot.min_qty),
        max_quantity=_exact(lot.max_qty),
        min_notional=_exact(notional.min_notional),
        max_notional=_exact(notional.max_notional),
        max_orders=rules.get("MAX_NUM_ORDERS", none).max_num_orders,
        max_algo_orders=rules.get("MAX_NUM_ALGO_ORDERS", none).max_num_algo_orders,
        status=symbol.status,
    )


def _exact(value: Decimal) -> Decimal:
    """Return a decimal without trailing zeros: 0.01, 1."""
    exact = value.normalize()
    return exact.quantize(Decimal(1)) if exact == exact.to_integral_value() else exact


def _refusal(endpoint: str, params: dict[str, Any], status: int, body: bytes) -> UnavailableError | NotFoundError:
    try:
        fault = msgspec.json.decode(body, type=_Fault)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return RestError(f"{endpoint}: HTTP {status}", status)
    if fault.code == -1121:
        return NotFoundError(f"{params.get('symbol', '')}: the exchange has no such symbol")
    return RestError(f"{endpoint}: HTTP {status}, {fault.code} {fault.msg}"[:300], status, fault.code)


def _said(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
