"""The kernel's rules on candles made by hand, and against the plain loop on thousands of accidents."""

from __future__ import annotations

import os
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from botd.backtest.history import from_candles
from botd.backtest.kernel import REASONS, sealed
from botd.backtest.run import Decisions, average_ranges
from botd.backtest.terms import Terms
from botd.domain.candles import Candles
from botd.domain.instrument import Instrument
from tests.fakes.backtest_cases import MINUTE, START, Case, assert_same, case_of

CASES = int(os.environ.get("BOTD_BACKTEST_CASES", "2000"))
CHUNK = 250
FREE: dict[str, Any] = {"maker_fee": Decimal(0), "taker_fee": Decimal(0), "slippage": Decimal(0)}
UNITS = Instrument(
    symbol="ABC/USDT", base="ABC", quote="USDT", tick=Decimal("0.01"), step=Decimal(1), min_notional=Decimal(5)
)


def case(*lines: tuple[float, float, float, float, str], instrument: Instrument = UNITS, **terms: Any) -> Case:
    """Candles (open, high, low, close, what the strategy says at the close: e, x, ex or nothing)."""
    *prices, words = zip(*lines, strict=True)
    columns = [np.array(column, dtype=np.float64) for column in prices]
    time = START + MINUTE * np.arange(len(lines), dtype=np.int64)
    rows = Candles("1m", time, *columns, np.ones(len(lines)))
    told = Decisions(*(sealed(np.array([letter in word for word in words])) for letter in "ex"))
    decimals = {key: Decimal(str(value)) if isinstance(value, float) else value for key, value in terms.items()}
    return Case(from_candles(rows, "ABC/USDT", instrument), told, Terms(**{**FREE, **decimals}))


def trades(played: Case) -> list[tuple[str, int, int, float]]:
    """Return (reason, entry row, exit row, exit price) of every trade, after holding them to the plain loop."""
    assert_same(played)
    room, count, _ = played.play()
    rows = zip(room.reason, room.entry_row, room.exit_row, room.exit_price, strict=True)
    return [(REASONS[reason], int(entry), int(left), float(price)) for reason, entry, left, price in list(rows)[:count]]


FLAT = (100.0, 100.0, 100.0, 100.0, "")
ENTER = (100.0, 100.0, 100.0, 100.0, "e")


def test_a_decision_fills_at_the_next_open_and_an_exit_likewise() -> None:
    played = case(ENTER, (101, 103, 99, 102, "x"), (104, 105, 103, 104, ""), FLAT)
    assert trades(played) == [("signal", 1, 2, 104.0)]
    room, _, statistics = played.play()
    # 100 units: 10,000 at the close of 100. Bought at 101 that is 100 more than there is: cash -100.
    assert (room.quantity[0], room.pnl[0]) == (100.0, 300.0)
    assert room.equity.tolist() == [10_000, -100 + 10_200, 10_300, 10_300]
    assert room.exposure.tolist() == [0, 10_200, 0, 0]
    assert statistics["equity"] == "10300"


def test_what_is_decided_at_the_last_close_never_fills() -> None:
    assert trades(case(FLAT, ENTER)) == []
    assert trades(case(ENTER, (100, 101, 99, 101, "x"))) == [("end_of_data", 1, 1, 101.0)]


def test_an_open_position_is_the_last_trade_and_is_not_counted() -> None:
    played = case(ENTER, FLAT, (100, 103, 100, 102, ""), taker_fee=0.001)
    room, count, statistics = played.play()
    assert trades(played) == [("end_of_data", 1, 2, 102.0)]
    # 99 units: 10,000 / 100 / 1.001 is 99.9. The entry's fee of 9.9 is paid and realised, an exit's is not.
    assert (count, statistics["trades"], statistics["wins"], statistics["losses"]) == (1, 0, 0, 0)
    assert (statistics["realized_pnl"], statistics["unrealized_pnl"], statistics["fees"]) == ("-9.9", "198", "9.9")
    assert room.pnl[0] == pytest.approx(198 - 9.9)
    assert statistics["equity"] == "10188.1"


def test_exit_wins_over_enter_and_flat_stays_flat() -> None:
    assert trades(case((100, 100, 100, 100, "ex"), FLAT, FLAT)) == []


