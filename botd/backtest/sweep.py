"""Many sets of parameters over one history: the work of a sweep, without its grid, its ranking and its commands.

    outcomes = sweep(history, info, [Set({"period": 7}), Set({"period": 14}, Terms(...))])

Every set gives what :func:`botd.backtest.run.backtest` gives for it, to the last bit. Sets that have the same
parameters share their signals, and all share their indicators (:mod:`botd.backtest.indicators`). This thread asks the
strategy, others play meanwhile what it decided, a batch in one call that needs no GIL; it plays too while they have
enough, for a thread more than there are processors would only take turns with it. A part of the sets is a unit of work
for another process or machine.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from botd.backtest.batch import Batch, play_batch
from botd.backtest.history import History
from botd.backtest.indicators import Indicators, remembering
from botd.backtest.kernel import Floats
from botd.backtest.run import Decisions, average_ranges, decide, load_kernel, made_of, numbers_of, tape_of
from botd.backtest.sums import Sums
from botd.backtest.terms import Terms
from botd.domain.errors import BotdError, InvalidError
from botd.strategy.base import SignalStrategy
from botd.strategy.registry import StrategyInfo

BATCH_ROWS = 500_000
"""Candles times sets that are played in one call: long beside the call, short beside the sweep."""

Tell = Callable[[int, int], None]
"""(sets done, of so many)."""


@dataclass(frozen=True, slots=True)
class Set:
    """One of a sweep: parameters of the strategy, by name, and the terms it plays by."""

    params: Mapping[str, Any] = field(default_factory=dict)
    terms: Terms = field(default_factory=Terms)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a set: the keys of a ``stats`` row except ``name``, or why there are none."""

    set: Set
    statistics: dict[str, Any] | None
    error: str = ""


def sweep(
    history: History, info: StrategyInfo, sets: Sequence[Set], *, threads: int | None = None, tell: Tell | None = None
) -> list[Outcome]:
    """Return an outcome a set, in their order. See :func:`outcomes`."""
    found: dict[int, Outcome] = {}
    for number, outcome in outcomes(history, info, sets, threads=threads):
        found[number] = outcome
        if tell is not None:
            tell(len(found), len(sets))
    return [found[number] for number in range(len(sets))]


def outcomes(
    history: History, info: StrategyInfo, sets: Sequence[Set], *, threads: int | None = None
) -> Iterator[tuple[int, Outcome]]:
    """Yield (number of the set, its outcome) as they come; ``threads`` play, this one among them: one a processor.

    InvalidError for an event strategy. A set that does not fit the strategy, or that fails, has its ``error``. Who
    stops asking early keeps what came; what is being played is waited for, which takes no time to speak of.
    """
    if not issubclass(info.cls, SignalStrategy):
        raise InvalidError(f"strategy {info.name} places its own orders", "sweep signal strategies by the kernel")
    load_kernel()
    work = _Work(history, info, sets)
    others = (threads or os.cpu_count() or 1) - 1
    waiting: deque[tuple[list[int], Batch, Future[list[Sums]]]] = deque()
    pool = ThreadPoolExecutor(max(1, others), thread_name_prefix="sweep")
    try:
        with remembering(info.cls, work.indicators):
            for numbers, batch in work.batches():
                if len(waiting) < 4 * others:
                    waiting.append((numbers, batch, pool.submit(work.play, batch)))
                else:  # they have enough to do
                    yield from work.outcomes(numbers, work.play(batch))
                while waiting and waiting[0][2].done():
                    numbers, _, played = waiting.popleft()
                    yield from work.outcomes(numbers, played.result())
        while waiting:
            numbers, batch, played = waiting.pop()
            yield from work.outcomes(numbers, work.play(batch) if played.cancel() else played.result())
        yield from work.failed
    finally:
        pool.shutdown(cancel_futures=True)


class _Work:
    """The sets of one history; ``failed`` are those that cannot be played."""

    def __init__(self, history: History, info: StrategyInfo, sets: Sequence[Set]) -> None:
        self.tape = tape_of(history)
        self.indicators = Indicators(history.candles)
        self.failed: list[tuple[int, Outcome]] = []
        self._history = history
        self._info = info
        self._sets = sets

    def batches(self) -> Iterator[tuple[list[int], Batch]]:
        """Decide for group after group of sets that have the same parameters; yield what is to be played."""
        rows = len(self.tape.time)
        most = max(1, BATCH_ROWS // rows)
        said = _Said(most, rows)
        numbers: list[int] = []
        for group in self._groups():
            decided = self._decide(group)
            if decided is None:
                continue
            told = False
            for number in group:
                if len(numbers) == most:
                    yield numbers, self._batch(numbers, said)
                    numbers, said, told = [], _Said(most, rows), False
                if not told:
                    said.add(decided)
                    told = True
                numbers.append(number)
                said.of_sets.append(said.count - 1)
        if numbers:
            yield numbers, self._batch(numbers, said)

    def play(self, batch: Batch) -> list[Sums]:
        """Play a batch."""
        return play_batch(self.tape.time, self.tape.arrays, batch)

    def outcomes(self, numbers: list[int], played: list[Sums]) -> Iterator[tuple[int, Outcome]]:
        """Yield what a batch gave."""
        for number, sums in zip(numbers, played, strict=True):
            one = self._sets[number]
            yield number, Outcome(one, made_of(sums, self.tape, one.terms))

    def _groups(self) -> Iterator[list[int]]:
        groups: dict[bytes, list[int]] = {}
        for number, one in enumerate(self._sets):
            groups.setdefault(msgspec.json.encode(dict(one.params), order="sorted", enc_hook=str), []).append(number)
        yield from groups.values()

    def _decide(self, group: list[int]) -> Decisions | None:
        name = self._info.name
        try:
            strategy = self._info.build(self._sets[group[0]].params)
            assert isinstance(strategy, SignalStrategy)
            self.indicators.know(self._history.seen_by(name, strategy))
            try:
                return decide(self._history, name, strategy)
            except InvalidError:  # perhaps it writes to an array that it shares with others: once more without
                with self.indicators.aside():
                    return decide(self._history, name, strategy)
        except BotdError as error:
            self.failed += [(number, Outcome(self._sets[number], None, error.message)) for number in group]
            return None

    def _batch(self, numbers: list[int], said: _Said) -> Batch:
        rows: dict[int, Floats] = {}  # by period
        ranges = []
        for number in numbers:
            terms = self._sets[number].terms
            if terms.atr_stop is not None and terms.atr_period not in rows:
                rows[terms.atr_period] = average_ranges(self._history, terms, self.indicators.ATR)
            ranges.append(-1 if terms.atr_stop is None else list(rows).index(terms.atr_period))
        own = [numbers_of(self._sets[number].terms, self.tape.instrument) for number in numbers]
        return Batch(
            enter=said.enter[: said.count],
            leave=said.leave[: said.count],
            atr=np.stack(list(rows.values())) if rows else np.empty((1, 0)),
            says=np.array(said.of_sets, np.int64),
            ranges=np.array(ranges, np.int64),
            numbers=np.array(own),
        )


class _Said:
    """What was decided for a batch: a row a decision, copied while it is in the processor's cache."""

    def __init__(self, most: int, rows: int) -> None:
        self.enter = np.empty((most, rows), np.bool_)
        self.leave = np.empty((most, rows), np.bool_)
        self.count = 0
        self.of_sets: list[int] = []

    def add(self, decisions: Decisions) -> None:
        self.enter[self.count], self.leave[self.count] = decisions.enter, decisions.exit
        self.count += 1
