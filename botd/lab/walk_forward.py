"""``botctl walk-forward``, composed: the best set of each training span, played on the span after it.

What a window trades on it was not chosen by, so the stitched curve is out of sample. A window starts flat with the
equity that the one before ended with; a position open at a window's end is valued at its last close, as everywhere.
``pnl`` of a window is what its equity gained, that value included: the windows' add up to the total's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import numpy as np

from botd.backtest.history import History, part
from botd.backtest.run import Result, backtest
from botd.backtest.sweep import Set, outcomes
from botd.domain.clock import WallClock, rfc3339
from botd.domain.errors import InvalidError
from botd.domain.position import Trade
from botd.lab.given import Asked, Place, told_terms
from botd.lab.ranges import Point, told
from botd.lab.ranking import Ranking, check_statistic
from botd.lab.sweep import Search, examine_points, search_of, searched
from botd.report.benchmark import alpha_beta
from botd.report.statistics import Account, Curve, buy_and_hold_pct, money_text, statistics
from botd.strategy.base import SignalStrategy

Tell = Callable[[int, int, str], None]
MOST_WINDOWS = 2_000


@dataclass(frozen=True, slots=True)
class Window:
    """Rows of the history: [train, test) are trained on, [test, end) are traded."""

    train: int
    test: int
    end: int


def run_walk(place: Place, asked: Asked, tell: Tell) -> dict[str, Any]:
    """Return ``rows``: one a window, and the total as the last."""
    search, by = search_of(place, asked), check_statistic(str(asked.get("by") or "sharpe"))
    if search.tpe is not None:
        raise InvalidError("--tpe is for sweeps", "--range low:high:step, or --random N")
    history = searched(place, asked, search, "walk-forward")
    windows = windows_of(history, int(asked["train_ms"]), int(asked["test_ms"]), bool(asked.get("anchored")))
    playable = [(point, chosen) for point in search.points() if (chosen := search.set_of(point)) is not None]
    points, sets = [point for point, _ in playable], [chosen for _, chosen in playable]
    examine_points(search, points, history)
    walk = _Walk(search, history, by, points, sets)
    rows, interrupted = [], False
    try:
        for number, window in enumerate(windows):
            rows.append({"window": number + 1, **walk.step(window)})
            tell(number + 1, len(windows), "")
    except KeyboardInterrupt:
        interrupted = True
    total = [{"window": "total", **walk.total()}] if rows else []
    return {
        "rows": rows + total,
        "by": by,
        "sets": len(sets),
        "windows": len(windows),
        "interrupted": interrupted,
        "notes": list(history.notes),
    }


def windows_of(history: History, train_ms: int, test_ms: int, anchored: bool) -> list[Window]:
    """Return the windows, the last one shorter where the candles end; InvalidError where there is none."""
    time = history.candles.time[history.begin :]
    first, last = int(time[0]), int(time[-1])
    if train_ms <= 0 or test_ms <= 0:
        raise InvalidError("--train and --test must be longer than nothing")
    if (last - first - train_ms) / test_ms > MOST_WINDOWS:
        raise InvalidError(f"more than {MOST_WINDOWS:,} windows", "a longer --test")
    found = []
    test = first + train_ms
    while test <= last:
        begin = first if anchored else test - train_ms
        rows = [history.begin + int(np.searchsorted(time, at)) for at in (begin, test, test + test_ms)]
        if rows[1] - rows[0] >= 2 and rows[2] - rows[1] >= 2:
            found.append(Window(*rows))
        test += test_ms
    if not found:
        raise InvalidError(
            f"{history.symbol}: from {rfc3339(first)} to {rfc3339(last)} there is no room for training and test",
            "a shorter --train, or more candles",
        )
    return found


class _Walk:
    """What became of the windows so far, stitched."""

    def __init__(self, search: Search, history: History, by: str, points: Sequence[Point], sets: Sequence[Set]) -> None:
        self._search, self._history, self._by = search, history, by
        self._points, self._sets = points, sets
        self._equity: Decimal | None = None
        self._played: list[Result] = []

    def step(self, window: Window) -> dict[str, Any]:
        """Train, test, and return the row of a window."""
        info = self._search.info
        ranking = Ranking(self._by, 1)
        training = part(self._history, window.train, window.test)
        for number, outcome in outcomes(training, info, self._sets):
            ranking.add(number, outcome.statistics, outcome.error)
        if not ranking.ranked:
            raise InvalidError(f"no set can be played: {ranking.first_error}")
        (number, trained), *_ = ranking.best()
        chosen = self._sets[number]
        terms = chosen.terms if self._equity is None else replace(chosen.terms, capital=self._equity)
        testing = part(self._history, window.test, window.end)
        strategy = info.build(chosen.params)
        assert isinstance(strategy, SignalStrategy)
        result = backtest(testing, info.name, strategy, terms, WallClock())
        self._equity = Decimal(repr(float(result.equity[-1])))
        if not self._equity > 0:
            raise InvalidError("nothing is left to go on with", "smaller sizes, or another strategy")
        self._played.append(result)
        return {
            "train_from": rfc3339(int(training.candles.time[window.train])),
            "test_from": rfc3339(int(result.time[0])),
            "test_to": rfc3339(int(result.time[-1])),
            "set": told(self._search.axes, self._points[number]),
            "params": info.plain(chosen.params),
            "terms": told_terms(chosen.terms),
            "train": {self._by: trained[self._by], "return_pct": trained["return_pct"], "trades": trained["trades"]},
            **{key: value for key, value in result.row().items() if key not in ("name", "seconds", "candles_per_s")},
            "pnl": money_text(self._equity - terms.capital),
        }

    def total(self) -> dict[str, Any]:
        """Return the row of all windows together: one curve, all their trades."""
        played, candles = self._played, self._history.candles
        time = np.concatenate([result.time for result in played])
        equity = np.concatenate([result.equity for result in played])
        exposure = np.concatenate([result.exposure for result in played])
        rows = np.searchsorted(candles.time, time)
        close, first_open = candles.close[rows], float(candles.open[rows[0]])
        trades = list(_trades(played))
        closed = [trade for trade in trades if trade.exit_reason != "end_of_data"]
        account = _account(played, trades, closed)
        return {
            "train_from": None,
            "test_from": rfc3339(int(time[0])),
            "test_to": rfc3339(int(time[-1])),
            "set": {},
            "params": {},
            "terms": {},
            "train": {},
            **statistics(Curve(time, equity, exposure), closed, account, candles.interval),
            "candles": len(time),
            "first": rfc3339(int(time[0])),
            "last": rfc3339(int(time[-1])),
            "buy_and_hold_pct": buy_and_hold_pct(first_open, float(close[-1])),
            **alpha_beta(equity, close, candles.interval),
            "pnl": money_text(Decimal(repr(float(equity[-1]))) - account.capital),
        }


def _trades(played: Sequence[Result]) -> Iterator[Trade]:
    for result in played:
        yield from result.trades()


def _account(played: Sequence[Result], trades: Sequence[Trade], closed: Sequence[Trade]) -> Account:
    """Return the books: what a window's end valued as open is unrealised, less the fees of its entry."""
    capital, equity = played[0].terms.capital, Decimal(repr(float(played[-1].equity[-1])))
    still_open = [trade for trade in trades if trade.exit_reason == "end_of_data"]
    realized = sum((trade.pnl for trade in closed), Decimal(0)) - sum((trade.fees for trade in still_open), Decimal(0))
    bought = sum((trade.quantity * trade.entry_price for trade in trades), Decimal(0))
    return Account(
        capital=capital,
        realized_pnl=realized,
        unrealized_pnl=equity - capital - realized,
        equity=equity,
        fees=sum((trade.fees for trade in trades), Decimal(0)),
        traded=bought + sum((trade.quantity * trade.exit_price for trade in closed), Decimal(0)),
        skipped_min_notional=sum(int(result.statistics["skipped_min_notional"]) for result in played),
    )
