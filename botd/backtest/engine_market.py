"""The market of the event engine: arrays of candles, told moment by moment to the production exchange, levels and bots.

The order within a moment is the market manager's: what closed (prices of all, then per lane exchange, levels, exchange,
bots), what opened (the same). A lane whose readers say that no candle before a certain row can do anything goes on to
that row at once; nobody could tell the difference. Prices, windows and bar numbers are looked up in the arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from botd.backtest.history import History
from botd.domain.candle import Candle, interval_ms
from botd.domain.candles import Candles
from botd.domain.clock import MarketClock
from botd.domain.errors import NotFoundError
from botd.exchange.simulated import SimulatedExchange
from botd.market.feed import Lane, LaneListener, Quote
from botd.market.levels import LevelIndex

NEVER = 1 << 62


class Reader(Protocol):
    """Whoever is told of a lane's candles, and says from which row on it must be."""

    def next_row(self, first: int) -> int:
        """Return the first row from ``first`` on in which anything can happen."""
        ...

    def on_closed(self, row: int, candle: Candle) -> None: ...

    def on_open(self, open_time: int, price: float) -> None: ...


class Track:
    """One lane. ``row`` is the one that closes next; ``opened`` whether its open was told."""

    def __init__(self, history: History) -> None:
        rows = history.candles
        self.rows = rows
        self.key: Lane = (history.symbol, rows.interval)
        self.symbol, self.interval = self.key
        self.length = interval_ms(rows.interval)
        self.time = rows.time
        self.count = len(rows)
        self.readers: list[Reader] = []
        self.row = history.begin
        self.closed = history.begin
        """How many candles have closed."""
        self.opened = False
        self.due = int(rows.time[history.begin])
        self.price = 0.0
        self.priced_ms = 0

    def wait(self, waits_for_open: bool) -> None:
        """Go on to the next row that matters; an open that nobody waits for is not told."""
        row = self.count
        for reader in self.readers:
            row = min(row, reader.next_row(self.row))
            if row == self.row:  # no reader can want an earlier one
                break
        if row >= self.count:
            self.due, self.row, self.closed = NEVER, self.count, self.count
            return
        if row != self.row or not self.opened:
            self.row, self.opened = row, not waits_for_open
        self.due = int(self.time[row]) + (self.length if self.opened else 0)


class Reading:
    """A claim on a lane: its history is there from the beginning."""

    ready = True

    def close(self) -> None:
        """Nothing is freed."""


