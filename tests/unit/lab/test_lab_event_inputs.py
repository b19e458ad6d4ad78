"""The lab with a strategy that places its own orders and reads a larger interval and another market."""

from __future__ import annotations

import pytest

from tests.fakes.input_strategies import TIDE, write_tide
from tests.unit.lab.conftest import Lab

LANE = ("--symbol", "ETH/USDT", "--interval", "1m")


@pytest.fixture
def tide(lab: Lab) -> Lab:
    write_tide(lab.home / "strategies")
    return lab


def test_a_backtest_reads_what_is_stored_and_a_span_sees_what_is_before_it(tide: Lab) -> None:
    words = ("backtest", "tide", *LANE, "--set", "larger=1h", "--trades")
    whole, late = tide.json(*words), tide.json(*words, "--from", "2024-01-02T12:00:00Z")
    assert whole["trades"] > 20 and whole["params"]["market"] == "BTC/USDT"
    assert not [note for note in late["notes"] if "1h" in note]
    entered = [
        [row["entry_time"] for row in one["trade_list"] if row["entry_time"] > "2024-01-03"] for one in (whole, late)
    ]
    assert entered[1] and entered[0] == entered[1]


def test_what_is_not_stored_or_fits_no_interval_is_told_in_a_line(tide: Lab) -> None:
    done = tide.run("backtest", "tide", *LANE, "--set", "market=SOL/USDT")
    assert done.code == 4 and "no 5m candles of SOL/USDT (binance), which the strategy reads" in done.err
    assert "hint: botctl data download --symbol SOL/USDT --interval 5m --from 30d" in done.err
    done = tide.run("backtest", "tide", "--symbol", "ETH/USDT", "--interval", "15m")
    assert done.code == 2 and "strategy tide: it reads 5m candles, which are no multiple of its own 15m" in done.err


def test_strategies_lists_what_it_reads(tide: Lab) -> None:
    row = tide.json("strategies", "tide")
    assert (row["kind"], [(one["symbol"], one["interval"]) for one in row["inputs"]]) == (
        "event",
        [(None, "15m"), ("BTC/USDT", "5m")],
    )


def test_an_input_that_was_not_declared_fails_the_run_with_what_to_declare(tide: Lab) -> None:
    wrong = TIDE.replace(
        "candles.at(self.larger).close[-1])\n\n    def on_candle", 'candles.at("4h").close[-1])\n\n    def on_candle'
    )
    assert wrong != TIDE
    (tide.home / "strategies" / "wrong.py").write_text(wrong)
    done = tide.run("backtest", "wrong", *LANE)
    assert done.code == 2 and 'at("4h") is not declared: let inputs() return Input("4h", candles=...' in done.err
