"""Every row carries a checksum: what the disk changed by itself is noticed before anybody trades on it."""

from __future__ import annotations

import random
import sqlite3
from decimal import Decimal
from pathlib import Path

import pytest

from botd.domain.errors import ConfigError
from botd.ledger import schema
from botd.ledger.tables import ALL
from tests.fakes.ledger_rows import START, WORLD, fill, open_ledger, order, record, trade


@pytest.fixture
def filled(tmp_path: Path, run_async) -> Path:
    """A ledger of 200 orders, fills and trades, closed: all of it in the database file."""

    async def fill_it() -> None:
        ledger = open_ledger(tmp_path)
        journal = ledger.journal
        journal.bot(record(1))
        journal.book(1, Decimal("990.5"), Decimal("-9.5"), Decimal("0.5"))
        for number in range(1, 201):
            journal.order(order(1, number))
            journal.fill(fill(number), Decimal("0.25"))
            journal.trade(trade(return_pct=float(number)))
        await ledger.commit()
        await ledger.close()

    run_async(fill_it())
    return tmp_path / "ledger.db"


def _damage(path: Path, run_async) -> str | None:
    """Return what opening, loading and checking the ledger finds wrong."""

    async def look() -> str | None:
        try:
            ledger = open_ledger(path.parent)
        except ConfigError as error:
            return error.message
        try:
            ledger.load()
            return await ledger.check()
        except ConfigError as error:
            return error.message
        finally:
            await ledger.close()

    return run_async(look())


def test_a_sound_ledger_passes(filled: Path, run_async) -> None:
    assert _damage(filled, run_async) is None


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("UPDATE fills SET price = '60001' WHERE trade_id = '77'", "fills (symbol BTC/USDT, trade_id 77)"),
        ("UPDATE trades SET return_pct = 99.0 WHERE id = 5", "trades"),
        ("UPDATE books SET cash = '99990.5'", "books (bot 1)"),
        ("UPDATE orders SET rank = 5 WHERE sequence = 9", "orders (client_order_id PABCDE-1-9-07)"),
        ("UPDATE meta SET value = '9' WHERE key = 'batch'", "meta (key batch)"),
        ("UPDATE bots SET desired = 'running' WHERE number = 1", "bots (number 1)"),
    ],
)
def test_a_changed_value_is_named(filled: Path, run_async, change: str, named: str) -> None:
    connection = sqlite3.connect(filled)
    assert connection.execute(change).rowcount
    connection.commit()
    connection.close()
    assert named in (_damage(filled, run_async) or "")


def test_a_damaged_ledger_allows_no_entries(filled: Path, run_async) -> None:
    async def look() -> tuple[bool, bool]:
        ledger = open_ledger(filled.parent)
        before = ledger.opens_allowed()
        await ledger.check()
        await ledger.close()
        return before, ledger.opens_allowed()

    connection = sqlite3.connect(filled)
    connection.execute("UPDATE fills SET side = 'sell' WHERE trade_id = '3'")
    connection.commit()
    connection.close()
    assert run_async(look()) == (True, False)


def test_flipped_bits_in_rows_are_noticed(filled: Path, run_async) -> None:
    """60 flips of single bits within values of orders, fills, trades and audit: each changes a row, each is found."""
    whole, dice, missed = filled.read_bytes(), random.Random(11), []
    places = _values(whole)
    for at in dice.sample(places, 60):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << dice.randrange(8)
        filled.write_bytes(damaged)
        if _damage(filled, run_async) is None and not _chain_broken(filled):
            missed.append(at)
    filled.write_bytes(whole)
    assert missed == []


def _values(whole: bytes) -> list[int]:
    """Return places within amounts and ids of the rows: the text of client order ids, prices and audit entries."""
    places: list[int] = []
    for needle in (b"PABCDE-1-", b"60000", b'"quantity":"0.01"', b"BTC/USDTbuy"):
        at = whole.find(needle)
        while at >= 0:
            places.extend(range(at, at + len(needle)))
            at = whole.find(needle, at + 1)
    return places


def _chain_broken(path: Path) -> bool:
    from botd.ledger import audit

    connection = sqlite3.connect(path)
    try:
        return bool(audit.verify(connection, path).broken)
    except sqlite3.DatabaseError:
        return True
    finally:
        connection.close()


def test_numbers_that_sqlite_changes_do_not_count_as_damage(tmp_path: Path, run_async) -> None:
    """-0.0 comes back as 0.0, NaN as NULL, a whole number in a REAL column as a float."""

    async def scenario() -> str | None:
        ledger = open_ledger(tmp_path)
        ledger.journal.bot(record(1))
        ledger.journal.order(order(1, 1, trigger_price=float("nan")))
        ledger.journal.order(order(1, 2, trigger_price=-0.0))
        ledger.journal.order(order(1, 3, trigger_price=7))
        ledger.journal.equity(0, START, Decimal("1E-7"), Decimal("-0"), Decimal("1E+5"))
        await ledger.commit()
        ledger.load()
        found = await ledger.check()
        await ledger.close()
        return found

    assert run_async(scenario()) is None


def test_a_ledger_without_checksums_is_upgraded_and_keeps_its_rows(filled: Path, run_async) -> None:
    connection = sqlite3.connect(filled)
    connection.execute("DROP TABLE adjustments")
    connection.execute("DROP INDEX orders_exchange_order_id")
    for table in ALL:
        if table.checked and table.name != "adjustments":
            connection.execute(f"ALTER TABLE {table.name} DROP COLUMN checksum")
    connection.execute("DROP TABLE audit")
    connection.execute("PRAGMA user_version = 1")
    connection.commit()
    connection.close()
    assert _damage(filled, run_async) is None
    assert filled.with_name("ledger.v1.db").exists()
    upgraded = schema.connect(filled, write=False)
    assert upgraded.execute("PRAGMA user_version").fetchone()[0] == schema.VERSION
    assert upgraded.execute("SELECT count(*), count(DISTINCT checksum) FROM fills").fetchone() == (200, 200)
    upgraded.close()
    assert WORLD  # the world of the fixture is kept: it opened
