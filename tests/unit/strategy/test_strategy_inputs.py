"""What a strategy reads beside its own candles: closed ones only, aligned, declared, and waited for."""

from __future__ import annotations

import random
from functools import partial
from typing import Any

import numpy as np
import pytest
import talib
from hypothesis import given, settings
from hypothesis import strategies as st

from botd.domain.candle import interval_ms
from botd.domain.candles import Candles, complete_buckets, seen_by
from botd.domain.errors import DeniedError, InvalidError
from botd.market.simulated.samples import sample_candles
from botd.strategy.base import Input, Signals, SignalStrategy
from botd.strategy.comparisons import above
from botd.strategy.examination import examine
from botd.strategy.inputs import missing, readiness, reads_of, sampled, signals_of, too_few, with_inputs
from botd.strategy.parameters import symbol
from botd.strategy.registry import Registry
from botd.strategy.warmup import defined_from
from tests.fakes.backtest_cases import random_candles

START, MINUTE = 1_704_067_200_000, 60_000


def minutes(count: int, first: int = 0) -> Candles:
    """Candles whose close is their minute."""
    close = np.arange(first, first + count, dtype=np.float64) + 1
    time = START + np.arange(first, first + count, dtype=np.int64) * MINUTE
    return Candles("1m", time, close, close, close, close, np.ones(count))


class Reader(SignalStrategy):
    """Reads what it is told to; enters where the input's latest close is odd."""

    def __init__(self, *inputs: Any, enter: Any = None, warmup: int = 1) -> None:
        super().__init__()
        self._inputs, self._enter, self._warmup, self.calls = inputs, enter, warmup, 0

    def warmup(self) -> int:
        return self._warmup

    def inputs(self) -> Any:
        return self._inputs

    def signals(self, candles: Candles) -> Signals:
        self.calls += 1
        if self._enter is not None:
            flags = self._enter(candles)
            return Signals(enter=flags, exit=~flags)
        flags = np.ones(len(candles), np.bool_)
        return Signals(enter=flags, exit=~flags)


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("intervals", [("1m", "1m"), ("1m", "5m"), ("5m", "15m"), ("3m", "15m"), ("1m", "1h")])
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_each_candle_sees_the_latest_that_has_closed(own: bool, intervals: tuple[str, str], seed: int) -> None:
    rng = random.Random(seed)
    base, rows = (complete_buckets(random_candles(rng, 150), interval) for interval in intervals)
    if rng.random() < 0.5:
        base = base.tail(rng.randint(1, 40))
    if not len(base):
        return
    length, larger = (interval_ms(interval) for interval in intervals)
    one = seen_by(base, rows, "A/B", own=own, needs=3)
    closes = one.align(one.close)
    for k, opened in enumerate(base.time.tolist()):
        limit = opened + length if own else opened  # another symbol's: strictly before this candle's close
        closed = [row for row in range(len(rows)) if int(rows.time[row]) + larger <= limit]
        due = limit // larger * larger - larger
        if closed:
            assert closes[k] == rows.close[closed[-1]] and int(one.latest[k]) == closed[-1]
            assert bool(one.fresh[k]) == (int(rows.time[closed[-1]]) == due)
        else:
            assert np.isnan(closes[k]) and not one.fresh[k]
    assert len(one) == max(one.latest[-1] + 1, 0)  # nothing that closes later is there to be seen


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), start=st.integers(0, 120), count=st.integers(1, 60), needs=st.integers(1, 9))
def test_a_part_sees_what_it_saw_in_the_whole_and_so_many_before_as_are_wanted(
    seed: int, start: int, count: int, needs: int
) -> None:
    rows = random_candles(random.Random(seed), 200)
    whole = with_inputs(Reader(Input("5m", needs), Input("3m", needs, "X/Y")), rows, X=rows)
    part = whole.part(start, start + count)
    for key in (("5m", ""), ("3m", "X/Y")):
        all_of_it, seen = whole.at(*key), part.at(*key)
        np.testing.assert_array_equal(seen.align(seen.close), all_of_it.align(all_of_it.close)[start : start + count])
        np.testing.assert_array_equal(seen.fresh, all_of_it.fresh[start : start + count])
        first = int(seen.latest[0])
        assert first + 1 == min(needs, int(all_of_it.latest[start]) + 1) and len(seen) == int(seen.latest[-1]) + 1


