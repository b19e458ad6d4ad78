"""Which files the ledger opens, makes, upgrades and refuses."""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path

import pytest

from botd.domain.clock import VirtualClock
from botd.domain.errors import ConfigError, ForbiddenError
from botd.ledger import schema
from botd.ledger.store import Ledger
from tests.fakes.ledger_rows import START, WORLD, open_ledger, record


async def _filled(directory: Path, bots: int = 300) -> Path:
    ledger = open_ledger(directory)
    for number in range(1, bots + 1):
        ledger.journal.bot(record(number))
    await ledger.commit()
    await ledger.close()
    return directory / "ledger.db"


@pytest.fixture
def filled(tmp_path: Path, run_async) -> Path:
    return run_async(_filled(tmp_path))


def test_a_new_ledger_is_strict_wal_full_and_stamped(tmp_path: Path, run_async) -> None:
    path = run_async(_filled(tmp_path, 1))
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        assert connection.execute("PRAGMA application_id").fetchone()[0] == schema.APPLICATION_ID
        assert connection.execute("PRAGMA user_version").fetchone()[0] == schema.VERSION
        tables = connection.execute("SELECT name, strict FROM pragma_table_list WHERE name NOT LIKE 'sqlite_%'")
        assert {name for name, strict in tables if not strict} == set()
    connection.close()
    writer = schema.connect(path, write=True)
    names = ("synchronous", "foreign_keys", "mmap_size", "trusted_schema", "busy_timeout")
    assert [writer.execute(f"PRAGMA {name}").fetchone()[0] for name in names] == [2, 1, 0, 0, 5000]
    writer.close()


def test_instance_is_born_once_and_kept(tmp_path: Path, run_async) -> None:
    async def born() -> str:
        ledger = open_ledger(tmp_path)
        await ledger.close()
        return ledger.instance

    first = run_async(born())
    assert len(first) == 5 and set(first) <= set(schema.INSTANCE_ALPHABET)
    assert run_async(born()) == first


def test_another_world_is_refused_and_both_are_named(filled: Path) -> None:
    other = {"mode": "paper", "market": {"source": "replay", "files": {"BTC/USDT": "btc.csv"}}}
    with pytest.raises(ConfigError) as refusal:
        Ledger.open(filled, other, clock=VirtualClock(START))
    assert "the ledger is of a synthetic market" in refusal.value.message
    assert "the configuration says a replayed market" in refusal.value.message
    assert f"`state_dir: {filled.parent}-replay`" in refusal.value.hint
    assert f"mv {filled.parent} {filled.parent}-synthetic" in refusal.value.hint
    assert "mode=" not in refusal.value.message  # what is the same is not told


@pytest.mark.parametrize(("source", "simulated"), [("synthetic", True), ("replay", True), ("exchange", False)])
def test_which_worlds_have_a_time_of_their_own(source: str, simulated: bool) -> None:
    assert schema.is_simulated({"mode": "paper", "market": {"source": source}}) is simulated


def test_the_order_of_the_worlds_keys_means_nothing(filled: Path, run_async) -> None:
    run_async(Ledger.open(filled, dict(reversed(WORLD.items())), clock=VirtualClock(START)).close())


def test_a_newer_schema_is_refused_with_the_copy_to_go_back_to(filled: Path) -> None:
    with sqlite3.connect(filled) as connection:
        connection.execute(f"PRAGMA user_version = {schema.VERSION + 2}")
    connection.close()
    with pytest.raises(ConfigError) as refusal:
        open_ledger(filled.parent)
    assert f"version {schema.VERSION + 2}" in refusal.value.message and str(filled) in refusal.value.message
    assert f"ledger.v{schema.VERSION}.db" in refusal.value.hint


def test_a_database_of_another_program_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        connection.execute("CREATE TABLE songs (title)")
    connection.close()
    with pytest.raises(ConfigError, match="another program"):
        open_ledger(tmp_path)


