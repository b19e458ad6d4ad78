"""What each stream sends and when: one generator a stream, its events in order of their time.

An event is made when its turn comes. Times follow from the symbol, not from who subscribed when: two connections
see the same events.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.fakes.binance import bars
from tests.fakes.binance.bars import Bar, Print
from tests.fakes.binance.listings import Listing
from tests.fakes.binance.market import INTERVALS, StreamEvent, bucket, listing_of, quote_around, text
from tests.fakes.binance.payloads import day_payload, kline_payload, mini_payload, trade_payload

if TYPE_CHECKING:
    from tests.fakes.binance.candle_market import CandleMarket


@dataclass(frozen=True)
class Pace:
    """How often the streams send.

    ``kline_ms``: between updates of a forming candle, where there were trades; 0: closing ones only. ``close_ms``: a
    closing kline arrives within (first, last) after the close. ``book_ms`` between quotes. ``empty_closes``: whether
    a candle without any trade is announced on its stream.
    """

    kline_ms: int = 1500
    close_ms: tuple[int, int] = (5, 150)
    book_ms: float = 500.0
    empty_closes: bool = True


PACE = Pace()


class Streams:
    """The streams of a candle market."""

    def __init__(self, market: CandleMarket, pace: Pace) -> None:
        self._market = market
        self.pace = pace
        self._kinds: dict[str, Callable[[Listing, int], Iterator[StreamEvent]]] = {
            "bookTicker": self._book,
            "trade": self._trades,
            "aggTrade": self._agg_trades,
            "miniTicker": self._mini,
            "ticker": self._ticker,
        }

    def open(self, name: str, after_ms: int) -> Iterator[StreamEvent] | None:
        """Return the events of a stream after a time; None where there is no such stream."""
        if name == "!miniTicker@arr":
            return self._all_mini(after_ms)
        found = listing_of(self._market, name)
        if found is None or not found[0].trading:
            return None
        listing, kind = found
        if kind.startswith("kline_"):
            interval = kind.removeprefix("kline_")
            fits = interval in INTERVALS and INTERVALS[interval] % self._market.length_ms == 0
            return self._klines(listing, interval, after_ms) if fits else None
        opener = self._kinds.get(kind)
        return opener(listing, after_ms) if opener else None

    def _klines(self, listing: Listing, interval: str, after_ms: int) -> Iterator[StreamEvent]:
        """Updates where trades were, then the closing one, and only then the next candle's."""
        length, base = INTERVALS[interval], self._market.length_ms
        opened = bucket(after_ms - 3000, interval)
        while True:
            part: Bar | None = None
            sent = -1
            for start in range(opened, opened + length, base):
                if start + base <= after_ms and start + base < opened + length:
                    part = self._merged(listing.symbol, part, start)
                    continue
                for time_ms, bar in self._updates(listing, start, part):
                    if bar.trades != sent and after_ms < time_ms < opened + length:
                        sent = bar.trades
                        shown = bar._replace(open_time=opened)
                        yield StreamEvent(time_ms, kline_payload(listing, interval, length, shown, time_ms, False))
                part = self._merged(listing.symbol, part, start)
            closed = self._closing(listing, interval, opened, part)
            if closed is not None and closed.time_ms > after_ms:
                yield closed
            opened += length

    def _merged(self, symbol: str, part: Bar | None, start: int) -> Bar | None:
        table = self._market.source.bars(symbol, start, start + 1)
        return bars.merge(part, bars.bar_of(table[0])) if len(table) else part

    def _updates(self, listing: Listing, start: int, before: Bar | None) -> Iterator[tuple[int, Bar]]:
        """Return the candle under way at each update within one base bar."""
        if not self.pace.kline_ms:
            return
        story = self._market.story(listing.symbol, start)
        if story is None:
            return
        every = self.pace.kline_ms
        for time_ms in range(start + _phase(listing.symbol, every), start + self._market.length_ms, every):
            now = story.partial(story.done(time_ms - start))
            if now is not None:
                yield time_ms, bars.merge(before, now)

    def _closing(self, listing: Listing, interval: str, opened: int, bar: Bar | None) -> StreamEvent | None:
        if bar is None or (not bar.trades and not self.pace.empty_closes):
            return None
        length = INTERVALS[interval]
        first, last = self.pace.close_ms
        late = first + zlib.crc32(f"{listing.symbol}{opened}".encode()) % max(1, last - first)
        time_ms = opened + length + late
        shown = bar._replace(open_time=opened)
        return StreamEvent(time_ms, kline_payload(listing, interval, length, shown, time_ms, True), opened)

    def _book(self, listing: Listing, after_ms: int) -> Iterator[StreamEvent]:
        """Quotes at an even pace; the update id is the time, so it rises."""
        symbol, length = listing.symbol, self._market.length_ms
        every = self.pace.book_ms
        phase = zlib.crc32(symbol.encode()) % 9973 / 9973 * every
        turn = int((after_ms - phase) // every) + 1
        story, until = None, 0
        start = f'"s":"{symbol}","b":"'
        decimals, quantity_decimals = listing.price_decimals, listing.quantity_decimals
        while True:
            now = int(turn * every + phase)
            if now >= until:
                story, until = self._market.story(symbol, now), now - now % length + length
            quote = self._market.pinned(symbol)
            if quote is None:
                if story is not None:
                    quote = quote_around(story.price_at(now - story.bar.open_time), now)
                else:
                    quote = quote_around(self._market.last_price(symbol, now), now)
            bid, ask = text(quote.bid, decimals), text(quote.ask, decimals)
            size, ask_size = text(quote.bid_quantity, quantity_decimals), text(quote.ask_quantity, quantity_decimals)
            yield StreamEvent(now, f'{{"u":{now},{start}{bid}","B":"{size}","a":"{ask}","A":"{ask_size}"}}'.encode())
            turn += 1

    def _prints(self, symbol: str, after_ms: int) -> Iterator[Print]:
        start = after_ms - after_ms % self._market.length_ms
        while True:
            story = self._market.story(symbol, start)
            if story is not None:
                yield from (trade for trade in story.prints() if trade.time_ms > after_ms)
            start += self._market.length_ms

    def _trades(self, listing: Listing, after_ms: int) -> Iterator[StreamEvent]:
        for trade in self._prints(listing.symbol, after_ms):
            yield StreamEvent(trade.time_ms, trade_payload(listing, trade, aggregated=False))

    def _agg_trades(self, listing: Listing, after_ms: int) -> Iterator[StreamEvent]:
        for trade in self._prints(listing.symbol, after_ms):
            yield StreamEvent(trade.time_ms, trade_payload(listing, trade, aggregated=True))

    def _mini(self, listing: Listing, after_ms: int) -> Iterator[StreamEvent]:
        for now in _seconds(after_ms, _phase(listing.symbol, 1000)):
            yield StreamEvent(now, mini_payload(listing, self._market.day(listing.symbol, now), now))

    def _ticker(self, listing: Listing, after_ms: int) -> Iterator[StreamEvent]:
        for now in _seconds(after_ms, _phase(listing.symbol, 1000)):
            day, quote = self._market.day(listing.symbol, now), self._market.quote(listing.symbol, now)
            yield StreamEvent(now, day_payload(listing, day, quote, now))

    def _all_mini(self, after_ms: int) -> Iterator[StreamEvent]:
        for now in _seconds(after_ms, 0):
            rows = [
                mini_payload(listing, self._market.day(listing.symbol, now), now)
                for listing in self._market.listings.values()
                if listing.trading
            ]
            yield StreamEvent(now, b"[" + b",".join(rows) + b"]")


def _phase(symbol: str, every: int) -> int:
    """Return when within its period a symbol has its turn, so that not all send at once."""
    return zlib.crc32(symbol.encode()) % max(1, every - 1) + 1


def _seconds(after_ms: int, phase: int) -> Iterator[int]:
    now = (after_ms - phase) // 1000 * 1000 + 1000 + phase
    while True:
        yield now
        now += 1000
