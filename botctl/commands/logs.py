"""The verb that reads the daemon's logs, and goes on reading through rotations and restarts."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from botctl.arguments import moment_ms
from botctl.cells import Column
from botctl.client import asked_for, candidates, state_dir
from botctl.completion import complete_bot
from botctl.exit_codes import OK, TIMEOUT, UNAVAILABLE, Fault
from botctl.output import chosen_format, is_table, json_array, output_options, show_rows, write
from botctl.session import Session, clean

FOLLOW_FROM = 10  # lines shown before following, as tail -f does
PAUSE_S = 0.25
LINE = [Column("line")]


@click.command("logs")
@click.argument("name", required=False, metavar="[NAME]", shell_complete=complete_bot)
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes, also through a restart of botd.")
@click.option(
    "-n", "lines", type=click.IntRange(min=0), metavar="N", help="The newest N lines only [default: all; with -f 10]."
)
@click.option("--since", metavar="TIME", help="From this time, or how long ago: 10m.")
@output_options
def logs_command(session: Session, name: str | None, follow: bool, lines: int | None, since: str | None) -> int:
    """Print the log of the daemon, or of one bot. With -f, --timeout ends it (75).

    \b
    Example:
      botctl logs -n 100
      botctl logs alpha -f
    """
    wire: dict[str, Any] = {"name": name} if name else {}
    if lines is None and since is None and follow:
        lines = FOLLOW_FROM
    if lines is not None:
        wire["lines"] = lines
    if since is not None:
        wire["since"] = moment_ms(session, since, wall=True)
    if chosen_format(session) == "json" and not follow:
        with _told_where(session, name):
            found = _all(session, wire)
        write(json_array([{"line": line} for line in found]))
        return OK
    until = time.monotonic() + (session.timeout_s or float("inf"))
    with _told_where(session, name):
        cursor = _print_page(session, wire)
    while True:
        if follow and time.monotonic() >= until:
            raise Fault(TIMEOUT, f"logs: followed for {session.timeout_s:g} s", "without --timeout it goes on for ever")
        more = {"name": name, "cursor": cursor} if name else {"cursor": cursor}
        before = cursor
        cursor = _print_page(session, more) if not follow else _follow_page(session, more, until)
        if cursor == before:
            if not follow:
                return OK
            time.sleep(PAUSE_S)


@contextmanager
def _told_where(session: Session, name: str | None) -> Iterator[None]:
    """Add to the fault that no daemon is there where its log lies."""
    try:
        yield
    except Fault as fault:
        own = os.path.dirname(candidates(session.endpoint)[0]) if asked_for(session.endpoint) else state_dir()
        path = os.path.join(own or "", "logs", f"{name or 'botd'}.log")
        if fault.exit_code != UNAVAILABLE or not os.path.exists(path):
            raise
        raise Fault(UNAVAILABLE, fault.message, f"{fault.hint}; its log is {path}") from None


def _all(session: Session, wire: dict[str, Any]) -> list[str]:
    found: list[str] = []
    while True:
        page = session.call("logs", wire)
        found += page["lines"]
        if not page["lines"]:
            return found
        wire = {key: value for key, value in wire.items() if key == "name"} | {"cursor": page["cursor"]}


def _print_page(session: Session, wire: dict[str, Any]) -> str:
    """Print one page and return the cursor after it."""
    page = session.call("logs", wire)
    if is_table(session):
        write("".join(clean(line) + "\n" for line in page["lines"]))
    elif page["lines"]:
        first = "cursor" not in wire
        with session.printing("jsonl" if chosen_format(session) == "json" else "", headers=session.headers and first):
            show_rows(session, [{"line": line} for line in page["lines"]], LINE, name="line")
    sys.stdout.flush()
    return str(page["cursor"])


def _follow_page(session: Session, wire: dict[str, Any], until: float) -> str:
    """Print what came since; while botd is away, wait and say so once."""
    told = False
    while True:
        try:
            cursor = _print_page(session, wire)
        except Fault as fault:
            if fault.exit_code not in (UNAVAILABLE, TIMEOUT) or time.monotonic() >= until:
                raise
            session.client.close()
            if not told:
                session.say("botctl: botd is away; waiting for it")
                told = True
            time.sleep(PAUSE_S)
        else:
            if told:
                session.say("botctl: botd is back")
            return cursor
