"""Candles as whole numbers, and everything that follows from one: its trades, its state half-way, larger candles.

A table of bars is an int64 array of shape (count, 11); prices are counted in ticks, quantities in steps, quote
amounts in ticks times steps, so sums are exact. Here is arithmetic only: no symbol, no clock, no JSON.

A bar's trades are at four prices: the open, one end, the other end, the close (a rising bar visits its low first).
Each price has a share of the trades, each trade of a price the same quantity (the last one the rest), and they are
spread evenly over the bar's time. So a bar tells all of its trades, and any part of them adds up in closed form.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

OPEN_TIME, OPEN, HIGH, LOW, CLOSE, VOLUME, QUOTE, COUNT, TAKER, TAKER_QUOTE, FIRST_ID = range(11)
COLUMNS = 11
Table = npt.NDArray[np.int64]


class Bar(NamedTuple):
    """One candle; the columns of a table. ``first_id`` is that of the first trade (or the next, with none)."""

    open_time: int
    open: int
    high: int
    low: int
    close: int
    volume: int
    quote: int
    trades: int
    taker: int
    taker_quote: int
    first_id: int


class Print(NamedTuple):
    """One public trade."""

    time_ms: int
    id: int
    price: int
    quantity: int
    buyer_is_maker: bool


class _Share(NamedTuple):
    """A price of a bar with its trades and quantity."""

    price: int
    trades: int
    quantity: int
    taker_buys: bool


def empty_table() -> Table:
    return np.empty((0, COLUMNS), dtype=np.int64)


def bar_of(row: npt.NDArray[np.int64]) -> Bar:
    return Bar(*row.tolist())


def path(table: Table) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Return the four prices of each bar in their order, shape (count, 4), and whether their takers buy."""
    opens, highs, lows, closes = (table[:, column] for column in (OPEN, HIGH, LOW, CLOSE))
    rising = closes >= opens
    second, third = np.where(rising, lows, highs), np.where(rising, highs, lows)
    # Three trades have room for one end only: the one that is neither the open nor the close.
    second = np.where((table[:, COUNT] == 3) & (second >= np.minimum(opens, closes)) & rising, highs, second)
    second = np.where((table[:, COUNT] == 3) & (second <= np.maximum(opens, closes)) & ~rising, lows, second)
    prices = np.stack([opens, second, third, closes], axis=1)
    buys = np.stack([opens % 2 == 0, ~rising, rising, ~rising], axis=1)
    return prices, buys


def shares(table: Table) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the trades and the quantity at each of the four prices, each of shape (count, 4)."""
    count, volume = table[:, COUNT], table[:, VOLUME]
    quarter = count // 4
    many = count >= 4
    one = np.where(many, quarter, np.minimum(count, 1))
    two = np.where(many, quarter, count == 3)
    three = np.where(many, quarter, 0)
    four = count - one - two - three
    trades = np.stack([one, two, three, four], axis=1)
    quantity = volume[:, None] * trades // np.maximum(count, 1)[:, None]
    # What division left over goes where the last trade is.
    last = np.where(four > 0, 3, 0)
    quantity[np.arange(len(table)), last] += volume - quantity.sum(axis=1)
    return trades, quantity


def fill_amounts(table: Table) -> None:
    """Set the quote and taker columns from the others: sums over the bar's trades."""
    (prices, buys), (_, quantity) = path(table), shares(table)
    quote = prices * quantity
    table[:, QUOTE] = quote.sum(axis=1)
    table[:, TAKER] = np.where(buys, quantity, 0).sum(axis=1)
    table[:, TAKER_QUOTE] = np.where(buys, quote, 0).sum(axis=1)


