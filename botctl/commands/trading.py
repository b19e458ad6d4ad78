"""Verbs that list what was traded: orders, fills, round trips, positions, equity."""

from __future__ import annotations

from collections import deque
from copy import copy
from typing import Any

import click

from botctl.arguments import moment_ms, together
from botctl.cells import Column, count, exact, gain, moment, money, percent
from botctl.completion import complete_bot, complete_status, complete_symbol
from botctl.exit_codes import OK, USAGE, Fault
from botctl.output import Row, output_options, show_rows
from botctl.session import Session

ORDERS = [
    Column("client_order_id", "ORDER"),
    Column("exchange_order_id", wide=True),
    Column("bot"),
    Column("symbol"),
    Column("side"),
    Column("type", drop=3),
    Column("quantity", form=exact),
    Column("price", form=exact, drop=4),
    Column("stop_price", "STOP", exact, wide=True),
    Column("filled", form=exact, drop=1),
    Column("average", form=exact, drop=6),
    Column("status"),
    Column("created", form=moment, drop=5),
    Column("updated", form=moment, wide=True),
    Column("reason", prose=16, one_line=True, drop=2),
]
FILLS = [
    Column("time", form=moment),
    Column("trade_id", "FILL", drop=1),
    Column("client_order_id", "ORDER", wide=True),
    Column("bot"),
    Column("symbol"),
    Column("side"),
    Column("quantity", form=exact),
    Column("price", form=exact),
    Column("fee", form=exact, drop=3),
    Column("fee_asset", "ASSET", drop=2),
    Column("realized_pnl", "REALIZED", gain, paint="sign", drop=4),
]
TRADES = [
    Column("bot"),
    Column("symbol"),
    Column("side", wide=True),
    Column("quantity", form=exact, drop=3),
    Column("entry_time", "ENTERED", moment, drop=2),
    Column("exit_time", "EXITED", moment),
    Column("entry_price", "ENTRY", exact, drop=4),
    Column("exit_price", "EXIT", exact, drop=5),
    Column("pnl", form=gain, paint="sign"),
    Column("return_pct", "RETURN", percent, paint="sign"),
    Column("fees", form=exact, wide=True),
    Column("exit_reason", "REASON"),
    Column("bars", form=count, drop=1),
]
POSITIONS = [
    Column("bot"),
    Column("symbol"),
    Column("side", wide=True),
    Column("quantity", form=exact),
    Column("entry_price", "ENTRY", exact),
    Column("value", form=money, drop=1),
    Column("unrealized_pnl", "OPEN PNL", gain, paint="sign"),
    Column("stop", form=exact),
    Column("target", form=exact, drop=3),
    Column("guard", drop=2),
    Column("guard_detail", "GUARDED BY", wide=True, prose=12),
    Column("opened", form=moment, wide=True),
]
EQUITY = [
    Column("time", form=moment),
    Column("bot"),
    Column("equity", form=money),
    Column("cash", form=money, drop=2),
    Column("exposure", form=money, drop=1),
]


MOST_AT_ONCE = 1000
"""More newest rows than this are read page by page from the beginning: a reply has a size limit."""


name_argument = click.argument("name", required=False, metavar="[NAME]", shell_complete=complete_bot)
span_options = together(
    click.option("--since", metavar="TIME", help="From this time, or how long ago: 2h, 7d [default: all]."),
    click.option("--until", metavar="TIME", help="To this time."),
    click.option("-n", "most", type=click.IntRange(min=1), metavar="N", help="The newest N only [default: all]."),
)
history_options = together(
    name_argument,
    click.option("--symbol", shell_complete=complete_symbol, help="Of this symbol only."),
    span_options,
)


def history(session: Session, cmd: str, filters: Row, most: int | None) -> list[Row]:
    """Return the rows of a history, oldest first; with ``most`` the newest of them."""
    wire = {key: value for key, value in filters.items() if value not in (None, False, "")}
    for key in ("since", "until"):
        if key in wire:
            wire[key] = moment_ms(session, wire[key])
    if "until" in wire and wire.get("since", wire["until"]) > wire["until"]:
        raise Fault(USAGE, f"--since {filters['since']} is later than --until {filters['until']}")
    if most is not None and most <= MOST_AT_ONCE:
        wire["last"] = most
    return list(deque(session.iterate(cmd, wire), maxlen=most))


def _list(session: Session, cmd: str, columns: list[Column], filters: Row, most: int | None, name: str) -> int:
    return _show(session, cmd, history(session, cmd, filters, most), columns, name)


def _show(session: Session, cmd: str, rows: list[Row], columns: list[Column], name: str) -> int:
    banner = session.world() if rows else ""
    show_rows(session, rows, columns, name=name, empty=f"no {cmd}", banner=banner)
    return OK


@click.command("orders")
@history_options
@click.option(
    "--status",
    metavar="STATUS",
    shell_complete=complete_status,
    help="open, partial, filled, canceled, rejected, denied, unknown ...",
)
@click.option("--open", "working", is_flag=True, help="Working orders only.")
@output_options
def orders_command(session: Session, most: int | None, working: bool, **filters: Any) -> int:
    """List orders, those denied and rejected with their reason.

    \b
    Example:
      botctl orders --open
      botctl orders alpha --since 1h
    """
    rows = history(session, "orders", {**filters, "open": working}, most)
    return _show(session, "orders", rows, _order_columns(rows, working), "client_order_id")


def _order_columns(rows: list[Row], working: bool) -> list[Column]:
    """Return the columns: working orders have their price to the last (and are open all), refused ones the reason."""
    refused = any(row.get("status") in ("denied", "rejected") for row in rows)
    drops = {"price": 0, "status": 4} if working else {"reason": 0} if refused else {}
    columns = [copy(column) for column in ORDERS]
    for column in columns:
        column.drop = drops.get(column.key, column.drop)
    return columns


@click.command("fills")
@history_options
@output_options
def fills_command(session: Session, most: int | None, **filters: Any) -> int:
    """List fills: what was really bought and sold, with fees.

    \b
    Example:
      botctl fills alpha -n 20
    """
    return _list(session, "fills", FILLS, filters, most, "trade_id")


@click.command("trades")
@history_options
@output_options
def trades_command(session: Session, most: int | None, **filters: Any) -> int:
    """List round trips, flat to flat; an open position is the last row.

    \b
    Example:
      botctl trades alpha
      botctl trades -o csv > trades.csv
    """
    return _list(session, "trades", TRADES, filters, most, "bot")


@click.command("positions")
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=complete_bot)
@output_options
def positions_command(session: Session, names: tuple[str, ...]) -> int:
    """List what bots hold, and where it is guarded.

    \b
    Example:
      botctl positions
    """
    rows = session.rows("positions", {"names": list(names)} if names else {})
    show_rows(session, rows, POSITIONS, name="bot", empty="no positions", banner=session.world() if rows else "")
    return OK


@click.command("equity")
@name_argument
@span_options
@output_options
def equity_command(session: Session, most: int | None, **filters: Any) -> int:
    """List equity over time, of the account or of one bot: everything, unless --since or -n.

    \b
    Example:
      botctl equity --since 1d
      botctl equity alpha -o csv
    """
    return _list(session, "equity", EQUITY, filters, most, "time")
