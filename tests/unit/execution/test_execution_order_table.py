"""The order table by itself: what it keeps, tells, counts, doubts and forgets."""

from __future__ import annotations

import logging
from decimal import Decimal

import msgspec
import pytest

from botd.domain.clock import VirtualClock
from botd.domain.order import Fill, Order, OrderStatus, OrderType, Report, Side
from botd.execution.client_ids import client_order_id
from botd.execution.orders import ENDED_KEPT, OrderTable
from tests.fakes.fake_exchange import FakeJournal, fill_of

NOW = 1_767_225_600_000


class Owner:
    """A bot that realises two quote on every fill."""

    name = "alpha"

    def __init__(self, heard: list[tuple[str, str]]) -> None:
        self.heard = heard

    def on_fill(self, order: Order, fill: Fill) -> Decimal:
        self.heard.append(("fill", fill.trade_id))
        return Decimal(2)

    def on_order_end(self, order: Order) -> None:
        self.heard.append(("end", order.client_order_id))

    def on_resurrected(self, order: Order, ended_as: OrderStatus) -> None:
        self.heard.append(("resurrected", ended_as.value))


class Room:
    def __init__(self, remote: bool = True) -> None:
        self.heard: list[tuple[str, str]] = []
        self.journal, self.clock = FakeJournal(), VirtualClock(NOW)
        self.table = OrderTable(journal=self.journal, clock=self.clock, instance="ABCDE", remote=remote)
        self.table.register(1, Owner(self.heard))
        self.table.on_changed = lambda order: self.heard.append(("changed", order.status.value))
        self.table.on_zombie = lambda order: self.heard.append(("zombie", order.client_order_id))
        self.table.on_stray = lambda report: self.heard.append(("stray", report.client_order_id))
        self.table.on_booked = lambda fill: self.heard.append(("booked", fill.trade_id))

    def keep(self, name: str = "o", status: str = "open", **changes: object) -> Order:
        values: dict[str, object] = {
            "client_order_id": name,
            "bot": 1,
            "symbol": "BTC/USDT",
            "interval": "1m",
            "side": Side.BUY,
            "type": OrderType.LIMIT,
            "quantity": Decimal(10),
            "price": Decimal(100),
            "status": OrderStatus(status),
        }
        order = Order(**values | changes)  # type: ignore[arg-type]
        self.table.keep(order)
        self.heard.clear()
        return order

    def say(self, name: str, status: str, fill: Fill | None = None, at: int = NOW + 5, **more: object) -> None:
        report = Report(client_order_id=name, status=OrderStatus(status), time_ms=at, fill=fill)
        self.table.apply(msgspec.structs.replace(report, **more))


@pytest.fixture
def room() -> Room:
    return Room()


# -- a report


def test_a_report_leaves_its_time_its_number_and_its_words_and_empty_ones_wipe_nothing(room: Room) -> None:
    order = room.keep(status="unknown")
    room.say("o", "open", exchange_order_id="77", reason="seen")
    assert (order.updated_ms, order.exchange_order_id, order.reason) == (NOW + 5, "77", "seen")
    assert room.table.find_by_exchange_id("BTC/USDT", "77") is order
    assert room.table.find_by_exchange_id("ETH/USDT", "77") is None
    room.say("o", "open", at=NOW + 6)
    assert (order.updated_ms, order.exchange_order_id, order.reason) == (NOW + 6, "77", "seen")


def test_a_change_of_status_is_told_once_and_a_fill_tells_of_itself(room: Room) -> None:
    room.keep(status="unknown")
    room.say("o", "open")
    room.say("o", "open")
    assert room.journal.topics() == ["order.open"]
    room.say("o", "partial", fill_of("o", "t1", "1"))
    assert room.journal.topics() == ["order.open", "order.fill"]
    room.say("o", "canceled")
    assert room.journal.topics() == ["order.open", "order.fill", "order.canceled"]
    assert room.heard == [("fill", "t1"), ("booked", "t1"), ("changed", "open"), ("end", "o"), ("changed", "canceled")]


def test_an_event_carries_the_order_its_owner_and_the_time(room: Room) -> None:
    room.keep(intent_reason="signal", reason="why", price=None, type=OrderType.MARKET)
    room.say("o", "partial", msgspec.structs.replace(fill_of("o", "t1", "1"), fee=Decimal("0.10"), fee_asset="BNB"))
    (event,) = room.journal.events
    assert (event.topic, event.time_ms, event.bot) == ("order.fill", NOW, "alpha")
    assert event.data == {
        "side": "buy",
        "quantity": "1",
        "symbol": "BTC/USDT",
        "price": "100",
        "fee": "0.1",
        "fee_asset": "BNB",
        "realized_pnl": "2",
        "type": "market",
        "intent": "signal",
        "reason": "why",
        "client_order_id": "o",
    }


