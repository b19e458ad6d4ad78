"""Every built-in strategy says in one line when it buys and sells, with its parameters and its notes' words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from botd.domain.candles import Candles
from botd.domain.errors import InvalidError
from botd.strategy.base import SignalStrategy
from botd.strategy.registry import Registry

REGISTRY = Registry.standard()
WORDS = {
    "rsi": (
        {"oversold": 25},
        "enters while rsi (14) is below 25, exits while above 70; neither once the close stood still for 70 candles",
    ),
    "macd": ({}, "enters while histogram is above 0, exits below 0"),
    "mean_reversion": ({}, "enters while close is below lower (2 deviations under middle), exits above middle"),
    "ema_cross": ({"fast": 5}, "enters while fast (5 candles) is above slow (26), exits while it is below"),
    "breakout": ({}, "enters on a close above highest (of 20 candles), exits below lowest (of 10)"),
    "grid": (
        {"lower": "100", "upper": "200", "levels": 5},
        "buys at 4 levels from 100 up, sells each purchase one level higher, the last at 200",
    ),
    "dca": ({"amount": "50"}, "buys for 50 every 1h, sells all at 3% above the average cost"),
}


def test_no_strategy_is_forgotten() -> None:
    assert set(REGISTRY.names()) == set(WORDS)


@pytest.mark.parametrize("name", WORDS)
def test_a_strategy_says_its_rule_with_its_parameters(name: str) -> None:
    params, words = WORDS[name]
    assert REGISTRY.load(name).build(params).in_words() == words


@pytest.mark.parametrize("name", [name for name in WORDS if name not in ("grid", "dca")])
def test_the_rule_speaks_of_the_notes(name: str) -> None:
    strategy = REGISTRY.load(name).build({})
    assert isinstance(strategy, SignalStrategy)
    time = np.arange(300, dtype=np.int64) * 60_000
    closes = 100 + np.sin(time / 1e6)
    notes = strategy.signals(Candles("1m", time, closes, closes, closes, closes, closes)).notes
    assert any(note in strategy.in_words() for note in notes)


def test_a_users_strategy_may_say_nothing_and_may_not_raise(tmp_path: Path) -> None:
    page = (
        "from botd.strategy.base import SignalStrategy\n\n\nclass Mine(SignalStrategy):\n"
        "    def warmup(self):\n        return 1\n\n    def signals(self, candles):\n        return None\n"
    )
    (tmp_path / "mine.py").write_text(page)
    assert Registry(tmp_path).load("mine").build({}).in_words() == ""
    (tmp_path / "other.py").write_text(page + "\n    def in_words(self):\n        return 1 / 0\n")
    with pytest.raises(InvalidError, match="other: ZeroDivisionError"):
        Registry(tmp_path).load("other").build({})
