"""A small world for each test, and minds of the test's making."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from botd.bot.bot import Bot
from botd.bot.event_mind import EventMind
from botd.bot.signal_mind import SignalMind
from botd.strategy.base import EventStrategy, SignalStrategy
from tests.fakes.small_world import SmallWorld

Script = Callable[[SmallWorld], Coroutine[Any, Any, None]]


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., None]:
    """Run a script in a world that began; its ledger is closed afterwards."""

    def go(script: Script, market: Any = (100,) * 50, **config: Any) -> None:
        async def all_of_it() -> None:
            small = SmallWorld(tmp_path, market, **config)
            await small.begin()
            try:
                await script(small)
            finally:
                await small.end(killed=True)

        asyncio.run(all_of_it())

    return go


@pytest.fixture
def by_signals() -> Callable[..., Callable[[Bot], SignalMind]]:
    def mind(strategy: SignalStrategy, key: str = "test", trusted: bool = True) -> Callable[[Bot], SignalMind]:
        return lambda bot: SignalMind(bot, strategy, (key,), needs=1, trusted=trusted)

    return mind


@pytest.fixture
def by_hooks() -> Callable[..., Callable[[Bot], EventMind]]:
    def mind(strategy: EventStrategy, trusted: bool = True, **memory: Any) -> Callable[[Bot], EventMind]:
        return lambda bot: EventMind(bot, strategy, memory, needs=1, trusted=trusted)

    return mind
