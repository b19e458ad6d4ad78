"""The public REST side of Binance: candles and best prices; typed, and through the governor of the site.

It signs nothing, holds no key, and retries nothing: whoever asks knows whether it still matters.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from botd.domain.candle import Candle, bucket_start, interval_ms
from botd.domain.instrument import Instrument
from botd.exchange.binance.site import Site
from botd.exchange.governor import Lane
from botd.market.binance.gate_values import Row

PAGE = 1000


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


class BookRow(msgspec.Struct, rename="camel", gc=False):
    """Best bid and ask of a symbol, by the exchange's name of it."""

    symbol: str
    bid_price: float
    ask_price: float


class BinanceRest:
    """See the module. The site is shared with whoever else talks to the exchange."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.governor = site.governor
        self.counts = site.client.counts

    def server_ms(self) -> int:
        """Return the exchange's time, as far as it was measured."""
        return self.site.time.now_ms()

    # -- market data

    async def instruments(self) -> dict[str, tuple[str, Instrument]]:
        """Return the spot pairs: symbol -> (the exchange's name of it, instrument)."""
        listing = await self.site.load_listing()
        return {symbol: (listed.name, listed.instrument) for symbol, listed in listing.pairs.items()}

    async def klines(
        self, name: str, interval: str, first_ms: int, limit: int, lane: Lane = Lane.MARKET, patience_s: float = 30.0
    ) -> Klines:
        """Return up to ``limit`` (1000) rows from ``first_ms`` on; the last one may still be forming."""
        params = {"symbol": name, "interval": interval, "startTime": max(0, first_ms), "limit": min(limit, PAGE)}
        rows, asked_ms = await self.site.ask_at("klines", params, list[_Kline], lane, patience_s)
        found = sorted(rows, key=lambda row: row.open_time)
        return Klines([_row(row) for row in found], asked_ms)

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
            row = await self.site.ask("ticker/bookTicker", {"symbol": names[0]}, BookRow, patience_s)
            return [row]
        text = "[" + ",".join(f'"{name}"' for name in names) + "]"
        return await self.site.ask("ticker/bookTicker", {"symbols": text}, list[BookRow], patience_s)


def _row(row: _Kline) -> Row:
    return Row(Candle(row.open_time, row.open, row.high, row.low, row.close, row.volume), row.trades)
