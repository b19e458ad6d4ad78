"""Bars that are known beforehand: candle files, or the trades of a capture, as tables in memory."""

from __future__ import annotations

import csv
import dataclasses
import gzip
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path

import numpy as np

from tests.fakes.binance import bars
from tests.fakes.binance.bars import Print, Table
from tests.fakes.binance.listings import Listing, decimals_of, listings

_COUNTED = 24
"""Trades of a candle whose file does not tell their number."""


class TableBars:
    """Bars of ``length_ms`` by symbol, as they are in the tables: holes stay holes."""

    gapless = False
    since_ms = 0

    def __init__(self, tables: Mapping[str, Table], length_ms: int, listed: dict[str, Listing] | None = None) -> None:
        self.listings = listed or listings(list(tables))
        self.length_ms = length_ms
        self._tables = dict(tables)

    def bars(self, symbol: str, start_ms: int, end_ms: int) -> Table:
        table = self._tables[symbol]
        first, end = np.searchsorted(table[:, bars.OPEN_TIME], [start_ms, end_ms])
        return table[first:end]

    def silence(self, symbol: str, start_ms: int, end_ms: int) -> None:
        raise ValueError("minutes without trades can be made in the random market only")

    def span(self) -> tuple[int, int]:
        """Return when the first bar opens and the last one closes."""
        full = [table for table in self._tables.values() if len(table)]
        return (
            min(int(table[0, bars.OPEN_TIME]) for table in full),
            max(int(table[-1, bars.OPEN_TIME]) for table in full) + self.length_ms,
        )

    @classmethod
    def of_files(cls, files: Mapping[str, Path], length_ms: int = 60_000) -> TableBars:
        """Read ``open_time,open,high,low,close,volume`` files or Binance's twelve columns, plain or gzipped.

        Where the twelve columns are there, klines give them back as they are; the trades made of a candle then add
        up to its prices, volume and count, not to its quote and taker amounts.
        """
        listed = {symbol: _fitted(listing, files[symbol]) for symbol, listing in listings(list(files)).items()}
        tables = {symbol: _read(path, listed[symbol], length_ms) for symbol, path in files.items()}
        return cls(tables, length_ms, listed)


def _fitted(listing: Listing, path: Path) -> Listing:
    """Return a listing whose grid is fine enough for the file: grids were finer in other years."""
    rows = [fields for _, fields in zip(range(5000), _lines(path), strict=False)]
    price = max((decimals_of(text) for row in rows for text in row[1:5]), default=0)
    quantity = max((decimals_of(row[5]) for row in rows), default=0)
    return dataclasses.replace(
        listing,
        price_decimals=max(listing.price_decimals, price),
        quantity_decimals=max(listing.quantity_decimals, quantity),
    )


def _read(path: Path, listing: Listing, length_ms: int) -> Table:
    rows = [_row(fields, listing) for fields in _lines(path)]
    table: Table = np.array(rows, dtype=np.int64).reshape(-1, bars.COLUMNS)
    table = table[np.argsort(table[:, bars.OPEN_TIME], kind="stable")]
    table = table[table[:, bars.OPEN_TIME] % length_ms == 0]
    table[:, bars.FIRST_ID] = np.cumsum(table[:, bars.COUNT]) - table[:, bars.COUNT] + 1
    if len(table) and not table[:, bars.QUOTE].any():
        bars.fill_amounts(table)
    return table


def _lines(path: Path) -> Iterator[list[str]]:
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as source:
        yield from (fields for fields in csv.reader(source) if fields and fields[0].isdigit())


def _row(fields: list[str], listing: Listing) -> list[int]:
    open_time = int(fields[0])
    if open_time > 10**14:  # the archives of 2025 and later count microseconds
        open_time //= 1000
    prices = [units(text, listing.price_decimals) for text in fields[1:5]]
    volume = units(fields[5], listing.quantity_decimals)
    if len(fields) < 11:
        return [open_time, *prices, volume, 0, min(_COUNTED, volume), 0, 0, 0]
    both = listing.price_decimals + listing.quantity_decimals
    quote, taker, taker_quote = (
        units(fields[place], decimals)
        for place, decimals in ((7, both), (9, listing.quantity_decimals), (10, both))
    )  # fmt: skip
    return [open_time, *prices, volume, quote, int(fields[8]), taker, taker_quote, 0]


def units(text: str, decimals: int) -> int:
    """Return ``1.50000000`` with two decimals as 150, what lies below cut off."""
    return int(Decimal(text).scaleb(decimals))


def bars_of_prints(prints: Iterable[Print], length_ms: int) -> Table:
    """Return the candles of trades that are in order; none where none traded."""
    rows: dict[int, list[int]] = {}
    for trade in prints:
        quote = trade.price * trade.quantity
        taker = (0, 0) if trade.buyer_is_maker else (trade.quantity, quote)
        row = rows.get(open_time := trade.time_ms - trade.time_ms % length_ms)
        if row is None:
            prices = [trade.price] * 4
            rows[open_time] = [open_time, *prices, trade.quantity, quote, 1, *taker, trade.id]
            continue
        row[bars.HIGH], row[bars.LOW] = max(row[bars.HIGH], trade.price), min(row[bars.LOW], trade.price)
        row[bars.CLOSE] = trade.price
        for column, value in ((bars.VOLUME, trade.quantity), (bars.QUOTE, quote), (bars.COUNT, 1)):
            row[column] += value
        row[bars.TAKER] += taker[0]
        row[bars.TAKER_QUOTE] += taker[1]
    return np.array(list(rows.values()), dtype=np.int64).reshape(-1, bars.COLUMNS)
