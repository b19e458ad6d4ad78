"""From what a bot wants to an order: the risk gate is asked, and what it lets through goes to the gateway.

It decides nothing itself; a denial is put on record, the first of a series, and the others are counted.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from botd.bot.intents import risk_request
from botd.domain.order import Intent, Order
from botd.risk.case import Verdict

if TYPE_CHECKING:
    from botd.bot.bot import Bot


def place(bot: Bot, intent: Intent, quantity: Decimal) -> tuple[Order | None, Verdict]:
    """Ask the gate, then send: the one way of every order of a bot, beside its pairs."""
    verdict = _judged(bot, intent, quantity)
    if not verdict.allowed:
        return None, verdict
    delay_s = 0.0 if bot.desk.market.candle_feed else verdict.delay_s
    return bot.desk.gateway.submit(intent, verdict.quantity, delay_s), verdict


def place_pair(bot: Bot, stop: Intent, target: Intent, quantity: Decimal) -> list[Order]:
    """Do the same with two sales of which one ends the other: both go, or neither."""
    for intent in (stop, target):
        if _judged(bot, intent, quantity).quantity != quantity:
            return []
    return bot.desk.gateway.submit_pair(stop, target, quantity)


def _judged(bot: Bot, intent: Intent, quantity: Decimal) -> Verdict:
    """Ask the gate; what stands in the way of an order that may go is cancelled."""
    desk = bot.desk
    verdict = desk.gate.decide(risk_request(bot, intent, quantity))
    if not verdict.allowed:
        return _denied(bot, intent, quantity, verdict)
    bot.denials.end()
    for client_order_id in verdict.cancel_first:
        for order in desk.gateway.open_orders(bot.spec.symbol):
            if order.client_order_id == client_order_id:
                order.reason = f"taken back: {bot.name} trades the other way on the account"
                desk.gateway.cancel(order)
    return verdict


def _denied(bot: Bot, intent: Intent, quantity: Decimal, verdict: Verdict) -> Verdict:
    """Put a denial on record; the verdict says how often it was in a row."""
    first, verdict = bot.denials.add(verdict, intent.side, bot.desk.clock.now_ms())
    if first:
        bot.desk.gateway.deny(intent, quantity, verdict.code, **verdict.told)
        bot.log.info("denied %s %s: %s", intent.side, quantity, verdict.code)
    return verdict