def test_flags_are_aligned_as_flags_and_numbers_as_numbers() -> None:
    candles = with_inputs(Reader(Input("3m", 2)), minutes(7))
    large = candles.at("3m")
    assert large.close.tolist() == [3, 6]
    assert large.align(large.close > 3).tolist() == [False, False, False, False, False, True, True]
    np.testing.assert_array_equal(large.align(np.array([1, 2])), [np.nan, np.nan, 1, 1, 1, 2, 2])
    with pytest.raises(ValueError, match="a value for each of 2 3m candles"):
        large.align(candles.close)


def test_what_is_not_declared_is_an_error_that_says_how_to_declare_it() -> None:
    candles = with_inputs(Reader(Input("5m", 2)), minutes(20))
    with pytest.raises(LookupError, match=r'at\("1h"\) is not declared: let inputs\(\) return Input\("1h", candles='):
        candles.at("1h")
    with pytest.raises(LookupError, match=r'symbol="X/Y"\) too \(it returned 5m\)'):
        candles.at("5m", symbol="X/Y")
    with pytest.raises(LookupError, match="it returned nothing"):
        minutes(3).at("5m")


@pytest.mark.parametrize(
    ("declared", "interval", "words"),
    [
        (Input("15m", 3), "1h", "it reads 15m candles, which are no multiple of its own 1h candles"),
        (Input("5m", 3), "3m", "no multiple of its own 3m candles"),
        (Input("7m", 3), "1m", "unknown interval '7m' in inputs"),
        (Input("1h", 0), "1m", "from 1 to 1000000, not 0"),
        (Input("1h", 3.5), "1m", "TypeError"),  # type: ignore[arg-type]
        (Input("1h", 3, "btc"), "1m", "'btc' is not a symbol"),
        ("1h", "1m", "must return Input"),
    ],
)
def test_inputs_that_do_not_fit_are_told_in_a_line(declared: Any, interval: str, words: str) -> None:
    with pytest.raises(InvalidError, match=words) as caught:
        reads_of("mine", Reader(declared), "A/B", interval)
    assert str(caught.value).startswith("strategy mine: ") and "\n" not in str(caught.value)


def test_an_input_of_the_bots_own_symbol_by_name_is_its_own() -> None:
    (by_name,) = reads_of("mine", Reader(Input("1h", 3, "A/B")), "A/B", "1m")
    (other,) = reads_of("mine", Reader(Input("1h", 3, "A/B")), "X/Y", "1m")
    assert by_name.own and not other.own and by_name.lane == other.lane == ("A/B", "1h")


def test_the_same_input_twice_is_one_with_the_larger_need() -> None:
    (read,) = reads_of("mine", Reader(Input("1h", 3), Input("1h", 9), Input("1h", 4)), "A/B", "1m")
    assert read.candles == 9


