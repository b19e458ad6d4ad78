"""Verbs of the audit: who ordered what, what was intended, denied and filled, in a chain that shows any change.

No daemon needed; a running one is not disturbed, but for `accept`, which wants it stopped.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from botctl.arguments import confirm, moment_ms, yes_option
from botctl.cells import Column, moment
from botctl.completion import AUDIT_KINDS, complete_kind
from botctl.exit_codes import FAILED, OK, USAGE, Fault
from botctl.offline_calls import config_option, offline
from botctl.output import Row, output_options, show_object, show_rows, to_json, write
from botctl.places import OF_THE_LEDGER, refuse_another_daemon
from botctl.session import Session, clean


def _told(value: Any) -> str:
    if not isinstance(value, dict):
        return clean(str(value))
    return " ".join(f"{key}={_plain(part)}" for key, part in value.items() if part not in ("", None))


def _plain(value: Any) -> str:
    return clean(value if isinstance(value, str) else json.dumps(value, separators=(",", ":")))


COLUMNS = [
    Column("id", right=True),
    Column("time", form=moment),
    Column("clock", drop=1),
    Column("kind"),
    Column("entry", form=_told, prose=24),
    Column("mac", wide=True),
]

WALL = ("command", "accepted")
"""Kinds of entries that carry the wall clock."""
MOST_LETTERS = 500

_config_option = config_option("The configuration whose ledger is meant.")
_since_option = click.option("--since", metavar="TIME", help="From this time, or how long ago: 2h.")


@click.group("audit")
@output_options
def audit_command(session: Session) -> None:
    """Look into the audit: who gave which command, what was intended, denied, filled.

    \b
    Example:
      botctl audit show -n 20
      botctl audit verify
    """


@audit_command.command("show")
@click.option("-n", "last", type=click.IntRange(min=0), metavar="N", help="The newest N only [default: all].")
@click.option("--kind", metavar="KIND", shell_complete=complete_kind, help="Only these: command, order, fill ...")
@_since_option
@_config_option
@output_options
def show_command(session: Session, last: int | None, kind: str | None, since: str | None, config: Path | None) -> int:
    """List the entries, oldest first: all of them, unless --since or -n.

    Commands and acceptances carry the wall clock; all others the trading clock, which on a simulated market is the
    market's own.

    \b
    Example:
      botctl audit show -n 20
      botctl audit show --kind command --since 1d
    """
    rows = _rows(session, config, since, kind, last)
    rows = [{**row, "clock": "wall" if row["kind"] in WALL else "trading"} for row in rows]
    show_rows(session, rows, COLUMNS, name="id", empty="no entries")
    if not rows and kind and kind not in AUDIT_KINDS:
        session.say(f"no kind {kind} is known; there are {', '.join(AUDIT_KINDS)}")
    return OK


@audit_command.command("verify")
@_config_option
@output_options
def verify_command(session: Session, config: Path | None) -> int:
    """Read the whole chain, and the ledger's rows beside it; exit 1 where something was changed.

    An entry edited, deleted, inserted or moved breaks it there; what was cut off at the end is missed by the
    anchors, which are noted beside the ledger every ten minutes. Orders, fills and commands must have the values of
    their entries, and every row its checksum.

    \b
    Example:
      botctl audit verify || mail -s "audit" me@example.org
    """
    refuse_another_daemon(session, config, OF_THE_LEDGER)
    found = offline("audit_verify", config)
    show_object(session, found, _verdict)
    if not found["chain_holds"]:
        session.say("once you know why, and it is as it should be: botctl audit accept --reason TEXT")
    return OK if found["holds"] else FAILED


@audit_command.command("accept")
@click.option("--reason", required=True, metavar="TEXT", help="Why it is broken: for those who read the audit later.")
@_config_option
@yes_option
@output_options
def accept_command(session: Session, reason: str, config: Path | None, yes: bool) -> int:
    """Accept that the chain is broken, for a reason that you know. Asks first.

    botd must be stopped. For a key that is lost (audit.key), or an older copy of the ledger that was put back. A new
    chain begins with an entry that says what was broken, who accepted it and why. It cannot be taken away: `audit
    verify` exits 0 from then on, and shows it for ever. Rows of the ledger that differ are not accepted by it.

    \b
    Example:
      botctl audit verify
      botctl audit accept --reason "the copy of Sunday, after the disk had failed"
    """
    if not 0 < len(reason.strip()) <= MOST_LETTERS:
        raise Fault(USAGE, f"--reason: 1 to {MOST_LETTERS} letters", "say what happened, in a line")
    refuse_another_daemon(session, config, OF_THE_LEDGER)
    confirm(session, "accept for ever that the audit is broken up to now", yes)
    made = offline("audit_accept", config, reason.strip())
    if made is None:
        session.say("the chain holds: there is nothing to accept")
        return OK
    show_object(session, made, _acceptance)
    return OK


@audit_command.command("export")
@_since_option
@_config_option
@output_options
def export_command(session: Session, since: str | None, config: Path | None) -> int:
    """Print the entries as JSON, one a line, with their codes.

    \b
    Example:
      botctl audit export | gzip > audit.jsonl.gz
    """
    for row in _rows(session, config, since, None, None):
        write(to_json(row) + "\n")
    return OK


def _acceptance(row: Row) -> str:
    first = clean(row["broken"][0]) if row["broken"] else ""
    more = f", and {row['broken_count'] - 1} more" if row["broken_count"] > 1 else ""
    when = f"accepted on {moment(row['time'])} by {clean(row['by'])} (uid {row['uid']}), entry {row['entry']}"
    return f"{when}: {clean(row['reason'])}\n  it was broken: {first}{more}\n"


def _rows(session: Session, config: Path | None, since: str | None, kind: str | None, last: int | None) -> list[Row]:
    refuse_another_daemon(session, config, OF_THE_LEDGER)
    rows: list[Row] = offline("audit_rows", config, moment_ms(session, since, wall=True) or 0, kind, last)
    return rows


def _verdict(value: Row) -> str:
    accepted = value.get("accepted", [])
    lines = [_acceptance(row) for row in accepted] + [f"{clean(line)}\n" for line in value["broken"]]
    more = value["broken_count"] - len(value["broken"])
    lines += [f"and {more} more\n"] if more else []
    rows_differ = value.get("chain_holds", value["holds"]) and not value["holds"]
    holds = "the chain holds" if value["holds"] or rows_differ else "THE CHAIN DOES NOT HOLD"
    holds += f" from entry {accepted[-1]['entry']} on" if accepted else ""
    holds += ", BUT ROWS OF THE LEDGER DIFFER FROM IT" if rows_differ else ""
    counts = f"{value['entries']} entries, {value['anchors']} anchors, head {value['head'][:16]}"
    return "".join(lines) + f"{holds}: {counts}\n"
