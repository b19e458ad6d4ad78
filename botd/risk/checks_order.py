"""Checks of the order itself and of its neighbours: filters, collar, open orders, rates, repeats, self trade."""

from __future__ import annotations

import math
from collections.abc import Iterable
from decimal import Decimal

from botd.domain import rules
from botd.domain.instrument import Instrument
from botd.domain.order import Intent, Order, OrderType, Side, pairs_as_one
from botd.risk.case import Case, Limits, number
from botd.risk.windows import ACCOUNT_BURST, BOT_BURST, DAY_MS, HOUR_MS, LONGEST_WAIT_S, Signature

MOST_STEPS = 10**18
"""No order has so many steps or ticks; more would be beyond exact arithmetic."""

ROUNDING = 1e-9
"""What binary rounding may add to a share: 102 / 100 - 1 is not above 2 %."""


def filters(case: Case, limits: Limits) -> str:
    """The numbers are numbers, and the exchange's filters take the order. Rounds down to the step."""
    request, intent, instrument = case.request, case.intent, case.instrument
    refusal = ""
    if not (math.isfinite(request.slippage) and 0 <= request.slippage < 1):
        refusal = f"slippage {request.slippage} must be from 0 to 1"
    elif not (math.isfinite(request.fee) and 0 <= request.fee < 1):
        refusal = f"fee {request.fee} must be from 0 to 1"
    elif intent.type.has_trigger and not (intent.stop_price and intent.stop_price.is_finite()):
        refusal = f"stop price {intent.stop_price} must be finite and above zero"
    else:
        refusal = unreasonable(request.quantity, case.price, instrument)
    if not refusal:
        case.quantity = instrument.floor_quantity(request.quantity)
        price = order_price(intent, case.price)
        refusal = instrument.refusal(case.quantity or request.quantity, price, limit_price=intent.type.has_limit)
    if not refusal and intent.type is not OrderType.MARKET:
        refusal = _too_many(case)
    if refusal:
        return case.failed("filters", "FILTER", str(request.quantity), "the exchange's filters", refusal)
    if case.quantity != request.quantity:
        detail = f"rounded down from {request.quantity:f} to the step {instrument.step:f}"
        return case.passed("filters", str(case.quantity), "the exchange's filters", detail)
    return case.passed("filters", str(case.quantity), "the exchange's filters")


def unreasonable(quantity: Decimal, price: float, instrument: Instrument) -> str:
    """Return why a quantity or price is no number to calculate with, or an empty string."""
    if not quantity.is_finite() or quantity <= 0 or not math.isfinite(price) or price <= 0:
        return f"quantity {quantity} and price {price} must be finite and above zero"
    if instrument.step and quantity > instrument.step * MOST_STEPS:
        return f"quantity {quantity} is more than any order has"
    if instrument.tick and price > float(instrument.tick) * MOST_STEPS:
        return f"price {price} is more than any order has"
    return ""


def order_price(intent: Intent, price: float) -> Decimal:
    """Return the price for the filters, exact where the order carries one."""
    if intent.type.has_limit and intent.price is not None:
        return intent.price
    return Decimal(repr(float(price)))


def price_collar(case: Case, limits: Limits) -> str:
    """A limit price is not far above the market, and a market order is not expected to slip far."""
    part = "limit" if case.intent.type.has_limit else "market"
    limit = limits.get(part)
    if limit is None:
        return ""
    value = case.price / case.intent.reference_price - 1.0 if part == "limit" else case.slippage
    if not value <= limit + ROUNDING:
        detail = f"{part} {'price above the market' if part == 'limit' else 'slippage'} {value:.3%}, limit {limit:.3%}"
        return case.failed("price_collar", "PRICE_COLLAR", value, limit, detail)
    return case.passed("price_collar", value, limit)


def max_open_orders(case: Case, limits: Limits) -> str:
    """The order finds room among the resting ones. A market order never rests: it needs none."""
    gate, portfolio = "max_open_orders", case.portfolio
    if case.intent.type is OrderType.MARKET:
        return case.passed(gate, "market order", None)
    seen: list[tuple[float, float]] = []
    for part, limit in limits.items():
        if part == "symbol":
            orders = portfolio.open_orders(symbol=case.symbol)
        else:
            orders = portfolio.open_orders(bot=case.bot) if part == "bot" else portfolio.open_orders()
        count = resting(pairs_as_one(orders))
        if not count + 1 <= limit:
            detail = f"{count} resting orders of the {part}, limit {limit:g}"
            return case.failed(gate, "MAX_OPEN_ORDERS", float(count), limit, detail)
        seen.append((float(count), limit))
    return case.passed(gate, *min(seen, key=lambda one: one[1] - one[0]))  # the one with the least room is shown


