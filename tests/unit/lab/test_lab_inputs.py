"""The lab with a strategy that reads a larger interval and another market: every command, the same figures."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from botd.backtest.history import from_store
from botd.backtest.sweep import Set, sweep
from botd.domain.candles import complete_buckets
from botd.lab.inputs import rows_from, with_inputs
from botd.lab.ranking import STATISTICS
from botd.lab.work import payload_of, play_part
from botd.market.store.candle_store import CandleStore
from botd.strategy.inputs import Read
from botd.strategy.registry import Registry, StrategyInfo
from tests.fakes.input_strategies import TREND, write_trend
from tests.unit.lab.conftest import Lab, csv_of

LANE = ("--symbol", "ETH/USDT", "--interval", "1m")
GRID = ("--range", "slow=2:5", "--range", "larger=5m,15m,1h")
AHEAD = (
    TREND.replace("large.align(talib.EMA(large.close, self.slow))", "opened(large, candles)")
    + '''

def opened(large, candles):
    """The larger candle that is open still."""
    at = large.time.searchsorted(candles.time, side="right") - 1
    return large.close[at]
'''
)


@pytest.fixture
def trend(lab: Lab) -> Lab:
    write_trend(lab.home / "strategies")
    return lab


def info_of(lab: Lab) -> StrategyInfo:
    return Registry.standard(lab.home / "strategies").load("trend")


def test_a_backtest_and_the_bot_itself_make_the_same_trades(trend: Lab) -> None:
    words = ("backtest", "trend", *LANE, "--stop-loss", "1%", "--trades")
    fast, exact = trend.json(*words), trend.json(*words, "--exact")
    assert len(fast["trade_list"]) == len(exact["trade_list"]) > 20
    for one, other in zip(fast["trade_list"], exact["trade_list"], strict=True):
        assert all(one[key] == other[key] for key in ("entry_time", "exit_time", "quantity", "exit_reason", "bars"))
    assert fast["params"]["market"] == "BTC/USDT"


def test_every_set_of_a_sweep_gives_what_its_backtest_gives(trend: Lab) -> None:
    rows = trend.json("sweep", "trend", *LANE, *GRID)
    assert len(rows) == 12 and {row["set"]["larger"] for row in rows} == {"5m", "15m", "1h"}
    for row in (rows[0], rows[5], rows[-1]):
        words = [word for key, value in row["set"].items() for word in ("--set", f"{key}={value}")]
        alone = trend.json("backtest", "trend", *LANE, *words)
        assert all(row[key] == alone[key] for key in STATISTICS)


def test_processes_and_a_copy_on_the_wire_play_the_same_to_the_last_bit(trend: Lab) -> None:
    words = ("sweep", "trend", *LANE, *GRID, "--range", "market=BTC/USDT,ETH/USDT", "--fresh", "--top", "100")
    here = trend.json(*words)
    assert len(here) == 24 and trend.json(*words, "--processes", "2") == here
    info, store = info_of(trend), CandleStore(trend.home / "candles")
    sets = [Set({"slow": slow, "larger": larger}) for slow in (2, 5) for larger in ("3m", "1h")]
    strategies = [(info.name, info.build(one.params)) for one in sets]
    history = with_inputs(from_store(store, "ETH/USDT", "1m"), strategies, rows_from(store, {}))
    assert set(history.inputs) == {("ETH/USDT", "3m"), ("ETH/USDT", "1h"), ("BTC/USDT", "5m")}
    sent = pickle.loads(pickle.dumps(payload_of(history, info)))
    assert [played for played, _ in play_part(sent, sets)] == [one.statistics for one in sweep(history, info, sets)]


def test_what_sets_compute_of_their_inputs_is_computed_once(trend: Lab) -> None:
    """The fast average and the other market's mean are the same in both sets; the slow one is not."""
    from botd.backtest.indicators import remembering
    from botd.backtest.sweep import _Work

    info, store = info_of(trend), CandleStore(trend.home / "candles")
    sets = [Set({"slow": slow, "larger": "5m"}) for slow in (2, 3)]
    strategies = [(info.name, info.build(one.params)) for one in sets]
    work = _Work(with_inputs(from_store(store, "ETH/USDT", "1m"), strategies, rows_from(store, {})), info, sets)
    with remembering(info.cls, work.indicators):  # type: ignore[type-abstract]
        list(work.batches())
    assert work.indicators.asked - work.indicators.computed >= 2 and work.indicators.computed >= 4


