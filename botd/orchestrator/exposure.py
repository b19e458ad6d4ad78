"""What bots hold and what working entries may still buy, by symbol: kept up to date order by order.

Each entry asks the risk gate for it: adding all bots and orders up each time costs the square of their number at a
minute's close. It values nothing: prices are the portfolio's business.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec

from botd.domain.amounts import EXACT
from botd.domain.instrument import ZERO
from botd.domain.order import Order, Purpose

if TYPE_CHECKING:
    from botd.bot.bot import Bot


class Sums(msgspec.Struct):
    """Of one symbol. ``limited`` is what entries with a limit may cost, ``at_market`` the units without one."""

    held: Decimal = ZERO
    limited: Decimal = ZERO
    at_market: Decimal = ZERO
    parts: int = 0
    """How many bots and orders it is made of."""


Part = tuple[str, Decimal, Decimal, Decimal]
"""(symbol, held, limited, at market) of one bot or one order."""


class Exposure:
    """See the module. ``orders`` and ``bots`` are all there are now; positions move by fills and ends of orders."""

    def __init__(self, orders: Callable[[], Iterable[Order]], bots: Callable[[], Collection[Bot]]) -> None:
        self._orders = orders
        self._bots = bots
        self._sums: dict[str, Sums] = {}
        self._parts: dict[str | int, Part] = {}
        """By client order id, and by bot's number."""
        self._by_number: dict[int, Bot] = {}
        self._seen: tuple[int, Bot | None] = (-1, None)

    def note(self, order: Order) -> None:
        """An order is new, filled, or ended; what its bot holds may be another."""
        self._put(order.client_order_id, part_of_order(order))
        bot = self._by_number.get(order.bot)
        if bot is not None:
            self._put(order.bot, part_of_bot(bot))

    def sums(self) -> dict[str, Sums]:
        """Return the sums by symbol; symbols without any are left out."""
        bots = self._bots()
        last = next(reversed(bots), None) if bots else None  # type: ignore[call-overload]
        if (len(bots), last) != self._seen:  # bots came or went
            self._seen = (len(bots), last)
            self._add_up(bots)
        return self._sums

    # -- inside

    def _add_up(self, bots: Iterable[Bot]) -> None:
        self._sums, self._parts = {}, {}
        self._by_number = {bot.number: bot for bot in bots}
        for number, bot in self._by_number.items():
            self._put(number, part_of_bot(bot))
        for order in self._orders():
            self._put(order.client_order_id, part_of_order(order))

    def _put(self, key: str | int, part: Part | None) -> None:
        before = self._parts.pop(key, None)
        if before is not None:
            self._move(before, EXACT.subtract, -1)
        if part is not None:
            self._parts[key] = part
            self._move(part, EXACT.add, 1)

    def _move(self, part: Part, move: Callable[[Decimal, Decimal], Decimal], count: int) -> None:
        symbol, held, limited, at_market = part
        sums = self._sums.get(symbol)
        if sums is None:
            sums = self._sums[symbol] = Sums()
        sums.held, sums.limited = move(sums.held, held), move(sums.limited, limited)
        sums.at_market = move(sums.at_market, at_market)
        sums.parts += count
        if not sums.parts:
            del self._sums[symbol]


def part_of_bot(bot: Bot) -> Part | None:
    """Return what a bot's holding adds, None where it holds nothing."""
    quantity = bot.book.position.quantity
    return (bot.spec.symbol, quantity, ZERO, ZERO) if quantity else None


def part_of_order(order: Order) -> Part | None:
    """Return what a working entry adds, None for any other order."""
    if order.purpose is not Purpose.ENTRY or not order.status.is_open:
        return None
    if order.price is not None:
        return (order.symbol, ZERO, EXACT.multiply(order.remaining, order.price), ZERO)
    return (order.symbol, ZERO, ZERO, order.remaining)
