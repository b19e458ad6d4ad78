"""The feed of a daemon that has no connection to the exchange: it follows what another publishes in Redis.

The same rules of completeness hold as on the exchange's own streams: the lanes are
:class:`botd.market.binance.live_lanes.LiveLanes`, their stream is the channel of news and what they ask REST for is
read from the streams of Redis. What it wants is written there, so that whoever publishes subscribes for it too.

Prices are as old as the exchange's time says. It decides nothing for bots, and nothing fails for good: without Redis
or without a publisher prices grow stale, nothing is opened, and all goes on by itself when they are back.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from math import inf
from typing import Any

from redis.exceptions import RedisError

from botd.domain.candle import Candle
from botd.domain.clock import Clock, seeded_random
from botd.domain.errors import UnavailableError
from botd.domain.instrument import Instrument
from botd.market.binance.binance_feed import FedMarket
from botd.market.binance.completeness import HOLD_MS
from botd.market.binance.live_lanes import LiveLanes
from botd.market.cache.redis_link import RedisLink
from botd.market.feed import Lane
from botd.market.shared.fence import ANEW, OLD, Fence, SharedTime
from botd.market.shared.messages import (
    FUTURE_MS,
    Heart,
    Keys,
    News,
    candle_of,
    decode_instruments,
    decode_news,
    wanted_member,
)
from botd.market.shared.scripts import WANT
from botd.market.shared.shared_prices import SharedPrices
from botd.market.shared.stream_reader import StreamReader

WANT_S = 5.0  # what is wanted is said so often
WANT_TTL_S = 30.0  # and forgotten so long after
SILENT_S = 5.0
"""A channel without a word for so long is subscribed to anew."""
LISTING_S = 60.0  # what may be traded is looked up as often as it is published
TICK_S = 0.25  # how late a gate may be called
LEADERLESS_S = 3.0  # without a heart-beat for so long nobody publishes
_CONNECT_S = 3.0  # to connect and to subscribe
_NAMED = 3  # symbols in trouble that are named, before the others are counted

logger = logging.getLogger("botd.market.shared")


class SharedFeed:
    """See the module. :meth:`start` until it succeeds, then :meth:`run`; :meth:`close` at the end.

    ``on_listing`` is called whenever it has looked up anew what may be traded.
    """

    def __init__(
        self,
        link: RedisLink,
        keys: Keys,
        *,
        market: FedMarket,
        clock: Clock,
        seed: int | str = "shared-feed",
        on_listing: Callable[[], None] = lambda: None,
        want_s: float = WANT_S,
        silent_s: float = SILENT_S,
        tick_s: float = TICK_S,
    ) -> None:
        self._link = link
        self._keys = keys
        self._market = market
        self._clock = clock
        self._on_listing = on_listing
        self._listed_s = clock.monotonic()
        self._want_s = want_s
        self._silent_s = silent_s
        self._tick_s = tick_s
        self._rng = seeded_random(seed)
        self._fence = Fence(2 * silent_s)
        self._time = SharedTime()
        self._reader = StreamReader(link, keys, clock, self._time)
        self._lanes = LiveLanes(market, self._reader, clock, self._rng, self._reconnect)
        self._prices = SharedPrices(market, link, keys, clock, self._time)
        self._instruments: dict[str, Instrument] = {}
        self._changed = asyncio.Event()
        self._leader = ""
        self._heart_s: float | None = None
        self._subscribed_s: float | None = None
        self._listen_anew = False
        self._lagging_ms = 0
        self._cut_off_ms = 0
        """When Redis was last not to be asked."""
        self._ahead = (0, -LEADERLESS_S)
        """How far the last message was ahead that was too far to be believed, and when that was."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._counts = dict.fromkeys(("news", "old", "missed", "garbage", "subscribed"), 0)

    # -- the life of the feed

    async def start(self) -> None:
        """Learn what may be traded. May be called again after it raised UnavailableError."""
        found = await self._link.attempt(lambda client: client.mget([self._keys.instruments]), _CONNECT_S)
        if found is None:
            raise UnavailableError(f"redis {self._link.where} does not answer", "it is tried again by itself")
        self._instruments = decode_instruments(found[0]) or self._instruments
        if not self._instruments:
            raise UnavailableError(
                f"nobody publishes {self._keys.prefix.split(':')[2]} in redis {self._link.where}",
                "set redis.publish: true in a botd with market.source: exchange",
            )

    async def run(self) -> None:
        """Follow for ever; failures are waited out."""
        self._market.watch_lanes(self._changed.set)
        try:
            async with asyncio.TaskGroup() as group:
                for name, part in (("news", self._listen), ("wanted", self._want), ("time", self._watch_time)):
                    group.create_task(self._supervise(name, part), name=f"shared-{name}")
        finally:
            await self._lanes.close()

    async def close(self) -> None:
        """Let go of all connections."""
        await self._lanes.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._link.close()

    async def _supervise(self, name: str, part: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await part()
            except Exception:  # the boundary of a part: the feed goes on
                logger.exception("shared market, %s; trying again", name)
            await self._clock.sleep(self._rng.uniform(0.1, 1.0))

    # -- what is heard

    async def _listen(self) -> None:
        while True:
            if not self._link.allows():
                await asyncio.sleep(self._link.wait_s())
                continue
            try:
                await self._subscription()
            except (RedisError, OSError, TimeoutError) as error:
                await self._link.failed(error)
                await asyncio.sleep(self._rng.uniform(0.01, 0.1))
            finally:
                self._subscribed_s = None

    async def _subscription(self) -> None:
        """Listen until the connection ends or says nothing any more."""
        client = self._link.connect()
        channel = client.pubsub()
        try:
            await asyncio.wait_for(channel.subscribe(self._keys.news), _CONNECT_S)
            patience = _CONNECT_S
            while (message := await channel.get_message(timeout=patience)) is not None and not self._listen_anew:
                patience = self._silent_s
                if message["type"] == "subscribe":
                    await self._on_subscribed()
                elif message["type"] == "message":
                    self._on_message(message["data"])
            if self._subscribed_s is None:
                raise TimeoutError(f"no answer within {_CONNECT_S:g} s")
        finally:
            self._listen_anew = False
            with contextlib.suppress(RedisError, OSError, RuntimeError):
                await channel.aclose()
                await client.aclose()

    async def _on_subscribed(self) -> None:
        self._link.succeeded()
        self._subscribed_s = self._clock.monotonic()
        self._counts["subscribed"] += 1
        self._read_back()

    def _on_message(self, raw: object) -> None:
        now, now_s = self._clock.now_ms(), self._clock.monotonic()
        news = decode_news(raw, now)
        if news is None or news.time > now + FUTURE_MS:
            self._garbage(raw)
            if news is not None:
                self._ahead = news.time - now, now_s
            return
        verdict = self._fence.judge(news.epoch, news.seq, now_s)
        if verdict == OLD:
            self._counts["old"] += 1
            return
        self._counts["news"] += 1
        self._time.heard(news.time, now, now_s)
        self._lagging_ms = now + self._time.offset_ms - news.time
        if verdict == ANEW:
            self._counts["missed"] += 1
            self._read_back()
        self._take(news)

    def _take(self, news: News) -> None:
        for quote in news.quotes:
            self._prices.take(quote)
        for shared in news.candles:
            lane = (shared.symbol, shared.interval)
            candle = candle_of(shared, lane, self._reader.server_ms())
            if candle is None:
                self._garbage(shared)
            elif lane in self._lanes.lanes:
                self._reader.on_news(lane)
                stream = self._lanes.lanes[lane].stream
                self._lanes.on_kline(stream, candle, int(candle.volume > 0), news.time)
        if news.heart is not None:
            self._on_heart(news.heart)

    def _on_heart(self, heart: Heart) -> None:
        if heart.leader != self._leader:
            logger.info("following %s", heart.leader)
        self._leader, self._heart_s = heart.leader[:64], self._clock.monotonic()
        self._prices.doubt(heart.doubted)

    def _garbage(self, what: object) -> None:
        self._counts["garbage"] += 1
        log = logger.warning if self._counts["garbage"] == 1 else logger.debug
        log("what was published is nothing of ours: %.80r", what)

    def _read_back(self) -> None:
        """Something may have been missed: the lanes look into their streams, and the prices are read."""
        self._lanes.on_connected(frozenset(self._lanes.by_stream))
        self._spawn(self._prices.ask(self._lanes.symbols()))

    def _reconnect(self, stream: str, reason: str) -> bool:
        """Candles are overdue, or came by reading back only: subscribe anew, if that was not just done."""
        since = self._subscribed_s
        if since is None or self._clock.monotonic() - since < 2 * self._silent_s:
            return False
        self._listen_anew = True
        return True

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work, name="shared-prices")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- what is wanted

    async def _want(self) -> None:
        """Follow the lanes that the market wants, and say so in Redis."""
        while True:
            self._changed.clear()
            self._lanes.follow({symbol: symbol for symbol in self._instruments})
            new = self._prices.follow(self._lanes.symbols())
            pause_s = self._want_s
            if self._link.allows():
                if not await self._say_wanted():
                    pause_s = min(1.0, self._want_s)
                await self._prices.ask(new)
                await self._look_up()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), pause_s)

    async def _look_up(self) -> None:
        """Now and then look up what may be traded."""
        if self._clock.monotonic() - self._listed_s < LISTING_S:
            return
        self._listed_s = self._clock.monotonic()
        with contextlib.suppress(UnavailableError):
            await self.start()
            self._on_listing()

    async def _say_wanted(self) -> bool:
        members = [wanted_member(lane, self._market.warmup(*lane)) for lane in self._lanes.lanes]
        given = [round(WANT_TTL_S * 1000), *members]
        answer = await self._link.attempt(lambda client: client.register_script(WANT)([self._keys.wanted], given))
        return answer is not None

    async def _watch_time(self) -> None:
        while True:
            self._be_patient()
            self._lanes.on_time()
            await self._prices.ask(set(self._prices.suspects))
            await self._clock.sleep(self._tick_s)

    def _be_patient(self) -> None:
        """While Redis cannot be asked, and until it was, a hole proves nothing: the lanes hold what waits behind it."""
        now = self._clock.now_ms()
        if self._link.is_open or self._subscribed_s is None:
            self._cut_off_ms = now
        hold_ms = HOLD_MS if now - self._cut_off_ms > HOLD_MS else inf
        for lane in self._lanes.lanes.values():
            lane.gate.hold_ms = hold_ms

    # -- what others ask

    def instruments(self) -> dict[str, Instrument]:
        """Return what may be traded; empty before :meth:`start` succeeded."""
        return dict(self._instruments)

    async def history(self, symbol: str, interval: str, count: int) -> list[Candle]:
        """Return up to ``count`` closed candles that are published, oldest first; UnavailableError without them."""
        found = await self._reader.history(symbol, interval, count)
        return [row.candle for row in found.rows[:-1]]

    def states(self) -> dict[Lane, str]:
        """Return the state of every lane: LIVE, HOLD, GAP or STALE."""
        return {key: lane.gate.state for key, lane in self._lanes.lanes.items()}

    @property
    def age_s(self) -> float | None:
        """How old the newest price is, None before the first."""
        newest = self._prices.newest_ms
        return None if newest is None else (self._clock.now_ms() - newest) / 1000

    @property
    def status(self) -> str:
        """``ok`` or ``degraded``."""
        return "degraded" if self._troubles() else "ok"

    @property
    def detail(self) -> str:
        """What is wrong now, or whom we follow, in one line."""
        age = "" if self.age_s is None else f"last value {self.age_s:.1f} s old"
        troubles = self._troubles()
        if not troubles:
            return f"following {self._leader}" + (f", {age}" if age else "")
        more = [f"and {len(troubles) - _NAMED} more"] if len(troubles) > _NAMED else []
        return "; ".join([*troubles[:_NAMED], *more, *([age] if age else [])])

    def _troubles(self) -> list[str]:
        if not self._instruments:
            return ["not started"]
        found = []
        if self._link.trouble:
            found.append(f"redis {self._link.trouble}")
        elif self._subscribed_s is None:
            found.append(f"redis {self._link.where}: not subscribed")
        elif self._heart_s is None or self._clock.monotonic() - self._heart_s > LEADERLESS_S:
            found.append("nobody publishes")
        ahead_ms, said_s = self._ahead
        if self._clock.monotonic() - said_s > LEADERLESS_S:
            ahead_ms = self._time.offset_ms
        if abs(ahead_ms) > FUTURE_MS / 2:
            found.append(f"our clock and the publisher's are {abs(ahead_ms) / 1000:.0f} s apart")
        return found + self._prices.troubles() + self._lanes.troubles()

    def statistics(self) -> dict[str, Any]:
        """Return status, detail, whom we follow, counters, and a row for every lane."""
        lanes = self._lanes.statistics()
        return {
            "status": self.status,
            "detail": self.detail,
            "role": "following",
            "leader": self._leader,
            "epoch": self._fence.epoch,
            "age_s": self.age_s,
            "instruments": len(self._instruments),
            "lanes": len(self._lanes.lanes),
            "offset_ms": self._time.offset_ms,
            "late_ms": self._lagging_ms,
            **self._counts,
            **self._prices.counts,
            "garbage_candles": self._reader.garbage,
            **self._link.counts,
            "symbols": lanes,
        }
