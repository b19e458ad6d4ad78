"""The audit's chain: an entry edited, deleted, inserted, moved or cut off is found."""

from __future__ import annotations

import json
import sqlite3
import stat
from decimal import Decimal
from pathlib import Path

import pytest

from botd.domain.events import Event
from botd.domain.order import OrderStatus
from botd.ledger import audit
from tests.fakes.ledger_rows import START, fill, open_ledger, order, record


@pytest.fixture
def chained(tmp_path: Path, run_async) -> Path:
    """A ledger with twenty orders, each intended, then filled; a command, a denial, a halt: 43 entries."""

    async def write() -> None:
        ledger = open_ledger(tmp_path)
        journal = ledger.journal
        journal.bot(record(1))
        for number in range(1, 21):
            placed = order(1, number)
            journal.order(placed)
            journal.fill(fill(number), Decimal(0))
            await ledger.commit()
        journal.order(order(1, 30, status=OrderStatus.DENIED, reason="BUDGET_EXCEEDED"))
        journal.event(Event(topic="risk.state", time_ms=START, data={"scope": "account", "after": "halted"}))
        journal.event(Event(topic="market.gap", time_ms=START))
        journal.command("r1", 1000, 77, "halt", {"scope": "account"}, {"ok": True}, START)
        await ledger.commit()
        await ledger.close()

    run_async(write())
    return tmp_path / "ledger.db"


def _verify(path: Path) -> audit.Finding:
    connection = sqlite3.connect(path)
    try:
        return audit.verify(connection, path)
    finally:
        connection.close()


def _change(path: Path, *statements: str) -> None:
    """Change the table as somebody would who knows of the triggers."""
    connection = sqlite3.connect(path)
    for trigger in ("audit_no_update", "audit_no_delete"):
        connection.execute(f"DROP TRIGGER {trigger}")
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def test_the_chain_holds_and_says_who_did_what(chained: Path) -> None:
    found = _verify(chained)
    assert (found.entries, found.broken, found.anchors) == (43, [], 1)
    connection = sqlite3.connect(chained)
    kinds = [row[2] for row in audit.entries(connection)]
    assert kinds == [*["order", "fill"] * 20, "order", "risk.state", "command"]
    entry = json.loads(list(audit.entries(connection))[-1][3])
    connection.close()
    assert entry == {"cmd": "halt", "uid": 1000, "pid": 77, "request": "r1", "args": {"scope": "account"}, "ok": True}


def test_the_key_is_the_owners_alone_and_not_in_the_database(chained: Path) -> None:
    path = audit.key_path(chained)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text().strip().encode() not in chained.read_bytes()


@pytest.mark.parametrize("verb", ["UPDATE audit SET kind = 'x'", "DELETE FROM audit"])
def test_the_database_refuses_changes(chained: Path, verb: str) -> None:
    connection = sqlite3.connect(chained)
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute(verb)
    connection.close()


@pytest.mark.parametrize(
    ("statements", "said"),
    [
        (["UPDATE audit SET entry = replace(entry, '60000', '50000') WHERE id = 2"], "entry 2 (fill) is not as it was"),
        (["UPDATE audit SET time_ms = time_ms + 1 WHERE id = 7"], "entry 7 (order)"),
        (["DELETE FROM audit WHERE id = 5"], "entry 5 is missing"),
        (["DELETE FROM audit WHERE id BETWEEN 5 AND 8"], "entries 5 to 8 are missing"),
        (["DELETE FROM audit WHERE id > 40"], "entries 41 to 43 are missing at the end"),
        (["DELETE FROM audit"], "entries 1 to 43 are missing at the end"),
        (
            [
                "UPDATE audit SET id = 1001 WHERE id = 3",
                "UPDATE audit SET id = 3 WHERE id = 5",
                "UPDATE audit SET id = 5 WHERE id = 1001",
            ],
            "entry 3",
        ),
        (
            [
                "UPDATE audit SET id = -id WHERE id > 9",
                "INSERT INTO audit SELECT 10, time_ms, kind, entry, mac FROM audit WHERE id = 9",
                "UPDATE audit SET id = 1 - id WHERE id < 0",
            ],
            "entry 10",
        ),
    ],
    ids=["edit", "edit-time", "delete", "delete-run", "truncate", "truncate-all", "reorder", "insert"],
)
def test_whatever_was_done_to_the_entries_is_found(chained: Path, statements: list[str], said: str) -> None:
    _change(chained, *statements)
    assert any(said in line for line in _verify(chained).broken)


def test_a_chain_written_anew_without_the_key_does_not_pass(chained: Path) -> None:
    connection = sqlite3.connect(chained)
    rows = [row[1:4] for row in audit.entries(connection)]
    connection.close()
    forged, _ = audit.Chain(b"0" * 32, audit.Head()).extend(rows)
    _change(chained, "DELETE FROM audit", *(f"INSERT INTO audit VALUES {_sql(row)}" for row in forged))
    assert len(_verify(chained).broken) >= 43


def _sql(row: tuple) -> str:
    quoted = [str(value) if isinstance(value, int) else "'" + value.replace("'", "''") + "'" for value in row]
    return f"({','.join(quoted)})"


def test_the_chain_goes_on_over_a_restart(chained: Path, run_async) -> None:
    async def more() -> None:
        ledger = open_ledger(chained.parent)
        ledger.journal.fill(fill(999), Decimal(0))
        await ledger.commit()
        await ledger.close()

    run_async(more())
    found = _verify(chained)
    assert (found.entries, found.anchors, found.broken) == (44, 2, [])
