"""What a user asked a bot to be."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import msgspec


class BotSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One bot as created: everything that ``create`` fixes and ``set`` changes.

    Fractions are fractions (0.02 is 2 %). ``risk_per_trade`` excludes ``fraction`` and needs a stop.
    ``atr_stop`` is how many ATR(``atr_period``) the stop lies below the entry, ``break_even`` the gain that lifts the
    stop to the entry, ``time_stop`` after how many candles a position is sold. ``mode`` is paper or live.
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
    atr_stop: Decimal | None = None
    atr_period: int = 14
    break_even: Decimal | None = None
    time_stop: int | None = None
    labels: dict[str, str] = {}
    mode: str = "paper"

    @property
    def has_stop(self) -> bool:
        """True where a position is sold on the way down, however far."""
        return bool(self.stop_loss or self.trailing_stop or self.atr_stop)

    @property
    def atr_text(self) -> str | None:
        """The ATR stop as users write it: ``3x14``; None without one."""
        return None if self.atr_stop is None else f"{self.atr_stop.normalize():f}x{self.atr_period}"


MOST_ATR_CANDLES = 10_000
_ATR = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(?:x(\d{1,9}))?")


def parse_atr(text: str) -> tuple[Decimal, int]:
    """Return (multiple, period) of ``3x14``; ``3`` alone means ATR(14). ValueError says what was expected."""
    match = _ATR.fullmatch(text.strip())
    multiple, period = (Decimal(match[1]), int(match[2] or 14)) if match else (Decimal(0), 0)
    if multiple <= 0 or not 1 <= period <= MOST_ATR_CANDLES:
        raise ValueError(
            f"must be a multiple of ATR such as 3x14 (ATR over 1 to {MOST_ATR_CANDLES} candles), not {text}"
        )
    return multiple, period
