"""Every recorded file: signals by the catalogue, trades by the kernel, all of it again by the plain loop."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from botd.backtest.history import from_file
from botd.backtest.run import decide
from botd.strategy.registry import Registry
from tests.fakes.backtest_cases import BOTS, Case, assert_same, terms_of
from tests.fakes.plain_loop import read_rows, signals
from tests.fakes.recorded_candles import FILES, NONE_RECORDED


def test_there_are_recorded_files() -> None:
    if not FILES:
        pytest.skip(NONE_RECORDED)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name.removesuffix(".csv.gz"))
def test_a_recorded_file_gives_the_trades_of_the_plain_loop(path: Path) -> None:
    history = from_file(path, "ABC/USDT", path.name.split("-")[1])
    rows = read_rows(path)
    registry, trades = Registry.standard(), 0
    for name in BOTS:
        decisions = decide(history, name, registry.load(name).build({}))
        enter, leave = signals(name, rows)
        np.testing.assert_array_equal(decisions.enter, enter)
        np.testing.assert_array_equal(decisions.exit, leave)
        trades += assert_same(Case(history, decisions, terms_of(name)))
    assert trades > 20
