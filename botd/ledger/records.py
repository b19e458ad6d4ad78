"""What goes into the ledger and comes out of it that is not a domain value already.

Also the one place that says how an amount is written as text. It may not touch a connection.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from botd.domain.bot_spec import BotSpec
from botd.domain.events import Event
from botd.domain.order import Order
from botd.domain.position import Position

ACCOUNT = 0
"""The number that stands for the account itself, and for what is nobody's."""


class BotRecord(msgspec.Struct, kw_only=True):
    """A bot as the ledger keeps it: what was asked for, what it is, and since when.

    ``desired`` is running, stopped or paused. ``removed_ms`` is set once the bot is archived; its number
    is never given again.
    """

    number: int
    spec: BotSpec
    desired: str = "stopped"
    state: str = "created"
    since_ms: int = 0
    reason: str = ""
    failures: int = 0
    created_ms: int = 0
    removed_ms: int | None = None


class Book(msgspec.Struct, frozen=True, kw_only=True):
    """A bot's money as last journalled."""

    cash: Decimal
    realized: Decimal
    fees: Decimal


class SequencedEvent(Event, frozen=True, kw_only=True):
    """An event that is durable: ``seq`` rises by one from event to event, without gaps."""

    seq: int


class Loaded(msgspec.Struct, kw_only=True):
    """What the orchestrator needs to go on after any end.

    ``positions`` are those not flat, ``open_orders`` those that may still be working, oldest first;
    ``bots`` are by number, the archived ones apart in ``removed``. ``kv`` is what was journalled as
    keyed, by space. ``trade_counts`` are the finished round trips of each bot, ``trade_ids`` the fills
    already booked of each open order. ``next_bot_number`` was never given before.
    """

    bots: list[BotRecord]
    removed: list[BotRecord]
    positions: list[Position]
    books: dict[int, Book]
    open_orders: list[Order]
    strategy_states: dict[int, dict[str, object]]
    kv: dict[str, dict[str, str]]
    last_sequence: dict[int, int]
    trade_counts: dict[int, int]
    trade_ids: dict[str, list[str]]
    next_bot_number: int


def amount(value: Decimal) -> str:
    """Return ``value`` in full, without exponent and trailing zeros: ``0.0001``, never ``1E-4``."""
    text = str(value)
    if "E" in text:
        text = f"{value:f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def optional_amount(value: Decimal | None) -> str | None:
    """Return the text of an amount, None for none."""
    return None if value is None else amount(value)
