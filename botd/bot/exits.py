"""Leaving a position: what is offered already is taken back, then everything is sold.

On an exchange outside the process a cancel takes its time, and the leg may have filled meanwhile: the sale waits
for the outcome. Never are the same coins offered twice. A sale that waits is in the ledger: it outlives a restart.
After one nothing is sold before the symbol's trades were read: what is held may have been sold meanwhile.
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

TURNED_AWAY_S = 5.0
"""So soon a sale is tried again that the exchange turned away for the moment, or that could not be sent."""

TARGET_PATIENCE_S, STOP_PATIENCE_S = 10.0, 3.0
"""So long is a level that rests on the exchange left to it, with the price beyond it. A stop sells by the last trade,
the guard by the bid: what has not sold by then will not by itself."""


class Exit:
    """The sale of everything that one bot holds."""

    def __init__(self, bot: Bot) -> None:
        self._bot = bot
        self._waiting: tuple[str, float] | None = None
        self._sale, self._asked = "", ("", 0.0)
        """The last sale at market that was sent, and what for."""
        self._rests_s = 0.0
        """Until then a sale that was turned away is not tried again (monotonic seconds)."""
        self._reached = ("", 0.0, 0.0)
        """The leg whose level was reached, and when: at first, and last (monotonic seconds)."""

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
        sale, _ = bot.place(exit_of_all(bot, reason, reference, trigger), quantity)
        self._sale, self._asked = sale.client_order_id if sale is not None else "", (reason, reference)
        if sale is not None and sale.quantity < quantity and not bot.desk.gateway.in_process:
            self._wait((reason, reference))  # more than one order may have: the rest follows it
        return sale

    def is_left_to_exchange(self, reason: str, price: float, now_s: float) -> bool:
        """Tell whether the level, reached now at ``price``, rests on the exchange: that leg sells, or has just sold. To
        cancel it at that moment would leave nothing where the sale at market is held up. It is asked about; a price
        that stays beyond it and a leg that does not fill are botd's again."""
        bot, at_target = self._bot, reason == "take_profit"
        legs = (o for o in self._offers() if o.purpose is Purpose.PROTECTION and o.is_target is at_target)
        leg, patience_s = next(legs, None), TARGET_PATIENCE_S if at_target else STOP_PATIENCE_S
        if leg is None or leg.cancel_requested or leg.status not in (OrderStatus.OPEN, OrderStatus.PARTIAL):
            return False
        if not (self._rests_at_target(leg) if at_target else (leg.stop_price or 0) >= Decimal(repr(price))):
            return False
        key, first, last = self._reached
        if key != leg.client_order_id or now_s - last > patience_s:
            first = now_s
            bot.desk.gateway.table.doubt(leg, "the price is where it sells")
        self._reached = (leg.client_order_id, first, now_s)
        return now_s - first < patience_s

    def _rests_at_target(self, leg: Order) -> bool:
        level = self._bot.book.position.target
        if level is None or leg.price is None:
            return False
        return leg.price <= self._bot.instrument.ceil_price(Decimal(repr(level)))

    def go_on_in(self, bot: Bot) -> None:
        """Serve the bot that takes this one's place: a sale that waits for an outcome is not forgotten."""
        self._bot, bot.exit = bot, self

    def on_order_end(self, order: Order) -> None:
        """An order of the bot ended: the sale that waited for it goes on, where anything is left. One at market that
        sold nothing, and that nobody cancelled, ends it: the next would not either. One that was only turned away is
        tried again, soon: a signal may say but once that it is time to sell."""
        if order.client_order_id == self._sale and order.was_turned_away and not order.filled:
            self._wait(self._asked)
            self._rests_s = self._bot.desk.clock.monotonic() + TURNED_AWAY_S
            return
        if self._waiting is None or order.side is not Side.SELL:
            return
        if order.type is OrderType.MARKET and not order.filled and not order.cancel_requested:
            self._wait(None)
        else:
            self._bot.desk.soon(self.go_on)

    def go_on(self) -> None:
        """Go on with a sale that waits: what is still offered is taken back, then what is left is sold."""
        bot = self._bot
        sells = any(order.type is OrderType.MARKET for order in self._offers())
        if self._waiting is None or sells or not bot.desk.gateway.may_sell(bot.spec.symbol):
            return
        if bot.desk.clock.monotonic() < self._rests_s:
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

    def _wait(self, waiting: tuple[str, float] | None) -> None:
        if waiting != self._waiting:
            self._waiting = waiting
            row = None if waiting is None else msgspec.json.encode(waiting).decode()
            self._bot.desk.journal.keyed(SPACE, {str(self._bot.number): row})

    def _offers(self) -> list[Order]:
        return [order for order in self._bot.orders() if order.side is Side.SELL]


def offered_elsewhere(bot: Bot) -> list[Order]:
    """Return the bot's working sales that are not its protective leg."""
    return [o for o in bot.orders() if o.side is Side.SELL and o.purpose is not Purpose.PROTECTION]
