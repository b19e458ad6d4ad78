"""The order table: every order from intent to end, and what reports do to it.

A status never goes back, a fill counts once, also one that comes after its order's end. With an exchange
outside the process an end that speaks of more fills than were booked is put off, and the order becomes
doubtful: somebody must ask. It sends nothing, asks nothing and decides nothing; position and cash are the
owner's business.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Collection
from decimal import Decimal
from typing import Any, Protocol

import msgspec

from botd.domain.clock import Clock
from botd.domain.events import Event
from botd.domain.instrument import ZERO, split_symbol
from botd.domain.order import TRANSITIONS, Fill, Order, OrderStatus, Purpose, Report, Side
from botd.execution.client_ids import parse_client_order_id
from botd.ledger.records import amount

logger = logging.getLogger("botd.execution")

ENDED_KEPT = 2000
"""Ended orders remembered for fills that come late."""

NEVER_PLACED = frozenset({OrderStatus.REJECTED, OrderStatus.NOT_PLACED})
"""Ends that say the exchange never had the order."""


class OrderJournal(Protocol):
    """The part of the ledger's journal that the order table writes."""

    def order(self, order: Order) -> None: ...

    def fill(self, fill: Fill, realized_pnl: Decimal) -> None: ...

    def event(self, event: Event, at: int | None = None) -> None: ...

    @property
    def next_event(self) -> int: ...


class OrderOwner(Protocol):
    """Whose order it is: a bot."""

    @property
    def name(self) -> str: ...

    def on_fill(self, order: Order, fill: Fill) -> Decimal:
        """Book the fill; return the profit it realised, in quote."""
        ...

    def on_order_end(self, order: Order) -> None:
        """The order will not fill any more (canceled, expired, rejected, filled)."""
        ...

    def on_resurrected(self, order: Order, ended_as: OrderStatus) -> None:
        """An order that had ended lives: it filled (after ``on_fill``), or the exchange has it after all."""
        ...


class _End(msgspec.Struct, frozen=True):
    """An end that waits for fills: the status, and how much the exchange says has filled."""

    status: OrderStatus
    filled: Decimal