def test_after_a_stop_the_signal_of_the_same_close_counts_again() -> None:
    played = case(ENTER, (100, 100, 97, 98, "e"), (98, 98, 98, 98, ""), FLAT, stop_loss=0.02)
    assert trades(played) == [("stop_loss", 1, 1, 98.0), ("end_of_data", 2, 3, 100.0)]


@pytest.mark.parametrize(
    ("candle", "expected"),
    [
        ((100.0, 105.0, 97.0, 100.0), ("stop_loss", 98.0)),  # both touched: the stop
        ((97.0, 105.0, 97.0, 100.0), ("stop_loss", 97.0)),  # opened below the stop
        ((105.0, 106.0, 97.0, 100.0), ("stop_loss", 98.0)),  # opened above the target, and fell: pessimistic
        ((105.0, 106.0, 99.0, 100.0), ("take_profit", 105.0)),
        ((100.0, 104.0, 99.0, 100.0), ("take_profit", 104.0)),
    ],
)
def test_stop_before_target_and_gaps_fill_at_the_open(
    candle: tuple[float, float, float, float], expected: tuple[str, float]
) -> None:
    played = case(ENTER, FLAT, (*candle, ""), FLAT, stop_loss=0.02, take_profit=0.04)
    reason, price = expected
    assert trades(played) == [(reason, 1, 2, price)]


def test_a_market_order_that_waits_to_sell_goes_before_stop_and_target() -> None:
    leaving, gap = (100, 100, 100, 100, "x"), (90, 90, 90, 90, "")
    assert trades(case(ENTER, leaving, gap, FLAT, stop_loss=0.02)) == [("signal", 1, 2, 90.0)]


def test_targets_pay_the_makers_fee_and_do_not_slip_all_else_pays_the_takers_and_slips() -> None:
    how = {"maker_fee": 0.001, "taker_fee": 0.002, "slippage": 0.01}
    won = case(ENTER, (100, 110, 100, 110, ""), FLAT, take_profit=0.05, **how)
    stopped = case(ENTER, (100, 100, 50, 50, ""), FLAT, stop_loss=0.05, **how)
    assert [(reason, price) for reason, _, _, price in trades(won)] == [("take_profit", 101 * (1 + 0.05))]
    assert [(reason, price) for reason, _, _, price in trades(stopped)] == [("stop_loss", 101 * (1 - 0.05) * 0.99)]
    for played, rate in ((won, 0.001), (stopped, 0.002)):
        room, _, _ = played.play()
        quantity = room.quantity[0]
        assert room.fees[0] == pytest.approx(quantity * 101 * 0.002 + quantity * room.exit_price[0] * rate)


def test_an_atr_stop_lies_so_many_ranges_of_the_decision_candle_below_the_entry() -> None:
    # With period 1 the ATR is the true range: 4 at the decision, 20 in the candle of the entry.
    lines = (FLAT, (100, 102, 98, 100, "e"), (110, 115, 105, 110, ""), (105, 105, 103, 104, ""))
    assert trades(case(*lines, FLAT, atr_stop=1.25, atr_period=1)) == [("stop_loss", 2, 2, 105.0)]  # 110 - 1.25 x 4


def test_of_percentage_and_atr_stop_the_higher_counts() -> None:
    lines = (FLAT, (100, 102, 98, 100, "e"), (100, 100, 90, 95, ""), FLAT)
    assert trades(case(*lines, atr_stop=1.0, atr_period=1, stop_loss=0.02)) == [("stop_loss", 2, 2, 98.0)]
    assert trades(case(*lines, atr_stop=1.0, atr_period=1, stop_loss=0.08)) == [("stop_loss", 2, 2, 96.0)]


def test_without_a_defined_range_above_zero_no_entry_is_made_and_none_is_counted_as_too_small() -> None:
    first = case((100, 102, 98, 100, "e"), FLAT, FLAT, atr_stop=1.0, atr_period=1)
    still = case(FLAT, FLAT, ENTER, FLAT, FLAT, atr_stop=1.0, atr_period=1)
    for played in (first, still):
        assert trades(played) == []
        assert played.play()[2]["skipped_min_notional"] == 0


