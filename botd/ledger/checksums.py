"""A checksum in every row: what the disk changed by itself is noticed before anybody trades on it.

SQLite's own check finds a damaged tree, hardly ever a flipped bit in a value. The checksum covers the row's
columns as SQLite gives them back; it guards against accidents, not against people (that is what the audit
chain is for). It may not repair.
"""

from __future__ import annotations

import marshal
import sqlite3
from collections.abc import Collection, Iterator
from zlib import crc32

from botd.ledger.tables import CHECKSUM, TABLES, Row, Table

_AT_ONCE = 2000
_MARSHAL = 2  # equal values give equal bytes: later versions of the format write references


class DamagedRowError(ValueError):
    """A row whose checksum does not fit."""


def checksum(row: Row) -> int:
    """Return the checksum of a row's columns, in the table's order."""
    return crc32(marshal.dumps(tuple(row), _MARSHAL))


def sealed(table: Table, rows: Collection[Row]) -> list[Row]:
    """Return the rows as they are written: floats as SQLite keeps them, and the checksum at the end."""
    floats = table.floats
    if not floats:
        return [(*row, crc32(marshal.dumps(row, _MARSHAL))) for row in rows]
    kept = []
    for row in rows:
        if any(row[at] is not None for at in floats):
            row = tuple(_real(value) if at in floats else value for at, value in enumerate(row))
        kept.append((*row, crc32(marshal.dumps(row, _MARSHAL))))
    return kept


def sound(connection: sqlite3.Connection, name: str, rest: str = "", parameters: tuple[object, ...] = ()) -> list[Row]:
    """Return rows of a table in the order of its columns, checked; ``rest`` is WHERE and ORDER BY.

    DamagedRowError names the first that does not fit.
    """
    table = TABLES[name]
    rows = connection.execute(f"SELECT {','.join(table.columns)},{CHECKSUM} FROM {name} {rest}", parameters).fetchall()
    for row in rows:
        if checksum(row[:-1]) != row[-1]:
            raise DamagedRowError(_words(table, row))
    return [row[:-1] for row in rows]


def damages(connection: sqlite3.Connection, *, indexes: bool) -> Iterator[str]:
    """Read every row, and tell in words each that does not fit its checksum; then what ``indexes`` lack, if asked."""
    for table in TABLES.values():
        if not table.checked:
            continue
        cursor = connection.execute(f"SELECT {','.join(table.columns)},{CHECKSUM} FROM {table.name}")
        while rows := cursor.fetchmany(_AT_ONCE):
            for row in rows:
                if crc32(marshal.dumps(row[:-1], _MARSHAL)) != row[-1]:
                    yield _words(table, row)
    for (found,) in connection.execute("PRAGMA integrity_check(10)").fetchall() if indexes else ():
        if found != "ok":
            yield str(found)


def seal_all(connection: sqlite3.Connection) -> None:
    """Give every row that has none its checksum (an upgrade from a schema without)."""
    for table in TABLES.values():
        if not table.checked:
            continue
        columns = ",".join(table.columns)
        found = connection.execute(f"SELECT rowid,{columns} FROM {table.name}").fetchall()
        rows = ((checksum(row[1:]), row[0]) for row in found)
        connection.executemany(f"UPDATE {table.name} SET {CHECKSUM} = ? WHERE rowid = ?", rows)


def _real(value: object) -> float | None:
    """Return a float as it comes back from a REAL column: NaN as NULL, no negative zero."""
    if value is None or value != value:
        return None
    return float(value) + 0.0  # type: ignore[arg-type]


def _words(table: Table, row: Row) -> str:
    key = table.key or tuple(table.columns)[:2]
    named = ", ".join(f"{column} {value}" for column, value in zip(table.columns, row, strict=False) if column in key)
    return f"a row of {table.name} ({named}) does not fit its checksum"
