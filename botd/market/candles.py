"""Candle arrays: one set of numpy arrays per lane, shared by all its readers.

An array appends at the end of a block with room to spare. Windows are contiguous, read-only views into
the block. Rows once written are never written again: when the block is full, the rows to keep are copied
into a *new* block, and a window handed out before goes on showing the old one. So a reader may keep its
window for as long as it likes. An array does not know where candles come from nor who reads them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from botd.domain.candle import Candle
from botd.domain.candles import Candles

_SPARE = 256
"""Rows of room a new block has at least, so that copying stays rare."""


class CandleArray:
    """The latest closed candles of one lane, oldest first, strictly rising in time.

    ``keep`` rows are never dropped; some more stay until the block is full.
    """

    __slots__ = (
        "_close",
        "_high",
        "_low",
        "_open",
        "_room",
        "_size",
        "_time",
        "_volume",
        "_window",
        "interval",
        "keep",
    )

    def __init__(self, interval: str, keep: int, history: Candles | None = None) -> None:
        self.interval = interval
        self.keep = keep
        self._size = 0
        start = Candles.empty(interval) if history is None else history
        self._begin_block(start)

    def __len__(self) -> int:
        return self._size

    @property
    def last_time(self) -> int | None:
        """The open time of the newest candle, None while there is none."""
        return int(self._time[self._size - 1]) if self._size else None

    def append(self, candle: Candle) -> None:
        """Add a candle that opened later than all before."""
        row = self._size
        if row == self._room:
            self._begin_block(self.window(self.keep))
            row = self._size
        self._time[row] = candle.open_time
        self._open[row] = candle.open
        self._high[row] = candle.high
        self._low[row] = candle.low
        self._close[row] = candle.close
        self._volume[row] = candle.volume
        self._size = row + 1

    def window(self, count: int) -> Candles:
        """Return the last ``count`` candles (fewer where there are not so many) without copying."""
        end = self._size
        rows = slice(max(0, end - count), end)
        time, open_, high, low, close, volume = self._window
        return Candles(self.interval, time[rows], open_[rows], high[rows], low[rows], close[rows], volume[rows])

    def bucket(self, open_time: int, count: int) -> Candle | None:
        """Return the larger candle that opens at ``open_time`` and that the last ``count`` candles make up.

        None when one of them is missing. Asked when the bucket's last candle has just been appended.
        """
        first = self._size - count
        if first < 0 or int(self._time[first]) != open_time:
            return None
        rows = slice(first, self._size)
        return Candle(
            open_time,
            float(self._open[first]),
            float(self._high[rows].max()),
            float(self._low[rows].min()),
            float(self._close[self._size - 1]),
            float(self._volume[rows].sum()),
        )

    def _begin_block(self, rows: Candles) -> None:
        size = len(rows)
        self._room = size + max(_SPARE, min(size, self.keep) // 2)
        self._time = _block(rows.time, self._room, np.int64)
        self._open = _block(rows.open, self._room, np.float64)
        self._high = _block(rows.high, self._room, np.float64)
        self._low = _block(rows.low, self._room, np.float64)
        self._close = _block(rows.close, self._room, np.float64)
        self._volume = _block(rows.volume, self._room, np.float64)
        arrays = (self._time, self._open, self._high, self._low, self._close, self._volume)
        self._window = tuple(_read_only(array) for array in arrays)
        self._size = size


def merged(array: CandleArray, rows: Iterable[Candle]) -> CandleArray:
    """Return an array in which ``rows`` replace those of the same time, or stand at their place.

    The old one goes on showing what it showed: windows that were handed out do not change.
    """
    by_time = {candle.open_time: candle for candle in candle_list(array.window(len(array)))}
    by_time.update((candle.open_time, candle) for candle in rows)
    whole = window_of(array.interval, (by_time[time] for time in sorted(by_time)))
    return CandleArray(array.interval, array.keep, whole)


def candle_list(rows: Candles) -> list[Candle]:
    """Return the rows as candles; made for many at once."""
    columns = (rows.time, rows.open, rows.high, rows.low, rows.close, rows.volume)
    return list(map(Candle, *(column.tolist() for column in columns)))


def window_of(interval: str, candles: Iterable[Candle]) -> Candles:
    """Return candles, oldest first, as arrays: what :func:`candle_list` does, backwards."""
    rows = list(candles)
    columns = [[getattr(row, name) for row in rows] for name in ("open", "high", "low", "close", "volume")]
    times = np.array([row.open_time for row in rows], dtype=np.int64)
    return Candles(interval, times, *(np.array(column, dtype=np.float64) for column in columns))


def _block(rows: NDArray[Any], room: int, dtype: type) -> NDArray[Any]:
    block: NDArray[Any] = np.empty(room, dtype=dtype)
    block[: len(rows)] = rows
    return block


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    view = array.view()
    view.setflags(write=False)
    return view
