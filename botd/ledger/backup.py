"""Copies of the ledger, taken while it is in use, and the proof that they are whole.

A copy is one consistent moment (SQLite's backup API under one read transaction), moved into place only
when it is complete. It may not touch the writer's connection.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any
from urllib.parse import quote

from botd.domain.clock import Clock, rfc3339
from botd.domain.errors import UnavailableError
from botd.domain.failpoints import failpoint
from botd.ledger import failures
from botd.ledger.checksums import damages
from botd.ledger.tables import TABLES

Fingerprint = dict[str, str | int]


def backup(path: Path, directory: Path, clock: Clock, *, verify: bool) -> dict[str, Any]:
    """Copy the ledger to ``<directory>/ledger-<UTC>.db``; return path, bytes, verified, damage and seconds.

    ``verify`` reads every row of the copy: one that holds damaged rows, as the ledger does then, is kept under a name
    that says so, and ``damage`` names the first.
    """
    started = clock.monotonic()
    try:
        directory.mkdir(parents=True, exist_ok=True)
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
    part = target.with_name(target.name + ".part")
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
    source = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, isolation_level=None)
    try:
        source.execute("PRAGMA busy_timeout = 5000")
        source.execute("BEGIN")
        expected = fingerprint(source) if verify else {}
        copy = sqlite3.connect(part, isolation_level=None)
        try:
            source.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")
        finally:
            copy.close()
    finally:
        source.close()
    if verify:
        _verify(part, expected)


def _verify(part: Path, expected: Fingerprint) -> None:
    copy = sqlite3.connect(f"file:{quote(str(part))}?mode=ro", uri=True)
    try:
        found = copy.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if found != "ok":
            raise UnavailableError(f"the copy is not sound: {found}", "check the disk, then back up again")
        actual = fingerprint(copy)
    finally:
        copy.close()
    different = sorted(key for key in expected if expected[key] != actual.get(key))
    if different:
        key = different[0]
        raise UnavailableError(
            f"the copy differs from the ledger in {key}: {actual.get(key)} instead of {expected[key]}",
            "check the disk, then back up again",
        )


def _first_damage(copy: Path) -> str | None:
    connection = sqlite3.connect(f"file:{quote(str(copy))}?mode=ro", uri=True)
    try:
        return next(damages(connection, indexes=False), None)
    finally:
        connection.close()


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


def _free_name(directory: Path, stem: str, now_ms: int) -> Path:
    stamp = rfc3339(now_ms // 1000 * 1000).replace("-", "").replace(":", "")
    name = directory / f"{stem}-{stamp}.db"
    number = 2
    while name.exists():
        name = directory / f"{stem}-{stamp}-{number}.db"
        number += 1
    return name


def sync(path: Path) -> None:
    """Make a file durable, or a rename in a directory."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
