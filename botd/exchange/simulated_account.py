"""The simulated account: balances with reservations, and the fee policy.

Exact arithmetic: amounts are quantised to 1e-16 and added without rounding, so what was there plus what
was filled minus what was paid is what is there, to the last digit. This file knows neither orders nor
prices of the market beyond those it is handed.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType

import msgspec

from botd.domain.amounts import EXACT, money
from botd.domain.instrument import ZERO, Instrument
from botd.domain.order import Side
from botd.exchange.exchange import Balance

BALANCE = "balance:"


class Account:
    """Totals and reservations by asset. ``changed`` names the assets whose total is not drained yet."""

    def __init__(self, balance: Mapping[str, Decimal]) -> None:
        self._totals: dict[str, Decimal] = {}
        self._reserved: dict[str, Decimal] = {}
        self._balances: dict[str, Balance] = {}
        self.changed: set[str] = set()
        for asset, amount in balance.items():
            self.add(asset, money(Decimal(amount)))

    def total(self, asset: str) -> Decimal:
        """Return what is held, reserved or not."""
        return self._totals.get(asset, ZERO)

    def free(self, asset: str) -> Decimal:
        """Return what no open order reserves; below zero after a market order filled across a gap."""
        return EXACT.subtract(self._totals.get(asset, ZERO), self._reserved.get(asset, ZERO))

    def add(self, asset: str, amount: Decimal) -> None:
        """Book a signed, quantised amount."""
        self._totals[asset] = EXACT.add(self._totals.get(asset, ZERO), amount)
        self._balances[asset] = Balance(self._totals[asset], self.free(asset))
        self.changed.add(asset)

    def reserve(self, asset: str, amount: Decimal) -> None:
        """Set aside a signed, quantised amount (negative: give it back)."""
        self._reserved[asset] = EXACT.add(self._reserved.get(asset, ZERO), amount)
        if asset in self._totals:
            self._balances[asset] = Balance(self._totals[asset], self.free(asset))

    def balances(self) -> Mapping[str, Balance]:
        """Return every asset that was ever held; a view that goes with the account."""
        return MappingProxyType(self._balances)

    def drain(self) -> dict[str, str | None]:
        """Return the rows of the totals that changed since the last call."""
        rows: dict[str, str | None] = {
            BALANCE + asset: msgspec.json.encode(self._totals[asset]).decode() for asset in sorted(self.changed)
        }
        self.changed.clear()
        return rows

    @classmethod
    def restored(cls, rows: Mapping[str, str]) -> Account:
        """Return the account of these rows (keys of others are passed over) with nothing reserved."""
        account = cls({})
        for key, text in rows.items():
            if key.startswith(BALANCE):
                account.add(key.removeprefix(BALANCE), msgspec.json.decode(text, type=Decimal))
        account.changed.clear()
        return account


class FeePolicy:
    """Who pays how much in which asset.

    ``asset`` is ``quote``, ``base`` (taken from what a buy receives; a sell pays in quote) or the name
    of a third asset. The third asset needs a price ``<asset>/<quote>`` and a free balance that covers
    the fee; without them the fee is in quote, as the exchange does it.
    """

    def __init__(self, *, maker: Decimal, taker: Decimal, asset: str) -> None:
        self.maker = Decimal(maker)
        self.taker = Decimal(taker)
        self._asset = asset

    def in_quote(self, instrument: Instrument, side: Side) -> bool:
        """Tell whether an order of ``side`` may have to pay its fee in quote."""
        return not (side is Side.BUY and self._asset in ("base", instrument.base))

    def settle(
        self,
        account: Account,
        instrument: Instrument,
        side: Side,
        quantity: Decimal,
        price: Decimal,
        *,
        maker: bool,
        prices: Mapping[str, float],
    ) -> tuple[str, Decimal]:
        """Book one fill and its fee in ``account``; return the fee as (asset, amount)."""
        notional = money(EXACT.multiply(quantity, price))
        bought, paid = (quantity, notional.copy_negate()) if side is Side.BUY else (quantity.copy_negate(), notional)
        account.add(instrument.base, money(bought))
        account.add(instrument.quote, paid)
        rate = self.maker if maker else self.taker
        asset, fee = self._charge(account, instrument, side, quantity, notional, rate, prices)
        account.add(asset, fee.copy_negate())
        return asset, fee

    def _charge(
        self,
        account: Account,
        instrument: Instrument,
        side: Side,
        quantity: Decimal,
        notional: Decimal,
        rate: Decimal,
        prices: Mapping[str, float],
    ) -> tuple[str, Decimal]:
        in_quote = money(EXACT.multiply(notional, rate))
        if not self.in_quote(instrument, side):
            return instrument.base, money(EXACT.multiply(quantity, rate))
        if self._asset in ("quote", "base", instrument.quote):
            return instrument.quote, in_quote
        price = prices.get(f"{self._asset}/{instrument.quote}")
        if price:
            amount = money(EXACT.divide(in_quote, Decimal(repr(price))))
            if account.free(self._asset) >= amount:
                return self._asset, amount
        return instrument.quote, in_quote
