"""One symbol's synthetic prices: a seeded, regime-switching geometric walk without an end.

A pure function of (seed, symbol, index of the candle), computed in blocks of 1024 candles. The way between
the blocks is chained over segments of 256 candles, each calm, volatile, rising or falling; a segment's sum
of returns is drawn ahead, before its candles, so seeking a year ahead costs a few draws instead of all
candles. A weak pull towards the first price keeps an endless walk at plausible prices.

The random numbers are PCG64's raw bits (stable across numpy's versions, which its distributions are not),
and a normal variate is the sum of four 16-bit parts: quick, and the same on every machine. Nothing here
reads a clock or the machine's own randomness.
"""

from __future__ import annotations

import hashlib
import math

import numpy as np
from numpy.typing import NDArray

from botd.domain.candles import Candles
from botd.market.store.candle_rows import joined_rows

_Floats = NDArray[np.float64]

BLOCK = 1024
"""Candles computed at once."""

_SEGMENT = 256
_ERA = 512
"""Segments drawn at once."""

_REGIMES = ((0.0, 0.0006), (0.00012, 0.0009), (-0.00012, 0.0009), (0.0, 0.0018))
"""(drift, standard deviation) of a one-minute return: calm, rising, falling, volatile."""

_STAY = 0.6
"""Chance that a segment goes on in the regime of the one before."""

_PULL = 0.002
"""How much of the distance to the first price (in logarithms) a segment of one-minute candles takes back."""

_GAP_CHANCE = 1 / 64
_CACHED_BLOCKS = 4


class Walk:
    """The candles of one symbol, numbered from 0. ``price`` is the first open; decimals round the values."""

    def __init__(
        self,
        seed: int,
        symbol: str,
        *,
        price: float,
        decimals: int,
        volume: float,
        volume_decimals: int,
        minutes: float,
    ) -> None:
        digest = hashlib.sha256(f"{seed}/{symbol}".encode()).digest()
        self._key = [int.from_bytes(digest[at : at + 4]) for at in range(0, 16, 4)]
        self._price = price
        self._decimals = decimals
        self._volume = volume
        self._volume_decimals = volume_decimals
        self._scale = math.sqrt(minutes)
        self._minutes = minutes
        self._pull = min(0.5, _PULL * minutes)
        self._levels = [0.0]
        """Logarithm of price / first price at the beginning of each segment drawn so far."""
        self._regimes: list[int] = []
        self._blocks: dict[int, Candles] = {}

    def rows(self, first: int, end: int) -> Candles:
        """Return candles ``first`` to before ``end``; their ``time`` is the candle's number."""
        if first >= end:
            return Candles.empty("")
        blocks = [self._block(number) for number in range(first // BLOCK, (end - 1) // BLOCK + 1)]
        offset = first // BLOCK * BLOCK
        if len(blocks) == 1:
            return blocks[0].part(first - offset, end - offset)
        return joined_rows("", blocks).part(first - offset, end - offset)

    def prepare(self, index: int) -> None:
        """Compute the block of candle ``index`` ahead of its use."""
        self._block(index // BLOCK)

    def _block(self, number: int) -> Candles:
        known = self._blocks.get(number)
        if known is None:
            while len(self._blocks) >= _CACHED_BLOCKS:
                del self._blocks[next(iter(self._blocks))]
            known = self._blocks[number] = self._draw_block(number)
        return known

    def _draw_block(self, number: int) -> Candles:
        per = BLOCK // _SEGMENT
        self._draw_segments(number * per + per)
        levels = np.array(self._levels[number * per : number * per + per + 1])
        regimes = np.array(self._regimes[number * per : number * per + per])
        deviation = np.repeat(np.array([spread for _, spread in _REGIMES])[regimes] * self._scale, _SEGMENT)
        noise = _normals(self._key, 1, number, 5, BLOCK)
        path = self._path(levels, noise[0], deviation)
        close = self._round(path[1:])
        # Now and then a candle opens a little off the last close.
        chance = np.abs(noise[4]) < _GAP_CHANCE * 1.2533
        open_ = self._round(path[:-1] + np.where(chance, 0.5 * deviation * noise[3], 0.0))
        high = np.maximum(np.maximum(open_, close), self._round(path[1:] + 0.6 * deviation * np.abs(noise[1])))
        low = np.minimum(np.minimum(open_, close), self._round(path[1:] - 0.6 * deviation * np.abs(noise[2])))
        busy = deviation / (0.001 * self._scale)
        volume = self._volume * self._minutes * busy * np.exp(0.7 * noise[4])
        columns = (open_, high, low, close, np.round(volume, self._volume_decimals))
        for column in columns:
            column.setflags(write=False)
        return Candles("", np.arange(number * BLOCK, (number + 1) * BLOCK), *columns)

    def _path(self, levels: _Floats, noise: _Floats, deviation: _Floats) -> _Floats:
        """Return the logarithms of price at the block's first open and at each close, as the segments lead."""
        steps = (noise * deviation).reshape(-1, _SEGMENT)
        steps = steps - steps.mean(axis=1, keepdims=True) + (np.diff(levels) / _SEGMENT)[:, None]
        closes = levels[:-1, None] + np.cumsum(steps, axis=1)
        closes[:, -1] = levels[1:]
        return np.concatenate((levels[:1], closes.ravel()))

    def _round(self, logarithm: _Floats) -> _Floats:
        price: _Floats = np.round(self._price * np.exp(logarithm), self._decimals)
        lowest = round(10.0**-self._decimals, self._decimals)
        return np.maximum(price, lowest)

    def _draw_segments(self, end: int) -> None:
        """Draw regimes and levels until segment ``end`` begins."""
        while len(self._regimes) < end:
            noise, choice, stay = _normals(self._key, 0, len(self._regimes) // _ERA, 3, _ERA).tolist()
            for z, pick, same in zip(noise, choice, stay, strict=True):
                before = self._regimes[-1] if self._regimes else 0
                # A normal variate's fraction behind the second decimal is as good as uniform.
                regime = before if (same * 100.0) % 1.0 < _STAY else int((pick * 100.0) % 1.0 * len(_REGIMES))
                drift, deviation = _REGIMES[regime]
                change = (_SEGMENT * drift + math.sqrt(_SEGMENT) * deviation * z) * self._scale
                self._regimes.append(regime)
                self._levels.append(self._levels[-1] * (1.0 - self._pull) + change)


def _normals(key: list[int], purpose: int, number: int, series: int, count: int) -> _Floats:
    """Return ``series`` rows of ``count`` near-normal variates (mean 0, variance 1, within 3.5)."""
    bits = np.random.PCG64([*key, purpose, number]).random_raw(series * count)
    parts = bits.astype("<u8").view("<u2").reshape(series, count, 4)
    sums: NDArray[np.int64] = parts.sum(axis=2, dtype=np.int64)
    return (sums - 131070).astype(np.float64) * (math.sqrt(3.0) / 65536.0)
