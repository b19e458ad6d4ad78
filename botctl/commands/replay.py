"""The verb that holds a bot to the rules: what it did beside what they say. No daemon needed; fit for cron."""

from __future__ import annotations

from pathlib import Path

import click

from botctl.arguments import Fraction, moment_ms
from botctl.cells import Column, exact, gain, moment, percent
from botctl.commands.lab_options import config_option
from botctl.completion import complete_bot
from botctl.exit_codes import FAILED, OK
from botctl.offline_calls import offline
from botctl.output import output_options, show_rows, silent
from botctl.places import OF_THE_LEDGER, refuse_another_daemon
from botctl.session import Session

TRADES = [
    Column("verdict"),
    Column("at", "ENTRY", moment),
    Column("entry_price", "BOUGHT", exact, right=True, drop=7),
    Column("rules_entry_price", "RULES BOUGHT", exact, right=True, drop=2),
    Column("exit_time", "EXIT", moment, drop=6),
    Column("rules_exit_time", "RULES EXIT", moment, drop=5),
    Column("exit_price", "SOLD", exact, right=True),
    Column("rules_exit_price", "RULES SOLD", exact, right=True, drop=1),
    Column("exit_reason", "REASON"),
    Column("rules_exit_reason", "RULES REASON", drop=4),
    Column("pnl", form=gain),
    Column("rules_pnl", "RULES PNL", gain, drop=3),
    Column("difference_pct", "DIFFERENCE", percent),
]

ORDERS = [
    Column("verdict"),
    Column("at", "TIME", moment),
    Column("side"),
    Column("rules_side", "RULES SIDE", drop=4),
    Column("quantity", form=exact, right=True),
    Column("rules_quantity", "RULES QUANTITY", exact, right=True, drop=1),
    Column("price", form=exact, right=True),
    Column("rules_price", "RULES PRICE", exact, right=True, drop=2),
    Column("difference_pct", "DIFFERENCE", percent),
]
"""Of a bot that places its own orders: a row an order that filled."""


@click.command("replay")
@click.argument("name", metavar="BOT", shell_complete=complete_bot)
@click.option(
    "--tolerance", type=Fraction(), default="0.1%", show_default=True, help="Prices and sizes may differ so far."
)
@click.option("--data", type=click.Path(path_type=Path), metavar="FILE", help="Candles from this CSV.")
@click.option("--from", "since", metavar="TIME", help="Compare from this time on, or from how long ago: 30d.")
@config_option
@output_options
def replay_command(
    session: Session, name: str, tolerance: str, data: Path | None, since: str | None, config: Path | None
) -> int:
    """Hold a bot to the rules: each trade beside what they say; exit 1 where they differ.

    Reads the ledger of the configuration, and the candles of its market: the replayed file, the synthetic market, or
    the local store (botctl data download). Begins where the bot was last changed (botctl set), and ends where it was
    stopped or removed. missing: the rules trade and the bot did not; extra: the other way round; differs: another price
    or size, reason, or candle of the exit (what was paid in fees, and so the PNL, is told only). Of a strategy that
    places its own orders, each order that filled. What a person did (close, halt), a limit denied, another bot's orders
    prevented, or an end of botd took back is a difference (events and why tell which), and all sizes after it differ a
    little: --from begins later.

    \b
    Example:
      botctl replay alpha
      botctl replay alpha --tolerance 0.5% -o json
      botctl replay alpha --from 2026-01-31
    """
    refuse_another_daemon(session, config, OF_THE_LEDGER)
    found = offline("lab_replay", config, name, float(tolerance), data, moment_ms(session, since, wall=True) or 0)
    for note in found["notes"]:
        session.say(note)
    if not found["compared"]:
        if not silent(session):
            show_rows(session, [], TRADES, empty=f"{name}: nothing was compared")
        return OK
    what, columns = ("trades", TRADES) if found["of"] == "trades" else ("orders", ORDERS)
    empty = f"{name}: no {what} from {found['first']} to {found['last']}, neither by the bot nor by the rules"
    if not silent(session):
        show_rows(session, found["rows"], columns, name="at", empty=empty)
    told = f"{found['did']} {what}, {found['rules']} by the rules, {found['differences']} not the same"
    if found["differences"]:
        session.warn(f"{name}: {told}")
        return FAILED
    session.say(f"{name}: {told}")
    return OK