class OrderTable:
    """Orders by client id."""

    def __init__(self, *, journal: OrderJournal, clock: Clock, instance: str, remote: bool) -> None:
        self._journal = journal
        self._clock = clock
        self._instance = instance
        self._remote = remote
        self._orders: dict[str, Order] = {}
        self._by_bot: dict[int, dict[str, Order]] = {}
        self._ended: OrderedDict[str, Order] = OrderedDict()
        self._ids: dict[tuple[str, str], str] = {}
        """Client ids by (symbol, the exchange's id)."""
        self._trades: dict[str, set[str]] = {}
        self._ends: dict[str, _End] = {}
        self._owners: dict[int, OrderOwner] = {}
        self._found_alive: set[str] = set()
        """Ended orders that were told to live, until they are forgotten: once is enough."""
        self.doubts: dict[str, str] = {}
        """Open orders that somebody must ask the exchange about, with the reason; they go as they end or are clear."""
        self.on_booked: Callable[[Fill], None] = _ignore
        self.on_zombie: Callable[[Order], None] = _ignore
        """Called with an order that ended here and works at the exchange."""
        self.on_stray: Callable[[Report], None] = _ignore
        self.on_changed: Callable[[Order], None] = _ignore
        """Called with an order that is new in the table, filled, or ended, after its owner."""
        self.epoch = 0
        """How often the exchange began anew (a test network does): its trade ids count from one again."""
        self.counts = dict.fromkeys(
            ("submitted", "denied", "rejected", "fills", "duplicate_fills", "late_fills", "strays"), 0
        )

    # -- who and what is in it

    def register(self, bot: int, owner: OrderOwner) -> None:
        """Send what happens to the orders of ``bot`` to ``owner``."""
        self._owners[bot] = owner

    def keep(self, order: Order, trade_ids: Collection[str] = ()) -> None:
        """Take an open order in, with the trade ids of the fills that were booked."""
        self._orders[order.client_order_id] = order
        self._by_bot.setdefault(order.bot, {})[order.client_order_id] = order
        self._remember(order, trade_ids)
        self.on_changed(order)

    def adopt(self, order: Order, trade_ids: Collection[str]) -> None:
        """Take an ended order in again: it was forgotten, and there is news of it."""
        if order.client_order_id not in self._orders and order.client_order_id not in self._ended:
            self._bury(order)
            self._remember(order, trade_ids)

    def find(self, client_order_id: str) -> Order | None:
        """Return an order, open or remembered as ended."""
        return self._orders.get(client_order_id) or self._ended.get(client_order_id)

    def find_by_exchange_id(self, symbol: str, exchange_order_id: str) -> Order | None:
        """Return an order, open or remembered as ended, by the id that the exchange gave it."""
        client_order_id = self._ids.get((symbol, exchange_order_id))
        return None if client_order_id is None else self.find(client_order_id)

    def open_orders(self, symbol: str | None = None, bot: int | None = None) -> list[Order]:
        """Return the working orders, of a symbol or a bot if given, oldest first."""
        orders = self._orders if bot is None else self._by_bot.get(bot, {})
        return [order for order in orders.values() if symbol is None or order.symbol == symbol]

    def partner(self, order: Order) -> Order | None:
        """Return the other working leg of a protective pair, None where there is none; a bot has one pair at most."""
        if not self._remote or order.purpose is not Purpose.PROTECTION:
            return None
        legs = (leg for leg in self._by_bot.get(order.bot, {}).values() if leg.purpose is Purpose.PROTECTION)
        return next((leg for leg in legs if leg.is_target is not order.is_target), None)

    def has_booked(self, order: Order, trade_id: str) -> bool:
        """Tell whether a trade of an order was booked."""
        return self._numbered(trade_id) in self._trades.get(order.client_order_id, ())

    def reserved(self, price_of: Callable[[str], Decimal | None]) -> dict[str, Decimal]:
        """Return by asset what open orders may still take: quote for purchases, base for sales.

        ``price_of`` values a purchase at market; without a price it reserves nothing.
        """
        found: dict[str, Decimal] = {}
        for order in self._orders.values():
            base, quote = split_symbol(order.symbol)
            if order.side is Side.SELL:
                doubled = order.is_target and self.partner(order) is not None
                asset, amount = base, ZERO if doubled else order.remaining
            else:
                price = order.price or order.stop_price or price_of(order.symbol) or ZERO
                asset, amount = quote, order.remaining * price
            found[asset] = found.get(asset, ZERO) + max(ZERO, amount)
        return found

    def begin_anew(self, epoch: int) -> None:
        """Forget what has ended: the exchange gives the same numbers to other orders and trades from now on."""
        self.epoch = epoch
        self._ended.clear()
        self._ids.clear()
        self._trades.clear()

    # -- what happens to an order

    def doubt(self, order: Order, reason: str) -> None:
        """Say that the exchange must be asked about an open order."""
        if order.status.is_open:
            self.doubts.setdefault(order.client_order_id, reason)

    def clear(self, order: Order) -> None:
        """Say that the exchange's answer about an order and what is known here agree."""
        if order.client_order_id not in self._ends:
            self.doubts.pop(order.client_order_id, None)

    def apply(self, report: Report) -> None:
        """Apply what the exchange says: a status moves forward only, a fill counts once."""
        order = self._orders.get(report.client_order_id)
        if order is None:
            self._on_late_report(report)
            return
        if report.fill is not None:
            self._book(order, report.fill)
        status = self._advanced(order, self._complete(order, report) if self._remote else report.status)
        order.updated_ms = report.time_ms
        order.exchange_order_id = report.exchange_order_id or order.exchange_order_id
        order.reason = report.reason or order.reason
        self._index(order)
        changed, order.status = order.status is not status, status
        self._journal.order(order)
        if changed and report.fill is None:
            self.tell(f"order.{status.value}", order)
        if not status.is_open:
            self.end(order)

    def finish(self, order: Order, status: OrderStatus, reason: str) -> None:
        """End an open order by evidence that is no report: it was never sent, or proved not to be there."""
        if status not in TRANSITIONS[order.status]:
            raise ValueError(f"{order.client_order_id}: {order.status} cannot become {status}")
        order.status, order.reason, order.updated_ms = status, reason, self._clock.now_ms()
        self._journal.order(order)
        self.tell(f"order.{status.value}", order)
        self.end(order)

    def end(self, order: Order) -> None:
        """Move an order that has ended out of the open ones, and tell its owner."""
        client_order_id = order.client_order_id
        del self._orders[client_order_id]
        self._by_bot[order.bot].pop(client_order_id)
        self.doubts.pop(client_order_id, None)
        self._ends.pop(client_order_id, None)
        self._bury(order)
        if order.status is OrderStatus.REJECTED:
            self.counts["rejected"] += 1
        self._doubt_partner(order)
        owner = self._owners.get(order.bot)
        if owner is not None:
            owner.on_order_end(order)
        self.on_changed(order)

    def tell(self, topic: str, order: Order, at: int | None = None, /, **more: str) -> None:
        """Write an event of an order, with amounts as the ledger has them; ``at`` its place, else the last."""
        owner = self._owners.get(order.bot)
        price = {"price": amount(order.price)} if order.price is not None else {}
        data = {
            "side": order.side.value,
            "quantity": amount(order.quantity),
            "symbol": order.symbol,
            **price,
            **more,
            "type": order.type.value,
            "intent": order.intent_reason,
            **({"reason": order.reason} if order.reason else {}),
            "client_order_id": order.client_order_id,
        }
        name = owner.name if owner else ""
        self._journal.event(Event(topic=topic, time_ms=self._clock.now_ms(), bot=name, data=data), at)

    def statistics(self) -> dict[str, Any]:
        """Return the counters, and how many orders are open."""
        remote = {"doubtful": len(self.doubts)} if self._remote else {}
        return {**self.counts, "open": len(self._orders), **remote}

    # -- inside

    def _remember(self, order: Order, trade_ids: Collection[str]) -> None:
        if trade_ids:
            self._trades[order.client_order_id] = set(trade_ids)
        self._index(order)

    def _index(self, order: Order) -> None:
        if self._remote and order.exchange_order_id:
            self._ids[(order.symbol, order.exchange_order_id)] = order.client_order_id

    def _bury(self, order: Order) -> None:
        self._ended[order.client_order_id] = order
        if len(self._ended) > ENDED_KEPT:
            forgotten, old = self._ended.popitem(last=False)
            self._trades.pop(forgotten, None)
            self._found_alive.discard(forgotten)
            self._ids.pop((old.symbol, old.exchange_order_id), None)

    def _doubt_partner(self, order: Order) -> None:
        """The exchange ends a leg when the other one acts, and may be heard of it late or never."""
        partner = self.partner(order)
        if partner is not None and partner.status in (OrderStatus.OPEN, OrderStatus.PARTIAL):
            self.doubt(partner, f"the other leg of its pair: {order.status.value}, {order.filled} filled")

    def _numbered(self, trade_id: str) -> str:
        return f"{self.epoch}~{trade_id}" if self.epoch else trade_id

    def _complete(self, order: Order, report: Report) -> OrderStatus:
        """Return the status to take: an end waits until the fills that it speaks of are booked."""
        client_order_id, end = order.client_order_id, self._ends.get(order.client_order_id)
        if not report.status.is_open:
            told = order.quantity if report.status is OrderStatus.FILLED else report.filled or ZERO
            if end is None or told >= end.filled:
                end = _End(report.status, told)
        if end is not None and order.filled < end.filled:
            self._ends[client_order_id] = end
            self.doubt(order, f"{end.status.value} with {end.filled} filled, {order.filled} booked")
            return OrderStatus.OPEN
        if end is not None:
            return end.status
        if report.filled is not None and order.filled < report.filled:
            self.doubt(order, f"{report.filled} filled, {order.filled} booked")
        return report.status

    def _on_late_report(self, report: Report) -> None:
        """A report of an order that has ended: only a fill not seen yet, or that it lives, says anything new."""
        fill, order = report.fill, self._ended.get(report.client_order_id)
        if order is None:
            self._on_unknown_order(report)
            return
        ended_as = order.status
        if fill is not None and self._book(order, fill):
            self.counts["late_fills"] += 1
            order.status = self._advanced(order, order.status)
            order.updated_ms = report.time_ms
            order.exchange_order_id = report.exchange_order_id or order.exchange_order_id
            self._index(order)
            self._journal.order(order)
            self._resurrect(order, ended_as, trade_id=fill.trade_id)
        if self._remote and ended_as in NEVER_PLACED and report.status.rank in (2, 3) and order.remaining > 0:
            if fill is None and report.client_order_id not in self._found_alive:
                self._found_alive.add(report.client_order_id)
                order.exchange_order_id = report.exchange_order_id or order.exchange_order_id
                self._index(order)
                self._journal.order(order)
                self._resurrect(order, ended_as, found=report.status.value)
            self.on_zombie(order)

    def _resurrect(self, order: Order, ended_as: OrderStatus, **more: str) -> None:
        self.tell("order.resurrected", order, ended_as=ended_as.value, **more)
        logger.warning("order %s lives after it was %s", order.client_order_id, ended_as.value)
        owner = self._owners.get(order.bot)
        if owner is not None:
            owner.on_resurrected(order, ended_as)

    def _on_unknown_order(self, report: Report) -> None:
        """A report of an order that nobody here knows: counted, and told where it moves money."""
        self.counts["strays"] += 1
        fill, ours = report.fill, parse_client_order_id(report.client_order_id)
        if fill is None:
            return
        owner = self._owners.get(ours[1]) if ours is not None and ours[0] == self._instance else None
        data = {
            "side": fill.side.value,
            "quantity": amount(fill.quantity),
            "symbol": fill.symbol,
            "price": amount(fill.price),
            "trade_id": fill.trade_id,
            "client_order_id": report.client_order_id,
        }
        name = owner.name if owner else ""
        self._journal.event(Event(topic="order.stray", time_ms=report.time_ms, bot=name, data=data))
        logger.warning("a fill of an order that is not in the table: %s", data)
        self.on_stray(report)

    def _book(self, order: Order, fill: Fill) -> bool:
        """Book a fill; False where it was booked before."""
        if self.epoch:
            fill = msgspec.structs.replace(fill, trade_id=self._numbered(fill.trade_id))
        seen = self._trades.setdefault(order.client_order_id, set())
        if fill.trade_id in seen:
            self.counts["duplicate_fills"] += 1
            return False
        seen.add(fill.trade_id)
        order.filled += fill.quantity
        order.filled_notional += fill.notional
        self.counts["fills"] += 1
        self._doubt_partner(order)
        owner, place = self._owners.get(order.bot), self._journal.next_event
        realized = owner.on_fill(order, fill) if owner else ZERO
        self._journal.fill(fill, realized)
        self.on_booked(fill)
        self.on_changed(order)
        self.tell(
            "order.fill",
            order,
            place,  # before what it brought about
            quantity=amount(fill.quantity),
            price=amount(fill.price),
            fee=amount(fill.fee),
            fee_asset=fill.fee_asset,
            realized_pnl=amount(realized),
        )
        return True

    def _advanced(self, order: Order, status: OrderStatus) -> OrderStatus:
        """Return the status after a report: what fills prove wins, and nothing goes back."""
        if order.filled >= order.quantity:
            return OrderStatus.FILLED
        if order.filled and status.is_open:
            status = OrderStatus.PARTIAL
        if status in TRANSITIONS[order.status]:
            return status
        return order.status


def _ignore(value: Any) -> None:
    """Nobody listens."""
