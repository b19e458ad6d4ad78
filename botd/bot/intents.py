"""What a bot asks for, in the words of the gate and the gateway: intents and risk requests. It sends nothing."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from botd.bot.lifecycle import BotState
from botd.bot.stops import range_now
from botd.domain.order import Intent, OrderType, Purpose, Side
from botd.risk.case import RiskRequest
from botd.risk.sizing import Sized, size_entry

if TYPE_CHECKING:
    from botd.bot.bot import Bot

_TYPE_OF_REASON = {
    "take_profit": OrderType.TAKE_PROFIT,
    "stop_loss": OrderType.STOP_LOSS,
    "trailing_stop": OrderType.STOP_LOSS,
}


def market_entry(bot: Bot, price: float) -> Intent:
    """Return the intent to buy at market, decided at ``price``."""
    return Intent(
        bot=bot.number,
        symbol=bot.spec.symbol,
        interval=bot.spec.interval,
        side=Side.BUY,
        type=OrderType.MARKET,
        purpose=Purpose.ENTRY,
        reason="signal",
        reference_price=price,
    )


def entry_size(bot: Bot, price: float) -> Sized:
    """Return the entry quantity by the spec's sizing at the price of the decision."""
    return size_entry(
        bot.spec,
        cash=bot.book.cash,
        equity=bot.book.equity(Decimal(repr(price))),
        price=price,
        slippage=bot.desk.slippage,
        fee=bot.desk.taker_fee,
        instrument=bot.instrument,
        margin=bot.desk.gate.settings.funds_margin(bot.number),
        atr=range_now(bot),
    )


def largest_entry(bot: Bot, price: float) -> tuple[Decimal, str]:
    """Return the most that an entry at ``price`` may buy now, and the risk control that sets it, if one does."""
    wanted = entry_size(bot, price).quantity
    most, control = bot.desk.gate.largest(risk_request(bot, market_entry(bot, price), wanted))
    return (most, control) if control and most < wanted else (wanted, "")


def exit_of_all(bot: Bot, reason: str, reference: float, trigger: float | None) -> Intent:
    """Return the intent to sell; ``trigger`` is the level reached, at which a candle feed fills at once."""
    at_level = bot.desk.market.candle_feed and trigger is not None
    return Intent(
        bot=bot.number,
        symbol=bot.spec.symbol,
        interval=bot.spec.interval,
        side=Side.SELL,
        type=_TYPE_OF_REASON.get(reason, OrderType.MARKET) if at_level else OrderType.MARKET,
        purpose=Purpose.EXIT,
        reason=reason,
        reference_price=reference,
        trigger_price=trigger if at_level else None,
    )


def risk_request(bot: Bot, intent: Intent, quantity: Decimal) -> RiskRequest:
    """Return the question to the risk gate, with all that it must know."""
    desk, market = bot.desk, bot.desk.market
    limit_ms = desk.freshness_ms(bot.spec.interval)
    return RiskRequest(
        intent=intent,
        spec=bot.spec,
        quantity=quantity,
        instrument=bot.instrument,
        now_ms=desk.clock.now_ms(),
        bot_cash=bot.book.cash,
        bot_equity=bot.book.equity(Decimal(repr(intent.reference_price))),
        slippage=desk.slippage,
        fee=desk.taker_fee,
        stale_ms=market.stale(bot.spec.symbol, limit_ms),
        freshness_limit_ms=limit_ms,
        not_ready=[*desk.not_ready(), *market.doubts(bot.spec.symbol), *_troubles(bot)],
        volume=desk.minute_volume(bot.spec.symbol),
        exits_any_size=market.candle_feed,
        declared_entries=bot.declared_entries,
        portfolio=desk.portfolio,
        unarmed=desk.unarmed(),
        most_held=desk.most_held(),
        exchange_degraded=desk.exchange_trouble(),
    )


def _troubles(bot: Bot) -> list[str]:
    """Return why a degraded bot may not enter: whatever its state, while the account's books differ in its assets."""
    if said := bot.desk.difference(bot.number):
        return [said]
    return [bot.record.reason or bot.state.value] if bot.state is BotState.DEGRADED else []
