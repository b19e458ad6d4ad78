"""A close that stands still: from when on RSI says nothing, alike over a window, the history, and with noise in it."""

from __future__ import annotations

import numpy as np
import pytest
import talib

from botd.domain.candles import Candles
from botd.strategy.comparisons import moving
from botd.strategy.examination import examine
from botd.strategy.registry import Registry

RNG = np.random.default_rng


def candles(close):
    time = 60_000 * np.arange(1, len(close) + 1)
    return Candles("1m", time, close, close, close, close, np.ones(len(close)))


def rsi(period):
    return Registry.standard().load("rsi").build({"period": period})


def slowly(close, count):
    """What :func:`moving` says, a candle at a time."""
    left = [k > 0 and abs(close[k] / close[k - 1] - 1) > 1e-9 for k in range(len(close))]
    return [any(left[max(0, k - count + 1) : k + 1]) for k in range(len(close))]


@pytest.mark.parametrize("seed", range(300))
def test_moving_is_what_looking_at_each_candle_says(seed):
    rng = RNG(seed)
    close = np.cumsum(rng.random(rng.integers(0, 60)) < rng.choice([0.05, 0.3, 0.9])) + 100.0
    close *= 1 + rng.choice([0, 1e-15, 1e-10]) * rng.standard_normal(len(close))
    count = int(rng.integers(1, 70))
    assert moving(close, count).tolist() == slowly(close, count)


@pytest.mark.parametrize("period", [2, 14, 100])
def test_rsi_says_nothing_from_the_fifth_period_without_a_change_on(period):
    falls = 100 - 0.1 * np.arange(3 * period)
    close = np.concatenate([falls, np.full(20 * period, falls[-1])])
    signals = rsi(period).signals(candles(close))
    assert (talib.RSI(close, period)[-10 * period :] < 30).all(), "RSI itself goes on"
    last = len(falls) - 1  # the last candle whose close left the one before it
    assert signals.enter[period : last + 5 * period].all()
    assert not signals.enter[last + 5 * period :].any()


@pytest.mark.parametrize("price", [1e-7, 0.1, 63_012.37])
@pytest.mark.parametrize("period", [2, 14])
def test_noise_of_floats_is_no_change(price, period):
    noisy = price * (1 + 2e-16 * RNG(1).integers(-1, 2, 2000))
    signals = rsi(period).signals(candles(noisy))
    assert not signals.enter.any() and not signals.exit.any()


@pytest.mark.parametrize("seed", range(20))
def test_a_market_gone_still_with_noise_looks_alike_in_window_and_history(seed):
    rng = RNG(seed)
    walk = np.round(100 * np.exp(np.cumsum(rng.normal(0, 1e-3, 400))), 2)
    still = walk[-1] * (1 + 2e-16 * rng.integers(-1, 2, 2500))
    assert examine("rsi", rsi(14), candles(np.concatenate([walk, still]))) > 0
