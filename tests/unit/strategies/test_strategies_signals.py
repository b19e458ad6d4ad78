"""Each signal strategy: its definition on small cases, and window = history on long ones."""

import csv
import gzip
import os
from pathlib import Path

import numpy as np
import pytest
import talib

import strategies
from botd.domain.candles import Candles
from botd.strategy.check import first_difference
from botd.strategy.registry import Registry

DATA = Path(os.environ.get("BOTD_TEST_DATA", Path(__file__).parents[4] / "shared" / "data"))
REGISTRY = Registry(Path(strategies.__file__).parent)
SIGNAL = [
    ("rsi", {}),
    ("rsi", {"period": 2}),
    ("macd", {}),
    ("macd", {"fast": 3, "slow": 7, "signal": 2}),
    ("mean_reversion", {}),
    ("mean_reversion", {"period": 5, "deviations": 1.5}),
    ("ema_cross", {}),
    ("ema_cross", {"fast": 2, "slow": 50}),
    ("breakout", {}),
    ("breakout", {"entry": 2, "exit": 30}),
]
FILES = ["BTCUSDT-1m-2024-08", "BTCUSDT-1m-2023-03-23_25-outage", "BIFIUSDT-5m-2024-08-illiquid", "XRPUSDT-1h-2024"]


def candles(close, high=None, low=None):
    close = np.asarray(close, dtype=np.float64)
    high = close if high is None else np.asarray(high, dtype=np.float64)
    low = close if low is None else np.asarray(low, dtype=np.float64)
    time = np.arange(len(close), dtype=np.int64) * 60_000
    arrays = [close, high, low, close, np.ones(len(close))]
    for array in arrays:
        array.flags.writeable = False  # as the store that all bots share
    return Candles("1m", time, *arrays)


def walk(count=6000, seed=1, tick=0.01, start=100.0, flat=()):
    """A random walk on the tick, with flat stretches (from, to)."""
    moves = np.random.default_rng(seed).normal(0, 1e-3, count)
    for begin, end in flat:
        moves[begin:end] = 0
    close = np.round(start * np.exp(np.cumsum(moves)) / tick) * tick
    spread = np.where(moves == 0, 0.0, 3 * tick)
    return candles(close, close + spread, close - spread)


def recorded(name):
    path = DATA / "ohlcv" / f"{name}.csv.gz"
    if not path.exists():
        pytest.skip(f"no {path}; set BOTD_TEST_DATA")
    with gzip.open(path, "rt") as file:
        rows = np.array([row[:6] for row in csv.reader(file)][1:], dtype=np.float64)
    return Candles("1m", rows[:, 0].astype(np.int64), *(np.ascontiguousarray(column) for column in rows.T[1:]))


def build(name, params):
    return REGISTRY.load(name).build(params)


@pytest.mark.parametrize(("name", "params"), SIGNAL)
@pytest.mark.parametrize(
    "market",
    [
        pytest.param(walk(), id="walk"),
        pytest.param(walk(start=60_000, tick=0.1, seed=2), id="dear"),
        pytest.param(walk(start=2e-5, tick=1e-8, seed=3), id="cheap"),
        pytest.param(walk(flat=((500, 600), (1500, 1900), (3000, 5000)), seed=4), id="flat stretches"),
    ],
)
def test_the_last_signal_of_a_window_is_that_of_the_history(name, params, market):
    assert first_difference(build(name, params), market, range(0, len(market), 5)) is None


