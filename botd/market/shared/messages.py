"""What one daemon leaves in Redis for the others, and what is believed of what is found there.

Under a prefix that names the exchange (``botd:market:binance:``):

- ``news``: a channel; every message is a :class:`News`: prices and closed candles as they come, and a heart-beat;
- ``candles:SYMBOL:INTERVAL``: a stream, one entry a closed candle, its id the open time: it can stand there once,
  in order, and a reader goes on where it was, whatever happened to the server meanwhile;
- ``lanes``: a hash, how much history a lane's stream was given: without it the stream is not whole;
- ``prices``: a hash of the latest prices; ``instruments``: what may be traded; ``wanted``: a sorted set of the lanes
  that somebody reads, by when they expire; ``leader`` and ``epoch``: the lease of who publishes.

Whoever can reach the server can write into it: each value carries its schema, the exchange's time, the time it was
written and the epoch of its writer, and what does not fit is garbage. Nothing here raises for a value.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TypeVar

import msgspec

from botd.domain.candle import INTERVALS, Candle
from botd.domain.instrument import Instrument, split_symbol
from botd.market.feed import Lane, Quote

SCHEMA = 1
FUTURE_MS = 60_000
"""So far may a time be ahead of ours before it counts as garbage."""
EPOCH_AHEAD_MS = 86_400_000
"""Epochs are counted on from a wall clock: none is a day ahead of ours."""
MOST_WARMUP = 20_000


class SharedQuote(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A price; ``time`` is the exchange's, in milliseconds."""

    symbol: str
    bid: float
    ask: float
    last: float
    time: int


