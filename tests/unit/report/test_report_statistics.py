"""Statistics against small cases worked out by hand."""

import math
from decimal import Decimal

import numpy as np
import pytest

from botd.domain.position import Trade
from botd.report.statistics import (
    Account,
    Curve,
    annual_growth,
    curve_figures,
    drawdown,
    statistics,
    sum_curve,
    sum_trades,
    trade_figures,
)

MINUTE = 60_000
YEAR = math.sqrt(365 * 24 * 60)  # of one-minute candles
STATS_KEYS = (
    "trades wins losses win_rate gross_profit gross_loss profit_factor expectancy avg_win avg_loss best_trade "
    "worst_trade max_consecutive_losses avg_holding_s fees realized_pnl unrealized_pnl equity return_pct "
    "max_drawdown_pct max_drawdown_duration_s sharpe sortino calmar sqn exposure_pct turnover "
    "skipped_min_notional"
)


def curve(equity, exposure=None, step=MINUTE):
    equity = np.array(equity, dtype=np.float64)
    exposure = np.zeros_like(equity) if exposure is None else np.array(exposure, dtype=np.float64)
    return Curve(np.arange(len(equity), dtype=np.int64) * step, equity, exposure)


def trade(pnl, return_pct=0.0, minutes=1, reason="signal"):
    return Trade(
        bot=1,
        symbol="BTC/USDT",
        quantity=Decimal(1),
        entry_time_ms=0,
        exit_time_ms=minutes * MINUTE,
        entry_price=Decimal(100),
        exit_price=Decimal(100),
        pnl=Decimal(pnl),
        return_pct=return_pct,
        fees=Decimal(0),
        exit_reason=reason,
        bars=minutes,
    )


def account(**changes):
    money = {"capital": "100", "realized_pnl": "0", "unrealized_pnl": "0", "equity": "100", "fees": "0", "traded": "0"}
    money |= changes
    return Account(**{key: value and Decimal(value) for key, value in money.items()})


def test_a_row_has_the_keys_of_the_contract():
    assert set(statistics(curve([100, 101]), [trade("1")], account(), "1m")) == set(STATS_KEYS.split())


def test_figures_of_trades():
    # pnl 10, -4, -2, 0, 6: wins 10 + 6 = 16, losses 4 + 2 + 0 = 6; mean 10 / 5 = 2; held (1+2+3+4+5) / 5 = 3 min
    trades = [trade(pnl, minutes=i + 1) for i, pnl in enumerate(["10", "-4", "-2", "0", "6"])]
    figures = trade_figures(sum_trades(trades))
    assert (figures["trades"], figures["wins"], figures["losses"], figures["win_rate"]) == (5, 2, 3, 40.0)
    assert (figures["gross_profit"], figures["gross_loss"]) == ("16", "6")
    assert figures["profit_factor"] == pytest.approx(16 / 6)
    assert (figures["expectancy"], figures["avg_win"], figures["avg_loss"]) == ("2", "8", "2")
    assert (figures["best_trade"], figures["worst_trade"]) == ("10", "-4")
    assert figures["max_consecutive_losses"] == 3  # -4, -2, 0
    assert figures["avg_holding_s"] == 180.0


def test_amounts_are_exact_decimals_to_eight_places():
    figures = trade_figures(sum_trades([trade("0.1"), trade("0.2"), trade("1e-9")]))
    assert figures["gross_profit"] == "0.3"
    assert figures["expectancy"] == "0.1"
    assert figures["worst_trade"] == "0"


def test_sqn_is_the_mean_return_over_its_deviation_by_the_root_of_the_count():
    # returns 1, 2, 3: mean 2, sample deviation sqrt((1 + 0 + 1) / 2) = 1; sqrt(3) * 2 / 1
    figures = trade_figures(sum_trades([trade("1", return_pct) for return_pct in (1.0, 2.0, 3.0)]))
    assert figures["sqn"] == pytest.approx(math.sqrt(3) * 2)


def test_an_open_position_is_not_counted():
    row = statistics(curve([100, 101]), [trade("1"), trade("50", reason="end_of_data")], account(), "1m")
    assert (row["trades"], row["gross_profit"]) == (1, "1")


def test_sharpe_and_sortino_come_from_the_returns_of_candles():
    # 100 -> 110 -> 99 -> 108.9: returns 0.1, -0.1, 0.1; mean 1/30
    # sample variance: ((2/30)^2 + (4/30)^2 + (2/30)^2) / 2 = 24/900/2 = 0.013333
    # downside: sqrt(0.1^2 / 3) = 0.057735
    figures = curve_figures(sum_curve(curve([100, 110, 99, 108.9])), "1m")
    assert figures["sharpe"] == pytest.approx((1 / 30) / math.sqrt(24 / 1800) * YEAR)
    assert figures["sortino"] == pytest.approx((1 / 30) / math.sqrt(0.01 / 3) * YEAR)


def test_a_year_has_as_many_candles_as_fit():
    hourly = curve_figures(sum_curve(curve([100, 110, 99, 108.9], step=60 * MINUTE)), "1h")
    assert hourly["sharpe"] == pytest.approx((1 / 30) / math.sqrt(24 / 1800) * math.sqrt(365 * 24))


