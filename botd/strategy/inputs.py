"""What a strategy reads beside its own candles: declared, checked, and given to it.

A strategy says so by ``inputs()``; whoever asks it gives it candles that have them (:func:`given_inputs`): for signals
through :func:`signals_of`, for what it wants to place once nothing is :func:`missing`. An input's latest candle that
is not there is waited for, never replaced by the one before. Where candles come from is others'.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from botd.domain.candle import INTERVALS, interval_ms
from botd.domain.candles import Candles, InputCandles, InputKey, complete_buckets, due_ms, seen_by
from botd.domain.clock import rfc3339
from botd.domain.errors import InvalidError
from botd.domain.instrument import split_symbol
from botd.strategy.base import Input, Signals, SignalStrategy, Strategy
from botd.strategy.faults import raised
from botd.strategy.warmup import MOST_CANDLES, warmup_of

_SPARE = 64
"""Candles of an input kept beyond what is needed: it may be ahead of the strategy's own, which may be late."""
_MOST_SAMPLED = 200_000

Samples = Callable[[str, int, str], Candles]
"""(interval, warm-up, symbol) -> candles of no real market, of another one for each symbol, more than enough."""


@dataclass(frozen=True, slots=True)
class Read:
    """An input of a strategy on a symbol and interval. ``key`` is how the strategy asks for it."""

    key: InputKey
    symbol: str
    interval: str
    candles: int
    own: bool
    """Whether it is the symbol that the strategy trades."""

    @property
    def lane(self) -> tuple[str, str]:
        return self.symbol, self.interval

    @property
    def words(self) -> str:
        return f"{self.symbol} {self.interval}"

    def rows(self, interval: str, window: int) -> int:
        """Return how many candles to keep so that each of ``window`` candles of ``interval`` sees what it wants."""
        span = window * interval_ms(interval) // interval_ms(self.interval)
        return self.candles + span + _SPARE


def reads_of(name: str, strategy: Strategy, symbol: str, interval: str) -> tuple[Read, ...]:
    """Return what ``strategy`` (named ``name`` in errors) reads besides, on a bot's symbol and interval.

    InvalidError for what is no input, and for an interval that is no multiple of the bot's.
    """
    try:
        found = [_read(one, symbol, interval) for one in declared_inputs(strategy)]
    except InvalidError as error:
        raise InvalidError(f"strategy {name}: {error.message}", error.hint) from None
    except Exception as error:  # of what a user's code returned: candles="many"
        raise InvalidError(f"strategy {name}: inputs(): {raised(error)}") from None
    most: dict[InputKey, Read] = {}
    for read in found:
        if read.key not in most or most[read.key].candles < read.candles:
            most[read.key] = read
    return tuple(most.values())


def reads_nothing(cls: type[Strategy]) -> bool:
    """Tell whether strategies of a class read their own candles only, whatever their parameters."""
    return cls.inputs is Strategy.inputs


def declared_inputs(strategy: Strategy) -> tuple[Any, ...]:
    """Return what ``inputs()`` of a strategy gives, unchecked; InvalidError where it raises."""
    if reads_nothing(type(strategy)):
        return ()
    try:
        return tuple(strategy.inputs())
    except (Exception, SystemExit) as error:  # a user's code may raise anything
        raise InvalidError(f"inputs(): {raised(error)}") from None


def given_inputs(rows: Candles, reads: tuple[Read, ...], see: Callable[[Read], InputCandles]) -> Candles:
    """Return ``rows`` with what they see of each input; the very rows where nothing is read."""
    if not reads:
        return rows
    return msgspec.structs.replace(rows, inputs={read.key: see(read) for read in reads})


def seen(rows: Candles, read: Read, candles: Candles) -> InputCandles:
    """Return what ``rows`` see of the candles of an input."""
    return seen_by(rows, candles, read.symbol, own=read.own, needs=read.candles)


def with_inputs(strategy: Strategy, rows: Candles, **others: Candles) -> Candles:
    """Return candles with the strategy's inputs, for its tests: its own symbol's larger candles are built of ``rows``.

    ``others`` are smaller or equal candles of other symbols, by base currency: ``BTC=rows`` for ``BTC/USDT``.
    """

    def see(read: Read) -> InputCandles:
        base = rows if read.own else others.get(read.symbol.split("/")[0])
        if base is None:
            raise LookupError(f"with_inputs() needs candles of {read.symbol}: {read.symbol.split('/')[0]}=...")
        return seen(rows, read, complete_buckets(base, read.interval))

    return given_inputs(rows, reads_of(type(strategy).__name__, strategy, "", rows.interval), see)


