"""How far a long command is: a bar on a terminal, a plain line now and then elsewhere. All of it on stderr."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable

from botctl.session import Session, clean
from botctl.times import format_age

_FRAME_S = 0.1
_LINE_S = 5.0
_BAR = 24


class Progress:
    """Called with (done, of so many, note), within a ``with``. ``what`` is counted: candles, files.

    The rate is that of this run: what was there before does not count.
    """

    def __init__(self, session: Session, what: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._silent = session.quiet
        self._terminal = sys.stderr.isatty()
        self._what = what
        self._clock = clock
        self._begin = clock()
        self._shown = self._begin - _LINE_S if self._terminal else self._begin
        self._note = ""
        self._drawn = False

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *failure: object) -> None:
        self.end()

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """Show it, unless the last time is not long ago and nothing but the number changed."""
        if not total and not note:
            return  # nothing is known yet: a full bar of nothing would be untrue
        now = self._clock()
        pause = _FRAME_S if self._terminal else _LINE_S
        if self._silent or (now - self._shown < pause and note == self._note and (done < total or not self._terminal)):
            return
        shown = self.text(done, total, note) if total else note
        changed, self._note, self._shown = note != self._note, note, now
        if not self._terminal:
            if note or not changed:
                print(clean(shown), file=sys.stderr, flush=True)
            return
        width = shutil.get_terminal_size().columns - 1
        filled = _BAR * done // total if total else 0
        line = f"[{'#' * filled}{'.' * (_BAR - filled)}] {shown}"
        sys.stderr.write("\r" + clean(line)[:width].ljust(width))
        sys.stderr.flush()
        self._drawn = True

    def text(self, done: int, total: int, note: str = "") -> str:
        """Return ``45%  12,000 of 26,700 candles  3,500/s  4s left``."""
        seconds = self._clock() - self._begin
        rate = done / seconds if seconds > 0 else 0.0
        parts = [f"{100 * done // total if total else 100}%", f"{done:,} of {total:,} {self._what}"]
        if rate:
            parts.append(f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.1f}/s")
            if done < total:
                parts.append(f"{format_age((total - done) / rate)} left")
        return "  ".join([*parts, *([note] if note else [])])

    def end(self) -> None:
        """Leave the line of the bar."""
        if self._drawn:
            sys.stderr.write("\n")
            sys.stderr.flush()
            self._drawn = False
