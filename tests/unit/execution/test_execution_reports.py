"""Any order of reports, with duplicates and late ones, in any mixture of orders and restarts."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from botd.domain.order import Order, OrderStatus
from tests.fakes.campaign import campaign
from tests.unit.execution.test_execution_gateway import Room

STATUSES = st.sampled_from(["open", "partial", "canceled", "expired", "rejected", "filled", "unknown"])


class Reports(RuleBasedStateMachine):
    orders: Bundle[Order] = Bundle("orders")

    def __init__(self) -> None:
        super().__init__()
        self.room = Room(in_process=False)
        self.distinct: dict[str, dict[str, Decimal]] = {}
        self.ranks: dict[str, tuple[int, Decimal]] = {}
        self.known: list[Order] = []
        self.trades = 0

    @rule(target=orders, quantity=st.sampled_from(["1", "3", "10"]), queued=st.booleans())
    def submit(self, quantity: str, queued: bool) -> Order:
        order = self.room.order(quantity, 1.0 if queued else 0.0)
        self.distinct[order.client_order_id] = {}
        self.known.append(order)
        return order

    @rule(order=orders, status=STATUSES)
    def report(self, order: Order, status: str) -> None:
        self.room.say(order, status)

    @rule(order=orders, status=STATUSES, quantity=st.sampled_from(["1", "2"]))
    def fill(self, order: Order, status: str, quantity: str) -> None:
        self.trades += 1
        self.distinct[order.client_order_id][f"t{self.trades}"] = Decimal(quantity)
        self.room.say(order, status, f"t{self.trades}", quantity)

    @rule(order=orders, status=STATUSES, data=st.data())
    def fill_again(self, order: Order, status: str, data: st.DataObject) -> None:
        seen = self.distinct[order.client_order_id]
        if seen:
            trade = data.draw(st.sampled_from(sorted(seen)))
            self.room.say(order, status, trade, str(seen[trade]))

    @rule(order=orders)
    def cancel(self, order: Order) -> None:
        self.room.gateway.cancel(order)

    @rule()
    def queue_runs(self) -> None:
        for call in self.room.later:
            call()

    @invariant()
    def cumulative_is_the_sum_of_distinct_fills(self) -> None:
        for order in self.known:
            assert order.filled == sum(self.distinct[order.client_order_id].values(), Decimal(0))

    @invariant()
    def nothing_goes_back(self) -> None:
        for order in self.known:
            rank, filled = self.ranks.get(order.client_order_id, (0, Decimal(0)))
            assert order.status.rank >= rank and order.filled >= filled
            self.ranks[order.client_order_id] = (order.status.rank, order.filled)

    @invariant()
    def full_means_filled_and_the_table_holds_what_is_open(self) -> None:
        assert [o for o in self.known if o.status.is_open] == self.room.gateway.open_orders()
        for order in self.known:
            if order.filled >= order.quantity:
                assert order.status is OrderStatus.FILLED

    @invariant()
    def owner_and_ledger_heard_every_fill_once_and_every_end_once(self) -> None:
        count = sum(len(seen) for seen in self.distinct.values())
        assert len(self.room.owner.fills) == len(self.room.journal.fills) == count
        ended = [o.client_order_id for o in self.known if not o.status.is_open]
        assert sorted(self.room.owner.ended) == sorted(ended)

    @invariant()
    def each_order_is_sent_at_most_once(self) -> None:
        assert len(set(self.room.exchange.sent)) == len(self.room.exchange.sent)


TestReports = Reports.TestCase
TestReports.settings = campaign(200, 50)
