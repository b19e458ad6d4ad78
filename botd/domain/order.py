"""An order, its states and the table of what may follow what."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from enum import StrEnum

import msgspec

from botd.domain.instrument import ZERO

PANIC_SEQUENCE = 10**12
"""Orders with a sequence from here on were sent by ``botctl panic``, without the ledger: the rest is the time."""


class Side(StrEnum):
    BUY = "buy"
    SELL = "sell"


class OrderType(StrEnum):
    MARKET = "market"
    LIMIT = "limit"
    LIMIT_MAKER = "limit_maker"
    STOP_LOSS = "stop_loss"
    STOP_LOSS_LIMIT = "stop_loss_limit"
    TAKE_PROFIT = "take_profit"
    TAKE_PROFIT_LIMIT = "take_profit_limit"

    @property
    def has_limit(self) -> bool:
        """True where the order carries a limit price."""
        return self in _LIMIT_TYPES

    @property
    def has_trigger(self) -> bool:
        """True where the order waits for a stop price."""
        return self in _TRIGGER_TYPES


_LIMIT_TYPES = {OrderType.LIMIT, OrderType.LIMIT_MAKER, OrderType.STOP_LOSS_LIMIT, OrderType.TAKE_PROFIT_LIMIT}
_TRIGGER_TYPES = {
    OrderType.STOP_LOSS,
    OrderType.STOP_LOSS_LIMIT,
    OrderType.TAKE_PROFIT,
    OrderType.TAKE_PROFIT_LIMIT,
}


class Purpose(StrEnum):
    """Why an order exists: controls bind entries only, everything else always goes on."""

    ENTRY = "entry"
    EXIT = "exit"
    PROTECTION = "protection"


class OrderStatus(StrEnum):
    INTENT = "intent"
    UNKNOWN = "unknown"
    OPEN = "open"
    PARTIAL = "partial"
    CANCELED = "canceled"
    EXPIRED = "expired"
    REJECTED = "rejected"
    NOT_PLACED = "not_placed"
    DENIED = "denied"
    FILLED = "filled"

    @property
    def rank(self) -> int:
        """How far along the order's life; a report never takes an order to a lower rank."""
        return _RANK[self]

    @property
    def is_open(self) -> bool:
        """True while something of the order may still be working."""
        return _RANK[self] < 4


_RANK = {
    OrderStatus.INTENT: 0,
    OrderStatus.UNKNOWN: 1,
    OrderStatus.OPEN: 2,
    OrderStatus.PARTIAL: 3,
    OrderStatus.CANCELED: 4,
    OrderStatus.EXPIRED: 4,
    OrderStatus.REJECTED: 4,
    OrderStatus.NOT_PLACED: 4,
    OrderStatus.DENIED: 4,
    OrderStatus.FILLED: 5,
}

_ENDS = frozenset({OrderStatus.CANCELED, OrderStatus.EXPIRED, OrderStatus.FILLED})

TRANSITIONS: dict[OrderStatus, frozenset[OrderStatus]] = {
    OrderStatus.INTENT: _ENDS
    | {OrderStatus.UNKNOWN, OrderStatus.OPEN, OrderStatus.PARTIAL, OrderStatus.REJECTED, OrderStatus.DENIED},
    OrderStatus.UNKNOWN: _ENDS | {OrderStatus.OPEN, OrderStatus.PARTIAL, OrderStatus.REJECTED, OrderStatus.NOT_PLACED},
    OrderStatus.OPEN: _ENDS | {OrderStatus.PARTIAL, OrderStatus.REJECTED},  # a stop may be refused when it triggers
    OrderStatus.PARTIAL: _ENDS | {OrderStatus.PARTIAL},
    OrderStatus.CANCELED: frozenset({OrderStatus.FILLED}),
    OrderStatus.EXPIRED: frozenset({OrderStatus.FILLED}),
    OrderStatus.REJECTED: frozenset({OrderStatus.FILLED}),
    OrderStatus.NOT_PLACED: frozenset({OrderStatus.FILLED}),
    OrderStatus.DENIED: frozenset(),
    OrderStatus.FILLED: frozenset(),
}
"""Which status may follow which. Evidence of a fill is never refused, except after our own denial."""


