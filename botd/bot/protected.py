"""A bot's position as its protection sees it: what is held, at which level it sells, how a leg is placed.

It decides nothing; the legs go through the bot, and so through the risk gate.
"""

from __future__ import annotations

from decimal import Decimal

from botd.bot.bot import Bot
from botd.bot.exits import offered_elsewhere
from botd.bot.placing import place_pair
from botd.domain.instrument import ZERO
from botd.domain.order import Intent, Order, OrderType, Purpose, Side
from botd.execution.positions import Levels


class ProtectedPosition:
    """Implements :class:`botd.execution.positions.Position` for one bot."""

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

    def target(self) -> float | None:
        return self._bot.book.position.target

    def place(self, levels: Levels) -> list[Order]:
        stop = self._intent(OrderType.STOP_LOSS, "stop_loss", levels.stop)
        if levels.target is None:
            order, _ = self._bot.place(stop, levels.quantity)
            return [] if order is None else [order]
        target = self._intent(OrderType.LIMIT_MAKER, "take_profit", levels.target)
        return place_pair(self._bot, stop, target, levels.quantity)

    def _intent(self, kind: OrderType, reason: str, price: Decimal) -> Intent:
        spec = self._bot.spec
        return Intent(
            bot=self.number,
            symbol=spec.symbol,
            interval=spec.interval,
            side=Side.SELL,
            type=kind,
            purpose=Purpose.PROTECTION,
            reason=reason,
            reference_price=float(price),
            price=price if kind.has_limit else None,
            stop_price=price if kind.has_trigger else None,
        )

    def cancel(self, order: Order) -> None:
        self._bot.cancel(order.client_order_id)

    def flatten(self, reason: str) -> None:
        quote = self._bot.desk.market.quote(self.symbol)
        stop = self.stop()
        reference = quote.bid if quote is not None else stop
        if reference is not None:
            self._bot.exit.sell(reason, reference)
