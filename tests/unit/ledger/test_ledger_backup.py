"""Copies of a ledger in use."""

from __future__ import annotations

import os
import sqlite3
from decimal import Decimal
from pathlib import Path

import pytest

from botd.domain.clock import VirtualClock
from botd.domain.errors import BotdError, UnavailableError
from botd.ledger import backup
from botd.ledger.store import Ledger
from tests.fakes.ledger_rows import START, WORLD, fill, open_ledger, record


def test_a_backup_taken_while_writing_is_one_consistent_moment(tmp_path: Path, run_async) -> None:
    async def scenario() -> None:
        ledger = open_ledger(tmp_path)
        ledger.journal.bot(record(1))
        for number in range(300):
            ledger.journal.fill(fill(number), Decimal(0))
            ledger.journal.keyed("n", {"last": str(number)})
            ledger.commit()
        done = await ledger.backup(tmp_path / "copies", verify=True)
        assert done["verified"] and done["bytes"] == os.path.getsize(done["path"])  # noqa: ASYNC240
        assert Path(done["path"]).name == "ledger-20260101T000000Z.db"
        again = await ledger.backup(tmp_path / "copies", verify=False)
        assert Path(again["path"]).name == "ledger-20260101T000000Z-2.db"
        assert sorted(p.name for p in (tmp_path / "copies").iterdir()) == sorted(
            Path(d["path"]).name for d in (done, again)
        )
        await ledger.close()
        restored = Ledger.open(Path(done["path"]), WORLD, clock=VirtualClock(START))
        rows = await restored.query("SELECT count(*) n, (SELECT value FROM keyed) last FROM fills")
        assert rows == [{"n": 300, "last": "299"}]
        assert restored.instance == ledger.instance
        await restored.close()

    run_async(scenario())


def test_a_copy_that_differs_or_is_damaged_is_not_called_verified(tmp_path: Path, run_async) -> None:
    async def scenario() -> Path:
        ledger = open_ledger(tmp_path)
        ledger.journal.bot(record(1))
        await ledger.commit()
        await ledger.close()
        return ledger.path

    path = run_async(scenario())
    connection = sqlite3.connect(path)
    expected = backup.fingerprint(connection)
    connection.close()
    with pytest.raises(UnavailableError, match="differs from the ledger in bots"):
        backup._verify(path, {**expected, "bots": 99})


def test_a_backup_that_cannot_be_written_says_so_and_leaves_nothing(tmp_path: Path, run_async) -> None:
    async def scenario() -> None:
        ledger = open_ledger(tmp_path)
        (tmp_path / "file").touch()
        with pytest.raises(BotdError, match="file"):
            await ledger.backup(tmp_path / "file", verify=True)
        await ledger.close()

    run_async(scenario())
