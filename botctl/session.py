"""What one run of botctl carries from the root group to its verb: options, the connection, the talk.

Data goes to stdout through :mod:`botctl.output`; everything said here goes to stderr.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from botctl.client import Client
from botctl.exit_codes import Fault

DEFAULT_TIMEOUT_S = 10.0
HINT_TIMEOUT_S = 1.0
SLOW_TIMEOUT_S = 120.0  # close, flatten, backup: they answer when it is done


def clean(text: str) -> str:
    """Return ``text`` without control characters, in one line."""
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)


class Session:
    """Global options as given before or after the verb, and one lazily made connection."""

    def __init__(self) -> None:
        self.format = ""
        self.quiet = False
        self.headers = True
        self.color: bool | None = None
        self.timeout_s: float | None = None
        self.endpoint: str | None = None
        self._client: Client | None = None

    @property
    def client(self) -> Client:
        """Return the connection, which connects itself at the first call."""
        if self._client is None:
            self._client = Client(self.endpoint)
        return self._client

    def call(self, cmd: str, args: dict[str, Any] | None = None, default_s: float = DEFAULT_TIMEOUT_S) -> Any:
        """Send one request with the timeout that the user gave, else ``default_s``."""
        try:
            return self.client.call(cmd, args, self.timeout_s or default_s)
        except Fault as fault:
            raise self.explained(fault) from None

    def explained(self, fault: Fault) -> Fault:
        """Return a fault in the user's words, with the nearest right name where one was wrong."""
        if fault.code not in ("NOT_FOUND", "INVALID"):
            return fault
        from botctl.hints import explained

        return explained(fault, lambda cmd, args: self.client.call(cmd, args, HINT_TIMEOUT_S))

    def rows(self, cmd: str, args: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        """Return all rows of a list verb, over all its pages."""
        return list(self.iterate(cmd, args))

    def iterate(self, cmd: str, args: dict[str, Any] | None = None) -> Iterator[Any]:
        """Yield the rows of a list verb as its pages arrive."""
        try:
            yield from self.client.rows(cmd, args, self.timeout_s or DEFAULT_TIMEOUT_S)
        except Fault as fault:
            raise self.explained(fault) from None

    def say(self, text: str) -> None:
        """Tell something on stderr, unless the user wants it quiet."""
        if not self.quiet:
            tell(clean(text))

    def warn(self, text: str) -> None:
        """Tell a warning on stderr; -q does not hide it."""
        tell(f"botctl: warning: {clean(text)}")

    @contextmanager
    def printing(self, form: str, *, headers: bool) -> Iterator[None]:
        """Print in another format for a while (nothing: the same), with or without headers."""
        before = self.format, self.headers
        self.format, self.headers = form or self.format, headers
        try:
            yield
        finally:
            self.format, self.headers = before

    def colored(self) -> bool:
        """Say whether stdout takes colour: a terminal, and nobody said no."""
        if self.color is False or os.environ.get("NO_COLOR"):
            return False
        return sys.stdout.isatty() and os.environ.get("TERM", "") not in ("", "dumb")

    def world(self) -> str:
        """Return ``PAPER · SYNTHETIC MARKET`` and the like, for tables whose rows do not say; asks the daemon."""
        from botctl.output import is_table, world

        if not is_table(self) or not self.headers:
            return ""
        hello = self.call("hello")
        return world(str(hello.get("mode", "")), str(hello.get("source", "")))

    def trading_now_ms(self) -> int:
        """Return the time on the trading clock: the market's on simulated markets, else the wall's."""
        market = self.call("market.status")
        shown = market.get("time") if isinstance(market, dict) else None
        if isinstance(shown, int):
            return shown
        if isinstance(shown, str):
            from botctl.times import parse_rfc3339_ms

            return parse_rfc3339_ms(shown) or int(time.time() * 1000)
        return int(time.time() * 1000)


pass_session = click.make_pass_decorator(Session, ensure=True)


def tell(line: str) -> None:
    """Print a line on stderr; where nobody can take it (a full disk, a reader gone) the run goes on without."""
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def report_error(message: str, hint: str = "") -> None:
    """Print one error, and its remedy on the next line."""
    tell(f"botctl: error: {clean(message)}" + (f"\n  hint: {clean(hint)}" if hint else ""))
