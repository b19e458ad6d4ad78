"""The account and its bots as one portfolio: what the risk gate asks and what ``portfolio`` shows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING

from botd.domain.instrument import ZERO, split_symbol
from botd.domain.order import Order, Purpose
from botd.exchange.exchange import Exchange
from botd.execution.gateway import Gateway
from botd.ledger.records import amount
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
        worth: Callable[[str], Decimal | None] | None = None,
    ) -> None:
        """``currency`` is what everything is valued in (USDT); ``worth`` values assets that the market does not."""
        self._exchange = exchange
        self._gateway = gateway
        self._market = market
        self._bots = bots
        self._worth = worth
        self.currency = currency
        self._bids: dict[str, tuple[float, Decimal]] = {}

    def price(self, asset: str) -> Decimal | None:
        """Return the worth of one unit of ``asset`` in the account's currency."""
        if asset == self.currency:
            return Decimal(1)
        bid = self.bid(f"{asset}/{self.currency}")
        return self._worth(asset) if bid is None and self._worth is not None else bid

    def bid(self, symbol: str) -> Decimal | None:
        """Return what a unit sells for now, None where there is no price; made exact once a price."""
        quote = self._market.quote(symbol)
        if quote is None:
            return None
        known = self._bids.get(symbol)
        if known is None or known[0] != quote.bid:
            known = self._bids[symbol] = (quote.bid, Decimal(repr(quote.bid)))
        return known[1]

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
        if balance is None:
            return ZERO
        if self._exchange.in_process:
            return balance.free
        # What the exchange told last may be older than our own orders.
        bound = self._gateway.table.reserved(self._last).get(asset, ZERO)
        return max(ZERO, min(balance.free, balance.total - bound))

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
        bid = self.bid(bot.spec.symbol)
        return None if bid is None else quantity * bid

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
                rows.append({"asset": asset, "quantity": amount(rest), "value": value or ""})
        return rows

    def _exposure(self, bots: Iterable[Bot], orders: Iterable[Order]) -> Decimal | None:
        """Return the worth of what ``bots`` hold and entries among ``orders`` may buy; each price is asked once."""
        total = ZERO
        held: dict[str, Decimal] = {}
        wanted: dict[str, Decimal] = {}
        for bot in bots:
            if quantity := bot.book.position.quantity:
                held[bot.spec.symbol] = held.get(bot.spec.symbol, ZERO) + quantity
        for order in orders:
            if order.purpose is Purpose.ENTRY:
                if order.price is not None:
                    total += order.remaining * order.price
                else:
                    wanted[order.symbol] = wanted.get(order.symbol, ZERO) + order.remaining
        for quantities, price_of in ((held, self.bid), (wanted, self._last)):
            for symbol, quantity in quantities.items():
                price = price_of(symbol)
                if price is None:
                    return None
                total += quantity * price
        return total

    def _last(self, symbol: str) -> Decimal | None:
        quote = self._market.quote(symbol)
        return None if quote is None else Decimal(repr(quote.last))


def labels_match(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    """Tell whether all wanted labels are there with their values."""
    return all(labels.get(key) == value for key, value in wanted.items())
