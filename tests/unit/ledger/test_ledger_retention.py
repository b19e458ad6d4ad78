"""What the ledger forgets and what it keeps for ever."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from botd.domain.clock import VirtualClock
from botd.domain.decision import Decision
from botd.domain.events import Event
from botd.ledger import schema
from botd.ledger.retention import DAY_MS, HOUR_MS, Retention
from tests.fakes.ledger_rows import START, fill, open_ledger, record, trade

MINUTE = 60_000


async def _write(directory: Path, days: int) -> None:
    ledger = open_ledger(directory)
    journal = ledger.journal
    for number in (1, 2):
        journal.bot(record(number))
    for minute in range(0, days * 1440, 5):
        at = START + minute * MINUTE
        for bot in (1, 2):
            journal.equity(bot, at, Decimal(minute), Decimal(0), Decimal(0))
        journal.decision(Decision(bot=1, time_ms=at, outcome="entered" if minute % 1440 == 720 else "hold"))
    for day in range(days):
        journal.event(Event(topic="x", time_ms=START + day * DAY_MS))
        journal.fill(fill(day, time_ms=START + day * DAY_MS), Decimal(0))
        journal.trade(trade(exit_time_ms=START + day * DAY_MS))
    await ledger.commit()
    await ledger.close()


def _prune(directory: Path, now_ms: int, *, simulated: bool) -> dict[str, int]:
    connection = schema.connect(directory / "ledger.db", write=True)
    retention = Retention(VirtualClock(now_ms), simulated=simulated)
    steps = 0
    while retention.step(connection):
        steps += 1
        assert steps < 1000
    counts = {
        table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        for table in ("equity", "decisions", "events", "fills", "trades")
    }
    connection.close()
    return counts


def test_changes_fills_and_trades_stay_and_the_rest_is_thinned(tmp_path: Path, run_async) -> None:
    run_async(_write(tmp_path, 10))
    counts = _prune(tmp_path, START + 10 * DAY_MS, simulated=False)
    # 7 days of 288 points and 3 days of 24, for two bots
    assert counts["equity"] == 2 * (7 * 288 + 3 * 24)
    # 7 days of 288; before, three days with two changes a day, and the very first
    assert counts["decisions"] == 7 * 288 + 3 * 2 + 1
    assert (counts["events"], counts["fills"], counts["trades"]) == (10, 10, 10)


def test_the_last_point_of_each_hour_is_the_one_kept(tmp_path: Path, run_async) -> None:
    run_async(_write(tmp_path, 1))
    _prune(tmp_path, START + 30 * DAY_MS, simulated=False)
    connection = schema.connect(tmp_path / "ledger.db", write=False)
    kept = [row[0] for row in connection.execute("SELECT time_ms FROM equity WHERE bot = 1 ORDER BY time_ms")]
    connection.close()
    assert kept == [START + hour * HOUR_MS + 55 * MINUTE for hour in range(24)]


def test_a_simulated_market_keeps_a_month_in_full(tmp_path: Path, run_async) -> None:
    run_async(_write(tmp_path, 31))
    counts = _prune(tmp_path, START + 31 * DAY_MS, simulated=True)
    assert counts["equity"] == 2 * 31 * 288
    assert counts["events"] == 30
    counts = _prune(tmp_path, START + 91 * DAY_MS, simulated=True)
    assert (counts["equity"], counts["events"]) == (2 * 31 * 24, 0)


def test_the_writer_prunes_by_itself(tmp_path: Path, run_async) -> None:
    async def scenario() -> None:
        await _write(tmp_path, 2)
        clock = VirtualClock(START + 40 * DAY_MS)
        ledger = open_ledger(tmp_path, clock)
        for number in range(200):
            ledger.journal.keyed("a", {"n": str(number)})
            await ledger.commit()
        rows = await ledger.query("SELECT count(*) n FROM decisions WHERE changed = 0")
        await ledger.close()
        assert rows[0]["n"] == 0
        ledger = open_ledger(tmp_path, clock)  # a sequence of events survives the loss of them all
        ledger.journal.event(Event(topic="y", time_ms=START + 40 * DAY_MS))
        await ledger.commit()
        assert await ledger.query("SELECT seq FROM events") == [{"seq": 3}]
        await ledger.close()

    run_async(scenario())


@pytest.mark.parametrize("days", [0, 1])
def test_pruning_an_empty_or_young_ledger_does_nothing(tmp_path: Path, run_async, days: int) -> None:
    run_async(_write(tmp_path, days))
    assert _prune(tmp_path, START + DAY_MS, simulated=False)["equity"] == days * 576
