"""The seam to an exchange across a network: what may be asked of it, beside sending orders.

An answer is evidence; the lack of one is not. So a question has three outcomes: a value, ``None`` where the
exchange said in so many words that it does not know the order, and :class:`QueryFailedError` for everything
else (timeouts, 5xx, what cannot be read), which proves nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Protocol

import msgspec

from botd.domain.errors import UnavailableError
from botd.domain.instrument import ZERO
from botd.domain.order import Order, OrderStatus, OrderType, Side
from botd.exchange.exchange import Exchange


class QueryFailedError(UnavailableError):
    """A question that got no trustworthy answer: evidence of nothing."""


class UnlistedError(QueryFailedError):
    """A question of a symbol that the exchange does not list (any more): it will not be answered."""


class RemoteOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What the exchange says of one order, ours or another's. Amounts are exact, times in milliseconds."""

    client_order_id: str
    exchange_order_id: str
    symbol: str
    side: Side
    type: OrderType
    status: OrderStatus
    """OPEN, PARTIAL, CANCELED, EXPIRED, REJECTED or FILLED."""
    quantity: Decimal
    filled: Decimal
    filled_notional: Decimal
    price: Decimal | None = None
    stop_price: Decimal | None = None
    list_id: str = ""
    """The order list (OCO) that it belongs to."""
    created_ms: int = 0
    updated_ms: int = 0


class RemoteTrade(msgspec.Struct, frozen=True, kw_only=True):
    """One execution on our account. Unique by (symbol, trade_id); ``trade_id`` rises with time within a symbol."""

    trade_id: str
    exchange_order_id: str
    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal
    fee: Decimal
    fee_asset: str
    time_ms: int


class RemoteBalance(msgspec.Struct, frozen=True):
    """What the account holds of an asset: free, and locked by open orders."""

    free: Decimal = ZERO
    locked: Decimal = ZERO

    @property
    def total(self) -> Decimal:
        """Free and locked."""
        return self.free + self.locked


class AccountListener(Protocol):
    """Who hears what the exchange tells by itself, beside the reports of orders. On the event loop's thread."""

    def on_doubt(self, client_order_id: str, reason: str) -> None:
        """An order's state must be asked for (a cancel answered "unknown order", a cancel without an answer)."""
        ...

    def on_foreign(self, order: RemoteOrder) -> None:
        """An order on our account that does not carry an id of ours moved."""
        ...

    def on_transfer(self, asset: str, amount: Decimal, time_ms: int) -> None:
        """A deposit (positive) or withdrawal moved the balance."""
        ...

    def on_stream(self, up: bool) -> None:
        """The stream of our own events came up (what happened before may have been missed) or went down."""
        ...

    def on_clock_step(self) -> None:
        """Our clock stepped, or the machine slept: anything may have been missed."""
        ...


class RemoteExchange(Exchange, Protocol):
    """An exchange outside the process: ``in_process`` is False, outcomes may be unknown.

    ``submit`` and ``cancel`` return at once and send in tasks of their own, once; the report that follows a
    submit is OPEN, PARTIAL, FILLED, CANCELED or EXPIRED (with fills where the answer carries them), REJECTED where the
    answer is on the list of refusals, and UNKNOWN for everything else.
    """

    def listen_account(self, listener: AccountListener) -> None:
        """Send what is not a report to ``listener`` (one listener: reconciliation)."""
        ...

    def know(self, symbols: Mapping[str, str]) -> None:
        """Learn the symbols (by client id) of orders that this process did not send: a cancel must name it. One
        that is asked to cancel an id it does not know says so by ``on_doubt``."""
        ...

    def now_ms(self) -> int:
        """Return the exchange's time, as far as it is known: its trades carry it, whatever our clock says."""
        ...

    def submit_pair(self, first: Order, second: Order, list_id: str) -> None:
        """Send two orders of which the fill of one ends the other (OCO), once: both are placed, or neither. Each has
        its reports; a cancel of either is the end of both."""
        ...

    async def find_order(self, symbol: str, client_order_id: str) -> RemoteOrder | None:
        """Return an order by its client id; None where the exchange answers that it knows no such order."""
        ...

    async def find_numbered(self, symbol: str, exchange_order_id: str) -> RemoteOrder | None:
        """Return an order, anybody's, by the id that the exchange gave it; None as above."""
        ...

    async def find_open_orders(self, symbol: str | None = None) -> Sequence[RemoteOrder]:
        """Return the account's working orders, everybody's, of one symbol or all."""
        ...

    async def find_trades(self, symbol: str, *, from_id: str | None = None, order_id: str | None = None,
                          since_ms: int | None = None) -> Sequence[RemoteTrade]:  # fmt: skip
        """Return our executions, oldest first: after a trade id (inclusive), of one order, or since a time."""
        ...

    async def find_balances(self) -> dict[str, RemoteBalance]:
        """Return every asset that is not zero."""
        ...
