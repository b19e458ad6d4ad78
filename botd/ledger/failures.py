"""What SQLite and the file system say, in the words of :mod:`botd.domain.errors`.

It may not decide what happens next.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path

from botd.domain.errors import BotdError, ConfigError, ForbiddenError, UnavailableError

_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_NOT_ALLOWED = {sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_AUTH}
_DISK = {sqlite3.SQLITE_FULL: "the disk is full", sqlite3.SQLITE_IOERR: "the disk reports an input/output error"}
_LOCKED = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_WORDS = {errno.EIO: _DISK[sqlite3.SQLITE_IOERR], errno.EROFS: "the file system is read-only"}
_ROOM = 64 * 1024  # more than a write-ahead log needs to begin with
_RESTORE = "put a copy made by `botctl backup` in its place; the damaged file may still be read by experts"
_VERIFY = "`botctl audit verify` names all that is wrong"
ACCEPT = f"{_VERIFY}; where you know why, stop botd, then `botctl audit accept`"
REPLACE = f"{_VERIFY}; stop botd and put a copy made by `botctl backup` in its place"


def primary_code(error: BaseException) -> int:
    """Return SQLite's primary result code, 0 where the error carries none."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def on_open(path: Path, error: sqlite3.Error | OSError) -> BotdError:
    """Return why the ledger cannot be opened."""
    code = primary_code(error)
    if code in _DAMAGED:
        return damaged(path, str(error))
    if code in _DISK or (isinstance(error, OSError) and error.errno in _FULL | {errno.EIO}):
        return UnavailableError(_disk_refuses(path, error), f"{_remedy(path, error)}, then start botd again")
    if code in _LOCKED:
        return UnavailableError(f"{path} is locked by another process", "close what else has the ledger open")
    if code in _NOT_ALLOWED or isinstance(error, OSError):
        reason = error.strerror if isinstance(error, OSError) else str(error)
        return ForbiddenError(f"{path} cannot be opened for writing: {reason}", f"check the rights of {path.parent}")
    return damaged(path, str(error))


def on_write(path: Path, error: Exception) -> UnavailableError:
    """Return why a commit was refused; the batches stay in memory and are tried again."""
    code = primary_code(error)
    if code in _DISK or isinstance(error, OSError):
        hint = f"{_remedy(path, error)}; botd goes on by itself, nothing is lost"
        return UnavailableError(_disk_refuses(path, error), hint)
    if code in _DAMAGED:
        return UnavailableError(f"ledger: {path} is damaged: {error}", _RESTORE)
    return UnavailableError(
        f"ledger: {path} refuses a write: {type(error).__name__}: {error}",
        "see the log; no orders are opened meanwhile",
    )


def _disk_refuses(path: Path, error: Exception) -> str:
    """Say how the disk refuses."""
    full = _DISK[sqlite3.SQLITE_FULL] if _is_full(path, error) else ""
    if isinstance(error, OSError):
        return f"ledger: {full or _WORDS.get(error.errno or 0) or error.strerror or error} ({path.parent})"
    return f"ledger: {full or _DISK.get(primary_code(error), str(error))} ({path.parent}): {error}"


def _remedy(path: Path, error: Exception) -> str:
    return "free space there" if _is_full(path, error) else "see to the disk there"


def _is_full(path: Path, error: Exception) -> bool:
    """Tell whether there is no room; SQLite calls a write-ahead log that finds none an input/output error."""
    if isinstance(error, OSError):
        return error.errno in _FULL
    code = primary_code(error)
    return code == sqlite3.SQLITE_FULL or (code == sqlite3.SQLITE_IOERR and free_bytes(path.parent) < _ROOM)


def free_bytes(directory: Path) -> int:
    """Return what an ordinary user may still write to the file system of ``directory``."""
    try:
        found = os.statvfs(directory)
    except OSError:
        return 0  # a directory that is gone takes nothing
    return found.f_bavail * found.f_frsize


def damaged(path: Path, reason: str) -> ConfigError:
    """Return the refusal of a file that is no sound ledger."""
    return ConfigError(f"{path} is damaged or not a ledger: {reason}", _RESTORE)
