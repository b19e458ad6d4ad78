"""Named places in the code where a test ends the process, or makes the disk fail, at a passage of its choice.

``BOTD_FAILPOINT=ledger.before_commit:3`` kills the process (SIGKILL) at the third passage of that place;
``ledger.before_commit:3:EIO`` raises OSError there, once. Without the variable a place costs the call of an empty
function. It may decide nothing else, and nothing but tests may set the variable.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable

VARIABLE = "BOTD_FAILPOINT"


class Failpoint:
    """Called with the name of each place passed; strikes at the n-th passage of its own."""

    def __init__(self, spec: str) -> None:
        """``spec`` is name:n or name:n:ERROR, ERROR a name of :mod:`errno`; ValueError otherwise."""
        name, _, rest = spec.partition(":")
        count, _, error = rest.partition(":")
        if not name or not count.isdecimal() or (error and not hasattr(errno, error)):
            raise ValueError(f"{VARIABLE}={spec}: give name:n or name:n:EIO")
        self._name = name
        self._left = int(count)
        self._error = getattr(errno, error) if error else 0

    def __call__(self, name: str) -> None:
        """Count a passage."""
        if name != self._name:
            return
        self._left -= 1
        if self._left:
            return
        if self._error:
            raise OSError(self._error, os.strerror(self._error))
        os.kill(os.getpid(), signal.SIGKILL)


def _nothing(name: str) -> None:
    """Pass by."""


failpoint: Callable[[str], None] = Failpoint(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else _nothing
"""Call this at the place: ``failpoint("ledger.before_commit")``."""
