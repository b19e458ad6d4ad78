"""Recorded stream captures, played frame by frame: what the exchange sent, byte for byte, at its own pace.

Read: ``<recv_ns> <json>`` lines, and ``<recv_s>: <json>`` lines with urls between them. Frames that do not name their
stream are left out. REST behind a capture is made of the capture's own trades, or of candle files given beside it.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from tests.fakes.binance.bars import Bar, Print
from tests.fakes.binance.candle_market import CandleMarket
from tests.fakes.binance.listings import Listing, decimals_of, listings, recorded_info, with_decimals
from tests.fakes.binance.market import Quote, StreamEvent
from tests.fakes.binance.tables import TableBars, bars_of_prints, units

MINUTE = 60_000


class _Frame(msgspec.Struct):
    stream: str = ""
    data: msgspec.Raw = msgspec.Raw(b"")


def frames(path: Path) -> Iterator[tuple[int, str, bytes]]:
    """Return (time of receipt in ms, stream, payload) of each frame of a capture."""
    decoder = msgspec.json.Decoder(_Frame)
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as source:
        for line in source:
            head, _, rest = line.rstrip().partition(b" ")
            stamp = head.rstrip(b":")
            if not rest.startswith(b"{") or not stamp.replace(b".", b"").isdigit():
                continue
            frame = decoder.decode(rest)
            if not frame.stream:  # the answer to a subscription
                continue
            # Nanoseconds, or seconds with a fraction.
            time_ms = round(float(stamp) * 1000) if b"." in stamp else int(stamp) // 1_000_000
            yield time_ms, frame.stream, bytes(frame.data)


class ReplayMarket:
    """The market of a capture. ``history``: candle files for REST by symbol, all of one-minute candles.

    Times are those of receipt, so REST of a moment knows what had arrived by then. Before :attr:`start_ms` and after
    :attr:`end_ms` there is nothing.
    """

    def __init__(self, path: Path, history: Mapping[str, Path] | None = None) -> None:
        self.frames = list(frames(path))
        if not self.frames:
            raise ValueError(f"{path} has no frames that name their stream")
        self.start_ms, self.end_ms = self.frames[0][0], self.frames[-1][0]
        self.streams = sorted({stream for _, stream, _ in self.frames})
        symbols = sorted({stream.partition("@")[0].upper() for stream in self.streams} | set(history or {}))
        self.listings: dict[str, Listing] = listings(symbols) | self._fitted(symbols)
        source = TableBars.of_files(history) if history else self._own_bars()
        self._rest = CandleMarket(source=source)
        self._books: dict[str, list[tuple[int, bytes]]] = {}
        for time_ms, stream, payload in self.frames:
            if stream.endswith("@bookTicker"):
                self._books.setdefault(stream.partition("@")[0].upper(), []).append((time_ms, payload))

    def _fitted(self, symbols: list[str]) -> dict[str, Listing]:
        """Return listings, for those nobody has recorded, with the decimals that their quotes have."""
        rows = recorded_info()
        unknown = set(symbols) - {row["symbol"] for row in (rows or {"symbols": []})["symbols"]}
        seen: dict[str, list[dict[str, str]]] = {}
        for _, stream, payload in self.frames:
            if stream.endswith("@bookTicker") and stream.partition("@")[0].upper() in unknown:
                seen.setdefault(stream.partition("@")[0].upper(), []).append(json.loads(payload))
        return {
            symbol: with_decimals(
                symbol,
                max(decimals_of(row["b"]) for row in quotes),
                max(decimals_of(row["B"]) for row in quotes),
            )
            for symbol, quotes in seen.items()
        }

    def prints_of(self, symbol: str) -> list[Print]:
        """Return the trades of a symbol in the capture."""
        wanted = symbol.lower() + "@trade"
        return [self._print(payload) for _, stream, payload in self.frames if stream == wanted]

    def _print(self, payload: bytes) -> Print:
        row = json.loads(payload)
        listing = self.listings[row["s"]]
        price, quantity = units(row["p"], listing.price_decimals), units(row["q"], listing.quantity_decimals)
        return Print(row["T"], row["t"], price, quantity, row["m"])

    def _own_bars(self) -> TableBars:
        tables = {symbol: bars_of_prints(self.prints_of(symbol), MINUTE) for symbol in self.listings}
        return TableBars(tables, MINUTE, self.listings)

    def klines(
        self,
        symbol: str,
        interval: str,
        now_ms: int,
        start: int | None = None,
        end: int | None = None,
        limit: int = 500,
    ) -> list[Bar]:
        return self._rest.klines(symbol, interval, now_ms, start, end, limit)

    def prints(
        self, symbol: str, now_ms: int, start: int | None = None, first_id: int | None = None, limit: int = 500
    ) -> list[Print]:
        return self._rest.prints(symbol, now_ms, start, first_id, limit)

    def last_price(self, symbol: str, now_ms: int) -> int:
        return self._rest.last_price(symbol, now_ms)

    def quote(self, symbol: str, now_ms: int) -> Quote:
        """Return the quote that had arrived last."""
        known = [payload for time_ms, payload in self._books.get(symbol, []) if time_ms <= now_ms]
        if not known or self._rest.pinned(symbol):
            return self._rest.quote(symbol, now_ms)
        row, listing = json.loads(known[-1]), self.listings[symbol]
        price, quantity = listing.price_decimals, listing.quantity_decimals
        return Quote(
            units(row["b"], price), units(row["B"], quantity), units(row["a"], price), units(row["A"], quantity)
        )

    def pin(self, symbol: str, quote: Quote | None) -> None:
        self._rest.pin(symbol, quote)

    def silence(self, symbol: str, start_ms: int, end_ms: int) -> None:
        raise ValueError("a capture cannot be changed")

    def day(self, symbol: str, now_ms: int) -> Bar:
        return self._rest.day(symbol, now_ms)

    def stream(self, name: str, after_ms: int) -> Iterator[StreamEvent] | None:
        return None

    def tape(self, after_ms: int) -> Iterator[tuple[str, StreamEvent]] | None:
        return (
            (stream, StreamEvent(time_ms, payload, _closes(payload)))
            for time_ms, stream, payload in self.frames
            if time_ms >= after_ms
        )


def _closes(payload: bytes) -> int | None:
    if b'"x":true' not in payload:
        return None
    row = json.loads(payload)
    return row["k"]["t"] if row.get("e") == "kline" else None
