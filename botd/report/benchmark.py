"""A run beside its market: alpha and beta, and what each month gave.

Pure functions of arrays; nothing is read or printed here. Undefined is None.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from botd.domain.candle import interval_ms
from botd.report.statistics import YEAR_MS, Floats, Times, drawdown


def alpha_beta(equity: Floats, close: Floats, interval: str) -> dict[str, float | None]:
    """Return ``alpha_pct`` and ``beta`` of an equity curve beside the closes of the same candles.

    With r the returns of equity and m of the close from candle to candle: beta = covariance(r, m) / variance(m)
    (Sharpe 1964); alpha = (mean(r) - beta x mean(m)) x candles a year, in percent (Jensen 1968), risk-free rate 0.
    It is the mean added up over a year, as in Sharpe's ratio, not compounded: of a month it may lie below -100 %.
    """
    valid = equity[:-1] > 0
    r, m = (values[1:][valid] / values[:-1][valid] - 1.0 for values in (equity, close))
    if len(r) < 2:
        return {"alpha_pct": None, "beta": None}
    r_mean, m_mean = float(r.mean()), float(m.mean())
    spread = m - m_mean
    variance = float(np.dot(spread, spread))
    # What deviates by rounding only does not deviate: see Sharpe in the statistics.
    if variance <= len(m) * (1e-12 * float(np.max(np.abs(m)))) ** 2:
        return {"alpha_pct": None, "beta": None}
    beta = float(np.dot(spread, r - r_mean)) / variance
    alpha = 100 * (r_mean - beta * m_mean) * YEAR_MS / interval_ms(interval)
    return {"alpha_pct": _finite(alpha), "beta": _finite(beta)}


def months(time: Times, equity: Floats, close: Floats, capital: float, first_open: float) -> list[dict[str, Any]]:
    """Return a row a calendar month (UTC): return of the equity, of holding, and the deepest drawdown in it.

    A month's return is from the last equity before it (the first: the capital) to the last one in it; holding likewise
    by closes (the first: from the first open).
    """
    rows: list[dict[str, Any]] = []
    starts = month_starts(time)
    before, held = capital, first_open
    for start, end in zip(starts, [*starts[1:], len(time)], strict=True):
        drop = drawdown(time[start:end], np.maximum(equity[start:end], 0.0))
        rows.append(
            {
                "month": str(np.datetime64(int(time[start]), "ms").astype("datetime64[M]")),
                "return_pct": 100 * (float(equity[end - 1]) / before - 1) if before > 0 else None,
                "buy_and_hold_pct": 100 * (float(close[end - 1]) / held - 1),
                "max_drawdown_pct": None if drop is None else 100 * drop.deepest,
            }
        )
        before, held = float(equity[end - 1]), float(close[end - 1])
    return rows


def month_starts(time: Times) -> list[int]:
    """Return the row at which each calendar month (UTC) begins; months without a row are left out."""
    if not len(time):
        return []
    months_seen: NDArray[np.int64] = (
        np.arange(
            np.datetime64(int(time[0]), "ms").astype("datetime64[M]"),
            np.datetime64(int(time[-1]), "ms").astype("datetime64[M]") + 1,
        )
        .astype("datetime64[ms]")
        .astype(np.int64)
    )
    return [int(row) for row in np.unique(np.searchsorted(time, months_seen))]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
