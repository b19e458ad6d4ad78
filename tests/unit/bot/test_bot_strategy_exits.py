"""A strategy that calls ``sys.exit()`` fails its own bots; the daemon and its evaluation thread go on."""

from __future__ import annotations

import asyncio
import sys

import numpy as np
import pytest

from botd.bot.evaluation import Evaluation, EvaluationThread
from botd.domain.candles import Candles
from botd.strategy.base import Signals, SignalStrategy


class Leaver(SignalStrategy):
    """Wants out of everything."""

    def warmup(self) -> int:
        return 1

    def signals(self, candles: Candles) -> Signals:
        sys.exit("enough")


def _candles() -> Candles:
    one = np.array([1.0])
    return Candles(interval="1m", time=np.array([60_000]), open=one, high=one, low=one, close=one, volume=one)


def test_what_a_strategy_ends_is_its_own_evaluation() -> None:
    evaluation = Evaluation(Leaver(), ("BTC/USDT", "1m"), 1, True)
    evaluation.compute(_candles())
    assert isinstance(evaluation.error, RuntimeError) and "SystemExit" in str(evaluation.error)
    assert not evaluation.enter and not evaluation.exit


def test_the_thread_that_runs_it_answers_and_goes_on() -> None:
    async def script() -> list[int]:
        thread, heard = EvaluationThread(), list[int]()
        with pytest.raises(RuntimeError, match="SystemExit"):
            await asyncio.wait_for(thread.run(lambda: sys.exit(1)), 5)
        await asyncio.wait_for(thread.run(lambda: heard.append(1)), 5)
        return heard

    assert asyncio.run(script()) == [1]
