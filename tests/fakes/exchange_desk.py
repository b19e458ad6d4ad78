"""A desk in front of a simulated exchange: moves its market and keeps what it reports."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from botd.domain.candle import Candle
from botd.domain.clock import VirtualClock
from botd.domain.instrument import Instrument
from botd.domain.order import Fill, Order, OrderStatus, OrderType, Report, Side
from botd.exchange.simulated import SimulatedExchange
from botd.market.feed import Quote

START = 1_767_225_600_000
MINUTE = 60_000
BTC = Instrument(symbol="BTC/USDT", base="BTC", quote="USDT", tick=Decimal("0.01"), step=Decimal("0.00001"))
BNB = Instrument(symbol="BNB/USDT", base="BNB", quote="USDT", tick=Decimal("0.01"), step=Decimal("0.001"))


class Desk:
    """Orders in, candles and ticks in, reports out. Time is counted in minutes from START."""

    def __init__(self, *, candle_feed: bool = True, **settings: Any) -> None:
        self.clock = VirtualClock(START)
        self.candle_feed = candle_feed
        self.settings = {
            "maker_fee": Decimal("0.001"),
            "taker_fee": Decimal("0.002"),
            "slippage": Decimal("0"),
            "balance": {"USDT": Decimal(10_000), "BTC": Decimal(1)},
            **settings,
        }
        self.reports: list[Report] = []
        self.on_report: Callable[[Report], None] = lambda report: None
        self.exchange = self.new_exchange()
        self._ids = 0

    def new_exchange(self) -> SimulatedExchange:
        exchange = SimulatedExchange(
            {"BTC/USDT": BTC, "BNB/USDT": BNB}, clock=self.clock, candle_feed=self.candle_feed, **self.settings
        )
        exchange.listen(self._heard)
        return exchange

    def _heard(self, report: Report) -> None:
        self.reports.append(report)
        self.on_report(report)

    # -- orders

    def order(self, side: Side | str, kind: OrderType | str, quantity: str = "0.1", **fields: Any) -> Order:
        self._ids += 1
        for name in ("price", "stop_price"):
            if name in fields:
                fields[name] = Decimal(str(fields[name]))
        return Order(
            **{
                "client_order_id": f"c{self._ids}",
                "bot": 1,
                "symbol": "BTC/USDT",
                "interval": "1m",
                "side": Side(side),
                "type": OrderType(kind),
                "quantity": Decimal(quantity),
                **fields,
            }
        )

    def send(self, side: Side | str, kind: OrderType | str, quantity: str = "0.1", **fields: Any) -> str:
        order = self.order(side, kind, quantity, **fields)
        self.exchange.submit(order)
        return order.client_order_id

    # -- market

    def open(self, minute: int, price: float, symbol: str = "BTC/USDT", interval: str = "1m") -> None:
        self.clock.advance(START + minute * MINUTE)
        self.exchange.on_open(symbol, interval, START + minute * MINUTE, price)

    def close(
        self,
        minute: int,
        open_: float,
        high: float,
        low: float,
        close: float,
        volume: float = 10.0,
        symbol: str = "BTC/USDT",
    ) -> None:
        """Close the one-minute candle that opened at ``minute``."""
        self.clock.advance(START + (minute + 1) * MINUTE)
        candle = Candle(START + minute * MINUTE, open_, high, low, close, volume)
        self.exchange.on_closed(symbol, "1m", candle)
        self.exchange.after_levels(symbol, "1m", candle)

    def tick(self, bid: float, ask: float, last: float | None = None, symbol: str = "BTC/USDT") -> None:
        now = self.clock.now_ms()
        self.exchange.on_tick(symbol, Quote(bid, ask, (bid + ask) / 2 if last is None else last, now))

    # -- what came of it

    @property
    def fills(self) -> list[Fill]:
        return [report.fill for report in self.reports if report.fill is not None]

    @property
    def last(self) -> Report:
        return self.reports[-1]

    def statuses(self, client_order_id: str) -> list[OrderStatus]:
        return [report.status for report in self.reports if report.client_order_id == client_order_id]

    def total(self, asset: str) -> Decimal:
        return self.exchange.balances()[asset].total

    def free(self, asset: str) -> Decimal:
        return self.exchange.balances()[asset].free
