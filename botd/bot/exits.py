"""Leaving a position: what is offered already is taken back, then everything is sold.

On an exchange outside the process a cancel takes its time, and the leg may have filled meanwhile: the sale waits
for the outcome. Never are the same coins offered twice. A sale that waits is in the ledger: it outlives a restart.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec

from botd.bot.intents import exit_of_all
from botd.domain.order import Order, OrderStatus, OrderType, Purpose, Side

if TYPE_CHECKING:
    from botd.bot.bot import Bot

SPACE = "exits"

TARGET_PATIENCE_MS = 10_000
"""So long is a target that rests on the exchange left to it, with the price beyond it."""


class Exit:
    """The sale of everything that one bot holds."""

    def __init__(self, bot: Bot) -> None:
        self._bot = bot
        self._waiting: tuple[str, float] | None = None
        self._is_old = False
        """From before a restart: what is held may have been sold meanwhile, until the account was read."""
        self._reached = (0, 0)
        """When the resting target was reached: at first, and last (milliseconds)."""

    @property
    def under_way(self) -> bool:
        """True while a sale waits for another order's outcome, or works at market."""
        return self._waiting is not None or any(o.type is OrderType.MARKET for o in self._offers())

    def sell(self, reason: str, reference: float, trigger: float | None = None) -> Order | None:
        """Sell what is held: ``trigger`` is the level reached, at which a candle feed fills at once.

        Returns the sale, or the order whose outcome it waits for; None where nothing is sold.
        """
        bot = self._bot
        if not bot.desk.gateway.may_sell(bot.spec.symbol):
            self._wait((reason, reference))  # a leg that rests goes on
            return None
        offers = self._offers()
        for order in offers:
            bot.cancel(order.client_order_id)
        left = [order for order in offers if order.status.is_open]
        if left and not bot.desk.gateway.in_process:
            self._wait((reason, reference))
            return left[0]
        self._wait(None)
        quantity = bot.instrument.floor_quantity(bot.book.position.quantity)
        if quantity <= 0:
            return None
        return bot.place(exit_of_all(bot, reason, reference, trigger), quantity)[0]

    def is_left_to_exchange(self, now_ms: int) -> bool:
        """Tell whether the target, reached now, rests on the exchange: that leg sells, or has just sold. It is asked
        about; a price that stays beyond it and a leg that does not fill are botd's again."""
        bot, working = self._bot, (OrderStatus.OPEN, OrderStatus.PARTIAL)
        level, leg = bot.book.position.target, next((order for order in self._offers() if order.is_target), None)
        if leg is None or leg.cancel_requested or leg.status not in working or level is None or leg.price is None:
            return False
        if leg.price > bot.instrument.ceil_price(Decimal(repr(level))):
            return False
        first, last = self._reached
        if now_ms - last > TARGET_PATIENCE_MS:
            first = now_ms
            bot.desk.gateway.table.doubt(leg, "the price is where it sells")
        self._reached = (first, now_ms)
        return now_ms - first < TARGET_PATIENCE_MS

    def go_on_in(self, bot: Bot) -> None:
        """Serve the bot that takes this one's place: a sale that waits for an outcome is not forgotten."""
        self._bot, bot.exit = bot, self

    def on_order_end(self, order: Order) -> None:
        """An order of the bot ended: the sale that waited for it goes on, where anything is left."""
        if self._waiting is not None and order.side is Side.SELL:
            self._bot.desk.soon(self.go_on)

    def go_on(self) -> None:
        """Go on with a sale that waits: what is still offered is taken back, then what is left is sold."""
        bot = self._bot
        may_sell = bot.desk.gateway.may_sell(bot.spec.symbol)
        if self._waiting is None or not may_sell or (self._is_old and bot.desk.not_ready()):
            return
        if bot.holds:
            self.sell(*self._waiting)
        else:
            self._wait(None)

    def give_up(self) -> None:
        """Wait for nothing: what is held is nobody's any more."""
        self._wait(None)

    def restore(self, row: str) -> None:
        """Take up the row that the ledger kept; empty for none."""
        self._waiting = msgspec.json.decode(row, type=tuple[str, float]) if row else None
        self._is_old = self._waiting is not None

    def _wait(self, waiting: tuple[str, float] | None) -> None:
        self._is_old = False
        if waiting != self._waiting:
            self._waiting = waiting
            row = None if waiting is None else msgspec.json.encode(waiting).decode()
            self._bot.desk.journal.keyed(SPACE, {str(self._bot.number): row})

    def _offers(self) -> list[Order]:
        return [order for order in self._bot.orders() if order.side is Side.SELL]


def offered_elsewhere(bot: Bot) -> list[Order]:
    """Return the bot's working sales that are not its protective leg."""
    return [o for o in bot.orders() if o.side is Side.SELL and o.purpose is not Purpose.PROTECTION]
