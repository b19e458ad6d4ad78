"""Grid: buy at every level on the way down, sell each purchase one level up."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from botd.domain.candle import Candle
from botd.domain.instrument import Instrument
from botd.domain.order import Fill, Order, Side
from botd.strategy.base import Context, EventStrategy
from botd.strategy.parameters import amount, integer

FEE_ALLOWANCE = Decimal("0.001")


class Grid(EventStrategy):
    """Limit buys on the levels below the price; each fill is answered by a sell one level up, and back.

    A cell lies between two levels and owns at most one working order. `context.state` remembers, by the
    cell's number: `order` and what is `left` of it, its `side`, and what the cell has `held`.
    """

    lower = amount(help="price of the lowest level")
    upper = amount(help="price of the highest level, which is only sold on")
    levels = integer(10, low=2, high=200, help="how many levels, evenly spaced")

    _prices: Sequence[Decimal] = ()

    def validate(self) -> str:
        return "" if self.lower < self.upper else f"lower must be below upper, not {self.lower} and {self.upper}"

    def in_words(self) -> str:
        return (
            f"buys at {self.levels - 1} levels from {self.lower:f} up, sells each purchase one level higher, "
            f"the last at {self.upper:f}"
        )

    def order_value(self, capital: Decimal) -> Decimal:
        """Return the share of each level."""
        return capital / Decimal(self.levels - 1)

    def prices(self, instrument: Instrument) -> Sequence[Decimal]:
        """Return the price of every level, on the tick."""
        if not self._prices:
            gap = (self.upper - self.lower) / (self.levels - 1)
            self._prices = [instrument.floor_price(self.lower + gap * level) for level in range(self.levels)]
        return self._prices

    def on_start(self, context: Context) -> None:
        self._work(context, _working(context))
        if not context.state:
            context.note(
                waits=f"buys below the price: {context.price():g} is not above the lowest level, {self.lower:f}"
            )

    def on_candle(self, context: Context, candle: Candle) -> None:
        working = _working(context)
        self._account(context, working)
        self._work(context, working)

    def on_fill(self, context: Context, fill: Fill) -> None:
        for level, cell in context.state.items():
            if cell["order"] == fill.client_order_id:
                fee = fill.fee if fill.fee_asset == context.instrument.base else 0
                received = fill.quantity - fee if fill.side == Side.BUY else -fill.quantity
                _move(cell, fill.quantity, received)
                working = _working(context)
                if _is_idle(cell, working):
                    self._place(context, int(level), cell, working)

    def _work(self, context: Context, working: dict[str, Order]) -> None:
        """Give every cell without a working order the next one; a cell begins once the price is above it."""
        last = context.price()
        if len(context.state) < self.levels - 1:
            for number, price in enumerate(self.prices(context.instrument)[:-1]):
                if price < last:
                    context.state.setdefault(str(number), {"order": "", "left": "0", "side": "buy", "held": "0"})
        for level, cell in context.state.items():
            if _is_idle(cell, working):
                self._place(context, int(level), cell, working, last)

    def _place(
        self, context: Context, level: int, cell: dict[str, Any], working: dict[str, Order], last: float | None = None
    ) -> None:
        """Sell what the cell holds one level up, else buy at its level; a denial is tried again next candle.

        Where ``last`` is given, a level above it is not bought on: after a stop or a close by hand the price may have
        left the grid.
        """
        instrument = context.instrument
        low, high = self.prices(instrument)[level : level + 2]
        held = instrument.floor_quantity(Decimal(cell["held"]))
        side, price, quantity = Side.SELL, high, held
        if instrument.refusal(held, high, limit_price=True):  # nothing to sell, or dust
            budget = self.order_value(context.capital)
            side, price = Side.BUY, low
            quantity = instrument.floor_quantity(budget / (low * (1 + FEE_ALLOWANCE)))
        refusal = instrument.refusal(quantity, price, limit_price=True)
        if refusal:
            context.note(**{f"level_{level}": refusal})
            return
        for order in working.values():  # placed before a crash that took our memory of it
            if (order.side, order.price) == (side, price):
                cell.update(order=order.client_order_id, side=side.value, left=str(order.remaining))
                return
        if side == Side.BUY and last is not None and not low < last:
            return
        place = context.buy if side == Side.BUY else context.sell
        cell.update(order=place(quantity, price, f"level_{level}") or "", side=side.value, left=str(quantity))

    def _account(self, context: Context, working: dict[str, Order]) -> None:
        """Explain by ended orders what was bought or sold unseen (while the bot was stopped, or by hand)."""
        if all(cell["order"] in working or not cell["order"] for cell in context.state.values()):
            return
        unseen = context.quantity() - sum(Decimal(cell["held"]) for cell in context.state.values())
        for cell in context.state.values():
            sign = 1 if cell["side"] == "buy" else -1
            if cell["order"] and cell["order"] not in working and unseen * sign > 0:
                moved = min(Decimal(cell["left"]), unseen * sign)
                _move(cell, moved, moved * sign)
                unseen -= moved * sign


def _working(context: Context) -> dict[str, Order]:
    return {order.client_order_id: order for order in context.orders()}


def _is_idle(cell: dict[str, Any], working: dict[str, Order]) -> bool:
    return cell["order"] not in working or Decimal(cell["left"]) <= 0


def _move(cell: dict[str, Any], filled: Decimal, received: Decimal) -> None:
    cell["left"] = str(Decimal(cell["left"]) - filled)
    cell["held"] = str(max(Decimal(cell["held"]) + received, Decimal(0)))
