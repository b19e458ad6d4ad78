"""What a fill does to its bot: cash and holding, the levels of the position, and the round trip it may end.

Position and cash come from here only. It places nothing.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from botd.bot.lifecycle import BotState, Desired
from botd.bot.stops import measure
from botd.domain.amounts import short
from botd.domain.candle import bucket_start
from botd.domain.events import Event
from botd.domain.order import Fill, Order, OrderStatus, Side
from botd.domain.position import Trade
from botd.execution.orders import NEVER_PLACED
from botd.ledger.records import amount
from botd.ledger.replay import DUST, FEE_VALUE

if TYPE_CHECKING:
    from botd.bot.bot import Bot


def book_fill(bot: Bot, order: Order, fill: Fill) -> Decimal:
    """Book a fill of ``bot`` and journal it; return the profit it realised, in quote."""
    position, journal = bot.book.position, bot.desk.journal
    bar = bot.desk.market.bar_index(*bot.lane, bucket_start(fill.time_ms, bot.length_ms))
    worth = _fee_value(bot, fill)
    applied = bot.book.apply(fill, reason=order.intent_reason, bar=bar, fee_value_quote=worth)
    if worth is not None:
        journal.adjustment(bot.number, fill.symbol, fill.trade_id, FEE_VALUE, worth, fill.time_ms)
    trade = applied.trade
    if fill.side is Side.BUY:
        measure(bot, fill)
        inside = order.type.has_limit and bot.desk.market.candle_feed and fill.time_ms < bot.desk.clock.now_ms()
        bot.guard.entered(position, bot.spec, float(_entry_price(bot, order, fill)), inside=inside)
    elif trade is None and not order.remaining:
        trade = _close_dust(bot, order, fill.price, fill.time_ms)
    if not bot.holds:
        bot.guard.cleared()
    journal.position(position)
    journal.book(bot.number, bot.book.cash, bot.book.realized_pnl, bot.book.fees)
    bot.log.info(
        "%s %s %s at %s fee %s %s (%s)",
        "bought" if fill.side is Side.BUY else "sold",
        fill.quantity,
        fill.symbol,
        short(fill.price),
        short(fill.fee),
        fill.fee_asset,
        order.intent_reason,
    )
    if applied.oversold:
        _warn_oversold(bot, order, fill, applied.oversold)
    if trade is not None:
        _end_trade(bot, trade, fill.time_ms)
    return applied.realized_pnl


def write_off_dust(bot: Bot, order: Order) -> None:
    """A sale ended before it was whole: what is left may be too little for another one."""
    price = order.average or order.price
    if order.side is Side.BUY or price is None or bot.desk.market.candle_feed:
        return
    now = bot.desk.clock.now_ms()
    trade = _close_dust(bot, order, price, now)
    if trade is None:
        return
    bot.guard.cleared()
    bot.desk.journal.position(bot.book.position)
    bot.desk.journal.book(bot.number, bot.book.cash, bot.book.realized_pnl, bot.book.fees)
    _end_trade(bot, trade, now)


def _close_dust(bot: Bot, order: Order, price: Decimal, time_ms: int) -> Trade | None:
    """Write off what is held where it cannot be sold, and no other sale works for it; return the round trip that
    ends by it."""
    if _is_offered(bot, order):
        return None
    book, held = bot.book, bot.book.position.quantity
    bar = bot.desk.market.bar_index(*bot.lane, bucket_start(time_ms, bot.length_ms))
    trade = book.close_dust(_least(bot, price), reason=order.intent_reason, bar=bar, time_ms=time_ms)
    if held and not book.position.quantity:
        bot.desk.journal.adjustment(bot.number, book.symbol, book.last_trade_id, DUST, held, time_ms)
    return trade


def _is_offered(bot: Bot, order: Order) -> bool:
    """Tell whether another sale than ``order`` works; the other leg of its pair ends with it."""
    ended = {order.client_order_id, getattr(bot.desk.gateway.table.partner(order), "client_order_id", "")}
    return any(o.side is Side.SELL and o.remaining and o.client_order_id not in ended for o in bot.orders())


def _least(bot: Bot, price: Decimal) -> Decimal:
    """Return the least that can be sold: where the exchange minds, what is worth its minimum notional."""
    instrument = bot.instrument
    if bot.desk.market.candle_feed:
        return instrument.step
    return max(instrument.step, instrument.min_notional / price)


def meet_resurrected(bot: Bot, order: Order, ended_as: OrderStatus) -> None:
    """Meet an order that lives after its end. Where it was thought never to have been placed, all that was decided
    since was decided on wrong books: no entries until a person has looked."""
    if bot.holds:
        bot.watch()
    if ended_as in NEVER_PLACED and bot.state in (BotState.RUNNING, BotState.DEGRADED):
        bot.record.desired = Desired.PAUSED.value
        bot.cancel_entries()
        bot.move(BotState.PAUSED, f"order {order.client_order_id} lives, it was {ended_as.value}")


def _entry_price(bot: Bot, order: Order, fill: Fill) -> Decimal:
    """Return what the levels count from: the order's own average, or that of a holding built by several."""
    position = bot.book.position
    if position.bought_quantity == fill.quantity or position.entry_price is None:
        return fill.price
    if position.bought_quantity == order.filled and not position.sold_quantity and order.average is not None:
        return order.average
    return position.entry_price


def _end_trade(bot: Bot, trade: Trade, time_ms: int) -> None:
    bot.trades += 1
    bot.desk.journal.trade(trade)
    data = {"symbol": trade.symbol, "pnl": amount(trade.pnl), "exit_reason": trade.exit_reason}
    bot.desk.journal.event(Event(topic="trade.closed", time_ms=time_ms, bot=bot.name, data=data))
    bot.desk.monitors.on_trade_closed(bot.number, trade.pnl, bot.desk.clock.now_ms())


def _warn_oversold(bot: Bot, order: Order, fill: Fill, oversold: Decimal) -> None:
    """More was sold than the book held: coins that are not this bot's went."""
    bot.log.warning("sold %s %s beyond the holding", oversold, bot.instrument.base)
    data = {"symbol": fill.symbol, "quantity": amount(oversold), "client_order_id": order.client_order_id}
    bot.desk.journal.event(Event(topic="book.oversold", time_ms=fill.time_ms, bot=bot.name, data=data))


def _fee_value(bot: Bot, fill: Fill) -> Decimal | None:
    """Return the worth in quote of a fee paid in a third asset, None where its price is unknown."""
    if fill.fee_asset in (bot.instrument.quote, bot.instrument.base):
        return None
    quote = bot.desk.market.quote(f"{fill.fee_asset}/{bot.instrument.quote}")
    if quote is not None:
        return fill.fee * Decimal(repr(quote.last))
    unit, currency = bot.desk.worth(fill.fee_asset), bot.desk.worth(bot.instrument.quote)  # in the account's
    if unit and currency:
        return fill.fee * unit / currency
    bot.log.warning("a fee of %s %s counts as nothing: nobody knows its price", short(fill.fee), fill.fee_asset)
    return None
