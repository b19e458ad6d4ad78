"""The verb that explains a decision: every gate with its value and its limit, in order."""

from __future__ import annotations

import sys

import click

from botctl.arguments import bot_argument, moment_ms
from botctl.cells import Column, text
from botctl.details import details
from botctl.exit_codes import OK
from botctl.output import Row, chosen_format, output_options, show_object, table
from botctl.session import Session, clean

GATES = [
    Column("verdict", ""),
    Column("gate"),
    Column("value", right=True),
    Column("limit", right=True),
    Column("detail", prose=24),
]
NOT_YET = "not defined yet"


@click.command("why")
@bot_argument
@click.option("--at", metavar="TIME", help="The last one up to this time, or so long ago: 15m [default: the last].")
@output_options
def why_command(session: Session, name: str, at: str | None) -> int:
    """Explain why a bot did or did not trade.

    \b
    Example:
      botctl why alpha
      botctl why alpha --at 2026-01-31T10:15:00Z
    """
    wire: Row = {"name": name}
    if at is not None:
        wire["at"] = moment_ms(session, at)
    show_object(session, session.call("why", wire), lambda value: why_text(session, value))
    return OK


def why_text(session: Session, decision: Row) -> str:
    """Return the outcome, the gates and the strategy's own numbers."""
    head = f"{decision.get('name')}  {decision.get('at') or 'no decision yet'}  {decision.get('outcome') or ''}"
    told = clean(head).rstrip() + "\n" + (clean(str(decision["note"])) + "\n" if decision.get("note") else "")
    gates = [{**gate, "verdict": "ok" if gate.get("passed") else "NO"} for gate in decision.get("gates") or []]
    if gates:
        told += "\n" + _gates(session, gates)
    if decision.get("notes"):
        told += "\n" + "\n".join(map(clean, numbers(decision["notes"]))) + "\n"
    return told


def numbers(notes: Row, indent: str = "") -> list[str]:
    """Return a strategy's own numbers as lines; one that is no number yet says so."""
    return details({key: NOT_YET if value is None else value for key, value in notes.items()}, indent)


def _gates(session: Session, gates: list[Row]) -> str:
    """Return the gates; where the terminal is too narrow, what each says stands in full below it."""
    full = table(session, gates, GATES, wide=True)
    if chosen_format(session) == "wide" or not sys.stdout.isatty():
        return full
    from botctl.fitting import lines_taken, terminal_width, wrapped

    width = terminal_width()
    if lines_taken(full, width) == full.count("\n"):
        return full
    lines = table(session, gates, GATES[:-1]).splitlines()
    told: list[str] = lines[:1] if session.headers else []
    for gate, line in zip(gates, lines[len(told) :], strict=False):
        told += [line, *("    " + part for part in wrapped(text(gate.get("detail")), width - 4) if part)]
    return "\n".join([*told, *lines[len(gates) + session.headers :]]) + "\n"
