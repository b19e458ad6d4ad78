"""Orders of every kind against the front's exchange: what is reported, and what the exchange's own books say."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from botd.domain.order import OrderStatus, OrderType, Purpose
from botd.exchange.binance import order_desk
from botd.exchange.binance.questions import Questions
from botd.exchange.binance.signing import make_signer
from botd.exchange.governor import Lane
from botd.exchange.remote import QueryFailedError
from tests.fakes.binance.exchange import DEFAULT_KEY, Fees, named
from tests.fakes.binance.exchange.wire import Exchange
from tests.fakes.live_account import BTC, account, play, venue

OPEN, FILLED, CANCELED, REJECTED = (
    OrderStatus.OPEN, OrderStatus.FILLED, OrderStatus.CANCELED, OrderStatus.REJECTED,
)  # fmt: skip


@pytest.mark.parametrize(
    "side, kind, values, wire",
    [
        ("buy", "market", {}, "MARKET"),
        ("buy", "limit", {"price": "59000"}, "LIMIT"),
        ("buy", "limit_maker", {"price": "59000"}, "LIMIT_MAKER"),
        ("sell", "stop_loss", {"stop_price": "50000"}, "STOP_LOSS"),
        ("sell", "stop_loss_limit", {"stop_price": "50000", "price": "49900"}, "STOP_LOSS_LIMIT"),
        ("sell", "take_profit", {"stop_price": "70000"}, "TAKE_PROFIT"),
        ("sell", "take_profit_limit", {"stop_price": "70000", "price": "69900.1"}, "TAKE_PROFIT_LIMIT"),
    ],
)
def test_every_kind_of_order_is_placed_and_found(side: str, kind: str, values: dict[str, Any], wire: str) -> None:
    async def scene() -> None:
        async with venue() as front, account(front) as live:
            order = live.submit(side, kind=kind, **values)
            await live.settled(order)
            (booked,) = front.exchange.books.of_client(order)
            assert (booked.type, booked.side) == (wire, side.upper())
            found = await live.exchange.find_order(BTC, order)
            assert found is not None
            assert (found.type, found.quantity) == (OrderType(kind), Decimal("0.01"))
            for name, value in values.items():
                assert getattr(found, name) == Decimal(value)
            assert (found.status is FILLED) == (kind == "market")
            assert [row.client_order_id for row in await live.exchange.find_open_orders(BTC)] == (
                [] if kind == "market" else [order]
            )

    play(scene)


def test_a_fill_is_told_by_the_answer_and_by_the_stream_with_the_same_trade() -> None:
    async def scene() -> None:
        async with venue() as front, account(front) as live:
            front.exchange.inject(named("split_fills"))
            order = live.submit()
            await live.until(lambda: len([report for report in live.told(order) if report.fill]) == 6)
            booked = {str(trade.id) for trade in front.exchange.books.trades}
            assert live.trades(order) == booked and len(booked) == 3
            fills = {report.fill.trade_id: report.fill for report in live.told(order) if report.fill}
            assert sum(fill.quantity for fill in fills.values()) == Decimal("0.01")
            assert {(fill.fee_asset, fill.bot, fill.symbol) for fill in fills.values()} == {("BTC", 7, BTC)}
            assert sum(fill.fee for fill in fills.values()) == Decimal("0.00001")
            assert max(report.filled or 0 for report in live.told(order)) == Decimal("0.01")
            assert OrderStatus.FILLED in live.statuses(order)

    play(scene)


def test_fees_are_in_the_asset_in_which_they_were_taken() -> None:
    async def scene() -> None:
        made = Exchange({"USDT": "10000", "BTC": "1", "BNB": "10"}, fees=Fees(in_bnb=True))
        async with venue(made) as front, account(front) as live:
            front.exchange.set_price("BNBUSDT", "600.00", "600.01")
            order = live.submit("sell")
            report = await live.settled(order)
            await live.until(lambda: live.trades(order))
            fill = next(report.fill for report in live.told(order) if report.fill)
            assert fill.fee_asset == "BNB" and fill.fee > 0
            (trade,) = await live.exchange.find_trades(BTC, order_id=report.exchange_order_id)
            assert (trade.fee, trade.fee_asset, trade.side) == (fill.fee, "BNB", fill.side)
            assert (await live.exchange.find_commission(BTC)).discount_asset == "BNB"

    play(scene)


def test_a_cancel_tells_the_end_and_how_much_had_filled() -> None:
    async def scene() -> None:
        async with venue() as front, account(front) as live:
            order = live.submit(kind="limit", price="59000")
            await live.settled(order)
            front.exchange.inject(named("events_dropped"))
            front.exchange.venue.fill(order, "0.004")
            live.exchange.cancel(order)
            await live.until(lambda: CANCELED in live.statuses(order))
            end = live.told(order)[-1]
            assert (end.filled, live.trades(order)) == (Decimal("0.004"), set())
            (trade,) = await live.exchange.find_trades(BTC, order_id=end.exchange_order_id)
            assert trade.quantity == Decimal("0.004")

    play(scene)


def test_a_cancel_of_what_has_filled_is_a_doubt_and_no_end() -> None:
    async def scene() -> None:
        async with venue() as front, account(front) as live:
            order = live.submit(kind="limit", price="59000")
            await live.settled(order)
            front.exchange.inject(named("events_dropped"))
            front.exchange.inject(named("cancel_fill_race"))
            live.exchange.cancel(order)
            await live.until(lambda: live.doubts)
            assert live.doubts == [(order, "cancel: -2011 Unknown order sent.")]
            assert live.statuses(order) == {OPEN}
            found = await live.exchange.find_order(BTC, order)
            assert found is not None and found.status is FILLED

    play(scene)


def test_only_what_may_be_working_stays_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """An order that ended unheard is let go with the answer that says so; of those that the exchange never saw, which
    may show up late, the last ones are kept."""
    monkeypatch.setattr(order_desk, "_ABSENT", 2)

    async def scene() -> None:
        async with venue() as front, account(front) as live:

            def known() -> int:
                return live.exchange.statistics()["orders_known"]

            front.exchange.inject(named("events_dropped"))
            ends = [live.submit(kind="limit", price="59000") for _ in range(3)]
            await live.until(lambda: all(live.told(order) for order in ends))
            assert known() == 3
            for order in ends[:2]:
                front.exchange.venue.fill(order)
            first = await live.exchange.find_order(BTC, ends[0])
            assert first is not None and known() == 2
            number = live.told(ends[1])[-1].exchange_order_id
            assert await live.exchange.find_numbered(BTC, number) is not None and known() == 1
            assert await live.exchange.find_order(BTC, ends[2]) is not None and known() == 1  # it works

            lost = [f"L-7-{number}" for number in range(90, 94)]
            live.exchange.know(dict.fromkeys(lost, BTC))
            for order in lost[:3]:
                assert await live.exchange.find_order(BTC, order) is None
            assert known() == 4
            live.exchange.know({lost[1]: BTC})  # somebody needs it
            assert await live.exchange.find_order(BTC, lost[3]) is None
            assert known() == 4
            live.exchange.cancel(lost[0])
            live.exchange.cancel(lost[1])
            await live.until(lambda: len(live.doubts) == 2)
            words = dict(live.doubts)
            assert "symbol is not known" in words[lost[0]] and "-2011" in words[lost[1]]

    play(scene)


def test_an_order_of_an_earlier_life_can_be_cancelled_once_its_symbol_is_known() -> None:
    async def scene() -> None:
        async with venue() as front:
            async with account(front) as before:
                order = before.submit(kind="limit", price="59000")
                await before.settled(order)
            async with account(front) as live:
                live.exchange.cancel(order)
                await live.until(lambda: live.doubts)
                assert "symbol is not known" in live.doubts[0][1]
                live.exchange.know({order: BTC})
                live.exchange.cancel(order)
                await live.until(lambda: CANCELED in live.statuses(order))

    play(scene)


def test_a_pair_is_placed_and_ended_as_one() -> None:
    async def scene() -> None:
        async with venue() as front, account(front) as live:
            profit = live.order("sell", kind="limit_maker", price="70000", purpose=Purpose.PROTECTION)
            stop = live.order("sell", kind="stop_loss_limit", stop_price="50000", price="49900")
            live.exchange.submit_pair(profit, stop, "L-7-pair")
            ids = profit.client_order_id, stop.client_order_id
            await live.until(lambda: all(live.statuses(leg) == {OPEN} for leg in ids))
            rows = await live.exchange.find_open_orders()
            assert {row.client_order_id for row in rows} == set(ids)
            assert len({row.list_id for row in rows}) == 1 and rows[0].list_id
            live.exchange.cancel(stop.client_order_id)
            await live.until(lambda: all(CANCELED in live.statuses(leg) for leg in ids))
            assert front.exchange.books.open_orders() == []

    play(scene)


def test_a_leg_that_fills_ends_the_other() -> None:
    async def scene() -> None:
        async with venue() as front, account(front) as live:
            profit = live.order("sell", kind="limit_maker", price="61000")
            stop = live.order("sell", kind="stop_loss", stop_price="50000")
            live.exchange.submit_pair(stop, profit, "L-7-pair")
            await live.until(lambda: live.told(stop.client_order_id) and live.told(profit.client_order_id))
            front.exchange.set_price("BTCUSDT", "61000.00", "61000.01")
            await live.until(lambda: FILLED in live.statuses(profit.client_order_id))
            await live.until(lambda: live.statuses(stop.client_order_id) & {OrderStatus.EXPIRED, CANCELED})

    play(scene)


def test_a_pair_that_is_refused_is_refused_on_both_legs() -> None:
    async def scene() -> None:
        async with venue() as front, account(front) as live:
            profit = live.order("sell", kind="limit_maker", price="40000")
            stop = live.order("sell", kind="stop_loss", stop_price="30000")
            live.exchange.submit_pair(profit, stop, "L-7-pair")
            for leg in (profit, stop):
                report = await live.settled(leg.client_order_id)
                assert report.status is REJECTED and report.reason.startswith("-2010 ")

    play(scene)


def test_an_order_that_cannot_be_written_is_refused_without_a_byte() -> None:
    async def scene() -> None:
        async with venue() as front, account(front) as live:
            unlisted = await live.settled(live.submit(symbol="DOGE/USDT"))
            priceless = await live.settled(live.submit(kind="limit"))
            assert unlisted.reason == "cannot be sent: DOGE/USDT: no such symbol on binance"
            assert "needs a price" in priceless.reason
            assert {unlisted.status, priceless.status} == {REJECTED}
            assert [seen for seen in front.record.requests if seen.method == "POST"] == []

    play(scene)


def test_all_orders_of_a_symbol_end_in_one_request() -> None:
    async def scene() -> None:
        async with venue() as front, account(front) as live:
            assert await live.exchange.cancel_all(BTC) == 0
            orders = [live.submit(kind="limit", price=str(50_000 + number)) for number in range(5)]
            await live.until(lambda: all(live.told(order) for order in orders))
            pair = (live.order("sell", kind="limit_maker", price="70000"), live.order("sell", kind="stop_loss",
                    stop_price="50000"))  # fmt: skip
            live.exchange.submit_pair(*pair, "L-7-pair")
            await live.until(lambda: live.told(pair[0].client_order_id))
            assert await live.exchange.cancel_all(BTC) == 7
            await live.until(lambda: all(CANCELED in live.statuses(order) for order in orders))
            assert front.exchange.books.open_orders() == []
            front.exchange.inject(named("503_unknown_without_effect", method="DELETE"))
            with pytest.raises(QueryFailedError):
                await live.exchange.cancel_all(BTC)

    play(scene)


def test_trades_are_read_page_by_page_and_day_by_day() -> None:
    async def scene() -> None:
        async with venue() as front, account(front) as live:
            for _ in range(5):
                await live.settled(live.submit(quantity="0.001"))
            booked = [str(trade.id) for trade in front.exchange.books.trades]
            since = live.clock.now_ms() - 50 * 3_600_000
            signer = make_signer(DEFAULT_KEY.key, DEFAULT_KEY.secret)
            for page, requests in ((1000, 1), (2, 6)):  # the latest; then two empty days, one that is full, and by id
                questions = Questions(live.site, signer, page)
                asked = len(front.record.of("/api/v3/myTrades"))
                assert [trade.trade_id for trade in await questions.find_trades(BTC, since_ms=since)] == booked
                assert len(front.record.of("/api/v3/myTrades")) - asked == requests
                assert [trade.trade_id for trade in await questions.find_trades(BTC, from_id=booked[1])] == booked[1:]
            assert await live.exchange.find_trades(BTC, since_ms=live.clock.now_ms() + 1_000) == []
            orders = await live.exchange.questions.find_orders(BTC)
            assert [order.status for order in orders] == [FILLED] * 5

    play(scene)


def test_an_order_under_way_at_the_end_is_waited_for_and_then_unknown() -> None:
    async def scene() -> None:
        async with venue() as front:
            front.exchange.inject(named("slow_answer", method="POST", delay_ms=150))
            async with account(front) as live:
                waited = live.submit(kind="limit", price="50000")
                await asyncio.sleep(0.05)
                await live.exchange.close(budget_s=2.0)
                assert live.statuses(waited) == {OPEN}
            front.exchange.venue.mend_all()
            front.exchange.inject(named("accept_then_timeout", method="POST"))
            async with account(front) as live:
                cut = live.submit(kind="limit", price="50001")
                await live.until(lambda: front.exchange.books.of_client(cut))
                await live.exchange.close(budget_s=0.05)
                assert OrderStatus.UNKNOWN in live.statuses(cut)

    play(scene)


def test_stops_go_before_entries_and_every_bot_has_its_bill() -> None:
    async def scene() -> None:
        made = Exchange({"USDT": "100000", "BTC": "1"}, orders_10s=10)
        async with venue(made) as front, account(front) as live:
            live.site.governor.orders.set_limits({"10S": 10})
            entries = [live.submit(kind="limit", price=str(50_000 + number)) for number in range(9)]
            stops = [live.submit("sell", kind="stop_loss", stop_price="50000", purpose=Purpose.EXIT) for _ in range(2)]
            await live.until(lambda: sum(bool(live.told(order)) for order in entries + stops) == 10)
            assert all(OPEN in live.statuses(stop) for stop in stops)
            assert not live.told(entries[-1])  # nine tenths of the window are for stops and what was before
            bill = live.site.governor.limits()["bots"][7]
            assert (bill["orders"], bill["weight"], bill["failed"]) == (10, 0, 0)
            assert live.site.governor.limits()["orders"]["10S"]["used"] == 10

    play(scene)


def test_placing_goes_by_its_purpose() -> None:
    async def scene() -> None:
        lanes: list[Lane] = []
        async with venue() as front, account(front) as live:
            permit = live.site.governor.permit

            def seen(weight: int, lane: Lane, **more: Any) -> Any:
                lanes.append(lane)
                return permit(weight, lane, **more)

            live.site.governor.permit = seen  # type: ignore[method-assign]
            for purpose in Purpose:
                await live.settled(live.submit(kind="limit", price="50000", purpose=purpose))
            assert lanes == [Lane.ENTRY, Lane.PROTECTIVE, Lane.PROTECTIVE]

    play(scene)
