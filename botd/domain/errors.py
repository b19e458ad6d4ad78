"""The errors a user can meet, each with the code that the control socket and the exit status carry.

    BotdError
    ├── InvalidError        INVALID       a value or parameter is wrong
    ├── NotFoundError       NOT_FOUND     no such bot, order, strategy or symbol
    ├── ConflictError       CONFLICT      it exists already, with another content
    ├── WrongStateError     WRONG_STATE   not possible in the present state
    ├── DeniedError         DENIED        risk or a strategy's check says no
    ├── UnavailableError    UNAVAILABLE   a part that this needs is not ready
    ├── BusyError           BUSY          too many requests
    ├── ForbiddenError      FORBIDDEN     no permission
    ├── RunningError        RUNNING       another botd holds the lock
    └── ConfigError         CONFIG        configuration, database or world does not fit

A refusal by the risk gate is a value (:class:`botd.risk.gate.Verdict`), not an exception.
"""

from __future__ import annotations


class BotdError(Exception):
    """A failure with a reason and, where there is one, a remedy.

    ``message`` says what and where in one line; ``hint`` is the remedy, one line or empty.
    """

    code = "INTERNAL"

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def said(error: BaseException) -> str:
    """Return what any error says, with its type, in one line of at most 200 characters."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text if len(text) <= 200 else text[:197] + "..."


class InvalidError(BotdError):
    """A value, name or parameter is wrong, whoever noticed."""

    code = "INVALID"


class NotFoundError(BotdError):
    """There is no bot, order, strategy or symbol of that name."""

    code = "NOT_FOUND"


class ConflictError(BotdError):
    """The name is taken by something different."""

    code = "CONFLICT"


class WrongStateError(BotdError):
    """The present state does not allow it."""

    code = "WRONG_STATE"


class DeniedError(BotdError):
    """Risk, or a strategy's own check, says no."""

    code = "DENIED"


class UnavailableError(BotdError):
    """A part of the daemon that this needs is not ready; the message names it."""

    code = "UNAVAILABLE"


class BusyError(BotdError):
    """Too many requests at once."""

    code = "BUSY"


class ForbiddenError(BotdError):
    """No permission: socket, user id, or a directory that cannot be written."""

    code = "FORBIDDEN"


class RunningError(BotdError):
    """Another botd holds the state directory or the socket."""

    code = "RUNNING"


class ConfigError(BotdError):
    """Configuration is invalid, the database is newer, or the ledger belongs to another world."""

    code = "CONFIG"