def rate_limit(case: Case, limits: Limits) -> str:
    """The bot and the account do not send too fast; a wait of up to 30 s is noted in ``delay_s``."""
    buckets = (("bot", case.bot, BOT_BURST), ("account", 0, ACCOUNT_BURST))
    delay_s = case.desk.rates.delay_s
    wait = max(delay_s(bot, limits[part], burst, case.now_ms) for part, bot, burst in buckets if part in limits)
    if not wait <= LONGEST_WAIT_S:
        detail = f"would wait {wait:.1f} s for its turn, limit {LONGEST_WAIT_S:g} s"
        return case.failed("rate_limit", "RATE_LIMIT", wait, LONGEST_WAIT_S, detail)
    case.delay_s = wait
    return case.passed("rate_limit", wait, LONGEST_WAIT_S, f"queued for {wait:.1f} s" if wait else "")


def signature(case: Case) -> Signature:
    """Return what makes another order the same as this one."""
    intent = case.intent
    price = "" if intent.price is None else f"{intent.price.normalize():f}"
    return (str(intent.side), str(intent.type), f"{case.request.quantity.normalize():f}", price)


def duplicate_order(case: Case, limits: Limits) -> str:
    """The bot has not just placed the very same order. Windows in seconds."""
    window = limits.get("market" if case.intent.type is OrderType.MARKET else "limit")
    if window is None:
        return ""
    age_ms = case.desk.entries.age_ms(case.bot, signature(case), case.now_ms)
    if age_ms is not None and age_ms < window * 1000:
        detail = f"the same order was placed {age_ms / 1000:g} s ago, limit {window:g} s"
        return case.failed("duplicate_order", "DUPLICATE_ORDER", age_ms / 1000, window, detail)
    return case.passed("duplicate_order", None if age_ms is None else age_ms / 1000, window)


def repeated_execution(case: Case, limits: Limits) -> str:
    """The bot does not enter over and over; a strategy may declare that it does."""
    entries, declared = case.desk.entries, case.request.declared_entries
    seen: list[tuple[float, float]] = []
    for part, span_ms, normal in (("hour", HOUR_MS, declared[0]), ("day", DAY_MS, declared[1])):
        if part not in limits:
            continue
        limit, count = max(limits[part], float(normal)), entries.count(case.bot, span_ms, case.now_ms)
        if not count < limit:
            detail = f"{count} entries in the last {part}, limit {limit:g}"
            return case.failed("repeated_execution", "REPEATED_EXECUTION", float(count), limit, detail)
        seen.append((float(count), limit))
    return case.passed("repeated_execution", *seen[0])


def self_trade(case: Case, limits: Limits) -> str:
    """The order would not meet an order of another bot."""
    price = buying_price(case.intent, case.slippage)
    for order in case.portfolio.open_orders(symbol=case.symbol):
        if order.bot != case.bot and order.side is Side.SELL and _rests(order) and not number(order.price) > price:
            detail = f"would hit {order.client_order_id} of bot {order.bot}, a sell at {order.price}"
            return case.failed("self_trade", "SELF_TRADE", price, number(order.price), detail)
    return case.passed("self_trade", price, None)


def met_by_exit(intent: Intent, slippage: float, orders: Iterable[Order]) -> list[str]:
    """Return the client ids of other bots' resting buys that a sale would hit as it is placed.

    A stop that waits for its level hits none: the price meets every buy above that level before it.
    """
    if intent.type.has_trigger and intent.trigger_price is None:
        return []
    if intent.type.has_limit:
        price = number(intent.price)
    else:
        reference = intent.trigger_price if intent.trigger_price is not None else intent.reference_price
        price = rules.sell_price(reference, slippage)
    return [
        order.client_order_id
        for order in orders
        if order.bot != intent.bot and order.side is Side.BUY and _rests(order) and number(order.price) >= price
    ]


def buying_price(intent: Intent, slippage: float) -> float:
    """Return the highest price that an entry is ready to pay."""
    if intent.type.has_limit:
        return number(intent.price)
    return rules.buy_price(intent.reference_price, slippage)


def resting(orders: Iterable[Order]) -> int:
    """Count the orders that wait on the exchange for a price, each leg of a pair, as its own filter does."""
    return sum(1 for order in orders if order.type is not OrderType.MARKET)


def _rests(order: Order) -> bool:
    return order.type in (OrderType.LIMIT, OrderType.LIMIT_MAKER) and order.price is not None


def _too_many(case: Case) -> str:
    orders = list(case.portfolio.open_orders(symbol=case.symbol))
    count = resting(orders)
    if count >= case.instrument.max_orders:
        return f"MAX_NUM_ORDERS: {count} orders of {case.symbol} rest, the exchange takes {case.instrument.max_orders}"
    if case.intent.type.has_trigger:
        waiting = sum(1 for order in orders if order.type.has_trigger)
        if waiting >= case.instrument.max_algo_orders:
            most = case.instrument.max_algo_orders
            return f"MAX_NUM_ALGO_ORDERS: {waiting} stop orders of {case.symbol} wait, the exchange takes {most}"
    return ""
