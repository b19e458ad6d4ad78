"""What an event strategy sees and asks for during one call of a hook.

A context lives as long as the call. It reads the bot and *records* what is wanted: a hook that raises
half-way, or one that is left behind and goes on in its thread, has done nothing. It asks for no candles: those that
the hook may see are given to it.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from botd.bot.bot import Bot
from botd.domain.candles import Candles
from botd.domain.errors import InvalidError
from botd.domain.order import Order, Purpose, Side


class Asked(msgspec.Struct):
    """What a hook asked for: an order, or (``cancel``) the end of one."""

    client_order_id: str
    side: Side = Side.BUY
    quantity: Decimal = Decimal(0)
    price: Decimal | None = None
    tag: str = ""
    cancel: bool = False


class HookContext:
    """A :class:`~botd.strategy.base.Context`."""

    def __init__(self, bot: Bot, state: dict[str, Any], seen: Candles | None = None) -> None:
        """``state`` is the strategy's memory, which the hook may change; ``seen`` what it declares to look back on."""
        self._bot = bot
        self._seen = seen
        self.state = state
        self.instrument = bot.instrument
        self.capital = bot.spec.capital
        self.asked: list[Asked] = []
        self.notes: dict[str, Any] = {}

    @property
    def candles(self) -> Candles:
        if self._seen is None:
            raise LookupError(
                "context.candles has what the strategy declares to look back on, and it declares nothing: "
                "let warmup() return how many candles, or inputs() which others"
            )
        return self._seen

    def now_ms(self) -> int:
        return self._bot.desk.clock.now_ms()

    def price(self) -> float:
        quote = self._bot.desk.market.quote(self._bot.spec.symbol)
        return quote.last if quote is not None else float("nan")

    def cash(self) -> Decimal:
        return self._bot.book.cash

    def quantity(self) -> Decimal:
        return self._bot.book.position.quantity

    def entry_price(self) -> Decimal | None:
        return self._bot.book.position.entry_price

    def orders(self) -> list[Order]:
        """Return the working orders; on an exchange that cancels at once, without those this hook cancelled."""
        strategys = [o for o in self._bot.orders() if o.purpose is not Purpose.PROTECTION and o.filled < o.quantity]
        if not self.asked or not self._bot.desk.gateway.in_process:
            return strategys
        gone = {wish.client_order_id for wish in self.asked if wish.cancel}
        return [o for o in strategys if o.client_order_id not in gone]

    def buy(self, quantity: Decimal, price: Decimal | None = None, tag: str = "") -> str | None:
        return self._ask(Side.BUY, quantity, price, tag)

    def sell(self, quantity: Decimal, price: Decimal | None = None, tag: str = "") -> str | None:
        return self._ask(Side.SELL, quantity, price, tag)

    def cancel(self, client_order_id: str) -> None:
        self.asked.append(Asked(client_order_id, cancel=True))

    def note(self, **values: float | str) -> None:
        self.notes.update(values)

    def _ask(self, side: Side, quantity: Decimal, price: Decimal | None, tag: str) -> str:
        exact = _exact(f"{side} quantity", quantity)
        limit = None if price is None else _exact(f"{side} price", price)
        client_order_id = self._bot.desk.gateway.reserve_id(self._bot.number)
        self.asked.append(Asked(client_order_id, side, exact, limit, str(tag)))
        return client_order_id


def _exact(what: str, value: Any) -> Decimal:
    """Return an amount above zero; the hook that asks for another one fails at that line."""
    try:
        amount = value if isinstance(value, Decimal) else Decimal(str(value))
    except InvalidOperation:
        raise InvalidError(f"{what} must be an amount, not {value!r}") from None
    if not amount.is_finite() or amount <= 0:
        raise InvalidError(f"{what} must be above zero, not {value}")
    return amount