def aggregate(table: Table, length_ms: int, origin_ms: int = 0) -> Table:
    """Return larger candles: buckets of ``length_ms`` counted from ``origin_ms``. Absent bars are absent.

    Bars without a trade give a bucket its prices only where it has no others, as on an exchange.
    """
    if not len(table):
        return table
    buckets = (table[:, OPEN_TIME] - origin_ms) // length_ms
    traded = table[:, COUNT] > 0
    lonely = ~np.isin(buckets, buckets[traded])
    # Of a bucket without any trade the first bar stands for all: they have one price.
    lonely &= np.concatenate([[True], buckets[1:] != buckets[:-1]])
    rows, keys = table[traded | lonely], buckets[traded | lonely]
    starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    ends = np.append(starts[1:], len(rows)) - 1
    merged = rows[starts].copy()
    merged[:, OPEN_TIME] = keys[starts] * length_ms + origin_ms
    merged[:, HIGH] = np.maximum.reduceat(rows[:, HIGH], starts)
    merged[:, LOW] = np.minimum.reduceat(rows[:, LOW], starts)
    merged[:, CLOSE] = rows[ends, CLOSE]
    for column in (VOLUME, QUOTE, COUNT, TAKER, TAKER_QUOTE):
        merged[:, column] = np.add.reduceat(rows[:, column], starts)
    return merged


def merge(left: Bar | None, right: Bar) -> Bar:
    """Return two adjacent bars as one that opens with the left."""
    if left is None:
        return right
    if not right.trades:
        return left
    if not left.trades:
        return right._replace(open_time=left.open_time)
    return Bar(
        left.open_time,
        left.open,
        max(left.high, right.high),
        min(left.low, right.low),
        right.close,
        left.volume + right.volume,
        left.quote + right.quote,
        left.trades + right.trades,
        left.taker + right.taker,
        left.taker_quote + right.taker_quote,
        left.first_id,
    )


class Story:
    """One bar with its trades. ``length_ms`` is the bar's length."""

    __slots__ = ("_shares", "bar", "length_ms")

    def __init__(self, bar: Bar, length_ms: int) -> None:
        self.bar = bar
        self.length_ms = length_ms
        row = np.array([bar], dtype=np.int64)
        (prices, buys), (trades, quantity) = path(row), shares(row)
        columns = (column[0].tolist() for column in (prices, trades, quantity, buys))
        self._shares = [_Share(*entry) for entry in zip(*columns, strict=True)]

    def done(self, offset_ms: int) -> int:
        """Return how many of the trades have happened up to ``offset_ms`` after the open, that moment included."""
        if offset_ms < 0:
            return 0
        # Trade k is at (2k + 1) * length // (2 * count).
        return min(self.bar.trades, -(-2 * self.bar.trades * (offset_ms + 1) // self.length_ms) // 2)

    def offset(self, trade: int) -> int:
        """Return when a trade happens, in milliseconds after the open."""
        return (2 * trade + 1) * self.length_ms // (2 * self.bar.trades)

    def prints(self) -> Iterator[Print]:
        """Return the trades in order."""
        number = 0
        for share in self._shares:
            for turn in range(share.trades):
                each = share.quantity // share.trades
                quantity = share.quantity - each * (share.trades - 1) if turn == share.trades - 1 else each
                time_ms = self.bar.open_time + self.offset(number)
                yield Print(time_ms, self.bar.first_id + number, share.price, quantity, not share.taker_buys)
                number += 1

    def partial(self, trades: int) -> Bar | None:
        """Return the bar after its first so many trades; None before the first."""
        if trades >= self.bar.trades:
            return self.bar if self.bar.trades else None
        left, volume, quote, taker, taker_quote = trades, 0, 0, 0, 0
        seen: list[int] = []
        for share in self._shares:
            if left <= 0:
                break
            if share.trades:
                seen.append(share.price)
                part = share.quantity if left >= share.trades else share.quantity // share.trades * left
                volume, quote = volume + part, quote + part * share.price
                if share.taker_buys:
                    taker, taker_quote = taker + part, taker_quote + part * share.price
                left -= share.trades
        if not seen:
            return None
        bar = self.bar
        prices = (bar.open, max(seen), min(seen), seen[-1])
        return Bar(bar.open_time, *prices, volume, quote, trades, taker, taker_quote, bar.first_id)

    def price_at(self, offset_ms: int) -> int:
        """Return a price that glides along the bar's four: what a quote stands around between the trades."""
        bar = self.bar
        if bar.trades < 4:
            return bar.close
        points = (bar.open, *(share.price for share in self._shares[1:]), bar.close)
        place = max(0, min(offset_ms, self.length_ms - 1)) * 4
        quarter, rest = divmod(place, self.length_ms)
        return points[quarter] + (points[quarter + 1] - points[quarter]) * rest // self.length_ms
