"""Evaluating signal strategies: once per distinct (strategy, parameters, symbol, interval) and candle.

Bots that have the same share one :class:`Evaluation`. Built-in strategies run inline; a user's run in the
:class:`EvaluationThread`, so that one that hangs is named and left behind while the feed goes on.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from queue import SimpleQueue
from typing import Any

from botd.domain.candle import Candle
from botd.domain.candles import Candles
from botd.domain.clock import Clock
from botd.domain.errors import BotdError
from botd.strategy.base import SignalStrategy

logger = logging.getLogger("botd.bot")

Lane = tuple[str, str]
Windows = Callable[[str, str, int], Candles]


class StrategyHungError(BotdError):
    """A strategy did not answer in time; its thread was left behind."""

    code = "UNAVAILABLE"


class StrategyStopped(BaseException):
    """Thrown into an abandoned thread to end what can be ended."""


class Evaluation:
    """One shared evaluation: the strategy, its lane, its readers and the signals of the last candle."""

    __slots__ = ("candle_time", "cpu_s", "enter", "error", "exit", "inline", "lane", "notes", "readers", "strategy")

    def __init__(self, strategy: SignalStrategy, lane: Lane, inline: bool) -> None:
        self.strategy = strategy
        self.lane = lane
        self.inline = inline
        self.readers = 0
        self.candle_time = 0
        self.enter = False
        self.exit = False
        self.notes: dict[str, Any] = {}
        self.error: Exception | None = None
        self.cpu_s = 0.0

    def compute(self, candles: Candles, clock: Clock) -> None:
        """Evaluate on ``candles``; the last row is what counts. An exception is kept in ``error``."""
        began = clock.monotonic()
        try:
            signals = self.strategy.signals(candles)
            self.enter = bool(signals.enter[-1])
            self.exit = bool(signals.exit[-1])
            self.notes = {name: _last(value) for name, value in signals.notes.items()}
            self.error = None
        except Exception as error:  # whatever a strategy raises is its bots' failure, not the feed's
            self.enter = self.exit = False
            self.notes = {}
            self.error = error
        self.candle_time = int(candles.time[-1])
        self.cpu_s += clock.monotonic() - began


class Evaluator:
    """All evaluations by lane; asked by the market manager before the bots of a closed candle are called."""

    def __init__(
        self,
        windows: Windows,
        clock: Clock,
        *,
        timeout_s: float = 2.0,
        inline_all: bool = False,
        on_defer: Callable[[], None] | None = None,
    ) -> None:
        """``on_defer`` is told that :meth:`drain` is wanted, where nobody calls it at set times (tick feeds)."""
        self._windows = windows
        self._clock = clock
        self._timeout_s = timeout_s
        self._inline_all = inline_all
        self._on_defer = on_defer
        self._by_key: dict[tuple[Any, ...], Evaluation] = {}
        self._by_lane: dict[Lane, list[Evaluation]] = {}
        self._deferred: list[tuple[Callable[[], None], Callable[[Exception | None], None]]] = []
        self._thread: EvaluationThread | None = None

    def acquire(self, key: tuple[Any, ...], strategy: SignalStrategy, lane: Lane, *, trusted: bool) -> Evaluation:
        """Return the evaluation shared under ``key``, making it at first; give it back by :meth:`release`."""
        evaluation = self._by_key.get(key)
        if evaluation is None:
            evaluation = Evaluation(strategy, lane, trusted or self._inline_all)
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
                    evaluation.compute(self._window(evaluation), self._clock)
                else:
                    waiting.append(evaluation)
        return self._prepare_in_thread(waiting) if waiting else None

    def defer(self, call: Callable[[], None], done: Callable[[Exception | None], None]) -> None:
        """Queue a call into a user's event strategy; :meth:`drain` runs it in the thread, then ``done``."""
        self._deferred.append((call, done))
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
            "cpu_s": round(sum(e.cpu_s for e in self._by_key.values()), 3),
        }

    # -- inside

    def _window(self, evaluation: Evaluation) -> Candles:
        return self._windows(*evaluation.lane, evaluation.strategy.warmup())

    async def _prepare_in_thread(self, waiting: list[Evaluation]) -> None:
        for evaluation in waiting:
            candles = self._window(evaluation)
            try:
                await self._in_thread(partial(evaluation.compute, candles, self._clock))
            except StrategyHungError as error:
                evaluation.enter = evaluation.exit = False
                evaluation.error = error

    async def _drain(self) -> None:
        while self._deferred:
            call, done = self._deferred.pop(0)
            error: Exception | None = None
            try:
                await self._in_thread(call)
            except Exception as raised:  # a user's strategy: the bot decides what its failure means
                error = raised
            done(error)

    async def _in_thread(self, call: Callable[[], None]) -> None:
        if self._thread is None:
            self._thread = EvaluationThread()
        try:
            await asyncio.wait_for(self._thread.run(call), self._timeout_s)
        except TimeoutError:
            self._thread.abandon()
            self._thread = None
            raise StrategyHungError(f"the strategy did not answer within {self._timeout_s:g} s") from None


class EvaluationThread:
    """A daemon thread that runs a user's code, one call at a time."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[tuple[Callable[[], None], asyncio.AbstractEventLoop, asyncio.Future[None]] | None] = (
            SimpleQueue()
        )
        self._thread = threading.Thread(target=self._work, name="strategies", daemon=True)
        self._thread.start()

    def run(self, call: Callable[[], None]) -> asyncio.Future[None]:
        """Return a future that is done when ``call`` has returned in the thread."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        self._calls.put((call, loop, future))
        return future

    def abandon(self) -> None:
        """Leave the thread behind; pure Python code in it is ended, code in C runs on."""
        logger.warning("a strategy hangs: its thread is left behind")
        self._calls.put(None)
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
                except Exception as raised:  # handed to the caller
                    error = raised
                loop.call_soon_threadsafe(_settle, future, error)
        except StrategyStopped:
            return


def _settle(future: asyncio.Future[None], error: Exception | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)


def _last(value: Any) -> float | None:
    number = float(value[-1]) if hasattr(value, "__len__") else float(value)
    return number if number == number else None
