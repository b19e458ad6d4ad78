"""Publishes the market that a daemon receives, for daemons that have no connection of their own to the exchange.

It hears of prices like a sink and of candles like a bot, and writes both to Redis from one task: a price leaves
within milliseconds, the latest of each symbol wins; candles are taken from the market's own arrays, so that what was
corrected there is corrected for the others. Several publishers may run: one leads, the others keep the same lanes
and wait (:mod:`.election`). A new leader, or one whose Redis forgot, compares every stream with its candles first.

It never waits on the market's way, never raises to it, and a Redis that is away costs it nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

import msgspec
from redis.exceptions import ResponseError

from botd.domain.candle import Candle, interval_ms
from botd.domain.clock import Clock
from botd.domain.instrument import Instrument
from botd.market.cache.redis_link import RedisLink
from botd.market.candles import candle_list
from botd.market.feed import Quote
from botd.market.lanes import TICKER
from botd.market.manager import MarketManager
from botd.market.shared.election import Election
from botd.market.shared.lane_stream import Command, Found, Mend, added, look
from botd.market.shared.messages import (
    SCHEMA,
    Heart,
    KeptInstruments,
    KeptQuote,
    Keys,
    News,
    SharedCandle,
    SharedQuote,
    encode,
    shared_candle,
    shared_quote,
)
from botd.market.shared.scripts import FENCED
from botd.market.shared.wanted import WantedLane, WantedLanes

LEASE_S = 3.0  # without a word of the leader for so long another leads
BEAT_S = 0.5  # the lease is renewed so often
CHECK_S = 10.0
"""Every lane's stream is compared with our candles that often."""
INSTRUMENTS_S = 60.0  # what may be traded is written so often
GAP_S = 0.001
"""The pause after a write, in which newer prices replace older ones."""
UNFIT_MS = 10_000
STAND_BACK_S = 10.0
RESIGN_S = 60.0
"""A leader without prices stands back so long for others to lead, and at most that often."""
_PRICES_TTL_S = 300  # a price that nobody renewed for so long is of no use
_LISTED_TTL_S = 86_400  # what is listed, and the marks of lanes, outlast a day without a publisher
_MOST_QUOTES, _MOST_LANES = 500, 50
"""In one message: what closes at once comes in several, so that the first need not wait for the last."""
_OUR_BUSINESS = (b"WRONGTYPE", b"ERR The ID specified")
"""Refusals that the next comparison mends; any other is an outage."""

logger = logging.getLogger("botd.market.shared")


