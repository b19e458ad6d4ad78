"""The commands ``backtest``, ``check`` and ``report``, composed: configuration, candles, strategies, kernel, figures.

Returns plain rows with the keys that ``botctl`` prints, and writes only the files it was asked for. Strategies are
examined first: one that looks ahead, or warms up too short, is refused before a figure of it is seen.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from botd.backtest.run import Result, backtest
from botd.domain.candle import interval_ms
from botd.domain.candles import Candles
from botd.domain.clock import WallClock
from botd.domain.errors import DeniedError, InvalidError
from botd.lab.given import Asked, Job, Place, check_lane, jobs, params_of, told_terms
from botd.report.benchmark import alpha_beta, months
from botd.strategy.base import SignalStrategy
from botd.strategy.examination import MOST, examine
from botd.strategy.registry import StrategyInfo

Row = dict[str, Any]

_SYNTHETIC_START_MS = 1_704_067_200_000


def run_backtests(place: Place, asked: Asked) -> dict[str, Any]:
    """Return ``rows``, one a strategy and symbol, and ``notes``, lines for people; draws ``asked["plot"]`` too."""
    plot = asked.get("plot")
    if plot is not None:
        from botd.lab.plot import check_plot

        check_plot(Path(plot))
    played = [(job, play(place, job, exact=bool(asked.get("exact")))) for job in jobs(place, asked)]
    rows = [row_of(job, result, trades=bool(asked.get("trades"))) for job, result in played]
    if plot is not None:
        from botd.lab.plot import draw

        draw(Path(plot), [(title_of(job), result) for job, result in played])
    return {"rows": rows, "notes": notes_of(played), "plot": None if plot is None else str(plot)}


def write_report(place: Place, asked: Asked, target: Path) -> dict[str, Any]:
    """Play what ``backtest`` would and write it as one HTML file; returns where, and the rows."""
    from botd.lab.report import page_of

    played = [(job, play(place, job, exact=bool(asked.get("exact")))) for job in jobs(place, asked)]
    rows = [row_of(job, result) for job, result in played]
    page = page_of([(job, result, row) for (job, result), row in zip(played, rows, strict=True)])
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(page, encoding="utf-8")
    return {"path": str(target), "rows": rows, "notes": notes_of(played)}


def check_strategy(place: Place, asked: Asked) -> Row:
    """Return what was examined; DeniedError where the strategy looks ahead or warms up too short.

    On the candles asked for; where no symbol is given, on seeded synthetic ones. ``trust`` notes the file's digest.
    """
    (name,) = asked["strategies"]
    info = place.registry.load(name)
    row: Row = {"name": name, "kind": info.kind, "result": "ok", "path": str(info.path), "digest": info.digest}
    if info.kind == "signal":
        (params,) = params_of([info], asked.get("params") or {})
        strategy = info.build(params)
        assert isinstance(strategy, SignalStrategy)
        if asked.get("symbols"):
            (history,) = [job.history for job in jobs(place, asked)]
            rows, told = history.candles, f"{history.symbol} {history.candles.interval}"
        else:
            rows, told = _synthetic(asked["interval"], strategy.warmup()), f"synthetic {asked['interval']}"
        compared = examine(name, strategy, rows, most=max(MOST, 4 * strategy.warmup()))
        row |= {"warmup": strategy.warmup(), "candles": len(rows), "of": told, "compared": compared}
    else:
        row |= {"warmup": None, "candles": 0, "of": "", "compared": 0}
    if asked.get("trust"):
        from botd.strategy.trust import trust

        trust(place.state_dir, name, info.digest)
        row["result"] = "trusted"
    return row


def play(place: Place, job: Job, *, exact: bool = False) -> Result:
    """Examine the strategy on the candles and play it: signals by the kernel, orders of its own (and ``exact``) by the
    production bot."""
    name = job.info.name
    strategy = job.info.build(job.params)
    if isinstance(strategy, SignalStrategy):
        examine(name, strategy, job.history.candles)
        if not exact:
            return backtest(job.history, name, strategy, job.terms, WallClock())
    from botd.backtest.engine import run, spec_of

    spec = spec_of(name, job.history, job.terms, job.info.plain(job.params))
    (result,) = run([job.history], [spec], place.registry, WallClock(), terms=job.terms)
    return result


def row_of(job: Job, result: Result, *, trades: bool = False) -> Row:
    """Return the row of ``botctl backtest``."""
    row = result.row()
    history = result.history
    close = history.candles.close[history.begin :]
    first_open = float(history.candles.open[history.begin])
    row |= {
        "strategy": job.info.name,
        "params": job.info.plain(job.params),
        "symbol": history.symbol,
        "interval": history.candles.interval,
        "terms": told_terms(job.terms),
        **alpha_beta(result.equity, close, history.candles.interval),
        "months": months(result.time, result.equity, close, float(job.terms.capital), first_open),
        "notes": list(result.notes),
    }
    if trades:
        row["trade_list"] = result.trade_list()
    return row


def notes_of(played: list[tuple[Job, Result]]) -> list[str]:
    """Return what there is to say of the candles and the warm-ups, each once, with its symbol."""
    lines = [f"{result.history.symbol}: {note}" for _, result in played for note in result.notes]
    return list(dict.fromkeys(lines))


def title_of(job: Job) -> str:
    """Return ``rsi period=14 · BTC/USDT 1m``."""
    params = " ".join(f"{key}={value}" for key, value in job.info.plain(job.params).items())
    return f"{job.info.name} {params} · {job.history.symbol} {job.history.candles.interval}"


def only_signals(info: StrategyInfo) -> None:
    """Raise DeniedError for a strategy that the kernel cannot play, hence not sweep."""
    if info.kind != "signal":
        raise DeniedError(
            f"strategy {info.name} places its own orders: sweeps play signal strategies, by the kernel",
            "botctl strategies says which kind each is",
        )


def _synthetic(interval: str, warmup: int) -> Candles:
    """Return seeded candles, more than enough for the warm-up."""
    from botd.market.simulated.synthetic import SyntheticSource

    check_lane([], interval)
    source = SyntheticSource(["BTC/USDT"], interval, _SYNTHETIC_START_MS, seed=1)
    count = max(5_000, 4 * warmup)
    if count > 1_000_000:
        raise InvalidError(f"a warm-up of {warmup} candles is more than can be examined")
    return source.history("BTC/USDT", interval, _SYNTHETIC_START_MS + count * interval_ms(interval), count)
