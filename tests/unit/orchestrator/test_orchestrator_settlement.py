"""The end of a moment: one transaction with the cursor, in order; what did not commit never happened."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from botd.domain.errors import UnavailableError
from botd.orchestrator.settlement import MOST_PENDING
from tests.fakes.plain_strategies import ByClose, Hooks
from tests.fakes.small_world import MINUTE, START, SmallWorld


def cursor(small: SmallWorld) -> int:
    return int(small.rows("SELECT value FROM keyed WHERE space = 'market' AND key = 'cursor'")[0]["value"])


def test_a_moment_is_one_transaction_with_its_cursor(run: Any, by_signals: Any) -> None:
    async def script(small: SmallWorld) -> None:
        small.add(by_signals(ByClose()))
        batches = small.world.ledger.statistics()["batches"]
        for moment in range(3):
            await small.play(1)
            await small.world.settlement.commit()
            assert cursor(small) == START + moment * MINUTE
            fills = small.rows("SELECT max(time_ms) AS last FROM fills")[0]["last"]
            assert fills is None or fills <= cursor(small)
        assert small.world.ledger.statistics()["batches"] == batches + 3

    run(script, [101, 102, 101, 101])


def test_what_is_durable_is_a_prefix_of_what_happened(run: Any, by_signals: Any) -> None:
    """Whenever the file is read, fills, orders, books and cursor are those of one moment."""

    async def script(small: SmallWorld) -> None:
        small.add(by_signals(ByClose()))
        seen = set()
        for _ in range(30):
            await small.play(1)
            await asyncio.sleep(0.003)
            state = small.rows(
                "SELECT (SELECT value FROM keyed WHERE space='market' AND key='cursor') AS cursor,"
                " (SELECT count(*) FROM fills) AS fills, (SELECT count(*) FROM orders WHERE status='filled') AS filled,"
                " (SELECT count(*) FROM trades) AS trades, (SELECT max(time_ms) FROM equity WHERE bot=1) AS equity"
            )[0]
            seen.add(state["cursor"])
            if state["cursor"] is not None:
                moments = (int(state["cursor"]) - START) // MINUTE
                assert state["fills"] == state["filled"] == moments  # each moment fills once: in, out, in ...
                assert state["trades"] == moments // 2 and state["equity"] in (None, int(state["cursor"]))
        await small.world.settlement.commit()
        assert len(seen) > 1

    run(script, [101, 102] * 20)


def test_a_candle_that_changes_nothing_needs_no_commit_of_its_own(run: Any) -> None:
    async def script(small: SmallWorld) -> None:
        await small.play(2)
        before = small.world.ledger.statistics()["batches"]
        small.world.settlement._mark_account = lambda now_ms: None  # type: ignore[method-assign]
        await small.play(20)
        assert small.world.ledger.statistics()["batches"] <= before + 1

    run(script)


def test_intents_that_wait_go_right_behind_the_moment_that_made_them(run: Any, monkeypatch: Any) -> None:
    """However fast moments follow each other: an order is worth less with every millisecond."""

    class Waiting:
        waiting = True

        def commit_waiting(self) -> None:
            told.append("intents")

    told: list[str] = []

    async def script(small: SmallWorld) -> None:
        settlement, commit = small.world.settlement, small.world.ledger.commit
        monkeypatch.setattr(small.world.ledger, "commit", lambda: told.append("moment") or commit())
        settlement._intents = Waiting()
        for moment in range(3):
            small.world.journal.keyed("test", {"moment": str(moment)})
            settlement.settle(START + moment * MINUTE)
        assert told == ["moment", "intents"] * 3

    run(script)


def test_the_feed_waits_for_a_ledger_that_falls_behind(run: Any) -> None:
    async def script(small: SmallWorld) -> None:
        settlement, ledger = small.world.settlement, small.world.ledger
        for number in range(MOST_PENDING + 1):  # without a breath in between: none can settle
            assert settlement.brake() is None
            ledger.journal.keyed("test", {"number": str(number)})
            ledger.commit()
        waiting = settlement.brake()
        assert waiting is not None
        await waiting
        assert ledger.pending < MOST_PENDING // 2

    run(script)


def test_half_a_moment_is_never_committed(run: Any, by_signals: Any) -> None:
    async def script(small: SmallWorld) -> None:
        bot = small.add(by_signals(ByClose()))
        await small.play(2)
        await small.world.settlement.commit()
        bot.guard.on_closed = None  # type: ignore[assignment, method-assign]
        with pytest.raises(TypeError):
            await small.play(1)
        small.world.settlement.abandon()
        with pytest.raises(UnavailableError, match="half-way"):
            await small.world.settlement.commit()
        small.world.settlement.commit_soon()
        await asyncio.sleep(0.05)
        assert cursor(small) == START + MINUTE
        assert small.rows("SELECT max(time_ms) AS last FROM equity")[0]["last"] == START + MINUTE

    run(script, [101, 101, 101])


def test_the_account_has_a_point_a_minute_at_the_same_moments_after_a_restart(tmp_path: Any) -> None:
    async def script(restarts: list[int], home: Any) -> list[int]:
        small = SmallWorld(home, [100] * 12)
        await small.begin()
        for moment in range(12):
            if moment in restarts:
                await small.end()
                await small.begin()
            await small.play(1)
        await small.end()
        return [row["time_ms"] for row in small.rows("SELECT time_ms FROM equity WHERE bot = 0 ORDER BY time_ms")]

    calm = asyncio.run(script([], tmp_path / "calm"))
    assert calm == asyncio.run(script([3, 4, 9], tmp_path / "restarted")) and len(calm) == 11


def test_a_user_s_hooks_have_their_say_between_close_and_open(run: Any, by_hooks: Any) -> None:
    async def script(small: SmallWorld) -> None:
        from decimal import Decimal

        bot = small.add(by_hooks(Hooks(start=lambda context: context.buy(Decimal(1)) and None), False))
        await small.play(2)
        assert bot.book.position.entry_price == 110  # decided at the close of 100, filled at the next open

    run(script, [(100, 100, 100, 100), (110, 110, 110, 110)])


def test_a_command_during_a_moment_is_recorded_apart(run: Any) -> None:
    async def script(small: SmallWorld) -> None:
        journal = small.world.journal
        journal.keyed("test", {"half": "a moment"})
        await small.world.settlement.record("id-1", 0, 1, "halt", {}, {"ok": True})
        assert small.rows("SELECT request_id FROM commands") == [{"request_id": "id-1"}]
        assert small.rows("SELECT * FROM keyed WHERE space = 'test'") == [] and not journal.empty

    run(script)