def test_orders_that_nobody_owns_are_booked_all_the_same(room: Room) -> None:
    order = room.keep(bot=9, price=None)
    room.say("o", "filled", fill_of("o", "t1", "10"))
    assert (order.status, order.filled, order.filled_notional) == (OrderStatus.FILLED, 10, 1000)
    assert [event.bot for event in room.journal.events] == [""]
    assert room.journal.events[0].data["realized_pnl"] == "0"
    assert room.heard == [("booked", "t1"), ("changed", "open"), ("changed", "filled")]


def test_what_an_event_does_not_know_is_left_out(room: Room) -> None:
    room.keep(price=None)
    room.say("o", "canceled")
    assert not {"price", "reason"} & set(room.journal.events[0].data)


# -- counts


def test_statistics_count_each_thing_once(room: Room) -> None:
    for name in ("a", "b", "c", "d"):
        room.keep(name)
    room.say("a", "rejected")
    room.say("d", "rejected")
    room.say("b", "canceled")
    fill = fill_of("c", "t1", "1")
    room.say("c", "partial", fill)
    room.say("c", "partial", fill)
    for _ in range(2):
        room.say("b", "canceled", fill_of("b", "t2", "1"))
    assert room.journal.topics().count("order.resurrected") == 1
    room.say("nobody", "open")
    room.table.doubt(room.table.open_orders()[0], "why")
    assert room.table.statistics() == {
        "submitted": 0,
        "denied": 0,
        "rejected": 2,
        "fills": 2,
        "duplicate_fills": 2,
        "late_fills": 1,
        "strays": 1,
        "open": 1,
        "doubtful": 1,
    }
    assert "doubtful" not in Room(remote=False).table.statistics()


# -- ends


def test_finish_ends_an_order_by_evidence_and_tells_when(room: Room) -> None:
    order = room.keep(status="unknown")
    room.clock.advance(NOW + 7)
    room.table.finish(order, OrderStatus.NOT_PLACED, "proved")
    assert (order.status, order.reason, order.updated_ms) == (OrderStatus.NOT_PLACED, "proved", NOW + 7)
    assert room.journal.orders == [("o", "not_placed", "0")]
    assert room.journal.topics() == ["order.not_placed"]
    assert room.table.open_orders() == [] and room.heard == [("end", "o"), ("changed", "not_placed")]


def test_finish_refuses_what_may_not_follow(room: Room) -> None:
    order = room.keep(status="open")
    with pytest.raises(ValueError, match="o: open cannot become not_placed"):
        room.table.finish(order, OrderStatus.NOT_PLACED, "proved")
    assert order.status is OrderStatus.OPEN and room.table.open_orders() == [order]


def test_an_ended_order_is_out_of_every_list_and_still_found(room: Room) -> None:
    order, other = room.keep("o", exchange_order_id="77"), room.keep("p")
    room.table.doubt(order, "why")
    room.say("o", "canceled")
    assert (room.table.open_orders(), room.table.open_orders(bot=1), room.table.doubts) == ([other], [other], {})
    assert room.table.find("o") is order and room.table.find_by_exchange_id("BTC/USDT", "77") is order
    assert room.table.find("x") is None


def test_the_oldest_ended_orders_are_forgotten_with_their_trades_and_numbers() -> None:
    room = Room()
    first = room.keep("first", exchange_order_id="77")
    room.say("first", "partial", fill_of("first", "t1", "1"))
    room.say("first", "canceled")
    for number in range(ENDED_KEPT - 1):
        room.keep(f"o{number}")
        room.say(f"o{number}", "canceled")
    assert room.table.find("first") is first and room.table.has_booked(first, "t1")
    room.keep("last")
    room.say("last", "canceled")
    assert room.table.find("first") is None and room.table.find_by_exchange_id("BTC/USDT", "77") is None
    assert not room.table.has_booked(first, "t1") and ENDED_KEPT == 2000
    assert room.table._ids == {}  # else they would pile up for months
    assert room.table.find("o0") is not None


