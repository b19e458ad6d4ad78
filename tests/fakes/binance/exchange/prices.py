"""What the market offers the account's orders: a few levels a side, the last trade, the average. Set from outside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from tests.fakes.binance.exchange.orders import ZERO

Depth = Sequence[tuple[Decimal, Decimal | None]]


@dataclass
class Level:
    """A price with what is left at it; None: as much as anybody wants."""

    price: Decimal
    left: Decimal | None = None

    def offers(self, wanted: Decimal) -> Decimal:
        return wanted if self.left is None else min(wanted, self.left)

    def take(self, quantity: Decimal) -> None:
        if self.left is not None:
            self.left -= quantity


@dataclass
class Touch:
    """One symbol's market: best first on both sides."""

    bids: list[Level] = field(default_factory=list)
    asks: list[Level] = field(default_factory=list)
    last: Decimal = ZERO
    average: Decimal = ZERO

    def against(self, buys: bool) -> list[Level]:
        """Return the side that an order of that side trades with."""
        return self.asks if buys else self.bids

    def best(self, buys: bool) -> Decimal:
        """Return the best price for an order of that side; zero where nobody offers."""
        return next((level.price for level in self.against(buys) if level.left != ZERO), ZERO)


class Prices:
    """The touches of all symbols."""

    def __init__(self) -> None:
        self._touches: dict[str, Touch] = {}

    def __getitem__(self, symbol: str) -> Touch:
        return self._touches.setdefault(symbol, Touch())

    def put(
        self, symbol: str, bids: Depth, asks: Depth, last: Decimal | None = None, average: Decimal | None = None
    ) -> Touch:
        """Set a symbol's market. ``last``: the bid, where it is not told; ``average``: the last."""
        touch = self[symbol]
        touch.bids = [Level(price, left) for price, left in bids]
        touch.asks = [Level(price, left) for price, left in asks]
        if last is not None:
            touch.last = last
        elif touch.bids:
            touch.last = touch.bids[0].price
        touch.average = touch.last if average is None else average
        return touch
