"""`botctl sweep`: every set as a backtest of its own would be, resumable, ranked by any statistic."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

import botd.lab.sweep
from botd.lab.ranking import LOWER, STATISTICS, Ranking, SweepFile
from botd.lab.sweep import undivided
from tests.unit.lab.conftest import Lab

LANE = ("--symbol", "BTC/USDT", "--interval", "1m")
GRID = ("--range", "period=5:20:5", "--range", "oversold=25,30,35")


def file_of(lab: Lab) -> Path:
    (path,) = (lab.home / "candles" / "sweeps").iterdir()
    return path


def test_every_set_gives_what_its_backtest_gives(lab: Lab) -> None:
    rows = lab.json("sweep", "rsi", *LANE, *GRID, "--stop-loss", "2%")
    assert len(rows) == 12 and [row["rank"] for row in rows] == list(range(1, 13))
    assert [row["sharpe"] for row in rows] == sorted((row["sharpe"] for row in rows), reverse=True)
    for row in (rows[0], rows[-1]):
        words = [word for key, value in row["set"].items() for word in ("--set", f"{key}={value}")]
        alone = lab.json("backtest", "rsi", *LANE, *words, "--stop-loss", "2%")
        assert all(row[key] == alone[key] for key in STATISTICS)
        assert (row["params"], row["terms"]) == (alone["params"], alone["terms"])


def test_a_span_is_warmed_up_before_it_as_in_the_backtest_of_each_set(lab: Lab) -> None:
    late = ("--from", "2024-01-03T12:00:00Z", "--to", "2024-01-04")
    choices: tuple[tuple[str, ...], ...] = ((), ("--random", "3"), ("--tpe", "3"))
    for how in choices:
        rows = lab.json("sweep", "ema_cross", *LANE, *late, "--range", "fast=20,50", "--range", "slow=100,150", *how)
        for row in rows:
            words = [word for key, value in row["set"].items() for word in ("--set", f"{key}={value}")]
            alone = lab.json("backtest", "ema_cross", *LANE, *late, *words)
            assert row["trades"] == alone["trades"] > 0 and row["return_pct"] == pytest.approx(alone["return_pct"])


def test_fewer_candles_than_the_slowest_set_warms_up_on_are_told(lab: Lab) -> None:
    words = ("sweep", "ema_cross", *LANE, "--to", "2024-01-02", "--range", "fast=5", "--range", "slow=20,400")
    told = lab.run(*words).err
    assert "1440 candles are fewer than the 7600 that the slowest set of ema_cross warms up on" in told


def test_an_atr_stop_is_warmed_up_before_the_span_too(lab: Lab) -> None:
    late = ("--from", "2024-01-03", "--to", "2024-01-04")
    row = lab.json("sweep", "breakout", *LANE, *late, "--range", "entry=20", "--range", "atr-stop=2")[0]
    alone = lab.json("backtest", "breakout", *LANE, *late, "--set", "entry=20", "--atr-stop", "2")
    whole = lab.json("backtest", "breakout", *LANE, "--set", "entry=20", "--atr-stop", "2", "--trades")
    assert row["return_pct"] == alone["return_pct"] and row["trades"] > 0
    levels = {(one["entry_time"], round(float(one["exit_price"]), 9)) for one in whole["trade_list"]}
    listed = lab.json("backtest", "breakout", *LANE, *late, "--set", "entry=20", "--atr-stop", "2", "--trades")
    own = {(one["entry_time"], round(float(one["exit_price"]), 9)) for one in listed["trade_list"] if one["exit_time"]}
    assert len(own & levels) >= len(own) - 1  # but for the one that was held when the span began


def test_stops_are_swept_like_parameters(lab: Lab) -> None:
    rows = lab.json("sweep", "rsi", *LANE, "--range", "stop-loss=1%:3%:1%", "--range", "period=7,14")
    assert {row["terms"]["stop_loss"] for row in rows} == {"0.01", "0.02", "0.03"} and len(rows) == 6


def test_the_statistics_to_rank_by_are_those_of_a_backtest(lab: Lab) -> None:
    row = lab.json("sweep", "rsi", *LANE, "--range", "period=7", "--by", "sqn")[0]
    assert set(STATISTICS) <= set(row) and set(STATISTICS) >= LOWER
    least = lab.json("sweep", "rsi", *LANE, *GRID, "--by", "max_drawdown_pct", "--top", "3")
    assert [row["max_drawdown_pct"] for row in least] == sorted(row["max_drawdown_pct"] for row in least)
    done = lab.run("sweep", "rsi", *LANE, *GRID, "--by", "sharp")
    assert done.code == 2 and "did you mean 'sharpe'" in done.err


def test_what_is_undefined_comes_last_and_equals_stay_in_order() -> None:
    ranking = Ranking("sharpe", 3)
    for number, value in enumerate([None, 1.0, 2.0, 1.0, -5.0]):
        ranking.add(number, {"sharpe": value}, "")
    ranking.add(5, None, "why")
    assert [number for number, _ in ranking.best()] == [2, 1, 3]
    assert (ranking.ranked, ranking.failed, ranking.first_error) == (5, 1, "why")


def test_sets_that_contradict_themselves_are_counted_and_told(lab: Lab) -> None:
    done = lab.run("sweep", "ema_cross", *LANE, "--range", "fast=5:15:5", "--range", "slow=10:20:10", "-o", "json")
    assert len(json.loads(done.out)) == 4
    assert "2 sets could not be played; the first: strategy ema_cross: fast must be below slow" in done.err


def test_only_sets_that_were_played_are_ranked_and_none_is_a_failure(lab: Lab) -> None:
    some = lab.run("sweep", "ema_cross", *LANE, "--range", "fast=5:15:5", "--range", "slow=10:20:10")
    assert some.code == 0 and "4 sets, ranked by sharpe" in some.err and "--top" not in some.err
    none = lab.run("sweep", "ema_cross", *LANE, "--range", "fast=30:40:10", "--range", "slow=10:20:10")
    assert none.code == 2 and "4 sets could not be played" in none.err and "ranked" not in none.err


# -- what is done is not done again ------------------------------------------------------------------------


def test_a_second_run_plays_nothing_and_says_the_same(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    first = lab.json("sweep", "rsi", *LANE, *GRID)
    monkeypatch.setattr(botd.lab.sweep, "outcomes", None)
    assert lab.json("sweep", "rsi", *LANE, *GRID) == first
    assert "12 of them known from before" in lab.run("sweep", "rsi", *LANE, *GRID).err
    assert lab.run("sweep", "rsi", *LANE, *GRID, "--fresh").code == 70  # this one plays


def test_a_larger_sweep_takes_over_what_is_known(lab: Lab) -> None:
    lab.json("sweep", "rsi", *LANE, "--range", "period=5:9")
    assert "5 of them known" in lab.run("sweep", "rsi", *LANE, "--range", "period=5:20").err
    assert len(file_of(lab).read_bytes().splitlines()) == 16


@pytest.mark.parametrize("changed", [("--stop-loss", "3%"), ("--set", "overbought=80"), ("--from", "2024-01-02")])
def test_another_sweep_has_another_file(lab: Lab, changed: tuple[str, str]) -> None:
    lab.json("sweep", "rsi", *LANE, "--range", "period=5:9")
    assert "known" not in lab.run("sweep", "rsi", *LANE, "--range", "period=5:9", *changed).err
    assert len(list((lab.home / "candles" / "sweeps").iterdir())) == 2


def test_a_torn_line_is_no_line(lab: Lab) -> None:
    first = lab.json("sweep", "rsi", *LANE, *GRID)
    path = file_of(lab)
    path.write_bytes(path.read_bytes()[:-40])
    assert "11 of them known" in lab.run("sweep", "rsi", *LANE, *GRID).err
    assert lab.json("sweep", "rsi", *LANE, *GRID) == first
    with SweepFile(path) as file:
        assert len(dict(file.lines())) == 12


def test_ctrl_c_shows_what_there_is_and_the_next_run_goes_on(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = lab.json("sweep", "rsi", *LANE, *GRID)
    played = botd.lab.sweep.outcomes

    def cut_short(*arguments: Any, **options: Any) -> Any:
        for count, outcome in enumerate(played(*arguments, **options)):
            if count == 5:
                raise KeyboardInterrupt
            yield outcome

    monkeypatch.setattr(botd.lab.sweep, "outcomes", cut_short)
    done = lab.run("sweep", "rsi", *LANE, *GRID, "--fresh", "-o", "json")
    assert done.code == 130 and "stopped after 5 of 12 sets; the same command goes on with the rest" in done.err
    assert len(json.loads(done.out)) == 5
    monkeypatch.setattr(botd.lab.sweep, "outcomes", played)
    assert "5 of them known" in lab.run("sweep", "rsi", *LANE, *GRID).err
    assert lab.json("sweep", "rsi", *LANE, *GRID) == whole


# -- random, TPE, processes --------------------------------------------------------------------------------


def test_random_sets_are_the_same_for_the_same_seed(lab: Lab) -> None:
    words = ("sweep", "rsi", *LANE, "--range", "period=5:50", "--range", "oversold=20:40", "--random", "15")
    rows = lab.json(*words, "--seed", "7")
    assert len(rows) == 15 and rows == lab.json(*words, "--seed", "7", "--fresh")
    assert {str(row["set"]) for row in rows} != {str(row["set"]) for row in lab.json(*words, "--seed", "8")}


def test_tpe_asks_the_same_again_and_a_file_answers(lab: Lab) -> None:
    pytest.importorskip("optuna", reason="optuna is not installed (extra lab)")
    words = ("sweep", "rsi", *LANE, "--range", "period=5:60", "--range", "oversold=20:40", "--by", "return_pct")
    tpe = (*words, "--tpe", "40", "--top", "40")
    rows = lab.json(*tpe)
    assert lab.json(*tpe) == rows == lab.json(*tpe, "--fresh") and len({str(row["set"]) for row in rows}) == len(rows)
    assert rows[0]["return_pct"] >= lab.json(*words, "--random", "16")[0]["return_pct"] - 1.0
    assert "known from before" in lab.run(*words, "--tpe", "48").err


def test_processes_give_the_same_to_the_last_bit(lab: Lab) -> None:
    own = lab.strategy("mine", "up = talib.SMA(close, self.period)\nreturn Signals(close > up, close < up)", "200")
    words = ("sweep", own, *LANE, "--range", "period=5:40:5", "--fresh")
    assert lab.json(*words, "--processes", "2") == lab.json(*words)


@pytest.mark.parametrize(
    ("words", "code", "fact"),
    [
        (("rsi", *LANE), 2, "nothing to vary"),
        (("grid", *LANE, "--range", "levels=5:9"), 5, "places its own orders"),
        (("rsi", *LANE, *GRID, "--random", "5", "--tpe", "5"), 2, "exclude each other"),
        (("rsi", *LANE, *GRID, "--dask", "tcp://127.0.0.1:1", "--processes", "2"), 2, "exclude each other"),
        (("rsi", *LANE, *GRID, "--set", "period=7"), 2, "period is set and has a range"),
        (("rsi", *LANE, *GRID, "--set", "perid=7"), 2, "did you mean 'period'"),
        (("rsi", *LANE, "--range", "=5"), 2, "write name=low:high:step"),
        (("rsi", *LANE, "--range", "period=5", "--range", "period=6"), 2, "given twice"),
        (("rsi", *LANE, "--range", "oversold=1:9", "--tpe", "5", "--data", "none.csv"), 2, "none.csv"),
    ],
)
def test_what_cannot_be_is_one_line_and_its_exit_code(lab: Lab, words: tuple[str, ...], code: int, fact: str) -> None:
    done = lab.run("sweep", *words)
    assert (done.code, done.out) == (code, "") and fact in done.err, done.err


def test_ctrl_c_waits_until_what_belongs_together_is_done() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt):
        with undivided():
            os.kill(os.getpid(), signal.SIGINT)
            done.append("kept, counted and ranked")
        done.append("too far")
    assert done == ["kept, counted and ranked"] and signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("option", [("--symbol", "ETH/USDT"), ("--interval", "5m")])
@pytest.mark.parametrize("verb", ["sweep", "walk-forward"])
def test_an_option_that_is_given_once_does_not_silently_become_the_last(
    lab: Lab, verb: str, option: tuple[str, str]
) -> None:
    done = lab.run(verb, "rsi", *LANE, *option, *GRID)
    assert done.code == 2 and "is given 2 times" in done.err and option[1] in done.err


def test_the_table_says_that_there_are_more(lab: Lab) -> None:
    shown = lab.run("sweep", "rsi", *LANE, *GRID, "--top", "3")
    assert "12 sets" in shown.err and "the best 3 of them (--top)" in shown.err


def test_larger_candles_of_the_store_trade_by_the_step_of_those_stored(lab: Lab) -> None:
    finest = []
    for interval in ("1m", "5m"):
        found = lab.json("backtest", "rsi", "--symbol", "BTC/USDT", "--interval", interval, "--trades")
        finest.append(max(len(trade["quantity"].partition(".")[2]) for trade in found["trade_list"]))
    assert finest == [3, 3]  # of the stored volumes
