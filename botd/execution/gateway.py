"""The execution gateway: the one door through which orders leave, and through which reports come back.

    intent -> order table -> ledger (durable, where the exchange is outside the process) -> exchange -> reports

An order is sent once and never again; what became of it is asked by its client id. It decides nothing: the
risk gate has spoken before. Nobody but the bot, its guard, its protection and the kill switch calls
:meth:`Gateway.submit` and :meth:`Gateway.cancel`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, cast

import msgspec

from botd.domain.clock import Clock
from botd.domain.errors import BotdError
from botd.domain.failpoints import failpoint
from botd.domain.order import Intent, Order, OrderStatus, Purpose, Report
from botd.exchange.exchange import Exchange
from botd.exchange.remote import RemoteExchange
from botd.execution.client_ids import client_order_id, pair_id
from botd.execution.orders import ENDED_KEPT, OrderJournal, OrderOwner, OrderTable

__all__ = ["ENDED_KEPT", "LEDGER", "Gateway", "OrderJournal", "OrderOwner"]

logger = logging.getLogger("botd.execution")

LEDGER = "LEDGER"
"""The code of an order that was denied because its intent did not become durable."""

INTENT_PATIENCE_S = 5.0
"""An entry whose intent took longer to become durable is not sent: its price is another by now."""

ANSWER_S = 20.0
"""An order that was sent, and of which nothing was reported for so long, is unknown."""

CANCEL_AGAIN_S = 5.0
"""A cancel that had no effect is asked again, this much later: unlike an order it may be."""

Committed = Callable[[BotdError | None], None]
CommitIntent = Callable[[Sequence[Order], Committed], None]
"""Make intents that go together durable, apart from what is being journalled, then say so, or why it is not."""


class CancelRequest(msgspec.Struct):
    """The row of a cancel that was asked for: when first, when last, and how often."""

    first_ms: int
    last_ms: int
    times: int = 1


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
        commit_intent: CommitIntent | None = None,
    ) -> None:
        """``send_later(seconds, call)`` runs a call after a delay: orders queued by the rate limit.
        ``commit_intent`` is needed for an exchange outside the process."""
        if commit_intent is None and not exchange.in_process:
            raise ValueError("an exchange outside the process needs commit_intent")
        self._exchange = exchange
        self._journal = journal
        self._clock = clock
        self._mode = mode
        self._instance = instance
        self._send_later = send_later
        self._commit_intent = commit_intent
        self.table = OrderTable(journal=journal, clock=clock, instance=instance, remote=not exchange.in_process)
        self._queued: set[str] = set()
        self._becoming_durable: set[str] = set()
        """Orders of which no byte was sent: they wait for their turn, or for the ledger."""
        self._closed = False
        self._sent: dict[str, float] = {}
        """When the orders were sent (monotonic seconds) that nothing was reported of yet."""
        self._cancels: dict[str, CancelRequest] = {}
        self._asked_s: dict[str, float] = {}
        """When they were asked for last (monotonic seconds), those of before a restart just before it: the wall clock,
        which the rows carry, may have stepped."""
        self._changed_cancels: set[str] = set()
        self._sequences: dict[int, int] = {}
        self._reserved: dict[int, int] = {}
        self.may_sell: Callable[[str], bool] = lambda symbol: True
        """False while what was sold of a symbol before the restart may not be booked yet (reconciliation's hook): what
        a bot seems to hold may be gone, and the coins on the account another's."""
        self._numbering = threading.Lock()  # a user's hook asks for ids from the evaluation thread
        exchange.listen(self.on_report)

    @property
    def in_process(self) -> bool:
        """True where the exchange reports within the call (see the exchange's seam)."""
        return self._exchange.in_process

    def register(self, bot: int, owner: OrderOwner) -> None:
        """Send what happens to the orders of ``bot`` to ``owner``."""
        self.table.register(bot, owner)

    def watch(self, watcher: Callable[[Order], None]) -> None:
        """Tell ``watcher`` (one) of every order that is new, filled, or ended."""
        self.table.on_changed = watcher

    # -- after a restart

    def restore(
        self, orders: Iterable[Order], sequences: Mapping[int, int], trade_ids: Mapping[str, Collection[str]]
    ) -> None:
        """Take up from the ledger the open orders with the trade ids of their fills, and each bot's last sequence.

        What waited for its turn (rate limit) in a simulated market was never sent: it is over. An intent for
        an exchange outside the process may have been sent: it is unknown, until there is evidence.
        """
        for bot, sequence in sequences.items():
            self._sequences[bot] = max(sequence, self._sequences.get(bot, 0))
        for order in orders:
            if order.status is OrderStatus.INTENT and self.in_process:
                order.status, order.reason = OrderStatus.CANCELED, "not sent before the restart"
                self._journal.order(order)
                continue
            self.table.keep(order, trade_ids.get(order.client_order_id, ()))
            if not self.in_process:  # from now on it may be asked to cancel it
                cast(RemoteExchange, self._exchange).know({order.client_order_id: order.symbol})
            if order.status is OrderStatus.INTENT:
                order.status, order.reason = OrderStatus.UNKNOWN, "botd ended before the exchange had answered"
                self._journal.order(order)
                self.table.tell("order.unknown", order)

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

    def restore_cancels(self, rows: Mapping[str, str]) -> None:
        """Take up what :meth:`drain_cancels` gave."""
        self._cancels = {key: msgspec.json.decode(row, type=CancelRequest) for key, row in rows.items()}
        self._asked_s = dict.fromkeys(self._cancels, self._clock.monotonic())

    def drain_cancels(self) -> dict[str, str | None]:
        """Return the rows of cancels that changed: one for each cancel that is waited for."""
        changed, self._changed_cancels = self._changed_cancels, set()
        for key in [
            key for key in self._cancels if (order := self.table.find(key)) is None or not order.status.is_open
        ]:
            del self._cancels[key]
            self._asked_s.pop(key, None)
            changed.add(key)
        return {key: _row(self._cancels.get(key)) for key in changed}

    # -- orders

    def open_orders(self, symbol: str | None = None, bot: int | None = None) -> list[Order]:
        """Return the working orders, of a symbol or a bot if given, oldest first."""
        return self.table.open_orders(symbol, bot)

    def submit(self, intent: Intent, quantity: Decimal, delay_s: float = 0.0) -> Order:
        """Record the intent and send it once; ``delay_s`` is the wait the rate limit asks for."""
        order = self._order(intent, quantity)
        self.table.keep(order)
        self.table.counts["submitted"] += 1
        if delay_s > 0:
            self._journal.order(order)
            self._queued.add(order.client_order_id)
            self._send_later(delay_s, lambda: self._send_queued(order))
        elif self.in_process:
            self._journal.order(order)
            self._exchange.submit(order)
        else:
            self._commit_then_send(order)
        return order

    def submit_pair(self, stop: Intent, target: Intent, quantity: Decimal) -> list[Order]:
        """Record two protective intents as one and send them once, as a pair of which one ends the other."""
        legs = [self._order(stop, quantity), self._order(target, quantity)]
        for leg in legs:
            self.table.keep(leg)
            self.table.counts["submitted"] += 1
        self._commit_then_send(*legs)
        return legs

    def deny(self, intent: Intent, quantity: Decimal, code: str, **why: str) -> Order:
        """Record an intent that risk denied: a row with the code, an event with ``why`` too, and nothing sent."""
        order = self._order(intent, quantity)
        order.status, order.reason = OrderStatus.DENIED, code
        self._journal.order(order)
        self.table.counts["denied"] += 1
        self.table.tell("order.denied", order, **why)
        return order

    def cancel(self, order: Order) -> None:
        """Ask for the order's end, of one leg of a pair for that of both; what became of it comes as a report."""
        if not order.status.is_open or order.cancel_requested:
            return
        if self._is_unsent(order):
            partner = self.table.partner(order)
            for leg in [order] if partner is None else [order, partner]:
                leg.cancel_requested = True
                self._queued.discard(leg.client_order_id)
                self._becoming_durable.discard(leg.client_order_id)
                self.table.finish(leg, OrderStatus.CANCELED, "canceled before it was sent")
            return
        order.cancel_requested = True
        order.updated_ms = self._clock.now_ms()
        self._journal.order(order)
        if not self._is_covered(order):
            self._ask_cancel(order)

    def cancel_again(self, order: Order) -> bool:
        """Repeat a cancel that had no effect: the exchange says that the order still works. False where it is too early
        to say so: the cancel may have come before its order, and somebody must ask once more."""
        if not order.cancel_requested or not order.status.is_open or self._is_unsent(order):
            return True
        if self._is_covered(order) or self._was_just_asked(order):
            return False
        self._ask_cancel(order)
        return True

    def cancel_zombie(self, order: Order) -> None:
        """End at the exchange what has ended here: its bot has gone on without it."""
        if not order.status.is_open:
            self.table.tell("order.zombie", order)
            self._exchange.cancel(order.client_order_id)

    def cancel_foreign(self, client_order_id: str) -> None:
        """Cancel an order of another instance of botd: a person decided so."""
        self._exchange.cancel(client_order_id)

    def close(self) -> None:
        """Send nothing any more, before the exchange and the ledger are closed: what was not sent yet is over."""
        self._closed = True
        for order in self.open_orders():
            if self._is_unsent(order):
                self.cancel(order)

    def on_report(self, report: Report) -> None:
        """Apply what the exchange says."""
        self._sent.pop(report.client_order_id, None)
        self.table.apply(report)

    def doubt_silence(self) -> None:
        """Take an order for unknown that was sent and not answered: whoever sends was to say so itself."""
        now = self._clock.monotonic()
        for key in [key for key, sent in self._sent.items() if now - sent >= ANSWER_S]:
            report = Report(
                client_order_id=key,
                status=OrderStatus.UNKNOWN,
                time_ms=self._clock.now_ms(),
                reason=f"no answer within {ANSWER_S:.0f} s",
            )
            self.on_report(report)

    def statistics(self) -> dict[str, Any]:
        """Return the counters, and how many orders are open."""
        return self.table.statistics()

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

    def _is_unsent(self, order: Order) -> bool:
        return order.client_order_id in self._queued or order.client_order_id in self._becoming_durable

    def _was_just_asked(self, order: Order) -> bool:
        asked_s = self._asked_s.get(order.client_order_id)
        return asked_s is not None and self._clock.monotonic() - asked_s < CANCEL_AGAIN_S

    def _is_covered(self, order: Order) -> bool:
        """Tell whether the other leg's end was just asked for: it is that of both."""
        partner = self.table.partner(order)
        return partner is not None and self._was_just_asked(partner)

    def _send_queued(self, order: Order) -> None:
        if order.client_order_id not in self._queued:
            return
        self._queued.discard(order.client_order_id)
        if self.in_process:
            self._exchange.submit(order)
        else:
            self._commit_then_send(order)

    def _commit_then_send(self, *orders: Order) -> None:
        """Make the intent durable, of a pair both at once; only then a byte is sent. In the journal apart from what is
        under way: half of it must not become durable with the intent."""
        assert self._commit_intent is not None
        if self._closed:
            for order in orders:
                self.table.finish(order, OrderStatus.DENIED, "botd is shutting down")
            return
        began_s = self._clock.monotonic()
        self._becoming_durable.update(order.client_order_id for order in orders)
        try:
            self._commit_intent(orders, lambda error: self._on_committed(orders, error, began_s))
        except BotdError as error:  # the ledger is closed
            self._on_committed(orders, error, began_s)

    def _on_committed(self, orders: Sequence[Order], error: BotdError | None, began_s: float) -> None:
        ids, first = [order.client_order_id for order in orders], orders[0]
        if not self._becoming_durable.issuperset(ids):
            return  # cancelled meanwhile
        self._becoming_durable.difference_update(ids)
        took_s = self._clock.monotonic() - began_s
        if error is None and first.purpose is Purpose.ENTRY and took_s > INTENT_PATIENCE_S:
            error = BotdError(f"the intent took {took_s:.1f} s to become durable")
        if error is None:
            self._sent.update(dict.fromkeys(ids, self._clock.monotonic()))
            failpoint("order.before_send")
            if len(orders) == 1:
                self._exchange.submit(first)
            else:
                cast(RemoteExchange, self._exchange).submit_pair(first, orders[1], pair_id(ids[0]))
            return
        logger.error("order %s is not sent: %s", " and ".join(ids), error.message)
        for order in orders:
            self.table.counts["denied"] += 1
            self.table.finish(order, OrderStatus.DENIED, f"{LEDGER}: {error.message}")

    def _ask_cancel(self, order: Order) -> None:
        client_order_id = order.client_order_id
        if not self.in_process:
            now, request = self._clock.now_ms(), self._cancels.get(client_order_id)
            if request is None:
                self._cancels[client_order_id] = CancelRequest(now, now)
            else:
                request.last_ms, request.times = now, request.times + 1
            self._changed_cancels.add(client_order_id)
            self._asked_s[client_order_id] = self._clock.monotonic()
        self._exchange.cancel(client_order_id)


def _row(request: CancelRequest | None) -> str | None:
    return None if request is None else msgspec.json.encode(request).decode()
