"""The prices of a live feed: each symbol's watch, and the comparison of quiet ones with REST.

One request asks for all symbols that were quiet; what it says is fresh, and a stream that did not say it is
distrusted. Where REST cannot be asked, a connection that lives vouches for its quiet symbols, for a while.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Protocol

from botd.domain.candle import Candle
from botd.domain.clock import Clock
from botd.domain.errors import BotdError
from botd.market.binance.gate_values import STALE
from botd.market.binance.price_watch import PriceWatch
from botd.market.binance.rest import BinanceRest
from botd.market.feed import Quote
from botd.market.lanes import TICKER, LaneNews

CHECK_S = 1.0  # quiet symbols are looked for so often
STOPPED_S = 5.0
"""A beat that comes so late says that the process stood still."""
DRAINED_S = 1.0
"""By then the sockets have been read empty."""
_SYMBOLS_A_REQUEST = 100  # the url stays short

logger = logging.getLogger("botd.market")


class FedPrices(Protocol):
    """The market manager, as far as prices go."""

    def on_tick(self, symbol: str, quote: Quote) -> None: ...

    def on_candle(self, symbol: str, interval: str, candle: Candle | LaneNews) -> None: ...


class Streams(Protocol):
    """What carries the streams."""

    def is_live(self, stream: str) -> bool: ...

    def silent_s(self, stream: str) -> float | None: ...

    def reconnect(self, stream: str, reason: str = ...) -> bool: ...


class LivePrices:
    """See the module. Symbols by the exchange's name of them."""

    def __init__(self, market: FedPrices, rest: BinanceRest, clock: Clock, streams: Callable[[], Streams]) -> None:
        self.watches: dict[str, PriceWatch] = {}
        self.trouble = ""
        self._symbols: dict[str, str] = {}
        self._market = market
        self._rest = rest
        self._clock = clock
        self._streams = streams
        self._told: set[str] = set()
        """Names that the manager knows to be doubted."""
        self.counts = {"ticks": 0, "comparisons": 0}
        self._beat_s = clock.monotonic()
        self._disbelieve_until_s = float("-inf")

    def follow(self, names: dict[str, str]) -> set[str]:
        """Watch exactly these: exchange's name -> symbol. Returns the streams."""
        now = self._clock.now_ms()
        for name in self.watches.keys() - names.keys():
            self._tell(name, "")
        self._symbols = dict(names)
        self.watches = {name: self.watches.get(name) or PriceWatch(now) for name in names}
        self._told &= names.keys()
        return {stream_of(name) for name in names}

    def on_tick(self, name: str, bid: float, ask: float, update: int) -> None:
        """Take a tick of the stream."""
        watch = self.watches.get(name)
        if watch is None or self._was_stopped():
            return
        quote = watch.on_tick(bid, ask, update, self._clock.now_ms())
        if quote is not None:
            self.counts["ticks"] += 1
            if self._told:
                self._tell(name, "")
            self._market.on_tick(self._symbols[name], quote)

    def on_connected(self, streams: frozenset[str]) -> None:
        """These streams are carried by a new connection: it is trusted."""
        now = self._clock.now_ms()
        for name, watch in self.watches.items():
            if stream_of(name) in streams:
                watch.trust(now)
                self._tell(name, "")

    def on_time(self) -> None:
        """Notice streams that nothing carries."""
        now, streams = self._clock.now_ms(), self._streams()
        for name, watch in self.watches.items():
            watch.on_time(now, streams.is_live(stream_of(name)))
            if watch.doubt:
                self._tell(name, STALE)

    def beat(self) -> None:
        """Called so often that a late call says that the process stood still (about once a second)."""
        self._was_stopped()
        self._beat_s = self._clock.monotonic()

    def _was_stopped(self) -> bool:
        """Tell whether the process stood still just now: what waited in the sockets meanwhile is as old as that."""
        now = self._clock.monotonic()
        if now - self._beat_s > STOPPED_S:
            self._disbelieve_until_s = now + DRAINED_S
        return now < self._disbelieve_until_s

    def _tell(self, name: str, doubt: str) -> None:
        """Tell the manager that a symbol's prices are no ground for opening anything, or are again."""
        if (name in self._told) == bool(doubt):
            return
        (self._told.add if doubt else self._told.discard)(name)
        symbol, now = self._symbols[name], self._clock.now_ms()
        self._market.on_candle(symbol, TICKER, LaneNews(doubt=doubt, since_ms=now))
        reason = self.watches[name].doubt
        logger.log(
            logging.WARNING if doubt else logging.INFO, "%s: price %s %s", symbol, doubt or "fresh again", reason
        )

    def troubles(self) -> list[str]:
        """Return a line for every symbol whose stream is not trusted."""
        found = [f"{self._symbols[name]}: price STALE, {self.watches[name].doubt}" for name in sorted(self._told)]
        return [f"prices: {self.trouble}", *found] if self.trouble else found

    async def compare(self) -> None:
        """Ask REST for the symbols that were quiet, and for those with a price that is hard to believe."""
        now = self._clock.now_ms()
        quiet = [name for name, watch in self.watches.items() if watch.wants_rest(now)]
        if not quiet:
            self.trouble = ""  # nothing is asked of REST
        for begin in range(0, len(quiet), _SYMBOLS_A_REQUEST):
            await self._compare(quiet[begin : begin + _SYMBOLS_A_REQUEST])

    async def _compare(self, names: list[str]) -> None:
        self.counts["comparisons"] += 1
        now = self._clock.now_ms()
        before = {name: self.watches[name].heard_ms for name in names if name in self.watches}
        for name in before:
            self.watches[name].asked_ms = now
        try:
            rows = await self._rest.book_tickers(names)
        except BotdError as error:
            self.trouble = error.message
            self._vouch(list(before))
            return
        self.trouble = ""
        for row in rows:
            watch = self.watches.get(row.symbol)
            # What the stream said meanwhile is younger than the answer.
            if watch is not None and (watch.suspect is not None or watch.heard_ms == before.get(row.symbol)):
                self._take(row.symbol, watch, row.bid_price, row.ask_price)

    def _take(self, name: str, watch: PriceWatch, bid: float, ask: float) -> None:
        quote, distrust = watch.on_rest(bid, ask, self._clock.now_ms())
        if quote is not None:
            self._market.on_tick(self._symbols[name], quote)
        if watch.doubt:
            self._tell(name, STALE)
        if distrust:
            reason = f"{self._symbols[name]} moved and the stream did not say so"
            if self._streams().reconnect(stream_of(name), reason):
                logger.warning("%s; its connection is made anew", reason)

    def _vouch(self, names: list[str]) -> None:
        now = self._clock.now_ms()
        for name in names:
            watch = self.watches.get(name)
            silent_s = self._streams().silent_s(stream_of(name))
            spoke_ms = None if silent_s is None else now - round(silent_s * 1000)
            if silent_s is not None and self._clock.monotonic() - silent_s < self._disbelieve_until_s:
                spoke_ms = None  # what it said last had waited in the socket
            quote = watch.on_rest_failed(now, spoke_ms) if watch is not None else None
            if quote is not None:
                self._market.on_tick(self._symbols[name], quote)

    def row(self, name: str) -> dict[str, Any]:
        """Return what is known of a symbol's price."""
        watch = self.watches.get(name)
        if watch is None:
            return {"age_s": None}
        age = watch.age_ms(self._clock.now_ms())
        return {"age_s": None if age is None else age / 1000, "doubt": watch.doubt, **watch.counts}


def stream_of(name: str) -> str:
    """Return the stream of a symbol's best bid and ask."""
    return f"{name.lower()}@bookTicker"
