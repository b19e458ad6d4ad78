"""A strategy of two intervals and two markets, from the strategies directory to real processes and back to the lab."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Botd
from tests.fakes.input_strategies import TREND, write_tide, write_trend
from tests.unit.backtest.conftest import walk
from tests.unit.lab.conftest import csv_of, in_cents


def started(home: Path, strategies: Path, candles: int) -> tuple[Botd, tuple[str, ...]]:
    """Return a botd that replays two markets, and the words that give the same candles to the lab."""
    paths = {symbol: home / f"{symbol.partition('/')[0].lower()}.csv" for symbol in ("BTC/USDT", "ETH/USDT")}
    for seed, path in enumerate(paths.values(), 4):
        path.write_text(csv_of(in_cents(walk(candles, seed=seed))))
    files = {symbol: str(path) for symbol, path in paths.items()}
    market = {"source": "replay", "files": files, "speed": 0, "autoplay": False}
    more = {"risk": {"preset": "off"}, "data_dir": str(home / "candles"), "strategies_dir": str(strategies)}
    daemon = Botd(home, {"market": market, **more})
    daemon.start()
    return daemon, ("--data", files["ETH/USDT"], "--symbol", "BTC/USDT", "--data", files["BTC/USDT"])


def played_to_the_end(daemon: Botd) -> list[dict[str, Any]]:
    """Play the market; return the closed trades of alpha, which waited for its first larger candle."""
    daemon.run("market", "play")
    daemon.run("wait", "--for", "market=ended", "--timeout", "60s")
    first = daemon.json("why", "alpha", "--at", "2024-01-01T00:05:00Z")
    assert first["outcome"] == "waiting" and first["gates"][-1]["detail"].startswith(
        "waits for the candle of ETH/USDT 1h that opened at 2023-12-31T23:00:00Z"
    )
    return [row for row in daemon.json("trades", "alpha", "-n", "10000") if row["exit_time"]]


def test_backtest_bot_and_replay_agree_and_why_names_what_is_waited_for(tmp_path: Path) -> None:
    folder = write_trend(tmp_path / "strategies")
    (folder / "ahead.py").write_text(TREND.replace("large.align(talib.EMA(large.close, self.slow))", "large.close[-1]"))
    daemon, data = started(tmp_path, folder, 2500)
    config = ("--config", str(daemon.config_file))
    lane = ("--symbol", "ETH/USDT", "--interval", "1m")
    try:
        words = ("--capital", "10000", "--stop-loss", "2%")
        refused = daemon.run("create", "beta", "--strategy", "ahead", *lane, *words, check=False)
        assert refused.returncode == 5 and "strategy ahead looks ahead: at " in refused.stderr
        daemon.run("create", "alpha", "--strategy", "trend", *lane, *words, "--set", "larger=1h", "--start")
        trades = played_to_the_end(daemon)
    finally:
        daemon.stop()
    told = daemon.json("replay", "alpha", *config)
    assert len(told) == len(trades) > 10 and {row["verdict"] for row in told} == {"same"}
    (row, _) = daemon.json("backtest", "trend", *lane, *data, *words, "--set", "larger=1h", *config)
    assert row["trades"] == len(trades)


def test_a_strategy_that_places_its_own_orders_reads_them_alike_in_the_lab_and_as_a_bot(tmp_path: Path) -> None:
    folder = write_tide(tmp_path / "strategies")
    daemon, data = started(tmp_path, folder, 1500)
    words = ("--symbol", "ETH/USDT", "--interval", "1m", "--capital", "10000", "--set", "larger=1h")
    try:
        refused = daemon.run("create", "beta", "--strategy", "tide", *words, "--set", "market=X/Y", check=False)
        assert refused.returncode == 4 and "beta: strategy tide reads X/Y 5m: no symbol 'X/Y'" in refused.stderr
        daemon.run("create", "alpha", "--strategy", "tide", *words, "--start")
        trades = played_to_the_end(daemon)
    finally:
        daemon.stop()
    (row, _) = daemon.json("backtest", "tide", *words, *data, "--trades", "--config", str(daemon.config_file))
    played = [trade for trade in row["trade_list"] if trade["exit_time"]]
    told = ("entry_time", "exit_time", "exit_reason")
    assert [[one[key] for key in told] for one in played] == [[one[key] for key in told] for one in trades]
    assert [float(one["pnl"]) for one in played] == [pytest.approx(float(one["pnl"]), rel=1e-9) for one in trades]
    assert len(trades) > 10
