"""The candles that strategies read beside those they trade: from the files given, or from the local store.

Where a lane is stored it is taken as it is; what it lacks is built of the smaller candles there are, as the market
builds them. Nothing is downloaded: what is not there is named, with the command that gets it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from botd.backtest.history import History, from_file
from botd.domain.candle import interval_ms
from botd.domain.candles import Candles, complete_buckets
from botd.domain.errors import NotFoundError
from botd.market.store.candle_rows import between, merge
from botd.market.store.candle_store import CandleStore
from botd.strategy.base import Strategy
from botd.strategy.inputs import Read

Rows = Callable[[Read, str, int, int], Candles]
"""(input, the bot's own interval, from, to) -> the input's candles in that span."""


def with_inputs(history: History, strategies: Iterable[tuple[str, Strategy]], rows_of: Rows) -> History:
    """Return the history with what the strategies, (name, strategy), read besides: enough for the most demanding."""
    most: dict[tuple[str, str], Read] = {}
    for name, strategy in strategies:
        for read in history.reads(name, strategy):
            if read.lane not in most or most[read.lane].candles < read.candles:
                most[read.lane] = read
    time, interval = history.candles.time, history.candles.interval
    end = int(time[-1]) + interval_ms(interval)
    inputs = {}
    for lane, read in most.items():
        begin = int(time[0]) - (read.candles + 1) * interval_ms(read.interval)
        inputs[lane] = rows_of(read, interval, max(0, begin), end)
    return replace(history, inputs=inputs) if inputs else history


def rows_from(store: CandleStore, files: Mapping[str, Path]) -> Rows:
    """Return where inputs come from: the file of a symbol that has one (in the bot's interval), else the store."""

    def rows_of(read: Read, interval: str, begin: int, end: int) -> Candles:
        if read.symbol in files:
            rows = complete_buckets(from_file(files[read.symbol], read.symbol, interval).candles, read.interval)
            return between(rows, begin, end)
        return _stored(store, read, interval, begin, end)

    return rows_of


def _stored(store: CandleStore, read: Read, interval: str, begin: int, end: int) -> Candles:
    try:
        rows = store.load(read.symbol, read.interval, begin, end)
    except NotFoundError as error:
        raise NotFoundError(f"{error.message}, which the strategy reads", error.hint) from None
    try:
        small = store.load(read.symbol, interval, begin - begin % interval_ms(read.interval), end)
    except NotFoundError:
        return rows
    return merge(complete_buckets(small, read.interval), rows).rows
