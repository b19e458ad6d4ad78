"""Evaluating signal strategies: once per distinct (strategy, parameters, symbol, interval) and candle.

Bots that have the same share one :class:`Evaluation`. Built-in strategies run inline; a user's run in the
:class:`EvaluationThread`, so that one that hangs is named and left behind while the feed goes on.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from typing import Any

from botd.bot.inputs import Windows, as_seen
from botd.domain.candle import Candle
from botd.domain.candles import Candles
from botd.domain.clock import Clock
from botd.domain.errors import BotdError
from botd.strategy.base import SignalStrategy
from botd.strategy.inputs import Read, missing, too_few
from botd.strategy.warmup import defined_from

logger = logging.getLogger("botd.bot")

Lane = tuple[str, str]
Call = Callable[[], None]
Done = Callable[[Exception | None], None]


class StrategyHungError(BotdError):
    """A strategy did not answer in time, and its thread was left behind; or it is slow again and again."""

    code = "UNAVAILABLE"


class StrategyStopped(BaseException):
    """Thrown into an abandoned thread to end what can be ended."""


@dataclass(slots=True)
class Effort:
    """What the calls of one strategy have cost, in seconds."""

    calls: int = 0
    seconds: float = 0.0
    longest_s: float = 0.0
    slow: int = 0
    """Slow calls in a row."""

    def took(self, seconds: float, slow_s: float) -> None:
        """Count a call; one of ``slow_s`` or more is slow."""
        self.calls += 1
        self.seconds += seconds
        self.longest_s = max(self.longest_s, seconds)
        self.slow = self.slow + 1 if seconds >= slow_s else 0


class Evaluation:
    """One shared evaluation: the strategy, its lane, its readers and the signals of the last candle."""

    __slots__ = (
        "candle_time",
        "defined_from",
        "effort",
        "enter",
        "error",
        "exit",
        "inline",
        "lacks",
        "lane",
        "needs",
        "notes",
        "readers",
        "reads",
        "strategy",
        "waits",
    )

    def __init__(
        self, strategy: SignalStrategy, lane: Lane, needs: int, inline: bool, reads: tuple[Read, ...] = ()
    ) -> None:
        self.strategy = strategy
        self.lane = lane
        self.needs = needs
        self.reads = reads
        self.inline = inline
        self.effort = Effort()
        self.readers = 0
        self.candle_time = 0
        self.enter = False
        self.exit = False
        self.notes: dict[str, Any] = {}
        self.error: Exception | None = None
        self.waits = ""
        """What is missing of its inputs, in words: it was not asked."""
        self.lacks = ""
        """Which candles are too few for the notes that are not numbers yet, in words."""
        self.defined_from: int | None = None
        """With how many candles all notes are numbers (0: that is not known); looked for at the first that is not."""

    def compute(self, candles: Candles) -> None:
        """Evaluate on ``candles``; the last row is what counts. An exception is kept in ``error``."""
        self.waits = missing(candles)
        if self.waits:
            self._nothing(candles, None)
            return
        try:
            signals = self.strategy.signals(candles)
            self.enter = bool(signals.enter[-1])
            self.exit = bool(signals.exit[-1])
            self.notes = {name: _last(value) for name, value in signals.notes.items()}
            self.lacks = self._lacking(candles) if None in self.notes.values() else ""
            self.error = None
        except (Exception, SystemExit) as error:  # whatever a strategy raises is its bots' failure, not the feed's
            self._nothing(candles, _failure(error))
        self.candle_time = int(candles.time[-1])

    def _lacking(self, candles: Candles) -> str:
        few, there = too_few(candles), len(candles)
        if few or there >= self.needs:
            return few
        if self.defined_from is None:
            self.defined_from = defined_from(self.strategy, candles, self.needs)
        return (
            f"{there} of {self.defined_from} candles so far" if self.defined_from > there else f"{there} candles so far"
        )

    def _nothing(self, candles: Candles, error: Exception | None) -> None:
        self.enter = self.exit = False
        self.notes, self.lacks = {}, ""
        self.error = error
        self.candle_time = int(candles.time[-1])


class Evaluator:
    """All evaluations by lane; asked by the market manager before the bots of a closed candle are called."""

    def __init__(
        self,
        windows: Windows,
        clock: Clock,
        *,
        timeout_s: float = 2.0,
        slow_s: float = 1.0,
        slow_calls: int = 5,
        inline_all: bool = False,
        on_defer: Callable[[], None] | None = None,
    ) -> None:
        """A user's strategy that takes ``timeout_s`` hangs; one whose calls take ``slow_s``, ``slow_calls`` times
        in a row, is too slow. ``on_defer`` is told that :meth:`drain` is wanted, where nobody calls it at set
        times (tick feeds)."""
        self._windows = windows
        self._clock = clock
        self._timeout_s = timeout_s
        self._slow_s = slow_s
        self._slow_calls = slow_calls
        self._inline_all = inline_all
        self._on_defer = on_defer
        self._by_key: dict[tuple[Any, ...], Evaluation] = {}
        self._by_lane: dict[Lane, list[Evaluation]] = {}
        self._deferred: deque[tuple[Call, Done, Effort]] = deque()
        self._thread: EvaluationThread | None = None

    def acquire(
        self,
        key: tuple[Any, ...],
        strategy: SignalStrategy,
        lane: Lane,
        *,
        needs: int,
        trusted: bool,
        reads: tuple[Read, ...] = (),
    ) -> Evaluation:
        """Return the evaluation shared under ``key``, making it at first; give it back by :meth:`release`.

        ``needs`` is how many candles it reads, ``reads`` what it reads besides.
        """
        evaluation = self._by_key.get(key)
        if evaluation is None:
            evaluation = Evaluation(strategy, lane, needs, trusted or self._inline_all, reads)
            self._by_key[key] = evaluation
            self._by_lane.setdefault(lane, []).append(evaluation)
        evaluation.readers += 1
        return evaluation

    def release(self, key: tuple[Any, ...]) -> None:
        """One reader less; the last one ends the evaluation."""
        evaluation = self._by_key[key]
        evaluation.readers -= 1
        if not evaluation.readers:
            del self._by_key[key]
            self._by_lane[evaluation.lane].remove(evaluation)

    def prepare(self, closed: list[tuple[str, str, Candle]]) -> Awaitable[None] | None:
        """Evaluate everything that reads the lanes just closed; awaitable only where a thread is needed."""
        waiting: list[Evaluation] = []
        for symbol, interval, _ in closed:
            for evaluation in self._by_lane.get((symbol, interval), ()):
                if evaluation.inline:
                    self.timed(partial(evaluation.compute, self._window(evaluation)), evaluation.effort)
                else:
                    waiting.append(evaluation)
        return self._prepare_in_thread(waiting) if waiting else None

    def timed(self, call: Call, effort: Effort) -> None:
        """Run a call of a strategy and count what it cost, whatever comes of it."""
        began = self._clock.monotonic()
        try:
            call()
        finally:
            effort.took(self._clock.monotonic() - began, self._slow_s)

    def defer(self, call: Call, done: Done, effort: Effort) -> None:
        """Queue a call into a user's event strategy; :meth:`drain` runs it in the thread, then ``done``."""
        self._deferred.append((call, done, effort))
        if self._on_defer is not None:
            self._on_defer()

    def drain(self) -> Awaitable[None] | None:
        """Run what was deferred, in order."""
        return self._drain() if self._deferred else None

    def statistics(self) -> dict[str, Any]:
        """Return how many evaluations there are, for how many readers, and their time so far."""
        return {
            "evaluations": len(self._by_key),
            "readers": sum(e.readers for e in self._by_key.values()),
            "cpu_s": round(sum(e.effort.seconds for e in self._by_key.values()), 3),
        }

    # -- inside

    def _window(self, evaluation: Evaluation) -> Candles:
        return as_seen(self._windows(*evaluation.lane, evaluation.needs), evaluation.reads, self._windows)

    async def _prepare_in_thread(self, waiting: list[Evaluation]) -> None:
        hung: set[type] = set()
        for evaluation in waiting:
            if type(evaluation.strategy) in hung:
                continue  # one hang a strategy and candle: with other parameters it is asked at the next one
            candles = self._window(evaluation)
            try:
                await self._in_thread(partial(evaluation.compute, candles), evaluation.effort)
            except StrategyHungError as error:
                hung.add(type(evaluation.strategy))
                evaluation.candle_time = int(candles.time[-1])
                evaluation.enter = evaluation.exit = False
                evaluation.error = error

    async def _drain(self) -> None:
        while self._deferred:
            call, done, effort = self._deferred.popleft()
            error: Exception | None = None
            try:
                await self._in_thread(call, effort)
            except Exception as raised:  # a user's strategy: the bot decides what its failure means
                error = raised
            done(error)

    async def _in_thread(self, call: Call, effort: Effort) -> None:
        if self._thread is None:
            self._thread = EvaluationThread()
        try:
            await asyncio.wait_for(self._thread.run(partial(self.timed, call, effort)), self._timeout_s)
        except TimeoutError:
            self._thread.abandon()
            self._thread = None
            raise StrategyHungError(f"the strategy did not answer within {self._timeout_s:g} s") from None
        if effort.slow >= self._slow_calls:
            raise StrategyHungError(f"the strategy took over {self._slow_s:g} s, {effort.slow} times in a row")


