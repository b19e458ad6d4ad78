"""How replies are shown: table, wide, json, jsonl, tsv, csv and name, and the options that choose.

Data on stdout only. The format never changes off a terminal: only colour and truncation go. JSON carries what the
daemon said, to the digit; rounding is for tables. tabulate is imported by the table printer alone.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import click

from botctl.cells import Column, dim, render, text
from botctl.exit_codes import FAILED, OK, USAGE, Fault, fault_of
from botctl.session import Session, clean, pass_session, report_error
from botctl.times import parse_duration_s

FORMATS = ("table", "wide", "json", "jsonl", "tsv", "csv", "name")
Row = dict[str, Any]

MARKETS = {"synthetic": "SYNTHETIC MARKET", "replay": "REPLAYED MARKET"}


# -- options -------------------------------------------------------------------------------------------------


class Duration(click.ParamType):  # type: ignore[type-arg]
    """``5``, ``500ms``, ``30s``, ``5m``: seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return seconds, more than zero."""
        if isinstance(value, float):
            return value
        seconds = parse_duration_s(value)
        if not seconds:
            self.fail(f"{value!r}: write seconds, or a duration such as 500ms, 30s, 5m", param, ctx)
        return seconds


def _remember(attribute: str, value_of: Callable[[Any], Any] = lambda value: value) -> Callable[..., Any]:
    def callback(context: click.Context, parameter: click.Parameter, value: Any) -> None:
        if value not in (None, False):
            setattr(context.ensure_object(Session), attribute, value_of(value))

    return callback


def _show_version(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value and not context.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"botctl {version('botctl')}")
        context.exit()


def _options() -> list[Callable[[Any], Any]]:
    def option(*names: str, **settings: Any) -> Callable[[Any], Any]:
        return click.option(*names, expose_value=False, **settings)

    def switch(name: str, attribute: str, value: bool, text: str) -> Callable[[Any], Any]:
        callback = _remember(attribute, lambda _: value)
        return option(*name.split("/"), is_flag=True, callback=callback, help=text)

    form = "How to print [default: $BOTCTL_OUTPUT, else table]."
    wait = "How long to wait: 500ms, 30s, 5m [default: 10s; the verb wait: for ever]."
    where = "The daemon's socket [default: $BOTCTL_ENDPOINT, else ~/.local/state/botd, /run/botd]."
    version = "Print the version and exit."
    return [
        option("-o", "--output", type=click.Choice(FORMATS), callback=_remember("format"), help=form),
        switch("-q/--quiet", "quiet", True, "Say nothing but data and errors."),
        switch("--no-headers", "headers", False, "Leave headers out."),
        switch("--no-color", "color", False, "No colour."),
        option("--timeout", type=Duration(), metavar="TIME", callback=_remember("timeout_s"), help=wait),
        option("--endpoint", metavar="PATH", callback=_remember("endpoint"), help=where),
        option("--version", is_flag=True, is_eager=True, callback=_show_version, help=version),
    ]


def output_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the global options, so that they work before and after the verb, and the session."""
    decorated = pass_session(command)
    for option in reversed(_options()):
        decorated = option(decorated)
    return decorated


def chosen_format(session: Session) -> str:
    """Return the format of this run: the option, else ``$BOTCTL_OUTPUT``, else table."""
    if session.format:
        return session.format
    wanted = os.environ.get("BOTCTL_OUTPUT") or "table"
    if wanted not in FORMATS:
        raise Fault(USAGE, f"BOTCTL_OUTPUT={wanted}: no such format", "one of " + ", ".join(FORMATS))
    return wanted


def is_table(session: Session) -> bool:
    """Say whether a person reads this: table or wide."""
    return chosen_format(session) in ("table", "wide")


def silent(session: Session) -> bool:
    """Say whether -q leaves out what is text for people; the data of the other formats it never does."""
    return session.quiet and is_table(session)


# -- lists, objects, actions ---------------------------------------------------------------------------------


def show_rows(
    session: Session,
    rows: list[Row],
    columns: Sequence[Column],
    *,
    name: str = "name",
    empty: str = "",
    banner: str = "",
) -> None:
    """Print a list in the chosen format; ``name`` is the key that identifies a row, ``empty`` what to say of none."""
    form = chosen_format(session)
    if form == "json":
        write(json_array(rows))
    elif form == "jsonl":
        write("".join(to_json(row) + "\n" for row in rows))
    elif form == "name":
        write("".join(text(row.get(name)) + "\n" for row in rows))
    elif form in ("tsv", "csv"):
        write(separated(rows, columns, form, session.headers))
    elif rows:
        write(table(session, rows, columns, wide=form == "wide", banner=banner or banner_of(rows)))
    elif empty:
        session.say(empty)


def show_object(
    session: Session, value: Row, render_table: Callable[[Row], str], columns: Sequence[Column] = (), name: str = "name"
) -> None:
    """Print one object; ``render_table`` makes the text that people read."""
    form = chosen_format(session)
    if form == "json":
        write(to_json(value, indent=2) + "\n")
    elif form in ("table", "wide"):
        write(render_table(value))
    else:
        show_rows(session, [value], columns or columns_of(value), name=name)


def action_line(row: Row) -> str:
    """Return ``alpha  stopped -> running  detail``, the line of an action."""
    before, after = row.get("before"), row.get("after")
    result = row.get("result") or "unchanged"  # set changes a bot and not its state
    moved = f"{before} -> {after}" if before != after else f"{after} ({result})"
    return clean("  ".join(filter(None, [str(row.get("name", "")), moved, str(row.get("detail") or "")])))


