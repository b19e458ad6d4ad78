"""Verbs that sell: close for bots, flatten for everything. They answer when flat, or 75 with what remains."""

from __future__ import annotations

import time
from typing import Any

import click

from botctl.arguments import confirm, yes_option
from botctl.cells import Column, exact, text
from botctl.completion import complete_bot, complete_symbol
from botctl.exit_codes import OK, TIMEOUT, USAGE, Fault, fault_of
from botctl.output import Row, is_table, output_options, show_rows, write
from botctl.session import SLOW_TIMEOUT_S, Session, clean, report_error

COLUMNS = [Column(key) for key in ("name", "symbol", "sold", "price", "remaining", "detail")]


@click.command("close")
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=complete_bot)
@click.option("--all", "everything", is_flag=True, help="Every bot that holds something; asks first.")
@click.option("--keep-running", is_flag=True, help="Let the bot go on; else it is paused.")
@yes_option
@output_options
def close_command(session: Session, names: tuple[str, ...], everything: bool, keep_running: bool, yes: bool) -> int:
    """Sell what a bot holds, and pause it.

    \b
    Example:
      botctl close alpha
      botctl close --all --yes
    """
    if bool(names) == everything:
        raise Fault(USAGE, "which bots?" if not names else "names and --all exclude each other", "give names, or --all")
    if everything:
        confirm(session, "sell what all bots hold", yes)
        names = tuple(str(row["bot"]) for row in session.rows("positions"))
    return _close(session, tuple(dict.fromkeys(names)), keep_running)


def _close(session: Session, names: tuple[str, ...], keep_running: bool) -> int:
    """Close one bot after the other within one timeout; all are tried."""
    until = time.monotonic() + (session.timeout_s or SLOW_TIMEOUT_S)
    rows: list[Row] = []
    worst, done = OK, True
    for name in names:
        left = max(0.5, until - time.monotonic())
        try:
            result = session.client.call("close", {"name": name, "keep_running": keep_running}, left)
        except Fault as refused:
            fault = session.explained(refused)
            report_error(fault.message if name in fault.message else f"{name}: {fault.message}", fault.hint)
            worst = max(worst, fault.exit_code)
            continue
        rows += result["rows"]
        done = done and bool(result.get("done", True))
    return max(worst, _show(session, rows, done, "nothing was held" if worst == OK else ""))


@click.command("flatten")
@click.option("--symbol", shell_complete=complete_symbol, help="Of this symbol only.")
@yes_option
@output_options
def flatten_command(session: Session, symbol: str | None, yes: bool) -> int:
    """Halt, then sell everything; asks first.

    Entries stay halted until botctl release, with --symbol where it was given here.

    \b
    Example:
      botctl flatten --yes
      botctl flatten --symbol BTC/USDT
    """
    confirm(session, f"halt {symbol or 'the account'} and sell everything held", yes)
    result = session.call("flatten", {"symbol": symbol} if symbol else {}, SLOW_TIMEOUT_S)
    code = _show(session, result["rows"], bool(result.get("done", True)), "nothing was held")
    release = f"botctl release --symbol {symbol}" if symbol else "botctl release"
    session.say(f"{symbol or 'the account'} is halted: no entries until {release}")
    return code


def _show(session: Session, rows: list[Row], done: bool, none: str) -> int:
    if not is_table(session):
        show_rows(session, rows, COLUMNS)
    elif not session.quiet:
        write("".join(_line(row) + "\n" for row in rows if not row.get("error")))
    worst = OK
    for row in rows:
        if row.get("error"):
            fault = fault_of(row["error"])
            report_error(f"{row.get('name', '')}: {fault.message}", fault.hint)
            worst = max(worst, fault.exit_code)
    if not rows and none:
        session.say(none)
    if not done:
        remains = ", ".join(
            f"{row.get('name')} {text(row.get('remaining'))}" for row in rows if _positive(row.get("remaining"))
        )
        report_error(
            f"not flat yet: {remains or 'see botctl positions'}",
            "the sale goes on; botctl wait NAME --for position=flat",
        )
        return max(worst, TIMEOUT)
    return worst


def _line(row: Row) -> str:
    words = [str(row.get("name", "")), f"sold {exact(row.get('sold') or '0')}"]
    if row.get("price"):
        words.append(f"at {exact(row['price'])}")
    if _positive(row.get("remaining")):
        words.append(f"remaining {exact(row['remaining'])}")
    words.append(str(row.get("detail") or ""))
    return clean("  ".join(filter(None, words)))


def _positive(value: Any) -> bool:
    try:
        return float(value or 0) > 0
    except ValueError:
        return True