class EvaluationThread:
    """A daemon thread that runs a user's code, one call at a time."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[tuple[Call, asyncio.AbstractEventLoop, asyncio.Future[None]] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="strategies", daemon=True)
        self._thread.start()

    def run(self, call: Call) -> asyncio.Future[None]:
        """Return a future that is done when ``call`` has returned in the thread."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        self._calls.put((call, loop, future))
        return future

    def end(self) -> None:
        """Let the thread end after the calls it was given."""
        self._calls.put(None)

    def abandon(self) -> None:
        """Leave the thread behind; pure Python code in it is ended, code in C runs on."""
        logger.warning("a strategy hangs: its thread is left behind")
        self.end()
        ident = self._thread.ident
        if ident is not None:
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), ctypes.py_object(StrategyStopped))

    def _work(self) -> None:
        try:
            while (item := self._calls.get()) is not None:
                call, loop, future = item
                error: Exception | None = None
                try:
                    call()
                except (Exception, SystemExit) as raised:  # handed to the caller
                    error = _failure(raised)
                loop.call_soon_threadsafe(_settle, future, error)
        except (StrategyStopped, RuntimeError):  # abandoned; or the loop is closed: nobody waits any more
            return


def _settle(future: asyncio.Future[None], error: Exception | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)


def _failure(raised: BaseException) -> Exception:
    """Return what a strategy raised as a failure of its own: ``sys.exit()`` in it ends nothing else."""
    return raised if isinstance(raised, Exception) else RuntimeError(f"it raised {type(raised).__name__}")


def _last(value: Any) -> float | None:
    number = float(value[-1]) if hasattr(value, "__len__") else float(value)
    return number if number == number else None
