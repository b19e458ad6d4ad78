"""Orders to a faulty exchange: lost, late, reported in any order, twice or never, with restarts in between.

The exchange of the test keeps its own books. Whatever happens: an order is sent once, a fill is booked once, no
order is given up that the exchange has; and when the faults end, the books here are the exchange's.
"""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from botd.domain.order import Fill, Order, OrderStatus, Report
from botd.exchange.remote import RemoteOrder
from botd.execution.durable import KeptOrder
from tests.fakes.campaign import campaign
from tests.fakes.fake_exchange import FakeJournal, fill_of
from tests.fakes.remote_exchange import RemoteFake
from tests.fakes.remote_room import RemoteRoom

TOLD = st.sampled_from(["now", "later", "never"])


# -- one order, its reports in any order


@st.composite
def histories(draw: st.DrawFn) -> tuple[int, list[Report]]:
    """A truthful life of an order of 10: open, fills one by one, and an end that says how much has filled."""
    parts = draw(st.lists(st.integers(1, 4), max_size=3))
    while sum(parts) > 10:
        parts.pop()
    end = draw(st.sampled_from(["filled"] if sum(parts) == 10 else ["canceled", "expired"]))
    reports = [Report(client_order_id="o", status=OrderStatus.OPEN, time_ms=1, filled=Decimal(0))]
    filled = 0
    for number, part in enumerate(parts):
        filled += part
        fill = fill_of("o", f"t{number}", str(part))
        reports.append(Report(client_order_id="o", status=OrderStatus.PARTIAL, time_ms=1, fill=fill))
    reports.append(Report(client_order_id="o", status=OrderStatus(end), time_ms=1, filled=Decimal(filled)))
    if draw(st.booleans()):
        reports.append(Report(client_order_id="o", status=OrderStatus.UNKNOWN, time_ms=1))
    return filled, reports


@settings(max_examples=300, deadline=None)
@given(histories(), st.data())
def test_reports_in_any_order_duplicated_and_late_give_one_state(
    history: tuple[int, list[Report]], data: st.DataObject
) -> None:
    filled, reports = history
    states = set()
    repeated = data.draw(st.lists(st.sampled_from(reports), max_size=4))
    for sequence in (reports, data.draw(st.permutations(reports + repeated))):
        room = RemoteRoom()
        room.exchange.silent = True
        order = room.order("10")
        for report in sequence:
            fill = report.fill and msgspec.structs.replace(report.fill, client_order_id=order.client_order_id)
            room.exchange.report(msgspec.structs.replace(report, client_order_id=order.client_order_id, fill=fill))
        assert room.owner.ended == [order.client_order_id] and room.gateway.table.doubts == {}
        assert sum(fill.quantity for fill in room.owner.fills) == filled
        states.add((order.status, order.filled, order.filled_notional))
    assert len(states) == 1


# -- many orders, and everything that goes wrong


class Ledger(FakeJournal):
    """Keeps what a restart needs: orders and fills as last written. (Each step of the machine commits.)"""

    def __init__(self) -> None:
        super().__init__()
        self.last: dict[str, Order] = {}
        self.booked: dict[str, Fill] = {}
        self.keyed: dict[str, str] = {}

    def order(self, order: Order) -> None:
        self.last[order.client_order_id] = msgspec.structs.replace(order)

    def fill(self, fill: Fill, realized_pnl: Decimal) -> None:
        assert fill.trade_id not in self.booked, "booked twice"
        self.booked[fill.trade_id] = fill

    def take(self, rows: dict[str, str | None]) -> None:
        for key, value in rows.items():
            self.keyed.pop(key, None) if value is None else self.keyed.update({key: value})


class LifeRoom(RemoteRoom):
    """A room on a ledger and an exchange that outlive it."""

    def __init__(self, ledger: Ledger, exchange: RemoteFake) -> None:
        self._given = exchange
        super().__init__(USDT="100000")
        self.journal = ledger

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "exchange":
            value = self._given  # the room's own would be another
        if name == "journal" and not isinstance(value, Ledger):
            return
        super().__setattr__(name, value)

    @property
    def _ledger(self) -> Ledger:
        return self.journal  # type: ignore[return-value]


