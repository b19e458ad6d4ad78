"""What is journalled is what is loaded; batches, events and ends."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from botd.domain.decision import Decision
from botd.domain.errors import UnavailableError
from botd.domain.events import Event
from botd.domain.order import OrderStatus, OrderType, Purpose, Side
from botd.ledger import queries
from botd.ledger.records import SequencedEvent, amount
from tests.fakes.ledger_rows import START, fill, open_ledger, order, position, record, trade


@pytest.mark.parametrize(
    ("value", "text"),
    [("1E-8", "0.00000001"), ("100", "100"), ("1E+3", "1000"), ("0.1000", "0.1"), ("-0.00", "0"), ("0E-16", "0")],
)
def test_amounts_are_written_in_full_without_trailing_zeros(value: str, text: str) -> None:
    assert amount(Decimal(value)) == text


def test_everything_journalled_is_loaded_as_it_was(tmp_path: Path, run_async) -> None:
    working = order(
        1,
        3,
        type=OrderType.STOP_LOSS_LIMIT,
        side=Side.SELL,
        price=Decimal("1.5"),
        stop_price=Decimal("2"),
        trigger_price=0.1 + 0.2,
        purpose=Purpose.PROTECTION,
        intent_reason="stop_loss",
        status=OrderStatus.PARTIAL,
        exchange_order_id="17",
        filled=Decimal("0.004"),
        filled_notional=Decimal("240.5"),
        reason="why",
        cancel_requested=True,
    )
    held = position()

    async def scenario() -> Any:
        ledger = open_ledger(tmp_path)
        journal = ledger.journal
        for bot in (
            record(1, desired="running", state="running", reason="ok", failures=2),
            record(2, removed_ms=START),
        ):
            journal.bot(bot)
        journal.order(working)
        journal.order(order(1, 4, status=OrderStatus.FILLED))
        journal.order(order(2, 9, status=OrderStatus.DENIED))
        journal.order(order(1, 2, client_order_id="of-somebody-else", status=OrderStatus.FILLED))
        journal.position(held)
        journal.position(position(2, quantity=Decimal("0.00")))
        journal.book(1, Decimal("399.4"), Decimal("-0.6"), Decimal("0.6"))
        journal.strategy_state(1, {"levels": [1, 2.5, "x"], "at": None})
        journal.keyed("market", {"cursor": "5", "playing": "1"})
        journal.keyed("market", {"playing": None, "speed": "0"})
        journal.keyed("risk", {"halt": "{}"})
        await ledger.commit()
        loaded = ledger.load()
        await ledger.close()
        return loaded

    loaded = run_async(scenario())
    assert [bot.number for bot in loaded.bots] == [1]
    assert loaded.bots == [record(1, desired="running", state="running", reason="ok", failures=2)]
    assert loaded.removed == [record(2, removed_ms=START)]
    assert loaded.open_orders == [working]
    assert loaded.positions == [held]
    assert loaded.books[1].cash == Decimal("399.4")
    assert loaded.strategy_states == {1: {"levels": [1, 2.5, "x"], "at": None}}
    assert loaded.kv == {"market": {"cursor": "5", "speed": "0"}, "risk": {"halt": "{}"}}
    assert loaded.last_sequence == {1: 4, 2: 9}
    assert loaded.next_bot_number == 3


def test_a_new_ledger_loads_empty(tmp_path: Path, run_async) -> None:
    async def scenario() -> Any:
        ledger = open_ledger(tmp_path)
        loaded = ledger.load()
        await ledger.close()
        return loaded

    loaded = run_async(scenario())
    assert (loaded.bots, loaded.positions, loaded.open_orders, loaded.kv) == ([], [], [], {})
    assert (loaded.next_bot_number, loaded.last_sequence) == (1, {})


def test_nothing_is_written_before_commit_and_a_journalled_value_may_change_afterwards(
    tmp_path: Path, run_async
) -> None:
    async def scenario() -> None:
        ledger = open_ledger(tmp_path)
        ledger.journal.bot(record(1))
        await ledger.commit()
        kept = order(1, 1, status=OrderStatus.OPEN)
        ledger.journal.order(kept)
        kept.status = OrderStatus.FILLED
        await ledger.flush()
        assert ledger.load().open_orders == []
        await ledger.commit()
        assert [o.status for o in ledger.load().open_orders] == [OrderStatus.OPEN]
        ledger.journal.order(kept)
        await ledger.close()  # not committed: it never happened
        ledger = open_ledger(tmp_path)
        assert [o.status for o in ledger.load().open_orders] == [OrderStatus.OPEN]
        await ledger.close()

    run_async(scenario())


def test_the_last_of_many_states_in_many_batches_wins_and_fills_count_once(tmp_path: Path, run_async) -> None:
    async def scenario() -> None:
        ledger = open_ledger(tmp_path)
        ledger.journal.bot(record(1))
        for number in range(700):
            ledger.journal.order(order(1, number % 3, filled=Decimal(number)))
            ledger.journal.fill(fill(number % 350, realized_pnl := 1 if number < 350 else 2), Decimal(realized_pnl))
            ledger.journal.keyed("k", {"a": str(number) if number % 2 else None})
            ledger.commit()
        rows, _ = await queries.orders(ledger)
        assert [row["filled"] for row in rows] == ["699", "697", "698"]
        counts = await ledger.query("SELECT count(*) n, min(realized_pnl) low, max(realized_pnl) high FROM fills")
        assert counts == [{"n": 350, "low": "1", "high": "1"}]
        assert await ledger.query("SELECT value FROM keyed") == [{"value": "699"}]
        assert ledger.pending == 0
        await ledger.close()

    run_async(scenario())


def test_events_are_told_in_order_without_gaps_and_only_when_durable(tmp_path: Path, run_async) -> None:
    async def scenario() -> None:
        ledger = open_ledger(tmp_path)
        told: list[SequencedEvent] = []
        durable: list[int] = []

        def listen(events: list[Any]) -> None:
            told.extend(events)
            count = ledger._readers._query("SELECT max(seq) s FROM events", ())
            durable.append(count[0]["s"] >= events[-1].seq)

        ledger.on_commit(lambda events: 1 / 0)  # a failing follower stops nobody
        ledger.on_commit(listen)
        for number in range(50):
            ledger.journal.event(Event(topic="bot.state", time_ms=START, bot="a", data={"n": number}))
            ledger.journal.event(Event(topic="market.gap", time_ms=START, data={"n": number}))
            ledger.commit()
        assert told == []
        await ledger.flush()
        await asyncio.sleep(0)
        assert [event.seq for event in told] == list(range(1, 101))
        assert [event.data["n"] for event in told[::2]] == list(range(50))
        assert all(durable)
        await ledger.close()
        ledger = open_ledger(tmp_path)
        ledger.on_commit(listen)
        ledger.journal.event(Event(topic="x", time_ms=START))
        await ledger.commit()
        assert told[-1].seq == 101
        await ledger.close()

    run_async(scenario())


def test_a_detached_batch_does_not_take_the_moment_under_way_along(tmp_path: Path, run_async) -> None:
    async def scenario() -> None:
        ledger = open_ledger(tmp_path)
        ledger.journal.keyed("market", {"cursor": "1"})
        halt = ledger.detached()
        halt.keyed("risk", {"halt": "yes"})
        await ledger.commit_batch(halt)
        assert ledger.load().kv == {"risk": {"halt": "yes"}}
        await ledger.commit()
        assert ledger.load().kv["market"] == {"cursor": "1"}
        await ledger.close()

    run_async(scenario())


def test_an_empty_commit_waits_for_what_was_committed_before(tmp_path: Path, run_async) -> None:
    async def scenario() -> None:
        ledger = open_ledger(tmp_path)
        assert ledger.commit().done()
        ledger.journal.keyed("a", {})
        assert ledger.commit().done()
        ledger.journal.keyed("a", {"b": "c"})
        first = ledger.commit()
        first.cancel()  # whoever gives up waiting takes nobody along
        await ledger.commit()
        assert ledger.load().kv == {"a": {"b": "c"}}
        await ledger.close()
        ledger.journal.keyed("a", {"b": "d"})
        with pytest.raises(UnavailableError):
            ledger.commit()

    run_async(scenario())


def test_drain_waits_until_the_writer_has_caught_up(tmp_path: Path, run_async) -> None:
    async def scenario() -> None:
        ledger = open_ledger(tmp_path)
        for number in range(500):
            ledger.journal.keyed("a", {"n": str(number)})
            ledger.commit()
        assert ledger.pending == 500
        await ledger.drain(10)
        assert ledger.pending < 10
        await ledger.close()

    run_async(scenario())


def test_numbers_of_numpy_are_taken_and_anything_else_is_refused_at_the_caller(tmp_path: Path, run_async) -> None:
    async def scenario() -> None:
        ledger = open_ledger(tmp_path)
        ledger.journal.bot(record(1))
        ledger.journal.fill(fill(1, time_ms=np.int64(START)), Decimal(0))
        ledger.journal.trade(trade(return_pct=np.float64(0.1), bars=np.int64(3)))
        notes = {"rsi": np.float64(29.5), "n": np.int64(3), "amount": Decimal("1.5"), "nan": float("nan")}
        ledger.journal.decision(Decision(bot=1, time_ms=START, outcome="hold", notes=notes))
        with pytest.raises(TypeError):
            ledger.journal.fill(fill(1, time_ms=object()), Decimal(0))
        await ledger.commit()
        found = await queries.decision_at(ledger, 1)
        assert found is not None
        assert found["notes"] == {"rsi": 29.5, "n": 3, "amount": "1.5", "nan": None}
        await ledger.close()

    run_async(scenario())


def test_space_on_the_disk_decides_whether_positions_may_be_opened(tmp_path: Path, run_async) -> None:
    async def scenario() -> None:
        ledger = open_ledger(tmp_path)
        assert ledger.opens_allowed() and ledger.statistics()["disk"] in ("ok", "low")
        for free, allowed, word in ((2**40, True, "ok"), (10**9, True, "low"), (10**8, False, "critical")):
            ledger._free, ledger._free_seen = (lambda _, free=free: free), (-2.0, 0)
            assert (ledger.opens_allowed(), ledger.statistics()["disk"]) == (allowed, word)
        await ledger.close()

    run_async(scenario())
