"""Cost averaging: buy a fixed amount at fixed times, sell everything at a profit over the average cost."""

from __future__ import annotations

from decimal import Decimal

from botd.domain.candle import Candle
from botd.domain.order import Fill, Side
from botd.strategy.base import Context, EventStrategy
from botd.strategy.parameters import amount, duration, duration_text, fraction

FEE_ALLOWANCE = Decimal("0.001")


class Dca(EventStrategy):
    """Buy `amount` of quote every interval at market; one limit sell of all at the target above average cost."""

    every = duration("1h", low="1m", help="market time between two buys")
    amount = amount(help="quote to spend on each buy")
    take_profit = fraction(0.03, low=0.0001, high=10, help="target above the average cost")

    def in_words(self) -> str:
        return (
            f"buys for {self.amount:f} every {duration_text(self.every)}, "
            f"sells all at {self.take_profit * 100:g}% above the average cost"
        )

    def order_value(self, capital: Decimal) -> Decimal:
        """Return the amount, whatever the capital."""
        return Decimal(self.amount)

    def on_candle(self, context: Context, candle: Candle) -> None:
        now = context.now_ms()
        due = context.state.get("next_ms", now)
        if now >= due:  # a turn that cash or a limit forbids passes unused: nothing is bought twice
            context.state["next_ms"] = due + ((now - due) // self.every + 1) * self.every
            self._buy(context)
        self._keep_target(context)

    def on_fill(self, context: Context, fill: Fill) -> None:
        self._keep_target(context)

    def _buy(self, context: Context) -> None:
        price = Decimal(str(context.price()))
        quantity = context.instrument.floor_quantity(self.amount / price)
        problem = context.instrument.refusal(quantity, price, limit_price=False)
        if not problem and quantity * price * (1 + FEE_ALLOWANCE) > context.cash():
            problem = f"needs {self.amount} {context.instrument.quote} and the fee, cash is {context.cash():f}"
        if problem:
            context.note(buy=problem)
        else:
            context.buy(quantity)

    def _keep_target(self, context: Context) -> None:
        """Make the working sell cover the whole holding at the target; an old one must be gone first."""
        cost = context.entry_price()
        quantity = context.instrument.floor_quantity(context.quantity())
        if cost is None or not quantity:
            return
        target = cost * (1 + Decimal(str(self.take_profit)))
        price = context.instrument.floor_price(target)
        if price < target:
            price += context.instrument.tick
        working = [order for order in context.orders() if order.side == Side.SELL]
        if any(order.price != price or order.remaining != quantity for order in working):
            for order in working:
                if not order.cancel_requested:
                    context.cancel(order.client_order_id)
            working = [order for order in context.orders() if order.side == Side.SELL]
        if not working and not context.instrument.refusal(quantity, price, limit_price=True):
            context.note(average_cost=float(cost), target=float(price))
            context.sell(quantity, price, tag="take_profit")
