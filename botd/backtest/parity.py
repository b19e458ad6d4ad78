"""Does the event path make the trades of the kernel? Both play the same bot, and every trade is held against the other.

Rows, reasons and quantities must be the same (of a number of steps the last bits are rounding), prices and amounts to
1e-9. It raises nothing: it returns the first
difference in words, empty where there is none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from botd.backtest.engine import run, spec_of
from botd.backtest.history import History
from botd.backtest.kernel import REASONS, Room
from botd.backtest.run import Result, backtest
from botd.backtest.terms import Terms
from botd.domain.clock import Clock, rfc3339
from botd.strategy.base import SignalStrategy
from botd.strategy.registry import Registry

TOLERANCE = 1e-9
_SAME = 1e-14
_FIGURES = ("trades", "skipped_min_notional")


def kernel_and_engine(
    history: History,
    name: str,
    strategy: SignalStrategy,
    terms: Terms,
    clock: Clock,
    risk: Mapping[str, Any] | None = None,
) -> str:
    """Return the first difference between kernel and event engine for one bot, empty for none."""
    by_kernel = backtest(history, name, strategy, terms, clock)
    spec = spec_of(name, history, terms)
    more = {} if risk is None else {"risk": risk}
    (by_engine,) = run([history], [spec], Registry.standard(), clock, terms=terms, strategies={name: strategy}, **more)
    return difference(by_kernel, by_engine)


def difference(one: Result, other: Result) -> str:
    """Return the first difference between two results, trade by trade, then candle by candle; empty for none."""
    for k in range(min(one.count, other.count)):
        if told := _trade_difference(one.room, other.room, k, one.terms):
            time = rfc3339(int(one.time[one.room.entry_row[k]]))
            return f"trade {k + 1}, entered {time}: {told}"
    if one.count != other.count:
        return f"{one.count} trades, and {other.count}"
    for key in _FIGURES:
        if one.statistics[key] != other.statistics[key]:
            return f"{key}: {one.statistics[key]}, and {other.statistics[key]}"
    return _curve_difference(one, other)


def _trade_difference(one: Room, other: Room, k: int, terms: Terms) -> str:
    for what in ("entry_row", "exit_row", "reason"):
        left, right = int(getattr(one, what)[k]), int(getattr(other, what)[k])
        if left != right:
            words = (REASONS[left], REASONS[right]) if what == "reason" else (left, right)
            return f"{what} {words[0]}, and {words[1]}"
    worth = float(one.quantity[k] * one.entry_price[k])
    amounts = (("entry_price", 0.0), ("exit_price", 0.0), ("fees", worth), ("pnl", worth))
    for what, scale, tolerance in (("quantity", 0.0, _SAME), *((*amount, TOLERANCE) for amount in amounts)):
        first, second = float(getattr(one, what)[k]), float(getattr(other, what)[k])
        # A profit is a difference of two notionals: what rounds in them counts as part of them.
        if not abs(first - second) <= tolerance * max(abs(first), 1e-3 * scale):
            return f"{what} {first!r}, and {second!r}"
    return ""


def _curve_difference(one: Result, other: Result) -> str:
    scale = TOLERANCE * float(one.terms.capital)
    for what in ("equity", "exposure"):
        left, right = getattr(one, what), getattr(other, what)
        differ = np.flatnonzero(~(np.abs(left - right) <= TOLERANCE * np.abs(left) + 1e-3 * scale))
        if len(differ):
            row = int(differ[0])
            return f"{what} at {rfc3339(int(one.time[row]))}: {left[row]!r}, and {right[row]!r}"
    return ""
