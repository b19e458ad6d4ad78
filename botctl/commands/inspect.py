"""Verbs that look at bots: the list, one bot, and the statistics of their trades."""

from __future__ import annotations

import sys
import time
from typing import Any

import click

from botctl.arguments import bot_argument, bots_argument, selector_of
from botctl.cells import Column, age, count, exact, gain, money, percent, ratio
from botctl.completion import complete_bot
from botctl.details import details, section, settings
from botctl.exit_codes import NOT_RUNNING, OK
from botctl.output import (
    Row,
    banner_of,
    chosen_format,
    is_table,
    output_options,
    show_object,
    show_rows,
    silent,
    table,
    write,
)
from botctl.session import Session, clean
from botctl.times import parse_rfc3339_ms

LS_COLUMNS = [
    Column("name"),
    Column("strategy", drop=4),
    Column("symbol", drop=6),
    Column("interval", "EVERY", drop=1),
    Column("mode", wide=True),
    Column("state", paint="state"),
    Column("desired", wide=True),
    Column("since", wide=True),
    Column("age", form=age, drop=2),
    Column("capital", form=money, wide=True),
    Column("equity", form=money),
    Column("realized_pnl", "REALIZED", gain, paint="sign"),
    Column("unrealized_pnl", "OPEN PNL", gain, paint="sign"),
    Column("trades", form=count, drop=3),
    Column("position.quantity", "HOLDS", exact, drop=5),
    Column("position.entry_price", "ENTRY", exact, wide=True),
    Column("position.stop", "STOP", exact, wide=True),
    Column("position.target", "TARGET", exact, wide=True),
    Column("position.guard_detail", "GUARD", wide=True, prose=12),
    Column("last_candle", wide=True),
    Column("params", form=settings, wide=True, prose=12),
    Column("labels", wide=True, prose=12),
    Column("note", prose=12, drop=8, one_line=True),
]

STATS_COLUMNS = [
    Column("name"),
    Column("trades", form=count, drop=8),
    Column("win_rate", "WIN", percent, drop=7),
    Column("profit_factor", "FACTOR", ratio, drop=4),
    Column("expectancy", form=gain, paint="sign", drop=2),
    Column("realized_pnl", "REALIZED", gain, paint="sign"),
    Column("unrealized_pnl", "OPEN PNL", gain, paint="sign", drop=6),
    Column("fees", form=money, drop=1),
    Column("equity", form=money, drop=5),
    Column("return_pct", "RETURN", percent, paint="sign"),
    Column("max_drawdown_pct", "DRAWDOWN", percent),
    Column("sharpe", form=ratio, drop=3),
    Column("wins", form=count, wide=True),
    Column("losses", form=count, wide=True),
    Column("gross_profit", form=money, wide=True),
    Column("gross_loss", form=money, wide=True),
    Column("avg_win", form=money, wide=True),
    Column("avg_loss", form=money, wide=True),
    Column("best_trade", "BEST", gain, wide=True),
    Column("worst_trade", "WORST", gain, wide=True),
    Column("max_consecutive_losses", "LOSING RUN", count, wide=True),
    Column("avg_holding_s", "AVG HELD", age, wide=True),
    Column("max_drawdown_duration_s", "UNDER WATER", age, wide=True),
    Column("sortino", form=ratio, wide=True),
    Column("calmar", form=ratio, wide=True),
    Column("sqn", form=ratio, wide=True),
    Column("exposure_pct", "EXPOSURE", percent, wide=True),
    Column("turnover", form=ratio, wide=True),
    Column("skipped_min_notional", "TOO SMALL", count, wide=True),
]

MOST_NOTES = 5
"""Notes told in full below ``ls`` where the terminal is too narrow for them."""


