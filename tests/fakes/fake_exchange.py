"""An exchange that says what the test tells it to say, and remembers what it was asked."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from botd.domain.events import Event
from botd.domain.order import Fill, Intent, Order, OrderStatus, OrderType, Purpose, Report, Side
from botd.exchange.exchange import Balance, ReportListener


class FakeExchange:
    """Reports nothing by itself."""

    def __init__(self, *, in_process: bool = True) -> None:
        self.in_process = in_process
        self.sent: list[str] = []
        self.cancels: list[str] = []
        self.symbols: dict[str, str] = {}
        self.report: ReportListener = lambda report: None

    def know(self, symbols: Mapping[str, str]) -> None:
        self.symbols.update(symbols)

    def listen(self, listener: ReportListener) -> None:
        self.report = listener

    def submit(self, order: Order) -> None:
        self.sent.append(order.client_order_id)

    def cancel(self, client_order_id: str) -> None:
        self.cancels.append(client_order_id)

    def instruments(self) -> dict[str, Any]:
        return {}

    def balances(self) -> dict[str, Balance]:
        return {}

    def statistics(self) -> dict[str, Any]:
        return {}


class FakeJournal:
    """Keeps what was written: the last state of each order, fills, topics of events."""

    def __init__(self) -> None:
        self.orders: list[tuple[str, str, str]] = []
        self.fills: list[Fill] = []
        self.events: list[Event] = []

    def order(self, order: Order) -> None:
        self.orders.append((order.client_order_id, order.status.value, str(order.filled)))

    def fill(self, fill: Fill, realized_pnl: Decimal) -> None:
        self.fills.append(fill)

    @property
    def next_event(self) -> int:
        return len(self.events)

    def event(self, event: Event, at: int | None = None) -> None:
        self.events.insert(self.next_event if at is None else at, event)

    def topics(self) -> list[str]:
        return [event.topic for event in self.events]


def buy(**changes: Any) -> Intent:
    base: dict[str, Any] = {"bot": 1, "symbol": "BTC/USDT", "interval": "1m", "side": Side.BUY, "type": OrderType.LIMIT,
                            "purpose": Purpose.ENTRY, "reason": "signal", "reference_price": 100.0}  # fmt: skip
    return Intent(**{**base, "price": Decimal(100), **changes})


def fill_of(client_order_id: str, trade_id: str, quantity: str) -> Fill:
    return Fill(trade_id=trade_id, client_order_id=client_order_id, bot=1, symbol="BTC/USDT", side=Side.BUY,
                quantity=Decimal(quantity), price=Decimal(100), fee=Decimal(0), fee_asset="", time_ms=1)  # fmt: skip


def says(client_order_id: str, status: str, fill: Fill | None = None) -> Report:
    return Report(client_order_id=client_order_id, status=OrderStatus(status), time_ms=1, fill=fill)