def test_average_ranges_are_wilders() -> None:
    rows = case_of(7).history.candles
    high, low, close = rows.high.tolist(), rows.low.tolist(), rows.close.tolist()
    ranges = [max(high[i], close[i - 1]) - min(low[i], close[i - 1]) for i in range(1, len(rows))]
    expected = sum(ranges[:5]) / 5
    found = average_ranges(case_of(7).history, Terms(atr_stop=Decimal(1), atr_period=5))
    assert np.isnan(found[:5]).all()
    for i, value in enumerate(found[5:].tolist()):
        expected = expected if i == 0 else (expected * 4 + ranges[4 + i]) / 5
        assert value == pytest.approx(expected, rel=1e-9)


def test_once_the_trigger_was_reached_in_an_earlier_candle_the_stop_is_not_below_the_entry() -> None:
    both = (100, 101, 99, 100, "")  # reaches the trigger and falls in one candle: nothing is lifted yet
    assert trades(case(ENTER, both, both, FLAT, break_even=0.01, stop_loss=0.05)) == [("stop_loss", 1, 2, 100.0)]
    below = (100, 100.9, 99, 100, "")
    assert trades(case(ENTER, below, below, FLAT, break_even=0.01)) == [("end_of_data", 1, 3, 100.0)]


def test_break_even_works_without_a_stop_and_never_lowers_a_trail() -> None:
    up, down = (100, 110, 100, 110, ""), (110, 110, 95, 95, "")
    assert trades(case(ENTER, up, down, FLAT, break_even=0.05)) == [("stop_loss", 1, 2, 100.0)]
    assert trades(case(ENTER, up, down, FLAT, break_even=0.05, trailing_stop=0.05)) == [
        ("trailing_stop", 1, 2, (1 - 0.05) * 110)
    ]


@pytest.mark.parametrize("bars", [1, 2, 3])
def test_a_time_stop_sells_at_the_open_so_many_candles_after_the_entry(bars: int) -> None:
    assert trades(case(ENTER, FLAT, FLAT, FLAT, FLAT, FLAT, time_stop=bars)) == [("time_stop", 1, 1 + bars, 100.0)]


def test_an_exit_signal_at_the_close_of_the_time_stop_is_a_signal() -> None:
    assert trades(case(ENTER, FLAT, (100, 100, 100, 100, "x"), FLAT, time_stop=2)) == [("signal", 1, 3, 100.0)]


def test_a_time_stop_that_the_data_end_before_leaves_the_position_open() -> None:
    assert trades(case(ENTER, FLAT, FLAT, time_stop=2)) == [("end_of_data", 1, 2, 100.0)]


def test_entries_below_the_minimum_notional_or_quantity_are_counted() -> None:
    coarse = Instrument(
        symbol="ABC/USDT", base="ABC", quote="USDT", tick=Decimal("0.01"), step=Decimal("0.1"),
        min_quantity=Decimal("0.3"), min_notional=Decimal(5),
    )  # fmt: skip
    for capital, skipped in ((4, 2), (29, 2), (30, 0)):
        played = case(ENTER, ENTER, FLAT, instrument=coarse, capital=Decimal(capital))
        assert_same(played)
        assert played.play()[2]["skipped_min_notional"] == skipped


def test_risk_sizing_measures_by_the_nearest_stop_and_is_capped_by_cash() -> None:
    lines = (FLAT, (100, 102, 98, 100, "e"), FLAT, FLAT)
    for stops, expected in (
        ({"stop_loss": 0.05}, 20.0),  # 1 % of 10,000 over 5 of 100
        ({"stop_loss": 0.05, "trailing_stop": 0.02}, 50.0),
        ({"stop_loss": 0.05, "atr_stop": 0.5, "atr_period": 1}, 50.0),  # 0.5 x 4
        ({"stop_loss": 0.001}, 100.0),
    ):
        played = case(*lines, risk_per_trade=0.01, **stops)
        assert_same(played)
        assert played.play()[0].quantity[0] == expected


@pytest.mark.parametrize("first", range(0, CASES, CHUNK))
def test_random_cases_give_the_trades_of_the_plain_loop(first: int) -> None:
    """BOTD_BACKTEST_CASES says how many."""
    played = sum(assert_same(case_of(seed)) for seed in range(first, min(first + CHUNK, CASES)))
    assert played > CHUNK


def test_the_same_case_twice_gives_the_same_bits() -> None:
    (one, count, first), (two, _, second) = case_of(11).play(), case_of(11).play()
    assert first == second
    assert one.equity.tobytes() == two.equity.tobytes()
    assert one.pnl[:count].tobytes() == two.pnl[:count].tobytes()
