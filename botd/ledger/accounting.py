"""A bot's money and holding, moved by fills only; exact decimals, average cost.

Always, to the last digit: ``cash = capital + realized_pnl - position.cost``. Realised profit is net of
fees, so an entry's fee is a realised loss at once. It may not read prices, clocks or the database: it is pure.

    fee in quote    leaves cash and realised profit
    fee in base     leaves the holding; what is left costs the same
    third asset     leaves cash and realised profit at its value in quote, where the caller knows one: the
                    account pays it from elsewhere, the bot still owes it
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal

import msgspec

from botd.domain.amounts import EXACT, money
from botd.domain.instrument import ZERO, split_symbol
from botd.domain.order import Fill, Side
from botd.domain.position import Position, Trade

_PRICE = Context(prec=18, rounding=ROUND_HALF_EVEN)


class Applied(msgspec.Struct, frozen=True, kw_only=True):
    """What a fill did: the profit it realised, and the round trip it ended.

    ``oversold`` is what was sold beyond the holding: zero, unless somebody else's coins went.
    """

    realized_pnl: Decimal
    trade: Trade | None = None
    oversold: Decimal = ZERO


class BotBook:
    """One bot's cash, profit, fees and position in one symbol."""

    def __init__(
        self,
        bot: int,
        symbol: str,
        capital: Decimal,
        *,
        cash: Decimal | None = None,
        realized_pnl: Decimal = ZERO,
        fees: Decimal = ZERO,
        position: Position | None = None,
    ) -> None:
        """A new book has its capital as cash; one from the ledger is given as it was."""
        self.bot = bot
        self.symbol = symbol
        self.capital = capital
        self.cash = capital if cash is None else cash
        self.realized_pnl = realized_pnl
        self.fees = fees
        self.position = position or Position(bot=bot, symbol=symbol)
        self.dust = ZERO
        """Base units written off as too small to sell, since this book was made."""
        self.last_trade_id = ""
        """The last fill booked since this book was made."""
        self._base, self._quote = split_symbol(symbol)

    def apply(self, fill: Fill, *, reason: str, bar: int, fee_value_quote: Decimal | None = None) -> Applied:
        """Book a fill. ``reason`` and ``bar`` (index of its candle) are told by the trade it may open or end.

        ``fee_value_quote`` is the worth of a fee in a third asset; the fee is not counted without it.
        """
        position, self.last_trade_id = self.position, fill.trade_id
        if fill.side is Side.BUY and not position.quantity and not position.bought_quantity:
            position.entry_time_ms, position.entry_bar = fill.time_ms, bar
        base_fee, quote_fee, worth = self._fee(fill, fee_value_quote)
        oversold = ZERO
        if fill.side is Side.BUY:
            realized = self._buy(fill, base_fee)
        else:
            realized, oversold = self._sell(fill, base_fee)
        realized = EXACT.subtract(realized, quote_fee)
        self.cash = EXACT.subtract(self.cash, quote_fee)
        self._realize(realized, worth)
        trade = None
        if not position.quantity and fill.side is Side.SELL:
            trade = self._end_trade(fill.time_ms, reason, bar)
        return Applied(realized_pnl=realized, trade=trade, oversold=oversold)

    def close_dust(self, step: Decimal, *, reason: str, bar: int, time_ms: int) -> Trade | None:
        """Count a remainder below ``step`` as flat: its cost is a realised loss. Return the trade it ends."""
        position = self.position
        if not ZERO < position.quantity < step:
            return None
        self.dust = EXACT.add(self.dust, position.quantity)
        self._realize(EXACT.minus(position.cost), ZERO)
        return self._end_trade(time_ms, reason, bar)

    def equity(self, price: Decimal) -> Decimal:
        """Return cash plus the holding at ``price``."""
        if not self.position.quantity:
            return self.cash
        return EXACT.add(self.cash, money(EXACT.multiply(self.position.quantity, price)))

    def unrealized_pnl(self, price: Decimal) -> Decimal:
        """Return what the holding is worth at ``price`` above its cost."""
        return EXACT.subtract(money(EXACT.multiply(self.position.quantity, price)), self.position.cost)

    def change_capital(self, capital: Decimal) -> None:
        """Give the bot more or less to trade with; profit and holding stay."""
        self.cash = EXACT.add(self.cash, EXACT.subtract(capital, self.capital))
        self.capital = capital

    # -- inside

    def _fee(self, fill: Fill, fee_value_quote: Decimal | None) -> tuple[Decimal, Decimal, Decimal]:
        """Return the fee in base units, the fee in quote, and what counts as fees paid, in quote."""
        if fill.fee_asset == self._base:
            return fill.fee, ZERO, money(EXACT.multiply(fill.fee, fill.price))
        if fill.fee_asset == self._quote:
            fee = money(fill.fee)
        else:
            fee = money(fee_value_quote) if fee_value_quote is not None else ZERO
        return ZERO, fee, fee

    def _buy(self, fill: Fill, base_fee: Decimal) -> Decimal:
        position = self.position
        notional = EXACT.multiply(fill.quantity, fill.price)
        paid = money(notional)
        position.quantity = EXACT.add(position.quantity, EXACT.subtract(fill.quantity, base_fee))
        position.cost = EXACT.add(position.cost, paid)
        position.bought_quantity = EXACT.add(position.bought_quantity, fill.quantity)
        position.bought_notional = EXACT.add(position.bought_notional, notional)
        self.cash = EXACT.subtract(self.cash, paid)
        return ZERO

    def _sell(self, fill: Fill, base_fee: Decimal) -> tuple[Decimal, Decimal]:
        """Return the profit before the fee, and what was sold beyond the holding."""
        position = self.position
        notional = EXACT.multiply(fill.quantity, fill.price)
        received = money(notional)
        gone = EXACT.add(fill.quantity, base_fee)
        held = position.quantity
        if gone >= held:
            cost, position.quantity = position.cost, ZERO
        else:
            cost = money(EXACT.divide(EXACT.multiply(position.cost, gone), held))
            position.quantity = EXACT.subtract(held, gone)
        position.cost = EXACT.subtract(position.cost, cost)
        position.sold_quantity = EXACT.add(position.sold_quantity, fill.quantity)
        position.sold_notional = EXACT.add(position.sold_notional, notional)
        self.cash = EXACT.add(self.cash, received)
        return EXACT.subtract(received, cost), max(ZERO, EXACT.subtract(gone, held))

    def _realize(self, realized: Decimal, fee: Decimal) -> None:
        position = self.position
        self.realized_pnl = EXACT.add(self.realized_pnl, realized)
        self.fees = EXACT.add(self.fees, fee)
        position.realized_pnl = EXACT.add(position.realized_pnl, realized)
        position.fees = EXACT.add(position.fees, fee)

    def _end_trade(self, time_ms: int, reason: str, bar: int) -> Trade | None:
        """Return the round trip that ended, and make the position ready for the next one."""
        position = self.position
        trade = None
        if position.bought_quantity:  # else a sale without a purchase of ours: nothing went round
            entry = average(position.bought_notional, position.bought_quantity)
            sold = position.sold_quantity
            trade = Trade(
                bot=self.bot,
                symbol=self.symbol,
                quantity=position.bought_quantity,
                entry_time_ms=position.entry_time_ms,
                exit_time_ms=time_ms,
                entry_price=entry,
                exit_price=average(position.sold_notional, sold) if sold else entry,
                pnl=position.realized_pnl,
                return_pct=float(position.realized_pnl) / float(position.bought_notional) * 100,
                fees=position.fees,
                exit_reason=reason,
                bars=bar - position.entry_bar,
            )
        _clear(position)
        return trade


def average(notional: Decimal, quantity: Decimal) -> Decimal:
    """Return the mean price: exact for a single fill, else to 18 digits."""
    return _PRICE.divide(notional, quantity)


def _clear(position: Position) -> None:
    """Make a position flat and free of levels, in place: the guard keeps looking at the same one."""
    fresh = Position(bot=position.bot, symbol=position.symbol)
    for name in Position.__struct_fields__:
        setattr(position, name, getattr(fresh, name))
