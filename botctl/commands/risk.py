"""Verbs about risk: what is limited, who may trade, and the switches that never ask."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import click

from botctl.arguments import KeyValue, bots_argument, pair_hint, pairs, plain_value, selector_of, together
from botctl.cells import Column, moment, text
from botctl.completion import complete_bot, complete_limit, complete_symbol
from botctl.exit_codes import OK, USAGE, Fault
from botctl.output import Row, action_line, is_table, output_options, show_actions, show_rows, table, write
from botctl.session import Session

CONTROLS = [
    Column("control"),
    Column("limit"),
    Column("shown", "VALUE", right=True),
    Column("on", wide=True),
    Column("value", "EXACT", right=True, wide=True),
    Column("unit", wide=True),
    Column("default", right=True, wide=True),
    Column("scope", wide=True),
    Column("effect", drop=2),
    Column("code", drop=1),
    Column("state", paint="state"),
    Column("until", form=moment, wide=True),
    Column("help", prose=24, drop=3),
]
HELD = [
    Column("scope"),
    Column("state", paint="state"),
    Column("code", drop=1),
    Column("since", form=moment, drop=4),
    Column("until", form=moment, drop=3),
    Column("by", drop=2),
    Column("reason", prose=16, drop=5),
    Column("remedy", "ENDS WITH", prose=34),
]
CHANGES = [Column(key) for key in ("control", "scope", "before", "after", "result")]


@click.group("risk")
@output_options
def risk_command(session: Session) -> None:
    """Show and change risk controls.

    \b
    Example:
      botctl risk show
      botctl risk set max_exposure=50%
    """


@risk_command.command("show")
@click.argument("name", required=False, metavar="[NAME]", shell_complete=complete_bot)
@output_options
def risk_show(session: Session, name: str | None) -> int:
    """Show every control with its limit, and what is halted; of a bot its own limits.

    \b
    Example:
      botctl risk show
      botctl risk show alpha
      botctl risk show -o json
    """
    told = session.call("risk.show")
    rows, held = told["rows"], told.get("held") or []
    if name is not None:
        session.call("show", {"name": name})  # says so where there is no such bot
        rows = [row for row in rows if row.get("scope") == f"bot:{name}"]
        held = [row for row in held if row.get("scope") == f"bot:{name}"]
    if is_table(session):
        shown = [{**row, "shown": _limit(row), "help": _help(row, before)} for before, row in pairwise([{}, *rows])]
        none = f"{name} has no limits of its own; those of the account hold: botctl risk show"
        show_rows(session, shown, _controls(rows), name="control", empty=none, banner=session.world())
        if held:
            columns = [column for column in HELD if any(row.get(column.key) for row in held)]
            write("\n" + table(session, held, columns))
        else:
            session.say("nothing is halted or reduced")
    else:
        show_rows(session, rows, [column for column in CONTROLS if column.key != "shown"], name="control")
    return OK


def _controls(rows: list[Row]) -> list[Column]:
    """Return the columns; whose limits they are is told where bots have some of their own."""
    if all(row.get("scope") in (None, "account") for row in rows):
        return CONTROLS
    return [Column("scope", drop=3) if column.key == "scope" else column for column in CONTROLS]


def _help(row: Row, before: Row) -> str:
    """Return what a control does, once for all its limits."""
    return "" if all(row.get(key) == before.get(key) for key in ("control", "scope")) else text(row.get("help"))


def _limit(row: Row) -> str:
    """Return a limit with its unit: ``3%``, ``10 s``, ``20``."""
    value, unit = row.get("value"), str(row.get("unit") or "")
    if isinstance(value, (int, float)) and (unit.startswith("%") or unit == "quote"):  # amounts come as text
        return f"{value:g}%"
    return f"{text(value)} {unit}" if unit in ("s", "per second") and value != "off" else text(value)


@risk_command.command("set")
@click.argument("words", nargs=-1, required=True, metavar="[NAME] CONTROL=VALUE...", shell_complete=complete_limit)
@output_options
def risk_set(session: Session, words: tuple[str, ...]) -> int:
    """Change controls of the account, or of one bot.

    VALUE is a limit (2%, 500, 30), on, off, or default, which takes back what was set; symbol_allowlist takes symbols
    or any. A control with a limit a bot and one for the account takes
    daily_loss.bot=3% and daily_loss.account=5%.

    \b
    Example:
      botctl risk set max_exposure=50%
      botctl risk set alpha max_order_value=250
    """
    name = None if "=" in words[0] else words[0]
    given = words[1:] if name else words
    if not given:
        raise Fault(USAGE, f"what to change of {name}?", "write CONTROL=VALUE; see botctl risk show")
    kind = KeyValue()
    try:
        changes = pairs(tuple(kind.convert(word, None, None) for word in given), "control")
    except click.BadParameter as error:
        raise Fault(USAGE, error.message, pair_hint(words, "botctl risk set ", named=len(words) % 2 > 0)) from None
    wire: Row = {"changes": {key: plain_value(value) for key, value in changes.items()}}
    if name:
        wire["name"] = name
    rows = session.call("risk.set", wire)["rows"]
    if is_table(session):
        return show_actions(session, rows, _changed)
    show_rows(session, rows, CHANGES, name="control")
    return OK


def _changed(row: Row) -> str:
    name = f"{row.get('control')}  {row.get('scope')}"
    return action_line({**row, "name": name, "before": _limits(row, "before"), "after": _limits(row, "after")})


def _limits(row: Row, key: str) -> str:
    units = row.get("units") or {}
    limits = (row.get(key) or {}).items()
    return ",".join(f"{part}={_limit({'value': value, 'unit': units.get(part)})}" for part, value in limits)


def _switch(session: Session, cmd: str, selector: Row, symbol: str | None) -> int:
    for name in selector.get("names", ()):
        if "/" in name:
            raise Fault(USAGE, f"{name}: a symbol, not a bot", f"botctl {cmd} --symbol {name}")
    wire = {**selector, "symbol": symbol} if symbol else selector
    rows = session.call(cmd, wire)["rows"]
    return show_actions(session, [{"name": row.get("scope"), **row} for row in rows])


switch_options = together(
    bots_argument,
    click.option("--symbol", shell_complete=complete_symbol, help="This symbol, for all bots."),
)


@click.command("halt")
@switch_options
@output_options
def halt_command(session: Session, names: tuple[str, ...], everything: bool, labels: Any, symbol: str | None) -> int:
    """Halt entries: of the account, of a symbol, or of bots.

    Working entries are cancelled; exits, stops and targets go on. It never asks, and it survives restarts.

    \b
    Example:
      botctl halt
      botctl halt alpha
      botctl halt --symbol BTC/USDT
    """
    return _switch(session, "halt", selector_of(names, everything, labels, required=False), symbol)


@click.command("reduce")
@switch_options
@output_options
def reduce_command(session: Session, names: tuple[str, ...], everything: bool, labels: Any, symbol: str | None) -> int:
    """Allow only orders that shrink a position.

    \b
    Example:
      botctl reduce
      botctl reduce --symbol ETH/USDT
    """
    return _switch(session, "reduce", selector_of(names, everything, labels, required=False), symbol)


@click.command("release")
@switch_options
@output_options
def release_command(session: Session, names: tuple[str, ...], everything: bool, labels: Any, symbol: str | None) -> int:
    """Lift halt and reduce; a drawdown counts anew from now.

    \b
    Example:
      botctl release
    """
    return _switch(session, "release", selector_of(names, everything, labels, required=False), symbol)
