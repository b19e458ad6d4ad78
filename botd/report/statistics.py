"""What became of a bot: figures of its trades and of its equity curve.

Pure functions of arrays and trades; nothing is read or printed here. What is undefined (a ratio by zero,
an average of nothing) is None, never 0 or infinity. Amounts are strings of exact decimals, percentages and
ratios are numbers (1.5 is 1.5 %).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from botd.domain.candle import interval_ms
from botd.domain.instrument import ZERO
from botd.domain.position import Trade

Floats = NDArray[np.float64]
Times = NDArray[np.int64]
Amount = Decimal | float

YEAR_MS = 365 * 86_400_000
"""This market never closes: a year has 365 days of candles."""

DAY_MS = 86_400_000
LEAST_DEVIATION = 1e-12
"""Returns that deviate by less do so by rounding: a ratio by it is as undefined as one by zero."""

_MONEY = Decimal("1e-8")


@dataclass(frozen=True, slots=True)
class Curve:
    """Equity at every candle's close. Arrays of one length, oldest first: ``time`` in milliseconds (int64),
    ``equity`` and ``exposure`` (the market value of what is held) in quote (float64)."""

    time: Times
    equity: Floats
    exposure: Floats


@dataclass(frozen=True, slots=True)
class Account:
    """A bot's books at the end of the curve. ``unrealized_pnl`` and ``equity`` are None without a price."""

    capital: Decimal
    realized_pnl: Decimal
    unrealized_pnl: Decimal | None
    equity: Decimal | None
    fees: Decimal
    traded: Decimal
    """The notional of all fills, bought and sold."""
    skipped_min_notional: int = 0


@dataclass(frozen=True, slots=True)
class Drawdown:
    """``deepest`` is a fraction of the peak in [0, 1]; ``current`` the one at the end; ``longest_s`` the
    longest time from a peak until it was reached again (or the end of the curve)."""

    deepest: float
    current: float
    longest_s: float


@dataclass(frozen=True, slots=True)
class TradeSums:
    """What the figures of closed trades are made of. Amounts in quote, exact or float64.

    ``gross_loss`` is positive; ``best`` and ``worst`` are None without a trade; ``ratio`` is mean / sample
    deviation of the trades' returns, None where undefined.
    """

    trades: int
    wins: int
    gross_profit: Amount
    gross_loss: Amount
    best: Amount | None
    worst: Amount | None
    losing_streak: int
    holding_ms: int
    ratio: float | None


@dataclass(frozen=True, slots=True)
class CurveSums:
    """What the figures of an equity curve are made of; None is undefined.

    With r the returns from candle to candle: ``ratio`` = mean(r) / sample deviation(r), ``downside_ratio`` =
    mean(r) / sqrt(mean(min(r, 0)^2)). ``deepest`` and ``longest_s`` as in :class:`Drawdown`, ``growth`` of
    :func:`annual_growth`, ``exposure`` = mean of exposure / equity.
    """

    deepest: float | None
    longest_s: float | None
    ratio: float | None
    downside_ratio: float | None
    growth: float | None
    exposure: float | None
    mean_equity: float | None


def statistics(curve: Curve, trades: Sequence[Trade], account: Account, interval: str) -> dict[str, Any]:
    """Return the keys of a ``stats`` row, except ``name``.

    Trades that are still open (``end_of_data``) are not counted. The curve has one row a candle of
    ``interval``; where rows are missing, the returns between those that are there count as one candle's.
    """
    closed = [trade for trade in trades if trade.exit_reason != "end_of_data"]
    return figures(sum_trades(closed), sum_curve(curve), account, interval)


def figures(trades: TradeSums, curve: CurveSums, account: Account, interval: str) -> dict[str, Any]:
    """Return the keys of a ``stats`` row, except ``name``, from sums: the one definition of every figure."""
    return trade_figures(trades) | _account_figures(account, curve.mean_equity) | curve_figures(curve, interval)


