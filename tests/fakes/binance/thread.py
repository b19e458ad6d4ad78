"""A front on a loop and a thread of its own, for tests whose own thread is busy waiting for a real process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, TypeVar

from tests.fakes.binance.faults import Fault
from tests.fakes.binance.front import BinanceFront
from tests.fakes.binance.record import Record

T = TypeVar("T")


class FrontThread:
    """Takes what :class:`BinanceFront` takes; a context manager. Its methods may be called from any thread."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.front = BinanceFront(*arguments, **options)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="binance front", daemon=True)

    def start(self) -> FrontThread:
        self._thread.start()
        self.do(self.front.start)
        return self

    def stop(self) -> None:
        self.do(self.front.stop)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def do(self, work: Callable[..., Awaitable[T]], *arguments: Any) -> T:
        """Run a coroutine function of the front on its loop and return what it returns."""

        async def run() -> T:
            return await work(*arguments)

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(60)

    def call(self, action: Callable[..., T], *arguments: Any) -> T:
        """Run a plain function on the front's loop and return what it returns."""

        async def run() -> T:
            return action(*arguments)

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(60)

    @property
    def record(self) -> Record:
        return self.front.record

    @property
    def port(self) -> int:
        return self.front.port

    @property
    def rest_url(self) -> str:
        return self.front.rest_url

    @property
    def ws_url(self) -> str:
        return self.front.ws_url

    def inject(self, fault: Fault) -> Fault:
        return self.call(self.front.inject, fault)

    def mend(self, fault: Fault) -> None:
        self.call(self.front.mend, fault)

    def advance(self, milliseconds: float) -> None:
        self.do(self.front.advance, milliseconds)

    def quote(self, symbol: str, bid: str, ask: str) -> None:
        self.call(self.front.quote, symbol, bid, ask)

    def publish(self, stream: str, event: dict[str, Any] | bytes) -> None:
        self.call(self.front.publish, stream, event)

    def __enter__(self) -> FrontThread:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
