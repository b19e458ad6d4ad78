"""What may be traded and in which grid of prices and quantities."""

from __future__ import annotations

from decimal import ROUND_DOWN, ROUND_UP, Decimal

import msgspec

ZERO = Decimal(0)
_FLOAT = Decimal("1e-6")
"""Of a tick: a level of 110 may be 110.00000000000001."""


class Instrument(msgspec.Struct, frozen=True, kw_only=True):
    """A spot pair and its filters. A zero switches a filter off, as on the exchange."""

    symbol: str
    base: str
    quote: str
    tick: Decimal
    step: Decimal
    min_quantity: Decimal = ZERO
    max_quantity: Decimal = ZERO
    min_notional: Decimal = Decimal(5)
    max_notional: Decimal = ZERO
    max_orders: int = 200
    max_algo_orders: int = 5
    status: str = "TRADING"

    def quantity(self, steps: float) -> Decimal:
        """Return ``steps`` whole steps as an exact quantity."""
        return int(steps) * self.step

    def floor_quantity(self, quantity: Decimal) -> Decimal:
        """Return ``quantity`` rounded down to the step."""
        return (quantity / self.step).to_integral_value(ROUND_DOWN) * self.step if self.step else quantity

    def most(self, quantity: Decimal, price: Decimal | None) -> Decimal:
        """Return how much of ``quantity`` one order may have, at ``price`` where that is known."""
        most = min(quantity, self.max_quantity or quantity)
        return min(most, self.max_notional / price) if self.max_notional and price else most

    def floor_price(self, price: Decimal) -> Decimal:
        """Return ``price`` rounded down to the tick."""
        return (price / self.tick).to_integral_value(ROUND_DOWN) * self.tick if self.tick else price

    def ceil_price(self, price: Decimal) -> Decimal:
        """Round up to the tick, so that a sale at a limit is not made for less; what a float is off counts nothing."""
        return (price / self.tick - _FLOAT).to_integral_value(ROUND_UP) * self.tick if self.tick else price

    def refusal(self, quantity: Decimal, price: Decimal, *, limit_price: bool) -> str:
        """Return why the exchange's filters refuse an order, or an empty string.

        ``price`` is the limit price, or for a market order the price expected; the tick binds only
        where ``limit_price`` is true.
        """
        if not (quantity.is_finite() and price.is_finite()) or quantity <= 0 or price <= 0:
            if not quantity and price > 0 and self.step:
                return f"LOT_SIZE: less than the step {self.step} at {price:f}: nothing is left of the quantity"
            return f"quantity {quantity} and price {price} must be finite and above zero"
        if self.step and quantity % self.step:
            return f"LOT_SIZE: quantity {quantity} is not a multiple of the step {self.step}"
        if quantity < self.min_quantity:
            return f"LOT_SIZE: quantity {quantity} is below the minimum {self.min_quantity}"
        if self.max_quantity and quantity > self.max_quantity:
            return f"LOT_SIZE: quantity {quantity} is above the maximum {self.max_quantity}"
        if limit_price and self.tick and price % self.tick:
            return f"PRICE_FILTER: price {price} is not a multiple of the tick {self.tick}"
        notional = quantity * price
        if notional < self.min_notional:
            return f"NOTIONAL: {notional.normalize():f} {self.quote} is below the minimum {self.min_notional}"
        if self.max_notional and notional > self.max_notional:
            return f"NOTIONAL: {notional.normalize():f} {self.quote} is above the maximum {self.max_notional}"
        return ""


def split_symbol(symbol: str) -> tuple[str, str]:
    """Return (base, quote) of ``BTC/USDT``; ValueError when it is not of that form."""
    base, slash, quote = symbol.partition("/")
    if not (slash and base.isalnum() and quote.isalnum() and symbol == symbol.upper()):
        right = symbol.upper() if slash and (base + quote).isalnum() and base and quote else ""
        remedy = f"did you mean {right}?" if right else "expected e.g. BTC/USDT"
        raise ValueError(f"{symbol!r} is not a symbol; {remedy}")
    return base, quote
