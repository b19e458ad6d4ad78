"""Verbs that look at the whole: the portfolio and the health of every part."""

from __future__ import annotations

import click

from botctl.cells import STATE_COLORS, Column, exact, money, percent
from botctl.details import details, section
from botctl.exit_codes import FAILED, OK
from botctl.output import Row, chosen_format, is_table, output_options, show_object, show_rows, silent, table, world
from botctl.session import Session, clean
from botctl.times import with_moments

SYMBOL_COLUMNS = [
    Column("symbol"),
    Column("bots", right=True),
    Column("quantity", form=exact),
    Column("value", form=money),
]
BOT_COLUMNS = [
    Column("bot"),
    Column("symbol", drop=2),
    Column("capital", form=money, drop=1),
    Column("equity", form=money),
    Column("value", "HOLDS", money),
    Column("return_pct", "RETURN", percent, paint="sign"),
]

CHECKS = [Column("name"), Column("status", paint="state"), Column("detail", prose=20)]


@click.command("portfolio")
@click.argument("what", required=False, type=click.Choice(["summary"]), metavar="[summary]")
@output_options
def portfolio_command(session: Session, what: str | None) -> int:
    """Show equity, profit, exposure and holdings of all bots.

    With summary, the totals alone. Capital, equity and return are over the bots; account figures are the exchange
    account's.

    \b
    Example:
      botctl portfolio
      botctl portfolio summary -o json
    """
    portfolio = session.call("portfolio")
    if what == "summary" and chosen_format(session) in ("table", "wide"):
        portfolio = {key: value for key, value in portfolio.items() if key not in ("by_symbol", "by_bot")}
    show_object(session, portfolio, lambda value: portfolio_text(session, value))
    return OK


def portfolio_text(session: Session, portfolio: Row) -> str:
    """Return the totals, then a table by symbol and one by bot."""
    rest = dict(portfolio)
    by_symbol, by_bot = rest.pop("by_symbol", None), rest.pop("by_bot", None)
    unassigned = rest.pop("unassigned", None)
    banner = world(str(rest.get("mode", "")), str(rest.get("source", ""))) or session.world()
    blocks = ["\n".join(clean(line) for line in ([banner] if banner else []) + details(rest)) + "\n"]
    if by_symbol:
        blocks.append(table(session, by_symbol, _present(SYMBOL_COLUMNS, by_symbol)))
    if by_bot:
        blocks.append(table(session, by_bot, _present(BOT_COLUMNS, by_bot)))
    if unassigned:
        blocks.append("\n".join(clean(line) for line in section("unassigned", unassigned)) + "\n")
    return "\n".join(blocks)


def _present(columns: list[Column], rows: list[Row]) -> list[Column]:
    """Return the columns that the rows have, then those that they have beside them."""
    named = [column for column in columns if any(column.key in row for row in rows)]
    known = {column.key for column in columns}
    return named + [Column(key, wide=True) for key in rows[0] if key not in known]


@click.command("health")
@output_options
def health_command(session: Session) -> int:
    """Show whether every part of the daemon is well; exit 1 if not.

    With -o name, the parts alone that are not.

    \b
    Example:
      botctl health
      botctl health -q || echo "look at botd"
    """
    health = session.call("health")
    if not is_table(session):
        health = with_moments(health)
    if chosen_format(session) == "name":
        show_rows(session, [check for check in health.get("checks") or [] if check["status"] != "ok"], CHECKS)
    elif not silent(session):
        show_object(session, health, lambda value: health_text(session, value))
    return OK if health.get("status") == "ok" else FAILED


def health_text(session: Session, health: Row) -> str:
    """Return what is true of the whole, then the checks; wide tells everything that the parts count."""
    rest = dict(health)
    checks = rest.pop("checks", None) or []
    if chosen_format(session) == "table":
        rest = {key: value for key, value in rest.items() if key == "bots" or not isinstance(value, dict)}
    lines = [_colored(session, clean(line)) for line in details(rest)]
    text = "\n".join(lines) + "\n"
    if checks:
        text += "\n" + table(session, checks, CHECKS)
    return text


def _colored(session: Session, line: str) -> str:
    key, _, value = line.partition(" ")
    color = STATE_COLORS.get(value.strip(), "") if key == "status" and session.colored() else ""
    return f"{color}{line}\x1b[0m" if color else line
