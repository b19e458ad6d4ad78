"""A window of candles as arrays: what strategies see; and what they see of other intervals and symbols besides.

An input's candle counts once it has closed: by the close of the candle that is decided on, where it is of the same
symbol; by that candle's *open*, where it is of another (live, the other's candle of the same instant may come later
than ours, so nobody ever uses it). This page holds that rule; it fetches nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from botd.domain.candle import Candle, interval_ms

InputKey = tuple[str, str]
"""(interval, symbol) as a strategy declared it; the symbol is empty for its own."""
_MOST_DECIMALS = 12
_NOISE = 1e-14  # of a value: sums of thousands are nearer to the true one
_SOME = 8_192  # values looked through at once: what fits into the processor's cache


class Columns(msgspec.Struct, frozen=True, eq=False):
    """The arrays of candles; see :class:`Candles`."""

    interval: str
    time: NDArray[np.int64]
    open: NDArray[np.float64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    close: NDArray[np.float64]
    volume: NDArray[np.float64]


class Candles(Columns, frozen=True, eq=False, kw_only=True):
    """Candles of one symbol and interval, oldest first; all arrays have the same length.

    ``time`` holds open times (int64, milliseconds UTC), the others are float64. The arrays may be views
    on the store that all bots share: they are read-only. ``inputs`` is what a strategy reads besides (None: nothing).
    """

    inputs: Mapping[InputKey, InputCandles] | None = None

    def __len__(self) -> int:
        return len(self.time)

    def at(self, interval: str, symbol: str | None = None) -> InputCandles:
        """Return the closed candles of a larger interval, or of another symbol, that the strategy declared to read.

        LookupError for what its ``inputs()`` does not return.
        """
        found = self.inputs.get((interval, symbol or "")) if self.inputs is not None else None
        if found is not None:
            return found
        words = f'"{interval}"' + (f', symbol="{symbol}"' if symbol else "")
        declared = f'Input("{interval}", candles=...' + (f', symbol="{symbol}")' if symbol else ")")
        known = ", ".join(" ".join(filter(None, key)) for key in self.inputs or ()) or "nothing"
        raise LookupError(f"at({words}) is not declared: let inputs() return {declared} too (it returned {known})")

    def tail(self, count: int) -> Candles:
        """Return the last ``count`` candles (fewer where there are not so many), without copying."""
        return self.part(max(0, len(self.time) - count), len(self.time))

    def part(self, start: int, end: int) -> Candles:
        """Return the candles from index ``start`` to before ``end`` and what they see of the inputs, uncopied."""
        rows = slice(start, end)
        columns = (column[rows] for column in self._columns())
        if self.inputs is None:
            return Candles(self.interval, *columns)
        return Candles(self.interval, *columns, inputs={key: one.seen(rows) for key, one in self.inputs.items()})

    def candle(self, index: int) -> Candle:
        """Return the candle at ``index`` (negative counts from the end)."""
        return Candle(
            int(self.time[index]),
            float(self.open[index]),
            float(self.high[index]),
            float(self.low[index]),
            float(self.close[index]),
            float(self.volume[index]),
        )

    @classmethod
    def empty(cls, interval: str) -> Candles:
        """Return a window of no candles."""
        none = np.empty(0, dtype=np.float64)
        return cls(interval, np.empty(0, dtype=np.int64), none, none, none, none, none)

    def _columns(self) -> tuple[NDArray[Any], ...]:
        return self.time, self.open, self.high, self.low, self.close, self.volume


class InputCandles(Candles, frozen=True, eq=False, kw_only=True):
    """Closed candles of an input, and which of them each candle of the strategy's own sees."""

    symbol: str
    own: bool
    """Whether it is the symbol that the strategy trades."""
    needs: int
    """How many of these candles the strategy wants to see."""
    latest: NDArray[np.int64]
    """For each candle of the strategy's own the row of the latest one here, -1 where there is none yet."""
    fresh: NDArray[np.bool_]
    """Whether that is the one which is called for then: none is missing in between."""

    @property
    def words(self) -> str:
        """Return the lane: ``BTC/USDT 1h``."""
        return f"{self.symbol} {self.interval}".strip()

    def align(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return, for each candle of the strategy's own, the value of the latest closed candle here.

        ``values`` has one for each candle here; before the first there is NaN (False, where they are flags).
        """
        given = np.asarray(values)
        if given.shape != self.time.shape:
            raise ValueError(f"align() takes a value for each of {len(self)} {self.interval} candles: {given.shape}")
        flags = given.dtype == np.bool_
        result = np.full(len(self.latest), False if flags else np.nan)
        begin = int(np.searchsorted(self.latest, 0))
        result[begin:] = given[self.latest[begin:]]
        return result

    def seen(self, rows: slice) -> InputCandles:
        """Return what some candles of the strategy's own see: up to the last one's latest, ``needs`` for the first."""
        latest = self.latest[rows]
        first = max(0, int(latest[0]) + 1 - self.needs) if len(latest) else 0
        end = int(latest[-1]) + 1 if len(latest) else 0
        columns = dict(zip(_COLUMNS, (column[first:end] for column in self._columns()), strict=True))
        shifted = latest - first if first else latest
        return msgspec.structs.replace(self, **columns, latest=shifted, fresh=self.fresh[rows])


_COLUMNS = ("time", "open", "high", "low", "close", "volume")


def due_ms(time_ms: int, interval: str, length_ms: int, own: bool) -> int:
    """Return the open time of the input's candle that is the latest at the decision on the candle of ``time_ms``."""
    limit = time_ms + interval_ms(interval) if own else time_ms
    return limit - limit % length_ms - length_ms


def seen_by(base: Candles, rows: Candles, symbol: str, *, own: bool, needs: int) -> InputCandles:
    """Return what the candles of ``base`` see of ``rows``, which may go on after them."""
    length = interval_ms(rows.interval)
    limit = base.time + interval_ms(base.interval) if own else base.time
    seen_from = np.searchsorted(limit, rows.time + length)
    latest = np.repeat(np.arange(-1, len(rows)), np.diff(seen_from, prepend=0, append=len(base)))
    fresh = np.zeros(len(base), np.bool_)
    begin = int(np.searchsorted(latest, 0))
    if begin < len(base):
        fresh[begin:] = rows.time[latest[begin:]] == (limit - limit % length - length)[begin:]
    end = int(latest[-1]) + 1 if len(base) else 0
    columns = (getattr(rows, name)[:end] for name in _COLUMNS)
    for shared in (latest, fresh):
        shared.setflags(write=False)
    return InputCandles(rows.interval, *columns, symbol=symbol, own=own, needs=needs, latest=latest, fresh=fresh)


def complete_buckets(rows: Candles, interval: str) -> Candles:
    """Return the candles of ``interval`` that miss none of the base candles in ``rows``.

    ``rows`` are base candles at multiples of their interval, strictly rising.
    """
    length = interval_ms(interval)
    per = length // interval_ms(rows.interval)
    if per == 1:
        return rows
    bucket = rows.time // length
    first = np.flatnonzero(np.r_[True, bucket[1:] != bucket[:-1]]) if len(rows) else np.empty(0, np.int64)
    size = np.diff(np.r_[first, len(rows)])
    first = first[size == per]
    index = first[:, None] + np.arange(per)
    if not len(first):
        return Candles.empty(interval)
    columns = (
        rows.time[first],
        rows.open[first],
        rows.high[index].max(axis=1),
        rows.low[index].min(axis=1),
        rows.close[first + per - 1],
        rows.volume[index].sum(axis=1),  # contiguous rows: to the last digit what one window of them sums to
    )
    for column in columns:
        column.setflags(write=False)
    return Candles(interval, *columns)


def finest_decimal(values: NDArray[np.float64]) -> Decimal:
    """Return the power of ten of the last decimal that any value uses: 0.01 where 1.5 and 2.25 are seen.

    What adding leaves behind is none: the volume of a larger candle, 22.092920000000003, has five.
    """
    decimals = 0
    for begin in range(0, len(values), _SOME):
        decimals = _decimals(values[begin : begin + _SOME], decimals)
    return Decimal(1).scaleb(-decimals)


def _decimals(values: NDArray[np.float64], least: int) -> int:
    """Return how many decimals the values have, ``least`` or more."""
    left = values
    for decimals in range(least, _MOST_DECIMALS):
        scale = 10.0**decimals
        nearest = np.rint(left * scale) / scale
        off = nearest != left
        left, nearest = left[off], nearest[off]
        left = left[np.abs(nearest - left) > _NOISE * left]
        if not len(left):
            return decimals
    return _MOST_DECIMALS
