"""The commands ``backtest``, ``check`` and ``report``, composed: configuration, candles, strategies, kernel, figures.

Returns plain rows with the keys that ``botctl`` prints, and writes only the files it was asked for. Strategies are
examined first: one that looks ahead, or warms up too short, is refused before a figure of it is seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from botd.backtest.run import Result, backtest
from botd.domain.candles import Candles
from botd.domain.clock import WallClock
from botd.domain.errors import DeniedError, InvalidError
from botd.lab.given import Asked, Job, Place, check_lane, jobs, params_of, told_terms
from botd.market.simulated.samples import sample_candles
from botd.report.benchmark import alpha_beta, months
from botd.strategy.base import SignalStrategy, Strategy
from botd.strategy.examination import asked as asked_signals
from botd.strategy.examination import examine
from botd.strategy.inputs import sampled
from botd.strategy.registry import StrategyInfo
from botd.strategy.warmup import warmup_of

Row = dict[str, Any]


def run_backtests(place: Place, asked: Asked) -> dict[str, Any]:
    """Return ``rows``, one a strategy and symbol, and ``notes``, lines for people; draws ``asked["plot"]`` too."""
    plot = asked.get("plot")
    if plot is not None:
        from botd.lab.plot import check_plot

        check_plot(Path(plot))
    played = list(_played(place, asked))
    rows = [row_of(job, result, trades=bool(asked.get("trades"))) for job, result in played]
    if plot is not None:
        from botd.lab.plot import draw

        draw(Path(plot), [(title_of(job), result) for job, result in played])
    notes = notes_of(played) + ([_account_note([result for _, result in played])] if asked.get("together") else [])
    return {"rows": rows, "notes": notes, "plot": None if plot is None else str(plot)}


def write_report(place: Place, asked: Asked, target: Path) -> dict[str, Any]:
    """Play what ``backtest`` would and write it as one HTML file; returns where, and the rows."""
    from botd.lab.report import page_of

    played = list(_played(place, asked))
    rows = [row_of(job, result) for job, result in played]
    page = page_of([(job, result, row) for (job, result), row in zip(played, rows, strict=True)])
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(page, encoding="utf-8")
    return {"path": str(target), "rows": rows, "notes": notes_of(played)}


def check_strategy(place: Place, asked: Asked) -> Row:
    """Return what was examined; DeniedError where the strategy looks ahead or warms up too short.

    On the candles asked for, InvalidError where they can prove nothing; where no symbol is given, on seeded synthetic
    ones. ``trust`` notes the file's digest.
    """
    (name,) = asked["strategies"]
    info = place.registry.load(name)
    row: Row = {"name": name, "kind": info.kind, "result": "ok", "path": str(info.path), "digest": info.digest}
    if info.kind == "signal":
        (params,) = params_of([info], asked.get("params") or {})
        strategy = info.build(params)
        assert isinstance(strategy, SignalStrategy)
        warmup = warmup_of(name, strategy)
        if asked.get("symbols"):
            (history,) = [job.history for job in jobs(place, asked)]
            rows, told = history.seen_by(name, strategy), f"{history.symbol} {history.candles.interval}"
            _refuse_no_proof(name, strategy, rows, told, warmup)
        else:
            check_lane([], asked["interval"])
            rows = sampled(name, strategy, asked["interval"], sample_candles)
            told = f"synthetic {asked['interval']}"
        compared = examine(name, strategy, rows)
        row |= {"warmup": warmup, "candles": len(rows), "of": told, "compared": compared}
    else:
        row |= {"warmup": None, "candles": 0, "of": "", "compared": 0}
    if asked.get("trust"):
        from botd.strategy.trust import trust

        trust(place.state_dir, name, info.digest)
        row["result"] = "trusted"
    return row


def _refuse_no_proof(name: str, strategy: SignalStrategy, rows: Candles, told: str, warmup: int) -> None:
    """Refuse candles on which window and history agree whatever the strategy does."""
    if len(rows) <= warmup:
        fact = f"{told}: {len(rows)} candles prove nothing of {name}, which warms up on {warmup}"
        raise InvalidError(fact, f"give more, or none: botctl check {name} (synthetic ones)")
    said = asked_signals(name, strategy, rows)
    if not (said.enter.any() or said.exit.any()):
        fact = f"{told}: {name} gives no signal on these {len(rows):,} candles, which proves nothing of it"
        raise InvalidError(fact, f"give others, or none: botctl check {name} (synthetic ones)")


def _played(place: Place, asked: Asked) -> Iterator[tuple[Job, Result]]:
    if asked.get("together"):
        wanted = list(jobs(place, asked))
        yield from zip(wanted, play_together(place, wanted), strict=True)
    else:
        for job in jobs(place, asked):
            yield job, play(place, job, exact=bool(asked.get("exact")))


def play(place: Place, job: Job, *, exact: bool = False) -> Result:
    """Examine the strategy on the candles and play it: signals by the kernel, orders of its own (and ``exact``) by the
    production bot."""
    strategy = _examined(job)
    if isinstance(strategy, SignalStrategy) and not exact:
        return backtest(job.history, job.info.name, strategy, job.terms, WallClock())
    from botd.backtest.engine import run, spec_of

    spec = spec_of(job.info.name, job.history, job.terms, job.info.plain(job.params))
    (result,) = run([job.history], [spec], place.registry, WallClock(), terms=job.terms)
    return result


def play_together(place: Place, wanted: Sequence[Job]) -> list[Result]:
    """Examine the strategies and play them all by production bots of one account, whose balance is the sum of their
    capitals, under the limits of the configuration."""
    quotes = sorted({job.history.instrument.quote for job in wanted})
    if len(quotes) > 1:
        raise InvalidError(f"--together: one account counts in one currency, not {' and '.join(quotes)}")
    for job in wanted:
        _examined(job)
    from botd.backtest.engine import run, spec_of

    specs = []
    for job in wanted:
        name = f"{job.info.name} on {job.history.symbol}"
        specs.append(spec_of(job.info.name, job.history, job.terms, job.info.plain(job.params), name))
    histories = list({job.history.symbol: job.history for job in wanted}.values())
    return run(histories, specs, place.registry, WallClock(), terms=wanted[0].terms, risk=place.risk)


def _account_note(results: Sequence[Result]) -> str:
    """Return what became of the account: its equity is that of all bots, each at its last close before."""
    times = np.unique(np.concatenate([result.time for result in results]))
    equity = np.zeros(len(times))
    for result in results:
        at = np.searchsorted(result.time, times, side="right")
        equity += np.concatenate(([float(result.terms.capital)], result.equity))[at]
    capital = sum(float(result.terms.capital) for result in results)
    depth = 100 * float(np.max(1 - equity / np.maximum.accumulate(np.concatenate(([capital], equity)))[1:]))
    gain = 100 * (equity[-1] / capital - 1)
    return f"the account: {capital:,.2f} became {equity[-1]:,.2f} ({gain:+.2f}%), max drawdown {depth:.2f}%"


def _examined(job: Job) -> Strategy:
    strategy = job.info.build(job.params)
    if isinstance(strategy, SignalStrategy):
        examine(job.info.name, strategy, job.history.seen_by(job.info.name, strategy))
    return strategy


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
        "notes": _told(result),
    }
    if trades:
        row["trade_list"] = result.trade_list()
    return row


def notes_of(played: list[tuple[Job, Result]]) -> list[str]:
    """Return what there is to say of the candles, the warm-ups and the sizes, each once, with its symbol."""
    lines = [_with_symbol(result.history.symbol, note) for _, result in played for note in _told(result)]
    return list(dict.fromkeys(lines))


def _with_symbol(symbol: str, note: str) -> str:
    """Return a note that names its symbol; one of candles that are read besides begins with theirs."""
    return note if note.startswith(f"{symbol} ") else f"{symbol}: {note}"


def _told(result: Result) -> list[str]:
    """Return the notes of a result, and why it did not trade where every entry was too small."""
    skipped, grid = result.statistics["skipped_min_notional"], result.history.instrument
    if result.count or not skipped:
        return list(result.notes)
    least = f"a step of {grid.step:f} {grid.base} and {grid.min_notional:f} {grid.quote} are the least"
    remedy = f"more --capital, or instruments: {{{grid.symbol}: {{step: ...}}}} in the configuration"
    return [*result.notes, f"each of {skipped:,} entries was too small to trade, {least}: {remedy}"]


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
