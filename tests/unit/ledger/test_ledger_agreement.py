"""The ledger's rows beside the audit's entries: who edits, adds or takes away a row is named."""

from __future__ import annotations

import sqlite3
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from botd.domain.order import OrderStatus
from botd.ledger import audit
from botd.ledger.agreement import differences
from botd.ledger.checksums import seal_all
from tests.fakes.ledger_rows import START, fill, open_ledger, order, record


@pytest.fixture
def kept(tmp_path: Path, run_async: Any) -> Path:
    """A ledger with three orders that were filled, one denied, one still open; and a command that was done."""

    async def write() -> None:
        ledger = open_ledger(tmp_path)
        journal = ledger.journal
        journal.bot(record(1))
        for number in range(1, 4):
            journal.order(placed := order(1, number, status=OrderStatus.INTENT))
            journal.fill(fill(number), Decimal(0))
            placed.status, placed.filled = OrderStatus.FILLED, placed.quantity
            journal.order(placed)
            await ledger.commit()
        journal.order(order(1, 4, status=OrderStatus.DENIED, reason="BUDGET_EXCEEDED"))
        journal.order(order(1, 5, status=OrderStatus.INTENT))
        journal.command("r1", 1000, 77, "halt", {"scope": "account"}, {"ok": True}, START)
        journal.refusal("r2", 1001, 78, "halt", {}, "FORBIDDEN", START)
        await ledger.commit()
        await ledger.close()

    run_async(write())
    return tmp_path / "ledger.db"


def found_in(path: Path, *statements: str) -> list[str]:
    """Edit as somebody would who knows of the checksums, and return what is found."""
    connection = sqlite3.connect(path)
    for statement in statements:
        assert connection.execute(statement).rowcount
    seal_all(connection)
    connection.commit()
    found = list(differences(connection))
    connection.close()
    return found


def test_rows_that_are_as_they_were_told_of_agree(kept: Path) -> None:
    assert found_in(kept) == []


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE fills SET price = '1' WHERE id = 2", "has price 1, entry 5 of the audit says"),
        ("UPDATE fills SET quantity = '9' WHERE id = 1", "has quantity 9"),
        ("UPDATE fills SET fee = '9' WHERE id = 3", "has fee 9"),
        ("UPDATE fills SET side = 'sell' WHERE id = 1", "has side sell"),
        ("UPDATE fills SET trade_id = 'other' WHERE id = 1", "is missing in the ledger"),
        ("DELETE FROM fills WHERE id = 1", "is missing in the ledger"),
        ("UPDATE orders SET status = 'cancelled' WHERE id = 1", "has status cancelled"),
        ("UPDATE orders SET filled = '0' WHERE id = 2", "has filled 0"),
        ("UPDATE orders SET quantity = '7' WHERE id = 5", "has quantity 7"),
        ("DELETE FROM orders WHERE id = 4", "is missing in the ledger"),
        ("UPDATE commands SET uid = 0", "the command halt (r1) is not in the ledger as entry"),
        ("DELETE FROM commands", "the command halt (r1) is not in the ledger as entry"),
    ],
)
def test_a_row_that_was_edited_or_taken_away_is_named(kept: Path, statement: str, said: str) -> None:
    found = found_in(kept, statement)
    assert any(said in line for line in found), found


@pytest.mark.parametrize(
    ("table", "columns", "change", "said"),
    [
        ("fills", "symbol,trade_id", "symbol,'forged'", "the fill BTC/USDT forged is in the ledger, and no entry"),
        ("orders", "client_order_id", "'forged'", "the order forged is in the ledger, and no entry"),
        ("commands", "request_id", "'forged'", "the command forged is in the ledger, and no entry"),
    ],
)
def test_a_row_that_was_put_in_is_named(kept: Path, table: str, columns: str, change: str, said: str) -> None:
    connection = sqlite3.connect(kept)
    names = [row[1] for row in connection.execute(f"PRAGMA table_info({table})") if row[1] != "id"]
    rest = ",".join(name for name in names if name not in columns.split(","))
    connection.close()
    insert = f"INSERT INTO {table} ({columns},{rest}) SELECT {change},{rest} FROM {table} WHERE id = 1"
    assert any(said in line for line in found_in(kept, insert))


def test_rows_of_before_the_audit_need_no_entry(kept: Path) -> None:
    connection = sqlite3.connect(kept)
    for trigger in ("audit_no_update", "audit_no_delete"):
        connection.execute(f"DROP TRIGGER {trigger}")
    connection.execute("DELETE FROM audit")
    for table in ("orders", "fills", "commands"):
        connection.execute(f"INSERT INTO meta SELECT 'unaudited_{table}', max(id), 0 FROM {table}")
    connection.commit()
    connection.close()
    assert found_in(kept) == []


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        ({"ok": True, "result": {}}, {"ok": True}),
        ({"ok": False, "error": {"code": "CONFLICT"}}, {"ok": False, "code": "CONFLICT"}),
        (
            {"ok": True, "result": {"rows": [{"error": None}, {"error": {"code": "NOT_FOUND"}}]}},
            {"ok": False, "code": "NOT_FOUND"},
        ),
    ],
)
def test_the_audit_says_how_a_command_ended(tmp_path: Path, run_async: Any, reply: Any, told: dict[str, Any]) -> None:
    async def write() -> None:
        ledger = open_ledger(tmp_path)
        ledger.journal.command("r1", 0, 1, "start", {}, msgspec.Raw(msgspec.json.encode(reply)), START)
        await ledger.commit()
        await ledger.close()

    run_async(write())
    connection = sqlite3.connect(tmp_path / "ledger.db")
    entry = msgspec.json.decode(str(next(iter(audit.entries(connection)))[3]))
    connection.close()
    assert {key: entry.get(key) for key in told} == told and ("code" in entry) == ("code" in told)


def test_an_older_copy_put_back_is_noticed_at_the_start(kept: Path, run_async: Any) -> None:
    older = kept.read_bytes()

    async def goes_on(number: int) -> str:
        ledger = open_ledger(kept.parent)
        ledger.journal.fill(fill(number), Decimal(0))
        await ledger.commit()
        await ledger.close()
        return ledger.older

    assert run_async(goes_on(50)) == "" and run_async(goes_on(51)) == ""
    kept.write_bytes(older)
    assert "the audit misses entries 14 to 15" in run_async(goes_on(52))


def test_another_ledger_in_its_place_is_noticed_at_the_start(kept: Path, run_async: Any) -> None:
    heads = audit.anchors_path(kept)
    noted = heads.read_text().split()
    heads.write_text(f"{noted[0]} {noted[1]} {'0' * 64}\n")

    async def look() -> str:
        ledger = open_ledger(kept.parent)
        await ledger.close()
        return ledger.older

    assert "is not the one that was anchored" in run_async(look())


def test_a_verified_copy_with_a_damaged_row_is_not_called_verified(kept: Path, run_async: Any) -> None:
    connection = sqlite3.connect(kept)
    connection.execute("UPDATE fills SET price = '1' WHERE id = 2")
    connection.commit()
    connection.close()

    async def copy() -> dict[str, Any]:
        ledger = open_ledger(kept.parent)
        made = await ledger.backup(kept.parent / "backups", True)
        await ledger.close()
        return made

    made = run_async(copy())
    assert not made["verified"] and "a row of fills" in made["damage"]
    assert Path(made["path"]).exists() and made["path"].endswith("-damaged.db")
