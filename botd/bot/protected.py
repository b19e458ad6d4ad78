"""A bot's position as its protection sees it: what is held, at which level it sells, how a leg is placed.

It decides nothing; the legs go through the bot, and so through the risk gate.
"""

from __future__ import annotations

from decimal import Decimal

from botd.bot.bot import Bot
from botd.bot.exits import offered_elsewhere
from botd.domain.instrument import ZERO
from botd.domain.order import Intent, Order, OrderType, Purpose, Side


class ProtectedPosition:
    """Implements :class:`botd.execution.protection.Position` for one bot."""

    def __init__(self, bot: Bot) -> None:
        self._bot = bot
        self.number = bot.number
        self.name = bot.name
        self.symbol = bot.spec.symbol
        self.instrument = bot.instrument

    def stop(self) -> float | None:
        return self._bot.guard.stop()

    def quantity(self) -> Decimal:
        offered = sum((order.remaining for order in offered_elsewhere(self._bot)), ZERO)
        return max(ZERO, self._bot.book.position.quantity - offered)

    def exiting(self) -> bool:
        return self._bot.exit.under_way

    def refusal(self) -> str:
        return "its strategy places sales of its own" if self._bot.places_sales else ""

    def place(self, stop_price: Decimal, quantity: Decimal) -> Order | None:
        spec = self._bot.spec
        intent = Intent(
            bot=self.number,
            symbol=spec.symbol,
            interval=spec.interval,
            side=Side.SELL,
            type=OrderType.STOP_LOSS,
            purpose=Purpose.PROTECTION,
            reason="stop_loss",
            reference_price=float(stop_price),
            stop_price=stop_price,
        )
        return self._bot.place(intent, quantity)[0]

    def cancel(self, order: Order) -> None:
        self._bot.cancel(order.client_order_id)

    def flatten(self, reason: str) -> None:
        quote = self._bot.desk.market.quote(self.symbol)
        stop = self.stop()
        reference = quote.bid if quote is not None else stop
        if reference is not None:
            self._bot.exit.sell(reason, reference)
