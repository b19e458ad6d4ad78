"""A market of one price and an account of one bot, for event strategies."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from botd.domain.candle import Candle
from botd.domain.candles import Candles
from botd.domain.instrument import ZERO, Instrument
from botd.domain.order import Fill, Order, OrderStatus, OrderType, Side
from botd.strategy.base import EventStrategy

BTC = Instrument(symbol="BTC/USDT", base="BTC", quote="USDT", tick=Decimal("0.01"), step=Decimal("0.00001"))


class FakeContext:
    """Fills what the price reaches, without fees.

    `denying` refuses (later: after the call), `slow_cancel` leaves cancels pending.
    """

    def __init__(self, strategy: EventStrategy, price: float, capital: str = "1000", instrument: Instrument = BTC):
        self.strategy, self.last, self.instrument, self.capital = strategy, price, instrument, Decimal(capital)
        self.state: dict[str, Any] = {}
        self.money, self.held, self.cost, self.clock_ms, self.number = self.capital, ZERO, ZERO, 0, 0
        self.working: dict[str, Order] = {}
        self.placed: list[Order] = []
        self.notes: dict[str, Any] = {}
        self.candles = Candles.empty("1m")
        self.denying: bool | str = False
        self.slow_cancel = False

    def now_ms(self) -> int:
        return self.clock_ms

    def price(self) -> float:
        return self.last

    def cash(self) -> Decimal:
        return self.money

    def quantity(self) -> Decimal:
        return self.held

    def entry_price(self) -> Decimal | None:
        return self.cost / self.held if self.held else None

    def orders(self) -> list[Order]:
        return list(self.working.values())

    def buy(self, quantity: Decimal, price: Decimal | None = None, tag: str = "") -> str | None:
        return self._place(Side.BUY, quantity, price)

    def sell(self, quantity: Decimal, price: Decimal | None = None, tag: str = "") -> str | None:
        return self._place(Side.SELL, quantity, price)

    def cancel(self, client_order_id: str) -> None:
        self.working[client_order_id].cancel_requested = True
        if not self.slow_cancel:
            del self.working[client_order_id]

    def note(self, **values: float | str) -> None:
        self.notes |= values

    def _place(self, side: Side, quantity: Decimal, price: Decimal | None) -> str | None:
        self.number += 1
        if self.denying:
            return f"o{self.number}" if self.denying == "later" else None
        order = Order(client_order_id=f"o{self.number}", bot=1, symbol="BTC/USDT", interval="1m", side=side,
                      type=OrderType.LIMIT if price else OrderType.MARKET, quantity=quantity, price=price,
                      status=OrderStatus.OPEN)  # fmt: skip
        self.working[order.client_order_id] = order
        self.placed.append(order)
        return order.client_order_id

    def fill(self, order: Order, quantity: Decimal | None = None, *, told: bool = True) -> None:
        """Fill an order (or a part); not `told`: the strategy does not see it, as while the bot is stopped."""
        quantity, price = quantity or order.remaining, order.price or Decimal(str(self.last))
        sign = 1 if order.side == Side.BUY else -1
        self.cost += quantity * price if sign > 0 else -quantity * self.cost / self.held
        self.held, self.money = self.held + sign * quantity, self.money - sign * quantity * price
        order.filled += quantity
        if not order.remaining:
            del self.working[order.client_order_id]
        if told:
            fill = Fill(trade_id=f"t{self.number}", client_order_id=order.client_order_id, bot=1, symbol=order.symbol,
                        side=order.side, quantity=quantity, price=price, fee=ZERO, fee_asset="USDT",
                        time_ms=self.clock_ms)  # fmt: skip
            self.strategy.on_fill(self, fill)

    def candle(self, price: float, after_ms: int = 60_000) -> None:
        """Let time pass to a candle that closes at `price`: market orders and crossed limits fill first."""
        self.last, self.clock_ms = price, self.clock_ms + after_ms
        for order in list(self.working.values()):
            crossed = order.price is None or (order.price >= price if order.side == Side.BUY else order.price <= price)
            if crossed and not order.cancel_requested:
                self.fill(order)
        self.strategy.on_candle(self, Candle(self.clock_ms - 60_000, price, price, price, price, 1.0))