class EngineMarket:
    """What bots ask of the market manager, answered from the tracks."""

    candle_feed = True

    def __init__(self, tracks: Sequence[Track], clock: MarketClock) -> None:
        self.tracks = tracks
        self.levels = LevelIndex()
        self._clock = clock
        self._lanes = {track.key: track for track in tracks}
        self._by_symbol: dict[str, list[Track]] = {}
        for track in sorted(tracks, key=lambda track: track.length):
            self._by_symbol.setdefault(track.symbol, []).append(track)
        self.closing = True

    def track(self, symbol: str, interval: str) -> Track:
        """Return a lane; NotFoundError where there are no candles of it."""
        track = self._lanes.get((symbol, interval))
        if track is None:
            raise NotFoundError(
                f"no candles of {symbol} {interval}", "give a history for each bot's symbol and interval"
            )
        return track

    def subscribe(self, symbol: str, interval: str, listener: LaneListener, warmup: int, rank: int = 0) -> Reading:
        """Return a claim; the engine tells the bots itself, and what they read besides is in their histories."""
        return Reading()

    def window(self, symbol: str, interval: str, count: int) -> Candles:
        """Return the last ``count`` closed candles, fewer where there are not so many."""
        track = self._lanes.get((symbol, interval))
        if track is None:
            return Candles.empty(interval)
        end = track.closed if track.priced_ms == self._clock.now_ms() else self._closed(track)
        return track.rows.part(max(0, end - count), end)

    def minute_volume(self, symbol: str) -> float | None:
        """Return the base volume a minute of the last closed candle of the finest lane."""
        for track in self._by_symbol.get(symbol, ()):
            last = self.window(symbol, track.interval, 1)
            return float(last.volume[-1]) * 60_000 / track.length if len(last) else None
        return None

    def quote(self, symbol: str) -> Quote | None:
        """Return the latest price of the finest lane."""
        for track in self._by_symbol.get(symbol, ()):
            now = self._clock.now_ms()
            price = track.price if track.priced_ms == now else self._price(track, now)
            return Quote(price, price, price, now) if price else None
        return None

    def prime(self, symbol: str, quote: Quote) -> None:
        """Prices are in the arrays."""

    def stale(self, symbol: str, limit_ms: int) -> int | None:
        """A price is never old: nobody decides but at a candle's close or open."""
        return None

    def doubts(self, symbol: str) -> list[str]:
        """The candles are what they are."""
        return []

    def bar_index(self, symbol: str, interval: str, open_time: int) -> int:
        """Return the number of the lane's candle that opens at ``open_time``."""
        track = self.track(symbol, interval)
        if track.row < track.count and int(track.time[track.row]) == open_time:
            return track.row
        return int(np.searchsorted(track.time, open_time))

    def _closed(self, track: Track) -> int:
        return int(np.searchsorted(track.time, self._clock.now_ms() - track.length, side="right"))

    def _price(self, track: Track, now: int) -> float:
        """Return the close of what closed last, or the open of what opened since."""
        row = int(np.searchsorted(track.time, now, side="left" if self.closing else "right")) - 1
        if row < 0:
            return 0.0
        closed = int(track.time[row]) + track.length <= now
        return float(track.rows.close[row] if closed else track.rows.open[row])


class Playback:
    """Plays the tracks to their end."""

    def __init__(
        self,
        market: EngineMarket,
        exchange: SimulatedExchange,
        clock: MarketClock,
        *,
        waits: Callable[[Track], bool],
        settle: Callable[[int], None],
    ) -> None:
        """``waits`` says whether anything in a lane can act on an open; ``settle`` ends a moment."""
        self._market = market
        self._exchange = exchange
        self._clock = clock
        self._waits = waits
        self._settle = settle

    def run(self) -> None:
        """Play moment after moment."""
        tracks = list(self._market.tracks)
        for track in tracks:
            track.wait(waits_for_open=True)
        alone = tracks[0] if len(tracks) == 1 else None
        while True:
            now = alone.due if alone is not None else min(track.due for track in tracks)
            if now == NEVER:
                return
            due = tracks if alone is not None else [track for track in tracks if track.due == now]
            self._clock.advance(now)
            self._close([track for track in due if track.opened], now)
            opening = due if alone is not None else [track for track in tracks if track.due == now]
            self._open([track for track in opening if not track.opened and track.due == now], now)
            self._settle(now)

    def _close(self, tracks: list[Track], now: int) -> None:
        self._market.closing = True
        for track in tracks:
            track.closed = track.row + 1
            track.price, track.priced_ms = float(track.rows.close[track.row]), now
        for track in tracks:
            candle = track.rows.candle(track.row)
            self._exchange.on_closed(track.symbol, track.interval, candle)
            self._market.levels.on_closed(track.key, candle.open, candle.high, candle.low)
            self._exchange.after_levels(track.symbol, track.interval, candle)
            for reader in track.readers:
                reader.on_closed(track.row, candle)
        for track in tracks:
            track.row += 1
            track.opened = False
            track.wait(self._waits(track))

    def _open(self, tracks: list[Track], now: int) -> None:
        self._market.closing = False
        for track in tracks:
            track.closed = track.row
            track.price, track.priced_ms = float(track.rows.open[track.row]), now
        for track in tracks:
            self._exchange.on_open(track.symbol, track.interval, now, track.price)
            self._market.levels.on_open(track.key, track.price)
            for reader in track.readers:
                reader.on_open(now, track.price)
        for track in tracks:
            track.opened = True
            track.wait(self._waits(track))
