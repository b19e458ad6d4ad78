"""The execution gateway: the one door through which orders leave, and through which reports come back.

It owns the order table: intent first, then the exchange, then the reports, each step journalled. A status
never goes back, a fill counts once, also one that comes after its order's end. It decides nothing: the
risk gate has spoken before, and position and cash are the owner's business. Nobody but the bot, its guard
and the kill switch calls :meth:`Gateway.submit` and :meth:`Gateway.cancel`.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping
from decimal import Decimal
from typing import Any, Protocol

from botd.domain.clock import Clock
from botd.domain.events import Event
from botd.domain.order import TRANSITIONS, Fill, Intent, Order, OrderStatus, Report
from botd.exchange.exchange import Exchange
from botd.execution.client_ids import client_order_id, parse_client_order_id

logger = logging.getLogger("botd.execution")

ENDED_KEPT = 2000
"""Ended orders remembered for fills that come late."""


class OrderJournal(Protocol):
    """The part of the ledger's journal that the gateway writes."""

    def order(self, order: Order) -> None: ...

    def fill(self, fill: Fill, realized_pnl: Decimal) -> None: ...

    def event(self, event: Event) -> None: ...


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


class Gateway:
    """Orders by client id, from intent to end."""

    def __init__(
        self,
        *,
        exchange: Exchange,
        journal: OrderJournal,
        clock: Clock,
        mode: str,
        instance: str,
        send_later: Callable[[float, Callable[[], None]], None],
    ) -> None:
        """``send_later(seconds, call)`` runs a call after a delay: orders queued by the rate limit."""
        self._exchange = exchange
        self._journal = journal
        self._clock = clock
        self._mode = mode
        self._instance = instance
        self._send_later = send_later
        self._orders: dict[str, Order] = {}
        self._by_bot: dict[int, dict[str, Order]] = {}
        self._ended: OrderedDict[str, Order] = OrderedDict()
        self._trades: dict[str, set[str]] = {}
        self._queued: set[str] = set()
        self._owners: dict[int, OrderOwner] = {}
        self._sequences: dict[int, int] = {}
        self._reserved: dict[int, int] = {}
        self._numbering = threading.Lock()  # a user's hook asks for ids from the evaluation thread
        self._counts = dict.fromkeys(
            ("submitted", "denied", "rejected", "fills", "duplicate_fills", "late_fills", "strays"), 0
        )
        exchange.listen(self.on_report)

    @property
    def in_process(self) -> bool:
        """True where the exchange reports within the call (see the exchange's seam)."""
        return self._exchange.in_process

    def register(self, bot: int, owner: OrderOwner) -> None:
        """Send what happens to the orders of ``bot`` to ``owner``."""
        self._owners[bot] = owner

    def restore(
        self, orders: Iterable[Order], sequences: Mapping[int, int], trade_ids: Mapping[str, Collection[str]]
    ) -> None:
        """Take up from the ledger the open orders with the trade ids of their fills, and each bot's last sequence.

        What waited for its turn (rate limit) when the daemon ended was never sent: it is over.
        """
        for bot, sequence in sequences.items():
            self._sequences[bot] = max(sequence, self._sequences.get(bot, 0))
        for order in orders:
            if self.in_process and order.status is OrderStatus.INTENT:
                order.status, order.reason = OrderStatus.CANCELED, "not sent before the restart"
                self._journal.order(order)
                continue
            self._keep(order)
            self._trades[order.client_order_id] = set(trade_ids.get(order.client_order_id, ()))

    def restore_reserved(self, rows: Mapping[str, str]) -> None:
        """Take up what :meth:`drain_changes` gave: the last id of each bot that was reserved for an order."""
        for bot, sequence in rows.items():
            self._sequences[int(bot)] = max(int(sequence), self._sequences.get(int(bot), 0))

    def drain_changes(self) -> dict[str, str | None]:
        """Return the ids reserved since the last call: one that no order took is not given again either."""
        with self._numbering:
            rows: dict[str, str | None] = {str(bot): str(sequence) for bot, sequence in self._reserved.items()}
            self._reserved.clear()
        return rows

    def open_orders(self, symbol: str | None = None, bot: int | None = None) -> list[Order]:
        """Return the working orders, of a symbol or a bot if given, oldest first."""
        orders = self._orders if bot is None else self._by_bot.get(bot, {})
        return [order for order in orders.values() if symbol is None or order.symbol == symbol]

    def submit(self, intent: Intent, quantity: Decimal, delay_s: float = 0.0) -> Order:
        """Record the intent and send it once; ``delay_s`` is the wait the rate limit asks for."""
        order = self._order(intent, quantity)
        self._keep(order)
        self._journal.order(order)
        self._counts["submitted"] += 1
        if delay_s > 0:
            self._queued.add(order.client_order_id)
            self._send_later(delay_s, lambda: self._send_queued(order))
        else:
            self._exchange.submit(order)
        return order

    def deny(self, intent: Intent, quantity: Decimal, code: str, **why: str) -> Order:
        """Record an intent that risk denied: a row with the code, an event with ``why`` too, and nothing sent."""
        order = self._order(intent, quantity)
        order.status, order.reason = OrderStatus.DENIED, code
        self._journal.order(order)
        self._counts["denied"] += 1
        self._tell("order.denied", order, **why)
        return order

    def cancel(self, order: Order) -> None:
        """Ask for the order's end; what became of it comes as a report."""
        if not order.status.is_open or order.cancel_requested:
            return
        order.cancel_requested = True
        order.updated_ms = self._clock.now_ms()
        if order.client_order_id in self._queued:
            self._queued.discard(order.client_order_id)
            order.status, order.reason = OrderStatus.CANCELED, "canceled before it was sent"
            self._journal.order(order)
            self._tell("order.canceled", order)
            self._end(order)
            return
        self._journal.order(order)
        self._exchange.cancel(order.client_order_id)

    def on_report(self, report: Report) -> None:
        """Apply what the exchange says: a status moves forward only, a fill counts once."""
        order = self._orders.get(report.client_order_id)
        if order is None:
            self._on_late_report(report)
            return
        if report.fill is not None:
            self._apply_fill(order, report.fill)
        status = self._advanced(order, report.status)
        order.updated_ms = report.time_ms
        order.exchange_order_id = report.exchange_order_id or order.exchange_order_id
        order.reason = report.reason or order.reason
        changed, order.status = order.status is not status, status
        self._journal.order(order)
        if changed and report.fill is None:
            self._tell(f"order.{status.value}", order)
        if not status.is_open:
            self._end(order)

    def statistics(self) -> dict[str, Any]:
        """Return the counters, and how many orders are open."""
        return {**self._counts, "open": len(self._orders)}

    def reserve_id(self, bot: int) -> str:
        """Return the next client order id of ``bot``; it is never given again. From any thread."""
        with self._numbering:
            sequence = self._reserved[bot] = self._next(bot)
        return client_order_id(self._mode, self._instance, bot, sequence)

    # -- inside

    def _next(self, bot: int) -> int:
        sequence = self._sequences[bot] = self._sequences.get(bot, 0) + 1
        return sequence

    def _new_id(self, bot: int) -> str:
        with self._numbering:
            sequence = self._next(bot)
        return client_order_id(self._mode, self._instance, bot, sequence)

    def _order(self, intent: Intent, quantity: Decimal) -> Order:
        now = self._clock.now_ms()
        return Order(
            client_order_id=intent.client_order_id or self._new_id(intent.bot),
            bot=intent.bot,
            symbol=intent.symbol,
            interval=intent.interval,
            side=intent.side,
            type=intent.type,
            quantity=quantity,
            price=intent.price,
            stop_price=intent.stop_price,
            trigger_price=intent.trigger_price,
            purpose=intent.purpose,
            intent_reason=intent.reason,
            created_ms=now,
            updated_ms=now,
        )

    def _keep(self, order: Order) -> None:
        self._orders[order.client_order_id] = order
        self._by_bot.setdefault(order.bot, {})[order.client_order_id] = order

    def _send_queued(self, order: Order) -> None:
        if order.client_order_id in self._queued:
            self._queued.discard(order.client_order_id)
            self._exchange.submit(order)

    def _on_late_report(self, report: Report) -> None:
        """A report of an order that has ended: only a fill that was not seen yet says anything new."""
        fill, order = report.fill, self._ended.get(report.client_order_id)
        if order is None:
            self._on_stray(report)
        elif fill is not None and self._apply_fill(order, fill):
            self._counts["late_fills"] += 1
            ended_as, order.status = order.status, self._advanced(order, order.status)
            order.updated_ms = report.time_ms
            self._journal.order(order)
            self._tell("order.resurrected", order, ended_as=ended_as.value, trade_id=fill.trade_id)
            logger.warning("order %s filled after it was %s", order.client_order_id, ended_as.value)

    def _on_stray(self, report: Report) -> None:
        """A report of an order that nobody here knows: counted, and told where it moves money."""
        self._counts["strays"] += 1
        fill, ours = report.fill, parse_client_order_id(report.client_order_id)
        if fill is None:
            return
        owner = self._owners.get(ours[1]) if ours is not None and ours[0] == self._instance else None
        data = {
            "side": fill.side.value,
            "quantity": str(fill.quantity),
            "symbol": fill.symbol,
            "price": str(fill.price),
            "trade_id": fill.trade_id,
            "client_order_id": report.client_order_id,
        }
        name = owner.name if owner else ""
        self._journal.event(Event(topic="order.stray", time_ms=report.time_ms, bot=name, data=data))
        logger.warning("a fill of an order that is not in the table: %s", data)

    def _apply_fill(self, order: Order, fill: Fill) -> bool:
        """Book a fill; False where it was booked before."""
        seen = self._trades.setdefault(order.client_order_id, set())
        if fill.trade_id in seen:
            self._counts["duplicate_fills"] += 1
            return False
        seen.add(fill.trade_id)
        order.filled += fill.quantity
        order.filled_notional += fill.notional
        self._counts["fills"] += 1
        owner = self._owners.get(order.bot)
        realized = owner.on_fill(order, fill) if owner else Decimal(0)
        self._journal.fill(fill, realized)
        self._tell(
            "order.fill",
            order,
            quantity=str(fill.quantity),
            price=str(fill.price),
            fee=str(fill.fee),
            fee_asset=fill.fee_asset,
            realized_pnl=str(realized),
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

    def _end(self, order: Order) -> None:
        client_order_id = order.client_order_id
        del self._orders[client_order_id]
        self._by_bot[order.bot].pop(client_order_id)
        self._ended[client_order_id] = order
        if len(self._ended) > ENDED_KEPT:
            forgotten, _ = self._ended.popitem(last=False)
            self._trades.pop(forgotten, None)
        if order.status is OrderStatus.REJECTED:
            self._counts["rejected"] += 1
        owner = self._owners.get(order.bot)
        if owner is not None:
            owner.on_order_end(order)

    def _tell(self, topic: str, order: Order, **more: str) -> None:
        owner = self._owners.get(order.bot)
        price = {"price": str(order.price)} if order.price is not None else {}
        data = {
            "side": order.side.value,
            "quantity": str(order.quantity),
            "symbol": order.symbol,
            **price,
            **more,
            "type": order.type.value,
            "intent": order.intent_reason,
            **({"reason": order.reason} if order.reason else {}),
            "client_order_id": order.client_order_id,
        }
        name = owner.name if owner else ""
        self._journal.event(Event(topic=topic, time_ms=self._clock.now_ms(), bot=name, data=data))
