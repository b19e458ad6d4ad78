"""Every recorded file: signals by the catalogue, trades by the kernel, all of it again by the plain loop."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from botd.backtest.history import from_file
from botd.backtest.run import decide
from botd.backtest.terms import Terms
from botd.strategy.registry import Registry
from tests.fakes.backtest_cases import Case, assert_same
from tests.fakes.plain_loop import read_rows, signals
from tests.fakes.recorded_candles import DATA, NONE_RECORDED

FILES = sorted(DATA.glob("*.csv.gz")) if DATA.is_dir() else []
BOTS: dict[str, dict[str, Any]] = {
    "rsi": {"stop_loss": "0.02", "take_profit": "0.04"},
    "macd": {"atr_stop": "2", "break_even": "0.005", "risk_per_trade": "0.01"},
    "mean_reversion": {"trailing_stop": "0.015", "time_stop": 12},
    "ema_cross": {"slippage": "0", "maker_fee": "0.0002", "take_profit": "0.01", "fraction": "0.3"},
    "breakout": {"stop_loss": "0.01", "trailing_stop": "0.02", "break_even": "0.01", "time_stop": 100},
}


def test_there_are_recorded_files() -> None:
    if not FILES:
        pytest.skip(NONE_RECORDED)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name.removesuffix(".csv.gz"))
def test_a_recorded_file_gives_the_trades_of_the_plain_loop(path: Path) -> None:
    history = from_file(path, "ABC/USDT", path.name.split("-")[1])
    rows = read_rows(path)
    registry, trades = Registry.standard(), 0
    for name, how in BOTS.items():
        decisions = decide(history, name, registry.load(name).build({}))
        enter, leave = signals(name, rows)
        np.testing.assert_array_equal(decisions.enter, enter)
        np.testing.assert_array_equal(decisions.exit, leave)
        terms = Terms(**{key: Decimal(value) if isinstance(value, str) else value for key, value in how.items()})
        trades += assert_same(Case(history, decisions, terms))
    assert trades > 20
