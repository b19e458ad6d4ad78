"""The lanes of a live feed: each has its gate, gets its history, asks REST for what it wants, and feeds the manager.

The gates judge (:mod:`botd.market.binance.completeness`); this page carries out what they say. Questions to REST run as
tasks of their own, a few at a time and never two for the same thing, all through the governor; a failed one is the
gate's business. Delivery is synchronous, in the order in which the gate said it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from botd.domain.candle import Candle, interval_ms
from botd.domain.candles import Candles
from botd.domain.clock import Clock, Random
from botd.domain.errors import BotdError
from botd.exchange.governor import Lane as Priority
from botd.market.binance.completeness import LaneGate
from botd.market.binance.gate_values import GAP, STALE, Changed, Deliver, Output, Reconnect, Restored, Revised, Want
from botd.market.binance.proof import proven
from botd.market.binance.rest import Klines
from botd.market.candles import window_of
from botd.market.feed import Lane
from botd.market.lanes import LaneNews

_AT_ONCE = 8  # lanes whose history is loaded at once
_QUESTIONS_A_LANE = 2  # under way at once
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0
_SPREAD_MS = 4_000  # over which the lanes spread what they ask REST for at a close
_PATIENCE_S = 20.0  # for a permit, while bots wait for the answer
_AUDIT_PATIENCE_S = 60.0  # while nobody does
_LEAST_WARMUP = 20  # contiguous candles that end a GAP, also for readers that need fewer

logger = logging.getLogger("botd.market")


class FedLanes(Protocol):
    """The market manager, as far as lanes go."""

    def on_candle(self, symbol: str, interval: str, candle: Candle | LaneNews) -> None: ...

    def load_history(self, symbol: str, interval: str, candles: Candles) -> None: ...

    def lanes(self) -> dict[Lane, int]:
        """Return the lanes to deliver, with how many candles of history each wants."""
        ...

    def warmup(self, symbol: str, interval: str) -> int: ...


class LaneRest(Protocol):
    """Where history and what was missed are asked for; both raise a BotdError while they are not to be had."""

    def server_ms(self) -> int:
        """Return the exchange's time."""
        ...

    async def klines(
        self, name: str, interval: str, first: int, limit: int, priority: Priority, patience_s: float
    ) -> Klines: ...

    async def history(self, name: str, interval: str, count: int) -> Klines: ...


class LiveLane:
    """One lane: its gate, and how far its history is."""

    def __init__(self, symbol: str, interval: str, name: str, gate: LaneGate) -> None:
        self.symbol = symbol
        self.interval = interval
        self.name = name
        self.stream = f"{name.lower()}@kline_{interval}"
        self.gate = gate
        self.loaded = 0
        """Candles of history that were asked for and are there."""
        self.wanted = 0
        self.loading = False
        self.questions = 0
        self.trouble = ""

    @property
    def key(self) -> Lane:
        return self.symbol, self.interval


