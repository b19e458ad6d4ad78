"""The one table of exit codes, and the faults that carry them.

How the codes of the wire map to them is said by the protocol, for both ends.
Nothing here knows a command or the wire; ``cli.py`` alone ends the process.
"""

from __future__ import annotations

from botd.control.protocol import EXIT_CODES as EXIT_BY_CODE

OK = 0  # done, or already so
FAILED = 1  # at least one failed; health: degraded or failed
USAGE = 2  # usage, invalid value or parameter, whoever detects it; a missing --yes
NOT_RUNNING = 3  # daemon status, show --check
NOT_FOUND = 4  # no such bot, order, strategy or symbol
REFUSED = 5  # conflict, wrong state, denied by risk or by a strategy's check
UNAVAILABLE = 69  # daemon not reachable, or a part of it not ready
INTERNAL = 70
TIMEOUT = 75  # timeout, busy, or botd already running
VERSION = 76  # of the protocol
FORBIDDEN = 77  # socket, user id, state directory not writable
CONFIG = 78  # invalid configuration, newer database, bound to another world
INTERRUPTED = 130  # Ctrl-C


class Fault(Exception):
    """What ends a command: the exit code, one line that says what and where, and the remedy."""

    def __init__(self, exit_code: int, message: str, hint: str = "", code: str = "") -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.code = code  # of the wire, where it came from there
        self.message = message
        self.hint = hint


def fault_of(error: dict[str, object]) -> Fault:
    """Return the fault for an error object of the wire: ``{"code", "message", "hint"}``."""
    code = str(error.get("code", "INTERNAL"))
    message = str(error.get("message") or code.lower())
    return Fault(EXIT_BY_CODE.get(code, INTERNAL), message, str(error.get("hint") or ""), code)
