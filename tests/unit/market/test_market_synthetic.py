"""The synthetic market: a pure function of seed, symbol and time, with plausible candles."""

from __future__ import annotations

import itertools
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from market_world import MINUTE, T0, naive_buckets

from botd.domain.errors import ConfigError, InvalidError
from botd.market.candles import candle_list
from botd.market.feed import Moment
from botd.market.simulated.synthetic import SyntheticSource

SYMBOLS = ["BTC/USDT", "ETH/USDT", "ZZZ/USDT"]


def market(seed: int = 1, interval: str = "1m", start: int = T0) -> SyntheticSource:
    return SyntheticSource(SYMBOLS, interval, start, seed)


@pytest.fixture(scope="module")
def uninterrupted() -> list[Moment]:
    source = market()
    return [source.next() for _ in range(3000)]  # type: ignore[misc]


@settings(deadline=None, max_examples=50)
@given(cursor=st.integers(-MINUTE, 2900 * MINUTE))
def test_any_cursor_goes_on_as_the_uninterrupted_market(uninterrupted: list[Moment], cursor: int) -> None:
    source = market()
    source.seek(T0 + cursor)
    rest = [moment for moment in uninterrupted if moment.time_ms > T0 + cursor][:70]
    assert [source.next() for _ in rest] == rest


def test_moments_close_what_was_open_and_open_the_next(uninterrupted: list[Moment]) -> None:
    assert uninterrupted[0].closed == []
    for number, (before, now) in enumerate(itertools.pairwise(uninterrupted)):
        assert now.time_ms == T0 + (number + 1) * MINUTE
        assert [(s, c.open_time, c.open) for s, c in now.closed] == [(s, before.time_ms, p) for s, p in before.opened]
        assert [s for s, _ in now.opened] == SYMBOLS


def test_history_is_what_was_played_for_every_interval(uninterrupted: list[Moment]) -> None:
    source = market()
    for position, symbol in enumerate(SYMBOLS):
        rows = [moment.closed[position][1] for moment in uninterrupted[1:]]
        now = T0 + 2500 * MINUTE + 7
        assert candle_list(source.history(symbol, "1m", now, 2000)) == rows[500:2500]
        hourly = candle_list(source.history(symbol, "1h", now, 10))
        truth = naive_buckets(rows[:2500], "1h")[-10:]
        assert [(c.open_time, c.open, c.high, c.low, c.close) for c in hourly] == [
            (c.open_time, c.open, c.high, c.low, c.close) for c in truth
        ]
        assert np.allclose([c.volume for c in hourly], [c.volume for c in truth])


def test_before_the_start_there_is_nothing() -> None:
    source = market(start=T0 + 30 * MINUTE)
    assert len(source.history("BTC/USDT", "1m", T0 + 33 * MINUTE, 100)) == 3
    assert len(source.history("BTC/USDT", "1m", T0, 100)) == 0
    # 00:00 misses its first half hour: the first complete hour is 01:00.
    assert source.history("BTC/USDT", "1h", T0 + 180 * MINUTE, 9).time.tolist() == [T0 + 60 * MINUTE, T0 + 120 * MINUTE]
    assert not source.is_complete("BTC/USDT", "1h", T0)
    assert source.is_complete("BTC/USDT", "1h", T0 + 60 * MINUTE)
    assert [source.bar_index("BTC/USDT", "1h", T0 + h * 60 * MINUTE) for h in (0, 1, 2, 5)] == [0, 0, 1, 4]
    assert [source.bar_index("BTC/USDT", "1m", T0 + m * MINUTE) for m in (0, 30, 31, 40)] == [0, 0, 1, 10]


def test_a_start_off_the_grid_begins_with_the_next_candle() -> None:
    assert market(interval="5m", start=T0 + 1).start_ms == T0 + 5 * MINUTE


def test_seeds_and_symbols_differ_and_other_symbols_do_not_matter() -> None:
    one = market(1).history("BTC/USDT", "1m", T0 + 500 * MINUTE, 500)
    assert not np.array_equal(one.close, market(2).history("BTC/USDT", "1m", T0 + 500 * MINUTE, 500).close)
    alone = SyntheticSource(["BTC/USDT"], "1m", T0, 1).history("BTC/USDT", "1m", T0 + 500 * MINUTE, 500)
    assert np.array_equal(one.close, alone.close)


def test_the_walk_is_the_same_in_every_release() -> None:
    """A ledger's cursor points into this market: changing these numbers would change a running world."""
    rows = market().history("BTC/USDT", "1m", T0 + 5000 * MINUTE, 5000)
    assert rows.open[0] == 60000.0
    assert rows.close[[0, 1023, 1024, 4999]].tolist() == PINNED


PINNED = [59978.52, 62470.38, 62409.56, 65731.5]


@pytest.mark.parametrize("interval", ["1m", "1h"])
def test_candles_are_consistent_on_their_grid_and_move_plausibly(interval: str) -> None:
    source = market(interval=interval)
    length = MINUTE if interval == "1m" else 60 * MINUTE
    for symbol, instrument in source.instruments().items():
        rows = source.history(symbol, interval, T0 + 60_000 * length, 60_000)
        assert len(rows) == 60_000
        assert (rows.low <= np.minimum(rows.open, rows.close)).all() and (rows.low > 0).all()
        assert (rows.high >= np.maximum(rows.open, rows.close)).all() and (rows.volume >= 0).all()
        for price in rows.close[:200].tolist():
            assert Decimal(repr(price)) % instrument.tick == 0
        for volume in rows.volume[:200].tolist():
            assert Decimal(repr(volume)) % instrument.step == 0
        spread = np.diff(np.log(rows.close)).std() / (length / MINUTE) ** 0.5
        assert 0.0007 < spread < 0.0016
        assert 0.001 < (rows.open[1:] != rows.close[:-1]).mean() < 0.05


def test_prices_stay_plausible_over_years() -> None:
    rows = market(interval="1h").history("BTC/USDT", "1h", T0 + 87_600 * 60 * MINUTE, 87_600)
    assert rows.low.min() > 60000 / 50 and rows.high.max() < 60000 * 50


def test_wrong_symbols_and_intervals_are_refused() -> None:
    with pytest.raises(ConfigError, match="is not a symbol"):
        SyntheticSource(["BTCUSDT"], "1m", T0, 1)
    with pytest.raises(ConfigError, match="each once"):
        SyntheticSource(["BTC/USDT", "BTC/USDT"], "1m", T0, 1)
    with pytest.raises(InvalidError, match="cannot be built"):
        market(interval="5m").history("BTC/USDT", "3m", T0, 5)
