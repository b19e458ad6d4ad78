"""The verb that tells what happens: a snapshot from the ledger, then the live stream, without a gap between."""

from __future__ import annotations

import re
import sys
from collections import deque
from typing import Any

import click

from botctl.arguments import moment_ms
from botctl.cells import Column, exact, moment, text
from botctl.completion import TOPICS, complete_bot, complete_topic
from botctl.exit_codes import OK, TIMEOUT, Fault
from botctl.follow import Follower, events_after
from botctl.output import Row, chosen_format, output_options, separated, show_rows, to_json, write
from botctl.session import Session, clean

FOLLOW_FROM = 10
_LONG = re.compile(r"-?\d+\.\d{9,}")


def facts(data: Any) -> str:
    """Return what an event tells, its amounts as other tables show them: ``quantity=0.01,price=60186.57``."""
    if isinstance(data, dict):
        return ",".join(f"{clean(str(key))}={facts(value)}" for key, value in data.items())
    shown = text(data)
    return exact(shown) if _LONG.fullmatch(shown) else shown


COLUMNS = [
    Column("seq", wide=True, right=True),
    Column("epoch", wide=True),
    Column("ts", "TIME", moment),
    Column("topic"),
    Column("bot"),
    Column("data", form=facts, prose=20, one_line=True),
]


@click.command("events")
@click.argument("name", required=False, metavar="[NAME]", shell_complete=complete_bot)
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes, also through a restart of botd.")
@click.option(
    "-n", "most", type=click.IntRange(min=0), metavar="N", help="The newest N only [default: all; with -f 10]."
)
@click.option(
    "--topic",
    "topics",
    multiple=True,
    shell_complete=complete_topic,
    help="Only these: order, order.denied, bot.state, risk ...",
)
@click.option("--since", metavar="TIME", help="From this time, or how long ago: 2h.")
@click.option("--since-seq", type=click.IntRange(min=0), metavar="SEQ", help="Those after this number.")
@output_options
def events_command(
    session: Session,
    name: str | None,
    follow: bool,
    most: int | None,
    topics: tuple[str, ...],
    since: str | None,
    since_seq: int | None,
) -> int:
    """List events, oldest first; -f follows them.

    A follower misses nothing: events are numbered, and what was lost on the way is fetched. With -f, json is
    printed as one object a line, and --timeout ends it (75). Times are the trading clock's: the market's own on a
    simulated market.

    \b
    Example:
      botctl events -n 20
      botctl events --since 2h --topic risk
      botctl events -f --topic order -o jsonl
    """

    topics = tuple(topic.rstrip(".") for topic in topics)
    if since is not None:
        since_seq = max(since_seq or 0, _before(session, since))

    def wanted(event: Row) -> bool:
        return (name is None or event.get("bot") == name) and (not topics or matches(event, topics))

    if not follow:
        found = filter(wanted, events_after(session, since_seq or 0, topics))
        rows = list(deque(found, maxlen=most))
        show_rows(session, rows, COLUMNS, name="topic", empty="no events")
        if not rows:
            _tell_topics(session, topics)
        return OK
    _tell_topics(session, topics)
    printer = Printer(session)
    count = FOLLOW_FROM if most is None else most
    for event in Follower(session).follow(since_seq, 0 if since_seq is not None else count):
        if wanted(event):
            printer.show(event)
    raise Fault(TIMEOUT, f"events: followed for {session.timeout_s:g} s", "without --timeout it goes on for ever")


def _before(session: Session, since: str) -> int:
    """Return the number of the last event before a time."""
    found = session.call("events", {"since": moment_ms(session, since), "since_seq": 0, "limit": 1})
    return int(found["rows"][0]["seq"]) - 1 if found["rows"] else int(found["seq"])


def _tell_topics(session: Session, topics: tuple[str, ...]) -> None:
    """Tell which topics there are, where one was asked for that no botd ever gave."""
    for wanted in topics:
        if not any(matches({"topic": wanted}, (known,)) or matches({"topic": known}, (wanted,)) for known in TOPICS):
            session.say(f"no topic {wanted} is known; there are {', '.join(TOPICS)}")


def matches(event: Row, topics: tuple[str, ...]) -> bool:
    """Say whether an event's topic is one of ``topics``, or below one."""
    topic = str(event.get("topic", ""))
    return any(topic == wanted or topic.startswith(wanted + ".") for wanted in topics)


class Printer:
    """Prints events one by one, in the format of the run; each is flushed."""

    def __init__(self, session: Session) -> None:
        self.form = chosen_format(session)
        self.headers = session.headers

    def show(self, event: Row) -> None:
        """Print one event."""
        if self.form in ("json", "jsonl"):
            write(to_json(event) + "\n")
        elif self.form in ("tsv", "csv"):
            write(separated([event], COLUMNS, self.form, self.headers))
            self.headers = False
        elif self.form == "name":
            write(text(event.get("topic")) + "\n")
        else:
            write(event_line(event, wide=self.form == "wide") + "\n")
        sys.stdout.flush()


def event_line(event: dict[str, Any], wide: bool = False) -> str:
    """Return one event in one line: time, topic, bot, data."""
    number = f"{event.get('seq'):>8}  " if wide else ""
    parts = [moment(event.get("ts")), f"{event.get('topic', ''):<16}", f"{event.get('bot') or '-':<12}"]
    return number + clean("  ".join(parts) + "  " + facts(event.get("data") or "")).rstrip()
