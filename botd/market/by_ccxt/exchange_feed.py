"""The live feed: prices by the exchange's streams, closed candles by REST, through ccxt.pro.

Three parts run for ever, each restarted with a growing, jittered pause when it fails, so the feed comes back by itself
when the exchange does:

- *quotes* follows the best bid and ask of every symbol that somebody reads;
- *quiet* asks by REST for symbols without news, because a quiet market is not a stale one; what it finds
  changed twice without the stream's having said so makes the stream begin anew;
- *candles* loads history for new lanes and then fetches each candle when it is proven closed.

The feed delivers to the manager and decides nothing. It places no orders and holds no key.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Protocol

from botd.domain.candle import Candle
from botd.domain.candles import Candles
from botd.domain.clock import Clock, seeded_random
from botd.domain.errors import BotdError, NotFoundError, UnavailableError, said
from botd.domain.instrument import Instrument
from botd.market.by_ccxt.candle_poll import CandleDesk, LanePoll
from botd.market.by_ccxt.ccxt_client import instruments_of, make_client
from botd.market.candles import window_of
from botd.market.feed import Lane, Quote

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
QUIET_MS = 4_000  # without a tick for so long REST is asked
QUIET_CHECK_S = 3.0
SILENT_S = 60.0  # without any tick for so long the stream is made anew
_SYMBOLS_A_WATCH = 50  # in one subscription
_AT_ONCE = 8  # requests under way

logger = logging.getLogger("botd.market")


class FedMarket(Protocol):
    """Who is fed: the market manager."""

    def on_tick(self, symbol: str, quote: Quote) -> None: ...

    def on_candle(self, symbol: str, interval: str, candle: Candle) -> None: ...

    def load_history(self, symbol: str, interval: str, candles: Candles) -> None: ...

    def lanes(self) -> dict[Lane, int]:
        """Return the lanes to deliver, with how many candles of history each wants."""
        ...

    def watch_lanes(self, watcher: Callable[[], None]) -> None:
        """Call ``watcher`` at every change of the lanes."""
        ...


class StreamError(ConnectionError):
    """The stream ended or cannot be trusted."""


class ExchangeFeed:
    """See the module. :meth:`start` until it succeeds, then :meth:`run`; :meth:`close` at the end."""

    def __init__(
        self,
        *,
        exchange: str,
        testnet: bool,
        rest: str | None,
        stream: str | None,
        market: FedMarket,
        clock: Clock,
        seed: int | str = "exchange-feed",
    ) -> None:
        self._exchange = exchange
        self._testnet = testnet
        self._rest = rest
        self._stream = stream
        self._market = market
        self._clock = clock
        self._random = seeded_random(seed)
        self._client: Any = None
        self._candles: CandleDesk | None = None
        self._instruments: dict[str, Instrument] = {}
        self._polls: dict[Lane, LanePoll] = {}
        self._quotes: dict[str, Quote] = {}
        self._doubts: dict[str, int] = {}
        self._lanes_changed = asyncio.Event()
        self._symbols_changed = asyncio.Event()
        self._troubles: dict[str, str] = {}
        self._counts = {"ticks": 0, "candles": 0, "quiet_checks": 0, "restarts": 0, "dropped": 0}

    # -- the life of the feed

    async def start(self) -> None:
        """Load the exchange's markets and time. May be called again after it raised.

        UnavailableError when the exchange cannot be reached, ConfigError when ccxt does not know it.
        """
        try:
            if self._client is None:
                self._client = await make_client(
                    self._exchange, testnet=self._testnet, rest=self._rest, stream=self._stream
                )
                self._candles = CandleDesk(self._client, self._clock)
            await self._client.load_markets(reload=not self._instruments)
            self._instruments = instruments_of(self._client)
            await self._desk().measure_time()
            if not self._instruments:
                raise UnavailableError(f"{self._exchange}: it lists no spot market")
        except BotdError as error:
            self._troubles["start"] = error.message
            raise
        except Exception as error:  # ccxt's own errors, and whatever its parsers do with a broken answer
            self._troubles["start"] = said(error)
            raise UnavailableError(f"{self._exchange}: {said(error)}", "it is tried again by itself") from error
        self._troubles.pop("start", None)

    async def run(self) -> None:
        """Feed for ever; failures are waited out."""
        self._desk()
        self._market.watch_lanes(self._on_lanes)
        async with asyncio.TaskGroup() as parts:
            for name, part in (("quotes", self._follow), ("quiet", self._check_quiet), ("candles", self._poll)):
                parts.create_task(self._supervise(name, part), name=f"feed-{name}")

    async def close(self) -> None:
        """Let go of all connections."""
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(Exception):  # nothing is owed to connections on their way out
                await client.close()

    # -- what others ask

    def instruments(self) -> dict[str, Instrument]:
        """Return what may be traded; empty before :meth:`start` succeeded."""
        return dict(self._instruments)

    async def history(self, symbol: str, interval: str, count: int) -> list[Candle]:
        """Return up to ``count`` closed candles, the latest there are, oldest first.

        NotFoundError for a symbol the exchange has not, UnavailableError when it cannot be asked.
        """
        if self._instruments and symbol not in self._instruments:
            raise NotFoundError(f"{symbol}: no such symbol on {self._exchange}")
        try:
            return await self._desk().history(symbol, interval, count)
        except BotdError:
            raise
        except Exception as error:  # as in start
            raise UnavailableError(f"{symbol} {interval}: no history: {said(error)}") from error

    @property
    def status(self) -> str:
        """``ok`` or ``degraded``."""
        return "degraded" if self.detail else "ok"

    @property
    def detail(self) -> str:
        """What is wrong now, in one line; empty when nothing is."""
        if not self._instruments and not self._troubles:
            return "not started"
        late = [f"{poll.symbol} {poll.interval}: candle overdue" for poll in self._late()]
        return "; ".join([f"{name}: {trouble}" for name, trouble in self._troubles.items()] + late)

    def statistics(self) -> dict[str, Any]:
        """Return status, detail and counters for ``health`` and ``market status``."""
        return {
            "status": self.status,
            "detail": self.detail,
            "instruments": len(self._instruments),
            "symbols": len(self._symbols()),
            "lanes": len(self._polls),
            **self._counts,
            **(self._candles.statistics() if self._candles else {}),
        }

    # -- supervision

    async def _supervise(self, name: str, part: Callable[[], Awaitable[None]]) -> None:
        """Run a part again whenever it fails; a part says by :meth:`_well` that it works."""
        failures = 0
        while True:
            try:
                await part()
            except Exception as error:  # ccxt raises anything on a broken answer; each is waited out the same
                failures = failures + 1 if name in self._troubles else 1
                log = logger.warning if failures == 1 else logger.debug
                log("exchange %s: %s; trying again", name, said(error))
                logger.debug("exchange %s", name, exc_info=error)
                self._troubles[name] = said(error)
                self._counts["restarts"] += 1
            # Full jitter: many daemons that lost the exchange together do not come back together.
            longest = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(failures - 1, 10))
            await self._clock.sleep(self._random.uniform(0, longest))

    def _well(self, name: str) -> None:
        if self._troubles.pop(name, None):
            logger.info("exchange %s: back", name)

    def _on_lanes(self) -> None:
        wanted = self._market.lanes()
        # A lane that is dropped and wanted again is a new one: it begins with its history.
        self._polls = {lane: poll for lane, poll in self._polls.items() if lane in wanted}
        self._lanes_changed.set()
        self._symbols_changed.set()

    def _symbols(self) -> list[str]:
        return sorted({symbol for symbol, _ in self._market.lanes() if symbol in self._instruments})

    def _desk(self) -> CandleDesk:
        if self._candles is None or self._client is None:
            raise UnavailableError(f"{self._exchange}: not connected yet")
        return self._candles

    # -- quotes

    async def _follow(self) -> None:
        """Follow the symbols that somebody reads; when they change, begin anew with the new ones."""
        while True:
            symbols = self._symbols()
            if not symbols:
                self._well("quotes")
            chunks = [symbols[i : i + _SYMBOLS_A_WATCH] for i in range(0, len(symbols), _SYMBOLS_A_WATCH)]
            changed = asyncio.create_task(self._until_other_symbols(symbols), name="feed-symbols")
            tasks = [asyncio.create_task(self._watch(chunk), name="feed-watch") for chunk in chunks]
            try:
                await asyncio.wait([changed, *tasks], return_when=asyncio.FIRST_COMPLETED)
                for task in tasks:
                    if task.cancelled():  # ccxt cancels what waits on a connection that it closes
                        raise StreamError("the stream was closed")
                    if task.done():
                        task.result()
            finally:
                for task in (changed, *tasks):
                    task.cancel()
                await asyncio.gather(changed, *tasks, return_exceptions=True)
                await self._close_streams()

    async def _until_other_symbols(self, symbols: list[str]) -> None:
        while True:
            self._symbols_changed.clear()
            if self._symbols() != symbols:
                return
            await self._symbols_changed.wait()

    async def _watch(self, symbols: list[str]) -> None:
        client = self._client
        watch = client.watch_bids_asks if client.has.get("watchBidsAsks") else client.watch_tickers
        while True:
            try:
                tickers = await asyncio.wait_for(watch(symbols), SILENT_S)
            except TimeoutError:
                raise StreamError(f"no word of {len(symbols)} symbols for {SILENT_S:g} s") from None
            self._well("quotes")
            for ticker in tickers.values():
                if self._take(ticker):
                    self._doubts.pop(ticker["symbol"], None)

    async def _close_streams(self) -> None:
        client = self._client
        if client is None:
            return
        for connection in list(client.clients.values()):
            with contextlib.suppress(Exception):  # it is on its way out
                await connection.close()
        client.clients = {}
        client.ws_dial_backoff = {}  # our own pauses are enough

    def _take(self, ticker: Any) -> bool:
        """Deliver a ticker as a quote; a best bid above the ask or a price that is none is dropped."""
        symbol, bid, ask = ticker.get("symbol"), ticker.get("bid"), ticker.get("ask")
        if symbol not in self._instruments or bid is None or ask is None or not 0 < bid <= ask < math.inf:
            self._counts["dropped"] += 1
            return False
        # Spot book tickers carry neither a last price nor a time of their own.
        quote = Quote(float(bid), float(ask), float(ticker.get("last") or (bid + ask) / 2), self._clock.now_ms())
        self._quotes[symbol] = quote
        self._counts["ticks"] += 1
        self._market.on_tick(symbol, quote)
        return True

    # -- symbols without news

    async def _check_quiet(self) -> None:
        while True:
            await self._clock.sleep(QUIET_CHECK_S)
            before = {symbol: self._quotes.get(symbol) for symbol in self._symbols()}
            oldest = self._clock.now_ms() - QUIET_MS
            quiet = [symbol for symbol, quote in before.items() if quote is None or quote.time_ms <= oldest]
            if quiet and self._client.has.get("fetchBidsAsks"):
                self._counts["quiet_checks"] += 1
                tickers = await self._client.fetch_bids_asks(quiet)
                for symbol in quiet:
                    if symbol in tickers and self._quotes.get(symbol) is before[symbol]:
                        self._compare(before[symbol], tickers[symbol])
            self._well("quiet")
            connections = self._client.clients.values()
            if connections and all(connection.isConnected for connection in connections):
                self._well("quotes")  # where nobody trades, a stream that stands may have nothing to say

    def _compare(self, before: Quote | None, ticker: Any) -> None:
        """Take what REST says of a quiet symbol. A stream that missed it twice is dead without knowing it."""
        symbol = ticker["symbol"]
        if not self._take(ticker) or before is None:
            return
        quote = self._quotes[symbol]
        if (quote.bid, quote.ask) == (before.bid, before.ask):
            self._doubts.pop(symbol, None)
            return
        self._doubts[symbol] = self._doubts.get(symbol, 0) + 1
        if self._doubts[symbol] >= 2:
            self._doubts.clear()
            for connection in self._client.clients.values():
                connection.reject(StreamError(f"{symbol} moved and the stream did not say so"))

    # -- candles

    async def _poll(self) -> None:
        while True:
            self._lanes_changed.clear()
            desk = self._desk()
            await desk.measure_time()
            wanted = {lane: count for lane, count in self._market.lanes().items() if lane[0] in self._instruments}
            new = [lane for lane, count in wanted.items() if self._loaded(lane) < count]
            await self._several(self._warm_up(*lane, wanted[lane]) for lane in new)
            due = [poll for poll in self._polls.values() if poll.ask_ms <= desk.server_ms()]
            await self._several(self._fetch(poll) for poll in due)
            self._well("candles")
            nearest = min((poll.ask_ms for poll in self._polls.values()), default=desk.server_ms() + 30_000)
            await self._until_lanes_change(min(30.0, max(0.05, (nearest - desk.server_ms()) / 1000)))

    def _loaded(self, lane: Lane) -> int:
        poll = self._polls.get(lane)
        return -1 if poll is None else poll.loaded

    async def _warm_up(self, symbol: str, interval: str, count: int) -> None:
        desk = self._desk()
        candles = await desk.history(symbol, interval, count)
        if (symbol, interval) not in self._market.lanes():
            return
        self._market.load_history(symbol, interval, window_of(interval, candles))
        next_open = candles[-1].open_time + LanePoll(symbol, interval, 0, 0).length if candles else 0
        self._polls[symbol, interval] = LanePoll(symbol, interval, next_open or desk.forming(interval), count)

    async def _fetch(self, poll: LanePoll) -> None:
        desk = self._desk()
        candles = await desk.closed_since(poll.symbol, poll.interval, poll.next_open)
        if self._polls.get((poll.symbol, poll.interval)) is not poll:
            return
        for candle in candles:
            self._counts["candles"] += 1
            self._market.on_candle(poll.symbol, poll.interval, candle)
            poll.expect(candle.open_time + poll.length)
        if not candles:
            poll.missed(desk.server_ms())

    def _late(self) -> list[LanePoll]:
        if self._candles is None:
            return []
        now = self._candles.server_ms()
        return [poll for poll in self._polls.values() if poll.late(now)]

    # -- waiting

    async def _several(self, works: Iterable[Awaitable[None]]) -> None:
        """Await all, a few at a time; then raise the first failure, so one lane cannot hold back the others."""
        gate = asyncio.Semaphore(_AT_ONCE)

        async def one(work: Awaitable[None]) -> None:
            async with gate:
                await work

        for result in await asyncio.gather(*(one(work) for work in works), return_exceptions=True):
            if isinstance(result, BaseException):
                raise result if isinstance(result, Exception) else StreamError("the request was cancelled")

    async def _until_lanes_change(self, seconds: float) -> None:
        """Sleep, or less if the lanes change meanwhile."""
        tasks = [asyncio.ensure_future(self._clock.sleep(seconds)), asyncio.ensure_future(self._lanes_changed.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
