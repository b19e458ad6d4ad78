"""Copies of a ledger in use."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from botd.domain.clock import VirtualClock
from botd.domain.errors import BotdError, BusyError, UnavailableError
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


def killed_at(place: str, ledger: Path, directory: Path) -> None:
    """Let a process make a backup and be killed (SIGKILL) on its way."""
    script = (
        "import sys; from pathlib import Path; "
        "from botd.domain.clock import VirtualClock; from botd.ledger import backup; "
        f"backup.backup(Path(sys.argv[1]), Path(sys.argv[2]), VirtualClock({START}), verify=True)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), "BOTD_FAILPOINT": f"{place}:1"}
    done = subprocess.run([sys.executable, "-c", script, ledger, directory], env=environment, timeout=60)
    assert done.returncode == -signal.SIGKILL


def test_what_a_killed_backup_left_is_removed_by_the_next_one_and_nothing_else(tmp_path: Path, run_async) -> None:
    copies = tmp_path / "copies"

    async def scenario() -> None:
        ledger = open_ledger(tmp_path)
        ledger.journal.bot(record(1))
        await ledger.commit()
        killed_at("backup.before_rename", ledger.path, copies)
        killed_at("backup.before_copy", ledger.path, copies)
        part = "ledger-20260101T000000Z.db.part"
        assert [file.name for file in copies.iterdir()] == [], "the second cleared what the first left"
        killed_at("backup.before_rename", ledger.path, copies)
        assert [file.name for file in copies.iterdir()] == [part]
        (copies / "ledger-20251231T235959Z-2.db.part-journal").touch()
        others = {"ledger-mine.db.part", "other-20260101T000000Z.db.part", "ledger-20260101T000000Z.db.part.txt"}
        for name in others:
            (copies / name).touch()
        done = await ledger.backup(copies, verify=True)
        assert Path(done["path"]).name == "ledger-20260101T000000Z.db" and done["verified"]
        assert {file.name for file in copies.iterdir()} == {"ledger-20260101T000000Z.db", *others}
        await ledger.close()

    run_async(scenario())


def test_a_backup_beside_another_one_is_refused_and_takes_nothing_from_it(tmp_path: Path, run_async) -> None:
    async def scenario() -> None:
        ledger = open_ledger(tmp_path)
        copies = tmp_path / "copies"
        copies.mkdir()
        part = copies / "ledger-20260101T000000Z.db.part"
        part.touch()
        with backup._held(copies), pytest.raises(BusyError, match="another backup"):
            await ledger.backup(copies, verify=False)
        assert part.exists()
        await ledger.backup(copies, verify=False)
        assert not part.exists()
        await ledger.close()

    run_async(scenario())


def test_a_backup_that_cannot_be_written_says_so_and_leaves_nothing(tmp_path: Path, run_async) -> None:
    async def scenario() -> None:
        ledger = open_ledger(tmp_path)
        (tmp_path / "file").touch()
        with pytest.raises(BotdError, match="file"):
            await ledger.backup(tmp_path / "file", verify=True)
        await ledger.close()

    run_async(scenario())