def trade_figures(sums: TradeSums) -> dict[str, Any]:
    """Return the figures of closed round trips; pnl is net of all fees.

    A win is a pnl above zero, everything else a loss (so wins + losses = trades). ``gross_profit`` is the sum
    of the wins, ``gross_loss`` of the losses as a positive amount, and so ``avg_loss``; profit factor = gross
    profit / gross loss; expectancy = mean pnl of a trade; ``best_trade`` and ``worst_trade`` are pnl in quote.
    SQN (Van Tharp) = sqrt(n) x mean / sample deviation of the trades' returns.
    """
    trades, wins, profit, loss = sums.trades, sums.wins, sums.gross_profit, sums.gross_loss
    return {
        "trades": trades,
        "wins": wins,
        "losses": trades - wins,
        "win_rate": 100 * wins / trades if trades else None,
        "gross_profit": money_text(profit),
        "gross_loss": money_text(loss),
        "profit_factor": _finite(profit / loss) if loss else None,  # type: ignore[operator]  # both of one kind
        "expectancy": money_text((profit - loss) / trades if trades else None),  # type: ignore[operator]
        "avg_win": money_text(profit / wins if wins else None),
        "avg_loss": money_text(loss / (trades - wins) if trades > wins else None),
        "best_trade": money_text(sums.best),
        "worst_trade": money_text(sums.worst),
        "max_consecutive_losses": sums.losing_streak,
        "avg_holding_s": sums.holding_ms / trades / 1000 if trades else None,
        "sqn": _times(sums.ratio, math.sqrt(trades)),
    }


def sum_trades(trades: Sequence[Trade]) -> TradeSums:
    """Return the sums of closed round trips, to the last digit."""
    pnl = [trade.pnl for trade in trades]
    returns = np.array([trade.return_pct for trade in trades])
    return TradeSums(
        trades=len(trades),
        wins=sum(value > 0 for value in pnl),
        gross_profit=sum((value for value in pnl if value > 0), ZERO),
        gross_loss=sum((-value for value in pnl if value <= 0), ZERO),
        best=max(pnl, default=None),
        worst=min(pnl, default=None),
        losing_streak=longest_losing_streak(pnl),
        holding_ms=sum(trade.exit_time_ms - trade.entry_time_ms for trade in trades),
        ratio=_ratio(returns, _deviation(returns)),
    )


def curve_figures(sums: CurveSums, interval: str) -> dict[str, Any]:
    """Return the figures of the equity curve.

    With r the returns from candle to candle and N candles a year: Sharpe (1966, 1994) = mean(r) / sample
    deviation(r) x sqrt(N), risk-free rate 0. Sortino (1991) = mean(r) / downside deviation x sqrt(N), the
    downside deviation over all candles: sqrt(mean(min(r, 0)^2)). Calmar (Young 1991) = CAGR / max drawdown,
    CAGR over the time the curve spans. Exposure = mean of exposure / equity.
    """
    a_year = math.sqrt(YEAR_MS / interval_ms(interval))
    growth, deepest = sums.growth, sums.deepest
    return {
        "max_drawdown_pct": _times(deepest, 100),
        "max_drawdown_duration_s": sums.longest_s,
        "sharpe": _times(sums.ratio, a_year),
        "sortino": _times(sums.downside_ratio, a_year),
        "calmar": growth / deepest if growth is not None and deepest else None,
        "exposure_pct": _times(sums.exposure, 100),
    }


def sum_curve(curve: Curve) -> CurveSums:
    """Return the sums of an equity curve; rows whose equity is unknown (NaN) are left out."""
    drop = drawdown(curve.time, curve.equity)
    returns = _returns(curve.equity)
    downside = _finite(np.sqrt(np.mean(np.minimum(returns, 0.0) ** 2))) if len(returns) else None
    known = curve.equity[~np.isnan(curve.equity)]
    return CurveSums(
        deepest=None if drop is None else drop.deepest,
        longest_s=None if drop is None else drop.longest_s,
        ratio=_ratio(returns, _deviation(returns)),
        downside_ratio=_ratio(returns, downside),
        growth=annual_growth(curve.time, curve.equity),
        exposure=_exposure(curve),
        mean_equity=float(known.mean()) if len(known) else None,
    )


def buy_and_hold_pct(first_open: float, last_close: float) -> float:
    """Return what holding from the first open to the last close gains, without any cost."""
    return 100 * (last_close / first_open - 1.0)


