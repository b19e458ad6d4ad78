"""The price cache in Redis: a cache and a fan-out for other programs, never the truth.

What is put goes into memory at once and on a list of what Redis lacks: one entry per symbol and lane, the
latest wins, so the list is bounded by what is traded. One task writes that list. Each operation has 50 ms;
after three failures in a row a breaker stops trying, and a trial every five seconds finds out when Redis
is back. Then all that it lacks is written from memory. Reading prefers memory, and believes Redis only
what :mod:`botd.market.cache.cache_values` accepts.

Keys: ``<prefix>quote:SYMBOL`` (JSON, expiring) and ``<prefix>candles:SYMBOL:INTERVAL`` (sorted set by open
time, the last N, expiring). Channels of the fan-out: ``<prefix>quote:SYMBOL``, ``<prefix>candle:SYMBOL:INTERVAL``,
with the same JSON. A candle is told in order, twice at most (after an outage; its open time tells), and not at
all when Redis was more than N candles behind: a feed at full speed is not slowed for followers.

It never blocks the loop, never raises to the market, and says one warning an outage.
"""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import Any, TypeVar

from redis.exceptions import ResponseError

from botd.domain.candle import INTERVALS, Candle
from botd.domain.clock import Clock
from botd.market.cache import cache_values
from botd.market.cache.cache import KEEP, MemoryCache
from botd.market.cache.redis_link import RedisLink
from botd.market.feed import Lane, Quote

QUOTE_TTL_S = 300
MINIMUM_CANDLE_TTL_S = 3600
MAXIMUM_CANDLE_TTL_S = 7 * 86_400
BATCH_QUOTES = 100
BATCH_CANDLES = 200
Value = TypeVar("Value")


