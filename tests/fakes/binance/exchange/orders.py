"""Orders, trades, order lists and the requests for them, as plain values. No rule of the exchange is decided here."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from decimal import Decimal

ZERO = Decimal(0)
STOPS = frozenset({"STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT"})
PRICED = frozenset({"LIMIT", "LIMIT_MAKER", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT"})
TIMED = frozenset({"LIMIT", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT"})
TYPES = frozenset({"LIMIT", "MARKET", "LIMIT_MAKER"}) | STOPS
SIDES = frozenset({"BUY", "SELL"})
TIMES_IN_FORCE = frozenset({"GTC", "IOC", "FOK"})
OPEN = frozenset({"NEW", "PARTIALLY_FILLED"})


class Refused(Exception):
    """The exchange's answer ``{"code", "msg"}`` with an HTTP status; ``data`` as cancelReplace has it."""

    def __init__(self, code: int, message: str, status: int = 400, data: object = None) -> None:
        super().__init__(f"{code} {message}")
        self.code = code
        self.message = message
        self.status = status
        self.data = data


@dataclass(frozen=True)
class NewOrder:
    """What a request asks for, read and complete; ``client_id`` empty: the exchange makes one."""

    symbol: str
    side: str
    type: str
    time_in_force: str = "GTC"
    quantity: Decimal = ZERO
    quote_quantity: Decimal = ZERO
    price: Decimal = ZERO
    stop_price: Decimal = ZERO
    trailing_delta: int = 0
    client_id: str = ""
    response: str = ""
    strategy_id: int | None = None
    strategy_type: int | None = None
    self_trade: str = "NONE"


@dataclass
class Order:
    """An order as the exchange has it. ``working_ms`` is -1 until it is on the book (a stop: once triggered)."""

    id: int
    asked: NewOrder
    client_id: str
    created_ms: int
    list_id: int = -1
    status: str = "NEW"
    executed: Decimal = ZERO
    quote: Decimal = ZERO
    updated_ms: int = 0
    working_ms: int = -1
    reserved_at: Decimal = ZERO
    """The price at which funds were held back, of an order that names none."""
    extreme: Decimal | None = None
    """The best price since a trailing stop follows it."""
    cancel_id: str = ""
    expiry: str = ""
    trades: list[Trade] = field(default_factory=list)
    history: list[tuple[int, str, Decimal, Decimal, int]] = field(default_factory=list)
    """(time, status, executed, quote, working since) after each change."""

    def note(self) -> None:
        """Keep what is so now, for who reads late."""
        self.history.append((self.updated_ms, self.status, self.executed, self.quote, self.working_ms))

    def as_of(self, time_ms: int) -> Order | None:
        """Return the order as it was then; None where it was not there yet."""
        known = [entry for entry in self.history if entry[0] <= time_ms]
        if not known:
            return None
        updated, status, executed, quote, working = known[-1]
        return replace(
            self, status=status, executed=executed, quote=quote, working_ms=working, updated_ms=updated,
            expiry=self.expiry if status == self.status else "",
        )  # fmt: skip

    @property
    def symbol(self) -> str:
        return self.asked.symbol

    @property
    def side(self) -> str:
        return self.asked.side

    @property
    def type(self) -> str:
        return self.asked.type

    @property
    def price(self) -> Decimal:
        return self.asked.price

    @property
    def quantity(self) -> Decimal:
        return self.asked.quantity

    @property
    def left(self) -> Decimal:
        return self.asked.quantity - self.executed

    @property
    def open(self) -> bool:
        return self.status in OPEN

    @property
    def working(self) -> bool:
        return self.working_ms >= 0

    @property
    def buys(self) -> bool:
        return self.asked.side == "BUY"


@dataclass(frozen=True)
class Trade:
    """A fill of one of the account's orders. Ids are the symbol's own, rising."""

    id: int
    order_id: int
    list_id: int
    symbol: str
    buys: bool
    maker: bool
    price: Decimal
    quantity: Decimal
    quote: Decimal
    commission: Decimal
    commission_asset: str
    time_ms: int


@dataclass
class OrderList:
    """An OCO pair. ``state`` is EXECUTING or ALL_DONE."""

    id: int
    client_id: str
    symbol: str
    order_ids: tuple[int, ...]
    created_ms: int
    state: str = "EXECUTING"


@dataclass(frozen=True)
class Transfer:
    """A deposit (positive) or a withdrawal."""

    time_ms: int
    asset: str
    amount: Decimal


def money(value: Decimal) -> str:
    """Return 1.5 as ``1.50000000``."""
    return f"{value:.8f}"


def plain(value: Decimal) -> str:
    """Return a rate or a delta without needless zeros."""
    return f"{value.normalize():f}" if value else "0"
