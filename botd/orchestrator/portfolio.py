"""The account and its bots as one portfolio: what the risk gate asks and what ``portfolio`` shows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING

from botd.domain.instrument import ZERO, split_symbol
from botd.domain.order import Order, Purpose
from botd.exchange.exchange import Exchange
from botd.execution.gateway import Gateway
from botd.market.manager import MarketManager

if TYPE_CHECKING:
    from botd.bot.bot import Bot


class Portfolio:
    """Answers :class:`botd.risk.portfolio_view.PortfolioView`; None where a price is missing."""

    def __init__(
        self,
        exchange: Exchange,
        gateway: Gateway,
        market: MarketManager,
        bots: Callable[[], Iterable[Bot]],
        currency: str,
    ) -> None:
        """``currency`` is what everything is valued in (USDT)."""
        self._exchange = exchange
        self._gateway = gateway
        self._market = market
        self._bots = bots
        self.currency = currency

    def price(self, asset: str) -> Decimal | None:
        """Return the worth of one unit of ``asset`` in the account's currency."""
        if asset == self.currency:
            return Decimal(1)
        quote = self._market.quote(f"{asset}/{self.currency}")
        return None if quote is None else Decimal(repr(quote.bid))

    def account_cash(self) -> Decimal:
        """Return what the account holds of its currency."""
        balance = self._exchange.balances().get(self.currency)
        return balance.total if balance else ZERO

    def account_equity(self) -> Decimal | None:
        """Return the worth of all balances."""
        total = ZERO
        for asset, balance in self._exchange.balances().items():
            if not balance.total:
                continue
            price = self.price(asset)
            if price is None:
                return None
            total += balance.total * price
        return total

    def free(self, asset: str) -> Decimal:
        """Return what may be spent of ``asset``."""
        balance = self._exchange.balances().get(asset)
        return balance.free if balance else ZERO

    def open_orders(self, symbol: str | None = None, bot: int | None = None) -> list[Order]:
        """Return working orders of ours."""
        return self._gateway.open_orders(symbol, bot)

    def gross_exposure(self) -> Decimal | None:
        """Return the worth of all positions and of what working entries may still buy."""
        return self._exposure(self._bots(), self._gateway.open_orders())

    def symbol_exposure(self, symbol: str) -> Decimal | None:
        """Return the same for one symbol."""
        bots = [bot for bot in self._bots() if bot.spec.symbol == symbol]
        return self._exposure(bots, self._gateway.open_orders(symbol))

    def position_value(self, bot: Bot) -> Decimal | None:
        """Return the worth of a bot's holding in its quote currency, None without a price."""
        quantity = bot.book.position.quantity
        if not quantity:
            return ZERO
        quote = self._market.quote(bot.spec.symbol)
        return None if quote is None else quantity * Decimal(repr(quote.bid))

    def unassigned(self) -> list[dict[str, str]]:
        """Return what the account holds and no bot claims (after ``rm --force``, dust, deposits)."""
        claimed: dict[str, Decimal] = {}
        for bot in self._bots():
            base, _ = split_symbol(bot.spec.symbol)
            claimed[base] = claimed.get(base, ZERO) + bot.book.position.quantity
        rows = []
        for asset, balance in self._exchange.balances().items():
            rest = balance.total - claimed.get(asset, ZERO)
            if asset != self.currency and rest:
                price = self.price(asset)
                value = None if price is None else f"{(rest * price).quantize(Decimal('0.01')):f}"
                rows.append({"asset": asset, "quantity": f"{rest:f}", "value": value or ""})
        return rows

    def _exposure(self, bots: Iterable[Bot], orders: Iterable[Order]) -> Decimal | None:
        total = ZERO
        for bot in bots:
            if bot.book.position.quantity:
                value = self.position_value(bot)
                if value is None:
                    return None
                total += value
        for order in orders:
            if order.purpose is Purpose.ENTRY:
                value = self._order_value(order)
                if value is None:
                    return None
                total += value
        return total

    def _order_value(self, order: Order) -> Decimal | None:
        if order.price is not None:
            return order.remaining * order.price
        quote = self._market.quote(order.symbol)
        return None if quote is None else order.remaining * Decimal(repr(quote.last))


def labels_match(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    """Tell whether all wanted labels are there with their values."""
    return all(labels.get(key) == value for key, value in wanted.items())