def test_drawdown_is_the_deepest_fall_from_a_peak_and_the_longest_wait_for_it():
    # 100 120 90 120 130 117 110: falls 30/120 = 25 % and 20/130; 120 (minute 1) is back at minute 3,
    # 130 (minute 4) never again: until minute 6, as long
    drop = drawdown(np.arange(7, dtype=np.int64) * MINUTE, np.array([100.0, 120, 90, 120, 130, 117, 110]))
    assert drop.deepest == pytest.approx(0.25)
    assert drop.current == pytest.approx(20 / 130)
    assert drop.longest_s == 120.0


def test_the_wait_begins_at_the_last_touch_of_the_peak():
    # 100 100 90 100: at the peak at minute 1, again at minute 3
    assert drawdown(np.arange(4, dtype=np.int64) * MINUTE, np.array([100.0, 100, 90, 100])).longest_s == 120.0


def test_a_curve_that_only_rises_has_no_drawdown():
    drop = drawdown(np.arange(3, dtype=np.int64), np.array([1.0, 2, 3]))
    assert (drop.deepest, drop.current, drop.longest_s) == (0.0, 0.0, 0.0)


def test_drawdown_never_exceeds_everything_and_skips_what_is_unknown():
    drop = drawdown(np.arange(4, dtype=np.int64), np.array([100.0, np.nan, -5, 50]))
    assert (drop.deepest, drop.current) == (1.0, 0.5)


def test_calmar_is_annual_growth_over_the_deepest_drawdown():
    # half a year: 100 -> 121, CAGR = 1.21^2 - 1 = 0.4641; drawdown 120 -> 90 = 0.25
    half = 365 * 86_400_000 // 2
    times = np.array([0, half // 3, half // 2, half], dtype=np.int64)
    equity = np.array([100.0, 120, 90, 121])
    assert annual_growth(times, equity) == pytest.approx(0.4641)
    assert curve_figures(sum_curve(Curve(times, equity, equity * 0)), "1d")["calmar"] == pytest.approx(0.4641 / 0.25)


def test_exposure_and_turnover():
    # exposure 0, 50 of 100, 100 of 100: mean 50 %; traded 300 on a mean equity of 100
    row = statistics(curve([100, 100, 100], [0, 50, 100]), [], account(traded="300"), "1m")
    assert row["exposure_pct"] == pytest.approx(50.0)
    assert row["turnover"] == pytest.approx(3.0)


def test_the_books_are_told_as_they_are():
    books = account(capital="1000", realized_pnl="-12.50", unrealized_pnl="2.5", equity="990.00", fees="1.20")
    row = statistics(curve([1000, 990]), [], books, "1m")
    assert (row["realized_pnl"], row["unrealized_pnl"], row["equity"], row["fees"]) == ("-12.5", "2.5", "990", "1.2")
    assert row["return_pct"] == pytest.approx(-1.0)
    assert row["skipped_min_notional"] == 0


def test_without_a_price_equity_is_unknown():
    row = statistics(curve([]), [], account(unrealized_pnl=None, equity=None), "1m")
    assert (row["unrealized_pnl"], row["equity"], row["return_pct"]) == (None, None, None)


def test_what_is_undefined_is_none():
    row = statistics(curve([]), [], account(), "1m")
    undefined = "win_rate profit_factor expectancy avg_win avg_loss best_trade worst_trade avg_holding_s "
    undefined += "max_drawdown_pct max_drawdown_duration_s sharpe sortino calmar sqn exposure_pct"
    assert {key for key, value in row.items() if value is None} == set(undefined.split())
    assert (row["trades"], row["gross_profit"], row["gross_loss"], row["max_consecutive_losses"]) == (0, "0", "0", 0)


@pytest.mark.parametrize(
    ("equity", "undefined"),
    [
        ([100], {"sharpe", "sortino", "calmar"}),
        ([100, 100, 100], {"sharpe", "sortino", "calmar"}),
        ([100, 110, 121], {"sharpe", "sortino", "calmar"}),  # equal returns, none below zero, no drawdown
        ([100, 101], {"sharpe", "sortino", "calmar"}),  # one return has no deviation
        ([100, 150, 140, 160, 155, 170] * 3 + [1e9], {"calmar"}),  # growth beyond a float
    ],
)
def test_ratios_by_nothing_are_none(equity, undefined):
    figures = curve_figures(sum_curve(curve(equity)), "1m")
    assert {key for key, value in figures.items() if value is None} == undefined


def test_only_wins_have_no_profit_factor_and_equal_trades_no_sqn():
    figures = trade_figures(sum_trades([trade("5", 1.5), trade("5", 1.5)]))
    assert (figures["profit_factor"], figures["sqn"], figures["avg_loss"]) == (None, None, None)


@pytest.mark.parametrize(("hours", "defined"), [(2, False), (23, False), (24, True)])
def test_the_growth_of_less_than_a_day_says_nothing_of_a_year(hours, defined):
    figures = curve_figures(sum_curve(curve([100, 90, *[95] * (hours - 1)], step=60 * MINUTE)), "1h")
    assert (figures["calmar"] is not None) is defined


@pytest.mark.parametrize("wobble", [0.0, 1e-13])
def test_returns_that_differ_by_rounding_only_have_no_ratio(wobble):
    figures = curve_figures(sum_curve(curve([100, 100 * (1 + wobble), 100, 100])), "1m")
    assert figures["sharpe"] is None and figures["sortino"] is None
