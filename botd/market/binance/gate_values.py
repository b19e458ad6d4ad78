"""What goes into a lane's gate (:mod:`botd.market.binance.completeness`) and what comes out of it: plain values."""

from __future__ import annotations

import msgspec

from botd.domain.candle import Candle

LIVE, HOLD, GAP, STALE = "LIVE", "HOLD", "GAP", "STALE"


class Row(msgspec.Struct, frozen=True):
    """A candle with its number of trades, as REST has it: closed or forming."""

    candle: Candle
    trades: int


class Deliver(msgspec.Struct, frozen=True):
    """Hand the candle to the bots. ``synthetic``: nobody traded, the prices are those before."""

    candle: Candle
    synthetic: bool


class Want(msgspec.Struct, frozen=True):
    """Ask REST for ``limit`` rows from ``first`` on, without an end, so that the answer shows how recent it is.

    ``attempt`` counts from 1; ``urgent`` when bots wait for it.
    """

    first: int
    limit: int
    attempt: int
    urgent: bool


class Changed(msgspec.Struct, frozen=True):
    """The state of the lane changed, as of the outputs that follow."""

    before: str
    after: str
    at_ms: int
    reason: str


class Revised(msgspec.Struct, frozen=True):
    """A delivered candle has other values now: correct the array, deliver nothing."""

    before: Candle
    after: Candle


class Restored(msgspec.Struct, frozen=True):
    """Candles that were passed over and found later: history, never delivered."""

    candles: tuple[Candle, ...]


class Reconnect(msgspec.Struct, frozen=True):
    """The stream does not say what it should: its connection is to be made anew."""

    reason: str


Output = Deliver | Want | Changed | Revised | Restored | Reconnect


class Known:
    """A closed candle, and as of when it is known to have these values."""

    __slots__ = ("as_of", "by_stream", "candle", "trades")

    def __init__(self, candle: Candle, trades: int, as_of: int, *, by_stream: bool = False) -> None:
        self.candle = candle
        self.trades = trades
        self.as_of = as_of
        self.by_stream = by_stream

    def same(self, other: Known) -> bool:
        """Compare field by field."""
        return self.candle == other.candle and self.trades == other.trades

    def replaces(self, other: Known) -> bool:
        """Tell whether this is the more recent; of two frames of the same time the one that came later is."""
        if self.as_of == other.as_of:
            return self.by_stream and other.by_stream
        return self.as_of > other.as_of
