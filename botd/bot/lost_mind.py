"""The mind of a bot whose strategy could not be loaded: it decides nothing, the position is guarded all the same."""

from __future__ import annotations

from typing import Any

from botd.bot.evaluation import Effort
from botd.domain.candle import Candle
from botd.domain.order import Fill
from botd.strategy.inputs import Read


class LostMind:
    """Keeps the memory of the strategy until its file is mended."""

    needs = 1
    reads: tuple[Read, ...] = ()
    declared_entries = (0, 0)
    places_sales = False
    order_value = None

    def __init__(self, memory: dict[str, Any]) -> None:
        self.memory = memory
        self.effort = Effort()

    def attach(self) -> None:
        """There is nothing to run."""

    def detach(self) -> None:
        """There is nothing to stop."""

    def on_closed(self, candle: Candle) -> None:
        """No decision."""

    def on_open(self) -> None:
        """No decision."""

    def on_fill(self, fill: Fill) -> None:
        """The bot has booked it; nobody else wants to know."""
