"""The last resort: our orders cancelled at the exchange, and positions sold, when botd is dead or hangs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from botctl.arguments import confirm, yes_option
from botctl.cells import Column, exact
from botctl.client import Client
from botctl.exit_codes import FAILED, OK, Fault
from botctl.offline_calls import config_option, offline
from botctl.output import Row, output_options, show_rows
from botctl.session import Session, report_error

HALT_S = 3.0
COLUMNS = [
    Column("kind"),
    Column("bot"),
    Column("symbol"),
    Column("side", drop=1),
    Column("type", drop=2),
    Column("quantity", form=exact, right=True),
    Column("result"),
    Column("detail", prose=20),
    Column("client_order_id", "ORDER", drop=3),
]


@click.command("panic")
@click.option("--sell", is_flag=True, help="Also sell at market what the bots hold.")
@config_option("The configuration with the ledger and the keys.")
@yes_option
@output_options
def panic_command(session: Session, sell: bool, config: Path | None, yes: bool) -> int:
    """Cancel our orders at the exchange, with botd dead or hung.

    Protective orders too; --sell then sells what the bots hold. It needs no daemon: it reads the ledger and
    the keys. Orders of people and of other botds stay. Exit 0 only when the exchange shows no order of ours any more.
    Asks first.

    \b
    Example:
      botctl panic --yes
      botctl panic --sell --yes
    """
    place = offline("panic_place", config)
    for warning in place["warnings"]:
        session.warn(warning)
    what = "cancel all our orders at the exchange" + (" and sell what the bots hold" if sell else "")
    confirm(session, what + (" (testnet)" if place["testnet"] else ""), yes)
    if place["pid"] is not None:
        _quieten(session, place)
    session.say("asking the exchange; where it is out of reach that takes a minute")
    found = offline("panic", config, sell, session.timeout_s)
    show_rows(session, found["rows"], COLUMNS, name="client_order_id", empty="the exchange shows no order of ours")
    return _ended(session, found)


def _quieten(session: Session, place: Row) -> None:
    """A botd runs: halt it where it answers, and say what it may do all the same."""
    try:
        Client(place["socket"]).call("halt", {}, HALT_S)
        told = "was halted; it goes on protecting what is held: botctl daemon stop ends that"
    except Fault as fault:
        told = f"does not answer ({fault.message}) and may place orders again: kill -9 {place['pid']} ends that"
    session.warn(f"botd runs (pid {place['pid']}): it {told}")


def _ended(session: Session, found: Any) -> int:
    if found["others"]:
        session.say(f"{found['others']} working orders of others are left alone")
    if found["left"]:
        report_error(f"{len(found['left'])} orders of ours are still open", "run it again, or look at the exchange")
    elif not found["done"]:
        report_error("not everything was sold", "see the rows; run it again, or look at the exchange")
    return OK if found["done"] else FAILED
