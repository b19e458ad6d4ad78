"""Verbs about the market: prices with their age, candles, symbols, and the simulated market's play and pause."""

from __future__ import annotations

import click

from botctl.arguments import moment_ms
from botctl.cells import Column, age, exact, moment
from botctl.completion import complete_interval, complete_symbol
from botctl.details import details, section
from botctl.exit_codes import OK
from botctl.output import Row, is_table, output_options, show_object, show_rows, world
from botctl.session import Session, clean
from botctl.times import with_moments

PRICES = [
    Column("symbol"),
    Column("price", form=exact),
    Column("age_s", "AGE", age),
    Column("stale"),
    Column("source", wide=True),
    Column("lanes", wide=True),
]
SYMBOLS = [
    Column("symbol"),
    Column("source", drop=1),
    Column("price", form=exact),
    Column("age_s", "AGE", age),
    Column("stale"),
    Column("lanes", drop=2, prose=12, one_line=True),
    Column("gaps", form=lambda value: str(len(value)) if isinstance(value, list) else str(value), right=True),
]
CANDLES = [
    Column("time", form=moment),
    Column("open", form=exact),
    Column("high", form=exact),
    Column("low", form=exact),
    Column("close", form=exact),
    Column("volume", form=exact, drop=1),
]


@click.command("prices")
@click.argument("symbols", nargs=-1, metavar="[SYMBOL]...", shell_complete=complete_symbol)
@output_options
def prices_command(session: Session, symbols: tuple[str, ...]) -> int:
    """List the latest prices, with their age.

    \b
    Example:
      botctl prices
      botctl prices BTC/USDT -o json
    """
    rows = session.rows("prices", {"symbols": list(symbols)} if symbols else {})
    show_rows(session, rows, PRICES, name="symbol", empty="no prices yet", banner=session.world())
    return OK


@click.command("candles")
@click.argument("symbol", shell_complete=complete_symbol)
@click.option("--interval", default="1m", show_default=True, shell_complete=complete_interval, help="1m, 5m, 1h ...")
@click.option("--since", metavar="TIME", help="From this time, or how long ago: 2h.")
@click.option("-n", "most", type=click.IntRange(min=1), metavar="N", help="The newest N only [default: all kept].")
@output_options
def candles_command(session: Session, symbol: str, interval: str, since: str | None, most: int | None) -> int:
    """List closed candles, oldest first: all that botd keeps in memory, unless --since or -n.

    It keeps as many as the strategies on them need; botctl data keeps history.

    \b
    Example:
      botctl candles BTC/USDT --interval 5m -n 20
    """
    wire: Row = {"symbol": symbol, "interval": interval}
    if since is not None:
        wire["since"] = moment_ms(session, since)
    if most is not None:
        wire["limit"] = most
    rows = session.rows("candles", wire)
    show_rows(session, rows, CANDLES, name="time", empty="no candles", banner=session.world())
    return OK


@click.command("symbols")
@output_options
def symbols_command(session: Session) -> int:
    """List the symbols that the market has, and how fresh they are.

    \b
    Example:
      botctl symbols
    """
    show_rows(session, session.rows("symbols"), SYMBOLS, name="symbol", empty="no symbols", banner=session.world())
    return OK


@click.group("market")
@output_options
def market_command(session: Session) -> None:
    """Play, pause and show the simulated market.

    \b
    Example:
      botctl market status
    """


def _show(session: Session, status: Row) -> int:
    shown = status if is_table(session) else with_moments(status)
    show_object(session, shown, lambda value: market_text(value, session))
    return OK


def market_text(status: Row, session: Session) -> str:
    """Return the state of the market, and the holes in its data."""
    rest = dict(status)
    gaps = rest.pop("gaps", None)
    banner = world("paper", str(status.get("source", "")))
    lines = ([banner] if banner and session.headers else []) + details(rest)
    if gaps:
        lines += section("gaps", gaps)
    return "".join(clean(line) + "\n" for line in lines)


@market_command.command("status")
@output_options
def market_status(session: Session) -> int:
    """Show the market: source, time, speed, and holes in its data.

    \b
    Example:
      botctl market status
    """
    return _show(session, session.call("market.status"))


@market_command.command("play")
@output_options
def market_play(session: Session) -> int:
    """Let the simulated market go on.

    \b
    Example:
      botctl market play
    """
    return _show(session, session.call("market.play"))


@market_command.command("pause")
@output_options
def market_pause(session: Session) -> int:
    """Hold the simulated market; it stays so after a restart.

    \b
    Example:
      botctl market pause
    """
    return _show(session, session.call("market.pause"))