@pytest.mark.parametrize("content", [b"x", b"not a database at all" * 400, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "ledger.db"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"ledger\.db is damaged or"):
        open_ledger(tmp_path)
    assert path.read_bytes() == content


def test_an_empty_file_becomes_a_ledger(tmp_path: Path, run_async) -> None:
    (tmp_path / "ledger.db").touch()
    run_async(open_ledger(tmp_path).close())


def test_a_write_ahead_log_without_its_database_is_not_silently_replaced(tmp_path: Path) -> None:
    (tmp_path / "ledger.db-wal").write_bytes(b"x" * 100)
    with pytest.raises(ConfigError, match=r"ledger\.db-wal is there"):
        open_ledger(tmp_path)


def test_a_truncated_file_is_refused_wherever_it_was_cut(filled: Path) -> None:
    whole = filled.read_bytes()
    assert len(whole) > 60_000
    for size in (10, 100, 4096, 5000, 20480, len(whole) // 2, len(whole) - 4096, len(whole) - 1):
        filled.write_bytes(whole[:size])
        for name in ("ledger.db-wal", "ledger.db-shm"):
            filled.with_name(name).unlink(missing_ok=True)
        with pytest.raises(ConfigError):
            open_ledger(filled.parent)


def test_garbage_in_the_file_is_refused_or_harmless_but_never_a_traceback(filled: Path, run_async) -> None:
    whole = filled.read_bytes()
    dice = random.Random(7)
    refused = 0
    for _ in range(40):
        damaged = bytearray(whole)
        at = dice.randrange(len(damaged) - 4096)
        damaged[at : at + 4096] = dice.randbytes(4096)
        filled.write_bytes(damaged)
        for name in ("ledger.db-wal", "ledger.db-shm"):
            filled.with_name(name).unlink(missing_ok=True)
        try:
            ledger = open_ledger(filled.parent)
        except ConfigError as refusal:
            assert str(filled) in refusal.message and "\n" not in refusal.message
            refused += 1
            continue
        try:
            ledger.load()
        except ConfigError:
            refused += 1
        run_async(ledger.close())
    assert refused >= 30


def test_a_path_below_a_file_is_forbidden(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ForbiddenError):
        open_ledger(tmp_path / "file")


def _with_version(filled: Path) -> sqlite3.Connection:
    return schema.connect(filled, write=True)


def test_an_upgrade_keeps_a_verified_copy_and_runs_all_its_steps(filled: Path) -> None:
    connection = _with_version(filled)
    steps = {
        schema.VERSION: lambda c: c.execute("ALTER TABLE bots ADD COLUMN colour TEXT"),
        schema.VERSION + 1: lambda c: c.execute("UPDATE bots SET colour = 'red'"),
    }
    assert schema.upgrade(connection, filled, schema.VERSION + 2, steps)
    assert connection.execute("PRAGMA user_version").fetchone()[0] == schema.VERSION + 2
    assert connection.execute("SELECT DISTINCT colour FROM bots").fetchall() == [("red",)]
    connection.close()
    copy = sqlite3.connect(filled.with_name(f"ledger.v{schema.VERSION}.db"))
    assert copy.execute("PRAGMA user_version").fetchone()[0] == schema.VERSION
    assert copy.execute("SELECT count(*) FROM bots").fetchone()[0] == 301
    copy.close()


def test_an_upgrade_that_fails_changes_nothing(filled: Path) -> None:
    connection = _with_version(filled)
    steps = {
        schema.VERSION: lambda c: c.execute("ALTER TABLE bots ADD COLUMN colour TEXT"),
        schema.VERSION + 1: lambda c: c.execute("UPDATE nowhere SET colour = 'red'"),
    }
    with pytest.raises(sqlite3.OperationalError):
        schema.upgrade(connection, filled, schema.VERSION + 2, steps)
    assert connection.execute("PRAGMA user_version").fetchone()[0] == schema.VERSION
    columns = [row[1] for row in connection.execute("PRAGMA table_info(bots)")]
    assert "colour" not in columns
    connection.close()
