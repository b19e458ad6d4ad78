"""What happened, as told to followers and kept in the ledger."""

from __future__ import annotations

from typing import Any

import msgspec


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One fact. ``topic`` is dotted, from the general to the special: ``bot.state``, ``order.fill``,
    ``order.denied``, ``trade.closed``, ``market.gap``, ``risk.halt``, ``daemon.ready``.

    ``bot`` is the bot's name where the fact belongs to one. ``time_ms`` is trading time.
    """

    topic: str
    time_ms: int
    bot: str = ""
    data: dict[str, Any] = {}
