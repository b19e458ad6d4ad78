"""The account beside the books: what is missing is asked for, what is others' is recorded, nothing is invented."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from botd.domain.errors import ConflictError, WrongStateError
from botd.domain.order import PANIC_SEQUENCE, Order, OrderStatus, OrderType, Purpose, Side
from botd.execution.client_ids import client_order_id
from botd.execution.durable import KeptOrder
from tests.fakes.remote_room import RemoteRoom, run

BTC = Decimal("0.5")


async def opened(testnet: bool = False, **held: str) -> RemoteRoom:
    room = RemoteRoom(testnet=testnet, **held)
    await room.reconciler.step()
    room.exchange.asked.clear()
    assert room.reconciler.ready
    return room


def topics(room: RemoteRoom) -> list[str]:
    return [topic for topic in room.journal.topics() if topic.startswith(("account.", "reconcile."))]


# -- when it looks


def test_at_the_start_nothing_is_ready_until_everything_was_read() -> None:
    async def script() -> None:
        room = RemoteRoom()
        room.exchange.broken = {"open_orders", "balances"}
        assert "not read yet" in room.reconciler.refusals()[0]
        await room.reconciler.step()
        room.exchange.broken.discard("balances")
        await room.look(every_s=11)
        assert not room.reconciler.ready
        room.exchange.broken.clear()
        await room.look(every_s=11)
        assert room.reconciler.ready and room.reconciler.refusals() == []

    run(script())


def test_a_symbol_that_was_delisted_since_keeps_nobody_from_reading_the_others() -> None:
    async def script() -> None:
        room = await opened()
        after = RemoteRoom()
        room.reconciler.account.move_cursor("AAA/USDT", "7")
        after.reconciler.restore({k: row for k, row in room.reconciler.drain_changes().items() if row is not None})
        after.exchange.unlisted = {"AAA/USDT"}
        assert not after.gateway.may_sell("BTC/USDT")
        await after.reconciler.step()
        assert after.reconciler.ready and after.gateway.may_sell("BTC/USDT")

    run(script())


def test_where_the_trades_of_one_symbol_cannot_be_read_those_after_it_are_read_the_next_time() -> None:
    async def script() -> None:
        room = await opened()
        room.reconciler.trades.active = {"AAA/USDT", "BTC/USDT"}
        room.exchange.broken = {"trades"}
        await room.look()
        assert room.reconciler.trades.active == {"AAA/USDT", "BTC/USDT"}
        room.exchange.broken = set()
        await room.look()
        assert room.exchange.asked.count("trades") == 3 and not room.reconciler.trades.active

    run(script())


def test_open_orders_every_30_s_and_every_5_without_the_stream_balances_every_60() -> None:
    async def script() -> None:
        room = RemoteRoom()
        room.reconciler.on_stream(True)
        for up, seconds, looks in ((True, 120, 4), (False, 60, 12)):
            room.reconciler.on_stream(up)
            await room.reconciler.step()
            room.exchange.asked.clear()
            for _ in range(seconds):
                room.wait(1)
                await room.reconciler.step()
            assert room.exchange.asked.count("open_orders") == looks
            assert room.exchange.asked.count("balances") == seconds // 60

    run(script())


@pytest.mark.parametrize("cause", ["stream", "clock"])
def test_everything_is_read_when_the_stream_comes_up_and_when_the_clock_steps(cause: str) -> None:
    async def script() -> None:
        room = await opened()
        room.reconciler.on_stream(True) if cause == "stream" else room.reconciler.on_clock_step()
        await room.reconciler.step()
        assert room.exchange.asked == ["open_orders", "balances"]

    run(script())


def test_idle_symbols_cost_no_request_for_their_trades() -> None:
    async def script() -> None:
        room = await opened()
        await room.look(3)
        assert room.exchange.asked.count("trades") == 0
        room.order()
        await room.look()
        assert room.exchange.asked.count("trades") == 1

    run(script())


# -- orders


def test_an_open_order_that_is_missing_is_asked_for_and_not_taken_for_cancelled() -> None:
    async def script() -> None:
        room = await opened()
        order = room.order()
        room.exchange.trade(order.client_order_id, "1", told=False)
        await room.look()
        assert (order.status, order.filled) == (OrderStatus.FILLED, Decimal(1))  # the trades told it already
        other = room.order()
        room.exchange.finish(other.client_order_id, OrderStatus.CANCELED, told=False)
        await room.look()
        assert other.status is OrderStatus.OPEN and list(room.gateway.table.doubts) == [other.client_order_id]
        await room.resolver.step()
        assert other.status is OrderStatus.CANCELED

    run(script())


def test_an_unknown_order_among_the_open_ones_is_known() -> None:
    async def script() -> None:
        room = await opened()
        room.exchange.silent = True
        order = room.order()
        room.exchange.tell(order.client_order_id, status="unknown")
        await room.look()
        assert order.status is OrderStatus.OPEN and order.exchange_order_id == "x1"

    run(script())


def test_an_open_order_without_news_writes_nothing() -> None:
    async def script() -> None:
        room = await opened()
        room.order()
        rows = len(room.journal.orders)
        await room.look(5)
        assert len(room.journal.orders) == rows

    run(script())


def test_a_lost_fill_of_an_open_order_is_fetched_and_booked_once() -> None:
    async def script() -> None:
        room = await opened()
        order = room.order("2")
        trade = room.exchange.trade(order.client_order_id, "0.5", "0.01", paid="BNB", told=False)
        await room.look()
        assert order.filled == BTC and order.status is OrderStatus.PARTIAL
        room.exchange.tell(order.client_order_id, trade)  # the event comes after all
        await room.look()
        assert order.filled == BTC and len(room.owner.fills) == 1
        assert room.reconciler.explain().match

    run(script())


def test_an_ended_order_that_works_at_the_exchange_is_cancelled_there() -> None:
    async def script() -> None:
        room = await opened()
        order = room.order()
        room.gateway.table.finish(order, OrderStatus.CANCELED, "decided by somebody")
        await room.look()
        assert room.exchange.cancels == [order.client_order_id] and "order.zombie" in room.journal.topics()

    run(script())


def test_an_order_forgotten_here_and_kept_in_the_ledger_is_taken_up_with_its_late_fill() -> None:
    async def script() -> None:
        room = await opened()
        order = room.order()
        room.exchange.finish(order.client_order_id, OrderStatus.CANCELED)
        room.kept[order.client_order_id] = KeptOrder(msgspec.structs.replace(order), frozenset())
        fresh = RemoteRoom()
        fresh.kept, fresh.exchange.orders, fresh.exchange.held = room.kept, room.exchange.orders, room.exchange.held
        await fresh.reconciler.step()
        fresh.exchange.trade(order.client_order_id, "0.5", told=False)
        await fresh.look()
        assert [fill.quantity for fill in fresh.owner.fills] == [BTC]
        assert fresh.owner.resurrected == [(order.client_order_id, "canceled")]
        assert fresh.exchange.symbols[order.client_order_id] == "BTC/USDT" and fresh.reconciler.explain().match

    run(script())


def test_an_ended_order_whose_late_fill_is_booked_does_not_count_as_one_that_may_work() -> None:
    async def script() -> None:
        room = await opened()
        order = room.order()
        room.exchange.trade(order.client_order_id, "0.5", told=False)
        room.exchange.finish(order.client_order_id, OrderStatus.CANCELED, told=False)
        room.gateway.table.finish(order, OrderStatus.CANCELED, "told without its fill")
        fresh = RemoteRoom()
        fresh.kept = {order.client_order_id: KeptOrder(order, frozenset())}
        fresh.reconciler.account.opened_ms, fresh.exchange.trades = 1, room.exchange.trades
        fresh.reconciler.trades.active = {"BTC/USDT"}
        order.exchange_order_id = room.exchange.trades[0].exchange_order_id
        await fresh.reconciler.step()
        assert [fill.quantity for fill in fresh.owner.fills] == [BTC] and fresh.exchange.symbols == {}

    run(script())


def test_a_report_of_an_order_only_the_ledger_remembers_is_delivered_after_all() -> None:
    async def script() -> None:
        room = await opened()
        order = room.order()
        room.exchange.finish(order.client_order_id, OrderStatus.CANCELED)
        kept = KeptOrder(msgspec.structs.replace(order), frozenset())
        fresh = RemoteRoom()
        await fresh.reconciler.step()
        fresh.exchange.orders = room.exchange.orders
        fresh.kept[order.client_order_id] = kept
        fresh.exchange.trade(order.client_order_id, "0.5")
        assert fresh.owner.fills == []
        await fresh.look()
        assert [fill.quantity for fill in fresh.owner.fills] == [BTC]

    run(script())


def test_an_order_with_our_id_and_no_intent_is_an_alarm_and_refuses() -> None:
    async def script() -> None:
        room = await opened()
        room.exchange.place_by_hand(client_order_id("live", "ABCDE", 1, 77))
        await room.look()
        assert "reconcile.no_intent" in topics(room)
        assert any("without an intent" in line for line in room.reconciler.refusals())

    run(script())


# -- others


def test_another_instance_is_refused_until_its_orders_are_gone() -> None:
    async def script() -> None:
        room = await opened()
        theirs = client_order_id("live", "ZZZZZ", 1, 1)
        room.exchange.place_by_hand(theirs)
        await room.look()
        assert "another botd (ZZZZZ)" in room.reconciler.refusals()[0]
        assert room.reconciler.cancel_foreign("ZZZZZ") == 1
        assert room.exchange.cancels == [theirs] and room.exchange.symbols == {theirs: "BTC/USDT"}
        room.exchange.finish(theirs, OrderStatus.CANCELED, told=False)
        await room.look()
        assert room.reconciler.refusals() == []

    run(script())


def test_orders_and_trades_of_others_are_recorded_and_move_nobodys_position() -> None:
    async def script() -> None:
        room = await opened()
        room.exchange.place_by_hand("web_1", "2")
        room.exchange.trade("web_1", "0.5", "0.1", told=False)
        room.exchange.listener.on_foreign(room.exchange.orders["web_1"])  # type: ignore[union-attr]
        await room.look(5)
        assert "account.external" in topics(room) and room.owner.fills == []
        assert topics(room).count("account.external") == 1
        rows = {(row.asset, row.kind): row.quantity for row in room.reconciler.explain().rows}
        assert rows[("USDT", "external")] == 150 and room.reconciler.explain().match
        assert [topic for topic, _ in room.told] == []

    run(script())


# -- balances


def test_a_deposit_that_was_told_is_a_transfer() -> None:
    async def script() -> None:
        room = await opened()
        room.exchange.held["USDT"] += 500
        room.reconciler.on_transfer("USDT", Decimal(500), 5)
        await room.look(4)
        assert room.told == [("transfer", ("USDT", "500"))] and room.reconciler.explain().match

    run(script())


def test_what_came_in_while_nothing_is_missing_is_a_deposit_after_three_looks() -> None:
    async def script() -> None:
        room = await opened()
        room.exchange.held["EUR"] = Decimal(70)
        await room.look(2)
        assert room.told == [] and not room.reconciler.explain().match
        await room.look()
        assert room.told == [("transfer", ("EUR", "70"))] and room.reconciler.explain().match

    run(script())


def test_what_is_missing_three_times_degrades_its_bots_until_it_agrees_again() -> None:
    async def script() -> None:
        room = await opened(USDT="10000", BTC="1")
        room.exchange.held["USDT"] -= 3
        room.exchange.held["BTC"] += 1
        await room.look(2)
        assert room.told == []
        await room.look()
        told = ("difference", ([1], "unexplained: +1 BTC, -3 USDT"))
        assert room.told == [told]
        assert room.owner.fills == []  # never an invented trade
        await room.look(3)  # told each time: a bot may have been resumed since
        assert room.told == [told] * 4 and topics(room).count("account.difference") == 1
        room.exchange.held["USDT"] += 3
        room.exchange.held["BTC"] -= 1
        await room.look()
        assert room.told[4:] == [("agreement", [1])] and room.reconciler.differences.degraded == {}

    run(script())


def test_a_difference_is_looked_at_again_soon() -> None:
    async def script() -> None:
        room = await opened()
        room.exchange.held["USDT"] -= 3
        await room.look()
        room.exchange.asked.clear()
        await room.look(every_s=10)
        assert room.exchange.asked.count("balances") == 1

    run(script())


def test_a_difference_of_other_assets_is_nobodys_trouble() -> None:
    async def script() -> None:
        room = await opened(USDT="10000", DOGE="5")
        room.exchange.held["DOGE"] -= 3
        await room.look(4)
        assert room.told == [] and topics(room).count("account.difference") == 1

    run(script())


def test_a_person_may_say_that_a_difference_is_a_withdrawal() -> None:
    async def script() -> None:
        room = await opened()
        with pytest.raises(ConflictError):
            room.reconciler.accept_difference("USDT", "me")
        room.exchange.held["USDT"] -= 3
        await room.look(3)
        assert room.reconciler.accept_difference("USDT", "me") == -3
        await room.look()
        assert room.told[-1] == ("agreement", [1]) and room.reconciler.explain().match

    run(script())


def test_balances_read_between_two_fills_are_no_difference() -> None:
    async def script() -> None:
        room = await opened()
        order = room.order("3")
        held = room.exchange.find_balances

        async def busy() -> object:
            room.exchange.trade(order.client_order_id, "1")
            answer = await held()
            room.exchange.trade(order.client_order_id, "1")
            return answer

        room.exchange.find_balances = busy  # type: ignore[method-assign, assignment]
        await room.look()
        room.exchange.find_balances = held  # type: ignore[method-assign]
        assert room.reconciler.differences._looks == {}

    run(script())


def test_a_restart_goes_on_with_the_same_books_and_finds_what_happened_meanwhile() -> None:
    async def script() -> None:
        room = await opened()
        order = room.order("2")
        room.exchange.trade(order.client_order_id, "0.5")
        await room.look()
        rows = {key: value for key, value in room.reconciler.drain_changes().items() if value is not None}
        assert rows["cursor:BTC/USDT"] == "1" and rows["expected:USDT"] == "9950.0"
        after = RemoteRoom()
        after.exchange = room.exchange
        after.gateway._exchange = after.reconciler._exchange = room.exchange
        after.reconciler._learner._exchange = after.reconciler.trades._exchange = room.exchange
        after.reconciler.restore(rows)
        after.gateway.restore([order], {1: 1}, {order.client_order_id: ["1"]})
        room.exchange.trade(order.client_order_id, "1.5", told=False)
        await after.reconciler.step()
        assert (order.status, order.filled) == (OrderStatus.FILLED, Decimal(2))
        assert [fill.trade_id for fill in after.owner.fills] == ["2"]
        assert (
            after.reconciler.ready and after.reconciler.account.differences(await room.exchange.find_balances()) == {}
        )

    run(script())


def test_a_difference_at_the_start_keeps_everything_closed_until_it_is_judged() -> None:
    async def script() -> None:
        room = await opened()
        rows = {key: value for key, value in room.reconciler.drain_changes().items() if value is not None}
        after = RemoteRoom(USDT="9000")
        after.reconciler.restore(rows)
        await after.reconciler.step()
        assert not after.reconciler.ready
        await after.look(2, every_s=11)
        assert after.reconciler.ready and after.reconciler.differences.degraded == {1: "unexplained: -1000 USDT"}

    run(script())


# -- a test network that began anew


async def reset() -> tuple[RemoteRoom, Order, Order]:
    room = await opened(testnet=True)
    filled, working = room.order(), room.order()
    room.exchange.trade(filled.client_order_id, "1")
    await room.look()
    room.exchange.orders.clear()
    room.exchange.trades.clear()
    room.exchange.held = {"USDT": Decimal(7000), "BTC": Decimal(1)}
    return room, filled, working


def test_a_reset_is_recognised_said_and_accepted_by_a_person_only() -> None:
    async def script() -> None:
        room, _, working = await reset()
        with pytest.raises(WrongStateError):
            await room.reconciler.accept_reset("me")
        await room.look(4)
        assert topics(room).count("account.reset_seen") == 1 and room.told == []
        assert "--accept-reset" in room.reconciler.refusals()[0] and working.status is OrderStatus.OPEN
        assert await room.reconciler.accept_reset("me") == [working]
        assert working.status is OrderStatus.CANCELED and room.reconciler.refusals() == []
        await room.look(4)
        assert room.told == [] and room.reconciler.explain().match

    run(script())


def test_after_a_reset_the_same_numbers_are_other_orders_and_trades() -> None:
    async def script() -> None:
        room, filled, _ = await reset()
        await room.look(4)
        await room.reconciler.accept_reset("me")
        fresh = room.order()
        assert fresh.status is OrderStatus.OPEN and filled.exchange_order_id == "x1"
        room.exchange.trade(fresh.client_order_id, "1", told=False)  # trade 1 of order x1, again
        await room.look()
        assert fresh.status is OrderStatus.FILLED and filled.filled == 1
        assert [fill.trade_id for fill in room.journal.fills] == ["1", "1~1"]

    run(script())


def test_the_real_exchange_never_begins_anew() -> None:
    async def script() -> None:
        room = await opened()
        order = room.order()
        room.exchange.trade(order.client_order_id, "1")
        await room.look()
        room.exchange.trades.clear()
        room.exchange.held = {"USDT": Decimal(7000)}
        await room.look(4)
        assert not room.reconciler.reset_seen and room.told[0][0] == "difference"

    run(script())


# -- whose is what


def test_every_unit_has_an_owner_and_the_rows_add_up() -> None:
    async def script() -> None:
        room = await opened(USDT="10000", BTC="2", BNB="1")
        first = room.order("1")
        room.exchange.trade(first.client_order_id, "1", "0.001", paid="BNB")
        room.order("0.25", side=Side.SELL)
        room.order("3")
        room.exchange.place_by_hand("web_1", "0.5", Side.SELL)
        await room.look()
        told = room.reconciler.explain()
        rows = {(row.asset, row.kind): row.quantity for row in told.rows}
        assert told.match and told.as_dict()["match"] is True
        assert rows == {
            ("BNB", "unassigned"): Decimal("0.999"),
            ("BTC", "external"): Decimal("0.5"),
            ("BTC", "position"): Decimal("0.75"),
            ("BTC", "reserved"): Decimal("0.25"),
            ("BTC", "unassigned"): Decimal("1.5"),
            ("USDT", "cash"): Decimal(700),
            ("USDT", "reserved"): Decimal(300),
            ("USDT", "unassigned"): Decimal(8900),
        }
        for asset, held in room.reconciler.balances.items():
            assert sum(row.quantity for row in told.rows if row.asset == asset) == held.total

    run(script())


def test_a_claim_beyond_what_is_there_does_not_match() -> None:
    async def script() -> None:
        room = await opened(BTC="1")
        order = room.order("1", type=OrderType.MARKET)
        room.exchange.trade(order.client_order_id, "1")
        room.exchange.held["BTC"] -= 2
        await room.look()
        told = room.reconciler.explain()
        assert not told.match and "the exchange holds 0, the books say 2" in told.differences["BTC"]

    run(script())


# -- what botctl panic sold


def test_a_sale_of_panic_is_booked_as_an_exit_of_its_bot_and_another_botds_is_not() -> None:
    async def script() -> None:
        room = await opened()
        ours = client_order_id("live", "ABCDE", 1, PANIC_SEQUENCE + 5)
        foreign = client_order_id("live", "ZZZZZ", 1, PANIC_SEQUENCE + 5)
        for text in (ours, foreign):
            room.exchange.place_by_hand(text, "1", Side.SELL)
            room.exchange.trade(text, "1", told=False)
        assert await room.reconciler.trades.read("BTC/USDT")
        sale = room.gateway.table.find(ours)
        assert sale is not None and (sale.status, sale.filled) == (OrderStatus.FILLED, Decimal(1))
        assert (sale.bot, sale.purpose, sale.intent_reason) == (1, Purpose.EXIT, "panic")
        assert room.gateway.table.find(foreign) is None
        assert [fill.client_order_id for fill in room.owner.fills] == [ours]

    run(script())
