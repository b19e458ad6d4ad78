"""The seam between a bot and what decides for it: the part that differs between signal and event strategies."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Protocol

from botd.bot.evaluation import Effort
from botd.domain.candle import Candle
from botd.domain.order import Fill
from botd.strategy.inputs import Read


class Mind(Protocol):
    """What decides for a bot: the part that differs between signal and event strategies."""

    needs: int
    """Candles of history wanted before it may decide."""
    reads: tuple[Read, ...]
    """What its strategy reads beside the bot's own candles."""
    declared_entries: tuple[int, int]
    """Entries (an hour, a day) that the strategy declares as its normal rate."""
    places_sales: bool
    """True where it offers parts of the holding by orders of its own."""
    effort: Effort
    """What its strategy's calls have cost."""

    @property
    def order_value(self) -> Decimal | None:
        """What each purchase is worth, in quote, where its strategy says so beforehand."""
        ...

    @property
    def memory(self) -> dict[str, Any]:
        """What a mind of the same strategy needs to go on in its place."""
        ...

    def attach(self) -> None:
        """Begin to read the market (the bot runs)."""
        ...

    def detach(self) -> None:
        """Stop reading it."""
        ...

    def on_closed(self, candle: Candle) -> None: ...

    def on_open(self) -> None: ...

    def on_fill(self, fill: Fill) -> None: ...