def test_an_end_that_waits_for_fills_keeps_its_doubt_until_they_are_booked(room: Room) -> None:
    order = room.keep()
    room.say("o", "canceled", filled=Decimal(3))
    assert (order.status, room.table.doubts) == (OrderStatus.OPEN, {"o": "canceled with 3 filled, 0 booked"})
    room.table.clear(order)
    assert "o" in room.table.doubts  # an end is known: nothing is clear before its fills are here
    room.say("o", "partial", fill_of("o", "t1", "2"))
    assert order.status is OrderStatus.PARTIAL
    room.say("o", "partial", fill_of("o", "t2", "1"))
    assert (order.status, room.table.doubts) == (OrderStatus.CANCELED, {})


def test_of_two_ends_the_one_that_speaks_of_more_fills_counts(room: Room) -> None:
    order = room.keep()
    room.say("o", "canceled", filled=Decimal(3))
    room.say("o", "expired", filled=Decimal(2))
    assert room.table.doubts["o"] == "canceled with 3 filled, 0 booked"
    room.say("o", "expired", filled=Decimal(3))
    room.say("o", "partial", fill_of("o", "t1", "3"))
    assert order.status is OrderStatus.EXPIRED


def test_an_end_is_forgotten_with_its_order_and_binds_no_later_one_of_that_name(room: Room) -> None:
    order = room.keep(status="unknown")
    room.say("o", "canceled", filled=Decimal(3))
    room.table.finish(order, OrderStatus.CANCELED, "by hand")
    again = room.keep()
    room.table.doubt(again, "why")
    room.table.clear(again)
    assert room.table.doubts == {}


def test_an_end_without_an_amount_ends_at_once_and_filled_waits_for_all_of_it(room: Room) -> None:
    one, two = room.keep("one"), room.keep("two")
    room.say("one", "canceled")
    room.say("two", "filled")
    assert (one.status, two.status) == (OrderStatus.CANCELED, OrderStatus.OPEN)
    assert room.table.doubts == {"two": "filled with 10 filled, 0 booked"}


def test_a_working_order_that_filled_more_than_was_booked_is_doubtful(room: Room) -> None:
    order = room.keep()
    room.say("o", "partial", fill_of("o", "t1", "2"), filled=Decimal(2))
    assert room.table.doubts == {}
    room.say("o", "partial", filled=Decimal(3))
    assert (order.status, room.table.doubts) == (OrderStatus.PARTIAL, {"o": "3 filled, 2 booked"})


def test_only_an_open_order_is_doubted_and_the_first_reason_stays(room: Room) -> None:
    order = room.keep()
    room.table.doubt(order, "first")
    room.table.doubt(order, "second")
    assert room.table.doubts == {"o": "first"}
    room.say("o", "canceled")
    room.table.doubt(order, "third")
    assert room.table.doubts == {}


# -- late news


def test_a_fill_after_the_end_is_booked_told_and_leaves_its_time_and_number(room: Room) -> None:
    order = room.keep()
    room.say("o", "canceled")
    room.heard.clear()
    room.say("o", "canceled", fill_of("o", "t1", "2"), at=NOW + 9, exchange_order_id="77")
    assert (order.filled, order.updated_ms, order.exchange_order_id) == (2, NOW + 9, "77")
    assert room.table.find_by_exchange_id("BTC/USDT", "77") is order
    assert room.journal.orders[-1] == ("o", "canceled", "2")
    assert room.heard == [("fill", "t1"), ("booked", "t1"), ("changed", "canceled"), ("resurrected", "canceled")]
    event = room.journal.events[-1]
    assert (event.topic, event.data["ended_as"], event.data["trade_id"]) == ("order.resurrected", "canceled", "t1")
    room.say("o", "canceled", fill_of("o", "t2", "1"))
    assert order.exchange_order_id == "77"


def test_an_order_that_was_never_placed_and_works_is_a_zombie(room: Room) -> None:
    for name, status in (("gone", "not_placed"), ("refused", "rejected")):
        order = room.keep(name, "unknown")
        room.table.finish(order, OrderStatus(status), "proved")
        room.heard.clear()
        room.say(name, "open")
        assert room.heard == [("resurrected", status), ("zombie", name)]
        assert room.journal.events[-1].data["found"] == "open"


@pytest.mark.parametrize(
    ("ended", "status"), [("canceled", "open"), ("not_placed", "unknown"), ("not_placed", "canceled")]
)
def test_what_was_placed_or_does_not_work_is_no_zombie(room: Room, ended: str, status: str) -> None:
    room.table.finish(room.keep(status="unknown"), OrderStatus(ended), "proved")
    room.heard.clear()
    room.say("o", status)
    assert room.heard == []


