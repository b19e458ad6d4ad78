"""One Redis server as a guest sees it: every operation has its time, and a breaker ends the asking for a while.

After three failures in a row nothing is tried, and a trial every five seconds finds out when Redis is back: one
warning an outage. It knows no key and no value, never blocks the loop, and a failed operation raises nothing:
whoever asked gets None and goes on without.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from botd.domain.clock import Clock
from botd.market.cache.breaker import Breaker

GRACE = 8
"""How often an operation's time is extended because it was the loop that was late, not Redis."""

logger = logging.getLogger("botd.market.cache")
Value = TypeVar("Value")


class RedisLink:
    """See the module. ``meanwhile`` says in the warning what happens without Redis."""

    def __init__(
        self, host: str, port: int, clock: Clock, *, meanwhile: str, operation_s: float = 0.05, retry_s: float = 5.0
    ) -> None:
        self.where = f"{host}:{port}"
        self.reached = False
        """Whether it ever answered."""
        self.counts = {"failures": 0, "outages": 0}
        self._options = {"host": host, "port": port}
        self._clock = clock
        self._meanwhile = meanwhile
        self._operation_s = operation_s
        self._retry_s = retry_s
        self._breaker = Breaker(clock, retry_s=retry_s)
        self._client: Any = None
        self._problem = ""

    @property
    def is_open(self) -> bool:
        """True from the last of some failures until a trial succeeds."""
        return self._breaker.is_open

    @property
    def trouble(self) -> str:
        """Why it cannot be had, in one line; empty while it answers."""
        if self.is_open:
            return f"{self.where} does not answer ({self._problem})"
        return "" if self.reached else f"{self.where} not reached yet"

    def allows(self) -> bool:
        """Tell whether something may be tried now; while the breaker is open, at most once in ``retry_s``."""
        return self._breaker.allows()

    def wait_s(self) -> float:
        """Return how long until something may be tried again."""
        return self._breaker.wait_s()

    def connect(self) -> Any:
        """Return a client of one's own, without retries; its timeouts are only a second net."""
        options: dict[str, Any] = {**self._options, "protocol": 2, "retry": Retry(NoBackoff(), 0)}
        return redis.Redis(**options, socket_timeout=2.0, socket_connect_timeout=2.0)

    async def attempt(
        self, operation: Callable[[Any], Awaitable[Value]], patience_s: float | None = None
    ) -> Value | None:
        """Run one operation within its time; None, and one more failure, where it did not work."""
        try:
            if self._client is None:
                self._client = self.connect()
            work = _awaiting(operation(self._client))
            value = await _within(work, patience_s or self._operation_s, self._clock)
        except Exception as error:  # whatever a broken server makes the client raise: never the market's problem
            await self.failed(error)
            return None
        self.succeeded()
        return value

    def succeeded(self) -> None:
        """It answered."""
        self.reached = True
        if self._breaker.succeeded():
            logger.info("redis %s answers again", self.where)

    async def failed(self, error: Exception) -> None:
        """It did not answer, or nonsense: the client closes that connection. Others may wait for an answer more
        patiently, so theirs go with the breaker only: then all of them may lead nowhere."""
        self.counts["failures"] += 1
        self._problem = _in_words(error)
        if self._breaker.failed():
            self.counts["outages"] += 1
            said = "redis %s does not answer (%s): %s, next try in %g s"
            logger.warning(said, self.where, self._problem, self._meanwhile, self._retry_s)
        if self.is_open:
            await self.close()

    async def close(self) -> None:
        """Throw the connections away; the next operation makes new ones."""
        client, self._client = self._client, None
        if client is None:
            return
        try:
            await _within(client.connection_pool.disconnect(True), self._operation_s, self._clock)
        except (RedisError, OSError, TimeoutError, RuntimeError):
            pass  # they are on their way out


async def _awaiting(work: Awaitable[Value]) -> Value:
    return await work


async def _within(work: Coroutine[Any, Any, Value], seconds: float, clock: Clock) -> Value:
    """Await ``work`` for so many seconds in which the loop was free; else cancel it and raise TimeoutError.

    A timer that rings late means that the loop was busy (a feed at full speed), not that the other side
    is slow: then the answer may be there already, unread, and the time is given again.
    """
    task = asyncio.ensure_future(work)
    try:
        for _ in range(GRACE):
            began = clock.monotonic()
            await asyncio.wait({task}, timeout=seconds)
            if task.done():
                return task.result()
            if clock.monotonic() - began < seconds * 1.2:
                break
        raise TimeoutError(f"no answer within {seconds * 1000:g} ms")
    finally:
        if not task.done():
            task.cancel()
            task.add_done_callback(_forget)


def _forget(task: asyncio.Future[Any]) -> None:
    """Take notice of how a cancelled operation ended, so that nobody complains it was never asked."""
    if not task.cancelled():
        task.exception()


def _in_words(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:120]
