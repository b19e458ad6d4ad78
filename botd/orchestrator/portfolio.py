"""The account and its bots as one portfolio: what the risk gate asks and what ``portfolio`` shows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING

from botd.domain.instrument import ZERO, split_symbol
from botd.domain.order import Order
from botd.exchange.exchange import Exchange
from botd.execution.gateway import Gateway
from botd.ledger.records import amount
from botd.market.manager import MarketManager
from botd.orchestrator.exposure import Exposure, Sums

if TYPE_CHECKING:
    from botd.bot.bot import Bot


class Portfolio:
    """Answers :class:`botd.risk.portfolio_view.PortfolioView`; None where a price is missing."""

    def __init__(
        self,
        exchange: Exchange,
        gateway: Gateway,
        market: MarketManager,
        bots: Callable[[], Collection[Bot]],
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
        self._exposure = Exposure(gateway.open_orders, bots)
        gateway.watch(self._exposure.note)

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
        total = ZERO
        for symbol, sums in self._exposure.sums().items():
            worth = self._worth_of(symbol, sums)
            if worth is None:
                return None
            total += worth
        return total

    def symbol_exposure(self, symbol: str) -> Decimal | None:
        """Return the same for one symbol."""
        sums = self._exposure.sums().get(symbol)
        return ZERO if sums is None else self._worth_of(symbol, sums)

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

    def _worth_of(self, symbol: str, sums: Sums) -> Decimal | None:
        """Return what is held and wanted of a symbol in quote, None without a price."""
        total = sums.limited
        for quantity, price_of in ((sums.held, self.bid), (sums.at_market, self._last)):
            if quantity:
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
