"""One operation that takes too long costs itself, and nobody who waits more patiently; against a real redis-server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from botd.domain.clock import WallClock
from botd.market.cache.redis_link import RedisLink
from tests.fakes.redis_server import RedisServer


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


def test_an_operation_that_takes_too_long_ends_no_other(server: RedisServer) -> None:
    async def scene() -> None:
        link = RedisLink(server.host, server.port, WallClock(), meanwhile="waiting")

        def asked(key: str, patience_s: float | None = None) -> asyncio.Task[Any]:
            return asyncio.create_task(link.attempt(lambda client: client.blpop([key]), patience_s))

        patient = [asked(f"answer{number}", 5.0) for number in range(4)]
        with redis.Redis(host=server.host, port=server.port, socket_timeout=5) as other:
            await until(lambda: other.info("clients")["blocked_clients"] == 4)
            assert await asked("never") is None
            await asyncio.sleep(0)
            assert not any(task.done() for task in patient)
            for number in range(4):
                other.rpush(f"answer{number}", number)
            assert [answer[1] for answer in await asyncio.gather(*patient)] == [b"0", b"1", b"2", b"3"]
        assert (link.is_open, link.counts) == (False, {"failures": 1, "outages": 0})
        await link.close()

    asyncio.run(scene())


def test_an_answer_that_came_too_late_is_nobody_elses(server: RedisServer) -> None:
    async def scene() -> None:
        link = RedisLink(server.host, server.port, WallClock(), meanwhile="waiting")
        with redis.Redis(host=server.host, port=server.port, socket_timeout=5) as other:
            for number in range(20):
                assert await link.attempt(lambda client: client.blpop(["late"])) is None
                other.rpush("late", "of another time")
                other.delete("late")
                assert await link.attempt(lambda client, n=number: client.echo(f"{n}"), 5.0) == b"%d" % number
        await link.close()

    asyncio.run(scene())


async def until(condition: Any, seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)
