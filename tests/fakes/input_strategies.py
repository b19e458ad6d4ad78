"""Strategies, of signals and of orders, that read a larger interval of their own symbol and another symbol; and candles
to try them on."""

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


TIDE = '''"""Purchases below the price while a larger interval and another market rise."""

from decimal import Decimal

from botd.domain.candle import Candle
from botd.domain.order import Fill, Side
from botd.strategy.base import Context, EventStrategy, Input
from botd.strategy.parameters import choice, integer, symbol


class Tide(EventStrategy):
    """A limit purchase in a rising tide, offered at what the larger candles say; sold at the market when it ebbs."""

    slow = integer(3, low=2, high=50)
    larger = choice("3m", "5m", "15m", "1h", default="15m")
    market = symbol("BTC/USDT", help="the market that must agree")

    def warmup(self) -> int:
        return self.slow + 1

    def inputs(self) -> list[Input]:
        return [Input(self.larger, self.slow), Input("5m", self.slow, self.market)]

    def on_start(self, context: Context) -> None:
        context.state["began"] = float(context.candles.at(self.larger).close[-1])

    def on_candle(self, context: Context, candle: Candle) -> None:
        assert int(context.candles.time[-1]) == candle.open_time
        rises = self._rises(context.candles.at(self.larger))
        agrees = self._rises(context.candles.at("5m", symbol=self.market))
        sells = [order for order in context.orders() if order.side is Side.SELL]
        if context.quantity() and not rises and not agrees:
            for order in sells:
                context.cancel(order.client_order_id)
            context.sell(context.instrument.floor_quantity(context.quantity()))
        elif rises and agrees and not context.quantity() and not context.orders():
            price = context.instrument.floor_price(Decimal(repr(candle.close)) * Decimal("0.9995"))
            context.buy(context.instrument.floor_quantity(context.cash() / 2 / price), price)
            context.note(larger=float(context.candles.at(self.larger).close[-1]))

    def on_fill(self, context: Context, fill: Fill) -> None:
        if fill.side is not Side.BUY:
            return
        seen = context.candles
        spread = abs(float(seen.close[-1]) - float(seen.at(self.larger).close[-1])) + 0.03
        wanted = context.instrument.floor_price(fill.price + Decimal(repr(round(spread, 2))))
        held = context.instrument.floor_quantity(context.quantity())
        if held:
            context.sell(held, wanted, tag="take_profit")

    def _rises(self, large) -> bool:
        return bool(large.close[-1] >= large.close[-self.slow :].mean())
'''


def write_tide(folder: Path) -> Path:
    """Put the strategy of orders into a strategies directory; returns the directory."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tide.py").write_text(TIDE)
    return folder


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
