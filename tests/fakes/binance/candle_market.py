"""The candle market: base bars, and the candles, trades, quotes and streams that follow from them at any time.

The bars are the whole truth: random ones (:mod:`.walk`), those of files or of a capture's trades (:mod:`.tables`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tests.fakes.binance import bars
from tests.fakes.binance.bars import Bar, Print, Story, Table
from tests.fakes.binance.listings import Listing, listings
from tests.fakes.binance.market import (
    DAY,
    INTERVALS,
    WEEK_ORIGIN,
    BarSource,
    Quote,
    StreamEvent,
    bucket,
    quote_around,
)
from tests.fakes.binance.streams import PACE, Pace, Streams
from tests.fakes.binance.walk import RandomBars


class CandleMarket:
    """A market made of base bars: random ones (the default), or those of files (:class:`.tables.TableBars`).

    ``pace`` says how often its streams send (:mod:`.streams`).
    """

    def __init__(
        self,
        symbols: Sequence[str] | int | None = None,
        *,
        source: BarSource | None = None,
        seed: int = 1,
        trades: int = 24,
        pace: Pace = PACE,
    ) -> None:
        self.source: BarSource = source or RandomBars(listings(symbols), seed, trades)
        self.listings: dict[str, Listing] = self.source.listings
        self.length_ms = self.source.length_ms
        self._pinned: dict[str, Quote] = {}
        self._stories: dict[str, Story] = {}
        self._streams = Streams(self, pace)

    def truth(self, symbol: str, interval: str, start: int, end: int) -> list[Bar]:
        """Return the whole candles that open in [start, end), whatever was sent of them."""
        table = self.source.bars(symbol, start, end)
        return [bars.bar_of(row) for row in self._larger(table, interval)]

    def klines(
        self,
        symbol: str,
        interval: str,
        now_ms: int,
        start: int | None = None,
        end: int | None = None,
        limit: int = 500,
    ) -> list[Bar]:
        length = INTERVALS[interval]
        if length % self.length_ms:
            return []
        last = now_ms if end is None else min(now_ms, end)
        current = bucket(last, interval)
        span = (limit - 1) * length
        if start is None:
            first = current - span if self.source.gapless else 0
        else:
            first = bucket(max(start, self.source.since_ms) + length - 1, interval)
            # Over an outage the rows asked for reach further than their number.
            current = min(current, first + span) if self.source.gapless else current
        if start is not None and first > current:
            return []
        table = self.source.bars(symbol, first, min(current + length, now_ms - now_ms % self.length_ms))
        rows = [bars.bar_of(row) for row in self._larger(table, interval)]
        if current + length > now_ms:
            self._add_forming(rows, symbol, interval, now_ms)
        return rows[:limit] if start is not None else rows[-limit:]

    def _add_forming(self, rows: list[Bar], symbol: str, interval: str, now_ms: int) -> None:
        """Add what has happened of the base bar under way to the last row, or as a new one."""
        forming = self.forming(symbol, now_ms)
        if forming is None:
            return
        opened = bucket(forming.open_time, interval)
        if rows and rows[-1].open_time == opened:
            rows[-1] = bars.merge(rows[-1], forming)
        else:
            rows.append(forming._replace(open_time=opened))

    def forming(self, symbol: str, now_ms: int) -> Bar | None:
        """Return the base bar under way as it is now, at the price before where nothing traded; None in an outage."""
        story = self.story(symbol, now_ms)
        if story is None:
            return None
        part = story.partial(story.done(now_ms - story.bar.open_time))
        return part or flat(story.bar, self.price_before(symbol, story.bar.open_time, story.bar.open))

    def story(self, symbol: str, time_ms: int) -> Story | None:
        """Return the base bar that contains a time, with its trades."""
        opened = time_ms - time_ms % self.length_ms
        last = self._stories.get(symbol)
        if last is not None and last.bar.open_time == opened:
            return last
        table = self.source.bars(symbol, opened, opened + 1)
        if not len(table):
            return None
        story = self._stories[symbol] = Story(bars.bar_of(table[0]), self.length_ms)
        return story

    def prepare(self, now_ms: int) -> None:
        """Make what the first requests would have to wait for."""
        for symbol in self.listings:
            self.source.bars(symbol, now_ms - 60 * self.length_ms, now_ms + 1)

    def price_before(self, symbol: str, open_time: int, default: int) -> int:
        table = self.source.bars(symbol, open_time - self.length_ms, open_time)
        return int(table[-1, bars.CLOSE]) if len(table) else default

    def prints(
        self, symbol: str, now_ms: int, start: int | None = None, first_id: int | None = None, limit: int = 500
    ) -> list[Print]:
        """Return trades up to now: from a time on, from an id on (looked for in the last day), or the latest."""
        latest = start is None and first_id is None
        begin = start if start is not None else now_ms - (60 * self.length_ms if latest else DAY)
        table = self.source.bars(symbol, begin - begin % self.length_ms, now_ms + 1)
        if first_id is not None:
            table = table[table[:, bars.FIRST_ID] + table[:, bars.COUNT] > first_id]
        found: list[Print] = []
        for row in table[::-1] if latest else table:
            part = [
                trade
                for trade in Story(bars.bar_of(row), self.length_ms).prints()
                if trade.time_ms <= now_ms and trade.time_ms >= begin and trade.id >= (first_id or 0)
            ]
            found = part + found if latest else found + part
            if len(found) >= limit:
                break
        return found[-limit:] if latest else found[:limit]

    def last_price(self, symbol: str, now_ms: int) -> int:
        forming = self.forming(symbol, now_ms)
        if forming is not None:
            return forming.close
        table = self.source.bars(symbol, now_ms - 7 * DAY, now_ms)
        return int(table[-1, bars.CLOSE]) if len(table) else 1

    def quote(self, symbol: str, now_ms: int) -> Quote:
        pinned = self._pinned.get(symbol)
        if pinned is not None:
            return pinned
        story = self.story(symbol, now_ms)
        if story is None:
            return quote_around(self.last_price(symbol, now_ms), now_ms)
        return quote_around(story.price_at(now_ms - story.bar.open_time), now_ms)

    def pin(self, symbol: str, quote: Quote | None) -> None:
        if quote is None:
            self._pinned.pop(symbol, None)
        else:
            self._pinned[symbol] = quote

    def pinned(self, symbol: str) -> Quote | None:
        return self._pinned.get(symbol)

    def silence(self, symbol: str, start_ms: int, end_ms: int) -> None:
        self.source.silence(symbol, start_ms, end_ms)
        self._stories.pop(symbol, None)

    def day(self, symbol: str, now_ms: int) -> Bar:
        """Return the last 24 hours as one bar."""
        minute = now_ms - now_ms % self.length_ms
        table = self.source.bars(symbol, minute - DAY, minute)
        forming = self.forming(symbol, now_ms)
        rows = [bars.bar_of(row) for row in bars.aggregate(table, 10 * DAY, minute - DAY)]
        whole = bars.merge(rows[0] if rows else None, forming) if forming else rows[0]
        return whole._replace(open_time=now_ms - DAY)

    def stream(self, name: str, after_ms: int) -> Iterator[StreamEvent] | None:
        return self._streams.open(name, after_ms)

    def tape(self, after_ms: int) -> Iterator[tuple[str, StreamEvent]] | None:
        return None

    def _larger(self, table: Table, interval: str) -> Table:
        if INTERVALS[interval] == self.length_ms:
            return table
        return bars.aggregate(table, INTERVALS[interval], WEEK_ORIGIN if interval == "1w" else 0)


def flat(bar: Bar, price: int) -> Bar:
    """Return a bar in which nothing has traded yet."""
    return Bar(bar.open_time, price, price, price, price, 0, 0, 0, 0, 0, bar.first_id)