@click.command("ls")
@bots_argument
@click.option("--removed", is_flag=True, help="Also those that were removed.")
@output_options
def ls_command(session: Session, names: tuple[str, ...], everything: bool, labels: Any, removed: bool) -> int:
    """List bots: state, equity, profit and loss, position.

    \b
    Example:
      botctl ls
      botctl ls -l team=a -o json
    """
    wire = selector_of(names, everything, labels, required=False) or {"all": True}
    if removed:
        wire["removed"] = True
    rows = session.rows("ls", wire)
    if is_table(session):
        _add_ages(session, rows)
    columns = ls_columns(session, rows)
    if rows and chosen_format(session) == "table" and sys.stdout.isatty():
        shown = table(session, rows, columns, banner=banner_of(rows))
        write(shown + (notes_in_full(rows, shown) if session.headers and not session.quiet else ""))
    else:
        show_rows(session, rows, columns, empty="no bots; make one with botctl create, or see botctl demo")
    return OK


def notes_in_full(rows: list[Row], shown: str) -> str:
    """Return the notes that a table had to cut, each once, under the names of its bots."""
    from botctl.fitting import shorten, terminal_width, wrapped

    named: dict[str, list[str]] = {}
    for row in rows:
        if (note := clean(str(row.get("note") or ""))) not in shown:
            named.setdefault(note, []).append(str(row["name"]))
    width = terminal_width()
    text = ""
    for note, names in list(named.items())[:MOST_NOTES]:
        who = shorten(", ".join(names), width // 2)
        text += "\n  ".join(wrapped(f"{who}: {note}", width - 2)) + "\n"
    more = len(named) - MOST_NOTES
    return "\n" + text + (f"{more} more notes: botctl ls -o wide\n" if more > 0 else "") if named else ""


def ls_columns(session: Session, rows: list[Row]) -> list[Column]:
    """Return the columns of ``ls``; a table shows the mode where the rows do not all have the same."""
    if not is_table(session):
        return [column for column in LS_COLUMNS if column.key != "age"]
    if len({row.get("mode") for row in rows}) < 2:
        return LS_COLUMNS
    return [Column("mode", drop=7) if column.key == "mode" else column for column in LS_COLUMNS]


def _add_ages(session: Session, rows: list[Row]) -> None:
    """Give each row the age of its state, counted on the trading clock."""
    simulated = any(row.get("source") in ("synthetic", "replay") for row in rows)
    now = session.trading_now_ms() if simulated else int(time.time() * 1000)
    for row in rows:
        since = parse_rfc3339_ms(str(row.get("since") or ""))
        row["age"] = None if since is None else (now - since) / 1000


@click.command("show")
@bot_argument
@click.option("--check", is_flag=True, help="Exit 3 unless the bot is running.")
@output_options
def show_command(session: Session, name: str, check: bool) -> int:
    """Show everything about one bot.

    \b
    Example:
      botctl show alpha
      botctl show alpha --check -q && echo it runs
    """
    bot = session.call("show", {"name": name})
    if not silent(session):
        show_object(session, bot, lambda value: bot_text(session, value), ls_columns(session, [bot]))
    return NOT_RUNNING if check and bot.get("state") != "running" else OK


def bot_text(session: Session, bot: Row) -> str:
    """Return the text of one bot: what it is, what it does, what it holds."""
    rest = dict(bot)
    position = rest.pop("position", None) or {}
    params = rest.pop("params", None) or {}
    lines = [banner_of([bot])] if banner_of([bot]) else []
    lines += details(rest)
    lines += section("parameters", params)
    lines += section("position", position) if position.get("quantity") not in (None, "0", "") else ["position  none"]
    return "\n".join(clean(line) for line in lines) + "\n"


@click.command("stats")
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=complete_bot)
@output_options
def stats_command(session: Session, names: tuple[str, ...]) -> int:
    """Show the statistics of closed trades, a row a bot.

    \b
    Example:
      botctl stats
      botctl stats alpha -o wide
    """
    wire = {"names": list(names)} if names else {}
    show_rows(session, session.rows("stats", wire), STATS_COLUMNS, empty="no bots", banner=session.world())
    return OK
