from __future__ import annotations

import numpy as np
import pytest

from botd.domain.candles import Candles
from botd.strategy.registry import Registry, StrategyInfo


def walk(count: int, seed: int = 5, interval: str = "1m") -> Candles:
    """A walk of candles in cents, sound and without holes."""
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.002, count))).round(4)
    open_ = np.r_[close[:1], close[:-1]]
    high = np.maximum(open_, close) * (1 + rng.exponential(0.001, count))
    low = np.minimum(open_, close) * (1 - rng.exponential(0.001, count))
    time = 1_704_067_200_000 + 60_000 * np.arange(count, dtype=np.int64)
    return Candles(interval, time, open_, high, low, close, np.maximum(rng.exponential(5, count), 0.001).round(3))


@pytest.fixture(scope="session")
def rsi() -> StrategyInfo:
    return Registry.standard().load("rsi")


@pytest.fixture(scope="session")
def candles() -> Candles:
    return walk(5000)