def test_a_zombie_that_fills_in_part_still_works_and_one_that_filled_whole_does_not(room: Room) -> None:
    room.table.finish(room.keep(status="unknown"), OrderStatus.NOT_PLACED, "proved")
    room.heard.clear()
    room.say("o", "partial", fill_of("o", "t1", "9.5"))
    assert room.heard[-2:] == [("resurrected", "not_placed"), ("zombie", "o")]
    room.heard.clear()
    room.say("o", "partial", fill_of("o", "t2", "0.5"))
    assert ("zombie", "o") not in room.heard


def test_a_simulated_exchange_has_no_zombies() -> None:
    room = Room(remote=False)
    room.keep()
    room.say("o", "rejected")
    room.heard.clear()
    room.say("o", "open")
    assert room.heard == []


def test_a_stray_fill_is_told_with_all_that_moves_money(room: Room, caplog: pytest.LogCaptureFixture) -> None:
    ours = client_order_id("live", "ABCDE", 1, 5)
    with caplog.at_level(logging.WARNING, "botd.execution"):
        room.say(ours, "filled", fill_of(ours, "t1", "2.50"))
    (event,) = room.journal.events
    assert (event.topic, event.time_ms, event.bot) == ("order.stray", NOW + 5, "alpha")
    assert event.data == {
        "side": "buy",
        "quantity": "2.5",
        "symbol": "BTC/USDT",
        "price": "100",
        "trade_id": "t1",
        "client_order_id": ours,
    }
    assert room.heard == [("stray", ours)] and "not in the table" in caplog.text
    room.say("nobody", "open")
    assert room.heard == [("stray", ours)] and room.table.counts["strays"] == 2


@pytest.mark.parametrize(("instance", "bot"), [("OTHER", 1), ("ABCDE", 2)])
def test_a_stray_of_another_instance_or_an_unknown_bot_is_nobodys(room: Room, instance: str, bot: int) -> None:
    name = client_order_id("live", instance, bot, 5)
    room.say(name, "filled", fill_of(name, "t1", "1"))
    assert [event.bot for event in room.journal.events] == [""]


# -- taking in, and beginning anew


def test_a_kept_order_is_told_and_its_trades_count_as_booked(room: Room) -> None:
    order = room.keep(exchange_order_id="77")
    room.table.keep(order, ["t1"])
    assert room.heard == [("changed", "open")]
    assert room.table.has_booked(order, "t1") and not room.table.has_booked(order, "t2")
    room.say("o", "open", fill_of("o", "t1", "1"))
    assert order.filled == 0


def test_an_order_that_was_forgotten_is_taken_in_again_with_its_trades(room: Room) -> None:
    known = room.keep("known")
    other = msgspec.structs.replace(known, client_order_id="o", status=OrderStatus.CANCELED, exchange_order_id="77")
    room.table.adopt(other, ["t1"])
    assert room.table.find("o") is other and room.table.has_booked(other, "t1") and room.table.open_orders() == [known]
    assert room.table.find_by_exchange_id("BTC/USDT", "77") is other


def test_what_is_in_the_table_is_not_taken_in_again(room: Room) -> None:
    working, ended = room.keep("working"), room.keep("ended")
    room.say("ended", "canceled")
    for order in (working, ended):
        room.table.adopt(msgspec.structs.replace(order), ["t1"])
        assert room.table.find(order.client_order_id) is order and not room.table.has_booked(order, "t1")


def test_an_exchange_that_begins_anew_gives_the_same_numbers_to_other_orders(room: Room) -> None:
    order, ended = room.keep("o", exchange_order_id="1"), room.keep("ended", exchange_order_id="2")
    room.say("o", "partial", fill_of("o", "t1", "1"))
    room.say("ended", "canceled")
    room.table.begin_anew(1)
    assert room.table.find("ended") is None and room.table.find("o") is order
    assert room.table.find_by_exchange_id("BTC/USDT", "1") is None
    assert not room.table.has_booked(order, "t1") and room.table._trades == {}
    room.say("o", "partial", fill_of("o", "t1", "1"))
    assert room.journal.fills[-1].trade_id == "1~t1" and order.filled == 2 and room.table.has_booked(order, "t1")
    assert ended.status is OrderStatus.CANCELED
