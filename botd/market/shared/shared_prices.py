"""The prices that a follower hears: which are believed, as of when, and which symbols the leader doubts itself.

A price that is far from the last one waits until what is kept in Redis confirms it.
"""

from __future__ import annotations

from typing import Any

from redis.exceptions import ResponseError

from botd.domain.clock import Clock
from botd.market.binance.gate_values import STALE
from botd.market.binance.live_prices import FedPrices
from botd.market.binance.price_watch import JUMP_AGE_MS, MAX_JUMP
from botd.market.cache.redis_link import RedisLink
from botd.market.feed import Quote
from botd.market.lanes import TICKER, LaneNews
from botd.market.shared.fence import SharedTime
from botd.market.shared.messages import Keys, SharedQuote, decode_quote, is_sound

_NEAR = 0.05


class SharedPrices:
    """See the module."""

    def __init__(self, market: FedPrices, link: RedisLink, keys: Keys, clock: Clock, time: SharedTime) -> None:
        self.counts = {"ticks": 0, "garbage_prices": 0, "quarantined": 0}
        self.newest_ms: int | None = None
        """As of when, by our clock, the newest price is."""
        self.suspects: dict[str, SharedQuote] = {}
        """Prices that are hard to believe until what is kept in Redis confirms them, by symbol."""
        self._market = market
        self._link = link
        self._keys = keys
        self._clock = clock
        self._time = time
        self._symbols: frozenset[str] = frozenset()
        self._last: dict[str, Quote] = {}
        self._doubted: frozenset[str] = frozenset()

    def follow(self, symbols: set[str]) -> set[str]:
        """Follow exactly these; returns those that are new."""
        new = symbols - self._symbols
        self._symbols = frozenset(symbols)
        self._last = {symbol: quote for symbol, quote in self._last.items() if symbol in symbols}
        self.suspects = {symbol: quote for symbol, quote in self.suspects.items() if symbol in symbols}
        self._doubted &= self._symbols
        return new

    def take(self, shared: SharedQuote, *, kept: bool = False) -> None:
        """Take a price that was heard, or one that is ``kept`` in Redis."""
        symbol = shared.symbol
        if symbol not in self._symbols:
            return
        now = self._clock.now_ms()
        if not is_sound(shared, now + self._time.offset_ms):
            self.counts["garbage_prices"] += 1
            return
        quote = Quote(shared.bid, shared.ask, shared.last, min(shared.time - self._time.offset_ms, now))
        last = self._last.get(symbol)
        if last is not None and quote.time_ms < last.time_ms <= now:  # else a step of our clock was taken back
            return
        if last is not None and not self._may_follow(last, shared, quote, kept):
            self.counts["quarantined"] += not kept
            self.suspects[symbol] = shared
            return
        self.suspects.pop(symbol, None)
        self._last[symbol] = quote
        self.newest_ms = max(quote.time_ms, self.newest_ms or 0)
        self.counts["ticks"] += 1
        self._market.on_tick(symbol, quote)

    def _may_follow(self, last: Quote, shared: SharedQuote, quote: Quote, kept: bool) -> bool:
        if abs(quote.last / last.last - 1.0) <= MAX_JUMP or quote.time_ms - last.time_ms > JUMP_AGE_MS:
            return True
        suspect = self.suspects.get(shared.symbol)
        return kept and suspect is not None and abs(shared.last / suspect.last - 1.0) <= _NEAR

    def doubt(self, doubted: list[str]) -> None:
        """Take the symbols whose price the leader doubts: nothing is opened on them."""
        now_doubted, now = self._symbols.intersection(doubted), self._clock.now_ms()
        for symbol in now_doubted ^ self._doubted:
            news = LaneNews(doubt=STALE if symbol in now_doubted else "", since_ms=now)
            self._market.on_candle(symbol, TICKER, news)
        self._doubted = now_doubted

    async def ask(self, symbols: set[str]) -> None:
        """Take what Redis keeps of some symbols."""
        wanted = sorted(symbols)
        if not wanted or self._link.is_open:
            return

        async def kept(client: Any) -> list[Any]:
            try:
                return await client.hmget(self._keys.prices, wanted)  # type: ignore[no-any-return]
            except ResponseError as error:
                if not str(error).startswith("WRONGTYPE"):
                    raise
                return []

        for symbol, raw in zip(wanted, await self._link.attempt(kept) or [], strict=False):
            found = decode_quote(symbol, raw, self._clock.now_ms() + self._time.offset_ms)
            if found is not None:
                self.take(found, kept=True)
            elif raw is not None:
                self.counts["garbage_prices"] += 1

    def troubles(self) -> list[str]:
        """Return a line for every symbol whose price the leader doubts."""
        return [f"{symbol}: price STALE, the publisher doubts it" for symbol in sorted(self._doubted)]
