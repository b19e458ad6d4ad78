"""The two locks that make a second botd impossible: one on the state directory, one on the socket's path.

ZeroMQ lets a second process bind an ipc path and steals it without a word, so the path is locked before it is
bound. A lock is a ``flock`` on a file that is never unlinked: it is gone with the process, however that ends,
and a new file could not be locked twice. Locks survive a fork; they are taken before daemonising.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from botd.domain.errors import BotdError, ForbiddenError, RunningError, UnavailableError

STATE_LOCK = "botd.lock"
_FULL = (errno.ENOSPC, errno.EDQUOT)


class Locks:
    """Locks held by this process; ``descriptors`` must stay open for as long as it lives."""

    def __init__(self, descriptors: dict[Path, int]) -> None:
        self._descriptors = descriptors

    @property
    def descriptors(self) -> list[int]:
        return list(self._descriptors.values())

    def write_pid(self) -> None:
        """Write this process's id into the lock files, for people and for the refusal of a second botd."""
        for path, descriptor in self._descriptors.items():
            try:
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            except OSError as error:
                raise _refusal(path, error) from None

    def release(self) -> None:
        """Give the locks up by closing them (never by LOCK_UN: a forked child may hold them on)."""
        for descriptor in self._descriptors.values():
            os.close(descriptor)
        self._descriptors = {}


def acquire(state_dir: Path, socket: Path) -> Locks:
    """Create ``state_dir`` where needed and lock it and ``socket``; returns the held locks.

    Raises RunningError naming the pid of the holder, ForbiddenError where a file cannot be written,
    UnavailableError where the disk is full.
    """
    make_private(state_dir)
    make_private(socket.parent)
    held: dict[Path, int] = {}
    try:
        for path in (state_dir / STATE_LOCK, socket.with_name(socket.name + ".lock")):
            held[path] = _lock(path)
        locks = Locks(held)
        locks.write_pid()
    except BaseException:
        Locks(held).release()
        raise
    return locks


@contextmanager
def alone(state_dir: Path) -> Iterator[None]:
    """Hold ``state_dir`` for a while, so that no botd starts there; RunningError where one runs."""
    held = Locks({state_dir / STATE_LOCK: _lock(state_dir / STATE_LOCK)})
    try:
        yield
    finally:
        held.release()


def make_private(directory: Path) -> None:
    """Create ``directory`` for this user only; ForbiddenError where that fails or it cannot be written."""
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        directory.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise _refusal(directory, error) from None
    if not os.access(directory, os.W_OK | os.X_OK):
        raise ForbiddenError(f"{directory}: cannot be written", "choose another state_dir, or correct its owner")


def holder(state_dir: Path) -> int | None:
    """Return the pid of the botd that holds ``state_dir``, or None when nobody does."""
    path = state_dir / STATE_LOCK
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return _pid(descriptor)
    finally:
        os.close(descriptor)
    return None


def _lock(path: Path) -> int:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise _refusal(path, error) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = _pid(descriptor)
        os.close(descriptor)
        who = f"another botd (pid {pid})" if pid else "another botd"
        hint = "see `botctl daemon status`; a second botd needs a state_dir of its own, in a configuration of its own"
        raise RunningError(f"{who} holds {path}", hint) from None
    except OSError as error:
        os.close(descriptor)
        raise _refusal(path, error) from None
    return descriptor


def _pid(descriptor: int) -> int | None:
    text = os.pread(descriptor, 32, 0).strip()
    return int(text) if text.isdigit() else None


def _refusal(path: Path, error: OSError) -> BotdError:
    if error.errno in _FULL:
        return UnavailableError(f"{path}: the disk is full", "free space there, then start botd again")
    hint = "choose another state_dir, or correct its owner"
    if isinstance(error, FileExistsError | NotADirectoryError):
        return ForbiddenError(f"{path}: cannot be made: {error.filename} is not a directory", hint)
    return ForbiddenError(f"{path}: {error.strerror}", hint)
