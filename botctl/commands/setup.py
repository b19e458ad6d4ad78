"""Verbs that prepare and check an installation; none needs a daemon."""

from __future__ import annotations

from pathlib import Path

import click

from botctl.cells import Column
from botctl.details import details
from botctl.exit_codes import FAILED, OK
from botctl.offline_calls import config_option, offline
from botctl.output import Row, chosen_format, is_table, output_options, show_object, show_rows, silent, write
from botctl.session import Session, clean

COMPLETIONS = Path(__file__).parents[1] / "completions"
FILES = {"bash": "botctl", "zsh": "_botctl", "fish": "botctl.fish"}
CHECKS = [Column("name"), Column("status", paint="state"), Column("detail", prose=30), Column("hint", wide=True)]


@click.group("config")
@output_options
def config_command(session: Session) -> None:
    """Write and check botd's configuration.

    \b
    Example:
      botctl config init
      botctl config check
    """


@config_command.command("init")
@click.argument("path", required=False, type=click.Path(path_type=Path), metavar="[FILE]")
@output_options
def config_init(session: Session, path: Path | None) -> int:
    """Write a commented configuration; never over one that is there.

    \b
    Example:
      botctl config init
      botctl config init ./botd.yaml
    """
    target = path or Path("~/.config/botd/botd.yaml").expanduser()
    written = offline("config_init", target)
    show_object(session, {"path": str(written)}, lambda value: f"written: {clean(value['path'])}\n")
    _warn(session, offline("config_check", written))
    return OK


@config_command.command("check")
@click.argument("path", required=False, type=click.Path(path_type=Path), metavar="[FILE]")
@output_options
def config_check(session: Session, path: Path | None) -> int:
    """Check a configuration as botd would read it; exit 78 if it is wrong.

    \b
    Example:
      botctl config check ./botd.yaml
    """
    found = offline("config_check", path)
    apart = ("warnings", "hint") if is_table(session) else ()
    shown = {key: value for key, value in found.items() if key not in apart}
    show_object(session, shown, lambda value: "".join(clean(line) + "\n" for line in details(value)))
    _warn(session, found)
    return OK


def _warn(session: Session, found: Row) -> None:
    """Tell what a valid configuration would meet at the start of botd, and the remedy."""
    for warning in found["warnings"]:
        session.warn(warning)
    if found["hint"]:
        session.say(f"  hint: {found['hint']}")


@click.command("doctor")
@config_option("The configuration to look at.")
@output_options
def doctor_command(session: Session, config: Path | None) -> int:
    """Check everything botd needs: files, permissions, libraries, clock; exit 1 if not.

    \b
    Example:
      botctl doctor
    """
    rows: list[Row] = offline("doctor", config)
    if not silent(session):
        show_rows(session, rows, CHECKS)
        if chosen_format(session) == "table":
            for row in filter(lambda row: row.get("hint"), rows):
                session.say(f"  hint: {row['name']}: {row['hint']}")
    return FAILED if any(row.get("status") == "failed" for row in rows) else OK


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@output_options
def completion_command(session: Session, shell: str) -> int:
    """Print the completion script of a shell: verbs, options, bots, symbols, strategies.

    \b
    Example:
      eval "$(botctl completion bash)"
      botctl completion fish > ~/.config/fish/completions/botctl.fish
    """
    write((COMPLETIONS / FILES[shell]).read_text())
    return OK
