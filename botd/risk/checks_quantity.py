"""Limits of quantity: they cut an entry down, and refuse only what is then below the exchange's minimum.

Each limit is a function of the case that returns its *room*: what may still be spent (cost, with slippage
and fee), held (value at the price) or bought (quantity). One function applies them all. Room that is
unknown, infinite or no number lets nothing through.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from typing import NamedTuple

from botd.domain.order import Side
from botd.risk.case import Case, Limits, known, number
from botd.risk.sizing import affordable, below_minimum, cost, whole_quantity


class Room(NamedTuple):
    """``kind``: cost, value or quantity. ``amount`` may still be used; ``used`` is what already is."""

    kind: str
    amount: float
    used: float = 0.0


RoomOf = Callable[[Case, Limits], Room]


def order_value(case: Case, limits: Limits) -> Room:
    """A share of the bot's equity (presets paper, off) or of the account's; or an amount."""
    limit = limits["value"]
    if limit > 1.0:
        return Room("cost", limit)
    equity = number(case.request.bot_equity) if case.desk.own_equity else case.account_equity
    return Room("cost", equity * limit)


def order_size(case: Case, limits: Limits) -> Room:
    """A share of the last minute's volume."""
    return Room("quantity", number(case.request.volume) * limits["value"])


def position(case: Case, limits: Limits) -> Room:
    """What all bots may hold of the symbol, less what they hold and have on order."""
    used = _held(case.portfolio.symbol_exposure(case.symbol))
    return Room("value", _of_account(case, limits["value"]) - used, used)


def exposure(case: Case, limits: Limits) -> Room:
    """What the account may hold altogether, or was armed for, less what it holds and has on order."""
    used = _held(case.portfolio.gross_exposure())
    most, armed_for = _of_account(case, limits["value"]), case.request.most_held
    return Room("value", (most if armed_for is None else least(most, number(armed_for))) - used, used)


def funds(case: Case, limits: Limits) -> Room:
    """The account's free quote less the margin."""
    free = number(case.portfolio.free(case.instrument.quote))
    return Room("cost", free * (1.0 - limits["margin"]))


def budget(case: Case, limits: Limits) -> Room:
    """What the bot may use, less what it has invested and what its open entries will take."""
    equity, cash = number(case.request.bot_equity), number(case.request.bot_cash)
    capital = equity if case.desk.own_equity else number(case.request.spec.capital)
    base = least(equity, capital)
    reserved = _reserved(case)
    kept_back = equity - base * limits["value"]  # 0 where the bot may use all it has: cash stays exact
    # More cash than worth cannot be on a long-only book; were it so, the worth is what counts.
    return Room("cost", least(cash - kept_back - reserved, base * limits["value"]), equity - cash + reserved)


def least(one: float, other: float) -> float:
    """Return the smaller; NaN where either is NaN (``min`` would let the other one through)."""
    return math.nan if math.isnan(one) or math.isnan(other) else min(one, other)


def limit_quantity(name: str, code: str, room_of: RoomOf) -> Callable[[Case, Limits], str]:
    """Return the check that cuts an entry to the room of one control."""

    def check(case: Case, limits: Limits) -> str:
        room = room_of(case, limits)
        wanted = case.quantity
        used = _size(room.kind, wanted, case)
        if not known(room.amount):
            return case.failed(name, code, used, None, f"{name}: the limit is unknown (a price or volume is missing)")
        most = most_quantity(case, room)
        value, limit = room.used + used, room.used + room.amount
        if wanted <= most:
            return case.passed(name, value, limit)
        detail = f"shrunk from {wanted:f} to {most:f} by {name}"
        if below_minimum(most, case.price, case.instrument):
            least = f"{case.instrument.min_notional:f} {case.instrument.quote}"
            return case.failed(name, code, value, limit, f"{detail}: below the minimum notional {least}")
        case.quantity = most
        case.shrunk_by.append(name)
        return case.passed(name, value, limit, detail)

    return check


def most_quantity(case: Case, room: Room) -> Decimal:
    """Return the largest quantity, in whole steps, that fits the room; zero where it is unknown or none."""
    if room.kind == "cost":
        quantity = affordable(room.amount, case.price, case.slippage, case.fee)
    else:
        quantity = room.amount if room.kind == "quantity" else room.amount / case.price
    return whole_quantity(quantity, case.instrument)


ROOMS: dict[str, tuple[str, RoomOf]] = {
    "max_order_value": ("MAX_ORDER_VALUE", order_value),
    "max_order_size": ("MAX_ORDER_SIZE", order_size),
    "max_position": ("MAX_POSITION", position),
    "max_exposure": ("MAX_EXPOSURE", exposure),
    "funds": ("INSUFFICIENT_FUNDS", funds),
    "budget": ("BUDGET_EXCEEDED", budget),
}
"""The quantity limits by control: code and room."""


def _size(kind: str, quantity: Decimal, case: Case) -> float:
    if kind == "quantity":
        return float(quantity)
    if kind == "value":
        return float(quantity) * case.price
    return cost(float(quantity), case.price, case.slippage, case.fee)


def _of_account(case: Case, limit: float) -> float:
    return limit if limit > 1.0 else case.account_equity * limit


def _held(exposure_value: Decimal | None) -> float:
    """An exposure; unknown stays unknown, and rounding dust below zero makes no room."""
    value = number(exposure_value)
    return value if math.isnan(value) else max(0.0, value)


def _reserved(case: Case) -> float:
    """What the bot's open entries will take. Market orders are valued as this one is, stops at their trigger."""
    total = 0.0
    for order in case.portfolio.open_orders(bot=case.bot):
        if order.side is Side.BUY:
            limited = order.type.has_limit and order.price is not None
            price = order.price if limited else order.stop_price if order.type.has_trigger else None
            slippage = 0.0 if limited else case.request.slippage
            total += cost(float(order.remaining), case.price if price is None else number(price), slippage, case.fee)
    return total
