"""The execution gateway: the one door through which orders leave, and through which reports come back.

It owns the order table: intent first, then the exchange, then the reports, each step journalled. It
decides nothing: the risk gate has spoken before, and position and cash are the owner's business. Nobody
but the bot, its guard and the kill switch calls :meth:`Gateway.submit` and :meth:`Gateway.cancel`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any, Protocol

from botd.domain.clock import Clock
from botd.domain.events import Event
from botd.domain.order import TRANSITIONS, Fill, Intent, Order, OrderStatus, Report
from botd.exchange.exchange import Exchange
from botd.execution.client_ids import client_order_id


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
        self._trades: dict[str, set[str]] = {}
        self._owners: dict[int, OrderOwner] = {}
        self._sequences: dict[int, int] = {}
        self._counts = {"submitted": 0, "denied": 0, "rejected": 0, "fills": 0, "duplicate_fills": 0, "strays": 0}
        exchange.listen(self.on_report)

    @property
    def in_process(self) -> bool:
        """True where the exchange reports within the call (see the exchange's seam)."""
        return self._exchange.in_process

    def register(self, bot: int, owner: OrderOwner) -> None:
        """Send what happens to the orders of ``bot`` to ``owner``."""
        self._owners[bot] = owner

    def restore(self, orders: Iterable[Order], sequences: Mapping[int, int]) -> None:
        """Take up the open orders and the last sequence of each bot from the ledger."""
        self._sequences.update(sequences)
        for order in orders:
            self._keep(order)

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
            self._send_later(delay_s, lambda: self._send(order))
        else:
            self._send(order)
        return order

    def deny(self, intent: Intent, quantity: Decimal, code: str) -> Order:
        """Record an intent that risk denied: a row with the code, and nothing sent."""
        order = self._order(intent, quantity)
        order.status, order.reason = OrderStatus.DENIED, code
        self._journal.order(order)
        self._counts["denied"] += 1
        self._tell("order.denied", order)
        return order

    def cancel(self, order: Order) -> None:
        """Ask for the order's end; what became of it comes as a report."""
        if not order.status.is_open or order.cancel_requested:
            return
        order.cancel_requested = True
        order.updated_ms = self._clock.now_ms()
        self._journal.order(order)
        self._exchange.cancel(order.client_order_id)

    def on_report(self, report: Report) -> None:
        """Apply what the exchange says: a status moves forward only, a fill counts once."""
        order = self._orders.get(report.client_order_id)
        if order is None:
            self._counts["strays"] += 1
            return
        if report.fill is not None:
            self._apply_fill(order, report.fill)
        status = self._advanced(order, report.status)
        order.updated_ms = report.time_ms
        order.exchange_order_id = report.exchange_order_id or order.exchange_order_id
        order.reason = report.reason or order.reason
        ended = not status.is_open and order.status.is_open
        changed, order.status = order.status is not status, status
        self._journal.order(order)
        if changed and report.fill is None:
            self._tell(f"order.{status.value}", order)
        if ended:
            self._end(order)

    def statistics(self) -> dict[str, Any]:
        """Return the counters, and how many orders are open."""
        return {**self._counts, "open": len(self._orders)}

    def reserve_id(self, bot: int) -> str:
        """Return the next client order id of ``bot``; it is never given again."""
        sequence = self._sequences.get(bot, 0) + 1
        self._sequences[bot] = sequence
        return client_order_id(self._mode, self._instance, bot, sequence)

    # -- inside

    def _order(self, intent: Intent, quantity: Decimal) -> Order:
        now = self._clock.now_ms()
        return Order(
            client_order_id=intent.client_order_id or self.reserve_id(intent.bot),
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

    def _send(self, order: Order) -> None:
        if order.cancel_requested or not order.status.is_open:
            return
        self._exchange.submit(order)

    def _apply_fill(self, order: Order, fill: Fill) -> None:
        seen = self._trades.setdefault(order.client_order_id, set())
        if fill.trade_id in seen:
            self._counts["duplicate_fills"] += 1
            return
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

    def _advanced(self, order: Order, status: OrderStatus) -> OrderStatus:
        """Return the status after a report: what fills prove wins, and nothing goes back."""
        if order.filled >= order.quantity:
            return OrderStatus.FILLED
        if status in TRANSITIONS[order.status]:
            return status
        return order.status

    def _end(self, order: Order) -> None:
        del self._orders[order.client_order_id]
        self._by_bot[order.bot].pop(order.client_order_id)
        self._trades.pop(order.client_order_id, None)
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
