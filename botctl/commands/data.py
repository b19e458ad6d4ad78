"""Verbs about the local candle store: load history, read files into it, list it, verify it. No daemon needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from botctl.arguments import moment_ms, together
from botctl.cells import Column, dated, text
from botctl.completion import complete_interval, complete_symbol
from botctl.exit_codes import FAILED, OK
from botctl.offline_calls import config_option, offline
from botctl.output import Row, output_options, show_actions, show_object, show_rows, silent
from botctl.progress import Progress
from botctl.session import Session, clean


def size(value: Any) -> str:
    """Return bytes as ``8.3 MB``."""
    amount = float(value)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000 or unit == "GB":
            break
        amount /= 1000
    return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"


def _count(value: Any) -> str:
    return text(len(value) if isinstance(value, list) else value)


LANES = [
    Column("exchange", drop=2),
    Column("symbol"),
    Column("interval"),
    Column("first", form=dated, drop=5),
    Column("last", form=dated, drop=6),
    Column("rows", right=True),
    Column("gaps", form=_count, right=True, drop=3),
    Column("missing", right=True, drop=4),
    Column("bytes", "SIZE", form=size, right=True, drop=1),
    Column("files", wide=True, right=True),
    Column("status", paint="state"),
]


_lane_options = together(
    click.option("--symbol", required=True, metavar="S", shell_complete=complete_symbol, help="BTC/USDT and the like."),
    click.option("--interval", required=True, shell_complete=complete_interval, help="1m, 5m, 1h ..."),
)
_config_option = config_option("The configuration that says where data_dir is.")


@click.group("data")
@output_options
def data_command(session: Session) -> None:
    """Keep history: candles in a local store that backtests read.

    \b
    Example:
      botctl data download --symbol BTC/USDT --interval 1m --from 30d
      botctl data ls
    """


@data_command.command("download")
@_lane_options
@click.option("--from", "since", required=True, metavar="TIME", help="From this time, or how long ago: 30d.")
@click.option("--to", "until", metavar="TIME", help="Until this time [default: now].")
@click.option("--replace", is_flag=True, help="Load everything again, and take what differs.")
@_config_option
@output_options
def data_download(
    session: Session, symbol: str, interval: str, since: str, until: str | None, replace: bool, config: Path | None
) -> int:
    """Load candles from the exchange; only what is missing, so it goes on where it stopped.

    \b
    Example:
      botctl data download --symbol BTC/USDT --interval 1m --from 2024-01-01 --to 2024-09-01
      botctl data download --symbol ETH/USDT --interval 5m --from 30d
    """
    from_ms, to_ms = moment_ms(session, since, wall=True), moment_ms(session, until, wall=True)
    try:
        with Progress(session, "candles") as progress:
            done = offline("data_download", config, symbol, interval, from_ms, to_ms, replace, progress)
    except KeyboardInterrupt:
        session.say("stopped; what was loaded is kept, the same command goes on there")
        raise
    if not silent(session):
        show_object(session, done, _download_text, name="symbol")
    if done["odd"]:
        session.warn(f"{done['odd']} rows of the exchange are no candles, and were left out")
    return OK


def _download_text(done: Row) -> str:
    lane = f"{done['symbol']} {done['interval']}"
    changed = [f"{done['added']:,} candles added"] if done["added"] or not done["replaced"] else []
    changed += [f"{done['replaced']:,} replaced"] if done["replaced"] else []
    gaps = done["gaps"]
    missing = sum(gap["missing"] for gap in gaps)
    told = f"  {len(gaps)} {'gap' if len(gaps) == 1 else 'gaps'}, {missing:,} candles missing" if gaps else ""
    return clean(f"{lane}  {', '.join(changed)}{told}") + "\n"


@data_command.command("import")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@_lane_options
@click.option("--replace", is_flag=True, help="Take the rows of the files where they differ from the store's.")
@_config_option
@output_options
def data_import(
    session: Session, files: tuple[Path, ...], symbol: str, interval: str, replace: bool, config: Path | None
) -> int:
    """Read candles from CSV, CSV.gz or Binance's ZIP archives; a folder means all files in it.

    \b
    Example:
      botctl data import BTCUSDT-1m-2024-08.zip --symbol BTC/USDT --interval 1m
      botctl data import ./archives --symbol BTC/USDT --interval 1m
    """
    with Progress(session, "files") as progress:
        rows = offline("data_import", config, list(files), symbol, interval, replace, progress)
    return show_actions(session, rows, _import_line)


def _import_line(row: Row) -> str:
    name = Path(row["name"]).name
    if row["result"] == "skipped":
        return clean(f"{name}  skipped: another symbol or interval by its name")
    words = [f"{row['added']:,} added"]
    told = (("equal", "known"), ("replaced", "replaced"), ("shifted", "set on the grid"), ("not_closed", "not closed"))
    words += [f"{row[key]:,} {word}" for key, word in told if row[key]]
    return clean(f"{name}  {', '.join(words)}")


@data_command.command("ls")
@_config_option
@output_options
def data_ls(session: Session, config: Path | None) -> int:
    """List what is stored: first and last candle, rows, gaps, size.

    \b
    Example:
      botctl data ls
      botctl data ls -o json
    """
    rows = offline("data_lanes", config)
    show_rows(session, rows, LANES, name="symbol", empty="no candles yet; see botctl data download --help")
    return OK


@data_command.command("verify")
@click.option("--symbol", metavar="S", shell_complete=complete_symbol, help="This symbol only.")
@click.option("--interval", shell_complete=complete_interval, help="This interval only.")
@click.option("--repair", is_flag=True, help="Set damaged files aside, so that a download fills their time again.")
@_config_option
@output_options
def data_verify(session: Session, symbol: str | None, interval: str | None, repair: bool, config: Path | None) -> int:
    """Read every stored candle and check it; exit 1 if a file is damaged.

    \b
    Example:
      botctl data verify
      botctl data verify --symbol BTC/USDT --interval 1m -o json
      botctl data verify --repair
    """
    rows = offline("data_verify", config, symbol, interval, repair)
    if not silent(session):
        show_rows(session, rows, LANES, name="symbol", empty="no candles yet; see botctl data download --help")
    damaged = [row for row in rows if row["damage"]]
    for row in damaged:
        for item in row["damage"]:
            session.warn(f"{row['exchange']} {row['symbol']} {row['interval']}: {item['file']} {item['fault']}")
        if repair:
            session.say(
                f"set aside; botctl data download --symbol {row['symbol']} --interval {row['interval']} fills it"
            )
    return FAILED if damaged else OK