def test_tpe_walk_forward_and_report_read_them_too(trend: Lab) -> None:
    rows = trend.json("sweep", "trend", *LANE, "--range", "larger=5m,15m", "--range", "fast=3:9", "--tpe", "6")
    assert len(rows) >= 3
    spans = ("--train", "1d", "--test", "12h")
    walked = trend.json("walk-forward", "trend", *LANE, "--range", "slow=2:4", *spans)
    assert walked[-1]["window"] == "total" and walked[-1]["trades"] > 5
    assert trend.run("report", "trend", *LANE, "--out", "r.html").code == 0


def test_check_examines_with_the_inputs_and_refuses_what_looks_ahead_through_them(trend: Lab) -> None:
    for words in (("check", "trend"), ("check", "trend", *LANE)):
        row = trend.json(*words)
        assert row["result"] == "ok" and row["compared"] > 50
    (trend.home / "strategies" / "ahead.py").write_text(AHEAD)
    for words in (("check", "ahead"), ("check", "ahead", *LANE), ("backtest", "ahead", *LANE)):
        done = trend.run(*words)
        assert (done.code, done.out) == (5, "") and "strategy ahead looks ahead: at 2024-" in done.err
    short = TREND.replace("Input(self.larger, ema_warmup(self.slow))", "Input(self.larger, 2)")
    (trend.home / "strategies" / "short.py").write_text(short)
    done = trend.run("backtest", "short", *LANE, "--set", "larger=5m", "--set", "slow=20")
    assert done.code == 5 and "(and 2 of ETH/USDT 5m, 5 of BTC/USDT 5m: candles= in inputs())" in done.err


def test_another_market_that_is_not_stored_is_named_with_the_command(trend: Lab) -> None:
    done = trend.run("backtest", "trend", *LANE, "--set", "market=SOL/USDT")
    assert done.code == 4 and "no 5m candles of SOL/USDT (binance), which the strategy reads" in done.err
    assert "hint: botctl data download --symbol SOL/USDT --interval 5m --from 30d" in done.err
    assert done.err.count("\n") == 2


def test_an_interval_that_is_no_multiple_is_told_in_a_line(trend: Lab) -> None:
    done = trend.run("backtest", "trend", "--symbol", "ETH/USDT", "--interval", "15m")
    assert done.code == 2 and "strategy trend: it reads 5m candles, which are no multiple of its own 15m" in done.err


def test_files_stand_in_for_the_store(trend: Lab) -> None:
    from_stored = trend.json("backtest", "trend", *LANE)
    store = CandleStore(trend.home / "candles")
    for name in ("BTC", "ETH"):
        (trend.home / f"{name}.csv").write_text(csv_of(store.load(f"{name}/USDT", "1m")))
    words = (*LANE, "--symbol", "BTC/USDT", "--data", "ETH.csv", "--data", "BTC.csv")
    rows = trend.json("backtest", "trend", *words)
    assert {key: rows[0][key] for key in STATISTICS} == {key: from_stored[key] for key in STATISTICS}


def test_a_span_sees_the_larger_candles_before_it(trend: Lab) -> None:
    """The second day alone trades as it does after the first: what is before it is read."""
    words = ("backtest", "trend", *LANE, "--set", "larger=1h", "--trades")
    late = trend.json(*words, "--from", "2024-01-02T12:00:00Z")
    assert not [note for note in late["notes"] if "1h: " in note and "has no candle" in note]
    whole = [row for row in trend.json(*words)["trade_list"] if row["entry_time"] > "2024-01-02T12"]
    entered = [row["entry_time"] for row in late["trade_list"]]
    assert len(entered) > 3 and entered[-3:] == [row["entry_time"] for row in whole][-3:]


def test_a_stored_lane_is_taken_as_it_is_and_what_it_lacks_is_built(tmp_path: Path, lab: Lab) -> None:
    store, minutes = CandleStore(tmp_path / "mine"), lab.candles
    hours = complete_buckets(minutes, "1h")
    other: Any = {name: getattr(hours, name)[:5] for name in ("time", "open", "high", "low", "close", "volume")}
    stored = msgspec.structs.replace(hours, **{**other, "volume": other["volume"] + 1.0})
    store.write("BTC/USDT", "1m", minutes)
    store.write("BTC/USDT", "1h", stored)
    read = Read(("1h", ""), "BTC/USDT", "1h", 3, True)
    rows = rows_from(store, {})(read, "1m", 0, int(minutes.time[-1]) + 60_000)
    np.testing.assert_array_equal(rows.time, hours.time)
    np.testing.assert_array_equal(rows.volume - hours.volume, [1.0] * 5 + [0.0] * (len(hours) - 5))
