"""A broken audit that a person accepts: in sight for ever, sound from there on, and of no use to a forger."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest

from botd.ledger import audit, audit_acceptance, schema
from tests.fakes.ledger_rows import START, fill, open_ledger, order, record

REASON = "the key was on the disk that failed"


def write_more(path: Path, run_async, first: int, orders: int = 5) -> None:
    """Let botd run for a while, and end: an intent and a fill each."""

    async def write() -> None:
        ledger = open_ledger(path.parent)
        if first == 1:
            ledger.journal.bot(record(1))
        for number in range(first, first + orders):
            ledger.journal.order(order(1, number))
            ledger.journal.fill(fill(number), Decimal(0))
            await ledger.commit()
        await ledger.close()

    run_async(write())


@pytest.fixture
def chained(tmp_path: Path, run_async) -> Path:
    """A ledger with ten entries."""
    path = tmp_path / "ledger.db"
    write_more(path, run_async, 1)
    return path


def accept(path: Path, reason: str = REASON) -> audit.Accepted | None:
    with closing(schema.connect(path, write=True)) as connection:
        return audit_acceptance.accept(
            connection, path, by="ann", uid=1000, pid=7, reason=reason, time_ms=START + 5_000
        )


def found(path: Path) -> audit.Finding:
    with closing(sqlite3.connect(path)) as connection:
        return audit.verify(connection, path)


def change(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        for verb in ("update", "delete"):
            connection.execute(f"DROP TRIGGER IF EXISTS audit_no_{verb}")
        for statement in statements:
            connection.execute(statement)
        connection.commit()


@pytest.mark.parametrize("started_since", [False, True])
def test_a_lost_key_is_accepted_once_and_the_chain_goes_on(chained: Path, run_async, started_since: bool) -> None:
    audit.key_path(chained).unlink()
    if started_since:
        write_more(chained, run_async, 6)
        assert len(found(chained).broken) == 10, "what was written with the other key"
    told = accept(chained)
    assert told is not None and told.what.broken[0] == (
        "entry 1 (order) is not as it was written, or what came before it is not"
        if started_since
        else "audit.key was gone, a new one was made"
    )
    assert told.what.broken_count == 10 + (not started_since) and len(told.what.broken) == 5
    write_more(chained, run_async, 20)
    now = found(chained)
    assert (now.broken, [one.at.id for one in now.accepted]) == ([], [told.at.id])
    assert (now.accepted[0].what.reason, now.accepted[0].what.by, now.accepted[0].what.uid) == (REASON, "ann", 1000)
    assert accept(chained) is None, "nothing is broken"
    assert found(chained).entries == now.entries


def test_an_older_copy_put_back_is_accepted_with_the_anchors_that_knew_more(
    chained: Path, tmp_path: Path, run_async
) -> None:
    older = chained.read_bytes()
    write_more(chained, run_async, 6)
    chained.write_bytes(older)
    assert any("entries 11 to 20 are missing at the end" in line for line in found(chained).broken)
    told = accept(chained, "the copy of Sunday")
    assert told is not None and told.at.id == 11
    assert found(chained).broken == []
    with closing(schema.connect(chained, write=False)) as connection:
        assert audit.older_copy(connection, chained) == ""
    write_more(chained, run_async, 30, orders=10)  # beyond where the older anchors are
    assert found(chained).broken == []
    change(chained, "DELETE FROM audit WHERE id > 20")
    assert any("missing at the end" in line for line in found(chained).broken), "newer anchors hold as ever"


def test_a_copy_put_back_that_botd_has_written_on_is_accepted_too(chained: Path, run_async) -> None:
    older = chained.read_bytes()
    write_more(chained, run_async, 6)
    chained.write_bytes(older)
    write_more(chained, run_async, 40, orders=8)
    assert "entry 20 is not the one that was anchored" in found(chained).broken
    assert accept(chained) is not None
    assert found(chained).broken == []


@pytest.mark.parametrize(
    ("statements", "said"),
    [
        (["UPDATE audit SET entry = replace(entry, '60000', '50000') WHERE id = 2"], "not those that were accepted"),
        (["UPDATE audit SET mac = replace(mac, 'a', 'b') WHERE id = 10"], "entry 11 (accepted)"),
        (["DELETE FROM audit WHERE id = 4"], "not those that were accepted"),
        (["UPDATE audit SET entry = replace(entry, 'ann', 'bob') WHERE id = 11"], "entry 11 (accepted)"),
        (["UPDATE audit SET entry = replace(entry, 'disk', 'moon') WHERE id = 11"], "entry 11 (accepted)"),
        (["DELETE FROM audit WHERE id = 11"], "entry 11 is missing"),
        (["DELETE FROM audit WHERE id <= 11"], "entries 1 to 11 are missing"),
        (["UPDATE audit SET entry = replace(entry, '60000', '50000') WHERE id = 13"], "entry 13 (fill)"),
    ],
    ids=["before", "code-before", "delete-before", "who", "why", "delete-it", "delete-all-to-it", "after"],
)
def test_what_was_accepted_stays_as_it_was_and_the_acceptance_too(
    chained: Path, run_async, statements: list[str], said: str
) -> None:
    audit.key_path(chained).unlink()
    accept(chained)
    write_more(chained, run_async, 20)
    assert found(chained).broken == []
    change(chained, *statements)
    assert any(said in line for line in found(chained).broken)


def test_an_acceptance_written_without_the_key_accepts_nothing(chained: Path) -> None:
    change(chained, "UPDATE audit SET entry = replace(entry, '60000', '50000') WHERE id = 2")
    with closing(sqlite3.connect(chained)) as connection:
        rows = list(audit.entries(connection))
        told = {"reason": "x", "by": "root", "uid": 0, "pid": 1, "broken": [], "broken_count": 0}
        entry = json.dumps({**told, "digest": audit.digest_of(rows)})
        forged, _ = audit.Chain(b"0" * 32, audit.head(connection)).extend([(START, audit.ACCEPTED, entry)])
        connection.execute("INSERT INTO audit (id, time_ms, kind, entry, mac) VALUES (?, ?, ?, ?, ?)", forged[0])
        connection.commit()
    broken = found(chained).broken
    assert any("entry 2" in line for line in broken) and any("entry 11 (accepted)" in line for line in broken)
    assert found(chained).accepted == []


def test_a_second_break_needs_a_second_acceptance_and_both_stay_in_sight(chained: Path, run_async) -> None:
    audit.key_path(chained).unlink()
    accept(chained, "first")
    write_more(chained, run_async, 20)
    change(chained, "UPDATE audit SET time_ms = time_ms + 1 WHERE id = 13")
    assert len(found(chained).broken) == 1
    accept(chained, "second")
    now = found(chained)
    assert (now.broken, [one.what.reason for one in now.accepted]) == ([], ["first", "second"])


def test_the_check_beside_a_running_botd_takes_what_was_accepted(chained: Path, run_async) -> None:
    async def checked() -> str | None:
        ledger = open_ledger(chained.parent)
        try:
            return await ledger.check()
        finally:
            await ledger.close()

    audit.key_path(chained).unlink()
    assert "the audit: entry 1" in str(run_async(checked()))
    accept(chained)
    assert run_async(checked()) is None
