"""The candles of a backtest: from the local store, from a file or given, checked, with what there is to say of them.

What cannot be candles is refused; what exchanges really publish (holes, minutes without a trade) is played and told
in ``notes``. Nothing is repaired or invented; only open times that an outage moved off the grid of a file are set back
to it, and told. What a strategy reads besides (:meth:`History.seen_by`) is given with the candles, or of the same
symbol: then its larger candles are built of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path

import msgspec
import numpy as np

from botd.domain.candle import interval_ms
from botd.domain.candles import Candles, InputCandles, complete_buckets, finest_decimal
from botd.domain.clock import rfc3339
from botd.domain.errors import ConfigError, InvalidError, NotFoundError
from botd.domain.instrument import Instrument, split_symbol
from botd.market.simulated.replay_file import as_argument, read_candles
from botd.market.store.candle_rows import between, fault_of, holes
from botd.market.store.candle_store import CandleStore
from botd.strategy.base import Strategy
from botd.strategy.inputs import Read, given_inputs, reads_of, seen

_BLOCK = 1 << 15
_MIN_NOTIONAL = Decimal(5)


@dataclass(frozen=True, slots=True)
class History:
    """Sound candles of one symbol, two at least to trade on.

    The first ``begin`` candles are there for the indicators only: no decision is taken in them. ``notes`` are lines
    for people: holes, candles without volume. ``inputs`` are candles of other lanes, (symbol, interval), that
    strategies read besides.
    """

    candles: Candles
    instrument: Instrument
    begin: int = 0
    notes: tuple[str, ...] = ()
    inputs: Mapping[tuple[str, str], Candles] = field(default_factory=dict)
    _seen: dict[tuple[str, str], InputCandles] = field(init=False, default_factory=dict, compare=False, repr=False)

    @property
    def symbol(self) -> str:
        return self.instrument.symbol

    def reads(self, name: str, strategy: Strategy) -> tuple[Read, ...]:
        """Return what a strategy reads besides; InvalidError where that does not fit."""
        return reads_of(name, strategy, self.symbol, self.candles.interval)

    def seen_by(self, name: str, strategy: Strategy) -> Candles:
        """Return the candles as a strategy sees them, with its inputs; NotFoundError where one is not given."""
        return given_inputs(self.candles, self.reads(name, strategy), self._see)

    def _see(self, read: Read) -> InputCandles:
        """Return what all candles see of an input; of one lane the same arrays, whoever asks."""
        if read.lane not in self._seen:
            rows = self.inputs.get(read.lane)
            if rows is None and not read.own:
                command = f"botctl data download --symbol {read.symbol} --interval {read.interval} --from 30d"
                raise NotFoundError(f"no candles of {read.words}, which the strategy reads", command)
            if rows is None:
                rows = complete_buckets(self.candles, read.interval)
            self._seen[read.lane] = seen(self.candles, read, rows)
        return msgspec.structs.replace(self._seen[read.lane], needs=read.candles)


def from_store(
    store: CandleStore,
    symbol: str,
    interval: str,
    *,
    from_ms: int | None = None,
    to_ms: int | None = None,
    warmup: int = 0,
    instrument: Instrument | None = None,
) -> History:
    """Return the stored candles of [from, to), and up to ``warmup`` before them for the indicators."""
    earlier = None if from_ms is None else from_ms - warmup * _length(interval)
    rows = store.load(symbol, interval, earlier, to_ms)
    there = "botctl data ls tells what is stored"
    return _history(rows, symbol, f"{symbol} {interval}", from_ms, warmup, instrument, there)


def from_file(
    path: Path,
    symbol: str,
    interval: str,
    *,
    from_ms: int | None = None,
    to_ms: int | None = None,
    warmup: int = 0,
    instrument: Instrument | None = None,
) -> History:
    """Return the candles of a CSV (plain or gzip) in [from, to), and those before for the indicators."""
    _length(interval)
    try:
        file = read_candles(path, interval)
    except ConfigError as error:
        raise as_argument(error) from None
    first, last = (rfc3339(int(file.rows.time[k])) for k in (0, -1))
    there = f"the first in the file is of {first}, the last of {last}"
    history = _history(between(file.rows, None, to_ms), symbol, str(path), from_ms, warmup, instrument, there)
    if not file.shifted:
        return history
    told = (
        f"off the grid of {interval}, as outages leave them, and set back to it: {file.shifted} of the file's candles"
    )
    return replace(history, notes=(*history.notes, told))


def from_candles(rows: Candles, symbol: str, instrument: Instrument | None = None, begin: int = 0) -> History:
    """Return candles that are there already; InvalidError names the first that is none, or says that they are too few.

    Without an ``instrument`` its step is the finest decimal of the volumes, as in a replay.
    """
    _length(rows.interval)
    columns = (rows.time, rows.open, rows.high, rows.low, rows.close, rows.volume)
    if len({column.shape for column in columns}) != 1 or rows.time.ndim != 1:
        raise InvalidError(f"{symbol}: the columns have {[column.shape for column in columns]} values")
    if fault := _fault(rows):
        raise InvalidError(f"{symbol} {rows.interval}: {fault}", "remove or replace the candle; nothing was played")
    if len(rows) - begin < 2:
        count = f"{len(rows) - begin} candle{'s' * (len(rows) - begin != 1)}"
        remedy = "what is decided fills at the next open, so two are the least: load more, or a longer span"
        raise InvalidError(f"{symbol} {rows.interval}: {count} to trade on", remedy)
    return History(rows, instrument or seen_instrument(symbol, rows), begin, _notes(rows, begin))


def seen_instrument(symbol: str, rows: Candles) -> Instrument:
    """Return an instrument whose tick and step are the finest decimals seen in the candles."""
    try:
        base, quote = split_symbol(symbol)
    except ValueError as error:
        raise InvalidError(str(error)) from None
    tick = min(finest_decimal(column) for column in (rows.open, rows.high, rows.low, rows.close))
    return Instrument(
        symbol=symbol, base=base, quote=quote, tick=tick, step=finest_decimal(rows.volume), min_notional=_MIN_NOTIONAL
    )


def part(history: History, first: int, end: int) -> History:
    """Return a history that decides in candles ``first`` to before ``end`` and sees all candles before them."""
    if not history.begin <= first < end - 1 < len(history.candles):
        raise InvalidError(f"no part of {len(history.candles)} candles from number {first} to before {end}")
    rows = history.candles.part(0, end)
    return replace(history, candles=rows, begin=first, notes=_notes(rows, first))


def _history(
    rows: Candles, symbol: str, name: str, from_ms: int | None, warmup: int, instrument: Instrument | None, there: str
) -> History:
    begin = 0 if from_ms is None else int(np.searchsorted(rows.time, from_ms))
    if begin == len(rows):
        raise InvalidError(f"{name}: no candles in that time", there)
    spare = max(0, begin - warmup)
    return from_candles(between(rows, int(rows.time[spare]), None), symbol, instrument, begin - spare)


def _fault(rows: Candles) -> str:
    """Return the first fault, block after block: fresh memory for a million candles takes longer than the check."""
    blocks = range(0, len(rows), _BLOCK)
    faults = (fault_of(rows.part(max(0, start - 1), start + _BLOCK)) for start in blocks)
    return next(filter(None, faults), "")


def _notes(rows: Candles, begin: int) -> tuple[str, ...]:
    notes = []
    length = interval_ms(rows.interval)
    gaps = holes(rows.time[begin:], length)
    if gaps:
        missing = sum((end - start) // length for start, end in gaps)
        start, end = max(gaps, key=lambda gap: gap[1] - gap[0])
        notes.append(
            f"{missing} candles are missing in {len(gaps)} hole{'s' * (len(gaps) > 1)}, the longest from "
            f"{rfc3339(start)} to {rfc3339(end)}; orders and positions span them"
        )
    empty = int(np.count_nonzero(rows.volume[begin:] == 0.0))
    if empty:
        notes.append(f"{empty} candles are without volume; orders fill in them as in any other")
    return tuple(notes)


def _length(interval: str) -> int:
    try:
        return interval_ms(interval)
    except ValueError as error:
        raise InvalidError(str(error)) from None
