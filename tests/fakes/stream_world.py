"""A stream client at work, and what it told: the harness of its tests."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

from botd.domain.clock import WallClock, seeded_random
from botd.exchange.binance.stream_rules import StreamRules
from botd.market.binance import wire
from botd.market.binance.connection import Connection
from botd.market.binance.shards import Shards
from tests.fakes.stream_server import StreamServer

# A second of the exchange is a tenth of one here; the rest is as short as a busy machine allows.
FAST = StreamRules(
    messages_s=0.1, open_s=2.0, reply_s=2.0, silence_s=5.0, first_pause_s=0.02, longest_pause_s=0.2,
    stable_s=0.05, linger_s=0.05, cooldown_s=0.0,
)  # fmt: skip


class Client:
    """A client at work, and what it told."""

    def __init__(self, url: str, rules: StreamRules, **more: Any) -> None:
        self.seen: list[wire.Message] = []
        self.raw: list[bytes] = []
        self.connected: list[tuple[Connection, frozenset[str]]] = []
        self.lost: list[tuple[Connection, frozenset[str]]] = []
        self.shards = Shards(
            url,
            on_message=self._take,
            clock=WallClock(),
            rng=seeded_random(7),
            rules=rules,
            on_connected=lambda connection, streams: self.connected.append((connection, streams)),
            on_lost=lambda connection, streams: self.lost.append((connection, streams)),
            **more,
        )

    def _take(self, frame: bytes) -> None:
        self.raw.append(frame)
        with contextlib.suppress(wire.WireError):
            found = wire.decode(frame)
            if found is not None:
                self.seen.append(found)

    def updates(self) -> list[int]:
        return [ticker.update for ticker in self.seen if isinstance(ticker, wire.BookTicker)]

    def live(self, *streams: str) -> bool:
        return all(self.shards.is_live(stream) for stream in streams)

    def first(self) -> dict[str, Any]:
        found: dict[str, Any] = self.shards.statistics()["shards"][0]
        return found


@contextlib.asynccontextmanager
async def server() -> AsyncIterator[StreamServer]:
    found = StreamServer()
    await found.start()
    try:
        yield found
    finally:
        await found.stop()


@contextlib.asynccontextmanager
async def client(url: str, streams: set[str], rules: StreamRules = FAST, **more: Any) -> AsyncIterator[Client]:
    found = Client(url, rules, **more)
    found.shards.set_streams(streams)
    task = asyncio.create_task(found.shards.run())
    try:
        yield found
        assert not task.done(), task.exception()
    finally:
        await found.shards.close()
        await asyncio.wait_for(task, 5)


async def until(true: Callable[[], Any], seconds: float = 10.0) -> None:
    """Wait until something is so: bounded, and no longer than it takes."""
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.005)


def run(scene: Any) -> None:
    """Play a scene on a loop of its own, a minute at most."""
    asyncio.run(asyncio.wait_for(scene, 60))
