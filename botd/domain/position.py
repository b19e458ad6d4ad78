"""A bot's holding, and the round trips it leaves behind."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from botd.domain.instrument import ZERO


class Position(msgspec.Struct, kw_only=True):
    """What one bot holds of one symbol, and the levels that belong to it.

    ``cost`` is what the held quantity cost in quote by average cost, fees apart. ``stop`` is the fixed
    stop (lifted to the entry once ``break_even``, a gain, was reached), ``highest`` the highest high since entry
    (candles before the present one), ``atr`` the average true range that the stop was measured by: floats by the
    formulas of :mod:`botd.domain.rules`; None where the spec has none. The ``entry_*``, ``bought_*``,
    ``sold_*`` and ``fees`` fields collect the round trip that is under way.
    """

    bot: int
    symbol: str
    quantity: Decimal = ZERO
    cost: Decimal = ZERO
    stop: float | None = None
    target: float | None = None
    trailing: float | None = None
    highest: float | None = None
    entry_time_ms: int = 0
    entry_bar: int = 0
    bought_quantity: Decimal = ZERO
    bought_notional: Decimal = ZERO
    sold_quantity: Decimal = ZERO
    sold_notional: Decimal = ZERO
    fees: Decimal = ZERO
    realized_pnl: Decimal = ZERO
    break_even: float | None = None
    atr: float | None = None

    @property
    def entry_price(self) -> Decimal | None:
        """The average price of what is held, None when flat."""
        return self.cost / self.quantity if self.quantity else None


class Trade(msgspec.Struct, frozen=True, kw_only=True):
    """A round trip from flat to flat. ``pnl`` is in quote, net of all fees; ``bars`` counts candles between."""

    bot: int
    symbol: str
    quantity: Decimal
    entry_time_ms: int
    exit_time_ms: int
    entry_price: Decimal
    exit_price: Decimal
    pnl: Decimal
    return_pct: float
    fees: Decimal
    exit_reason: str
    bars: int
    side: str = "long"