NOT_SENT, TURNED_AWAY = "not sent: ", "turned away: "
"""How the reasons of such refusals begin: nothing was sent (no budget, no connection), or not let in (limits, time)."""


class Order(msgspec.Struct, kw_only=True):
    """One order from intent to end. Amounts are exact; times are trading time in milliseconds.

    ``bot`` is the bot's number (never reused; 0: nobody's). ``interval`` is the bot's interval: on
    candle feeds the simulated exchange fills on candles of that interval. ``trigger_price`` is set by
    the guard and by manual closes: the simulated exchange fills such an order at once at that price.
    ``purpose`` and ``reason`` say why (reason: signal, stop_loss, trailing_stop, take_profit, manual ...).
    """

    client_order_id: str
    bot: int
    symbol: str
    interval: str
    side: Side
    type: OrderType
    quantity: Decimal
    price: Decimal | None = None
    stop_price: Decimal | None = None
    trigger_price: float | None = None
    purpose: Purpose = Purpose.ENTRY
    intent_reason: str = "signal"
    status: OrderStatus = OrderStatus.INTENT
    exchange_order_id: str = ""
    filled: Decimal = ZERO
    filled_notional: Decimal = ZERO
    reason: str = ""
    cancel_requested: bool = False
    created_ms: int = 0
    updated_ms: int = 0

    @property
    def remaining(self) -> Decimal:
        """The quantity that may still fill."""
        return self.quantity - self.filled

    @property
    def average(self) -> Decimal | None:
        """The mean fill price, None before the first fill."""
        return self.filled_notional / self.filled if self.filled else None

    @property
    def was_turned_away(self) -> bool:
        """True where the order was refused for the moment, not for what it asks: it may be asked for again, later."""
        return self.status is OrderStatus.REJECTED and self.reason.startswith((NOT_SENT, TURNED_AWAY))

    @property
    def is_target(self) -> bool:
        """True for the leg of a protective pair that takes the profit; its stop is the other one."""
        return self.type is OrderType.LIMIT_MAKER and self.purpose is Purpose.PROTECTION


def offered(orders: Iterable[Order]) -> Decimal:
    """Return what working sales of one bot offer: the two legs of a protective pair offer the same coins."""
    sales = [order for order in orders if order.side is Side.SELL]
    legs = [order.remaining for order in sales if order.purpose is Purpose.PROTECTION]
    return sum((o.remaining for o in sales if o.purpose is not Purpose.PROTECTION), max(legs, default=ZERO))


def pairs_as_one(orders: Iterable[Order]) -> list[Order]:
    """Return the orders without the targets whose stop is among them: a bot has one pair at most, placed as one."""
    found = list(orders)
    stops = {order.bot for order in found if order.purpose is Purpose.PROTECTION and not order.is_target}
    return [order for order in found if not (order.is_target and order.bot in stops)] if stops else found


class Fill(msgspec.Struct, frozen=True, kw_only=True):
    """One execution of ours. Unique by (account, symbol, trade_id); position and cash come from these only."""

    trade_id: str
    client_order_id: str
    bot: int
    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal
    fee: Decimal
    fee_asset: str
    time_ms: int

    @property
    def notional(self) -> Decimal:
        """Quantity times price, in quote."""
        return self.quantity * self.price


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What an exchange says of one order: a status, and with it a fill where one happened.

    ``reason`` carries the exchange's words for a refusal or a cancel. ``filled`` is how much of the order the
    exchange says has filled so far, None where it does not say: an end that speaks of more than was booked is
    put off until those fills were fetched.
    """

    client_order_id: str
    status: OrderStatus
    time_ms: int
    exchange_order_id: str = ""
    reason: str = ""
    fill: Fill | None = None
    filled: Decimal | None = None


class Intent(msgspec.Struct, frozen=True, kw_only=True):
    """What a bot wants, before sizing and the risk gate.

    ``quantity`` None asks the sizing for an entry. ``reference_price`` is the price of the decision (the
    close of the candle, the last tick), which values a market order. ``client_order_id`` is set where the
    id was reserved before the order was made.
    """

    bot: int
    symbol: str
    interval: str
    side: Side
    type: OrderType
    purpose: Purpose
    reason: str
    reference_price: float
    quantity: Decimal | None = None
    price: Decimal | None = None
    stop_price: Decimal | None = None
    trigger_price: float | None = None
    client_order_id: str = ""