@pytest.mark.parametrize(("name", "params"), SIGNAL)
@pytest.mark.parametrize("file", FILES)
def test_the_last_signal_of_a_window_is_that_of_the_history_on_real_candles(name, params, file):
    market = recorded(file)
    assert first_difference(build(name, params), market, range(0, len(market), max(1, len(market) // 2000))) is None


@pytest.mark.parametrize(("name", "params"), SIGNAL)
def test_from_the_beginning_of_the_data_the_window_is_all_there_are(name, params):
    strategy = build(name, params)
    market = walk(seed=5)
    assert first_difference(strategy, market, range(strategy.warmup() + 20)) is None


@pytest.mark.parametrize(("name", "params"), SIGNAL)
@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_undefined_indicators_signal_nothing(name, params, count):
    signals = build(name, params | ({} if "period" not in params else {"period": 10})).signals(walk().tail(count))
    if name != "breakout":  # its channel of 2 is defined at once
        assert not signals.enter.any()
        assert not signals.exit[: count or None].any() or name == "macd"
    assert signals.enter.dtype == signals.exit.dtype == np.bool_
    assert len(signals.enter) == len(signals.exit) == count


@pytest.mark.parametrize(("name", "params"), SIGNAL)
@pytest.mark.parametrize("price", [1e-7, 0.1, 100.0, 63_012.37])
def test_a_flat_market_signals_nothing(name, params, price):
    signals = build(name, params).signals(candles(np.full(2000, price)))
    assert not signals.enter.any()
    assert not signals.exit.any()


@pytest.mark.parametrize(("name", "params"), SIGNAL)
def test_a_market_gone_flat_signals_nothing_in_the_end(name, params):
    close = np.concatenate([walk(500, seed=6).close, np.full(4000, 98.7)])
    signals = build(name, params).signals(candles(close))
    assert not signals.enter[-100:].any()
    assert not signals.exit[-100:].any()


def test_rsi_enters_below_and_exits_above_its_levels():
    market = walk(seed=7)
    signals = build("rsi", {"period": 14, "oversold": 35, "overbought": 60}).signals(market)
    rsi = talib.RSI(market.close, 14)
    assert np.array_equal(signals.enter, rsi < 35)
    assert np.array_equal(signals.exit, rsi > 60)
    assert signals.enter.any()
    assert np.array_equal(signals.notes["rsi"], rsi, equal_nan=True)


def test_rsi_of_only_losses_is_zero_and_enters():
    assert build("rsi", {}).signals(candles(100 - 0.1 * np.arange(50))).enter[-1]


def test_macd_follows_the_sign_of_the_histogram():
    market = walk(seed=8)
    signals = build("macd", {}).signals(market)
    histogram = talib.MACD(market.close, 12, 26, 9)[2]
    assert np.array_equal(signals.enter, histogram > 0)
    assert np.array_equal(signals.exit, histogram < 0)


def test_mean_reversion_enters_below_the_lower_band_and_exits_above_the_middle():
    # 19 closes of 100 and one of 90: mean 99.5, deviation sqrt(19 * 0.5^2 / 20 + 9.5^2 / 20) = 2.1794,
    # lower band 99.5 - 2 * 2.1794 = 95.14: 90 is below it. 101 then: mean 99.55, above it.
    signals = build("mean_reversion", {}).signals(candles([100.0] * 19 + [90.0, 101.0]))
    assert signals.notes["lower"][19] == pytest.approx(95.1411, abs=1e-4)
    assert list(signals.enter[-2:]) == [True, False]
    assert list(signals.exit[-2:]) == [False, True]


def test_ema_cross_is_in_while_the_fast_average_is_above():
    market = walk(seed=9)
    signals = build("ema_cross", {}).signals(market)
    fast, slow = talib.EMA(market.close, 12), talib.EMA(market.close, 26)
    assert np.array_equal(signals.enter, fast > slow)
    assert np.array_equal(signals.exit, fast < slow)


def test_breakout_compares_with_the_candles_before_not_its_own():
    # entry 3, exit 2. Candle 3: close 11 > max(high 0..2) = 10.5, though its own high is 20. Candle 4: 19 does
    # not exceed 20. Candle 6: close 8 < min(low 4, 5) = 8.5.
    market = candles(
        close=[10, 10, 10, 11, 19, 10, 8],
        high=[10.5, 10.2, 10.1, 20, 19.5, 11, 10],
        low=[9, 9, 9, 9, 9, 8.5, 7],
    )
    signals = build("breakout", {"entry": 3, "exit": 2}).signals(market)
    assert list(np.flatnonzero(signals.enter)) == [3]
    assert list(np.flatnonzero(signals.exit)) == [6]
    assert signals.notes["highest"][3] == 10.5


def test_differences_within_a_billionth_of_the_close_are_equal():
    close = np.full(30, 100.0)
    close[-1] = 100 + 0.9e-7  # 0.9e-9 of the close above the channel
    assert not build("breakout", {"entry": 20}).signals(candles(close)).enter.any()
    close = np.full(30, 100.0)
    close[-1] = 100 + 1.1e-7
    assert build("breakout", {"entry": 20}).signals(candles(close)).enter[-1]


def test_look_ahead_and_short_warm_up_are_found():
    market = walk(seed=10)
    strategy = build("ema_cross", {})
    strategy.warmup = lambda: 30
    assert first_difference(strategy, market, range(0, 6000, 5)) is not None