class Publisher:
    """See the module. ``exchange_ms`` is the exchange's time; ``name`` tells the others who leads."""

    def __init__(
        self,
        link: RedisLink,
        keys: Keys,
        *,
        market: MarketManager,
        clock: Clock,
        name: str,
        exchange_ms: Callable[[], int],
        instruments: Callable[[], dict[str, Instrument]],
        lease_s: float = LEASE_S,
        beat_s: float = BEAT_S,
        check_s: float = CHECK_S,
    ) -> None:
        self._link = link
        self._keys = keys
        self._market = market
        self._clock = clock
        self._exchange_ms = exchange_ms
        self._listed = instruments
        self._beat_s = beat_s
        self._check_s = check_s
        self._election = Election(link, keys, clock, name, lease_s)
        self._wake = asyncio.Event()
        self._wanted = WantedLanes(market, clock, self._wake.set)
        self._quotes: dict[str, Quote] = {}
        """The latest price of each symbol that Redis lacks."""
        self._term = 0
        self._seq = 0
        self._beat_at = 0.0
        self._instruments_at = 0.0
        self._resigned_s = -RESIGN_S
        self._checked = 0
        self._sweep: set[str] = set()
        """Keys that hold something of another kind."""
        self._counts = dict.fromkeys(("written", "candles", "quotes", "terms", "rewritten", "refused"), 0)
        market.add_sink(self)

    # -- the market's side: never waits, never raises

    def on_tick(self, symbol: str, quote: Quote) -> None:
        """Have a price of a symbol that is wanted written."""
        if symbol in self._wanted.symbols:
            self._quotes[symbol] = quote
            self._wake.set()

    def on_open(self, symbol: str, interval: str, open_time: int, price: float) -> None:
        """Not told on tick feeds."""

    def on_closed(self, symbol: str, interval: str, candle: Candle) -> None:
        """Lanes that are wanted are heard of as a bot hears of them."""

    def after_levels(self, symbol: str, interval: str, candle: Candle) -> None:
        """Nothing is published twice."""

    # -- life

    async def run(self) -> None:
        """Publish for ever, whatever happens to Redis."""
        while True:
            try:
                await self._turn()
            except Exception:  # the boundary of the part: the market goes on without it
                logger.exception("publishing the market failed; it goes on in a moment")
                self._wanted.out_of_step()
                await self._clock.sleep(1.0)

    async def close(self) -> None:
        """Give the lease up, and all lanes."""
        await self._election.release()
        await self._link.close()
        self._wanted.close()

    async def _turn(self) -> None:
        """Do what is due, or wait until something is."""
        if not self._link.allows():
            await asyncio.sleep(self._link.wait_s())
            return
        now = self._clock.monotonic()
        beat = now >= self._beat_at
        if beat:
            self._beat_at = now + self._beat_s
            if not await self._beat():
                await asyncio.sleep(self._beat_s / 10)
                return
        if not self._election.leads:
            await asyncio.sleep(max(0.0, self._beat_at - self._clock.monotonic()))
            return
        due = next((lane for lane in self._wanted.lanes.values() if lane.is_due), None)
        if beat or self._quotes or self._wanted.news:
            await self._tell(beat)
        elif due is None:
            await self._rest(self._beat_at - self._clock.monotonic())
        if due is not None and self._election.leads:
            await self._mend(due)

    async def _rest(self, seconds: float) -> None:
        """Wait until there is something to write; not longer than to the next beat."""
        self._wake.clear()
        try:
            await asyncio.wait_for(self._wake.wait(), max(0.001, seconds))
        except TimeoutError:
            pass

    # -- who leads, and what is wanted

    async def _beat(self) -> bool:
        """Renew the lease or wait for it; follow what is wanted; have some lanes compared."""
        listed, now = self._listed(), self._clock.monotonic()
        stopped = self._prices_stopped()
        if stopped and self._election.leads and now - self._resigned_s > RESIGN_S:
            logger.warning("no price for %g s: another may lead", UNFIT_MS / 1000)
            self._resigned_s = now
            await self._election.release()
        stands = bool(listed) and not (stopped and now - self._resigned_s < STAND_BACK_S)
        members = await self._election.beat(stands=stands)
        if members is None:
            return False
        self._add_prices(self._wanted.take(members, listed))
        if not self._election.leads:
            self._quotes.clear()
            return True
        if self._election.epoch != self._term:
            self._begin_term()
        self._compare_some()
        return True

    def _prices_stopped(self) -> bool:
        """Tell whether our exchange says nothing any more: then another should lead, if there is one."""
        times = [quote.time_ms for symbol in self._wanted.symbols if (quote := self._market.quote(symbol)) is not None]
        return bool(times) and self._clock.now_ms() - max(times) > UNFIT_MS

    def _begin_term(self) -> None:
        logger.info("we publish the market, epoch %d", self._election.epoch)
        self._term, self._seq = self._election.epoch, 0
        self._counts["terms"] += 1
        self._instruments_at = 0.0
        self._wanted.out_of_step()
        self._add_prices(self._wanted.symbols)

    def _add_prices(self, symbols: Iterable[str]) -> None:
        for symbol in symbols:
            if (quote := self._market.quote(symbol)) is not None:
                self._quotes[symbol] = quote

    def _compare_some(self) -> None:
        """Let all lanes take turns in being compared with what Redis has."""
        lanes = list(self._wanted.lanes.values())
        for _ in range(min(len(lanes), 1 + int(len(lanes) * self._beat_s / self._check_s))):
            self._checked += 1
            lanes[self._checked % len(lanes)].in_step = False

    # -- writing

    async def _tell(self, beat: bool) -> None:
        """Write what is new: prices, candles, the heart-beat; all of it or nothing."""
        quotes = dict(islice(self._quotes.items(), _MOST_QUOTES))
        stamp, offset = self._stamp(), self._exchange_ms() - self._clock.now_ms()
        prices = [shared_quote(symbol, quote, offset) for symbol, quote in quotes.items()]
        commands = self._kept(prices, stamp)
        news = list(islice(self._wanted.news.values(), _MOST_LANES))
        for lane in news:
            del self._wanted.news[lane.key]
        lanes = [lane for lane in news if lane.in_step]  # the others are compared first
        candles: list[SharedCandle] = []
        last = {lane.key: self._append(lane, commands, candles, stamp) for lane in lanes}
        if beat:
            commands += self._upkeep(stamp)
        failed = await self._send([*commands, self._news(prices, candles, beat)])
        for lane in lanes:
            lane.in_step, lane.last = failed == [], last[lane.key]
        if failed is not None:
            self._counts["quotes"] += len(quotes)
            self._counts["candles"] += len(candles)
            for symbol, quote in quotes.items():
                if self._quotes.get(symbol) is quote:
                    del self._quotes[symbol]
        await asyncio.sleep(GAP_S)

    def _append(
        self, lane: WantedLane, commands: list[Command], candles: list[SharedCandle], stamp: tuple[int, int]
    ) -> int:
        """Add what Redis lacks of a lane; returns the open time of the newest candle there then."""
        newer, lane.fresh = lane.fresh, []
        length = interval_ms(lane.key[1])
        if [candle.open_time for candle in newer] != [lane.last + length * (n + 1) for n in range(len(newer))]:
            ours = self._market.window(*lane.key, lane.length)
            newer = candle_list(ours.part(int(ours.time.searchsorted(lane.last, "right")), len(ours)))
        commands += added(self._keys, lane.key, newer, lane.length, stamp)
        candles += [shared_candle(lane.key, candle) for candle in newer]
        return newer[-1].open_time if newer else lane.last

    def _kept(self, prices: list[SharedQuote], stamp: tuple[int, int]) -> list[Command]:
        command = ["HSET", self._keys.prices]
        for price in prices:
            command += price.symbol, encode(KeptQuote(SCHEMA, stamp[0], price.time, stamp[1], price))
        return [command] if prices else []

    def _upkeep(self, stamp: tuple[int, int]) -> list[Command]:
        """Return the commands that keep the market's keys alive; now and then also what may be traded."""
        commands = [["EXPIRE", self._keys.prices, str(_PRICES_TTL_S)], ["EXPIRE", self._keys.lanes, str(_LISTED_TTL_S)]]
        if self._clock.monotonic() >= self._instruments_at:
            self._instruments_at = self._clock.monotonic() + INSTRUMENTS_S
            kept = KeptInstruments(SCHEMA, stamp[0], self._exchange_ms(), stamp[1], list(self._listed().values()))
            commands.append(["SET", self._keys.instruments, encode(kept), "EX", str(_LISTED_TTL_S)])
        return commands

    async def _mend(self, lane: WantedLane) -> None:
        """Compare a lane's stream with our candles, and bring it in step."""

        async def ask(client: Any) -> list[Any]:
            async with client.pipeline(transaction=False) as pipe:
                look(pipe, self._keys, lane.key)
                return await pipe.execute(raise_on_error=False)  # type: ignore[no-any-return]

        answer = await self._link.attempt(ask)
        if answer is not None:
            ours, found = self._market.window(*lane.key, lane.length), Found(lane.key, answer, self._exchange_ms())
            mend = Mend(self._keys, lane.key, ours, lane.length, found, self._stamp())
            self._counts["rewritten"] += mend.anew and found.length != 0
            told = [shared_candle(lane.key, candle) for candle in mend.told]
            failed = await self._send([*mend.commands, self._news([], told, False)] if told else mend.commands)
            if failed == []:
                lane.in_step, lane.last = True, mend.last
                self._counts["candles"] += len(told)
                return
        await asyncio.sleep(self._beat_s / 10)

    def _stamp(self) -> tuple[int, int]:
        return self._election.epoch, self._clock.wall_ms()

    def _news(self, prices: list[SharedQuote], candles: list[SharedCandle], beat: bool) -> Command:
        self._seq += 1
        epoch, written = self._stamp()
        heart = Heart(self._election.name, self._doubted()) if beat else None
        news = News(SCHEMA, epoch, self._seq, self._exchange_ms(), written, prices, candles, heart)
        return ["PUBLISH", self._keys.news, encode(news)]

    def _doubted(self) -> list[str]:
        ticker = f" {TICKER} "
        return [
            symbol for symbol in self._wanted.symbols if any(ticker in said for said in self._market.doubts(symbol))
        ]

    async def _send(self, commands: list[Command]) -> list[str] | None:
        """Write at one stroke, if the lease is still ours: what Redis refused, None where nothing was written."""
        swept, self._sweep = self._sweep, set()
        commands = [*(["UNLINK", key] for key in swept), *commands]
        given = [self._election.lease, msgspec.msgpack.encode(commands)]

        async def write(client: Any) -> list[Any]:
            answer = await client.register_script(FENCED)([self._keys.leader], given)
            for said in answer[2::2]:
                if not said.startswith(_OUR_BUSINESS):
                    raise ResponseError(said.decode(errors="replace"))
            return answer  # type: ignore[no-any-return]

        answer = await self._link.attempt(write)
        if answer is None:
            self._sweep |= swept
            return None
        if not answer[0]:
            logger.info("another publishes the market now, or Redis forgot that we do")
            self._election.lost()
            return None
        self._counts["written"] += 1
        for index, said in zip(answer[1::2], answer[2::2], strict=True):
            self._counts["refused"] += 1
            if said.startswith(b"WRONGTYPE"):
                self._sweep.add(commands[index][1])
        return [said.decode(errors="replace") for said in answer[2::2]]

    # -- what it says of itself

    @property
    def trouble(self) -> str:
        """Why the others get nothing of us, in one line; empty while all is well."""
        return f"not shared: redis {self._link.trouble}" if self._link.trouble else ""

    @property
    def detail(self) -> str:
        """Who publishes, and what, in one line."""
        if self.trouble:
            return self.trouble
        if self._election.leads:
            return f"publishing {len(self._wanted.lanes)} lanes"
        leader = self._election.leader
        return f"waiting, {leader} publishes" if leader else "nobody publishes yet"

    def statistics(self) -> dict[str, Any]:
        """Return role, leader, epoch, and counters."""
        role = "leading" if self._election.leads else "waiting"
        return {
            "role": role,
            "leader": self._election.leader,
            "epoch": self._term,
            "lanes": len(self._wanted.lanes),
            "out_of_step": sum(not lane.in_step for lane in self._wanted.lanes.values()),
            "garbage": self._wanted.garbage,
            **self._counts,
            **self._link.counts,
        }