class RedisCache:
    """Writes through to Redis from a task of its own. ``prefix`` begins all keys and channels."""

    def __init__(
        self,
        host: str,
        port: int,
        clock: Clock,
        prefix: str,
        *,
        keep: int = KEEP,
        operation_s: float = 0.05,
        retry_s: float = 5.0,
        gap_s: float = 0.02,
    ) -> None:
        """``gap_s`` is the pause between two writes, in which newer values replace older ones."""
        self._link = RedisLink(
            host, port, clock, meanwhile="prices are kept in memory", operation_s=operation_s, retry_s=retry_s
        )
        self._clock = clock
        self._prefix = prefix
        self._keep = keep
        self._retry_s = retry_s
        self._gap_s = gap_s
        self._memory = MemoryCache(keep)
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._quotes: dict[str, None] = {}
        self._lanes: dict[Lane, int] = {}
        self._told: dict[Lane, int] = {}
        self._anew: set[Lane] = set()
        self._under_way = 0
        self._counts = dict.fromkeys(("written", "garbage", "rewritten"), 0)

    # -- the market's side: never waits, never raises

    def put_quote(self, symbol: str, quote: Quote) -> None:
        """Keep the latest quote, and have it written."""
        self._memory.put_quote(symbol, quote)
        self._quotes[symbol] = None
        self._wake.set()

    def put_candle(self, symbol: str, interval: str, candle: Candle) -> None:
        """Keep a closed candle, and have it written with those of its lane that Redis lacks."""
        self._memory.put_candle(symbol, interval, candle)
        self._lanes.setdefault((symbol, interval), candle.open_time)
        self._wake.set()

    # -- the reading side

    async def latest(self, symbol: str) -> Quote | None:
        """Return our own latest quote, else what Redis has and can be believed."""
        quote = self._memory.quote(symbol)
        if quote is not None or not self._may_read():
            return quote
        value = await self._link.attempt(lambda client: client.get(self._quote_key(symbol)))
        return self._believed(value, cache_values.decode_quote(symbol, value, self._clock.now_ms()))

    async def candles(self, symbol: str, interval: str, count: int) -> list[Candle]:
        """Return up to ``count`` closed candles, oldest first: ours, and before them those of Redis."""
        ours = await self._memory.candles(symbol, interval, count)
        if len(ours) >= count or not self._may_read():
            return ours
        key = self._candles_key((symbol, interval))
        values = await self._link.attempt(lambda client: client.zrange(key, -count, -1))
        now = self._clock.now_ms()
        before = ours[0].open_time if ours else now + cache_values.FUTURE_MS
        found: dict[int, Candle] = {}
        for value in values if isinstance(values, list) else []:
            candle = self._believed(value, cache_values.decode_candle(symbol, interval, value, now))
            if candle is not None and candle.open_time < before:
                found[candle.open_time] = candle
        return [*(found[open_time] for open_time in sorted(found)), *ours][-count:]

    # -- life

    async def start(self) -> None:
        """Start the task that writes; returns at once, whether Redis is there or not."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="redis-cache")

    async def close(self) -> None:
        """Write what is left if that is quick, and let go of the connection."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            while self._lacking() and not self._link.is_open and await self._write():
                pass
        await self._link.close()

    def status(self) -> dict[str, str]:
        """Return the row for ``health``: degraded while Redis is not reached."""
        trouble = self._link.trouble
        if self._link.is_open:
            trouble += "; prices are kept in memory"
        return {"name": "redis", "status": "degraded" if trouble else "ok", "detail": trouble or self._link.where}

    def statistics(self) -> dict[str, Any]:
        """Return counters: values written, failed operations, outages, garbage found, keys written anew."""
        return {**self._counts, **self._link.counts, "lacking": len(self._quotes) + len(self._lanes) + self._under_way}

    # -- the task

    async def _run(self) -> None:
        while True:
            if not self._link.allows():
                await asyncio.sleep(self._link.wait_s())
                continue
            self._wake.clear()
            done = await (self._write() if self._lacking() else self._ping())
            await asyncio.sleep(self._gap_s)
            if done and not self._lacking():
                await self._rest()

    async def _rest(self) -> None:
        """Wait for something to write; not for ever, so that a Redis lost in a quiet market is noticed."""
        try:
            await asyncio.wait_for(self._wake.wait(), self._retry_s)
        except TimeoutError:
            pass

    def _lacking(self) -> bool:
        return bool(self._quotes or self._lanes)

    async def _ping(self) -> bool:
        return await self._link.attempt(lambda client: client.ping()) is not None

    async def _write(self) -> bool:
        """Write one batch of what Redis lacks; on failure it stays lacking. Return whether it worked."""
        quotes = list(islice(self._quotes, BATCH_QUOTES))
        lanes = self._lane_batch()
        for symbol in quotes:
            del self._quotes[symbol]
        taken = {lane: self._lanes.pop(lane) for lane in lanes}
        self._under_way = len(quotes) + len(lanes)
        answers = None
        try:
            answers = await self._link.attempt(lambda client: self._send(client, quotes, lanes))
            if answers is not None:
                await self._note_written(len(quotes), lanes, answers)
        finally:
            self._under_way = 0
            if answers is None:
                self._quotes |= dict.fromkeys(quotes)
                for lane, since in taken.items():
                    self._lack(lane, since)
        return answers is not None

    async def _note_written(self, quotes: int, lanes: dict[Lane, list[Candle]], excess: list[Any]) -> None:
        self._counts["written"] += quotes + sum(map(len, lanes.values()))
        for lane, candles in lanes.items():
            self._told[lane] = max(candles[-1].open_time, self._told.get(lane, 0))
        await self._mend(dict(zip(lanes, excess, strict=True)), lanes)

    def _lane_batch(self) -> dict[Lane, list[Candle]]:
        """Return the candles to write next, by lane; the rest of a long lane comes with a later batch."""
        batch: dict[Lane, list[Candle]] = {}
        room = BATCH_CANDLES
        for lane, since in self._lanes.items():
            batch[lane] = self._memory.since(lane, since)[:room]
            room -= len(batch[lane])
            if room <= 0:
                break
        return batch

    async def _send(self, client: Any, quotes: list[str], lanes: dict[Lane, list[Candle]]) -> list[Any]:
        """Send one transaction; return for each lane how many values Redis has too many (or too few, below
        zero) since the oldest candle that we keep, or its complaint."""
        written = self._clock.wall_ms()
        async with client.pipeline(transaction=True) as pipe:
            for symbol in quotes:
                quote = self._memory.quote(symbol)
                assert quote is not None
                value = cache_values.encode_quote(symbol, quote, written)
                pipe.set(self._quote_key(symbol), value, ex=QUOTE_TTL_S)
                pipe.publish(self._quote_key(symbol), value)
            counts = [self._add_lane(pipe, lane, candles, written) for lane, candles in lanes.items()]
            answers = await pipe.execute(raise_on_error=False)
        for answer in answers:
            if isinstance(answer, Exception) and not _is_wrong_type(answer):
                raise answer
        found = [(answers[position], expected) for position, expected in counts]
        return [count if isinstance(count, Exception) else count - expected for count, expected in found]

    def _add_lane(self, pipe: Any, lane: Lane, candles: list[Candle], written: int) -> tuple[int, int]:
        """Queue the commands of one lane, which may be repeated safely; return the position of the answer that
        counts its values, and the count that is right.

        We alone write here, so what claims to be newer than what we write is not ours and goes.
        """
        key, (symbol, interval) = self._candles_key(lane), lane
        values = {c.open_time: cache_values.encode_candle(symbol, interval, c, written) for c in candles}
        pipe.zremrangebyscore(key, candles[0].open_time, "+inf")
        pipe.zadd(key, {value: open_time for open_time, value in values.items()})
        pipe.zcount(key, self._memory.oldest(lane), "+inf")
        counted = len(pipe) - 1
        pipe.zremrangebyrank(key, 0, -self._keep - 1)
        pipe.expire(key, _candle_ttl_s(interval, self._keep))
        told = self._told.get(lane, 0)
        for open_time, value in values.items():
            if open_time > told:
                pipe.publish(f"{self._prefix}candle:{symbol}:{interval}", value)
        newer = self._memory.since(lane, candles[-1].open_time + 1)
        return counted, self._memory.kept(lane) - len(newer)

    async def _mend(self, excess: dict[Lane, Any], lanes: dict[Lane, list[Candle]]) -> None:
        """Go on with long lanes; write those anew, once, that Redis lost or that hold something else."""
        for lane, values in excess.items():
            last = lanes[lane][-1].open_time
            if isinstance(values, Exception):
                self._counts["garbage"] += 1
                key = self._candles_key(lane)
                await self._link.attempt(lambda client, key=key: client.unlink(key))  # type: ignore[misc]
                self._lack(lane, 0)
            elif values and lane not in self._anew:
                self._counts["rewritten"] += 1
                self._anew.add(lane)
                self._lack(lane, 0)
            else:
                self._anew.discard(lane)
                if self._memory.since(lane, last + 1):
                    self._lack(lane, last + 1)

    def _lack(self, lane: Lane, since: int) -> None:
        self._lanes[lane] = min(since, self._lanes.get(lane, since))

    def _may_read(self) -> bool:
        return not self._link.is_open

    def _believed(self, raw: object, value: Value | None) -> Value | None:
        if value is None and raw is not None:
            self._counts["garbage"] += 1
        return value

    def _quote_key(self, symbol: str) -> str:
        return f"{self._prefix}quote:{symbol}"

    def _candles_key(self, lane: Lane) -> str:
        return f"{self._prefix}candles:{lane[0]}:{lane[1]}"


def _is_wrong_type(answer: Exception) -> bool:
    """Tell whether a command met a key that holds something of another kind."""
    return isinstance(answer, ResponseError) and str(answer).startswith("WRONGTYPE")


def _candle_ttl_s(interval: str, keep: int) -> int:
    """Return how long a lane is kept without news: its own span, an hour at least, a week at most."""
    return min(max(INTERVALS.get(interval, 0) * keep // 1000, MINIMUM_CANDLE_TTL_S), MAXIMUM_CANDLE_TTL_S)
