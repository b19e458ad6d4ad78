"""Detaches botd from its terminal, and tells the one who called how the start went.

The caller is forked off first and waits on a pipe, so that ``botd --daemon`` returns only when the daemon
answers commands, or with the daemon's own reason. Locks are taken before; loops, threads, sockets and
log files belong after. It starts nothing else.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from botd.systemd import Notifier

NO_ANSWER = 70


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a start went: exit code 0, or the reason of the child and its exit code."""

    exit_code: int
    message: str = ""
    hint: str = ""


class Readiness:
    """The child's end of the pipe, and the service manager: both are told once."""

    def __init__(self, notifier: Notifier, descriptor: int | None = None) -> None:
        self._notifier = notifier
        self._descriptor = descriptor

    def ready(self) -> None:
        """The daemon answers commands and its ledger is sound."""
        self._tell(Outcome(0))
        self._notifier.ready()

    def failed(self, outcome: Outcome) -> bool:
        """The start ended; returns whether somebody was still waiting to hear it.

        The pipe stays open: the caller goes on when this process is gone, and its locks with it.
        """
        return self._tell(outcome, last=False)

    def _tell(self, outcome: Outcome, *, last: bool = True) -> bool:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return False
        message = json.dumps([outcome.exit_code, outcome.message[:1000], outcome.hint[:1000]])
        try:
            os.write(descriptor, message.encode())
        except OSError:  # the caller went away; the daemon goes on
            return False
        finally:
            if last:
                os.close(descriptor)
        return True


def detach(*, keep: Sequence[int], stderr: Path | None, notifier: Notifier) -> Readiness | Outcome:
    """Fork; return a :class:`Readiness` in the daemon and an :class:`Outcome` in the caller.

    ``keep`` are descriptors that stay open (the locks); what the process writes to stderr past its logs
    (a crash of the interpreter) is appended to the file ``stderr``.
    """
    reader, writer = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        os.close(writer)
        return _wait(reader, child)
    os.close(reader)
    readiness = Readiness(notifier, writer)
    try:
        _become_daemon([*keep, writer], stderr)
    except BaseException as error:  # half a daemon must not run on as a copy of its caller
        readiness.failed(Outcome(NO_ANSWER, f"cannot become a daemon: {error}"))
        os._exit(NO_ANSWER)
    return readiness


def _become_daemon(keep: Sequence[int], stderr: Path | None) -> None:
    from daemon import DaemonContext

    try:
        error_file = open(stderr, "ab", buffering=0) if stderr else None  # noqa: SIM115 - lives as long as the daemon
    except OSError:  # the logs cannot be started either, and say why
        error_file = None
    context = DaemonContext(
        umask=0o027,
        signal_map={},
        detach_process=True,
        files_preserve=list(keep),
        stderr=error_file,
    )
    context.open()


def _wait(reader: int, child: int) -> Outcome:
    """Read the daemon's answer; end of file without one means that it died."""
    with os.fdopen(reader, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    try:
        exit_code, message, hint = json.loads(answer)
    except ValueError:
        return Outcome(NO_ANSWER, "botd ended before it was ready")
    return Outcome(exit_code, message, hint)
