"""Strategies for tests: signals by the close's own value, and hooks that do what the test says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from botd.domain.candle import Candle
from botd.domain.candles import Candles
from botd.domain.order import Fill
from botd.strategy.base import Context, EventStrategy, Signals, SignalStrategy


class ByClose(SignalStrategy):
    """Enter at closes ending in 1, exit at those ending in 2, both at those ending in 3. Counts its calls."""

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)
        self.calls = 0

    def warmup(self) -> int:
        return 1

    def signals(self, candles: Candles) -> Signals:
        self.calls += 1
        last = candles.close.astype(int) % 10
        return Signals(enter=(last == 1) | (last == 3), exit=(last == 2) | (last == 3), notes={"last": last * 1.0})


class Raising(SignalStrategy):
    """Raises while ``broken``."""

    broken = True

    def warmup(self) -> int:
        return 1

    def signals(self, candles: Candles) -> Signals:
        if self.broken:
            raise ZeroDivisionError("by zero")
        return ByClose().signals(candles)


class Hooks(EventStrategy):
    """Calls ``candle``, ``fill`` and ``start`` where they are given; keeps what it heard."""

    def __init__(self, candle: Callable[[Context, Candle], None] | None = None,
                 fill: Callable[[Context, Fill], None] | None = None,
                 start: Callable[[Context], None] | None = None) -> None:  # fmt: skip
        super().__init__()
        self.candle, self.fill, self.start = candle, fill, start
        self.heard: list[str] = []

    def on_start(self, context: Context) -> None:
        self.heard.append("start")
        if self.start is not None:
            self.start(context)

    def on_candle(self, context: Context, candle: Candle) -> None:
        self.heard.append("candle")
        if self.candle is not None:
            self.candle(context, candle)

    def on_fill(self, context: Context, fill: Fill) -> None:
        self.heard.append(f"fill {fill.side} {fill.quantity:f}")
        if self.fill is not None:
            self.fill(context, fill)
