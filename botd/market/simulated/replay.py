"""The replay market: candles from files, one file a symbol, merged by time.

Plays what the files hold and nothing else: a hole stays a hole (listed in :meth:`ReplaySource.statistics`),
and a larger candle that misses a base candle does not exist. Reading and checking is
:mod:`botd.market.simulated.replay_file`'s; pace and delivery are the player's and the manager's.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from botd.domain.candle import Candle, interval_ms
from botd.domain.candles import Candles, complete_buckets
from botd.domain.errors import ConfigError, InvalidError
from botd.domain.instrument import Instrument, split_symbol
from botd.market.candles import candle_list
from botd.market.feed import Moment
from botd.market.simulated.replay_file import CandleFile, read_candles
from botd.market.store.candle_rows import holes

NEVER = 1 << 62
"""A time after the end of any data."""

_CHUNK = 1024
"""How many rows become candles at once."""


class ReplaySource:
    """A :class:`botd.market.feed.CandleSource` over files. Reads them all at construction.

    ``instruments`` holds configured grids; for the other symbols tick and step are the finest decimals
    seen in the file. Raises ConfigError for a file that cannot be used.
    """

    name = "replay"

    def __init__(
        self, files: Mapping[str, Path], interval: str, instruments: Mapping[str, Instrument] | None = None
    ) -> None:
        if not files:
            raise ConfigError("a replay market needs files", "set market.files, e.g. {BTC/USDT: btc.csv.gz}")
        self.interval = interval
        self.symbols = tuple(files)
        self._length = interval_ms(interval)
        self._files = {symbol: read_candles(Path(path), interval) for symbol, path in files.items()}
        self._configured = dict(instruments or {})
        self._tracks = [_Track(symbol, self._files[symbol].rows, self._length) for symbol in self.symbols]
        self._buckets: dict[tuple[str, str], Candles] = {}
        self.start_ms = min(int(file.rows.time[0]) for file in self._files.values())
        self.end_ms = max(int(file.rows.time[-1]) for file in self._files.values()) + self._length
        self._gaps = sorted(
            (gap for symbol in self.symbols for gap in _gaps(symbol, self._files[symbol].rows, self._length)),
            key=lambda gap: gap["to_ms"],
        )

    def seek(self, cursor_ms: int | None) -> None:
        for track in self._tracks:
            track.seek(cursor_ms)

    def next(self) -> Moment | None:
        time_ms = NEVER
        for track in self._tracks:
            if track.due < time_ms:
                time_ms = track.due
        if time_ms == NEVER:
            return None
        closed: list[tuple[str, Candle]] = []
        opened: list[tuple[str, float]] = []
        for track in self._tracks:
            if track.due == time_ms:
                track.step(time_ms, closed, opened)
        return Moment(time_ms, closed, opened)

    def history(self, symbol: str, interval: str, before_ms: int, count: int) -> Candles:
        rows = self._rows(symbol, interval)
        end = int(np.searchsorted(rows.time, before_ms - interval_ms(interval), side="right"))
        return rows.part(max(0, end - count), end)

    def bar_index(self, symbol: str, interval: str, open_time: int) -> int:
        return int(np.searchsorted(self._rows(symbol, interval).time, open_time))

    def is_complete(self, symbol: str, interval: str, open_time: int) -> bool:
        time = self._rows(symbol, interval).time
        row = int(np.searchsorted(time, open_time))
        return row < len(time) and int(time[row]) == open_time

    def instruments(self) -> dict[str, Instrument]:
        seen = {symbol: _instrument(symbol, self._files[symbol]) for symbol in self.symbols}
        return {symbol: self._configured.get(symbol, instrument) for symbol, instrument in seen.items()}

    def statistics(self) -> dict[str, Any]:
        """Return all gaps of the files (also those still to come), rows, first and last time.

        ``shifted`` counts candles that were off the time grid in the file.
        """
        return {
            "source": self.name,
            "gaps": list(self._gaps),
            "rows": {symbol: len(file.rows) for symbol, file in self._files.items()},
            "shifted": {symbol: file.shifted for symbol, file in self._files.items() if file.shifted},
            "start_ms": self.start_ms,
            "end_ms": self.end_ms,
        }

    def _rows(self, symbol: str, interval: str) -> Candles:
        """Return all complete candles of a lane; larger ones are built once and kept."""
        if interval == self.interval:
            return self._files[symbol].rows
        known = self._buckets.get((symbol, interval))
        if known is None:
            if interval_ms(interval) % self._length:
                raise InvalidError(f"{interval} candles cannot be built from {self.interval} candles")
            known = self._buckets[symbol, interval] = complete_buckets(self._files[symbol].rows, interval)
        return known


class _Track:
    """Where the replay of one symbol stands: perhaps a candle is open, and one row opens next."""

    __slots__ = ("_chunk", "_chunk_first", "_length", "_next", "_now", "_rows", "due", "symbol")

    def __init__(self, symbol: str, rows: Candles, length: int) -> None:
        self.symbol = symbol
        self._rows = rows
        self._length = length
        self.seek(None)

    def seek(self, cursor_ms: int | None) -> None:
        time = self._rows.time
        first = 0 if cursor_ms is None else int(np.searchsorted(time, cursor_ms, side="right"))
        self._chunk: list[Candle] = []
        self._chunk_first = first
        self._next = first
        self._now: Candle | None = None
        if first and cursor_ms is not None and int(time[first - 1]) + self._length > cursor_ms:
            self._now = self._rows.candle(first - 1)
        self.due = self._due()

    def step(self, time_ms: int, closed: list[tuple[str, Candle]], opened: list[tuple[str, float]]) -> None:
        """Add what happens at ``time_ms``, which is when this track is due."""
        now = self._now
        if now is not None and now.open_time + self._length == time_ms:
            closed.append((self.symbol, now))
            self._now = None
        row = self._peek()
        if row is not None and row.open_time == time_ms:
            opened.append((self.symbol, row.open))
            self._now = row
            self._next += 1
            self.due = time_ms + self._length
        else:
            self.due = self._due()

    def _peek(self) -> Candle | None:
        """Return the candle that opens next, None after the last."""
        at = self._next - self._chunk_first
        if at == len(self._chunk):
            self._chunk = candle_list(self._rows.part(self._next, self._next + _CHUNK))
            self._chunk_first = self._next
            at = 0
        return self._chunk[at] if at < len(self._chunk) else None

    def _due(self) -> int:
        if self._now is not None:
            return self._now.open_time + self._length
        row = self._peek()
        return NEVER if row is None else row.open_time


def _gaps(symbol: str, rows: Candles, length: int) -> list[dict[str, Any]]:
    """List the holes: ``from_ms`` is the first candle missing, ``to_ms`` the next one there."""
    return [
        {"symbol": symbol, "from_ms": start, "to_ms": end, "missing": (end - start) // length}
        for start, end in holes(rows.time, length)
    ]


def _instrument(symbol: str, file: CandleFile) -> Instrument:
    try:
        base, quote = split_symbol(symbol)
    except ValueError as error:
        raise ConfigError(str(error), "name the symbols under market.files like BTC/USDT") from None
    return Instrument(
        symbol=symbol,
        base=base,
        quote=quote,
        tick=file.tick,
        step=file.step,
        min_notional=Decimal(5),
    )
