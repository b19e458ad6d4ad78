"""The sums of a run, compiled: what :mod:`botd.report.statistics` makes its figures of, without a pass an array.

They are the sums of ``sum_trades`` and ``sum_curve`` there, of float64 arrays without NaN; a test holds the two
together. A stretch without a position costs next to nothing here, for its returns are exactly zero.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from botd.backtest.compiler import compiled
from botd.backtest.kernel import END_OF_DATA, Room
from botd.report.statistics import CurveSums, TradeSums, annual_growth

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_ROUNDING = 1e-12  # values that deviate by less, as a share of the greatest, are equal
_DOUBTFUL = 1e-6  # a variance that is less, as a share of the mean square, is computed again by a second pass


class Totals(NamedTuple):
    """Amounts in quote. The entry fee of an open position is realised, as in a bot's own books."""

    realized: float
    unrealized: float
    fees: float
    traded: float


def curve_sums(time: Ints, room: Room, trades: int) -> CurveSums:
    """Return the sums of the curve in ``room``, of which ``trades`` are all trades, also one that is open."""
    deepest, longest_ms, returns, total, squares, downs, exposed, mean_equity = _curve(time, room, trades)
    mean = total / returns if returns else math.nan
    variance = (squares - total * mean) / (returns - 1) if returns > 1 else math.nan
    greatest = 0.0  # matters only where a deviation may be mere rounding
    if returns > 1 and min(variance, downs / returns) <= _DOUBTFUL * squares / returns:
        variance, greatest = _again(room.equity, returns, mean)
    return CurveSums(
        deepest=deepest,
        longest_s=longest_ms / 1000,
        ratio=_ratio(mean, math.sqrt(variance), greatest),
        downside_ratio=_ratio(mean, math.sqrt(downs / returns) if returns else math.nan, greatest),
        growth=annual_growth(time, room.equity),
        exposure=None if math.isnan(exposed) else exposed,
        mean_equity=mean_equity,
    )


def trade_sums(time: Ints, room: Room, trades: int) -> tuple[TradeSums, Totals]:
    """Return the sums of the closed ones of the trades in ``room``, and the totals of all."""
    closed = closed_trades(room, trades)
    found = _trades(time, room, closed)
    wins, profit, loss, best, worst, streak, holding_ms, mean, deviation, greatest, realized, fees, traded = found
    unrealized = 0.0
    if trades > closed:
        cost = float(room.quantity[closed] * room.entry_price[closed])
        unrealized = float(room.quantity[closed] * room.exit_price[closed]) - cost
        realized, fees, traded = realized - room.fees[closed], fees + room.fees[closed], traded + cost
    sums = TradeSums(
        trades=closed,
        wins=wins,
        gross_profit=profit,
        gross_loss=loss,
        best=best if closed else None,
        worst=worst if closed else None,
        losing_streak=streak,
        holding_ms=holding_ms,
        ratio=_ratio(mean, deviation, greatest),
    )
    return sums, Totals(realized, unrealized, fees, traded)


def closed_trades(room: Room, trades: int) -> int:
    """Return how many of the trades are closed: all but a last one that is open."""
    return trades - 1 if trades and room.reason[trades - 1] == END_OF_DATA else trades


def _ratio(mean: float, deviation: float, greatest: float) -> float | None:
    if not deviation > _ROUNDING * greatest:
        return None
    ratio = mean / deviation
    return ratio if math.isfinite(ratio) else None


@compiled
def _curve(time: Ints, room: Room, trades: int) -> tuple[float, int, int, float, float, float, float, float]:
    """Sum trade by trade: only from the entry's row to the exit's the equity changes."""
    equity, exposure = room.equity, room.exposure
    peak = trough = before = equity[0]
    deepest, longest, at_peak, row = 0.0, 0, 0, 0
    total = squares = downs = exposed = sum_equity = 0.0
    returns = positive = 0
    for k in range(trades + 1):
        begin = room.entry_row[k] if k < trades else len(equity)
        end = room.exit_row[k] + 1 if k < trades else len(equity)
        sum_equity += before * (begin - row)
        if before > 0.0:
            positive += begin - row
            returns += begin - max(row, 1)
        if before >= peak:
            at_peak = begin - 1
        inverse = 1.0 / before
        values, shares = equity[begin:end], exposure[begin:end]
        for i in range(len(values)):
            value = values[i]
            sum_equity += value
            if before > 0.0:
                returns += 1
                change = (value - before) * inverse
                total += change
                squares += change * change
                downs += min(change, 0.0) ** 2
            before, inverse = value, 1.0 / value
            if value > 0.0:
                positive += 1
                exposed += shares[i] * inverse
            if value >= peak:
                if at_peak < begin + i - 1:
                    longest = max(longest, time[begin + i] - time[at_peak])
                peak = trough = value
                at_peak = begin + i
            elif value < trough:
                trough = value
                if peak > 0.0:
                    deepest = max(deepest, (peak - value) / peak)
        row = end
    if at_peak < len(equity) - 1:
        longest = max(longest, time[-1] - time[at_peak])
    exposed = exposed / positive if positive else math.nan
    return min(deepest, 1.0), longest, returns, total, squares, downs, exposed, sum_equity / len(equity)


@compiled
def _again(equity: Floats, returns: int, mean: float) -> tuple[float, float]:
    """Return the sample variance of the returns by a second pass, and the greatest return either way."""
    variance = greatest = 0.0
    for i in range(1, len(equity)):
        if equity[i - 1] > 0.0:
            change = (equity[i] - equity[i - 1]) / equity[i - 1]
            variance += (change - mean) ** 2
            greatest = max(greatest, abs(change))
    return variance / (returns - 1), greatest


@compiled
def _trades(
    time: Ints, room: Room, trades: int
) -> tuple[int, float, float, float, float, int, int, float, float, float, float, float, float]:
    wins = streak = run = holding = 0
    profit = loss = total = greatest = variance = realized = fees = traded = 0.0
    best, worst = -math.inf, math.inf
    for k in range(trades):
        pnl, bought = room.pnl[k], room.quantity[k] * room.entry_price[k]
        if pnl > 0.0:
            wins, profit, run = wins + 1, profit + pnl, 0
        else:
            loss, run = loss - pnl, run + 1
            streak = max(streak, run)
        best, worst = max(best, pnl), min(worst, pnl)
        holding += time[room.exit_row[k]] - time[room.entry_row[k]]
        change = pnl / bought * 100
        total += change
        greatest = max(greatest, abs(change))
        realized += pnl
        fees += room.fees[k]
        traded += bought + room.quantity[k] * room.exit_price[k]
    mean = total / trades if trades else math.nan
    for k in range(trades):
        variance += (room.pnl[k] / (room.quantity[k] * room.entry_price[k]) * 100 - mean) ** 2
    deviation = math.sqrt(variance / (trades - 1)) if trades > 1 else math.nan
    return wins, profit, loss, best, worst, streak, holding, mean, deviation, greatest, realized, fees, traded
