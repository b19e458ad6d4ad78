"""Each distinct indicator once: what TA-Lib returned for arrays that are the same is remembered for the next set.

A strategy's page calls ``talib.RSI(candles.close, self.period)``; while :func:`remembering` lasts, the name ``talib``
in that page means an :class:`Indicators`, and the comparisons of :mod:`botd.strategy.comparisons` are remembered alike.
The candles' columns, and what was computed from them, are known by identity; a call on any other array (made by the
page itself) goes through. Results cannot be written to, since other sets share them: a page that does write is answered
by numpy with an error, and :mod:`botd.backtest.sweep` then gives it arrays that nobody shares.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import talib

from botd.domain.candles import Candles
from botd.strategy import comparisons
from botd.strategy.base import SignalStrategy

MOST_BYTES = 96 * 1024 * 1024
"""What is remembered at most; beyond it all is forgotten and begins anew."""


class Indicators:
    """TA-Lib with a memory, in the place of the module; for one thread."""

    def __init__(self, candles: Candles) -> None:
        self._columns = _columns(candles)
        self._inputs: dict[int, Any] = {}
        self._aside = False
        self.computed = 0
        self.asked = 0
        self._forget()

    def __getattr__(self, name: str) -> Any:
        value = getattr(talib, name)
        return self.bound(value) if name in _FUNCTIONS else value

    def know(self, candles: Candles) -> None:
        """Know the columns of what the candles see of their inputs too."""
        for one in (candles.inputs or {}).values():
            self._inputs.update((id(column), column) for column in _columns(one))
        self._known.update(self._inputs)

    def bound(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function of arrays, one of TA-Lib's mostly, with this memory."""

        def remembered(*args: Any, **options: Any) -> Any:
            return self._call(function, args, options)

        return remembered

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Compute everything anew for as long as the block lasts: arrays that nobody shares."""
        self._aside = True
        try:
            yield
        finally:
            self._aside = False

    def _call(self, function: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        given = (*args, *options.values())
        arrays = [value for value in given if isinstance(value, np.ndarray)]
        if self._aside or not all(self._known.get(id(array)) is array for array in arrays):
            return function(*args, **options)
        words = (id(value) if isinstance(value, np.ndarray) else value for value in given)
        key = (function.__name__, len(args), *options, *words)
        self.asked += 1
        if key not in self._results:
            self.computed += 1
            result = function(*args, **options)
            if not self._learn(result):
                return result
            self._results[key] = result
        return self._results[key]

    def _learn(self, result: Any) -> bool:
        """Seal the arrays of a result and know them from now on; forget all where it is too much."""
        arrays = [part for part in (result if isinstance(result, tuple) else (result,)) if isinstance(part, np.ndarray)]
        self._bytes += sum(array.nbytes for array in arrays)
        if self._bytes > MOST_BYTES:
            self._forget()
            return False
        for array in arrays:
            array.setflags(write=False)
            self._known[id(array)] = array
        return True

    def _forget(self) -> None:
        """Who still holds a result goes on with it; as the input of another it is not known any more."""
        self._known = {id(column): column for column in self._columns} | self._inputs
        self._results: dict[tuple[Any, ...], Any] = {}
        self._bytes = 0


@contextmanager
def remembering(strategy: type[SignalStrategy], indicators: Indicators) -> Iterator[None]:
    """Let the page of ``strategy`` (where its ``signals`` are written) compute by ``indicators`` in this block."""
    page: dict[str, Any] = inspect.unwrap(strategy.signals).__globals__  # the module of that name may be a later one
    before = {name: value for name, value in page.items() if value is talib or _is_function(value)}
    page.update({name: indicators if value is talib else indicators.bound(value) for name, value in before.items()})
    try:
        yield
    finally:
        page.update(before)


def _columns(candles: Candles) -> tuple[Any, ...]:
    return candles.open, candles.high, candles.low, candles.close, candles.volume


def _is_function(value: Any) -> bool:
    name = getattr(value, "__name__", None)
    known = talib if name in _FUNCTIONS else comparisons
    return isinstance(name, str) and callable(value) and getattr(known, name, None) is value


_FUNCTIONS = frozenset(talib.get_functions())  # type: ignore[no-untyped-call]
