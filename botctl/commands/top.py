"""The verb that opens the dashboard, or prints one frame of it."""

from __future__ import annotations

import sys

import click

from botctl.exit_codes import OK, USAGE, Fault
from botctl.output import chosen_format, output_options, show_object, write
from botctl.session import Session
from botctl.times import with_moments


@click.command("top")
@click.option("--once", is_flag=True, help="Print one frame as text and exit.")
@output_options
def top_command(session: Session, once: bool) -> int:
    """Watch bots, prices, portfolio and events live in the terminal.

    Keys: arrows select, Enter opens a bot, q and Escape lead back, s starts, x stops, p pauses it, o sorts, r reverses,
    / filters, ? helps, q on the list quits. No key sells anything. It goes on through a restart of botd.

    \b
    Example:
      botctl top
      botctl top --once
    """
    if once:
        return _once(session)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise Fault(USAGE, "top: this is not a terminal", "botctl top --once prints one frame")
    session.client.connect()  # where no daemon is, say so instead of an empty screen
    import curses

    from botctl.dashboard.screen import Screen

    try:
        Screen(session.client.path, session.colored()).run()
    except curses.error as error:
        raise Fault(USAGE, f"top: this terminal will not do ({error})", "set TERM, or use --once") from None
    return OK


def _once(session: Session) -> int:
    from shutil import get_terminal_size

    from botctl.dashboard.frame import frame, plain
    from botctl.dashboard.model import Dashboard
    from botctl.dashboard.screen import held_by

    data = session.call("top")
    if chosen_format(session) not in ("table", "wide"):
        show_object(session, with_moments(data), str)
        return OK
    board = Dashboard()
    board.update(data)
    board.held = held_by(data, session.call)
    size = get_terminal_size()
    write(plain(frame(board, size.columns, size.lines, keys=False)))
    return OK
