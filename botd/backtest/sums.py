"""The sums of a run, compiled: what :mod:`botd.report.statistics` makes its figures of, without a pass an array.

They are the sums of ``sum_trades`` and ``sum_curve`` there, of float64 arrays without NaN; a test holds the two
together. A stretch without a position costs nothing here, for its returns are exactly zero. The equity in a position is
computed from the closes, as the kernel does it: a sweep needs no curve written down.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from botd.backtest.compiler import compiled, part, unordered
from botd.backtest.kernel import END_OF_DATA, Room, held_until
from botd.report.statistics import LEAST_DEVIATION, CurveSums, TradeSums, growth_between

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_DOUBTFUL = 1e-6  # a variance that is less, as a share of the mean square, is computed again by a second pass


class Sums(NamedTuple):
    """All of them, as floats. A mean, deviation or share of nothing is NaN, the best and worst of nothing infinite.

    ``trades`` counts an open one too, which is in the four amounts after ``trade_greatest`` (its entry fee is
    realised, as in a bot's own books) and in none before. ``greatest`` is the greatest return either way, zero where
    it does not matter.
    """

    trades: float
    skipped: float
    closed: float
    wins: float
    profit: float
    loss: float
    best: float
    worst: float
    streak: float
    holding_ms: float
    trade_mean: float
    trade_deviation: float
    trade_greatest: float
    realized: float
    unrealized: float
    fees: float
    traded: float
    deepest: float
    longest_ms: float
    mean: float
    deviation: float
    downside: float
    greatest: float
    exposed: float
    mean_equity: float
    first_equity: float
    last_equity: float


def curve_sums(sums: Sums, elapsed_ms: int) -> CurveSums:
    """Return the part that is about the curve, which spans ``elapsed_ms``."""
    return CurveSums(
        deepest=sums.deepest,
        longest_s=sums.longest_ms / 1000,
        ratio=_ratio(sums.mean, sums.deviation, sums.greatest),
        downside_ratio=_ratio(sums.mean, sums.downside, sums.greatest),
        growth=growth_between(sums.first_equity, sums.last_equity, elapsed_ms),
        exposure=None if math.isnan(sums.exposed) else sums.exposed,
        mean_equity=sums.mean_equity,
    )


def trade_sums(sums: Sums) -> TradeSums:
    """Return the part that is about closed trades."""
    closed = int(sums.closed)
    return TradeSums(
        trades=closed,
        wins=int(sums.wins),
        gross_profit=sums.profit,
        gross_loss=sums.loss,
        best=sums.best if closed else None,
        worst=sums.worst if closed else None,
        losing_streak=int(sums.streak),
        holding_ms=int(sums.holding_ms),
        ratio=_ratio(sums.trade_mean, sums.trade_deviation, sums.trade_greatest),
    )


def _ratio(mean: float, deviation: float, greatest: float) -> float | None:
    if not deviation > LEAST_DEVIATION * max(1.0, greatest):
        return None
    ratio = mean / deviation
    return ratio if math.isfinite(ratio) else None


@compiled
def sum_up(time: Ints, close: Floats, capital: float, room: Room, trades: int, skipped: int) -> Sums:
    """Return the sums of what the kernel left in ``room``; it told ``trades`` and ``skipped``."""
    closed = trades - 1 if trades > 0 and room.reason[trades - 1] == END_OF_DATA else trades
    wins, profit, loss, best, worst, streak, holding = _results(time, room, closed)
    trade_mean, trade_deviation, trade_greatest = _trade_returns(room, closed)
    realized, unrealized, fees, traded = _amounts(room, trades, closed)
    deepest, longest, exposed, mean_equity, returns, total, squares, downs, last = _curve(
        time, close, capital, room, trades
    )
    mean, deviation, downside, greatest = _deviations(close, capital, room, trades, returns, total, squares, downs)
    return Sums(
        float(trades),
        float(skipped),
        float(closed),
        float(wins),
        profit,
        loss,
        best,
        worst,
        float(streak),
        float(holding),
        trade_mean,
        trade_deviation,
        trade_greatest,
        realized,
        unrealized,
        fees,
        traded,
        deepest,
        float(longest),
        mean,
        deviation,
        downside,
        greatest,
        exposed,
        mean_equity,
        capital,
        last,
    )


@part
def _results(time: Ints, room: Room, closed: int) -> tuple[int, float, float, float, float, int, int]:
    wins = streak = run = holding = 0
    profit = loss = 0.0
    best, worst = -math.inf, math.inf
    for k in range(closed):
        pnl = room.pnl[k]
        if pnl > 0.0:
            wins, profit, run = wins + 1, profit + pnl, 0
        else:
            loss, run = loss - pnl, run + 1
            streak = max(streak, run)
        best, worst = max(best, pnl), min(worst, pnl)
        holding += time[room.exit_row[k]] - time[room.entry_row[k]]
    return wins, profit, loss, best, worst, streak, holding


@part
def _trade_returns(room: Room, closed: int) -> tuple[float, float, float]:
    """Return mean, sample deviation and greatest of the returns in percent, as a trade's ``return_pct``."""
    total = greatest = variance = 0.0
    for k in range(closed):
        change = room.pnl[k] / (room.quantity[k] * room.entry_price[k]) * 100
        total += change
        greatest = max(greatest, abs(change))
    mean = total / closed if closed > 0 else math.nan
    for k in range(closed):
        variance += (room.pnl[k] / (room.quantity[k] * room.entry_price[k]) * 100 - mean) ** 2
    return mean, math.sqrt(variance / (closed - 1)) if closed > 1 else math.nan, greatest


@part
def _amounts(room: Room, trades: int, closed: int) -> tuple[float, float, float, float]:
    """Return realised and unrealised profit, fees and the notional of all fills."""
    realized = unrealized = fees = traded = 0.0
    for k in range(trades):
        bought, worth = room.quantity[k] * room.entry_price[k], room.quantity[k] * room.exit_price[k]
        fees += room.fees[k]
        traded += bought
        if k < closed:
            realized += room.pnl[k]
            traded += worth
        else:
            realized -= room.fees[k]
            unrealized = worth - bought
    return realized, unrealized, fees, traded


@part
def _curve(
    time: Ints, close: Floats, capital: float, room: Room, trades: int
) -> tuple[float, int, float, float, int, float, float, float, float]:
    """Sum trade by trade: only from the entry's row to the exit's the equity changes. It begins with the capital."""
    peak = trough = before = capital
    deepest, longest, at_peak, row = 0.0, 0, 0, 0
    total = squares = downs = exposed = sum_equity = 0.0
    inverse, ruined = 1.0 / before, 0  # after a row without equity there is no return: its inverse counts as zero
    for k in range(trades):
        begin, end = room.entry_row[k], held_until(room, k)
        sum_equity += before * (begin - row)
        if not before > 0.0:
            ruined += begin - row
        if before >= peak:
            at_peak = begin - 1
        closes, quantity, held = close[begin:end], room.quantity[k], room.held[k]
        sold = room.exit_row[k] == end  # then there is a row more: at its close the position has become cash
        first = 0
        if held >= 0.0 and before > 0.0 and end > begin:
            low, high = _span(closes)
            if held + quantity * high < peak:  # nothing of it is a peak: only sums
                added = _held_sums(closes, quantity, held, before)
                sum_equity, total, squares = sum_equity + added[0], total + added[1], squares + added[2]
                downs, exposed = downs + added[3], exposed + added[4]
                trough = min(trough, held + quantity * low)
                before = held + quantity * closes[-1]
                first, inverse = len(closes), 1.0 / before
        for i in range(first, len(closes) + sold):
            share = quantity * closes[i] if i < len(closes) else 0.0
            value = held + share if i < len(closes) else room.cash[k]
            sum_equity += value
            change = (value - before) * inverse
            total += change
            squares += change * change
            downs += min(change, 0.0) ** 2
            before, inverse = value, 1.0 / value
            if not value > 0.0:
                inverse, ruined = 0.0, ruined + 1
            exposed += share * inverse
            if value >= peak:
                if at_peak < begin + i - 1:
                    longest = max(longest, time[begin + i] - time[at_peak])
                    deepest = max(deepest, _depth(peak, trough))
                peak = trough = value
                at_peak = begin + i
            trough = value if value < trough else trough
        row = end + sold
    rows = len(close)
    sum_equity += before * (rows - row)
    if not before > 0.0:
        ruined += rows - row
    if before >= peak:
        at_peak = rows - 1
    if at_peak < rows - 1:
        longest = max(longest, time[-1] - time[at_peak])
        deepest = max(deepest, _depth(peak, trough))
    positive = rows - ruined
    returns = positive - 1 if before > 0.0 else positive
    exposed = exposed / positive if positive > 0 else math.nan
    return min(deepest, 1.0), longest, exposed, sum_equity / rows, returns, total, squares, downs, before


@unordered
def _span(closes: Floats) -> tuple[float, float]:
    low = high = closes[0]
    for close in closes:
        low = close if close < low else low
        high = close if close > high else high
    return low, high


@unordered
def _held_sums(closes: Floats, quantity: float, held: float, before: float) -> tuple[float, float, float, float, float]:
    """Return the sums of equity, returns, their squares, the squares of those below zero, and exposure."""
    share = quantity * closes[0]
    equity = held + share
    total = (equity - before) / before
    squares, downs, exposed = total * total, min(total, 0.0) ** 2, 0.0
    earlier, later = closes[:-1], closes[1:]
    for i in range(len(later)):  # one division a row takes two thirds of the time of two
        share, value = quantity * earlier[i], held + quantity * later[i]
        was = held + share
        inverse = 1.0 / was
        change = (value - was) * inverse
        loss = change if change < 0.0 else 0.0
        equity, total, exposed = equity + value, total + change, exposed + share * inverse
        squares, downs = squares + change * change, downs + loss * loss
    share = quantity * closes[-1]
    return equity, total, squares, downs, exposed + share / (held + share)


@part
def _depth(peak: float, trough: float) -> float:
    return (peak - trough) / peak if peak > 0.0 else 0.0


@part
def _deviations(
    close: Floats, capital: float, room: Room, trades: int, returns: int, total: float, squares: float, downs: float
) -> tuple[float, float, float, float]:
    """Return mean, sample deviation, downside deviation and greatest of the returns."""
    if returns < 2:
        return (total if returns else math.nan), math.nan, math.sqrt(downs) if returns else math.nan, abs(total)
    mean, greatest = total / returns, 0.0
    variance = (squares - total * mean) / (returns - 1)
    if min(variance, downs / returns) <= _DOUBTFUL * squares / returns:  # perhaps mere rounding
        variance, greatest = _again(close, capital, room, trades, returns, mean)
    return mean, math.sqrt(variance), math.sqrt(downs / returns), greatest


@part
def _again(close: Floats, capital: float, room: Room, trades: int, returns: int, mean: float) -> tuple[float, float]:
    """Return variance and greatest of the returns, by a second pass."""
    before, counted, variance, greatest = capital, 0, 0.0, 0.0
    for k in range(trades):
        begin, end = room.entry_row[k], held_until(room, k)
        for row in range(begin, room.exit_row[k] + 1):
            value = room.held[k] + room.quantity[k] * close[row] if row < end else room.cash[k]
            if before > 0.0:
                change = (value - before) / before
                variance += (change - mean) ** 2
                greatest = max(greatest, abs(change))
                counted += 1
            before = value
    variance += (returns - counted) * mean**2  # without a position nothing changes
    return variance / (returns - 1), greatest
