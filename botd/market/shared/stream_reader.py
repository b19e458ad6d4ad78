"""Reads the candles of a lane's stream: what :class:`botd.market.binance.live_lanes.LiveLanes` otherwise asks REST.

Nobody waits for these answers but the lane itself, so they have more time than other operations: a slow Redis costs
no candle. An entry that is none is passed over, and the leader is asked to write the stream anew, by taking the mark
away that says that it is whole.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from redis.exceptions import ResponseError

from botd.domain.candle import Candle, interval_ms
from botd.domain.clock import Clock
from botd.domain.errors import UnavailableError
from botd.market.binance.gate_values import Row
from botd.market.binance.rest import Klines
from botd.market.cache.redis_link import RedisLink
from botd.market.feed import PROOF_MS, Lane
from botd.market.shared.fence import SharedTime
from botd.market.shared.lane_stream import field_of, opened_of, read_mark
from botd.market.shared.messages import Keys, decode_candle

PAGE = 250  # entries in one answer
PATIENCE_S = 2.5
_BEHIND_MS = 90_000
"""A stream that ends so long before it should is not continued by anybody yet."""
_WORD_S = 2.0  # for the first candle of a lane just wanted
_AGAIN = "it is tried again by itself"

Entry = tuple[bytes, dict[bytes, bytes]]

logger = logging.getLogger("botd.market.shared")


class StreamReader:
    """See the module."""

    def __init__(self, link: RedisLink, keys: Keys, clock: Clock, time: SharedTime) -> None:
        self.garbage = 0
        self._link = link
        self._keys = keys
        self._clock = clock
        self._time = time
        self._waiting: dict[Lane, asyncio.Event] = {}

    def server_ms(self) -> int:
        """Return the exchange's time."""
        return self._clock.now_ms() + self._time.offset_ms

    async def history(self, name: str, interval: str, count: int) -> Klines:
        """Return up to ``count`` closed candles, the latest; UnavailableError while they are not all there."""
        lane, key, length = (name, interval), self._keys.candles((name, interval)), interval_ms(interval)
        made_for, held = await self._mark(lane)
        if made_for < count:
            await self._word_of(lane)
            made_for, held = await self._mark(lane)
        if made_for < count:
            raise UnavailableError(f"{name} {interval}: not published yet", _AGAIN)

        async def page(client: Any, last: str, size: int) -> list[Entry]:
            return await client.xrevrange(key, last, "-", count=size)  # type: ignore[no-any-return]

        found = await self._pages(page, "+", count)
        candles = await self._believed(lane, found[::-1])
        if len(candles) < min(count, held):
            await self._complain(lane)
            raise UnavailableError(f"{name} {interval}: what is published is not whole", _AGAIN)
        if not candles or candles[-1].open_time + 2 * length + _BEHIND_MS < self.server_ms():
            raise UnavailableError(f"{name} {interval}: what is published is old", _AGAIN)
        return _answer(candles, length)

    async def klines(self, name: str, interval: str, first: int, limit: int, *_: Any) -> Klines:
        """Return up to ``limit`` closed candles from ``first`` on."""
        lane, key = (name, interval), self._keys.candles((name, interval))

        async def page(client: Any, since: str, size: int) -> list[Entry]:
            return await client.xrange(key, since, "+", count=size)  # type: ignore[no-any-return]

        found = await self._pages(page, str(max(0, first)), limit)
        return _answer(await self._believed(lane, found), interval_ms(interval))

    def on_news(self, lane: Lane) -> None:
        """A candle of the lane was heard: who waits for its stream may look again."""
        if (waiting := self._waiting.get(lane)) is not None:
            waiting.set()

    async def _word_of(self, lane: Lane) -> None:
        """Wait until something is heard of a lane that was just wanted; not for long, the others want theirs too."""
        word = self._waiting[lane] = asyncio.Event()
        try:
            await asyncio.wait_for(word.wait(), _WORD_S)
        except TimeoutError:
            pass
        finally:
            self._waiting.pop(lane, None)

    async def _mark(self, lane: Lane) -> tuple[int, int]:
        marks = await self._ask(lambda client: client.hmget(self._keys.lanes, [field_of(lane)]))
        return read_mark(marks[0] if marks else None)

    async def _complain(self, lane: Lane) -> None:
        """Take the lane's mark away: who leads writes the stream anew."""
        await self._link.attempt(lambda client: client.hdel(self._keys.lanes, field_of(lane)), PATIENCE_S)

    async def _pages(
        self, page: Callable[[Any, str, int], Awaitable[list[Entry]]], start: str, count: int
    ) -> list[Entry]:
        found: list[Entry] = []
        while len(found) < count:
            size, begin = min(PAGE, count - len(found)), start
            entries = await self._ask(lambda client, begin=begin, size=size: page(client, begin, size))  # type: ignore[misc]
            found += entries
            if len(entries) < size:
                break
            start = "(" + entries[-1][0].decode(errors="replace")
        return found

    async def _ask(self, question: Callable[[Any], Awaitable[list[Any]]]) -> list[Any]:
        """Ask Redis; UnavailableError where it does not answer. A key of another kind holds nothing."""
        if self._link.is_open:
            raise UnavailableError(f"redis {self._link.trouble}", _AGAIN)

        async def kindly(client: Any) -> list[Any]:
            try:
                return await question(client) or []
            except ResponseError as error:
                if not str(error).startswith("WRONGTYPE"):
                    raise
                return []

        answer = await self._link.attempt(kindly, PATIENCE_S)
        if answer is None:
            raise UnavailableError("redis does not answer", _AGAIN)
        return answer

    async def _believed(self, lane: Lane, entries: list[Entry]) -> list[Candle]:
        """Return the candles of entries, oldest first; where one is none, have the stream written anew."""
        now, found, bad = self.server_ms(), [], b""
        for entry_id, fields in entries:
            value = (fields or {}).get(b"c")
            candle = decode_candle(lane, opened_of(entry_id), value, now)
            if candle is None:
                self.garbage += 1
                bad = value or entry_id
            else:
                found.append(candle[1])
        if bad:
            log = logger.warning if self.garbage == 1 else logger.debug
            log("%s %s: what is published holds something that is no candle of it: %r", *lane, bad[:80])
            await self._complain(lane)
        return found


def _answer(candles: list[Candle], length: int) -> Klines:
    """Return candles as rows of REST, for :func:`botd.market.binance.proof.proven`, with a row that forms behind them.

    Nothing but closed candles stands in a stream, and it proves no more than that its last one has closed: the answer
    is as recent as that, whenever it was asked for.
    """
    if not candles:
        return Klines([], 0)
    end, price = candles[-1].open_time + length, candles[-1].close
    rows = [Row(candle, int(candle.volume > 0)) for candle in candles]
    rows.append(Row(Candle(end, price, price, price, price, 0.0), 0))
    return Klines(rows, end + PROOF_MS)
