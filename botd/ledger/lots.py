"""First in, first out: the same fills as lots, for tax. A second view; the average cost is the canonical one.

Both views realise the same in the end: at any price, realised plus unrealised is equal, to the last digit.
Pure: no prices, no clocks, no database.
"""

from __future__ import annotations

from collections import deque
from decimal import Decimal
from functools import reduce

import msgspec

from botd.domain.amounts import EXACT, money
from botd.domain.instrument import ZERO, split_symbol
from botd.domain.order import Fill, Side


class Lot(msgspec.Struct):
    """What is left of one purchase. ``cost`` is in quote, fees apart."""

    quantity: Decimal
    cost: Decimal
    time_ms: int


class Disposal(msgspec.Struct, frozen=True, kw_only=True):
    """A sale out of one lot: what tax forms ask for. ``fee`` is the sale's, in quote, on its last row."""

    symbol: str
    quantity: Decimal
    bought_ms: int
    sold_ms: int
    cost: Decimal
    proceeds: Decimal
    fee: Decimal


class FifoBook:
    """The lots of one bot in one symbol."""

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.realized_pnl = ZERO
        self.lots: deque[Lot] = deque()
        self._base, self._quote = split_symbol(symbol)

    @property
    def quantity(self) -> Decimal:
        """What is held."""
        return reduce(EXACT.add, (lot.quantity for lot in self.lots), ZERO)

    @property
    def cost(self) -> Decimal:
        """What the lots cost, in quote."""
        return reduce(EXACT.add, (lot.cost for lot in self.lots), ZERO)

    def apply(self, fill: Fill, *, fee_value_quote: Decimal | None = None) -> list[Disposal]:
        """Book a fill as :meth:`botd.ledger.accounting.BotBook.apply` does; return what a sale took from which lots."""
        base_fee, fee = self._fee(fill, fee_value_quote)
        paid = money(EXACT.multiply(fill.quantity, fill.price))
        self.realized_pnl = EXACT.subtract(self.realized_pnl, fee)
        if fill.side is Side.BUY:
            self.lots.append(Lot(EXACT.subtract(fill.quantity, base_fee), paid, fill.time_ms))
            return []
        return self._sell(fill, EXACT.add(fill.quantity, base_fee), paid, fee)

    def write_off(self) -> None:
        """Count what is left as worth nothing: dust."""
        self.realized_pnl = EXACT.subtract(self.realized_pnl, self.cost)
        self.lots.clear()

    def _sell(self, fill: Fill, gone: Decimal, proceeds: Decimal, fee: Decimal) -> list[Disposal]:
        rows: list[Disposal] = []
        left, unpaid = gone, proceeds
        while left > 0 and self.lots:
            lot = self.lots[0]
            taken = min(left, lot.quantity)
            whole = taken == lot.quantity
            cost = lot.cost if whole else money(EXACT.divide(EXACT.multiply(lot.cost, taken), lot.quantity))
            left = EXACT.subtract(left, taken)
            last = not left or (whole and len(self.lots) == 1)
            part = unpaid if last else money(EXACT.divide(EXACT.multiply(proceeds, taken), gone))
            unpaid = EXACT.subtract(unpaid, part)
            self.realized_pnl = EXACT.add(self.realized_pnl, EXACT.subtract(part, cost))
            rows.append(
                Disposal(
                    symbol=self.symbol,
                    quantity=taken,
                    bought_ms=lot.time_ms,
                    sold_ms=fill.time_ms,
                    cost=cost,
                    proceeds=part,
                    fee=fee if last else ZERO,
                )
            )
            if whole:
                self.lots.popleft()
            else:
                lot.quantity, lot.cost = EXACT.subtract(lot.quantity, taken), EXACT.subtract(lot.cost, cost)
        self.realized_pnl = EXACT.add(self.realized_pnl, unpaid)  # sold beyond what was held: all of it is profit
        return rows

    def _fee(self, fill: Fill, fee_value_quote: Decimal | None) -> tuple[Decimal, Decimal]:
        """Return the fee in base units and in quote."""
        if fill.fee_asset == self._base:
            return fill.fee, ZERO
        if fill.fee_asset == self._quote:
            return ZERO, money(fill.fee)
        return ZERO, money(fee_value_quote) if fee_value_quote is not None else ZERO