def sampled(name: str, strategy: Strategy, interval: str, samples: Samples) -> Candles:
    """Return candles that a strategy can be examined on where no others are given, with what it reads besides."""
    reads = reads_of(name, strategy, "", interval)
    warmup = warmup_of(name, strategy)
    spans = [read.candles * interval_ms(read.interval) // interval_ms(interval) // 3 for read in reads]
    warmup = max(warmup, min(max(spans, default=0), _MOST_SAMPLED))
    rows = samples(interval, warmup, "")

    def see(read: Read) -> InputCandles:
        base = rows if read.own else samples(interval, warmup, read.symbol)
        return seen(rows, read, complete_buckets(base, read.interval))

    return given_inputs(rows, reads, see)


def signals_of(strategy: SignalStrategy, candles: Candles) -> Signals:
    """Return the signals of ``candles``: what the strategy says, and nothing where an input is missing."""
    if not candles.inputs:
        return _asked(strategy, candles)
    ready = readiness(candles)
    if not ready.any():  # nor is there anything to compute with
        return Signals(enter=ready, exit=ready)
    said = _asked(strategy, candles)
    if ready.all():
        return said
    return Signals(_held(said.enter, ready), _held(said.exit, ready), said.notes)


def _asked(strategy: SignalStrategy, candles: Candles) -> Signals:
    try:
        return strategy.signals(candles)
    except SystemExit as end:  # it would end whoever asks: botd, or botctl without a word
        raise RuntimeError(f"signals() ends the program: sys.exit({end.code!r})") from None


def readiness(candles: Candles) -> NDArray[np.bool_]:
    """Tell for each candle whether every input's latest one is there."""
    fresh = [one.fresh for one in (candles.inputs or {}).values()]
    result: NDArray[np.bool_] = np.logical_and.reduce(fresh) if fresh else np.ones(len(candles), np.bool_)
    return result


def missing(candles: Candles) -> str:
    """Return which input's candles the last candle waits for, in words; empty where it has them all."""
    words = []
    for one in (candles.inputs or {}).values():
        if not one.fresh[-1]:
            due = due_ms(int(candles.time[-1]), candles.interval, interval_ms(one.interval), one.own)
            words.append(f"the candle of {one.words} that opened at {rfc3339(due)}")
    return " and ".join(words)


def too_few(candles: Candles) -> str:
    """Return which inputs have fewer candles than the strategy reads, in words; empty where none has."""
    there = [(one, int(one.latest[-1]) + 1) for one in (candles.inputs or {}).values()]
    return " and ".join(
        f"{count} of the {one.needs} candles of {one.words} that it reads so far"
        for one, count in there
        if count < one.needs
    )


def _read(declared: Any, symbol: str, interval: str) -> Read:
    """Return a checked input; InvalidError says what it should be."""
    if not isinstance(declared, Input):
        raise InvalidError(f"inputs() must return Input(...), not {declared!r}")
    length = INTERVALS.get(declared.interval, 0)
    if not length:
        raise InvalidError(f"unknown interval {declared.interval!r} in inputs()", f"one of {', '.join(INTERVALS)}")
    if length % interval_ms(interval):
        raise InvalidError(
            f"it reads {declared.interval} candles, which are no multiple of its own {interval} candles",
            f"choose an --interval of which {declared.interval} is a multiple",
        )
    other = declared.symbol or ""
    if other:
        try:
            split_symbol(other)
        except ValueError as error:
            raise InvalidError(f"inputs(): {error}") from None
    count = operator.index(declared.candles)
    if not 1 <= count <= MOST_CANDLES:
        raise InvalidError(f"candles= of an input must be from 1 to {MOST_CANDLES}, not {count}")
    return Read((declared.interval, other), other or symbol, declared.interval, count, other in ("", symbol))


def _held(flags: Any, ready: NDArray[np.bool_]) -> Any:
    """Return flags where all is ready; what are no flags is left to those who check them."""
    if getattr(flags, "dtype", None) != np.bool_ or getattr(flags, "shape", None) != ready.shape:
        return flags
    return flags & ready