def drawdown(time: Times, equity: Floats) -> Drawdown | None:
    """Return how far and how long the curve lay below its highest point so far; None for an empty curve.

    Rows whose equity is unknown (NaN) are left out.
    """
    known = ~np.isnan(equity)
    time, equity = time[known], equity[known]
    if not len(equity):
        return None
    peak = np.maximum.accumulate(equity)
    depth = np.zeros_like(equity)
    np.divide(peak - equity, peak, out=depth, where=peak > 0)
    depth = np.minimum(depth, 1.0)
    # Since when a row lies below its peak: the last time at which the curve stood at its peak.
    at_peak = np.maximum.accumulate(np.where(equity >= peak, np.arange(len(equity)), 0))
    under = equity < peak
    back = np.flatnonzero(~under[1:] & under[:-1]) + 1  # the rows that reach the peak again
    spans = [time[back] - time[at_peak[back - 1]]]
    if under[-1]:
        spans.append(time[-1:] - time[at_peak[-1:]])
    longest = max((int(span.max()) for span in spans if len(span)), default=0)
    return Drawdown(float(depth.max()), float(depth[-1]), longest / 1000)


def annual_growth(time: Times, equity: Floats) -> float | None:
    """Return CAGR of a curve as a fraction; None for less than two rows."""
    return growth_between(float(equity[0]), float(equity[-1]), int(time[-1] - time[0])) if len(time) > 1 else None


def growth_between(first: float, last: float, elapsed_ms: int) -> float | None:
    """Return CAGR as a fraction: (last / first) ^ (year / elapsed) - 1; None where that is not defined.

    Of less than a day it is not: an hour's gain compounded 8,760 times says nothing of a year.
    """
    if not (first > 0 and last >= 0 and elapsed_ms >= DAY_MS):
        return None
    try:
        return _finite((last / first) ** (YEAR_MS / elapsed_ms) - 1)
    except OverflowError:  # a manifold gain in a day, compounded over a year
        return None


def longest_losing_streak(pnl: Sequence[Decimal]) -> int:
    """Return the longest run of trades that won nothing."""
    longest = run = 0
    for value in pnl:
        run = 0 if value > 0 else run + 1
        longest = max(longest, run)
    return longest


def _account_figures(account: Account, mean_equity: float | None) -> dict[str, Any]:
    """Turnover = notional of all fills / mean equity (capital where there is no curve yet)."""
    base = float(account.capital) if mean_equity is None else mean_equity
    gain = None if account.equity is None or not account.capital else account.equity / account.capital - 1
    return {
        "fees": money_text(account.fees),
        "realized_pnl": money_text(account.realized_pnl),
        "unrealized_pnl": money_text(account.unrealized_pnl),
        "equity": money_text(account.equity),
        "return_pct": None if gain is None else 100 * float(gain),
        "turnover": float(account.traded) / base if base > 0 else None,
        "skipped_min_notional": account.skipped_min_notional,
    }


def _exposure(curve: Curve) -> float | None:
    known = (curve.equity > 0) & ~np.isnan(curve.exposure)
    return float(np.mean(curve.exposure[known] / curve.equity[known])) if known.any() else None


def _returns(equity: Floats) -> Floats:
    """Return the returns from row to row, where both are known and the first is above zero."""
    before, after = equity[:-1], equity[1:]
    valid = (before > 0) & ~np.isnan(after)
    result: Floats = after[valid] / before[valid] - 1.0
    return result


def _deviation(values: Floats) -> float | None:
    """Return the sample standard deviation; None for less than two values."""
    return _finite(np.std(values, ddof=1)) if len(values) > 1 else None


def _ratio(values: Floats, deviation: float | None) -> float | None:
    # Equal returns deviate by rounding only: a ratio by that is as undefined as one by zero.
    if not deviation or deviation <= LEAST_DEVIATION * max(1.0, float(np.max(np.abs(values)))):
        return None
    return _finite(np.mean(values) / deviation)


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _finite(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None


def money_text(value: Amount | None) -> str | None:
    """Return an amount to eight decimals, without trailing zeros."""
    if value is None:
        return None
    exact = value if isinstance(value, Decimal) else Decimal(repr(value))
    return f"{exact.quantize(_MONEY).normalize() + 0:f}"
