"""The database file: made, recognised, checked cheaply, and brought up to the present schema.

A file that is damaged, newer, of another program or bound to another world is refused with the remedy.
It may not write rows of the journal.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from botd.domain.clock import Clock, random_token
from botd.domain.errors import ConfigError
from botd.domain.failpoints import failpoint
from botd.ledger import failures
from botd.ledger.agreement import UNAUDITED
from botd.ledger.audit import TRIGGERS
from botd.ledger.backup import copy_database, reading, sync
from botd.ledger.checksums import seal_all, sealed
from botd.ledger.records import ACCOUNT
from botd.ledger.tables import ALL, CHECKSUM, TABLES

VERSION = 2
APPLICATION_ID = 0x424F5444  # "BOTD"
INSTANCE_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_MAGIC = b"SQLite format 3\0"
_SMALL = 32 * 1024 * 1024  # a full check of this many bytes still takes a fraction of a second

Step = Callable[[sqlite3.Connection], None]


def _to_2(connection: sqlite3.Connection) -> None:
    """Checksums in every row, the audit, and what a replay of the fills needs beside them."""
    for table in ALL:
        if table.checked and table.name != "adjustments":
            connection.execute(f"ALTER TABLE {table.name} ADD COLUMN {CHECKSUM} INTEGER NOT NULL DEFAULT 0")
    columns = "id INTEGER PRIMARY KEY, time_ms INTEGER NOT NULL, kind TEXT NOT NULL, entry TEXT NOT NULL"
    connection.execute(f"CREATE TABLE audit ({columns}, mac TEXT NOT NULL) STRICT")
    for trigger in TRIGGERS:
        connection.execute(trigger)
    for name in UNAUDITED:
        last = f"SELECT 'unaudited_{name}', coalesce(max(id), 0) FROM {name}"
        connection.execute(f"INSERT INTO meta (key, value) {last}")
    columns = "id INTEGER PRIMARY KEY, bot INTEGER NOT NULL, symbol TEXT NOT NULL, trade_id TEXT NOT NULL"
    more = f"kind TEXT NOT NULL, amount TEXT NOT NULL, time_ms INTEGER NOT NULL, {CHECKSUM} INTEGER NOT NULL"
    connection.execute(f"CREATE TABLE adjustments ({columns}, {more}) STRICT")
    connection.execute("CREATE INDEX adjustments_symbol_trade_id ON adjustments (symbol, trade_id)")
    connection.execute("CREATE INDEX orders_exchange_order_id ON orders (exchange_order_id)")
    seal_all(connection)


STEPS: dict[int, Step] = {1: _to_2}
"""How to get from version N to N + 1, by N. Each step uses ``execute`` only: all run in one transaction."""


def connect(path: Path, *, write: bool) -> sqlite3.Connection:
    """Open a connection with the ledger's settings; it never creates the file."""
    mode = "rw" if write else "ro"
    connection = sqlite3.connect(
        f"file:{quote(str(path))}?mode={mode}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=512,
    )
    try:
        connection.execute("PRAGMA busy_timeout = 5000")
        connection.execute("PRAGMA mmap_size = 0")
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA foreign_keys = ON")
        if write:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA wal_autocheckpoint = 10000")
        else:
            connection.execute("PRAGMA query_only = ON")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def prepare(path: Path, world: Mapping[str, Any], clock: Clock) -> str:
    """Make the ledger at ``path``, or check and upgrade the one that is there; return its instance id."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.stat().st_size == 0:
            _create(path, world, clock)
        _check_header(path)
        connection = connect(path, write=True)
        try:
            _recognise(connection, path, VERSION)
            _check_log(connection, path)
            upgrade(connection, path, VERSION, STEPS)
            _check_world(connection, path, world)
            _check_whole(connection, path)
            return meta(connection, "instance") or ""
        finally:
            connection.close()
    except (sqlite3.Error, OSError) as error:
        raise failures.on_open(path, error) from error
    except (msgspec.MsgspecError, ValueError) as error:  # ValueError: a message of SQLite's that is no UTF-8, too
        raise failures.damaged(path, str(error)) from error


def meta(connection: sqlite3.Connection, key: str) -> str | None:
    """Return a value of the ledger about itself."""
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return None if row is None else str(row[0])


def upgrade(connection: sqlite3.Connection, path: Path, target: int, steps: Mapping[int, Step]) -> bool:
    """Bring an older schema to ``target``: a verified copy first, then all steps in one transaction."""
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version == target:
        return False
    failpoint("migration.before_copy")
    copy_database(path, kept_copy(path, version), verify=True)
    failpoint("migration.after_copy")
    connection.execute("BEGIN IMMEDIATE")
    try:
        for number in range(version, target):
            steps[number](connection)
        connection.execute(f"PRAGMA user_version = {target}")
        failpoint("migration.before_commit")
        connection.execute("COMMIT")
        failpoint("migration.after_commit")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return True


def kept_copy(path: Path, version: int) -> Path:
    """Return where the copy of schema ``version`` is kept: ``ledger.v1.db``."""
    return path.with_name(f"{path.stem}.v{version}{path.suffix}")


def _create(path: Path, world: Mapping[str, Any], clock: Clock) -> None:
    """Make the file aside and move it into place: a ledger is there whole, or not at all."""
    leftover = path.with_name(path.name + "-wal")
    if leftover.exists() and leftover.stat().st_size:
        raise ConfigError(
            f"{path} is missing, but its write-ahead log {leftover.name} is there",
            f"put {path.name} back, or a backup of it; remove {leftover.name} only to begin anew",
        )
    aside = path.with_name(path.name + ".new")
    for name in (aside, aside.with_name(aside.name + "-journal"), aside.with_name(aside.name + "-wal")):
        name.unlink(missing_ok=True)
    connection = sqlite3.connect(aside)
    try:
        # Nothing of it counts before the rename: one sync at the end instead of one for every table and index.
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA journal_mode = MEMORY")
        _make_tables(connection)
        _fill_meta(connection, world, clock)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.commit()
    finally:
        connection.close()
    sync(aside)
    failpoint("ledger.before_birth")
    os.replace(aside, path)
    failpoint("ledger.after_birth")
    sync(path.parent)


def _make_tables(connection: sqlite3.Connection) -> None:
    import sqlite_utils  # 0.2 s, and only at a ledger's birth

    database = sqlite_utils.Database(connection)
    for table in ALL:
        columns = {"id": int, **table.stored} if table.serial else dict(table.stored)
        primary = "id" if table.serial else table.key if len(table.key) > 1 else table.key[0]
        made = database.table(table.name)
        made.create(
            columns,
            pk=primary,
            not_null=[column for column in table.stored if column not in table.nullable],
            foreign_keys=[("bot", "bots", "number")] if table.belongs_to_bot else [],
            strict=True,
        )
        if table.serial and table.key:
            made.create_index(table.key, unique=True, index_name=f"{table.name}_key")
        for index in table.indexes:
            made.create_index(index, index_name=f"{table.name}_{'_'.join(index)}")
        for name, column, condition in table.partial:
            connection.execute(f"CREATE INDEX {name} ON {table.name} ({column}) WHERE {condition}")
    for trigger in TRIGGERS:
        connection.execute(trigger)
    connection.commit()


def _fill_meta(connection: sqlite3.Connection, world: Mapping[str, Any], clock: Clock) -> None:
    rows = {
        "instance": random_token(INSTANCE_ALPHABET, 5),
        "world": _canonical(world),
        "born_ms": str(clock.wall_ms()),
        "batch": "0",
        "event_seq": "0",
    }
    nobody = (ACCOUNT, "", "{}", "", "", 0, "", 0, 0, None)
    for name, written in (("meta", list(rows.items())), ("bots", [nobody])):
        connection.executemany(TABLES[name].insert(1), sealed(TABLES[name], written))
    connection.commit()


def _check_header(path: Path) -> None:
    with path.open("rb") as file:
        if file.read(16) != _MAGIC:
            raise failures.damaged(path, "it does not begin like an SQLite database")


def _recognise(connection: sqlite3.Connection, path: Path, known: int) -> None:
    if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise ConfigError(f"{path} is a database of another program", "use another state_dir")
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > known:
        copy = kept_copy(path, known)
        raise ConfigError(
            f"{path} has schema version {version}, this botd knows versions up to {known}",
            f"install the newer botd again, or go back to the copy kept before the upgrade: {copy.name}"
            + ("" if copy.exists() else " (not there now)"),
        )
    if version < 1:
        raise failures.damaged(path, "it has no schema version")


def refusal(path: Path, world: Mapping[str, Any]) -> ConfigError | None:
    """Return why a botd of ``world`` would not take the ledger at ``path``, None where it would (or may not look).

    The file is read as it is, beside a botd that may be using it; nothing is written, not even a lock.
    """
    try:
        if not path.is_file() or path.stat().st_size == 0:
            return None
        with reading(path, immutable=True) as connection:
            _recognise(connection, path, VERSION)
            _check_world(connection, path, world)
            if int(connection.execute("PRAGMA user_version").fetchone()[0]) == VERSION:  # an older one is upgraded
                _check_tables(connection, path)
    except ConfigError as error:
        return error
    except (sqlite3.Error, OSError, msgspec.MsgspecError, ValueError):
        return None  # the start looks closer, and says what is wrong
    return None


def _check_world(connection: sqlite3.Connection, path: Path, world: Mapping[str, Any]) -> None:
    stored = msgspec.json.decode(meta(connection, "world") or "{}")
    asked = msgspec.json.decode(_canonical(world))
    if stored == asked:
        return
    old, new = _flat(stored), _flat(asked)
    differing = sorted(key for key in {*old, *new} if old.get(key) != new.get(key))
    directory, word = path.parent, str(new.get("market.source", "other"))
    if old.get("market.source") != new.get("market.source"):  # the seed of another market says nothing
        differing = [key for key in differing if not key.startswith("market.")]
    raise ConfigError(
        f"{path} is bound to another world: the ledger is of {_named(old, differing)}, "
        f"the configuration says {_named(new, differing)}",
        f"another world wants another state_dir: put `state_dir: {_beside(directory, word)}` into the configuration; "
        f"or begin anew here: mv {directory} {_beside(directory, str(old.get('market.source', 'old')))}",
    )


def _check_log(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse a log that ends before what was moved from it into the file: it would put old pages over new ones."""
    has = int(meta(connection, "batch") or 0)
    with reading(path, immutable=True) as beneath:
        try:
            moved = int(meta(beneath, "batch") or 0)
        except (sqlite3.DatabaseError, ValueError):
            return  # botd was killed while moving: only with the log the file is whole
    if moved > has:
        raise failures.damaged(path, f"its write-ahead log was cut off: it ends with batch {has}, {moved} was kept")


