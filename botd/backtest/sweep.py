"""Many sets of parameters over one history: the work of a sweep, without its grid, its ranking and its commands.

    outcomes = sweep(history, info, [Set({"period": 7}), Set({"period": 14}, Terms(...))])

Every set gives what :func:`botd.backtest.run.backtest` gives for it, to the last bit. Sets that have the same
parameters share their signals, and all share their indicators (:mod:`botd.backtest.indicators`). The threads of this
process work on them: kernel and numpy leave the GIL free. A part of the sets is a unit of work for another process or
machine. Who wants to stop early raises from ``tell``.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from botd.backtest.history import History
from botd.backtest.indicators import Indicators, remembering
from botd.backtest.kernel import Room, make_room
from botd.backtest.run import Decisions, average_ranges, decide, load_kernel, play, tape_of
from botd.backtest.terms import Terms
from botd.domain.errors import BotdError, InvalidError
from botd.strategy.base import SignalStrategy
from botd.strategy.registry import StrategyInfo

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
    """Return an outcome a set, in their order.

    InvalidError for an event strategy. A set that does not fit the strategy, or that fails, has its ``error``.
    """
    if not issubclass(info.cls, SignalStrategy):
        raise InvalidError(f"strategy {info.name} places its own orders", "sweep signal strategies by the kernel")
    load_kernel()
    work = _Work(history, info, Indicators(history.candles))
    outcomes: list[Outcome | None] = [None] * len(sets)
    done = 0
    with remembering(info.cls, work.indicators):
        pool = ThreadPoolExecutor(threads or os.cpu_count() or 1, thread_name_prefix="sweep")
        try:
            for future in as_completed([pool.submit(work.run, group, sets) for group in _groups(sets)]):
                for number, outcome in future.result():
                    outcomes[number] = outcome
                    done += 1
                if tell is not None:
                    tell(done, len(sets))
        finally:
            pool.shutdown(cancel_futures=True)
    return [outcome for outcome in outcomes if outcome is not None]


def _groups(sets: Sequence[Set]) -> Iterator[list[int]]:
    """Yield the numbers of the sets that have the same parameters."""
    groups: dict[bytes, list[int]] = {}
    for number, one in enumerate(sets):
        groups.setdefault(msgspec.json.encode(dict(one.params), order="sorted", enc_hook=str), []).append(number)
    yield from groups.values()


class _Work:
    """The sets of one history; each thread has its own room for the kernel."""

    def __init__(self, history: History, info: StrategyInfo, indicators: Indicators) -> None:
        self.history = history
        self.info = info
        self.indicators = indicators
        self.tape = tape_of(history)
        self._own = threading.local()

    def run(self, group: list[int], sets: Sequence[Set]) -> list[tuple[int, Outcome]]:
        """Play sets that have the same parameters."""
        try:
            decisions = self._decide(sets[group[0]].params)
        except BotdError as error:
            return [(number, Outcome(sets[number], None, error.message)) for number in group]
        return [(number, Outcome(sets[number], self._play(decisions, sets[number].terms))) for number in group]

    def _decide(self, params: Mapping[str, Any]) -> Decisions:
        strategy = self.info.build(params)
        assert isinstance(strategy, SignalStrategy)
        try:
            return decide(self.history, self.info.name, strategy)
        except InvalidError:  # perhaps it writes to an array that it shares with others: once more without
            with self.indicators.aside():
                return decide(self.history, self.info.name, strategy)

    def _play(self, decisions: Decisions, terms: Terms) -> dict[str, Any]:
        atr = average_ranges(self.history, terms, self.indicators.ATR)
        return play(self.tape, decisions, atr, terms, self._room(decisions))[1]

    def _room(self, decisions: Decisions) -> Room:
        trades = int(np.count_nonzero(decisions.enter)) + 1
        room: Room | None = getattr(self._own, "room", None)
        if room is None or len(room.pnl) < trades:
            room = self._own.room = make_room(len(decisions.enter), trades * 2)
        return room
