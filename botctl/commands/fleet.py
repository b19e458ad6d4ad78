"""A whole fleet from one file: apply shows and does the difference, export writes the file."""

from __future__ import annotations

import json
import re
from typing import Any

import click

from botctl.arguments import fraction_text
from botctl.cells import Column, text
from botctl.exit_codes import CONFIG, OK, USAGE, Fault
from botctl.offline_calls import offline
from botctl.output import Row, is_table, output_options, show_rows, write
from botctl.session import SLOW_TIMEOUT_S, Session, clean
from botctl.terms import FRACTIONS, HOW

LARGEST_FILE = 1 << 20
MOST_NAMED = 5
_NUMBERED = (
    (re.compile(r"^bots\[(?P<bot>\d+)\][.:] ?"), ""),
    (re.compile(r"^unknown argument (?P<key>.+) in bots\[(?P<bot>\d+)\]$"), r"unknown key \g<key>"),
)
_RUNNING = re.compile(r"unknown key '(start|started|run|running|stop|stopped|state|desired|enabled)'")
_WHETHER_IT_RUNS = "a fleet says what a bot is, not whether it runs: leave it out; then botctl start NAME"


@click.command("apply")
@click.option("-f", "--file", "path", required=True, type=click.Path(), help="The fleet; - reads standard input.")
@click.option("--plan", is_flag=True, help="Show the difference, do nothing.")
@output_options
def apply_command(session: Session, path: str, plan: bool) -> int:
    """Make the bots what a file says: create, change, leave; all or nothing.

    Bots that the file does not name are left alone.

    \b
    Example:
      botctl apply -f fleet.yaml --plan
      botctl apply -f fleet.yaml
    """
    bots = read_fleet(path, _read(path))
    outcome = _apply(session, path, bots, plan)
    changes = outcome["changes"]
    if is_table(session):
        if not session.quiet or plan:
            write("".join(_line(change) + "\n" for change in changes))
        pending = sum(change["action"] != "leave" for change in changes)
        if plan and pending:
            session.say(f"plan only: {pending} to do; without --plan they are done")
        if created := [str(change["name"]) for change in changes if change["action"] == "create" and not plan]:
            names = " ".join(created) if len(created) <= MOST_NAMED else "NAME..., or --all"
            session.say(f"what was created is stopped; start it with: botctl start {names}")
    else:
        show_rows(session, changes, [Column("name"), Column("action"), Column("diff")])
    return OK


def _apply(session: Session, path: str, bots: list[Row], plan: bool) -> Row:
    """Send the fleet; a refusal names the file and the bot."""
    try:
        outcome: Row = session.client.call("apply", {"bots": bots, "plan": plan}, session.timeout_s or SLOW_TIMEOUT_S)
    except Fault as fault:
        if fault.code in ("", "UNAVAILABLE"):
            raise
        message = _named(fault.message, bots)
        hint = _WHETHER_IT_RUNS if _RUNNING.search(message) else fault.hint
        raise Fault(fault.exit_code, f"{path}: {message}", hint, fault.code) from None
    return outcome


def _named(message: str, bots: list[Row]) -> str:
    """Return a message about the n-th bot of a request as one about the bot by its name."""
    for pattern, words in _NUMBERED:
        if found := pattern.match(message):
            return f"bot {bots[int(found['bot'])]['name']}: {pattern.sub(words, message, count=1)}"
    return message


@click.command("export")
@output_options
def export_command(session: Session) -> int:
    """Print all bots as a fleet file for apply.

    \b
    Example:
      botctl export > fleet.yaml
    """
    bots = session.call("export")["bots"]
    if is_table(session):
        write(fleet_text(bots))
    else:
        show_rows(
            session, bots, [Column(key) for key in ("name", "strategy", "symbol", "interval", "capital", "params")]
        )
    return OK


def fleet_text(bots: list[Row]) -> str:
    """Return a fleet file: YAML whose scalars are quoted, so that no number is read as another one."""
    if not bots:
        return "bots: []\n"
    lines = ["bots:"]
    for bot in bots:
        dash = "  - "
        for key, value in bot.items():
            if value is not None:
                lines.append(f"{dash}{key}: {json.dumps(value, ensure_ascii=False)}")
                dash = "    "
    return "\n".join(lines) + "\n"


def _read(path: str) -> bytes:
    try:
        with click.open_file(path, "rb") as file:
            content: bytes = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise Fault(USAGE, f"{path}: {error.strerror}") from None
    if len(content) > LARGEST_FILE:
        raise Fault(CONFIG, f"{path}: larger than 1 MiB", "split the fleet into several files")
    return content


def read_fleet(path: str, content: bytes) -> list[Row]:
    """Return the specifications in a fleet file; scalars stay text. A Fault names file and line."""
    document = offline("fleet_values", content, path)
    bots = document.get("bots") if isinstance(document, dict) else document
    unknown = set(document) - {"bots"} if isinstance(document, dict) else set()
    if unknown:
        raise Fault(CONFIG, f"{path}: unknown key {sorted(unknown)[0]!r}", "a fleet has one key: bots")
    if not isinstance(bots, list) or not bots:
        raise Fault(CONFIG, f"{path}: no bots in it", "write a list of bots under the key bots")
    return [_specification(path, number, bot) for number, bot in enumerate(bots, 1)]


def _specification(path: str, number: int, bot: Any) -> Row:
    if not isinstance(bot, dict) or not isinstance(bot.get("name"), str):
        raise Fault(CONFIG, f"{path}: bot {number} has no name", "see botctl export for the form")
    spec = {key: value for key, value in bot.items() if value is not None}
    for key in HOW:
        value = spec.get(key)
        if value == "off":
            del spec[key]
        elif value is not None and key in FRACTIONS:
            try:
                spec[key] = fraction_text(str(value))
            except ValueError as error:
                raise Fault(USAGE, f"{path}: bot {bot['name']}: {key}: {error}") from None
    return spec


def _line(change: Row) -> str:
    shown = [str(change["name"]), str(change["action"])]
    if change["action"] == "change":
        differences = (change.get("diff") or {}).items()
        shown.append(", ".join(f"{key}: {_side(old)} -> {_side(new)}" for key, (old, new) in differences))
    return clean("  ".join(shown))


def _side(value: Any) -> str:
    return "none" if value in (None, {}, []) else text(value)