def test_nothing_is_said_while_an_input_is_missing() -> None:
    """Minutes 0..29 without minute 7: the candle of 5..9 does not exist, and 10..14 wait for it."""
    rows = minutes(30)
    torn = Candles(
        "1m", *(np.delete(getattr(rows, name), 7) for name in ("time", "open", "high", "low", "close", "volume"))
    )
    candles = with_inputs(Reader(Input("5m", 1)), torn)
    said = signals_of(Reader(Input("5m", 1)), candles)
    quiet = {int(time - START) // MINUTE for time, flag in zip(candles.time, said.enter, strict=True) if not flag}
    assert quiet == {0, 1, 2, 3, 9, 10, 11, 12, 13}  # the first closes with minute 4; the missing one would with 9
    assert missing(candles.part(0, 10)) == "the candle of 5m that opened at 2024-01-01T00:05:00Z"
    assert missing(candles) == "" and not readiness(candles).all()


def test_an_input_of_fewer_candles_than_are_read_is_named_with_both_counts() -> None:
    reader = Reader(Input("5m", 4), Input("15m", 1))
    candles = with_inputs(reader, minutes(17))
    assert too_few(candles) == "3 of the 4 candles of 5m that it reads so far"
    assert too_few(with_inputs(reader, minutes(25))) == "" and too_few(minutes(3)) == ""


def test_the_notes_of_a_strategy_say_with_how_many_candles_they_are_numbers() -> None:
    rsi = Registry.standard().load("rsi")
    assert defined_from(rsi.build({}), minutes(2), 500) == 15  # type: ignore[arg-type]
    assert defined_from(rsi.build({"period": 30}), minutes(2), 500) == 31  # type: ignore[arg-type]
    assert defined_from(Reader(), minutes(2), 500) == 0, "it has no notes"
    assert defined_from(rsi.build({}), minutes(0), 500) == 0  # type: ignore[arg-type]


def test_a_strategy_is_not_asked_where_no_input_is_there() -> None:
    strategy = Reader(Input("1h", 1))
    said = signals_of(strategy, with_inputs(strategy, minutes(30)))
    assert strategy.calls == 0 and not said.enter.any() and len(said.exit) == 30


def test_candles_without_inputs_are_given_as_they_are() -> None:
    strategy, rows = Reader(), minutes(10)
    assert with_inputs(strategy, rows) is rows and signals_of(strategy, rows).enter.all()


def ema(count: int) -> Any:
    def enter(candles: Candles) -> Any:
        large = candles.at("5m")
        return above(candles.close, large.align(talib.EMA(large.close, count)), candles.close)

    return enter


def opened(candles: Candles, symbol: str | None = None) -> Any:
    """Aligned by hand, by the time of opening: the candle that has not closed yet."""
    large = candles.at("15m", symbol)
    at = np.searchsorted(large.time, candles.time, side="right") - 1
    return (at >= 0) & (large.close[at] > large.open[at])


def last_of_all(candles: Candles) -> Any:
    return candles.close > candles.at("15m").close[-1]


@pytest.mark.parametrize(
    ("reader", "words"),
    [
        (Reader(Input("15m", 3), enter=opened), "strategy planted looks ahead: at "),
        (Reader(Input("15m", 3, "X/Y"), enter=partial(opened, symbol="X/Y")), "strategy planted looks ahead: at "),
        (Reader(Input("15m", 3), enter=last_of_all), "strategy planted looks ahead: at "),
        (Reader(Input("5m", 20), enter=ema(20)), r"warms up too short: .* last 1 candles \(and 20 of 5m: candles= in"),
    ],
    ids=("unclosed", "unclosed_other", "latest_of_all", "short_candles"),
)
def test_looking_ahead_through_an_input_and_wanting_too_few_are_refused(reader: Reader, words: str) -> None:
    with pytest.raises(DeniedError, match=words):
        examine("planted", reader, sampled("planted", reader, "1m", sample_candles))


def test_with_enough_candles_it_passes() -> None:
    reader = Reader(Input("5m", 20 + 380), enter=ema(20))
    assert examine("patient", reader, sampled("patient", reader, "1m", sample_candles)) > 50


def test_a_symbol_is_a_parameter() -> None:
    parameter = symbol("BTC/USDT")
    assert parameter.parse("market", "eth/usdt") == "ETH/USDT"
    with pytest.raises(InvalidError, match="market must be a symbol such as BTC/USDT, not ETHUSDT"):
        parameter.parse("market", "ETHUSDT")