class LiveLanes:
    """See the module. ``reconnect(stream, reason)`` makes a stream's connection anew."""

    def __init__(
        self,
        market: FedLanes,
        rest: LaneRest,
        clock: Clock,
        rng: Random,
        reconnect: Callable[[str, str], bool],
    ) -> None:
        self.lanes: dict[Lane, LiveLane] = {}
        self.by_stream: dict[str, LiveLane] = {}
        self._market = market
        self._rest = rest
        self._clock = clock
        self._rng = rng
        self._reconnect = reconnect
        self._tasks: set[asyncio.Task[None]] = set()
        self._loads = asyncio.Semaphore(_AT_ONCE)
        self._questions = asyncio.Semaphore(2 * _AT_ONCE)

    # -- which lanes there are

    def follow(self, names: dict[str, str]) -> set[str]:
        """Take up the lanes that the manager wants and drop the others; ``names`` by symbol. Returns the streams.

        A lane that is dropped and wanted again is a new one: it begins with its history.
        """
        wanted = {lane: count for lane, count in self._market.lanes().items() if lane[0] in names}
        self.lanes = {key: lane for key, lane in self.lanes.items() if key in wanted}
        for (symbol, interval), count in wanted.items():
            warmup = max(_LEAST_WARMUP, self._market.warmup(symbol, interval))
            lane = self.lanes.get((symbol, interval))
            if lane is None:
                spread = self._rng.randrange(min(_SPREAD_MS, interval_ms(interval) // 10))
                gate = LaneGate(interval, warmup=warmup, spread_ms=spread)
                lane = self.lanes[symbol, interval] = LiveLane(symbol, interval, names[symbol], gate)
            lane.gate.warmup = warmup
            lane.wanted = count
            if lane.loaded < count and not lane.loading:
                lane.loading = True
                self._spawn(self._load(lane), f"history {symbol} {interval}")
        self.by_stream = {lane.stream: lane for lane in self.lanes.values()}
        return set(self.by_stream)

    def symbols(self) -> set[str]:
        """Return the symbols that somebody reads."""
        return {symbol for symbol, _ in self.lanes}

    # -- what is heard

    def on_kline(self, stream: str, candle: Candle, trades: int, event_ms: int) -> None:
        """Take a candle that the stream closed."""
        lane = self.by_stream.get(stream)
        if lane is not None:
            self._apply(lane, lane.gate.on_stream(candle, trades, event_ms, self._rest.server_ms()))

    def on_forming(self, stream: str, open_time: int) -> None:
        """A candle forms."""
        lane = self.by_stream.get(stream)
        if lane is not None and lane.gate.next_open is not None and open_time > lane.gate.next_open:
            lane.gate.on_forming(open_time, self._rest.server_ms())

    def on_connected(self, streams: frozenset[str]) -> None:
        """These streams are carried by a new connection."""
        now = self._rest.server_ms()
        for stream in streams:
            lane = self.by_stream.get(stream)
            if lane is not None:
                self._apply(lane, lane.gate.on_reconnected(now))

    def on_time(self) -> None:
        """Let the gates that are due notice what did not come."""
        now = self._rest.server_ms()
        for lane in [lane for lane in self.lanes.values() if lane.gate.due_ms <= now]:
            self._apply(lane, lane.gate.on_time(now))

    # -- carrying out

    def _apply(self, lane: LiveLane, outputs: list[Output]) -> None:
        symbol, interval, market = lane.symbol, lane.interval, self._market
        if outputs and self.lanes.get(lane.key) is not lane:
            return
        for output in outputs:
            kind = type(output)
            if kind is Deliver:
                market.on_candle(symbol, interval, output.candle)  # type: ignore[union-attr]
            elif isinstance(output, Want):
                self._ask(lane, output)
            elif isinstance(output, Changed):
                self._changed(lane, output)
            elif isinstance(output, Revised):
                logger.warning("%s %s: candle of %d revised", symbol, interval, output.after.open_time)
                market.on_candle(symbol, interval, LaneNews(corrected=(output.after,), revised=output.before))
            elif isinstance(output, Restored):
                market.on_candle(symbol, interval, LaneNews(corrected=output.candles))
            elif isinstance(output, Reconnect) and self._reconnect(lane.stream, output.reason):
                logger.warning("%s %s: %s; its connection is made anew", symbol, interval, output.reason)

    def _changed(self, lane: LiveLane, change: Changed) -> None:
        doubted, doubts = change.before in (GAP, STALE), change.after in (GAP, STALE)
        if doubts or doubted:
            doubt = change.after if doubts else ""
            self._market.on_candle(lane.symbol, lane.interval, LaneNews(doubt=doubt, since_ms=self._clock.now_ms()))
            level = logging.WARNING if doubts else logging.INFO
            logger.log(level, "%s %s: %s -> %s %s", *lane.key, change.before, change.after, change.reason)

    # -- asking REST

    def _ask(self, lane: LiveLane, want: Want) -> None:
        if lane.questions < _QUESTIONS_A_LANE:
            lane.questions += 1
            self._spawn(self._answer(lane, want), f"candles {lane.symbol} {lane.interval}")

    async def _answer(self, lane: LiveLane, want: Want) -> None:
        priority, patience = (Priority.MARKET, _PATIENCE_S) if want.urgent else (Priority.HISTORY, _AUDIT_PATIENCE_S)
        try:
            async with self._questions:
                found = await self._rest.klines(lane.name, lane.interval, want.first, want.limit, priority, patience)
        except BotdError as error:
            lane.trouble = error.message
            outputs = lane.gate.on_rest_failed(self._rest.server_ms())
        else:
            lane.trouble = ""
            outputs = lane.gate.on_rest(found.rows, found.asked_ms, want, self._rest.server_ms())
        finally:
            lane.questions -= 1
        self._apply(lane, outputs)

    async def _load(self, lane: LiveLane) -> None:
        """Get a lane's history: until it is there, or nobody wants it any more."""
        failures = 0
        while self.lanes.get(lane.key) is lane and lane.loaded < lane.wanted:
            count = lane.wanted
            try:
                async with self._loads:
                    found = await self._rest.history(lane.name, lane.interval, count)
                lane.trouble = ""
                if self.lanes.get(lane.key) is lane:
                    self._begin(lane, found.rows, found.asked_ms)
                    lane.loaded = count
            except Exception as error:  # the boundary of a lane: nobody else asks for it again
                failures += 1
                lane.trouble = str(error)[:200]
                if not isinstance(error, BotdError):
                    logger.exception("history %s %s; trying again", *lane.key)
                longest = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2 ** min(failures, 10))
                await self._clock.sleep(self._rng.uniform(0.0, longest))
        lane.loading = False

    def _begin(self, lane: LiveLane, rows: list[Any], asked_ms: int) -> None:
        """Put history into the array: a new lane begins after it, an old one gets what was before."""
        now = self._rest.server_ms()
        outputs: list[Output] = []
        if lane.gate.next_open is None:
            history, outputs = lane.gate.begin(rows, asked_ms, now)
        else:
            history = [row.candle for row in proven(rows, lane.gate.length, asked_ms, now)[1]]
        self._market.load_history(lane.symbol, lane.interval, window_of(lane.interval, history))
        self._apply(lane, outputs)

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("%s failed: %s", task.get_name(), error, exc_info=error)

    async def close(self) -> None:
        """Ask no more."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- what it says of itself

    def troubles(self) -> list[str]:
        """Return a line for every lane that is not complete."""
        return [
            f"{lane.symbol} {lane.interval}: {lane.gate.state}, {lane.gate.reason}"
            for lane in self.lanes.values()
            if lane.gate.state in (GAP, STALE)
        ]

    def statistics(self) -> dict[str, dict[str, Any]]:
        """Return by symbol and interval what the gates say."""
        found: dict[str, dict[str, Any]] = {}
        for lane in self.lanes.values():
            row = lane.gate.statistics()
            row["trouble"] = lane.trouble
            found.setdefault(lane.symbol, {})[lane.interval] = row
        return found
