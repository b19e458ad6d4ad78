"""The candle store: contiguous read-only windows that never change under their reader."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from market_world import MINUTE, T0, naive_buckets, rows_at

from botd.domain.candle import Candle
from botd.domain.candles import Candles, complete_buckets, finest_decimal
from botd.market.candles import CandleArray, candle_list

_minutes = st.lists(st.integers(0, 400), min_size=1, max_size=300, unique=True).map(sorted)


def as_candles(rows: list[Candle]) -> Candles:
    columns = ([getattr(row, name) for row in rows] for name in ("open", "high", "low", "close", "volume"))
    time = np.array([row.open_time for row in rows], dtype=np.int64)
    return Candles("1m", time, *(np.array(column, dtype=np.float64) for column in columns))


@given(keep=st.integers(1, 50), history=st.integers(0, 60), appended=st.integers(0, 900), count=st.integers(0, 50))
def test_window_is_the_last_candles_whatever_was_dropped(keep: int, history: int, appended: int, count: int) -> None:
    rows = rows_at(list(range(history + appended)))
    store = CandleArray("1m", keep, as_candles(rows[:history]))
    for row in rows[history:]:
        store.append(row)
    wanted = min(count, keep)
    assert candle_list(store.window(wanted)) == rows[max(0, len(rows) - wanted) :]
    assert store.last_time == (rows[-1].open_time if rows else None)


def test_a_window_handed_out_never_changes() -> None:
    store = CandleArray("1m", 10)
    kept = []
    rows = rows_at(list(range(2000)))
    for number, row in enumerate(rows):
        store.append(row)
        if number % 37 == 0:
            kept.append((store.window(10), rows[max(0, number - 9) : number + 1]))
    for window, expected in kept:
        assert candle_list(window) == expected


def test_windows_share_one_block_and_cannot_be_written() -> None:
    store = CandleArray("1m", 10, as_candles(rows_at(list(range(20)))))
    first, second = store.window(5), store.window(10)
    assert np.shares_memory(first.close, second.close)
    assert first.close.flags.c_contiguous
    with pytest.raises(ValueError, match="read-only"):
        first.close[0] = 1.0


@given(minutes=_minutes, interval=st.sampled_from(["3m", "5m", "15m"]))
def test_complete_buckets_equal_the_naive_ones(minutes: list[int], interval: str) -> None:
    rows = rows_at(minutes)
    assert candle_list(complete_buckets(as_candles(rows), interval)) == naive_buckets(rows, interval)


@given(st.lists(st.floats(1e-6, 1e9), min_size=240, max_size=240))
def test_both_ways_to_build_a_larger_candle_agree_to_the_last_digit(volumes: list[float]) -> None:
    rows = [Candle(T0 + i * MINUTE, 1.0, 2.0, 0.5, 1.5, volume) for i, volume in enumerate(volumes)]
    store = CandleArray("1m", 240)
    built = []
    for number, row in enumerate(rows, start=1):
        store.append(row)
        if number % 60 == 0:
            built.append(store.bucket(row.open_time - 59 * MINUTE, 60))
    assert candle_list(complete_buckets(as_candles(rows), "1h")) == built


def test_a_bucket_with_a_missing_candle_is_none() -> None:
    store = CandleArray("1m", 10)
    for row in rows_at([0, 1, 3, 4]):
        store.append(row)
    assert store.bucket(T0, 5) is None


@pytest.mark.parametrize(
    ("values", "finest"),
    [([1.5, 2.25], "0.01"), ([100.0, 3.0], "1"), ([0.1] * 2000 + [0.00012], "0.00001"), ([1 / 3], "1E-12")],
)
def test_the_finest_decimal_is_that_of_any_value(values: list[float], finest: str) -> None:
    assert finest_decimal(np.array(values)) == Decimal(finest)


@pytest.mark.parametrize("interval", ["5m", "1h", "1d"])
@pytest.mark.parametrize("decimals", [0, 3, 5, 8])
def test_larger_candles_have_the_decimals_of_their_volumes(interval: str, decimals: int) -> None:
    dice = np.random.default_rng(decimals)
    volume = np.rint(dice.exponential(20.0, 10_080) * 10**decimals) / 10**decimals
    time, price = T0 - T0 % 86_400_000 + np.arange(len(volume)) * MINUTE, np.full(len(volume), 100.0)
    rows = complete_buckets(Candles("1m", time, price, price, price, price, volume), interval)
    assert len(rows) > 5 and finest_decimal(rows.volume) == Decimal(1).scaleb(-decimals)
