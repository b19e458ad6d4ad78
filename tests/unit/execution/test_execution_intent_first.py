"""Orders to an exchange outside the process: durable first, sent once, cancelled until it has an effect."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path

import pytest

from botd.domain.errors import BotdError, UnavailableError
from botd.domain.order import Order, OrderStatus, OrderType, Purpose, Side
from botd.execution.durable import DurableOrders
from botd.execution.gateway import INTENT_PATIENCE_S, Gateway
from tests.fakes.fake_exchange import FakeExchange, FakeJournal
from tests.fakes.ledger_rows import fill, open_ledger, order
from tests.fakes.remote_room import RemoteRoom


@pytest.fixture
def room() -> RemoteRoom:
    room = RemoteRoom()
    room.commit_at_once = False
    return room


def test_nothing_is_sent_before_the_intent_is_durable(room: RemoteRoom) -> None:
    placed = room.order()
    assert [kept.client_order_id for kept, _ in room.commits] == [placed.client_order_id]
    assert room.exchange.sent == [] and placed.status is OrderStatus.INTENT
    room.commits[0][1](None)
    assert room.exchange.sent == [placed.client_order_id] and placed.status is OrderStatus.OPEN


def test_an_intent_that_is_not_durable_is_denied_and_never_sent(room: RemoteRoom) -> None:
    placed = room.order()
    room.fail_commit()
    assert (placed.status, placed.reason) == (OrderStatus.DENIED, "LEDGER: ledger: the disk is full")
    room.commits[0][1](None)  # the disk came back, and the ledger has the batch after all
    assert room.exchange.sent == [] and room.gateway.open_orders() == []
    assert room.owner.ended == [placed.client_order_id] and room.gateway.statistics()["denied"] == 1
    assert room.journal.orders[-1] == (placed.client_order_id, "denied", "0")


def test_a_ledger_that_refuses_at_once_denies_too() -> None:
    def refuse(order: Order, then: object) -> None:
        raise UnavailableError("ledger: closed")

    room = RemoteRoom()
    room.gateway._commit_intent = refuse  # type: ignore[assignment]
    assert room.order().status is OrderStatus.DENIED and room.exchange.sent == []


def test_an_entry_is_not_sent_when_its_intent_took_too_long_and_an_exit_is(room: RemoteRoom) -> None:
    entry, leaving = room.order(), room.order(purpose=Purpose.EXIT)
    room.wait(INTENT_PATIENCE_S + 1)
    for _, then in room.commits:
        then(None)
    assert entry.status is OrderStatus.DENIED and "6.0 s" in entry.reason
    assert room.exchange.sent == [leaving.client_order_id]


def test_a_cancel_before_the_intent_is_durable_ends_it_without_a_byte(room: RemoteRoom) -> None:
    placed = room.order()
    room.gateway.cancel(placed)
    room.commits[0][1](None)
    assert placed.status is OrderStatus.CANCELED
    assert (room.exchange.sent, room.exchange.cancels) == ([], [])


def test_a_queued_order_is_journalled_and_its_intent_committed_when_its_turn_comes(room: RemoteRoom) -> None:
    placed = room.order(delay_s=2.0)
    assert room.journal.orders == [(placed.client_order_id, "intent", "0")] and room.commits == []
    room.later[0]()
    room.later[0]()
    assert len(room.commits) == 1 and room.exchange.sent == []
    room.commits[0][1](None)
    assert room.exchange.sent == [placed.client_order_id]


def test_a_queued_order_that_is_canceled_is_neither_committed_nor_sent(room: RemoteRoom) -> None:
    placed = room.order(delay_s=2.0)
    room.gateway.cancel(placed)
    room.later[0]()
    assert placed.status is OrderStatus.CANCELED
    assert (room.commits, room.exchange.sent, room.exchange.cancels) == ([], [], [])


def test_an_order_found_in_the_ledger_is_never_sent_again() -> None:
    before, after = RemoteRoom(), RemoteRoom()
    before.exchange.lose = before.exchange.silent = True
    placed = before.order()
    after.gateway.restore([placed], {1: 1}, {})
    assert placed.status is OrderStatus.UNKNOWN and after.exchange.sent == [] and after.commits == []


def test_a_remote_exchange_without_commits_is_refused() -> None:
    with pytest.raises(ValueError, match="commit_intent"):
        Gateway(exchange=FakeExchange(in_process=False), journal=FakeJournal(), clock=RemoteRoom().clock, mode="live",
                instance="ABCDE", send_later=lambda delay, call: None)  # fmt: skip


def test_at_the_end_nothing_is_sent_any_more_that_was_not_sent_yet(room: RemoteRoom) -> None:
    waiting, queued = room.order(), room.order(delay_s=1.0)
    room.gateway.close()
    room.commits[0][1](None)
    room.later[0]()
    late = room.order()
    assert [order.status.value for order in (waiting, queued, late)] == ["canceled", "canceled", "denied"]
    assert (room.exchange.sent, len(room.commits), room.gateway.open_orders()) == ([], 1, [])


# -- cancels


def test_a_cancel_is_a_flag_and_a_row_of_its_own_until_the_order_ends() -> None:
    room = RemoteRoom()
    placed = room.order()
    room.gateway.cancel(placed)
    assert placed.cancel_requested and placed.status is OrderStatus.OPEN
    rows = room.gateway.drain_cancels()
    assert list(rows) == [placed.client_order_id] and '"times":1' in (rows[placed.client_order_id] or "")
    assert room.gateway.drain_cancels() == {}
    room.exchange.finish(placed.client_order_id, OrderStatus.CANCELED)
    assert room.gateway.drain_cancels() == {placed.client_order_id: None}


def test_a_cancel_without_effect_is_asked_again_but_not_at_once() -> None:
    room = RemoteRoom()
    placed = room.order()
    room.gateway.cancel_again(placed)  # nobody asked for a first one
    room.gateway.cancel(placed)
    room.gateway.cancel_again(placed)
    assert len(room.exchange.cancels) == 1
    room.wait(5)
    room.gateway.cancel_again(placed)
    assert len(room.exchange.cancels) == 2
    assert '"times":2' in (room.gateway.drain_cancels()[placed.client_order_id] or "")


@pytest.mark.parametrize("step_ms", [3_600_000, -3_600_000])
def test_a_step_of_the_wall_clock_neither_hastens_nor_holds_up_the_next_cancel(step_ms: int) -> None:
    room = RemoteRoom()
    placed = room.order()
    room.gateway.cancel(placed)
    monotonic, room.clock._now_ms = room.clock.monotonic(), room.clock._now_ms + step_ms
    room.clock._start_ms += step_ms
    assert room.clock.monotonic() == monotonic
    room.gateway.cancel_again(placed)
    assert len(room.exchange.cancels) == 1
    room.wait(5)
    room.gateway.cancel_again(placed)
    assert len(room.exchange.cancels) == 2


def test_a_cancel_is_remembered_over_a_restart() -> None:
    before, after = RemoteRoom(), RemoteRoom()
    placed = before.order()
    before.gateway.cancel(placed)
    rows = {key: row for key, row in before.gateway.drain_cancels().items() if row}
    after.gateway.restore_cancels(rows)
    after.gateway.restore([placed], {1: 1}, {})
    after.gateway.cancel_again(placed)
    assert after.exchange.cancels == []  # asked a moment ago
    after.wait(5)
    after.gateway.cancel_again(placed)
    assert after.exchange.cancels == [placed.client_order_id]


# -- reservations


def test_reservations_are_the_open_remainders() -> None:
    room = RemoteRoom(USDT="10000", BTC="5")
    bought = room.order("2")
    room.order("3", side=Side.SELL)
    room.order("1", type=OrderType.MARKET, price=None)
    room.exchange.trade(bought.client_order_id, "0.5")
    reserved = room.gateway.table.reserved(lambda symbol: Decimal(110))
    assert reserved == {"USDT": Decimal("1.5") * 100 + 110, "BTC": Decimal(3)}
    room.exchange.finish(bought.client_order_id, OrderStatus.CANCELED)
    assert room.gateway.table.reserved(lambda symbol: None) == {"USDT": 0, "BTC": Decimal(3)}


# -- a real ledger


def test_an_intent_alone_becomes_durable_beside_a_batch_under_way(tmp_path: Path) -> None:
    async def script() -> None:
        ledger = open_ledger(tmp_path)
        durable, heard = DurableOrders(ledger), []
        ledger.journal.fill(fill(1), Decimal(0))  # half of a moment
        done = asyncio.Event()

        def then(error: BotdError | None) -> None:
            heard.append(error)
            done.set()

        durable.commit_intent([order(1, 1)], then)
        await done.wait()
        assert heard == [None] and not ledger.journal.empty
        assert (await durable.by_client_id("PABCDE-1-1-07")) is not None
        assert await ledger.query("SELECT * FROM fills") == []
        await ledger.close()

    asyncio.run(script())


def test_what_led_to_an_intent_is_durable_before_it(tmp_path: Path) -> None:
    """Else a crash leaves a sale known and the purchase that it sells not: the fill was told after the last commit."""

    async def script() -> None:
        ledger = open_ledger(tmp_path)
        durable, heard = DurableOrders(ledger), asyncio.Event()
        durable.commit_causes = ledger.commit  # type: ignore[assignment]
        sale = order(1, 2, side=Side.SELL)
        durable.commit_intent([sale], lambda error: heard.set())  # from within the call that books the purchase
        ledger.journal.fill(fill(1), Decimal(0))
        await heard.wait()
        assert await ledger.query("SELECT trade_id FROM fills") == [{"trade_id": "1"}]
        assert (await durable.by_client_id(sale.client_order_id)) is not None
        await ledger.close()

    asyncio.run(script())


def test_intents_of_a_moment_share_the_sync_that_ends_it(tmp_path: Path) -> None:
    async def script() -> None:
        ledger = open_ledger(tmp_path)
        durable, heard = DurableOrders(ledger), []
        durable.commit_causes = ledger.commit  # type: ignore[assignment]
        before = ledger.statistics()["transactions"]
        for number in (1, 2):
            durable.commit_intent([order(number, 1)], heard.append)
        ledger.journal.fill(fill(1), Decimal(0))
        assert durable.waiting
        ledger.commit()
        durable.commit_waiting()
        assert not durable.waiting
        while len(heard) < 2:
            await asyncio.sleep(0.001)
        assert heard == [None, None] and ledger.statistics()["transactions"] == before + 1
        await ledger.close()

    asyncio.run(script())


def test_an_intent_that_is_cancelled_at_once_leaves_no_intent_behind(tmp_path: Path) -> None:
    async def script() -> None:
        ledger = open_ledger(tmp_path)
        durable, heard = DurableOrders(ledger), []
        durable.commit_causes = ledger.commit  # type: ignore[assignment]
        taken_back = order(1, 1)
        durable.commit_intent([taken_back], heard.append)
        taken_back.status = OrderStatus.CANCELED
        ledger.journal.order(taken_back)
        await asyncio.sleep(0)
        await ledger.commit()
        kept = await durable.by_client_id(taken_back.client_order_id)
        assert kept is not None and kept.order.status is OrderStatus.CANCELED and heard == []
        await ledger.close()

    asyncio.run(script())


def test_an_ended_order_is_found_in_the_ledger_with_its_trades(tmp_path: Path) -> None:
    async def script() -> None:
        ledger = open_ledger(tmp_path)
        durable = DurableOrders(ledger)
        kept = order(1, 1, exchange_order_id="x9", status=OrderStatus.CANCELED, price=Decimal("1.5"))
        ledger.journal.order(kept)
        ledger.journal.fill(fill(7, client_order_id=kept.client_order_id), Decimal(0))
        await ledger.commit()
        found = await durable.by_exchange_id("BTC/USDT", "x9")
        assert found is not None and found.trade_ids == {"7"}
        assert (found.order.price, found.order.status, found.order.quantity) == (
            Decimal("1.5"), OrderStatus.CANCELED, Decimal("0.01"),
        )  # fmt: skip
        assert await durable.by_exchange_id("ETH/USDT", "x9") is None and await durable.by_client_id("other") is None
        await ledger.close()

    asyncio.run(script())


def test_a_disk_that_refuses_denies_the_order(tmp_path: Path) -> None:
    async def script() -> None:
        ledger = open_ledger(tmp_path, retry_s=0.01)
        heard: asyncio.Future[BotdError | None] = asyncio.get_running_loop().create_future()
        ledger._writer._write = _full_disk  # type: ignore[method-assign]
        DurableOrders(ledger).commit_intent([order(1, 1)], lambda error: heard.done() or heard.set_result(error))
        error = await heard
        assert isinstance(error, UnavailableError) and "disk" in error.message
        del ledger._writer._write
        await ledger.close()

    asyncio.run(script())


def _full_disk(fold: object) -> None:
    raise OSError(28, "No space left on device")
