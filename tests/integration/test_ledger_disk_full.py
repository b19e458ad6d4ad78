"""A disk that refuses: commits fail loudly, nothing is lost or applied twice, and it goes on by itself."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from botd.domain.errors import BotdError, UnavailableError
from botd.domain.events import Event
from botd.ledger.store import Ledger
from tests.fakes.ledger_child import journal_batch
from tests.fakes.ledger_rows import START, open_ledger

ROOT = Path(__file__).parents[2]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 2 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no tmpfs can be mounted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def _fill_up(place: Path) -> Path:
    """Take all that is free, again: the ledger's own log, emptied when it reopens, frees some."""
    filler = place / "filler"
    with filler.open("ab", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            pass
    return filler


async def _check_all_there(ledger: Ledger, last: int, told: list[Event]) -> None:
    rows = await ledger.query(
        "SELECT count(*) n, count(DISTINCT bars) d, max(bars) m, (SELECT count(*) FROM fills) f,"
        " (SELECT group_concat(seq) FROM events) s FROM trades"
    )
    assert (rows[0]["n"], rows[0]["d"], rows[0]["m"], rows[0]["f"]) == (last, last, last, last)
    assert rows[0]["s"] == ",".join(str(seq) for seq in range(1, last + 1))
    assert [event.data["n"] for event in told] == list(range(1, last + 1))


async def _through_a_full_disk(place: Path) -> None:
    ledger = open_ledger(place, retry_s=0.05)
    told: list[Event] = []
    ledger.on_commit(told.extend)
    number = 0

    def commit() -> asyncio.Future[None]:
        nonlocal number
        number += 1
        journal_batch(ledger.journal, number)
        return ledger.commit()

    for _ in range(5):
        await commit()
    filler = _fill_up(place)
    refused = 0
    while refused < 10 or ledger.error is None:
        assert number < 5000
        _fill_up(place)
        try:
            await commit()
        except UnavailableError as error:
            assert "disk" in error.message and str(place) in error.message
            refused += 1
    assert ledger.error is not None and not ledger.opens_allowed()
    assert ledger.pending >= 1
    rows = await ledger.query("SELECT count(*) n FROM trades")  # reading goes on
    assert rows[0]["n"] == number - ledger.pending
    assert len(told) == rows[0]["n"]
    waiting = [commit() for _ in range(200)]
    filler.unlink()
    await ledger.drain(1)
    await ledger.flush()
    assert ledger.error is None
    await asyncio.gather(*waiting, return_exceptions=True)
    await commit()
    await _check_all_there(ledger, number, told)
    await ledger.close()
    ledger = open_ledger(place)
    assert ledger.load().kv["child"]["last"] == str(number)
    await ledger.close()


def test_a_full_disk_loses_nothing_and_recovers(small_disk: Path) -> None:
    asyncio.run(asyncio.wait_for(_through_a_full_disk(small_disk), 30))


def test_closing_on_a_full_disk_says_what_was_not_written(small_disk: Path) -> None:
    async def scenario() -> None:
        ledger = open_ledger(small_disk, retry_s=0.05)
        journal_batch(ledger.journal, 1)
        await ledger.commit()
        _fill_up(small_disk)
        ledger.journal.keyed("large", {"value": "x" * 1_500_000})  # more than emptying the log could free
        ledger.commit()
        for number in range(2, 5):
            journal_batch(ledger.journal, number)
            ledger.commit()
        with pytest.raises(UnavailableError, match="4 batches could not be written"):
            await ledger.close()
        (small_disk / "filler").unlink()
        ledger = open_ledger(small_disk)
        rows = await ledger.query("SELECT count(*) n, max(bars) m FROM trades")
        assert "large" not in ledger.load().kv
        await ledger.close()
        assert rows == [{"n": 1, "m": 1}]

    asyncio.run(asyncio.wait_for(scenario(), 30))


def test_no_ledger_can_be_made_on_a_full_disk_and_nothing_is_left_in_the_way(small_disk: Path) -> None:
    filler = _fill_up(small_disk)
    with pytest.raises(BotdError, match="the disk is full") as refusal:
        open_ledger(small_disk)
    assert refusal.value.code == "UNAVAILABLE"
    filler.unlink()
    asyncio.run(_open_and_close(small_disk))


async def _open_and_close(place: Path) -> None:
    ledger = open_ledger(place)
    await ledger.close()


_LIMITED = """
import asyncio, resource, sys
from pathlib import Path
from botd.domain.errors import UnavailableError
from tests.fakes.ledger_child import journal_batch
from tests.fakes.ledger_rows import open_ledger

async def main():
    ledger = open_ledger(Path(sys.argv[1]), retry_s=0.05)
    told = []
    ledger.on_commit(told.extend)
    journal_batch(ledger.journal, 1)
    await ledger.commit()
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
    number, refused = 1, 0
    while refused < 3:
        number += 1
        journal_batch(ledger.journal, number)
        try:
            await ledger.commit()
        except UnavailableError as error:
            assert "disk" in error.message, error.message
            refused += 1
    assert ledger.error and ledger.pending
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    await ledger.drain(1)
    rows = await ledger.query("SELECT count(*) n, count(DISTINCT bars) d, max(bars) m FROM trades")
    assert list(rows[0].values()) == [number] * 3, rows
    assert [event.seq for event in told] == list(range(1, number + 1))
    await ledger.close()
    print("sound")

asyncio.run(asyncio.wait_for(main(), 30))
"""


def test_a_file_that_may_not_grow_loses_nothing_and_recovers(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", _LIMITED, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)
    assert (done.stdout, done.returncode) == ("sound\n", 0), done.stderr


def test_a_ledger_whose_file_is_gone_keeps_trying_and_makes_no_new_one(tmp_path: Path) -> None:
    async def scenario() -> None:
        ledger = open_ledger(tmp_path, retry_s=0.05)
        journal_batch(ledger.journal, 1)
        await ledger.commit()
        ledger._writer._connection.close()  # as after any refused commit
        aside = tmp_path / "aside"
        aside.mkdir()
        names = [name for name in os.listdir(tmp_path) if name.startswith("ledger.db")]
        for name in names:
            os.rename(tmp_path / name, aside / name)
        journal_batch(ledger.journal, 2)
        with pytest.raises(UnavailableError):
            await ledger.commit()
        assert "ledger.db" not in os.listdir(tmp_path)
        for name in os.listdir(aside):
            os.rename(aside / name, tmp_path / name)
        ledger.journal.event(Event(topic="child.batch", time_ms=START, data={"n": 3}))
        await ledger.drain(1)
        rows = await ledger.query("SELECT count(*) n, (SELECT max(seq) FROM events) s FROM trades")
        assert rows == [{"n": 2, "s": 2}]
        await ledger.commit()
        await ledger.close()

    asyncio.run(asyncio.wait_for(scenario(), 30))
