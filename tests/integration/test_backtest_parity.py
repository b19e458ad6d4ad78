"""Kernel and event path make the same trades: the engine is botd's own bots, guard, gate and exchange on arrays."""

from __future__ import annotations

import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from botd.backtest.history import from_candles, from_file
from botd.backtest.kernel import REASONS
from botd.backtest.parity import difference, kernel_and_engine
from botd.backtest.run import backtest
from botd.backtest.terms import Terms
from botd.domain.candles import Candles
from botd.domain.clock import VirtualClock
from botd.strategy.base import Signals, SignalStrategy
from botd.strategy.registry import Registry
from tests.fakes.backtest_cases import BOTS, case_by, case_of, random_candles, random_terms, terms_of
from tests.fakes.recorded_candles import FILES

CLOCK = VirtualClock()


class Given(SignalStrategy):
    """Says what it was told to say."""

    def __init__(self, enter: Any, leave: Any) -> None:
        super().__init__()
        self._said = Signals(enter=enter, exit=leave)

    def warmup(self) -> int:
        return 1

    def signals(self, candles: Candles) -> Signals:
        return self._said


@pytest.mark.parametrize("block", range(6))
def test_random_signals_terms_filters_and_candles(block: int) -> None:
    reasons: set[str] = set()
    for seed in range(block * 30, block * 30 + 30):
        case = case_of(seed)
        strategy = Given(case.decisions.enter, case.decisions.exit)
        assert kernel_and_engine(case.history, "given", strategy, case.terms, CLOCK) == "", seed
        room, count, _ = case.play()
        reasons.update(REASONS[reason] for reason in room.reason[:count])
    assert len(reasons) >= 5 and "time_stop" in reasons


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.randoms(use_true_random=False), st.integers(2, 40))
def test_signals_terms_filters_and_candles_that_hypothesis_draws(rng: random.Random, count: int) -> None:
    case = case_by(rng, count)
    strategy = Given(case.decisions.enter, case.decisions.exit)
    assert kernel_and_engine(case.history, "given", strategy, case.terms, CLOCK) == ""


def random_params(rng: random.Random, name: str) -> dict[str, Any]:
    low, high = sorted(rng.sample(range(2, 40), 2))
    return {
        "rsi": {"period": rng.randint(2, 20), "oversold": rng.choice((30, 45)), "overbought": rng.choice((50, 70))},
        "macd": {"fast": low, "slow": high, "signal": rng.randint(2, 12)},
        "mean_reversion": {"period": rng.randint(2, 30), "deviations": rng.choice((0.5, 1.0, 2.0))},
        "ema_cross": {"fast": low, "slow": high},
        "breakout": {"entry": rng.randint(2, 30), "exit": rng.randint(2, 30)},
    }[name]


@pytest.mark.parametrize("name", BOTS)
def test_random_parameters_of_each_strategy(name: str) -> None:
    registry = Registry.standard()
    for seed in range(8):
        rng = random.Random(f"{name} {seed}")
        history = from_candles(random_candles(rng, 500), "ABC/USDT", begin=rng.choice((0, 100)))
        strategy = registry.load(name).build(random_params(rng, name))
        assert isinstance(strategy, SignalStrategy)
        assert kernel_and_engine(history, name, strategy, random_terms(rng), CLOCK) == "", seed


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name.removesuffix(".csv.gz"))
def test_the_signal_strategies_on_every_recorded_file(path: Path) -> None:
    history = from_file(path, "ABC/USDT", path.name.split("-")[1])
    registry = Registry.standard()
    for name in BOTS:
        strategy = registry.load(name).build({})
        assert isinstance(strategy, SignalStrategy)
        assert kernel_and_engine(history, name, strategy, terms_of(name), CLOCK) == "", name


def test_limits_that_look_at_every_candle_change_nothing_while_they_are_far() -> None:
    case = case_of(4)
    far = {"preset": "off", "max_drawdown": {"bot": "100%", "account": "100%"}}
    strategy = Given(case.decisions.enter, case.decisions.exit)
    assert kernel_and_engine(case.history, "given", strategy, case.terms, CLOCK, far) == ""


def test_a_difference_is_told() -> None:
    rng = random.Random(1)
    history = from_candles(random_candles(rng, 300), "ABC/USDT")
    flags = np.array([rng.random() < 0.2 for _ in range(300)]), np.array([rng.random() < 0.2 for _ in range(300)])
    one = backtest(history, "given", Given(*flags), Terms(), CLOCK)
    other = backtest(history, "given", Given(*flags), Terms(stop_loss=Decimal("0.001")), CLOCK)
    assert difference(one, one) == ""
    one.room.quantity[0] += float(one.history.instrument.step)
    assert difference(one, backtest(history, "given", Given(*flags), Terms(), CLOCK)).startswith("trade 1, entered")
    one.room.quantity[0] -= float(one.history.instrument.step)
    assert difference(one, other) == "trade 3, entered 2024-01-01T00:40:00Z: exit_row 46, and 39"
