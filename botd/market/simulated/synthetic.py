"""The synthetic market: seeded random candles of any symbol, from the configured start on without an end.

A pure function of (seed, symbol, time): the same world plays the same after every restart, and any cursor
can be sought. Before the start there is nothing. Prices are :mod:`botd.market.simulated.synthetic_walk`'s.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from botd.domain.candle import Candle, interval_ms
from botd.domain.candles import Candles, complete_buckets
from botd.domain.errors import ConfigError, InvalidError
from botd.domain.instrument import Instrument, split_symbol
from botd.market.candles import candle_list
from botd.market.feed import Moment
from botd.market.simulated.synthetic_walk import BLOCK, Walk

_CHUNK = 64
"""How many candles of each symbol are made at once: with 50 symbols some 3 ms of work."""

_MINUTE_TURNOVER = 200_000.0
"""Typical quote volume of a one-minute candle."""


@dataclass(frozen=True, slots=True)
class _Listing:
    """The first price of a symbol and the decimals of its prices and quantities."""

    price: float
    decimals: int
    quantity_decimals: int


_LISTINGS = {
    "BTC": _Listing(60000.0, 2, 5),
    "ETH": _Listing(3000.0, 2, 4),
    "BNB": _Listing(550.0, 2, 3),
    "SOL": _Listing(150.0, 2, 3),
    "LTC": _Listing(70.0, 2, 3),
    "AVAX": _Listing(30.0, 3, 2),
    "LINK": _Listing(14.0, 3, 2),
    "DOT": _Listing(6.0, 4, 2),
    "XRP": _Listing(0.5, 4, 0),
    "ADA": _Listing(0.4, 4, 0),
    "TRX": _Listing(0.12, 5, 0),
    "DOGE": _Listing(0.1, 5, 0),
}


class SyntheticSource:
    """A :class:`botd.market.feed.CandleSource` of random walks. All symbols have every candle.

    The first candle opens at ``start_ms``, rounded up to the interval. ``instruments`` holds configured
    grids; prices do not depend on them.
    """

    name = "synthetic"

    def __init__(
        self,
        symbols: Sequence[str],
        interval: str,
        start_ms: int,
        seed: int,
        instruments: Mapping[str, Instrument] | None = None,
    ) -> None:
        if not symbols or len(set(symbols)) != len(symbols):
            raise ConfigError("a synthetic market needs symbols, each once", "set market.symbols, e.g. [BTC/USDT]")
        self.symbols = tuple(symbols)
        self.interval = interval
        self._length = interval_ms(interval)
        self.start_ms = -(-start_ms // self._length) * self._length
        self._configured = dict(instruments or {})
        self._listings = {symbol: _listing(symbol) for symbol in self.symbols}
        self._walks = {
            symbol: Walk(
                seed,
                symbol,
                price=listing.price,
                decimals=listing.decimals,
                volume=_MINUTE_TURNOVER / listing.price,
                volume_decimals=listing.quantity_decimals,
                minutes=self._length / 60_000,
            )
            for symbol, listing in self._listings.items()
        }
        self._chunks: dict[str, list[Candle]] = {}
        self.seek(None)

    def seek(self, cursor_ms: int | None) -> None:
        before = cursor_ms is None or cursor_ms < self.start_ms
        self._next = 0 if before or cursor_ms is None else (cursor_ms - self.start_ms) // self._length + 1
        self._chunks = {}
        self._load(self._next)
        self._closing = self._open_candles(self._next - 1) if self._next else []

    def next(self) -> Moment | None:
        at = self._next % _CHUNK
        if not at or not self._chunks:
            self._load(self._next)
        opening = [(symbol, rows[at]) for symbol, rows in self._chunks.items()]
        moment = Moment(
            self.start_ms + self._next * self._length,
            self._closing,
            [(symbol, candle.open) for symbol, candle in opening],
        )
        self._closing = opening
        self._next += 1
        return moment

    def history(self, symbol: str, interval: str, before_ms: int, count: int) -> Candles:
        per = self._per(interval)
        first_bucket = -(-self.start_ms // (per * self._length))
        end = before_ms // (per * self._length)
        begin = max(first_bucket, end - max(0, count))
        if begin >= end:
            return Candles.empty(interval)
        offset = self.start_ms // self._length
        rows = self._base(symbol, begin * per - offset, end * per - offset)
        return complete_buckets(rows, interval)

    def bar_index(self, symbol: str, interval: str, open_time: int) -> int:
        length = self._per(interval) * self._length
        return max(0, -(-open_time // length) + (-self.start_ms) // length)

    def is_complete(self, symbol: str, interval: str, open_time: int) -> bool:
        return open_time >= self.start_ms and open_time % (self._per(interval) * self._length) == 0

    def instruments(self) -> dict[str, Instrument]:
        return {symbol: self._configured.get(symbol) or self._instrument(symbol) for symbol in self.symbols}

    def statistics(self) -> dict[str, Any]:
        return {"source": self.name, "gaps": [], "start_ms": self.start_ms, "end_ms": None}

    def _per(self, interval: str) -> int:
        per, rest = divmod(interval_ms(interval), self._length)
        if rest or not per:
            raise InvalidError(f"{interval} candles cannot be built from {self.interval} candles")
        return per

    def _base(self, symbol: str, first: int, end: int) -> Candles:
        rows = self._walks[symbol].rows(first, end)
        time = self.start_ms + rows.time * self._length
        time.setflags(write=False)
        return Candles(self.interval, time, rows.open, rows.high, rows.low, rows.close, rows.volume)

    def _load(self, index: int) -> None:
        first = index - index % _CHUNK
        for symbol in self.symbols:
            self._chunks[symbol] = candle_list(self._base(symbol, first, first + _CHUNK))
        # The next blocks are computed a few symbols at a time, or all of them would be due in one moment.
        share = BLOCK // _CHUNK
        for symbol in self.symbols[first // _CHUNK % share :: share]:
            self._walks[symbol].prepare(first + BLOCK)

    def _open_candles(self, index: int) -> list[tuple[str, Candle]]:
        return [(symbol, self._base(symbol, index, index + 1).candle(0)) for symbol in self.symbols]

    def _instrument(self, symbol: str) -> Instrument:
        base, quote = split_symbol(symbol)
        listing = self._listings[symbol]
        step = Decimal(1).scaleb(-listing.quantity_decimals)
        tick = Decimal(1).scaleb(-listing.decimals)
        return Instrument(symbol=symbol, base=base, quote=quote, tick=tick, step=step, min_notional=Decimal(5))


def _listing(symbol: str) -> _Listing:
    try:
        base, _ = split_symbol(symbol)
    except ValueError as error:
        raise ConfigError(str(error), "name the symbols under market.symbols like BTC/USDT") from None
    if base in _LISTINGS:
        return _LISTINGS[base]
    digest = hashlib.sha256(base.encode()).digest()
    # Between 0.1 and 1000, evenly in logarithms; a tick is about a tenth of a percent of a percent.
    price = float(f"{10 ** (-1 + 4 * int.from_bytes(digest[:4]) / 2**32):.3g}")
    magnitude = math.floor(math.log10(price))
    return _Listing(price, 4 - magnitude if magnitude < 3 else 2, max(0, 2 + magnitude))
