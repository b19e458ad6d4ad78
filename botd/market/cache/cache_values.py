"""How quotes and candles look in Redis, and what is believed of what is found there.

Whoever can reach the store can write into it, and a key may be left over from another time: every value
carries its schema, what it is of, the exchange's time and the time it was written, and what does not fit
is garbage. Nothing here raises for a value.
"""

from __future__ import annotations

import msgspec

from botd.domain.candle import INTERVALS, Candle
from botd.market.feed import Quote

SCHEMA = 1
FUTURE_MS = 60_000
"""So far may an exchange's time be ahead of ours before the value counts as garbage."""


class StoredQuote(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A quote; ``time`` is the exchange's, ``written`` the writer's wall clock, both in milliseconds."""

    schema: int
    symbol: str
    bid: float
    ask: float
    last: float
    time: int
    written: int


class StoredCandle(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A closed candle; ``time`` is its end, which is when the exchange knew it."""

    schema: int
    symbol: str
    interval: str
    open_time: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    time: int
    written: int


_encoder = msgspec.json.Encoder()
_quotes = msgspec.json.Decoder(StoredQuote)
_candles = msgspec.json.Decoder(StoredCandle)


def encode_quote(symbol: str, quote: Quote, written_ms: int) -> bytes:
    """Return the value of a quote."""
    return _encoder.encode(
        StoredQuote(SCHEMA, symbol, quote.bid, quote.ask, quote.last, quote.time_ms, written_ms),
    )


def encode_candle(symbol: str, interval: str, candle: Candle, written_ms: int) -> bytes:
    """Return the value of a closed candle."""
    end = candle.open_time + INTERVALS.get(interval, 0)
    prices = (candle.open, candle.high, candle.low, candle.close, candle.volume)
    return _encoder.encode(
        StoredCandle(SCHEMA, symbol, interval, candle.open_time, *prices, end, written_ms),
    )


def decode_quote(symbol: str, value: object, now_ms: int) -> Quote | None:
    """Return the quote of ``symbol`` in ``value``, None when it is anything else."""
    if not isinstance(value, bytes):
        return None
    try:
        stored = _quotes.decode(value)
    except (msgspec.MsgspecError, ValueError):
        return None
    if stored.schema != SCHEMA or stored.symbol != symbol or not 0 <= stored.time <= now_ms + FUTURE_MS:
        return None
    quote = Quote(stored.bid, stored.ask, stored.last, stored.time)
    return quote if quote.is_sound else None


def decode_candle(symbol: str, interval: str, value: object, now_ms: int) -> Candle | None:
    """Return the candle of the lane in ``value``, None when it is anything else."""
    length = INTERVALS.get(interval)
    if length is None or not isinstance(value, bytes):
        return None
    try:
        stored = _candles.decode(value)
    except (msgspec.MsgspecError, ValueError):
        return None
    if stored.schema != SCHEMA or (stored.symbol, stored.interval) != (symbol, interval):
        return None
    if stored.open_time % length or stored.time != stored.open_time + length:
        return None
    if not 0 <= stored.time <= now_ms + FUTURE_MS:
        return None
    candle = Candle(stored.open_time, stored.open, stored.high, stored.low, stored.close, stored.volume)
    return candle if candle.is_sound else None
