"""A strategy that reads a larger interval of its own symbol and another symbol, and candles to try it on."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np

from botd.domain.candles import Candles
from tests.fakes.backtest_cases import MINUTE, START, random_candles

TREND = '''"""Beside the trend of a larger interval and of another market."""

import talib

from botd.domain.candles import Candles
from botd.strategy.base import Input, Signals, SignalStrategy
from botd.strategy.comparisons import above, below
from botd.strategy.parameters import choice, integer, symbol
from botd.strategy.warmup import ema_warmup


class Trend(SignalStrategy):
    """In while the close is above its average, the larger trend rises and the other market is above its mean."""

    fast = integer(5, low=2, high=50)
    slow = integer(3, low=2, high=50)
    larger = choice("3m", "5m", "15m", "1h", default="15m")
    market = symbol("BTC/USDT", help="the market that must agree")

    def warmup(self) -> int:
        return ema_warmup(self.fast)

    def inputs(self) -> list[Input]:
        return [Input(self.larger, ema_warmup(self.slow)), Input("5m", self.fast, self.market)]

    def signals(self, candles: Candles) -> Signals:
        close = candles.close
        fast = talib.EMA(close, self.fast)
        large = candles.at(self.larger)
        trend = large.align(talib.EMA(large.close, self.slow))
        other = candles.at("5m", symbol=self.market)
        agrees = other.align(above(other.close, talib.SMA(other.close, self.fast), other.close))
        return Signals(
            enter=above(close, fast, close) & above(fast, trend, close) & agrees,
            exit=below(close, trend, close),
            notes={"fast": fast, "trend": trend, "agrees": agrees},
        )
'''


def write_trend(folder: Path, name: str = "trend") -> Path:
    """Put the strategy into a strategies directory; returns the directory."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.py").write_text(TREND)
    return folder


def two_markets(seed: int, count: int) -> tuple[Candles, Candles]:
    """Return minutes of two symbols with a few holes of their own; the second begins and ends at other times."""
    rng = random.Random(seed)
    own, other = (_with_holes(rng, random_candles(rng, count)) for _ in range(2))
    return own, other.part(rng.choice((0, 7, 90)), len(other) - rng.choice((0, 0, 3)))


def _with_holes(rng: random.Random, rows: Candles) -> Candles:
    missing: set[int] = set()
    for _ in range(len(rows) // 200):
        first = rng.randrange(len(rows))
        missing.update(range(first, first + rng.choice((1, 1, 4, 25))))
    kept = np.array([k for k in range(len(rows)) if k not in missing])
    columns = (getattr(rows, name)[kept] for name in ("open", "high", "low", "close", "volume"))
    return Candles("1m", START + kept * MINUTE, *columns)
