"""The seam between the front and the market behind it, and the values that cross it.

A market answers for any moment it is given and keeps no time of its own, so REST and streams can be asked for
different moments (a fault makes REST lag). It knows nothing of connections, weights or faults.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple, Protocol

from tests.fakes.binance.bars import Bar, Print, Table
from tests.fakes.binance.listings import Listing

DAY = 86_400_000
INTERVALS = {
    "1m": 60_000, "3m": 180_000, "5m": 300_000, "15m": 900_000, "30m": 1_800_000, "1h": 3_600_000, "2h": 7_200_000,
    "4h": 14_400_000, "6h": 21_600_000, "8h": 28_800_000, "12h": 43_200_000, "1d": DAY, "3d": 3 * DAY, "1w": 7 * DAY,
}  # fmt: skip
WEEK_ORIGIN = 4 * DAY
"""Weeks begin on Monday, 1970 on a Thursday."""


class StreamEvent(NamedTuple):
    """What a stream sends. ``closes``: the open time of the candle that this one closes, else None."""

    time_ms: int
    payload: bytes
    closes: int | None = None


class Quote(NamedTuple):
    """The best prices and quantities, in ticks and steps."""

    bid: int
    bid_quantity: int
    ask: int
    ask_quantity: int


class BarSource(Protocol):
    """Base bars of all symbols; trades and larger candles follow from them (:mod:`.bars`)."""

    listings: dict[str, Listing]
    length_ms: int
    gapless: bool
    since_ms: int

    def bars(self, symbol: str, start_ms: int, end_ms: int) -> Table:
        """Return the bars that open in [start, end), oldest first; where one is missing there was an outage."""
        ...

    def silence(self, symbol: str, start_ms: int, end_ms: int) -> None:
        """Take the trades out of a span that has not begun; ValueError where that cannot be done."""
        ...


class Market(Protocol):
    """What the front asks for. ``now_ms`` is the moment the answer is true for."""

    listings: dict[str, Listing]

    def klines(
        self,
        symbol: str,
        interval: str,
        now_ms: int,
        start: int | None = None,
        end: int | None = None,
        limit: int = 500,
    ) -> list[Bar]: ...

    def prints(
        self, symbol: str, now_ms: int, start: int | None = None, first_id: int | None = None, limit: int = 500
    ) -> list[Print]: ...

    def last_price(self, symbol: str, now_ms: int) -> int: ...

    def quote(self, symbol: str, now_ms: int) -> Quote: ...

    def pin(self, symbol: str, quote: Quote | None) -> None:
        """Hold a symbol's quote where the test wants it; None lets it go."""
        ...

    def silence(self, symbol: str, start_ms: int, end_ms: int) -> None:
        """Take the trades out of a span; ValueError where the market cannot."""
        ...

    def day(self, symbol: str, now_ms: int) -> Bar: ...

    def stream(self, name: str, after_ms: int) -> Iterator[StreamEvent] | None:
        """Return what a stream sends after that time, in order; None where there is no such stream."""
        ...

    def tape(self, after_ms: int) -> Iterator[tuple[str, StreamEvent]] | None:
        """Return recorded events of all streams in their order; None for a market that has none."""
        ...


def text(units: int, decimals: int) -> str:
    """Return 150 with two decimals as ``1.50000000``."""
    if decimals > 8:
        units, decimals = units // 10 ** (decimals - 8), 8
    whole, fraction = divmod(units * 10 ** (8 - decimals), 100_000_000)
    return f"{whole}.{fraction:08d}"


def bucket(time_ms: int, interval: str) -> int:
    """Return the open time of the candle that contains a time."""
    origin = WEEK_ORIGIN if interval == "1w" else 0
    return time_ms - (time_ms - origin) % INTERVALS[interval]


def quote_around(price: int, time_ms: int) -> Quote:
    """Return a quote one or two ticks wide around a price, with quantities that change."""
    bid = max(1, price - (time_ms // 100) % 2)
    return Quote(bid, 100 + time_ms * 7 % 900, bid + 1 + (time_ms // 300) % 2, 100 + time_ms * 13 % 900)


def listing_of(market: Market, name: str) -> tuple[Listing, str] | None:
    """Split ``btcusdt@trade`` into its listing and ``trade``; None for what is no stream of a listed symbol."""
    symbol, at, kind = name.partition("@")
    found: Mapping[str, Listing] = market.listings
    listing = found.get(symbol.upper())
    return (listing, kind) if at and listing is not None and symbol == symbol.lower() else None
