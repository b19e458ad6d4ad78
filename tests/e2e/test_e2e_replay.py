"""A replayed month gives, trade by trade, what an independent plain loop gives."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import talib

from tests.fakes.plain_loop import PlainTrade, play, read_rows, signals

BOTS: dict[str, dict[str, float]] = {
    "rsi": {"stop_loss": 0.02, "take_profit": 0.04},
    "macd": {},
    "mean_reversion": {"trailing": 0.015},
    "ema_cross": {"atr_stop": 3, "break_even": 0.005},
    "breakout": {"stop_loss": 0.02, "time_stop": 100},
}
OPTIONS = {"stop_loss": "--stop-loss", "take_profit": "--take-profit", "trailing": "--trailing-stop"}
OPTIONS |= {"atr_stop": "--atr-stop", "break_even": "--break-even", "time_stop": "--time-stop"}
COUNTS = ("atr_stop", "time_stop")


def replay_config(file: Path, symbol: str, interval: str, **more: Any) -> dict[str, Any]:
    return {
        "market": {
            "source": "replay",
            "files": {symbol: str(file)},
            "interval": interval,
            "speed": 0,
            "autoplay": False,
            **more,
        },
        "paper": {"slippage": "0%"},
        "risk": {"preset": "off"},
    }


def create_bots(botd: Any, symbol: str, interval: str) -> None:
    for name, stops in BOTS.items():
        words = {key: f"{value}" if key in COUNTS else f"{value * 100:g}%" for key, value in stops.items()}
        options = [word for key, value in words.items() for word in (OPTIONS[key], value)]
        botd.run(
            "create",
            name,
            "--strategy",
            name,
            "--symbol",
            symbol,
            "--interval",
            interval,
            "--capital",
            "10000",
            *options,
            "--start",
        )


def milliseconds(text: str) -> int:
    return round(datetime.datetime.fromisoformat(text).timestamp() * 1000)


def assert_same_trades(rows: list[dict[str, Any]], expected: list[PlainTrade]) -> None:
    closed = [row for row in rows if row["exit_time"] is not None]
    assert len(closed) == len(expected)
    for row, trade in zip(closed, expected, strict=True):
        assert milliseconds(row["entry_time"]) == trade.entry_time
        assert milliseconds(row["exit_time"]) == trade.exit_time
        assert (row["exit_reason"], row["bars"]) == (trade.exit_reason, trade.bars)
        assert float(row["quantity"]) == pytest.approx(trade.quantity, rel=1e-12)
        assert float(row["entry_price"]) == pytest.approx(trade.entry_price, rel=1e-9)
        assert float(row["exit_price"]) == pytest.approx(trade.exit_price, rel=1e-9)
        assert float(row["pnl"]) == pytest.approx(trade.pnl, rel=1e-9, abs=1e-8)


@pytest.mark.parametrize(
    ("file", "symbol", "interval", "step"),
    [
        ("BTCUSDT-1m-2024-08.csv.gz", "BTC/USDT", "1m", 0.00001),
        ("ETHUSDT-5m-2024-07_08.csv.gz", "ETH/USDT", "5m", 0.0001),
        ("SOLUSDT-5m-2024-07_08.csv.gz", "SOL/USDT", "5m", 0.001),
        ("XRPUSDT-5m-2024-07_08.csv.gz", "XRP/USDT", "5m", 0.1),
    ],
)
def test_replay_gives_the_trades_of_the_plain_loop(
    make_botd: Any, data: Path, file: str, symbol: str, interval: str, step: float
) -> None:
    path = data / "ohlcv" / file
    config = replay_config(path, symbol, interval)
    config["instruments"] = {symbol: {"tick": "0.0001", "step": f"{step:f}", "min_notional": "5"}}
    botd = make_botd(config).start()
    create_bots(botd, symbol, interval)
    botd.run("market", "play")
    botd.run("wait", "--for", "market=ended", "--timeout", "160", timeout=170)  # how fast it is: tests/bench/replay.py
    rows = read_rows(path)
    atr = talib.ATR(*(np.array(column) for column in (rows.high, rows.low, rows.close)), 14).tolist()
    for name, stops in BOTS.items():
        expected = play(rows, *signals(name, rows), capital=10_000, step=step, atr=atr, **stops)
        assert len(expected) > 20
        assert_same_trades(botd.json("trades", name), expected)
    assert botd.stop() == 0
