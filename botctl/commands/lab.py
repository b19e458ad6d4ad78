"""Verbs about strategies: which there are, what their parameters are, a new one to fill in. No daemon needed."""

from __future__ import annotations

from pathlib import Path

import click

from botctl.cells import Column
from botctl.completion import complete_strategy
from botctl.exit_codes import OK, USAGE, Fault
from botctl.offline_calls import config_option, offline
from botctl.output import Row, is_table, output_options, show_object, show_rows, table
from botctl.session import Session, clean

STRATEGIES = [
    Column("name"),
    Column("kind", drop=2),
    Column("builtin", drop=1),
    Column("parameters", prose=24, drop=3),
    Column("summary", prose=24),
]
PARAMETERS = [
    Column("name"),
    Column("type"),
    Column("default", right=True),
    Column("expected", "MUST BE"),
    Column("help", prose=24),
]


@click.command("strategies")
@click.argument("name", required=False, metavar="[NAME]", shell_complete=complete_strategy)
@click.option("--new", "new", metavar="NAME", help="Write a strategy to fill in, and a test for it.")
@config_option("The configuration that says where strategies_dir is.")
@output_options
def strategies_command(session: Session, name: str | None, new: str | None, config: Path | None) -> int:
    """List strategies, show the parameters of one, or begin a new one.

    \b
    Example:
      botctl strategies
      botctl strategies rsi
      botctl strategies --new my_idea
    """
    if new is not None:
        if name is not None:
            raise Fault(USAGE, "NAME and --new exclude each other")
        written = offline("new_strategy", new, config)
        show_object(session, {"path": str(written)}, lambda value: f"written: {clean(value['path'])}\n")
    elif name is not None:
        show_object(session, offline("strategy", name, config), lambda value: _text(session, value))
    else:
        rows = offline("strategies", config)
        show_rows(session, [_short(row) for row in rows] if is_table(session) else rows, STRATEGIES)
        if is_table(session):
            for row in filter(lambda row: row.get("error"), rows):
                session.warn(row["error"])
    return OK


def _short(row: Row) -> Row:
    """Return a strategy for a table; one that does not load has no parameters to show."""
    return {**row, "parameters": _names(row), "summary": "does not load" if row.get("error") else row.get("summary")}


def _names(row: Row) -> str:
    """Return the parameters as ``period=14 oversold=30``."""
    words = []
    for parameter in row.get("parameters") or []:
        default = parameter.get("default")
        words.append(parameter["name"] if default is None else f"{parameter['name']}={default}")
    return " ".join(words)


def _needs(strategy: Row) -> list[str]:
    """Return in words what a strategy warms up on and what it reads, with its defaults."""
    lines = []
    if strategy.get("warmup") is not None:
        lines.append(f"warm-up  {strategy['warmup']:,} candles, with the defaults")
    inputs = [
        f"{one['candles']:,} of {one['symbol'] or 'its symbol'} {one['interval']}" for one in strategy["inputs"] or []
    ]
    if inputs:
        lines.append(f"reads    its own candles, and the last {', '.join(inputs)}")
    return lines


def _text(session: Session, strategy: Row) -> str:
    head = f"{strategy.get('name')}  {strategy.get('kind', '')}".rstrip()
    about = str(strategy.get("help") or strategy.get("summary") or "").strip()
    parts = [clean(head) + "\n"]
    if about:
        parts.append("".join(clean(line) + "\n" for line in about.split("\n")))
    if needs := _needs(strategy):
        parts.append("\n" + "".join(clean(line) + "\n" for line in needs))
    if strategy.get("parameters"):
        parts.append("\n" + table(session, strategy["parameters"], PARAMETERS))
    return "".join(parts)