class Life(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.exchange = RemoteFake(USDT="100000")
        self.exchange.silent = self.exchange.lose = True
        self.ledger = Ledger()
        self.on_the_way: list[tuple[Order, int]] = []
        self.mail: list[Report] = []
        self.ranks: dict[str, tuple[int, Decimal]] = {}
        self.now_ms = 0
        self.start()
        self.loop.run_until_complete(self.room.reconciler.step())
        self.keep()

    def start(self) -> None:
        """Start a daemon on what the ledger has."""
        room = RemoteRoom.__new__(LifeRoom)
        object.__setattr__(room, "_given", self.exchange)
        object.__setattr__(room, "journal", self.ledger)
        LifeRoom.__init__(room, self.ledger, self.exchange)
        self.room = room
        if self.now_ms:
            room.clock.advance(self.now_ms)
        orders = [msgspec.structs.replace(order) for order in self.ledger.last.values() if order.status.is_open]
        trades: dict[str, list[str]] = {}
        for fill in self.ledger.booked.values():
            trades.setdefault(fill.client_order_id, []).append(fill.trade_id)
        room.kept = KeptOrders(self.ledger, trades)  # type: ignore[assignment]
        room.reconciler.restore(self.ledger.keyed)
        room.gateway.restore(orders, {1: len(self.ledger.last)}, trades)

    def keep(self) -> None:
        self.ledger.take(self.room.reconciler.drain_changes())
        self.now_ms = self.room.clock.now_ms()
        late, self.on_the_way = self.on_the_way, []
        for order, at_ms in late:
            if self.now_ms >= at_ms:
                self.arrive(order)
            else:
                self.on_the_way.append((order, at_ms))

    def arrive(self, order: Order, told: str = "later") -> None:
        self.exchange.arrive(order)
        self.post(order.client_order_id, told)

    def post(self, client_order_id: str, told: str, trade: Any = None) -> None:
        """Report what happened now, put it into the mail for later, or never say it."""
        deliver, mail = self.exchange.report, []
        self.exchange.report = mail.append
        self.exchange.tell(client_order_id, trade)
        self.exchange.report = deliver
        if told == "later":
            self.mail += mail
        for report in mail if told == "now" else ():
            deliver(report)

    def working(self, which: int) -> RemoteOrder | None:
        orders = [order for order in self.exchange.orders.values() if order.status.is_open]
        return orders[which % len(orders)] if orders else None

    # -- what happens

    @rule(quantity=st.sampled_from(["1", "3"]), fate=st.sampled_from(["arrives", "arrives", "late", "lost"]), told=TOLD)
    def submit(self, quantity: str, fate: str, told: str) -> None:
        order = self.room.order(quantity)
        self.ledger.last.setdefault(order.client_order_id, msgspec.structs.replace(order))
        if fate == "arrives":
            self.arrive(order, told)
        elif fate == "late":
            self.on_the_way.append((order, self.room.clock.now_ms() + 10_000))
        if told == "later" or (told == "now" and fate != "arrives"):  # else: not even that
            self.exchange.tell(order.client_order_id, status="unknown")

    @rule(which=st.integers(0, 9), whole=st.booleans(), told=TOLD)
    def trade(self, which: int, whole: bool, told: str) -> None:
        if order := self.working(which):
            left = order.quantity - order.filled
            trade = self.exchange.trade(order.client_order_id, str(left if whole else left / 2), told=False)
            self.post(order.client_order_id, told, trade)

    @rule(which=st.integers(0, 9), status=st.sampled_from(["canceled", "expired"]), told=TOLD)
    def finish(self, which: int, status: str, told: str) -> None:
        if order := self.working(which):
            self.exchange.finish(order.client_order_id, OrderStatus(status), told=False)
            self.post(order.client_order_id, told)

    @rule(which=st.integers(0, 9), again=st.booleans())
    def deliver(self, which: int, again: bool) -> None:
        if self.mail:
            report = self.mail[which % len(self.mail)]
            if not again:
                self.mail.remove(report)
            self.exchange.report(report)

    @rule(which=st.integers(0, 9))
    def cancel(self, which: int) -> None:
        if orders := self.room.gateway.open_orders():
            self.room.gateway.cancel(orders[which % len(orders)])

    @rule(broken=st.sets(st.sampled_from(["order", "open_orders", "trades", "balances"]), max_size=2))
    def break_questions(self, broken: set[str]) -> None:
        self.exchange.broken = broken

    @rule(seconds=st.sampled_from([1, 5, 20]))
    def time_passes(self, seconds: int) -> None:
        self.room.wait(seconds)
        self.loop.run_until_complete(self.room.reconciler.step())
        self.loop.run_until_complete(self.room.resolver.step())

    @rule()
    def restart(self) -> None:
        self.keep()
        self.start()

    # -- what holds

    @invariant()
    def everything_is_kept(self) -> None:
        self.keep()

    @invariant()
    def an_order_is_sent_once(self) -> None:
        assert len(set(self.exchange.sent)) == len(self.exchange.sent)

    @invariant()
    def fills_are_the_exchanges_and_sum_up(self) -> None:
        real = {trade.trade_id: trade.quantity for trade in self.exchange.trades}
        for trade_id, fill in self.ledger.booked.items():
            assert real[trade_id] == fill.quantity
        for key, order in self.ledger.last.items():
            booked = [fill.quantity for fill in self.ledger.booked.values() if fill.client_order_id == key]
            assert order.filled == sum(booked, Decimal(0))

    @invariant()
    def nothing_goes_back(self) -> None:
        for key, order in self.ledger.last.items():
            rank, filled = self.ranks.get(key, (0, Decimal(0)))
            assert order.status.rank >= rank and order.filled >= filled
            self.ranks[key] = (order.status.rank, order.filled)

    @invariant()
    def nothing_is_given_up_that_the_exchange_has(self) -> None:
        for key, order in self.ledger.last.items():
            if order.status is OrderStatus.NOT_PLACED:
                assert key not in self.exchange.orders
            elif not order.status.is_open and order.status is not OrderStatus.DENIED:
                there = self.exchange.orders[key]
                assert (order.status, order.filled) == (there.status, there.filled)

    def teardown(self) -> None:
        """The faults end: within a minute, and a proof's time, both books are the same."""
        self.exchange.broken = set()
        for _ in range(16):  # 20 s of silence, 45 s of doubt, a look
            self.time_passes(5)
            self.keep()
        for key, order in self.ledger.last.items():
            there = self.exchange.orders.get(key)
            if there is None:
                assert order.status is OrderStatus.NOT_PLACED, order
            else:
                assert (order.status, order.filled) == (there.status, there.filled)
        assert self.room.reconciler.explain().match and self.room.reconciler.differences.degraded == {}
        assert self.room.gateway.table.doubts == {} and self.room.resolver.rows() == []
        self.loop.close()


class KeptOrders(dict[str, Any]):
    """The ledger's orders, as an archive."""

    def __init__(self, ledger: Ledger, trades: dict[str, list[str]]) -> None:
        super().__init__()
        self._ledger = ledger

    def get(self, key: str, default: Any = None) -> Any:
        order = self._ledger.last.get(key)
        if order is None:
            return default
        trades = [fill.trade_id for fill in self._ledger.booked.values() if fill.client_order_id == key]
        return KeptOrder(msgspec.structs.replace(order), frozenset(trades))

    def values(self) -> Any:
        return [self.get(key) for key in self._ledger.last]


TestLife = Life.TestCase
TestLife.settings = campaign(200, 50)
