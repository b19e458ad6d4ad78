"""Verbs that play a strategy over candles: check, backtest, report. No daemon needed."""

from __future__ import annotations

from itertools import zip_longest
from pathlib import Path
from typing import Any

import click

from botctl.arguments import once
from botctl.cells import Column, exact, gain, moment, money, percent, ratio, render, text
from botctl.commands.lab_options import (
    asked_of,
    candle_options,
    config_option,
    exact_option,
    set_option,
    strategies_argument,
    strategy_argument,
    term_options,
    together_option,
)
from botctl.exit_codes import OK, USAGE, Fault
from botctl.offline_calls import offline
from botctl.output import Row, is_table, output_options, show_object, show_rows, silent, table
from botctl.session import Session, clean
from botctl.times import format_age

RESULTS = [
    Column("strategy"),
    Column("symbol"),
    Column("interval", drop=2),
    Column("candles", right=True, drop=3),
    Column("trades", right=True),
    Column("win_rate", "WIN", percent, drop=6),
    Column("return_pct", "RETURN", percent, paint="sign"),
    Column("buy_and_hold_pct", "HOLD", percent, drop=5),
    Column("max_drawdown_pct", "DRAWDOWN", percent),
    Column("sharpe", form=ratio),
    Column("sortino", form=ratio, drop=7),
    Column("profit_factor", "PROFIT FACTOR", ratio, drop=4),
    Column("realized_pnl", "REALIZED", gain, drop=1),
    *(Column(key, wide=True, right=True) for key in ("fees", "calmar", "sqn", "exposure_pct")),
    Column("alpha_pct", "ALPHA A YEAR", percent, wide=True),
    Column("beta", wide=True, right=True),
]
TRADES = [
    Column("symbol", drop=3),
    Column("entry_time", form=moment),
    Column("exit_time", form=moment),
    Column("quantity", form=exact, drop=1),
    Column("entry_price", form=exact),
    Column("exit_price", form=exact),
    Column("pnl", form=gain, paint="sign"),
    Column("return_pct", "RETURN", percent, drop=2),
    Column("bars", right=True, drop=4),
    Column("exit_reason", "REASON"),
]


@click.command("backtest")
@strategies_argument
@candle_options(many=True)
@term_options
@click.option("--trades", is_flag=True, help="List the trades too.")
@exact_option
@together_option
@click.option(
    "--plot", type=click.Path(path_type=Path), metavar="FILE", help="Draw equity and drawdown: a .png, .svg or .pdf."
)
@output_options
def backtest_command(
    session: Session, config: Path | None, trades: bool, plot: Path | None, exact: bool, together: bool, **options: Any
) -> int:
    """Play strategies over stored candles, by the rules that bots trade by.

    A strategy that looks ahead, or warms up too short, is refused (5). Several strategies or symbols give a row each;
    each has an account of its own, unless they are played --together.

    \b
    Example:
      botctl backtest rsi --symbol BTC/USDT --interval 1m --stop-loss 2% --take-profit 4%
      botctl backtest rsi macd --symbol BTC/USDT --symbol ETH/USDT --interval 1h -o json
      botctl backtest ema_cross --symbol BTC/USDT --interval 5m --data btc.csv.gz --set fast=9 --trades
    """
    asked = {**asked_of(session, options), "trades": trades, "plot": plot, "exact": exact, "together": together}
    played = offline("lab_backtest", config, asked)
    _tell(session, played["notes"])
    rows = played["rows"]
    if len(rows) == 1:
        show_object(session, rows[0], lambda row: _text(session, row), RESULTS, name="strategy")
    else:
        show_rows(session, rows, RESULTS, name="strategy")
        if trades and is_table(session):
            for row in rows:
                click.echo(f"\n{clean(row['strategy'])} {clean(row['symbol'])}")
                show_rows(session, row["trade_list"], TRADES)
    if plot is not None:
        session.say(f"drawn: {plot}")
    return OK


@click.command("report")
@strategies_argument
@candle_options(many=True)
@term_options
@exact_option
@together_option
@click.option(
    "--out", type=click.Path(path_type=Path), default="report.html", show_default=True, metavar="FILE", help="The file."
)
@output_options
def report_command(
    session: Session, config: Path | None, out: Path, exact: bool, together: bool, **options: Any
) -> int:
    """Play strategies as backtest does and write one HTML file that opens offline.

    Equity beside buy and hold, drawdown, a heat map of the months, trades and their distribution, all statistics.

    \b
    Example:
      botctl report rsi --symbol BTC/USDT --interval 1m --stop-loss 2% --out rsi.html
    """
    if out.is_dir():
        raise Fault(USAGE, f"{out}: is a directory", "--out names a file")
    written = offline("lab_report", config, {**asked_of(session, options), "exact": exact, "together": together}, out)
    _tell(session, written["notes"])
    if not silent(session):
        show_object(session, written, lambda value: f"written: {clean(value['path'])}\n", name="path")
    return OK


