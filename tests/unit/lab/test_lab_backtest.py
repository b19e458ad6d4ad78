"""`botctl backtest`: rows of the contract, from the store or a file, and what it refuses."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from botd.backtest.history import from_candles
from botd.backtest.run import backtest
from botd.backtest.terms import Terms
from botd.domain.candles import Candles
from botd.domain.clock import VirtualClock
from botd.lab.plot import COLUMNS
from botd.report.benchmark import alpha_beta, month_starts, months
from botd.report.charts import outline
from botd.strategy.registry import Registry, StrategyInfo
from tests.unit.backtest.conftest import walk
from tests.unit.lab.conftest import Lab, csv_of, in_cents

LANE = ("--symbol", "BTC/USDT", "--interval", "1m")
STATS = (
    "name trades wins losses win_rate gross_profit gross_loss profit_factor expectancy avg_win avg_loss best_trade "
    "worst_trade max_consecutive_losses avg_holding_s fees realized_pnl unrealized_pnl equity return_pct "
    "max_drawdown_pct max_drawdown_duration_s sharpe sortino calmar sqn exposure_pct turnover skipped_min_notional "
    "candles first last seconds candles_per_s buy_and_hold_pct"
)
TIMES = {"seconds", "candles_per_s"}


def rsi() -> StrategyInfo:
    return Registry.standard().load("rsi")


def test_one_backtest_is_an_object_with_the_figures_of_the_kernel(lab: Lab) -> None:
    row = lab.json("backtest", "rsi", *LANE, "--set", "period=7", "--stop-loss", "2%", "--take-profit", "4%")
    terms = Terms(stop_loss=Decimal("0.02"), take_profit=Decimal("0.04"))
    expected = backtest(from_candles(lab.candles, "BTC/USDT"), "rsi", rsi().build({"period": 7}), terms, VirtualClock())
    assert {*STATS.split(), "alpha_pct", "beta", "months", "symbol", "strategy", "params"} <= set(row)
    for key, value in expected.row().items():
        assert key in TIMES or row[key] == value, key
    assert row["params"] == {"period": 7, "oversold": 30, "overbought": 70} and "trade_list" not in row


def test_trades_are_listed_on_demand(lab: Lab) -> None:
    row = lab.json("backtest", "rsi", *LANE, "--trades")
    assert len([one for one in row["trade_list"] if one["exit_time"]]) == row["trades"] > 5
    shown = lab.run("backtest", "rsi", *LANE, "--trades").out
    assert "rsi period=14 oversold=30 overbought=70\nBTC/USDT 1m" in shown and "REASON" in shown


def test_each_term_of_the_kernel_has_its_option(lab: Lab) -> None:
    words = "--capital 5000 --fee 0.2% --slippage 0 --risk-per-trade 1% --stop-loss 3% --trailing-stop 2%"
    words += " --atr-stop 2.5x21 --break-even 1% --time-stop 40"
    row = lab.json("backtest", "rsi", *LANE, *words.split())
    assert row["terms"] == {
        "capital": "5000",
        "risk_per_trade": "0.01",
        "stop_loss": "0.03",
        "trailing_stop": "0.02",
        "break_even": "0.01",
        "atr_stop": "2.5",
        "maker_fee": "0.002",
        "taker_fee": "0.002",
        "slippage": "0",
        "atr_period": 21,
        "time_stop": 40,
    }
    terms = Terms(**{key: value if isinstance(value, int) else Decimal(value) for key, value in row["terms"].items()})
    expected = backtest(from_candles(lab.candles, "BTC/USDT"), "rsi", rsi().build({}), terms, VirtualClock())
    assert row["realized_pnl"] == expected.statistics["realized_pnl"]


def test_several_strategies_and_symbols_give_a_row_each(lab: Lab) -> None:
    words = ("rsi", "ema_cross", "--symbol", "BTC/USDT", "--symbol", "ETH/USDT", "--interval", "5m")
    rows = lab.json("backtest", *words, "--set", "rsi.period=7", "--set", "fast=5")
    told = [(row["strategy"], row["symbol"]) for row in rows]
    assert told == [(name, symbol) for symbol in ("BTC/USDT", "ETH/USDT") for name in ("rsi", "ema_cross")]
    assert rows[0]["params"]["period"] == 7 and rows[1]["params"] == {"fast": 5, "slow": 26}
    lines = lab.run("backtest", *words).out.splitlines()
    assert len(lines) == 5 and lines[0].startswith("STRATEGY")


def test_a_span_is_traded_and_what_comes_before_it_warms_up(lab: Lab) -> None:
    words = ("--from", "2024-01-02T00:00:00Z", "--to", "2024-01-03")
    row = lab.json("backtest", "rsi", *LANE, *words)
    assert (row["candles"], row["first"], row["last"]) == (1440, "2024-01-02T00:00:00Z", "2024-01-02T23:59:00Z")
    history = from_candles(lab.candles.tail(6000), "BTC/USDT")
    cut = msgspec.structs.replace(history.candles, **{k: getattr(history.candles, k)[:2880] for k in
          ("time", "open", "high", "low", "close", "volume")})  # fmt: skip
    expected = backtest(from_candles(cut, "BTC/USDT", begin=1440), "rsi", rsi().build({}), Terms(), VirtualClock())
    assert row["realized_pnl"] == expected.statistics["realized_pnl"] and row["trades"] > 0


def test_a_file_stands_in_for_the_store(lab: Lab) -> None:
    (lab.home / "btc.csv").write_text(csv_of(lab.candles))
    from_file = lab.json("backtest", "rsi", *LANE, "--data", "btc.csv")
    assert {**lab.json("backtest", "rsi", *LANE), **dict.fromkeys(TIMES)} == {**from_file, **dict.fromkeys(TIMES)}


def test_together_they_share_an_account_and_its_limits(lab: Lab) -> None:
    words = ("backtest", "rsi", "ema_cross", "--symbol", "BTC/USDT", "--symbol", "ETH/USDT", "--interval", "5m")
    config = lab.home / "botd.yaml"
    before = config.read_text()
    config.write_text(before + "risk: {preset: off}\n")
    alone, free = lab.json(*words), lab.json(*words, "--together")
    same = ("strategy", "symbol", "trades", "wins", "candles")
    assert [[row[key] for key in same] for row in free] == [[row[key] for key in same] for row in alone]
    assert [float(row["equity"]) for row in free] == pytest.approx([float(row["equity"]) for row in alone], rel=1e-7)
    config.write_text(before + "risk: {preset: off, max_drawdown: {account: 0.5%}}\n")
    done = lab.run(*words, "--together", "-o", "json")
    bound = json.loads(done.out)
    assert 0 < sum(row["trades"] for row in bound) < sum(row["trades"] for row in free)
    assert sum(float(row["equity"]) for row in bound) > 0.98 * 40_000
    assert "ETH/USDT rsi: orders that a limit denied or cut: MAX_DRAWDOWN denied " in done.err
    became = sum(float(row["equity"]) for row in bound)
    assert f"the account: 40,000.00 became {became:,.2f} (" in done.err and "max drawdown " in done.err
    config.write_text(before + "risk: {preset: off, max_order_value: 100, max_order_size: 50%}\n")
    cut = lab.run(*words, "--together")
    assert (
        "rsi: orders that a limit denied or cut: max_order_value cut " in cut.err
        and "denied" not in cut.err.replace("denied or", "")
    )
    (lab.home / "eur.csv").write_text(csv_of(lab.candles))
    refused = lab.run("backtest", "rsi", *LANE, "--symbol", "BTC/EUR", *("--data", "eur.csv") * 2, "--together")
    assert refused.code == 2 and "one account counts in one currency, not EUR and USDT" in refused.err


def test_exact_plays_by_the_bot_itself_to_the_same_trades(lab: Lab) -> None:
    words = ("backtest", "rsi", *LANE, "--to", "2024-01-03", "--stop-loss", "1%", "--trades")
    fast, exact = lab.json(*words), lab.json(*words, "--exact")
    assert len(fast["trade_list"]) == len(exact["trade_list"]) > 3
    for one, other in zip(fast["trade_list"], exact["trade_list"], strict=True):
        for key in ("entry_time", "exit_time", "quantity", "exit_reason", "bars"):
            assert one[key] == other[key]
        assert float(one["pnl"]) == pytest.approx(float(other["pnl"]), rel=1e-9)


def test_strategies_with_orders_of_their_own_are_played_by_the_bot(lab: Lab) -> None:
    price = float(lab.candles.close[0])
    words = ("--set", f"lower={price * 0.9:.2f}", "--set", f"upper={price * 1.1:.2f}", "--to", "2024-01-03")
    row = lab.json("backtest", "grid", *LANE, *words)
    assert (row["strategy"], row["candles"]) == ("grid", 2880) and float(row["fees"]) > 0


def test_holes_are_told_on_stderr_and_in_the_row(lab: Lab) -> None:
    text = csv_of(lab.candles).splitlines(keepends=True)
    (lab.home / "hole.csv").write_text("".join(text[:1000] + text[1100:]))
    done = lab.run("backtest", "rsi", *LANE, "--data", "hole.csv", "-o", "json")
    assert done.code == 0 and "BTC/USDT: 100 candles are missing in 1 hole" in done.err
    assert "100 candles are missing" in json.loads(done.out)["notes"][0]


def test_where_every_entry_is_too_small_it_says_so_and_why(lab: Lab) -> None:
    whole = msgspec.structs.replace(lab.candles, volume=np.ceil(lab.candles.volume) * 1000)  # a step of one unit
    (lab.home / "whole.csv").write_text(csv_of(whole))
    done = lab.run("backtest", "rsi", *LANE, "--data", "whole.csv", "--capital", "50", "-o", "json")
    row = json.loads(done.out)
    assert row["trades"] == 0 and f"each of {row['skipped_min_notional']} entries was too small to trade" in done.err
    assert "a step of 1 BTC and 5 USDT are the least" in row["notes"][-1]


@pytest.mark.parametrize(
    ("warmup", "fact"), [("None", "warmup(): TypeError"), ("1 / 0", "warmup(): ZeroDivisionError"), ("-5", "not -5")]
)
def test_a_warm_up_that_is_no_number_of_candles_is_named(lab: Lab, warmup: str, fact: str) -> None:
    name = lab.strategy("odd", "up = close > 0\nreturn Signals(up, ~up)", warmup)
    for words in (("backtest", name), ("sweep", name, "--range", "period=5:9"), ("check", name)):
        done = lab.run(*words, *LANE)
        assert (done.code, done.out) == (2, "") and "strategy odd" in done.err and fact in done.err, done.err


# -- benchmark ---------------------------------------------------------------------------------------------


def test_alpha_and_beta_of_holding_twice_are_none_and_two() -> None:
    close = walk(500).close
    returns = close[1:] / close[:-1] - 1
    twice = np.r_[1.0, np.cumprod(1 + 2 * returns)]
    found = alpha_beta(twice, close, "1m")
    assert found["beta"] == pytest.approx(2) and found["alpha_pct"] == pytest.approx(0, abs=1e-4)
    still = alpha_beta(np.full(500, 10.0), close, "1m")
    assert still == {"alpha_pct": 0.0, "beta": 0.0}
    assert alpha_beta(twice, np.full(500, 10.0), "1m") == {"alpha_pct": None, "beta": None}
    assert alpha_beta(close[:1], close[:1], "1m") == {"alpha_pct": None, "beta": None}


def test_alpha_says_that_it_is_a_years_wherever_people_read_it(lab: Lab) -> None:
    close = walk(500).close
    lost = alpha_beta(np.linspace(1.0, 0.9, 500), close, "1m")["alpha_pct"]
    assert lost is not None and lost < -100  # the mean of hours times a year's candles: no loss can be compounded so
    assert "alpha a year" in lab.run("backtest", "rsi", *LANE).out
    assert "ALPHA A YEAR" in lab.run("backtest", "rsi", "macd", *LANE, "-o", "wide").out


def test_months_multiply_to_the_whole_return() -> None:
    rows = walk(200_000)
    time = np.r_[rows.time[:40_000], rows.time[120_000:]]  # January, March to May
    equity = np.r_[rows.close[:40_000], rows.close[120_000:]]
    table = months(time, equity, equity, 90.0, 90.0)
    assert [row["month"] for row in table] == ["2024-01", "2024-03", "2024-04", "2024-05"]
    whole = math.prod(1 + row["return_pct"] / 100 for row in table)
    assert whole == pytest.approx(equity[-1] / 90) and table[0]["buy_and_hold_pct"] == table[0]["return_pct"]
    starts = month_starts(time)
    last = table[-1]["return_pct"]
    assert last == pytest.approx(100 * (equity[-1] / equity[starts[-1] - 1] - 1))


# -- what is refused ---------------------------------------------------------------------------------------


def spoiled(rows: Candles, **values: Any) -> str:
    columns = {name: getattr(rows, name).copy() for name in values}
    for name, value in values.items():
        columns[name][7] = value
    return csv_of(msgspec.structs.replace(rows, **columns))


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        (lambda rows: "", "the file is empty"),
        (lambda rows: "a,b,c\n1,2,3\n", "no column named"),
        (lambda rows: spoiled(rows, close=math.nan), "not a finite number"),
        (lambda rows: spoiled(rows, high=1.0), "high is below low"),
        (lambda rows: spoiled(rows, open=0.0), "above zero"),
        (lambda rows: spoiled(rows, time=int(rows.time[6])), "is there twice"),
        (lambda rows: spoiled(rows, time=int(rows.time[3])), "comes after"),
        (lambda rows: csv_of(rows.tail(1)), "1 candle to trade on"),
        (lambda rows: csv_of(rows.tail(10)), "10 candles are fewer than the 501"),
        (lambda rows: csv_of(rows).replace(",", ";"), "columns"),
    ],
)
def test_what_is_no_candle_is_refused_in_a_line(lab: Lab, text: Callable[[Candles], str], fact: str) -> None:
    (lab.home / "given.csv").write_text(text(lab.candles.tail(200)))
    done = lab.run("backtest", "rsi", *LANE, "--data", "given.csv")
    assert (done.code, done.out) == (2, "") and fact in done.err, done.err
    assert "market." not in done.err and "Traceback" not in done.err


def test_microseconds_are_read_as_such(lab: Lab) -> None:
    rows = in_cents(walk(2000))
    (lab.home / "us.csv").write_text(csv_of(msgspec.structs.replace(rows, time=rows.time * 1000)))
    (lab.home / "ms.csv").write_text(csv_of(rows))
    us, ms = (lab.json("backtest", "rsi", *LANE, "--data", name) for name in ("us.csv", "ms.csv"))
    assert {**us, **dict.fromkeys(TIMES)} == {**ms, **dict.fromkeys(TIMES)}


@pytest.mark.parametrize(
    ("words", "code", "fact"),
    [
        (("rsii", *LANE), 4, "rsii: no such strategy"),
        (("rsi", "--symbol", "SOL/USDT", "--interval", "1m"), 4, "no 1m candles of SOL/USDT"),
        (("rsi", "--symbol", "BTCUSDT", "--interval", "1m"), 2, "not a symbol"),
        (("rsi", "--symbol", "BTC/USDT", "--interval", "7m"), 2, "unknown interval"),
        (("rsi", *LANE, "--symbol", "BTC/USDT"), 2, "given twice"),
        (("rsi", "rsi", *LANE), 2, "given twice"),
        (("rsi", *LANE, "--set", "perod=7"), 2, "did you mean 'period'"),
        (("rsi", "macd", *LANE, "--set", "perod=7"), 2, "none of rsi, macd has a parameter 'perod'"),
        (("rsi", *LANE, "--set", "period=1"), 2, "an integer from 2 to 500"),
        (("rsi", *LANE, "--stop-loss", "120%"), 2, "stop_loss must be above 0 and below 1"),
        (("rsi", *LANE, "--risk-per-trade", "1%"), 2, "needs a stop"),
        (("rsi", *LANE, "--risk-per-trade", "1%", "--fraction", "50%"), 2, "exclude each other"),
        (("rsi", *LANE, "--atr-stop", "much"), 2, "3x14"),
        (("rsi", *LANE, "--capital", "1e99"), 2, "capital must lie between 1e-18 and 1e19"),
        (("rsi", *LANE, "--fee", "-1%"), 2, "error: fee must be at least 0"),
        (("rsi", *LANE, "--from", "2025-01-01"), 2, "no candles in that time"),
        (("rsi", *LANE, "--from", "2024-01-03", "--to", "2024-01-02"), 2, "not after the begin"),
        (("rsi", *LANE, "--data", "a.csv", "--data", "b.csv"), 2, "2 files for 1 symbols"),
        (("rsi", *LANE, "--data", "nothing.csv"), 2, "nothing.csv"),
        (("rsi", *LANE, "--plot", "p.gif"), 2, "ends in .png, .svg or .pdf"),
    ],
)
def test_what_cannot_be_is_one_line_and_its_exit_code(lab: Lab, words: tuple[str, ...], code: int, fact: str) -> None:
    done = lab.run("backtest", *words)
    assert (done.code, done.out) == (code, "") and fact in done.err, done.err
    assert done.err.startswith("botctl: error: ")


def test_a_plot_is_a_picture(lab: Lab) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra lab)")
    lab.json("backtest", "rsi", *LANE, "--plot", "p.png")
    assert Path("p.png").read_bytes().startswith(b"\x89PNG") and Path("p.png").stat().st_size > 10_000


def test_a_plot_of_a_long_curve_keeps_its_extremes() -> None:
    values = np.zeros(1_000_000)
    values[123_457], values[765_431] = 9.0, -4.0
    rows = outline(values, COLUMNS)
    assert len(rows) <= 3 * COLUMNS + 2 and {0, 123_457, 765_431, 999_999} <= set(rows)
