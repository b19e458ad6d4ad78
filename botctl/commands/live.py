"""Verbs of the account at the exchange: arming live trading, budgets, orders in doubt, whose is what."""

from __future__ import annotations

from typing import Any

import click

from botctl.arguments import confirm, yes_option
from botctl.cells import Column, exact, moment
from botctl.exit_codes import FAILED, OK, USAGE, Fault
from botctl.output import Row, output_options, show_object, table
from botctl.session import SLOW_TIMEOUT_S, Session, clean
from botctl.times import parse_duration_s

OWNERS = [
    Column("asset"),
    Column("kind"),
    Column("quantity", form=exact, right=True),
    Column("owner"),
    Column("detail", prose=20),
]
BUDGETS = [
    Column("budget"),
    Column("used", right=True),
    Column("limit", right=True),
    Column("detail", prose=16, drop=1),
]
BILLS = [
    Column("bot"),
    Column("requests", right=True),
    Column("weight", right=True),
    Column("orders", right=True),
    Column("failed", right=True),
]


@click.group("live")
@output_options
def live_command(session: Session) -> None:
    """Allow entries with real money, or no more.

    \b
    Example:
      botctl live status
      botctl live arm --max-capital 500 --for 30d
    """


@live_command.command("arm")
@click.option("--max-capital", metavar="N", help="What all positions together may be worth.")
@click.option("--for", "period", metavar="TIME", help="For how long: 12h, 30d [default: until disarmed].")
@yes_option
@output_options
def arm_command(session: Session, max_capital: str | None, period: str | None, yes: bool) -> int:
    """Let live bots enter with real money; asks first.

    It holds for the API key in use, over restarts, and never binds exits.

    \b
    Example:
      botctl live arm --max-capital 500 --for 30d --yes
    """
    args: dict[str, Any] = {} if max_capital is None else {"max_capital": max_capital}
    if period is not None:
        seconds = parse_duration_s(period)
        if not seconds:
            raise Fault(USAGE, f"--for {period}: not a time", "write 12h or 30d")
        args["for_ms"] = round(seconds * 1000)
    most = f"up to {max_capital}" if max_capital else "with all the account has"
    confirm(session, f"let live bots trade with real money, {most}", yes)
    show_object(session, session.call("live.arm", args), _status)
    return OK


@live_command.command("disarm")
@output_options
def disarm_command(session: Session) -> int:
    """No more live entries; exits and stops go on.

    \b
    Example:
      botctl live disarm
    """
    show_object(session, session.call("live.disarm"), _status)
    return OK


@live_command.command("status")
@output_options
def status_command(session: Session) -> int:
    """Show whether live entries may go, for which key, until when.

    \b
    Example:
      botctl live status -o json
    """
    show_object(session, session.call("live.status"), _status)
    return OK


@click.command("limits")
@output_options
def limits_command(session: Session) -> int:
    """Show the exchange's budgets of requests and orders, and each bot's share.

    \b
    Example:
      botctl limits
    """
    found = session.call("limits")
    show_object(session, found, lambda value: _limits(session, value))
    return OK


@click.command("resolve")
@click.argument("order", metavar="ORDER")
@yes_option
@output_options
def resolve_command(session: Session, order: str, yes: bool) -> int:
    """End an order in doubt: you looked, and it does not work at the exchange.

    botd asks the exchange by itself, and ends the doubt on evidence only. After a quarter of an hour without
    any, a person may decide. Asks first.

    \b
    Example:
      botctl orders --status unknown
      botctl resolve LABCDE-3-17-42 --yes
    """
    confirm(session, f"take {order} for not working at the exchange", yes)
    row = session.call("resolve", {"order": order})
    show_object(session, row, lambda value: f"{clean(value['client_order_id'])}  {clean(value['status'])}\n")
    return OK


@click.command("reconcile")
@click.option("--explain", is_flag=True, help="Also list the owner of every unit of every asset.")
@click.option("--accept-reset", is_flag=True, help="A test network began anew: begin the books anew there, too.")
@click.option("--accept", metavar="ASSET", help="Take this asset's difference for a deposit or withdrawal; asks first.")
@click.option("--cancel-foreign", metavar="INSTANCE", help="Cancel the orders of another botd on this account; asks.")
@yes_option
@output_options
def reconcile_command(
    session: Session, explain: bool, accept_reset: bool, accept: str | None, cancel_foreign: str | None, yes: bool
) -> int:
    """Hold the books against the exchange; exit 1 where they differ.

    \b
    Example:
      botctl reconcile --explain
    """
    args: dict[str, Any] = {"accept_reset": True} if accept_reset else {}
    if accept:
        confirm(session, f"take the difference in {accept} for a transfer", yes)
        args["accept"] = accept
    if cancel_foreign:
        confirm(session, f"cancel all working orders of botd {cancel_foreign}", yes)
        args["cancel_foreign"] = cancel_foreign
    found = session.call("reconcile", args, SLOW_TIMEOUT_S)
    show_object(session, found, lambda value: _reconciled(session, value, explain))
    if accept_reset and not found["match"]:
        session.say("what bots held is gone with the old network: botctl rm NAME --force ends their claims")
    return OK if found["match"] else FAILED


def _status(value: Row) -> str:
    if not value["armed"]:
        return f"not armed: {clean(value['detail'])}\n"
    if value["testnet"]:
        return "armed: a testnet needs no arming\n"
    parts = [f"key {clean(value['key'])}", f"since {moment(value['since'])}"]
    parts += [f"until {moment(value['until'])}"] if value["until"] else ["until disarmed"]
    parts += [f"up to {exact(value['max_capital'])}"] if value["max_capital"] else []
    return f"armed: {', '.join(parts)}\n"


def _limits(session: Session, value: Row) -> str:
    bills = value.get("bots", [])
    text = table(session, value.get("budgets", []), BUDGETS) if value.get("budgets") else "no requests go out\n"
    return text + ("\n" + table(session, bills, BILLS) if bills else "")


def _reconciled(session: Session, value: Row, explain: bool) -> str:
    text = table(session, value["rows"], OWNERS) + "\n" if explain and value["rows"] else ""
    for asset, words in value["differences"].items():
        text += f"{clean(asset)}: {clean(words)}\n"
    text += "".join(f"{clean(line)}\n" for line in value.get("refusals", []))
    for doubt in value.get("doubts", []):
        lacks = clean(", ".join(doubt["lacks"]))
        text += f"{clean(doubt['client_order_id'])}: in doubt for {doubt['age_s']:.0f} s; {lacks}\n"
    return text + ("the books match\n" if value["match"] else "THE BOOKS DO NOT MATCH\n")
