"""Copies of the ledger, taken while it is in use, and the proof that they are whole.

A copy is one consistent moment (SQLite's backup API under one read transaction), moved into place only
when it is complete. Who makes one holds the directory: what is unfinished there is nobody's any more, and removed.
It may not touch the writer's connection.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from botd.domain.clock import Clock, rfc3339
from botd.domain.errors import BusyError, UnavailableError
from botd.domain.failpoints import failpoint
from botd.ledger import failures
from botd.ledger.checksums import damages
from botd.ledger.tables import TABLES

PART = ".part"
Fingerprint = dict[str, str | int]

logger = logging.getLogger(__name__)


def backup(path: Path, directory: Path, clock: Clock, *, verify: bool) -> dict[str, Any]:
    """Copy the ledger to ``<directory>/ledger-<UTC>.db``; return path, bytes, verified, damage and seconds.

    ``verify`` reads every row of the copy: one that holds damaged rows, as the ledger does then, is kept under a name
    that says so, and ``damage`` names the first.
    """
    started = clock.monotonic()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with _held(directory):
            _clear_unfinished(directory, path.stem)
            target = _free_name(directory, path.stem, clock.wall_ms())
            copy_database(path, target, verify=verify)
            damage = _first_damage(target) if verify else None
            if damage is not None:
                target = target.replace(target.with_name(f"{target.stem}-damaged{target.suffix}"))
                sync(directory)
            size = target.stat().st_size
    except (sqlite3.Error, OSError) as error:
        raise failures.on_open(directory, error) from error
    seconds = round(clock.monotonic() - started, 3)
    sound = verify and damage is None
    return {"path": str(target), "bytes": size, "verified": sound, "damage": damage, "seconds": seconds}


def copy_database(path: Path, target: Path, *, verify: bool) -> None:
    """Copy the database at ``path`` to ``target`` (replaced if there), synced; ``verify`` checks the copy.

    Raises sqlite3.Error or OSError where the copy cannot be made, UnavailableError where it is not equal.
    """
    part = target.with_name(target.name + PART)
    part.unlink(missing_ok=True)
    try:
        failpoint("backup.before_copy")
        _copy(path, part, verify=verify)
        sync(part)
        failpoint("backup.before_rename")
        os.replace(part, target)
        failpoint("backup.after_rename")
        sync(target.parent)
    finally:
        part.unlink(missing_ok=True)


def _copy(path: Path, part: Path, *, verify: bool) -> None:
    with reading(path) as source:
        source.execute("PRAGMA busy_timeout = 5000")
        source.execute("BEGIN")
        expected = fingerprint(source) if verify else {}
        copy = sqlite3.connect(part, isolation_level=None)
        try:
            source.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")
        finally:
            copy.close()
    if verify:
        _verify(part, expected)


def _verify(part: Path, expected: Fingerprint) -> None:
    with reading(part) as copy:
        found = copy.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if found != "ok":
            raise UnavailableError(f"the copy is not sound: {found}", "check the disk, then back up again")
        actual = fingerprint(copy)
    different = sorted(key for key in expected if expected[key] != actual.get(key))
    if different:
        key = different[0]
        raise UnavailableError(
            f"the copy differs from the ledger in {key}: {actual.get(key)} instead of {expected[key]}",
            "check the disk, then back up again",
        )


def _first_damage(copy: Path) -> str | None:
    with reading(copy) as connection:
        return next(damages(connection, indexes=False), None)


def fingerprint(connection: sqlite3.Connection) -> Fingerprint:
    """Return the world, the schema version and the number of rows of each table."""
    present = [row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    result: Fingerprint = {
        name: int(connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0])
        for name in sorted(TABLES.keys() & set(present))
    }
    result["schema version"] = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if "meta" in present:
        for key, value in connection.execute("SELECT key, value FROM meta WHERE key IN ('world', 'instance', 'batch')"):
            result[f"meta {key}"] = str(value)
    return result


@contextmanager
def _held(directory: Path) -> Iterator[None]:
    """Hold the directory's lock, which ends with the process; BusyError where another one makes a copy there."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise BusyError(f"{directory}: another backup is being made", "wait until it is done") from None
    else:
        yield
    finally:
        os.close(descriptor)


def _clear_unfinished(directory: Path, stem: str) -> None:
    """Remove what a backup left that was killed."""
    unfinished = re.compile(rf"{re.escape(stem)}-\d{{8}}T\d{{6}}Z(-\d+)?\.db{re.escape(PART)}(-journal|-wal|-shm)?")
    for file in sorted(directory.iterdir()):
        if unfinished.fullmatch(file.name):
            logger.warning("%s: a backup was not finished; removed", file)
            file.unlink()


def _free_name(directory: Path, stem: str, now_ms: int) -> Path:
    stamp = rfc3339(now_ms // 1000 * 1000).replace("-", "").replace(":", "")
    name = directory / f"{stem}-{stamp}.db"
    number = 2
    while name.exists():
        name = directory / f"{stem}-{stamp}-{number}.db"
        number += 1
    return name


@contextmanager
def reading(path: Path, *, immutable: bool = False) -> Iterator[sqlite3.Connection]:
    """Open a database that is there, to read it; ``immutable``: the file as it is, without its log or a lock."""
    how = "ro&immutable=1" if immutable else "ro"
    connection = sqlite3.connect(f"file:{quote(str(path))}?mode={how}", uri=True, isolation_level=None)
    try:
        yield connection
    finally:
        connection.close()


def sync(path: Path) -> None:
    """Make a file durable, or a rename in a directory."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
