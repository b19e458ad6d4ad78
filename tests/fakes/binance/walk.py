"""Random minutes of any symbol: a pure function of (seed, symbol, minute), without beginning or end of memory.

Prices are a sum of value noises of five wave lengths; candles, volumes and counts follow from hashes of the minute.
Nothing is stored, so any year can be asked for, and two fronts with one seed have one market.
"""

from __future__ import annotations

import zlib
from collections import OrderedDict

import numpy as np
import numpy.typing as npt

from tests.fakes.binance import bars
from tests.fakes.binance.bars import Table
from tests.fakes.binance.listings import Listing

MINUTE = 60_000
SINCE_MS = 1_502_942_400_000
"""2017-08-17: nothing traded before."""

_WAVES = ((5, 0.0013), (30, 0.0033), (180, 0.008), (1440, 0.023), (10080, 0.06))
_BLOCK = 64
_KEPT = 4096
_BLOCK_SPAN = 16 * _BLOCK
"""Longer spans are not kept: they are asked for once, by a client that loads history."""

U64 = npt.NDArray[np.uint64]


class RandomBars:
    """One-minute bars. ``trades`` is the mean count a minute, ``turnover`` the typical one in quote units.

    A pair of minutes has ``2 * trades`` trades, split by chance; so ids are contiguous and need no counting. With
    fewer than four the second minute of a pair may be without a trade.
    """

    length_ms = MINUTE
    gapless = True
    since_ms = SINCE_MS

    def __init__(self, listed: dict[str, Listing], seed: int = 1, trades: int = 24, turnover: float = 60_000.0) -> None:
        self.listings = listed
        self._seed = seed
        self._trades = trades
        self._turnover = turnover
        self._blocks: OrderedDict[tuple[str, int], Table] = OrderedDict()
        self._keys = {symbol: np.uint64(zlib.crc32(f"{seed}/{symbol}".encode()) << 20) for symbol in listed}
        self._silenced: dict[str, list[tuple[int, int]]] = {}

    def silence(self, symbol: str, start_ms: int, end_ms: int) -> None:
        """Take the trades out of the minutes that open in [start, end): part of the truth from now on.

        Such spans of one symbol must not overlap.
        """
        first, end = -(-start_ms // MINUTE), -(-end_ms // MINUTE)
        self._silenced.setdefault(symbol, []).append((first, end))
        for key in [key for key in self._blocks if key[0] == symbol]:
            del self._blocks[key]

    def bars(self, symbol: str, start_ms: int, end_ms: int) -> Table:
        """Return the bars that open in [start, end), oldest first."""
        first, end = -(-max(start_ms, SINCE_MS) // MINUTE), -(-end_ms // MINUTE)
        if end <= first:
            return bars.empty_table()
        if end - first > _BLOCK_SPAN:
            return self._final(symbol, first, end)
        # Symbols turn their blocks at different minutes: no common stall.
        shift = int(self._keys[symbol] >> np.uint64(20)) % _BLOCK
        numbers = range((first + shift) // _BLOCK, (end - 1 + shift) // _BLOCK + 1)
        table = np.concatenate([self._block(symbol, number, shift) for number in numbers])
        offset = numbers[0] * _BLOCK - shift
        return table[first - offset : end - offset]

    def _block(self, symbol: str, number: int, shift: int) -> Table:
        key = (symbol, number)
        if key not in self._blocks:
            first = number * _BLOCK - shift
            self._blocks[key] = self._final(symbol, first, first + _BLOCK)
            while len(self._blocks) > _KEPT:
                self._blocks.popitem(last=False)
        return self._blocks[key]

    def _final(self, symbol: str, first: int, end: int) -> Table:
        """Return bars with empty minutes at the price before them, and ids that have no holes."""
        # One more in front: an odd minute without a trade takes the close of the even one before it.
        table = self._traded(symbol, first - 1, end)
        empty = table[:, bars.COUNT] == 0
        self._flatten(table, np.flatnonzero(empty), np.roll(table[:, bars.CLOSE], 1))
        for silent_first, silent_end in self._silenced.get(symbol, []):
            minutes = table[:, bars.OPEN_TIME] // MINUTE
            gone = int(self._ids(symbol, np.array([silent_end]))[0] - self._ids(symbol, np.array([silent_first]))[0])
            inside = (minutes >= silent_first) & (minutes < silent_end)
            left = self._ids(symbol, minutes[inside]) - self._ids(symbol, np.array([silent_first]))
            table[inside, bars.FIRST_ID] -= left
            table[minutes >= silent_end, bars.FIRST_ID] -= gone
            pair = self._traded(symbol, silent_first - 2, silent_first)
            before = pair[pair[:, bars.COUNT] > 0][-1, bars.CLOSE]
            self._flatten(table, np.flatnonzero(inside), np.full(len(table), before))
        bars.fill_amounts(table)
        return table[1:]

    @staticmethod
    def _flatten(table: Table, rows: npt.NDArray[np.intp], price: npt.NDArray[np.int64]) -> None:
        for column in (bars.OPEN, bars.HIGH, bars.LOW, bars.CLOSE):
            table[rows, column] = price[rows]
        table[rows, bars.VOLUME] = table[rows, bars.COUNT] = 0

    def _traded(self, symbol: str, first: int, end: int) -> Table:
        listing, key = self.listings[symbol], self._keys[symbol]
        minutes = np.arange(first, end, dtype=np.int64)
        anchors = self._anchors(listing, key, np.arange(first, end + 1, dtype=np.int64))
        chance = [_uniform(key + np.uint64(salt), minutes) for salt in range(1, 5)]
        table = np.zeros((len(minutes), bars.COLUMNS), dtype=np.int64)
        slip = np.rint((chance[0] - 0.5) * 5).astype(np.int64)
        opens, closes = np.maximum(anchors[:-1] + slip, 1), anchors[1:]
        reach = np.maximum(opens // 1000, 2)
        highs = np.maximum(opens, closes) + (chance[1] ** 3 * reach).astype(np.int64)
        lows = np.maximum(np.minimum(opens, closes) - (chance[2] ** 3 * reach).astype(np.int64), 1)
        ids = self._ids(symbol, np.append(minutes, end))
        counts = np.diff(ids)
        few = counts < 4
        highs = np.where(few, np.maximum(opens, closes), highs)
        lows = np.where(few, np.minimum(opens, closes), lows)
        closes = np.where(counts == 1, opens, closes)
        highs, lows = np.where(counts == 1, opens, highs), np.where(counts == 1, opens, lows)
        steps = self._turnover / listing.price * 10**listing.quantity_decimals / self._trades
        volumes = np.maximum((steps * counts * np.exp(2 * chance[3] - 1)).astype(np.int64), counts)
        columns = (minutes * MINUTE, opens, highs, lows, closes, volumes)
        for column, values in enumerate(columns):
            table[:, column] = values
        table[:, bars.COUNT] = counts
        table[:, bars.FIRST_ID] = ids[:-1]
        return table

    def _anchors(self, listing: Listing, key: np.uint64, minutes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        total = 0.0003 * (2 * _uniform(key + np.uint64(9), minutes) - 1)
        for number, (length, height) in enumerate(_WAVES):
            wave, rest = np.divmod(minutes, length)
            left, right = (2 * _uniform(key + np.uint64(10 + number), wave + side) - 1 for side in (0, 1))
            total += height * (left + (right - left) * rest / length)
        ticks = listing.price * 10**listing.price_decimals * np.exp(total)
        anchors: npt.NDArray[np.int64] = np.maximum(np.rint(ticks), 10).astype(np.int64)
        return anchors

    def _ids(self, symbol: str, minutes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the id of the first trade of each minute, of the next trade where it has none."""
        pairs, odd = np.divmod(minutes - SINCE_MS // MINUTE, 2)
        swing = _uniform(self._keys[symbol] + np.uint64(8), pairs)
        most = self._trades if self._trades < 4 else self._trades // 2
        first = self._trades + np.floor(swing * (most + 1)).astype(np.int64)
        return 2 * self._trades * pairs + np.where(odd == 1, first, 0)


def _uniform(key: np.uint64, numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return numbers in [0, 1) that look random (splitmix64)."""
    with np.errstate(over="ignore"):
        mixed: U64 = (numbers.astype(np.uint64) + key * np.uint64(0x2545F4914F6CDD1D)) * np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
    return (mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53