def show_actions(session: Session, rows: list[Row], line: Callable[[Row], str] = action_line) -> int:
    """Print what an action did, one row a bot; return the exit code of the worst.

    Failures are told on stderr; ``-q`` leaves the lines of a table out, never the data of the other formats.
    """
    form = chosen_format(session)
    failed = [row for row in rows if row.get("error")]
    if form in ("table", "wide"):
        if not session.quiet:
            write("".join(line(row) + "\n" for row in rows if not row.get("error")))
    else:
        show_rows(session, rows, [Column(key) for key in ("name", "before", "after", "result", "detail")])
    worst = OK
    for row in failed:
        fault = session.explained(fault_of(row["error"]))
        name = row.get("name") or row.get("scope") or ""
        named = fault.message if str(name) in fault.message else f"{name}: {fault.message}"
        report_error(named, fault.hint)
        worst = max(worst, fault.exit_code)
    if not worst and any(row.get("result") == "failed" for row in rows):
        return FAILED
    return worst


def write(shown: str) -> None:
    """Write data to stdout; nothing is not written either, as a full disk would refuse even that."""
    if shown:
        sys.stdout.write(shown)


# -- formats -------------------------------------------------------------------------------------------------


def to_json(value: Any, indent: int | None = None) -> str:
    """Return JSON in characters that stdout can hold."""
    ascii_only = (getattr(sys.stdout, "encoding", None) or "utf-8").lower() != "utf-8"
    return json.dumps(value, indent=indent, ensure_ascii=ascii_only)


def json_array(rows: list[Row]) -> str:
    """Return an array with one row a line: as fast as json.dumps without indent, and readable."""
    if not rows:
        return "[]\n"
    return "[\n" + ",\n".join(to_json(row) for row in rows) + "\n]\n"


def columns_of(value: Row) -> list[Column]:
    """Return a column a key, for objects without columns of their own."""
    return [Column(key) for key in value]


def separated(rows: Iterable[Row], columns: Sequence[Column], form: str, headers: bool) -> str:
    """Return tsv or csv: the same columns always, with the exact values of the reply."""
    lines = [[column.key for column in columns]] if headers else []
    lines += [[text(column.value(row)) for column in columns] for row in rows]
    if form == "tsv":
        return "".join("\t".join(line) + "\n" for line in lines)
    return "".join(",".join(map(_quoted, line)) + "\n" for line in lines)


def _quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"' if '"' in cell or "," in cell else cell


def banner_of(rows: Iterable[Row]) -> str:
    """Return what must be said above a table whose prices or money are not real, or nothing."""
    worlds = {(str(row.get("mode", "")), str(row.get("source", ""))) for row in rows if "mode" in row}
    modes = {mode for mode, _ in worlds}
    mode = "paper and live" if len(modes) > 1 and "paper" in modes else "".join(modes)
    return world(mode, "".join(sorted({source for _, source in worlds})[:1]))


def world(mode: str, source: str) -> str:
    """Return ``PAPER · SYNTHETIC MARKET`` and the like; nothing where money and market are real."""
    return " · ".join(filter(None, [mode.upper() if mode.startswith("paper") else "", MARKETS.get(source, "")]))


def table(
    session: Session,
    rows: list[Row],
    columns: Sequence[Column],
    *,
    wide: bool | None = None,
    banner: str = "",
    widest: dict[str, str] | None = None,
) -> str:
    """Return an aligned table; on a terminal it fits, and its last line names what was left out for that.

    ``wide`` (by default what the user chose) shows everything, whatever the width. ``widest`` keeps the widest cell of
    each column from one call to the next, so that the columns of a table drawn again and again stay where they are.
    """
    from botctl.light import load_tabulate

    wide = chosen_format(session) == "wide" if wide is None else wide
    shown = [column for column in columns if wide or not column.wide]
    cells = [[render(column, row) for column in shown] for row in rows]
    if widest is not None:
        cells.append(_ruler(shown, cells, widest))
    left_out: list[str] = []
    if sys.stdout.isatty() and not wide and cells:
        from botctl.fitting import fit, terminal_width

        kept, left_out = fit(shown, cells, terminal_width())
        shown = [shown[index] for index in kept]
        cells = [[line[index] for index in kept] for line in cells]
    if session.colored():
        cells = [[column.painted(cell) for column, cell in zip(shown, line, strict=True)] for line in cells]
    headers = [column.title for column in shown] if session.headers else ()
    body = load_tabulate(all(cell.isascii() for line in cells for cell in line)).tabulate(
        cells,
        headers=headers,
        tablefmt="plain",
        disable_numparse=True,
        colalign=["right" if column.right else "left" for column in shown],
    )
    lines = [line.rstrip() for line in body.split("\n")]
    if widest is not None:
        lines.pop()
    if banner and session.headers:
        lines.insert(0, banner)
    if left_out and session.headers and not session.quiet:
        lines.append(_told(session, left_out))
    return "\n".join(lines) + "\n"


def _ruler(columns: Sequence[Column], cells: list[list[str]], widest: dict[str, str]) -> list[str]:
    """Return a line that takes as much room as any cell ever took, and remember it; sentences go on below instead."""
    for index, column in enumerate(columns):
        if not column.prose or column.one_line:
            widest[column.key] = max(widest.get(column.key, ""), *(line[index] for line in cells), "", key=len)
    return [widest.get(column.key, "") for column in columns]


def _told(session: Session, left_out: list[str]) -> str:
    from botctl.fitting import shorten, terminal_width

    told = shorten(f"-o wide shows also: {', '.join(left_out)}", terminal_width())
    return dim(told) if session.colored() else told
