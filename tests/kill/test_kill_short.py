"""Short forms of the campaigns of ``make kill``, and that each notices what is broken."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from botd.ledger import audit, schema
from botd.ledger.store import Ledger
from tests.kill.bit_flips import MONEY, SAME, SILENT, flip, share_found
from tests.kill.cycles import BIRTHS, Campaign
from tests.kill.known_ledger import Known, make
from tests.kill.live_cycles import LiveCampaign
from tests.kill.torn_log import SECTOR, cut, lose, tear
from tests.kill.worlds import replay, synthetic

KILLS, LIVE_KILLS = 7, 4


@pytest.fixture
def campaign(tmp_path: Path) -> Iterator[Campaign]:
    campaign = Campaign(tmp_path, 5, lambda said: None)
    yield campaign
    campaign.close()


@pytest.mark.parametrize("market", ["replay", "synthetic"])
def test_a_botd_killed_anywhere_ends_with_the_books_of_an_undisturbed_one(
    campaign: Campaign, tmp_path: Path, market: str
) -> None:
    world = replay(tmp_path, 2000, 5) if market == "replay" else synthetic(5)
    campaign.slowest_allowed_s = 60.0  # time is the campaign's matter
    campaign.round(world, KILLS)
    assert campaign.wrong == []
    assert KILLS <= campaign.kills <= KILLS + 1
    assert {*BIRTHS, "audit.before_anchor"} <= campaign.counts.keys()
    assert campaign.acknowledged > 0 and campaign.fills > 10


def test_live_bots_killed_around_their_orders_leave_no_orphan_and_no_double(tmp_path: Path) -> None:
    campaign = LiveCampaign(tmp_path, 4, lambda said: None)
    campaign.round(LIVE_KILLS)
    assert campaign.wrong == []
    assert LIVE_KILLS <= campaign.kills <= LIVE_KILLS + 2
    assert campaign.trades > 5


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Known:
    return make(tmp_path_factory.mktemp("log"), 30)


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> Known:
    """Of 200 bots, so that what a batch changes is not on the same pages each time."""
    return make(tmp_path_factory.mktemp("moved"), 30, bots=200, checkpoint_at=30)


def places(known: Known, number: int) -> list[int]:
    return random.Random(3).sample(range(0, len(known.log), SECTOR), number)


@pytest.mark.parametrize("damage", [cut, lose])
def test_a_torn_log_gives_a_whole_number_of_batches(ledger: Known, tmp_path: Path, damage: Any) -> None:
    said: list[str] = []
    counts = tear(ledger, places(ledger, 60), damage, tmp_path / "s", said.append)
    assert said == []
    assert counts["prefix"] > 5


def test_a_log_that_was_moved_into_its_file_and_then_cut_is_refused(moved: Known, tmp_path: Path) -> None:
    said: list[str] = []
    counts = tear(moved, places(moved, 20), cut, tmp_path / "s", said.append)
    assert said == []
    assert counts["refused"] > 10


def test_the_campaign_notices_a_ledger_that_takes_such_a_log(
    moved: Known, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "_check_log", lambda connection, path: None)
    counts = tear(moved, range(0, len(moved.log) // 8, 16 * SECTOR), cut, tmp_path / "s", lambda said: None)
    assert counts["WRONG"] > 0


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Known:
    return make(tmp_path_factory.mktemp("closed"), 60, closed=True)


def test_flipped_bits_of_rows_are_noticed_and_no_other_changes_anything(closed: Known, tmp_path: Path) -> None:
    said: list[str] = []
    counts = flip(closed, 100, 5, tmp_path / "s", said.append)
    assert share_found(counts, "row", "audit row") >= 0.99
    assert not any(outcomes[MONEY] + outcomes[SILENT] for outcomes in counts.values()), said
    assert set(counts["free"]) == {SAME}


def test_the_campaign_notices_a_ledger_that_checks_nothing(
    closed: Known, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(self: Ledger) -> None: ...

    monkeypatch.setattr(Ledger, "check", nothing)
    counts = flip(closed, 60, 5, tmp_path / "s", lambda said: None)
    assert sum(outcomes[MONEY] + outcomes[SILENT] for outcomes in counts.values()) > 5


def test_the_campaign_notices_another_balance(campaign: Campaign, tmp_path: Path) -> None:
    known = make(tmp_path / "other", 3, closed=True)
    path = known.directory / "ledger.db"
    connection = sqlite3.connect(path)
    connection.execute("DELETE FROM fills WHERE id = 2")
    connection.execute("UPDATE fills SET client_order_id = 'PABCDE-9-9-99' WHERE id = 1")
    connection.commit()
    connection.close()
    from tests.kill.worlds import unsound

    said = "\n".join(unsound(path))
    assert "fills say 0" in said and "without an order" in said and "checksum" in said


@pytest.mark.parametrize("left", ["", "2026-01-01T00:00:00.000Z 1", "2026-01-01T00:00:00.000Z 41 ab"])
def test_an_anchor_that_was_cut_off_is_no_false_alarm(closed: Known, tmp_path: Path, left: str) -> None:
    path = tmp_path / "ledger.db"
    for name in ("ledger.db", "audit.key", "audit.heads"):
        (tmp_path / name).write_bytes((closed.directory / name).read_bytes())
    with audit.anchors_path(path).open("a") as file:
        file.write(left)
    connection = sqlite3.connect(path)
    audit.anchor(path, audit.head(connection), "2026-01-02T00:00:00.000Z")
    found = audit.verify(connection, path)
    connection.execute("DROP TRIGGER audit_no_delete")
    connection.execute("DELETE FROM audit WHERE id = (SELECT max(id) FROM audit)")
    cut_off = audit.verify(connection, path)
    connection.close()
    assert (found.broken, found.anchors) == ([], 2)
    assert cut_off.broken != []


def test_a_key_of_the_audit_is_there_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Died(Exception):
        pass

    def die(name: str) -> None:
        raise Died(name)

    monkeypatch.setattr(audit, "failpoint", die)
    with pytest.raises(Died):
        audit.key(tmp_path / "ledger.db")
    assert not audit.key_path(tmp_path / "ledger.db").exists()
    monkeypatch.undo()
    assert len(audit.key(tmp_path / "ledger.db")) == 32
