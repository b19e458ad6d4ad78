"""What the order table needs of the ledger beside the journal: intents made durable, and orders long ended.

It may not write anything but intents.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from botd.domain.errors import BotdError, UnavailableError
from botd.domain.order import Order, OrderStatus
from botd.execution.gateway import Committed
from botd.ledger.store import Ledger

_COLUMNS = """client_order_id, bot, symbol, interval, side, type, quantity, price, stop_price, purpose, intent_reason,
    status, exchange_order_id, filled, filled_notional, reason, cancel_requested, created_ms, updated_ms"""
_ORDER = f"SELECT {_COLUMNS} FROM orders WHERE "
_TRADES = "SELECT trade_id FROM fills WHERE bot = ? AND client_order_id = ?"


class KeptOrder(msgspec.Struct, frozen=True):
    """An order as the ledger keeps it, with the trade ids of its fills."""

    order: Order
    trade_ids: frozenset[str] = frozenset()


class OrderArchive(Protocol):
    """Orders that are not in memory any more."""

    async def by_client_id(self, client_order_id: str) -> KeptOrder | None: ...

    async def by_exchange_id(self, symbol: str, exchange_order_id: str) -> KeptOrder | None: ...


class DurableOrders:
    """The ledger, as the execution room sees it."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.commit_causes: Callable[[], None] = lambda: None
        """Commits what led to an intent: after a crash no sale may be known without the purchase that it sells."""
        self._waiting: list[tuple[Sequence[Order], Committed]] = []

    @property
    def waiting(self) -> bool:
        """True while intents wait for the end of the call that made them."""
        return bool(self._waiting)

    def commit_intent(self, orders: Sequence[Order], then: Committed) -> None:
        """Write intents in a batch of their own, and call ``then`` when they are durable, or with why they are not.

        Once the call that made them is over: what led to them is whole by then, and goes first.
        """
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self.commit_waiting)
        self._waiting.append((orders, then))

    def commit_waiting(self) -> None:
        """Write the intents that wait: at a moment's end right behind its own commit, so that both are one sync."""
        waiting, self._waiting = self._waiting, []
        for orders, then in waiting:
            self._commit(orders, then)

    def _commit(self, orders: Sequence[Order], then: Committed) -> None:
        if any(order.status is not OrderStatus.INTENT for order in orders):
            return  # cancelled meanwhile, and written down as such
        apart = self._ledger.detached()
        for order in orders:
            apart.order(order)
        try:
            self.commit_causes()
            done = self._ledger.commit_batch(apart)
        except BotdError as error:  # the ledger is closed
            then(error)
        else:
            done.add_done_callback(lambda done: then(_refusal(done)))

    async def by_client_id(self, client_order_id: str) -> KeptOrder | None:
        """Return an order, None where there is no such intent."""
        return await self._find("client_order_id = ?", client_order_id)

    async def by_exchange_id(self, symbol: str, exchange_order_id: str) -> KeptOrder | None:
        """Return an order by the id that the exchange gave it; of several (a test network begins anew) the last."""
        where = "symbol = ? AND exchange_order_id = ? ORDER BY id DESC LIMIT 1"
        return await self._find(where, symbol, exchange_order_id)

    async def _find(self, where: str, *values: str) -> KeptOrder | None:
        rows = await self._ledger.query(_ORDER + where, values)
        if not rows:
            return None
        order = _order(rows[0])
        trades = await self._ledger.query(_TRADES, (order.bot, order.client_order_id))
        return KeptOrder(order, frozenset(row["trade_id"] for row in trades))


def _refusal(done: asyncio.Future[None]) -> BotdError | None:
    if done.cancelled():
        return UnavailableError("ledger: the commit was abandoned", "botd is shutting down")
    error = done.exception()
    if error is None or isinstance(error, BotdError):
        return error
    return UnavailableError(f"ledger: {type(error).__name__}: {error}", "see the log")


def _order(row: Mapping[str, Any]) -> Order:
    fields = {key: value for key, value in row.items() if value is not None}
    fields["cancel_requested"] = bool(fields["cancel_requested"])
    return msgspec.convert(fields, Order)
