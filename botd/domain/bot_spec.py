"""What a user asked a bot to be."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec


class BotSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One bot as created: everything that ``create`` fixes and ``set`` changes.

    Fractions are fractions (0.02 is 2 %). ``risk_per_trade`` excludes ``fraction`` and needs a stop.
    ``mode`` is paper or live.
    """

    name: str
    strategy: str
    symbol: str
    interval: str
    capital: Decimal
    params: dict[str, Any] = {}
    fraction: Decimal | None = None
    risk_per_trade: Decimal | None = None
    stop_loss: Decimal | None = None
    take_profit: Decimal | None = None
    trailing_stop: Decimal | None = None
    labels: dict[str, str] = {}
    mode: str = "paper"
