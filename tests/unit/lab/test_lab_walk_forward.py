"""`botctl walk-forward`: chosen on what came before, traded on what came after, stitched."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from botd.backtest.history import from_candles, part
from botd.backtest.run import backtest
from botd.backtest.terms import Terms
from botd.domain.clock import VirtualClock, parse_time, rfc3339
from botd.domain.errors import InvalidError
from botd.lab.walk_forward import Window, windows_of
from botd.strategy.registry import Registry
from tests.unit.lab.conftest import Lab

WORDS = ("rsi", "--symbol", "BTC/USDT", "--interval", "1m", "--range", "period=5:20:5")
DAY = 86_400_000


@pytest.fixture
def rows(lab: Lab) -> list[dict[str, Any]]:
    return lab.json("walk-forward", *WORDS, "--train", "1d", "--test", "12h", "--by", "return_pct")


def test_a_row_a_window_and_the_total_last(rows: list[dict[str, Any]]) -> None:
    assert [row["window"] for row in rows] == [1, 2, 3, 4, 5, 6, 7, "total"]
    assert rows[0]["train_from"] == "2024-01-01T00:00:00Z" and rows[0]["test_from"] == "2024-01-02T00:00:00Z"
    assert [row["candles"] for row in rows] == [720] * 6 + [240, 6 * 720 + 240]
    for before, row in pairwise(rows[:-1]):
        assert parse_time(row["test_from"]) == parse_time(before["test_to"]) + 60_000
        assert parse_time(row["train_from"]) == parse_time(before["train_from"]) + DAY // 2


def test_each_window_has_the_best_set_of_its_training_span(lab: Lab, rows: list[dict[str, Any]]) -> None:
    for row in rows[:-1]:
        words = ("--from", row["train_from"], "--to", row["test_from"], "--by", "return_pct")
        best = lab.json("sweep", *WORDS, *words)[0]
        assert best["set"] == row["set"] and row["params"]["period"] == row["set"]["period"]
        assert best["return_pct"] == pytest.approx(row["train"]["return_pct"], rel=1e-12)


def test_a_window_is_a_backtest_with_the_equity_of_the_one_before(lab: Lab, rows: list[dict[str, Any]]) -> None:
    info, equity = Registry.standard().load("rsi"), "10000"
    for row in rows[:-1]:
        first = int((parse_time(row["test_from"]) - int(lab.candles.time[0])) // 60_000)
        cut = from_candles(lab.candles.tail(6000), "BTC/USDT")
        end = first + row["candles"]
        own = backtest(
            part(cut, first, end), "rsi", info.build(row["params"]), Terms(capital=Decimal(equity)), VirtualClock()
        )
        assert float(own.statistics["equity"]) == pytest.approx(float(row["equity"]), rel=1e-9)
        equity = row["equity"]
    total = rows[-1]
    assert float(total["equity"]) == pytest.approx(float(equity))
    assert total["return_pct"] == pytest.approx(100 * (float(equity) / 10000 - 1), abs=1e-6)
    assert total["trades"] == sum(row["trades"] for row in rows[:-1]) > 5
    assert float(total["fees"]) == pytest.approx(sum(float(row["fees"]) for row in rows[:-1]))
    assert total["buy_and_hold_pct"] is not None and total["beta"] is not None


def test_the_pnl_of_the_windows_adds_up_to_the_totals_open_positions_included(
    lab: Lab, rows: list[dict[str, Any]]
) -> None:
    *windows, total = rows
    assert any(float(row["unrealized_pnl"]) for row in windows)
    for row in rows:
        both = float(row["realized_pnl"]) + float(row["unrealized_pnl"])
        assert float(row["pnl"]) == pytest.approx(both, abs=1e-6)
    assert sum(float(row["pnl"]) for row in windows) == pytest.approx(float(total["pnl"]), abs=1e-6)
    assert float(total["equity"]) == pytest.approx(10_000 + float(total["pnl"]), abs=1e-6)
    shown = lab.run("walk-forward", *WORDS, "--train", "1d", "--test", "12h", "--by", "return_pct").out.splitlines()
    column = [float(line.split()[-1].replace(",", "")) for line in shown[1:]]
    assert shown[0].split()[-1] == "PNL" and sum(column[:-1]) == pytest.approx(column[-1], abs=0.05)


def test_anchored_training_begins_at_the_first_candle(lab: Lab) -> None:
    rows = lab.json("walk-forward", *WORDS, "--train", "1d", "--test", "1d", "--anchored")
    assert {row["train_from"] for row in rows[:-1]} == {"2024-01-01T00:00:00Z"} and len(rows) == 5
    shown = lab.run("walk-forward", *WORDS, "--train", "1d", "--test", "1d", "--anchored").out
    assert "TRAIN SHARPE" in shown and "\ntotal " in shown


def test_windows_never_overlap_and_span_holes(lab: Lab) -> None:
    history = from_candles(lab.candles, "BTC/USDT")
    assert windows_of(history, DAY, DAY, anchored=False)[:2] == [Window(0, 1440, 2880), Window(1440, 2880, 4320)]
    with pytest.raises(InvalidError, match="there is no room for training and test"):
        windows_of(history, 30 * DAY, DAY, anchored=False)
    with pytest.raises(InvalidError, match="windows"):
        windows_of(history, DAY, 60, anchored=False)
    assert rfc3339(int(lab.candles.time[0])) == "2024-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("words", "fact"),
    [
        (("--train", "90d", "--test", "30d"), "no room for training and test"),
        (("--train", "x", "--test", "30d"), "--train x: not a time span"),
        (("--train", "1d", "--test", "30"), "--test 30: not a time span"),
    ],
)
def test_what_cannot_be_is_one_line(lab: Lab, words: tuple[str, ...], fact: str) -> None:
    done = lab.run("walk-forward", *WORDS, *words)
    assert (done.code, done.out) == (2, "") and fact in done.err