class SharedCandle(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A closed candle of a lane."""

    symbol: str
    interval: str
    open_time: int
    open: float
    high: float
    low: float
    close: float
    volume: float


class Heart(msgspec.Struct, frozen=True, array_like=True):
    """Who leads, and the symbols whose price it doubts itself."""

    leader: str
    doubted: list[str]


class News(msgspec.Struct, frozen=True, array_like=True):
    """One message. ``seq`` counts them within an epoch, from 1; ``time`` is the exchange's, ``written`` the writer's
    wall clock."""

    schema: int
    epoch: int
    seq: int
    time: int
    written: int
    quotes: list[SharedQuote]
    candles: list[SharedCandle]
    heart: Heart | None = None


class Kept(msgspec.Struct, frozen=True, array_like=True):
    """A value that is kept: an entry of a lane's stream, or a symbol's latest price."""

    schema: int
    epoch: int
    time: int
    written: int
    value: SharedCandle | SharedQuote | list[Instrument]


class KeptCandle(Kept, frozen=True, array_like=True):
    value: SharedCandle


class KeptQuote(Kept, frozen=True, array_like=True):
    value: SharedQuote


class KeptInstruments(Kept, frozen=True, array_like=True):
    value: list[Instrument]


class Keys:
    """The names of the keys and the channel of one exchange's market."""

    def __init__(self, exchange: str, testnet: bool = False) -> None:
        self.prefix = f"botd:market:{exchange}{'-testnet' if testnet else ''}:"
        self.news, self.lanes, self.prices, self.instruments, self.wanted, self.leader, self.epoch = (
            self.prefix + name
            for name in ("news", "lanes", "prices", "instruments", "wanted", "leader", "epoch")
        )  # fmt: skip

    def candles(self, lane: Lane) -> str:
        """Return the key of a lane's stream."""
        return f"{self.prefix}candles:{lane[0]}:{lane[1]}"


_encoder = msgspec.json.Encoder()
_news = msgspec.json.Decoder(News)
_candles = msgspec.json.Decoder(KeptCandle)
_quotes = msgspec.json.Decoder(KeptQuote)
_instruments = msgspec.json.Decoder(KeptInstruments)

Found = TypeVar("Found")


def encode(value: News | Kept) -> str:
    """Return a value as text."""
    return _encoder.encode(value).decode()


def decode_news(raw: object, now_ms: int) -> News | None:
    """Return a message, None when it is none; its time, quotes and candles are still to be looked at."""
    news = _decoded(_news, raw)
    if news is None or news.schema != SCHEMA or news.seq < 1 or news.time <= 0:
        return None
    return news if 0 < news.epoch < now_ms + EPOCH_AHEAD_MS else None


def decode_candle(lane: Lane, opened: int, raw: object, now_ms: int) -> tuple[int, Candle] | None:
    """Return the epoch and the candle of a stream's entry, None when it is not the lane's candle of that time."""
    kept = _decoded(_candles, raw)
    if kept is None or kept.schema != SCHEMA or kept.value.open_time != opened:
        return None
    candle = candle_of(kept.value, lane, now_ms)
    return None if candle is None else (kept.epoch, candle)


def decode_quote(symbol: str, raw: object, now_ms: int) -> SharedQuote | None:
    """Return the kept price of a symbol, None when it is anything else."""
    kept = _decoded(_quotes, raw)
    if kept is None or kept.schema != SCHEMA or kept.value.symbol != symbol:
        return None
    return kept.value if is_sound(kept.value, now_ms) else None


def decode_instruments(raw: object) -> dict[str, Instrument]:
    """Return what may be traded, nothing when that cannot be read."""
    kept = _decoded(_instruments, raw)
    if kept is None or kept.schema != SCHEMA:
        return {}
    return {item.symbol: item for item in kept.value if _is_usable(item)}


def parse_wanted(member: bytes) -> tuple[Lane, int] | None:
    """Return (lane, warm-up) of ``BTC/USDT 1m 60``, None when it is anything else."""
    parts = member.decode(errors="replace").split(" ")
    if len(parts) != 3 or parts[1] not in INTERVALS or not (parts[2].isascii() and parts[2].isdigit()):
        return None
    try:
        split_symbol(parts[0])
    except ValueError:
        return None
    warmup = int(parts[2][:9])
    return ((parts[0], parts[1]), warmup) if warmup <= MOST_WARMUP else None


def wanted_member(lane: Lane, warmup: int) -> str:
    """Return how a wanted lane stands in Redis."""
    return f"{lane[0]} {lane[1]} {warmup}"


def shared_quote(symbol: str, quote: Quote, offset_ms: int) -> SharedQuote:
    """Return a quote with the exchange's time, which is ``offset_ms`` ahead of ours."""
    return SharedQuote(symbol, quote.bid, quote.ask, quote.last, quote.time_ms + offset_ms)


def shared_candle(lane: Lane, candle: Candle) -> SharedCandle:
    """Return a candle with its lane."""
    values = (candle.open, candle.high, candle.low, candle.close, candle.volume)
    return SharedCandle(lane[0], lane[1], candle.open_time, *values)


def is_sound(quote: SharedQuote, now_ms: int) -> bool:
    """Tell whether these can be prices of now or before."""
    return Quote(quote.bid, quote.ask, quote.last, quote.time).is_sound and _is_time(quote.time, now_ms)


def candle_of(shared: SharedCandle, lane: Lane, now_ms: int) -> Candle | None:
    """Return the candle, None when it is another lane's, cannot be one, or cannot have closed."""
    length = INTERVALS.get(shared.interval)
    if (shared.symbol, shared.interval) != lane or not length or shared.open_time % length:
        return None
    if not _is_time(shared.open_time + length, now_ms):
        return None
    candle = Candle(shared.open_time, shared.open, shared.high, shared.low, shared.close, shared.volume)
    return candle if candle.is_sound else None


def _is_time(time_ms: int, now_ms: int) -> bool:
    return 0 < time_ms <= now_ms + FUTURE_MS


def _is_usable(instrument: Instrument) -> bool:
    amounts: list[Decimal] = [instrument.tick, instrument.step, instrument.min_quantity, instrument.min_notional]
    try:
        split_symbol(instrument.symbol)
    except ValueError:
        return False
    return all(amount.is_finite() and amount >= 0 for amount in amounts)


def _decoded(decoder: msgspec.json.Decoder[Found], raw: object) -> Found | None:
    if not isinstance(raw, bytes):
        return None
    try:
        return decoder.decode(raw)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