def _check_tables(connection: sqlite3.Connection, path: Path) -> None:
    present = {row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    missing = sorted(TABLES.keys() - present)
    if missing:
        raise failures.damaged(path, f"table {missing[0]} is missing")


def _check_whole(connection: sqlite3.Connection, path: Path) -> None:
    """Look for a truncated or damaged file, in time that does not grow with the ledger."""
    _check_tables(connection, path)
    busy, logged, moved = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    expected = pages * connection.execute("PRAGMA page_size").fetchone()[0]
    size = path.stat().st_size
    if not busy and logged == moved and size < expected:
        raise failures.damaged(path, f"it is cut off after {size} of {expected} bytes")
    if size <= _SMALL:
        found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise failures.damaged(path, str(found).replace("\n", " "))


def is_simulated(world: Mapping[str, Any]) -> bool:
    """Return whether a world's market time is not wall time (synthetic, replay)."""
    flat = _flat(world)
    return flat.get("source", flat.get("market.source")) in ("synthetic", "replay")


def _canonical(world: Mapping[str, Any]) -> str:
    return msgspec.json.encode(dict(world), order="sorted", enc_hook=str).decode()


def _flat(world: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a world with its inner keys dotted: ``market.source``."""
    flat: dict[str, Any] = {}
    for key, value in world.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def _named(world: Mapping[str, Any], keys: list[str]) -> str:
    """Return a world in words: ``a synthetic market (market.seed=1)``, with the keys that decide."""
    source, exchange = world.get("market.source"), world.get("exchange", "")
    words = {"synthetic": "a synthetic market", "replay": "a replayed market", "exchange": f"exchange {exchange}"}
    told = [f"{key}={msgspec.json.encode(world[key]).decode() if key in world else 'nothing'}" for key in keys]
    return words.get(str(source), f"market {source}") + (f" ({', '.join(told)})" if told else "")


def _beside(directory: Path, word: str) -> Path:
    """Return a directory beside ``directory`` that does not exist yet, named after ``word``."""
    names = (f"{directory.name}-{word}{number}" for number in ("", *(f"-{n}" for n in range(2, 100))))
    return next((place for name in names if not (place := directory.with_name(name)).exists()), directory / word)
