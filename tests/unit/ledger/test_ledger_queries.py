"""The lists that botctl prints: keys, filters, pages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from botd.domain.decision import Decision, GateCheck
from botd.domain.errors import InvalidError
from botd.domain.events import Event
from botd.domain.order import OrderStatus
from botd.ledger import queries
from botd.ledger.store import Ledger
from tests.fakes.ledger_rows import START, fill, open_ledger, order, position, record, trade

MINUTE = 60_000


@pytest.fixture
def with_ledger(tmp_path: Path, run_async) -> Callable[[Callable[[Ledger], Awaitable[None]]], None]:
    async def run(check: Callable[[Ledger], Awaitable[None]]) -> None:
        ledger = open_ledger(tmp_path)
        _fill(ledger)
        await ledger.commit()
        await check(ledger)
        await ledger.close()

    return lambda check: run_async(run(check))


def _fill(ledger: Ledger) -> None:
    journal = ledger.journal
    for number in (1, 2):
        journal.bot(record(number))
    for n in range(25):
        bot = 1 + n % 2
        at = START + n * MINUTE
        status = OrderStatus.OPEN if n % 5 == 0 else OrderStatus.FILLED
        spent = {"filled": Decimal("0.3"), "filled_notional": Decimal("0.1")} if n == 1 else {}
        journal.order(order(bot, n, status=status, created_ms=at, updated_ms=at, **spent))
        symbol = "ETH/USDT" if n % 3 == 0 else "BTC/USDT"
        journal.fill(fill(n, bot, time_ms=at, symbol=symbol), Decimal("0.10"))
        journal.trade(trade(bot, exit_time_ms=at))
        journal.equity(bot, at, Decimal(1000 + n), Decimal(900), Decimal(100))
        outcome = "hold" if n % 10 else "entered"
        gates = [GateCheck(gate="signal", passed=False, value=31.5, limit=30)]
        journal.decision(Decision(bot=bot, time_ms=at, outcome=outcome, gates=gates, notes={"n": n}))
        journal.event(Event(topic="order.filled" if n % 2 else "orders", time_ms=at, bot=f"bot{bot}", data={"n": n}))
    journal.equity(0, START, Decimal(5), Decimal(5), Decimal(0))
    journal.command("r1", 1000, 77, "start", {"names": ["a"]}, {"rows": []}, START)
    journal.command("r2", 0, 78, "stop", {"all": True}, {"rows": [1]}, START + 1)


def test_rows_have_the_promised_keys(with_ledger) -> None:
    async def check(ledger: Ledger) -> None:
        promised = {
            queries.orders: "client_order_id exchange_order_id bot symbol side type quantity price stop_price filled "
            "average status reason created updated",
            queries.fills: "trade_id client_order_id bot symbol side quantity price fee fee_asset realized_pnl time",
            queries.trades: "bot symbol side quantity entry_time exit_time entry_price exit_price pnl return_pct fees "
            "exit_reason bars",
            queries.decisions: "name at outcome gates notes",
            queries.events: "seq ts topic bot data",
        }
        for function, keys in promised.items():
            rows, following = await function(ledger)
            assert set(keys.split()) <= rows[0].keys()
            assert (len(rows), following) == (25, None)

    with_ledger(check)


def test_amounts_are_strings_and_times_rfc3339(with_ledger) -> None:
    async def check(ledger: Ledger) -> None:
        rows, _ = await queries.trades(ledger, last=1)
        assert rows[0] == {
            "bot": "bot1",
            "symbol": "BTC/USDT",
            "side": "long",
            "quantity": "0.01",
            "entry_time": "2026-01-01T00:00:00Z",
            "exit_time": "2026-01-01T00:24:00Z",
            "entry_price": "60000",
            "exit_price": "60100.5",
            "pnl": "-0.195",
            "return_pct": -0.0325,
            "fees": "1.2",
            "exit_reason": "signal",
            "bars": 1,
        }
        rows, _ = await queries.orders(ledger, limit=2)
        assert [row["average"] for row in rows] == [None, "0.333333333333333333"]
        assert rows[0]["reason"] == "signal"

    with_ledger(check)


@pytest.mark.parametrize("name", ["orders", "fills", "trades", "decisions", "events"])
@pytest.mark.parametrize("limit", [1, 7, 25, 100])
def test_pages_join_to_the_whole_list(with_ledger, name: str, limit: int) -> None:
    async def check(ledger: Ledger) -> None:
        function = getattr(queries, name)
        whole, _ = await function(ledger)
        rows: list[dict[str, Any]] = []
        cursor = None
        for _ in range(30):
            page, cursor = await function(ledger, cursor=cursor, limit=limit)
            assert len(page) <= limit
            rows += page
            if cursor is None:
                break
        assert rows == whole
        newest, _ = await function(ledger, last=limit)
        assert newest == whole[-limit:]

    with_ledger(check)


def test_equity_pages_by_time_over_bots(with_ledger) -> None:
    async def check(ledger: Ledger) -> None:
        first, cursor = await queries.equity(ledger, limit=2)
        assert [(row["bot"], row["equity"]) for row in first] == [("", "5"), ("bot1", "1000")]
        rest, _ = await queries.equity(ledger, cursor=cursor)
        assert [row["equity"] for row in rest] == [str(1000 + n) for n in range(1, 25)]
        account, _ = await queries.equity(ledger, bots=[0])
        assert account == [{"bot": "", "time": "2026-01-01T00:00:00Z", "equity": "5", "cash": "5", "exposure": "0"}]

    with_ledger(check)


def test_filters_narrow_the_list(with_ledger) -> None:
    async def check(ledger: Ledger) -> None:
        async def count(function: Any, **filters: Any) -> int:
            return len((await function(ledger, **filters))[0])

        assert await count(queries.orders, bots=[1]) == 13
        assert await count(queries.orders, bots=[1, 2]) == 25
        assert await count(queries.orders, bots=[]) == 0
        assert await count(queries.orders, open_only=True) == 5
        assert await count(queries.orders, status="filled", bots=[2]) == 10
        assert await count(queries.fills, symbol="ETH/USDT") == 9
        assert await count(queries.fills, since_ms=START + 5 * MINUTE, until_ms=START + 9 * MINUTE) == 5
        assert await count(queries.trades, since_ms=START + 24 * MINUTE) == 1
        assert await count(queries.decisions, outcome="entered") == 3
        assert await count(queries.events, since_seq=20) == 5
        assert await count(queries.events, topics=["order"]) == 12
        assert await count(queries.events, topics=["orders", "order.filled"]) == 25
        assert await count(queries.commands, uid=0) == 1

    with_ledger(check)


def test_the_decision_at_a_time_is_the_last_one_before(with_ledger) -> None:
    async def check(ledger: Ledger) -> None:
        last = await queries.decision_at(ledger, 1)
        assert last is not None and last["notes"] == {"n": 24}
        then = await queries.decision_at(ledger, 1, START + 11 * MINUTE)
        assert then is not None
        assert (then["at"], then["outcome"], then["notes"]) == ("2026-01-01T00:10:00Z", "entered", {"n": 10})
        assert then["gates"][0]["value"] == 31.5
        assert await queries.decision_at(ledger, 1, START - 1) is None

    with_ledger(check)


def test_a_request_is_remembered_for_a_day(with_ledger) -> None:
    async def check(ledger: Ledger) -> None:
        asked = {"uid": 0, "cmd": "stop", "args": {"all": True}, "reply": {"rows": [1]}, "time_ms": START + 1}
        assert await queries.recall(ledger, "r2", START + 23 * 60 * MINUTE) == [asked]
        assert await queries.recall(ledger, "r2", START + 25 * 60 * MINUTE) == []
        assert await queries.recall(ledger, "r3", START) == []

    with_ledger(check)


@pytest.mark.parametrize("cursor", ["", "x", "1_2", "1;DROP", "9" * 19 + "9", "1" * 400])
def test_a_made_up_cursor_is_invalid(with_ledger, cursor: str) -> None:
    async def check(ledger: Ledger) -> None:
        with pytest.raises(InvalidError):
            await queries.orders(ledger, cursor=cursor)

    with_ledger(check)


def test_a_query_cannot_write(with_ledger) -> None:
    async def check(ledger: Ledger) -> None:
        with pytest.raises(Exception, match=r"readonly|read-only"):
            await ledger.query("DELETE FROM fills RETURNING 1 x")
        assert len((await queries.fills(ledger))[0]) == 25

    with_ledger(check)


def test_an_open_position_is_a_row_without_an_exit() -> None:
    row = queries.open_trade_row(position(), "a", bar=9, price=Decimal(61000))
    # realised -0.6 + 610 - 600
    assert (row["exit_time"], row["pnl"], row["bars"], row["entry_price"]) == (None, "9.4", 2, "60000")
    assert queries.open_trade_row(position(), "a", bar=9, price=None)["pnl"] is None
