"""Verbs that play many sets of parameters: sweep and walk-forward. No daemon needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from botctl.cells import Column, dated, dated_to_the_minute, gain, percent, ratio, text
from botctl.commands import backtest
from botctl.commands.lab_options import (
    asked_of,
    candle_options,
    range_options,
    ranges_of,
    strategy_argument,
    term_options,
)
from botctl.exit_codes import INTERRUPTED, OK, USAGE, Fault
from botctl.offline_calls import offline
from botctl.output import is_table, output_options, show_rows
from botctl.progress import Progress
from botctl.session import Session
from botctl.times import parse_duration_s

FIGURES = [
    Column("trades", right=True),
    Column("win_rate", "WIN", percent, drop=3),
    Column("return_pct", "RETURN", percent, paint="sign"),
    Column("max_drawdown_pct", "DRAWDOWN", percent, drop=5),
    Column("sharpe", form=ratio),
    Column("profit_factor", "PROFIT FACTOR", ratio, drop=2),
    Column("realized_pnl", "REALIZED", gain, drop=1),
]
DAY_MS = 86_400_000
_FORMS = {column.key: column.form for column in backtest.FIGURES}
"""How the figure that is ranked by looks: as in a backtest."""
_SHOWN = {column.key for column in FIGURES}


def _pairs(value: Any) -> str:
    return " ".join(f"{key}={text(item)}" for key, item in value.items()) or "-"


@click.command("sweep")
@strategy_argument
@candle_options(many=False)
@term_options
@range_options
@click.option("--tpe", type=click.IntRange(1), metavar="N", help="N sets that Optuna's TPE chooses.")
@click.option("--top", type=click.IntRange(1), default=20, show_default=True, metavar="N", help="Show the best N.")
@click.option(
    "--processes", type=click.IntRange(1), metavar="N", help="Play in N processes [default: threads of this one]."
)
@click.option("--dask", metavar="ADDRESS", help="Play on this Dask cluster: tcp://host:8786.")
@click.option("--fresh", is_flag=True, help="Play everything again, whatever an earlier run left.")
@output_options
def sweep_command(session: Session, config: Path | None, **options: Any) -> int:
    """Try many sets of parameters and rank them by any statistic.

    What is done is kept: after Ctrl-C (which shows what there is, exit 130) the same command goes on with the rest.

    \b
    Example:
      botctl sweep ema_cross --symbol BTC/USDT --interval 1h --range fast=5:20:5 --range slow=20:60:10
      botctl sweep rsi --symbol BTC/USDT --interval 5m --range period --range oversold=20:40 --random 200 --by sqn
      botctl sweep rsi --symbol BTC/USDT --interval 1m --range period=5:50 --stop-loss 2% --dask tcp://10.0.0.5:8786
    """
    if options["dask"] and options["processes"]:
        raise Fault(USAGE, "--dask and --processes exclude each other")
    asked = {**asked_of(session, options), "ranges": ranges_of(options["ranges"])}
    asked |= {key: options[key] for key in ("random", "tpe", "seed", "by", "top", "processes", "dask", "fresh")}
    with Progress(session, "sets") as progress:
        found = offline("lab_sweep", config, asked, progress)
    for note in found["notes"]:
        session.say(note)
    by = found["by"]
    ranked = [] if by in _SHOWN else [Column(by, form=_FORMS.get(by), right=True)]
    columns = [Column("rank", "#", right=True), Column("set", form=_pairs, prose=24), *ranked, *FIGURES]
    show_rows(session, found["rows"], columns, name="rank", empty="no set could be played")
    if found["failed"]:
        session.say(f"{_sets(found['failed'])} could not be played; the first: {found['first_error']}")
    if found["interrupted"]:
        session.say(
            f"stopped after {found['done']:,} of {found['sets']:,} sets; the same command goes on with the rest"
        )
        return INTERRUPTED
    if is_table(session) and found["rows"]:
        kept = f", {found['known']:,} of them known from before" if found["known"] else ""
        ranked_sets = found["done"] - found["failed"]
        best = f"; the best {len(found['rows'])} of them (--top)" if len(found["rows"]) < ranked_sets else ""
        session.say(f"{_sets(ranked_sets)}{kept}, ranked by {by}{best}")
    return OK if found["rows"] else USAGE


@click.command("walk-forward")
@strategy_argument
@candle_options(many=False)
@term_options
@range_options
@click.option("--train", required=True, metavar="TIME", help="Choose the best set in this span: 90d.")
@click.option("--test", required=True, metavar="TIME", help="Trade it in the span after: 30d.")
@click.option("--anchored", is_flag=True, help="Training begins at the first candle always.")
@output_options
def walk_forward_command(
    session: Session, config: Path | None, train: str, test: str, anchored: bool, **options: Any
) -> int:
    """Choose the best set again and again, and trade each on what came after.

    A row a window; the last is the total of all test spans, stitched: out of sample. PNL is what the equity gained: a
    position open at a window's end counts at its last close, and the windows' PNL add up to the total's.

    \b
    Example:
      botctl walk-forward rsi --symbol BTC/USDT --interval 5m --range period=7:28:7 --train 90d --test 30d
      botctl walk-forward ema_cross --symbol BTC/USDT --interval 1h --range fast=5:20:5 --train 60d --test 9d --anchored
    """
    spans = {"train_ms": _length(train, "--train"), "test_ms": _length(test, "--test")}
    asked = {**asked_of(session, options), "ranges": ranges_of(options["ranges"]), **spans, "anchored": anchored}
    asked |= {key: options[key] for key in ("random", "seed", "by")}
    with Progress(session, "windows") as progress:
        found = offline("lab_walk_forward", config, asked, progress)
    for note in found["notes"]:
        session.say(note)
    by = found["by"]
    when = dated if spans["test_ms"] % DAY_MS == 0 else dated_to_the_minute
    columns = [
        Column("window"),
        Column("test_from", "FROM", when),
        Column("test_to", "TO", when, drop=4),
        Column("set", form=_pairs, prose=24),
        Column(f"train.{by}", f"TRAIN {by.replace('_', ' ').upper()}", _FORMS.get(by), right=True),
        *FIGURES[:-1],
        Column("realized_pnl", "REALIZED", gain, wide=True),
        Column("buy_and_hold_pct", "HOLD", percent, drop=6),
        Column("pnl", form=gain, drop=7),
    ]
    show_rows(session, found["rows"], columns, name="window")
    if found["interrupted"]:
        session.say(f"stopped after {max(0, len(found['rows']) - 1)} of {found['windows']} windows")
        return INTERRUPTED
    return OK


def _sets(count: int) -> str:
    return f"{count:,} set{'s' * (count != 1)}"


def _length(given: str, option: str) -> int:
    seconds = parse_duration_s(given)
    if not seconds or given.isdigit():
        raise Fault(USAGE, f"{option} {given}: not a time span", "write 90d, 12h, 2w")
    return round(seconds * 1000)