@click.command("check")
@strategy_argument
@click.option(
    "--symbol",
    "symbols",
    multiple=True,
    callback=once,
    metavar="S",
    help="Examine it on these candles [default: synthetic ones].",
)
@click.option("--interval", default="1m", show_default=True, help="1m, 5m, 1h ...")
@click.option("--data", "files", type=click.Path(path_type=Path), metavar="FILE", help="Candles from this CSV.")
@click.option("--from", "since", metavar="TIME", help="From this time, or how long ago: 30d.")
@click.option("--to", "until", metavar="TIME", help="Until this time.")
@set_option
@click.option("--trust", is_flag=True, help="Vouch for the file as it is now, so that a live bot may take it.")
@config_option
@output_options
def check_command(session: Session, config: Path | None, trust: bool, **options: Any) -> int:
    """Examine a strategy: whether it looks ahead, and whether its warm-up suffices.

    The first candle that differs is named, and the exit code is 5.

    \b
    Example:
      botctl check mine
      botctl check mine --symbol BTC/USDT --interval 5m --set period=21
    """
    if options["files"] and not options["symbols"]:
        raise Fault(USAGE, "--data needs --symbol", "--symbol BTC/USDT says whose candles these are")
    examined = offline("lab_check", config, {**asked_of(session, options), "trust": trust})
    if not silent(session):
        show_object(session, examined, _check_text)
    return OK


def _check_text(row: Row) -> str:
    trusted = f"; trusted: {row['path']}" if row["result"] == "trusted" else ""
    if row["kind"] != "signal":
        return clean(f"{row['name']}  ok: it loads (an event strategy sees the past only){trusted}") + "\n"
    told = f"window and history agree at {row['compared']} of {row['candles']:,} candles ({row['of']})"
    return clean(f"{row['name']}  ok: {told}; warm-up {row['warmup']:,} candles{trusted}") + "\n"


def _tell(session: Session, notes: list[str]) -> None:
    for note in notes:
        session.say(note)


def _text(session: Session, row: Row) -> str:
    """Return one backtest for people: its figures, its months, its trades."""
    params = " ".join(f"{key}={text(value)}" for key, value in row["params"].items())
    speed = f", {row['candles_per_s']:,.0f} a second" if row.get("candles_per_s") else ""
    lines = [
        f"{row['strategy']} {params}".rstrip(),
        f"{row['symbol']} {row['interval']}, {row['first']} to {row['last']}: {row['candles']:,} candles{speed}",
        "",
    ]
    half = -(-len(FIGURES) // 2)
    for left, right in zip_longest(FIGURES[:half], FIGURES[half:]):
        lines.append("    ".join(_figure(column, row) for column in (left, right) if column is not None).rstrip())
    blocks = ["".join(clean(line) + "\n" for line in lines)]
    if row["months"][1:]:
        blocks.append(table(session, row["months"], MONTHS))
    if row.get("trade_list"):
        blocks.append(table(session, row["trade_list"], TRADES))
    return "\n".join(blocks)


def _figure(column: Column, row: Row) -> str:
    return f"{column.title.lower():<24}{render(column, row):>14}"


FIGURES = [
    Column("return_pct", "return", percent),
    Column("buy_and_hold_pct", "buy and hold", percent),
    Column("max_drawdown_pct", "max drawdown", percent),
    Column("max_drawdown_duration_s", "its longest time", format_age),
    Column("sharpe", form=ratio),
    Column("sortino", form=ratio),
    Column("calmar", form=ratio),
    Column("sqn", form=ratio),
    Column("alpha_pct", "alpha a year", percent),
    Column("beta", form=ratio),
    Column("exposure_pct", "exposure", percent),
    Column("turnover", form=ratio),
    Column("equity", form=money),
    Column("realized_pnl", form=gain),
    Column("unrealized_pnl", form=gain),
    Column("fees", form=money),
    Column("trades"),
    Column("win_rate", form=percent),
    Column("profit_factor", form=ratio),
    Column("expectancy", form=gain),
    Column("avg_win", form=money),
    Column("avg_loss", form=money),
    Column("best_trade", form=gain),
    Column("worst_trade", form=gain),
    Column("max_consecutive_losses", "losses in a row"),
    Column("avg_holding_s", "held on average", format_age),
    Column("skipped_min_notional", "too small to trade"),
]
MONTHS = [
    Column("month"),
    Column("return_pct", "RETURN", percent, paint="sign"),
    Column("buy_and_hold_pct", "HOLD", percent),
    Column("max_drawdown_pct", "DRAWDOWN", percent),
]
