"""Ranges of a sweep: what they mean, and what is refused."""

from __future__ import annotations

import pytest

from botd.domain.errors import InvalidError
from botd.lab.ranges import axes_of, drawn, grid, key_of, set_of, told
from botd.strategy.registry import Registry, StrategyInfo


@pytest.fixture(scope="module")
def rsi() -> StrategyInfo:
    return Registry.standard().load("rsi")


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("5:20:5", (5, 10, 15, 20)),
        ("5:19:5", (5, 10, 15)),
        ("5:8", (5, 6, 7, 8)),
        ("5,8,13,8", (5, 8, 13)),
        ("9", (9,)),
    ],
)
def test_a_range_of_whole_numbers(rsi: StrategyInfo, text: str, values: tuple[int, ...]) -> None:
    (axis,) = axes_of(rsi, {"period": text})
    assert axis.values == values and not axis.is_term


def test_steps_are_exact_decimals(rsi: StrategyInfo) -> None:
    (axis,) = axes_of(rsi, {"oversold": "0.1:0.5:0.1"})
    assert axis.values == (0.1, 0.2, 0.3, 0.4, 0.5)


def test_a_name_alone_means_all_that_the_bounds_allow(rsi: StrategyInfo) -> None:
    period, level = axes_of(rsi, {"period": "", "oversold": ""})
    assert (period.values[0], period.values[-1], len(period.values)) == (2, 500, 499)
    assert (level.values, level.low, level.high) == ((), 0.0, 100.0)


def test_stops_and_sizes_have_ranges_too(rsi: StrategyInfo) -> None:
    stop, time = axes_of(rsi, {"stop-loss": "1%:3%:1%", "time_stop": "10:30:10"})
    assert (stop.values, time.values, stop.is_term) == ((0.01, 0.02, 0.03), (10, 20, 30), True)
    chosen = set_of([stop, time], (0.02, 10), {"period": "7"}, {"capital": "500"})
    assert (str(chosen.terms.stop_loss), chosen.terms.time_stop, str(chosen.terms.capital)) == ("0.02", 10, "500")
    assert chosen.params == {"period": "7"}


@pytest.mark.parametrize("text", ["5-20", "5..20", "5 to 20", "1"])
def test_what_is_neither_a_value_nor_a_range_is_told_how_a_range_is_written(rsi: StrategyInfo, text: str) -> None:
    with pytest.raises(InvalidError, match=f"period must be an integer from 2 to 500, not {text}") as caught:
        axes_of(rsi, {"period": text})
    assert caught.value.hint == "a range is --range period=low:high:step, or period=a,b,c"


@pytest.mark.parametrize(
    ("ranges", "fact"),
    [
        ({"period": "1:5"}, "period must be an integer from 2 to 500, not 1"),
        ({"period": "400:600:100"}, "not 600"),
        ({"oversold": "90:110"}, "a number from 0 to 100"),
        ({"perid": "2:5"}, "no range of 'perid'; did you mean 'period'"),
        ({"period": "5:2"}, "is no range"),
        ({"period": "2:9:0"}, "is no range"),
        ({"period": "2:9:1:1"}, "is no range"),
        ({"period": "a:b"}, "'a' is no number"),
        ({"period": "2:nan"}, "'nan' is no number"),
        ({"period": "2:9:0.5"}, "not 2.5"),
        ({"oversold": "0:100:0.001"}, "more than 10,000 values"),
        ({"stop-loss": "0:5%:1%"}, "stop_loss must be"),
    ],
)
def test_what_is_no_range_or_beyond_the_bounds_is_refused(rsi: StrategyInfo, ranges: dict[str, str], fact: str) -> None:
    with pytest.raises(InvalidError) as error:
        axes_of(rsi, ranges)
    assert fact in f"{error.value.message} {error.value.hint}"


def test_a_grid_is_all_combinations_in_order(rsi: StrategyInfo) -> None:
    axes = axes_of(rsi, {"period": "5:6", "oversold": "20,30"})
    assert grid(axes) == [(5, 20), (5, 30), (6, 20), (6, 30)]
    assert told(axes, (5, 20)) == {"period": 5, "oversold": 20}
    assert key_of(axes, (5, 20)) == '{"oversold":20,"period":5}'


def test_a_grid_needs_steps_and_an_end(rsi: StrategyInfo) -> None:
    with pytest.raises(InvalidError, match="a grid needs a step"):
        grid(axes_of(rsi, {"oversold": "20:30"}))
    with pytest.raises(InvalidError, match="are more than 200,000"):
        grid(axes_of(rsi, {"period": "", "oversold": "0:50:0.1"}))


def test_chance_is_the_same_for_the_same_seed_and_never_asks_twice(rsi: StrategyInfo) -> None:
    axes = axes_of(rsi, {"period": "5:9", "oversold": "20:30"})
    points = drawn(axes, 50, seed=3)
    assert points == drawn(axes, 50, seed=3) != drawn(axes, 50, seed=4)
    assert len(set(points)) == 50 and all(20 <= level <= 30 for _, level in points)
    assert sorted(drawn(axes_of(rsi, {"period": "5:9"}), 50, seed=0)) == [(5,), (6,), (7,), (8,), (9,)]
