"""A user's strategy is examined before a bot takes it: does it look ahead, is its warm-up enough?

The very questions of ``botctl check`` (:mod:`botd.strategy.examination`), on the same candles. They run a user's code,
so a thread asks them while the loop goes on, and one that does not end is left behind. What passed is remembered as
long as file and parameters stay the same. Built-in strategies are not asked, and neither are those that place their
own orders, candle by candle: there is nothing that they could see too early.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from pathlib import Path

import msgspec

from botd.bot.evaluation import EvaluationThread
from botd.domain.bot_spec import BotSpec
from botd.domain.errors import DeniedError
from botd.strategy.base import SignalStrategy
from botd.strategy.examination import examine
from botd.strategy.inputs import Samples, sampled
from botd.strategy.registry import Registry, StrategyInfo
from botd.strategy.trust import trusted

logger = logging.getLogger("botd.orchestrator")

LIMIT_S = 8.0
"""Less than botctl waits for an answer."""

_REMEMBERED = 4_096


class Examiner:
    """Examines, and remembers what passed."""

    def __init__(self, registry: Registry, samples: Samples, state_dir: Path, *, limit_s: float = LIMIT_S) -> None:
        self._registry = registry
        self._samples = samples
        self._state_dir = state_dir
        self._limit_s = limit_s
        self._passed: set[tuple[str, str, str, bytes]] = set()
        self.asked = 0

    async def require(self, spec: BotSpec, known: BotSpec | None = None) -> None:
        """Return where a bot may take the strategy of ``spec``; ``known`` is what it is now, and needs no asking again.

        DeniedError names the first candle that differs, or says that the examination did not end; InvalidError is the
        code's own failure.
        """
        if known is not None and _asked_of(known) == _asked_of(spec):
            return
        info = self._registry.load(spec.strategy, fresh=True)
        key = (info.name, info.digest, spec.interval, msgspec.json.encode(spec.params, order="sorted"))
        if info.builtin or not issubclass(info.cls, SignalStrategy) or key in self._passed:
            return
        await self._ask(info, spec)
        if len(self._passed) >= _REMEMBERED:
            self._passed.clear()
        self._passed.add(key)

    async def _ask(self, info: StrategyInfo, spec: BotSpec) -> None:
        self.asked += 1
        thread = EvaluationThread()
        try:
            await asyncio.wait_for(thread.run(partial(self._examine, info, spec)), self._limit_s)
        except TimeoutError:
            thread.abandon()
            if trusted(self._state_dir).get(info.name) != info.digest:
                raise DeniedError(
                    f"strategy {info.name}: its examination did not end within {self._limit_s:g} s",
                    f"it hangs or is slow; botctl check {info.name} --trust examines it without a limit and lets it in",
                ) from None
            logger.warning("strategy %s: too slow to be examined here; its owner vouched for it", info.name)
        finally:
            thread.end()

    def _examine(self, info: StrategyInfo, spec: BotSpec) -> None:
        strategy = info.build(spec.params)
        assert isinstance(strategy, SignalStrategy)
        examine(info.name, strategy, sampled(info.name, strategy, spec.interval, self._samples))


def _asked_of(spec: BotSpec) -> tuple[str, object, str]:
    """Return what the answer depends on, beside the file."""
    return spec.strategy, spec.params, spec.interval
