"""The order table: intent first, statuses forward only, every fill once, nothing lost silently."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from botd.domain.clock import VirtualClock
from botd.domain.order import TRANSITIONS, Order, OrderStatus
from botd.execution.gateway import ENDED_KEPT, Gateway
from tests.fakes.fake_exchange import FakeExchange, FakeJournal, buy, fill_of, says
from tests.fakes.remote_room import Owner

OPEN = [status for status in OrderStatus if status.is_open]
ENDED = [status for status in OrderStatus if not status.is_open]


class Room:
    def __init__(self, in_process: bool = True) -> None:
        self.exchange, self.journal, self.owner = FakeExchange(in_process=in_process), FakeJournal(), Owner()
        self.later: list[Callable[[], None]] = []
        self.gateway = Gateway(
            exchange=self.exchange, journal=self.journal, clock=VirtualClock(), mode="paper", instance="ABCDE",
            send_later=lambda delay, call: self.later.append(call),
            commit_intent=None if in_process else lambda order, then: then(None),
        )  # fmt: skip
        self.gateway.register(1, self.owner)

    def order(self, quantity: str = "1", delay_s: float = 0.0) -> Order:
        return self.gateway.submit(buy(), Decimal(quantity), delay_s)

    def say(self, order: Order, status: str, trade_id: str = "", quantity: str = "1") -> None:
        fill = fill_of(order.client_order_id, trade_id, quantity) if trade_id else None
        self.exchange.report(says(order.client_order_id, status, fill))


@pytest.fixture
def room() -> Room:
    return Room()


def test_an_intent_is_journalled_before_it_is_sent(room: Room) -> None:
    seen: list[Any] = []
    room.exchange.submit = lambda order: seen.append(list(room.journal.orders))  # type: ignore[method-assign]
    order = room.order()
    assert seen == [[(order.client_order_id, "intent", "0")]]


def test_a_denied_intent_leaves_a_row_and_an_event_and_is_not_sent(room: Room) -> None:
    order = room.gateway.deny(buy(), Decimal(1), "TRADING_HALTED", limit="active", value="halted")
    assert room.journal.orders == [(order.client_order_id, "denied", "0")]
    assert room.journal.events[0].data["reason"] == "TRADING_HALTED"
    assert room.journal.events[0].data["limit"] == "active"
    assert room.exchange.sent == [] and room.gateway.open_orders() == []


def test_ids_count_up_for_each_bot_and_denied_orders_use_them_too(room: Room) -> None:
    room.gateway.deny(buy(), Decimal(1), "X")
    assert room.order().client_order_id.split("-")[2] == "2"
    assert room.gateway.reserve_id(7).split("-")[1:3] == ["7", "1"]


def test_a_reserved_id_is_never_given_again_also_after_a_restart(room: Room) -> None:
    room.order()
    unused = room.gateway.reserve_id(1)
    kept = {bot: str(sequence) for bot, sequence in room.gateway.drain_changes().items()}
    assert room.gateway.drain_changes() == {}
    after = Room()
    after.gateway.restore_reserved(kept)
    after.gateway.restore([], {1: 1}, {})
    assert after.order().client_order_id.split("-")[2] == "3"
    assert unused.split("-")[2] == "2"


def test_fills_move_an_order_on_and_the_last_one_ends_it(room: Room) -> None:
    order = room.order("2")
    room.say(order, "open")
    room.say(order, "partial", "t1")
    assert (order.status, order.filled) == (OrderStatus.PARTIAL, 1)
    room.say(order, "filled", "t2")
    assert (order.status, order.filled, room.owner.ended) == (OrderStatus.FILLED, 2, [order.client_order_id])
    assert room.gateway.open_orders() == []


def test_a_fill_that_comes_twice_counts_once(room: Room) -> None:
    order = room.order("2")
    room.say(order, "partial", "t1")
    room.say(order, "partial", "t1")
    assert order.filled == 1 and len(room.owner.fills) == len(room.journal.fills) == 1


def test_a_fill_that_comes_again_after_a_restart_counts_once(room: Room) -> None:
    order = room.order("2")
    room.say(order, "partial", "t1")
    after = Room()
    after.gateway.restore([order], {1: 1}, {order.client_order_id: ["t1"]})
    after.say(order, "partial", "t1")
    assert order.filled == 1 and after.owner.fills == []
    after.say(order, "filled", "t2")
    assert order.filled == 2 and order.status is OrderStatus.FILLED


def test_an_order_with_fills_is_never_shown_as_merely_open(room: Room) -> None:
    order = room.order("2")
    room.say(order, "open", "t1")
    assert order.status is OrderStatus.PARTIAL
    room.say(order, "open")
    assert order.status is OrderStatus.PARTIAL


@pytest.mark.parametrize("status", ["canceled", "expired"])
def test_a_fill_after_the_end_is_applied_told_and_counted(room: Room, status: str) -> None:
    order = room.order("2")
    room.say(order, status)
    room.say(order, status, "t1")
    assert (order.filled, order.status.value) == (1, status)
    room.say(order, "filled", "t2")
    assert (order.filled, order.status) == (2, OrderStatus.FILLED)
    assert len(room.owner.fills) == 2 and room.owner.ended == [order.client_order_id]
    assert room.journal.topics().count("order.resurrected") == 2
    assert room.gateway.statistics()["late_fills"] == 2
    assert room.gateway.open_orders() == []


def test_an_overfill_is_booked_as_the_exchange_says(room: Room) -> None:
    order = room.order("1")
    room.say(order, "filled", "t1")
    room.say(order, "filled", "t2")
    assert order.filled == 2 and len(room.owner.fills) == 2 and "order.resurrected" in room.journal.topics()


def test_a_report_of_an_ended_order_without_news_changes_nothing(room: Room) -> None:
    order = room.order()
    room.say(order, "canceled")
    rows = len(room.journal.orders)
    for status in ("canceled", "open", "partial", "expired"):
        room.say(order, status)
    assert (order.status, len(room.journal.orders)) == (OrderStatus.CANCELED, rows)


def test_a_fill_of_an_unknown_order_is_told_and_counted(room: Room) -> None:
    room.exchange.report(says("somebody-elses", "filled", fill_of("somebody-elses", "t1", "1")))
    ours = room.gateway.reserve_id(1)
    room.exchange.report(says(ours, "filled", fill_of(ours, "t2", "1")))
    strays = [event for event in room.journal.events if event.topic == "order.stray"]
    assert [event.bot for event in strays] == ["", "alpha"]
    assert strays[1].data["quantity"] == "1" and room.gateway.statistics()["strays"] == 2


def test_late_fills_are_known_for_the_last_ended_orders_only(room: Room) -> None:
    first = room.order()
    room.say(first, "canceled")
    for _ in range(ENDED_KEPT):
        room.say(room.order(), "canceled")
    room.say(first, "filled", "t1")
    assert first.filled == 0 and room.journal.topics()[-1] == "order.stray"


def test_cancel_is_asked_once_and_the_report_decides(room: Room) -> None:
    order = room.order()
    room.say(order, "open")
    room.gateway.cancel(order)
    room.gateway.cancel(order)
    assert room.exchange.cancels == [order.client_order_id] and order.status is OrderStatus.OPEN
    room.say(order, "filled", "t1")  # it filled meanwhile
    assert order.status is OrderStatus.FILLED
    room.gateway.cancel(order)
    assert len(room.exchange.cancels) == 1


def test_a_queued_order_is_sent_when_its_turn_comes(room: Room) -> None:
    order = room.order(delay_s=1.0)
    assert room.exchange.sent == [] and room.gateway.open_orders() == [order]
    room.later[0]()
    assert room.exchange.sent == [order.client_order_id]
    room.later[0]()
    assert len(room.exchange.sent) == 1  # send once


def test_a_queued_order_that_is_canceled_ends_at_once_and_is_never_sent(room: Room) -> None:
    order = room.order(delay_s=1.0)
    room.gateway.cancel(order)
    room.later[0]()
    assert (order.status, room.exchange.sent, room.exchange.cancels) == (OrderStatus.CANCELED, [], [])
    assert room.gateway.open_orders() == [] and room.owner.ended == [order.client_order_id]


def test_a_queued_order_is_over_after_a_restart(room: Room) -> None:
    order = room.order(delay_s=1.0)
    after = Room()
    after.gateway.restore([order], {1: 1}, {})
    assert order.status is OrderStatus.CANCELED and after.gateway.open_orders() == []
    assert after.journal.orders == [(order.client_order_id, "canceled", "0")]


def test_an_intent_of_a_remote_exchange_is_unknown_after_a_restart() -> None:
    before, after = Room(in_process=False), Room(in_process=False)
    order = before.order()
    after.gateway.restore([order], {1: 1}, {})
    assert after.gateway.open_orders() == [order] and order.status is OrderStatus.UNKNOWN
    assert after.journal.orders == [(order.client_order_id, "unknown", "0")] and after.exchange.sent == []


def test_open_orders_are_found_by_symbol_and_bot_oldest_first(room: Room) -> None:
    one, two = room.order(), room.order()
    other = room.gateway.submit(buy(bot=2, symbol="ETH/USDT"), Decimal(1))
    assert room.gateway.open_orders() == [one, two, other]
    assert room.gateway.open_orders("BTC/USDT") == [one, two]
    assert room.gateway.open_orders(bot=2) == [other] and room.gateway.open_orders("BTC/USDT", 2) == []


@pytest.mark.parametrize("before", OrderStatus)
@pytest.mark.parametrize("after", OrderStatus)
def test_the_table_never_goes_back(before: OrderStatus, after: OrderStatus) -> None:
    if after in TRANSITIONS[before]:
        assert after.rank >= before.rank and before is not OrderStatus.FILLED


def test_every_open_status_can_end_and_every_end_can_still_fill_but_our_own_denial() -> None:
    assert all(TRANSITIONS[status] & set(ENDED) for status in OPEN)
    assert [s for s in ENDED if OrderStatus.FILLED not in TRANSITIONS[s]] == [OrderStatus.DENIED, OrderStatus.FILLED]
