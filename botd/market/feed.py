"""The seams of the market room: where data comes from and who is told.

A *lane* is one (symbol, interval). On a simulated market (synthetic, replay) time moves in moments: at
one instant of market time candles close and the next ones open.
"""

from __future__ import annotations

from math import inf
from typing import Any, Protocol

import msgspec

from botd.domain.candle import Candle
from botd.domain.candles import Candles
from botd.domain.instrument import Instrument

Lane = tuple[str, str]
"""(symbol, interval)"""

PROOF_MS = 2_000
"""A row of REST counts as closed so long after its close, in the exchange's time when it was asked."""


class Moment(msgspec.Struct, frozen=True):
    """What a candle feed says at one instant: first what closed, then what opened, in symbol order.

    Base interval only; the manager builds the larger candles. ``opened`` holds (symbol, open price).
    """

    time_ms: int
    closed: list[tuple[str, Candle]]
    opened: list[tuple[str, float]]


class Quote(msgspec.Struct, frozen=True, gc=False):
    """The latest price of a symbol. On candle feeds bid = ask = last."""

    bid: float
    ask: float
    last: float
    time_ms: int

    @property
    def is_sound(self) -> bool:
        """Whether these can be prices: finite, above zero, the bid not above the ask."""
        return 0.0 < self.bid <= self.ask < inf and 0.0 < self.last < inf


class CandleSource(Protocol):
    """A market made of candles: synthetic or replay. Deterministic: the same cursor, the same future."""

    name: str
    """synthetic or replay"""
    symbols: tuple[str, ...]
    interval: str
    start_ms: int

    def seek(self, cursor_ms: int | None) -> None:
        """Make :meth:`next` return the first moment after ``cursor_ms`` (None: the very first)."""
        ...

    def next(self) -> Moment | None:
        """Return the next moment in time, None at the end of the data."""
        ...

    def history(self, symbol: str, interval: str, before_ms: int, count: int) -> Candles:
        """Return up to ``count`` complete candles of any interval that closed at or before ``before_ms``."""
        ...

    def bar_index(self, symbol: str, interval: str, open_time: int) -> int:
        """Return the number of complete candles of that lane that open before ``open_time``."""
        ...

    def is_complete(self, symbol: str, interval: str, open_time: int) -> bool:
        """Tell whether the larger candle opening at ``open_time`` misses no base candle."""
        ...

    def instruments(self) -> dict[str, Instrument]:
        """Return the grids of the symbols (tick and step seen in the data, where nothing is configured)."""
        ...

    def statistics(self) -> dict[str, Any]:
        """Return what ``market status`` shows: gaps, rows, end."""
        ...


class MarketSink(Protocol):
    """Who is fed first: the simulated exchange. Called synchronously, in the order of the market."""

    def on_open(self, symbol: str, interval: str, open_time: int, price: float) -> None: ...

    def on_closed(self, symbol: str, interval: str, candle: Candle) -> None: ...

    def after_levels(self, symbol: str, interval: str, candle: Candle) -> None:
        """The closed candle has also been held against the price-level index."""
        ...

    def on_tick(self, symbol: str, quote: Quote) -> None: ...


class LaneListener(Protocol):
    """A subscriber of a lane: a bot. Called after the sinks and after the price-level index."""

    def on_open(self, open_time: int, price: float) -> None: ...

    def on_closed(self, candle: Candle) -> None: ...


class LevelListener(Protocol):
    """The owner of levels in the price-level index: a position's guard."""

    def on_level(self, kind: str, price: float) -> None:
        """A level was reached: ``kind`` is stop or target, ``price`` what it triggers at (the level, or the
        open where the market jumped over it)."""
        ...


class PriceCache(Protocol):
    """Where the manager leaves the latest prices and closed candles for others to read; never the truth.

    Both calls are synchronous, never block and never raise, whatever became of the store behind them.
    """

    def put_quote(self, symbol: str, quote: Quote) -> None: ...

    def put_candle(self, symbol: str, interval: str, candle: Candle) -> None: ...
