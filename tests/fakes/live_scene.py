"""What scenes of a live market have in common: a bot's ears on a lane, and a loop that hides nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from botd.domain.candle import Candle


class Reader:
    """What a bot was told, and whether it could have opened anything then."""

    def __init__(self, is_denied: Callable[[], bool]) -> None:
        self.candles: list[Candle] = []
        self.denied: list[bool] = []
        self._is_denied = is_denied

    def on_closed(self, candle: Candle) -> None:
        self.candles.append(candle)
        self.denied.append(self._is_denied())

    def on_open(self, open_time: int, price: float) -> None:
        raise AssertionError("tick feeds open no candles")


def play(scene: Callable[[], Coroutine[Any, Any, None]], seconds: float = 30.0) -> None:
    """Run a scene; what asyncio would only log fails it."""

    async def body() -> None:
        complaints: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        await scene()
        assert not complaints, complaints

    asyncio.run(asyncio.wait_for(body(), seconds))
