"""Verbs of the audit: who ordered what, what was intended, denied and filled, in a chain that shows any change.

No daemon needed; a running one is not disturbed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from botctl.arguments import moment_ms
from botctl.cells import Column, moment
from botctl.completion import AUDIT_KINDS, complete_kind
from botctl.exit_codes import FAILED, OK
from botctl.offline_calls import offline
from botctl.output import Row, output_options, show_object, show_rows, to_json, write
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

_config_option = click.option(
    "--config", type=click.Path(path_type=Path), metavar="FILE", help="The configuration whose ledger is meant."
)
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

    Commands carry the wall clock; all others the trading clock, which on a simulated market is the market's own.

    \b
    Example:
      botctl audit show -n 20
      botctl audit show --kind command --since 1d
    """
    rows = _rows(session, config, since, kind, last)
    rows = [{**row, "clock": "wall" if row["kind"] == "command" else "trading"} for row in rows]
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
    found = offline("audit_verify", config)
    show_object(session, found, _verdict)
    return OK if found["holds"] else FAILED


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


def _rows(session: Session, config: Path | None, since: str | None, kind: str | None, last: int | None) -> list[Row]:
    rows: list[Row] = offline("audit_rows", config, moment_ms(session, since, wall=True) or 0, kind, last)
    return rows


def _verdict(value: Row) -> str:
    lines = [f"{clean(line)}\n" for line in value["broken"]]
    more = value["broken_count"] - len(value["broken"])
    lines += [f"and {more} more\n"] if more else []
    rows_differ = value.get("chain_holds", value["holds"]) and not value["holds"]
    holds = "the chain holds" if value["holds"] or rows_differ else "THE CHAIN DOES NOT HOLD"
    holds += ", BUT ROWS OF THE LEDGER DIFFER FROM IT" if rows_differ else ""
    counts = f"{value['entries']} entries, {value['anchors']} anchors, head {value['head'][:16]}"
    return "".join(lines) + f"{holds}: {counts}\n"
