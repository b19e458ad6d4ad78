"""What Binance says on its market streams, as typed values: one pass over the bytes, no dict is made.

:func:`decode` takes one frame in either of the exchange's two forms, the combined one
(``{"stream": ..., "data": {...}}``) and the raw one, and returns the struct of its kind. Prices and
quantities, decimal strings on the wire, become floats while the JSON is read. Only the members that
botd uses are kept; unknown ones are skipped, whatever their order.

The bytes may be garbage: then :class:`WireError` is raised, and nothing else. The numbers may be
nonsense (a negative price, ``nan``): sanity is not judged here but by whoever keeps the candles.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from botd.domain.candle import Candle

Frame = bytes | bytearray | memoryview
"""One message as it came."""


class WireError(ValueError):
    """A frame is no message of the exchange; the text says why and shows how it begins."""


class Bar(msgspec.Struct, gc=False):
    """The candle inside a kline message. ``closed`` is the exchange's own flag (``x``)."""

    open_time: int = msgspec.field(name="t")
    interval: str = msgspec.field(name="i")
    open: float = msgspec.field(name="o")
    high: float = msgspec.field(name="h")
    low: float = msgspec.field(name="l")
    close: float = msgspec.field(name="c")
    volume: float = msgspec.field(name="v")
    trades: int = msgspec.field(name="n")
    closed: bool = msgspec.field(name="x")

    def candle(self) -> Candle:
        """Return botd's own value of it."""
        return Candle(self.open_time, self.open, self.high, self.low, self.close, self.volume)


class Kline(msgspec.Struct, gc=False):
    """A candle's state at ``event_ms``, the exchange's time."""

    event_ms: int = msgspec.field(name="E")
    symbol: str = msgspec.field(name="s")
    bar: Bar = msgspec.field(name="k")


class BookTicker(msgspec.Struct, gc=False):
    """Best bid and ask. On spot it has no time of its own; ``update`` rises with every change of the book."""

    update: int = msgspec.field(name="u")
    symbol: str = msgspec.field(name="s")
    bid: float = msgspec.field(name="b")
    bid_quantity: float = msgspec.field(name="B")
    ask: float = msgspec.field(name="a")
    ask_quantity: float = msgspec.field(name="A")


class Trade(msgspec.Struct, gc=False):
    """One public trade. ``maker_bought``: the buyer was waiting in the book, the seller came to it."""

    event_ms: int = msgspec.field(name="E")
    symbol: str = msgspec.field(name="s")
    trade_id: int = msgspec.field(name="t")
    price: float = msgspec.field(name="p")
    quantity: float = msgspec.field(name="q")
    time_ms: int = msgspec.field(name="T")
    maker_bought: bool = msgspec.field(name="m")


class Fault(msgspec.Struct, gc=False):
    """Why a request was refused."""

    code: int = 0
    msg: str = ""


class Reply(msgspec.Struct, gc=False):
    """The answer to a request on the stream; ``fault`` is None when it was carried out."""

    id: int | str | None
    result: Any = None
    fault: Fault | None = None


class ServerShutdown(msgspec.Struct, gc=False):
    """The server will end this connection soon: time to have another one."""

    event_ms: int = 0


Message = Kline | BookTicker | Trade | Reply | ServerShutdown


class _Combined(msgspec.Struct, gc=False):
    stream: str
    data: msgspec.Raw


class _CombinedBook(msgspec.Struct, gc=False):
    data: BookTicker


class _CombinedKline(msgspec.Struct, gc=False):
    data: Kline


class _Any(msgspec.Struct, gc=False):
    """The members that tell the kinds of frames apart; absent ones stay None."""

    stream: str | None = None
    data: msgspec.Raw = msgspec.Raw()
    kind: msgspec.Raw = msgspec.field(name="e", default=msgspec.Raw())
    event_ms: msgspec.Raw = msgspec.field(name="E", default=msgspec.Raw())
    update: msgspec.Raw = msgspec.field(name="u", default=msgspec.Raw())
    event: msgspec.Raw = msgspec.Raw()
    id: int | str | None = None
    result: msgspec.Raw = msgspec.Raw()
    error: Fault | None = None
    code: int | None = None
    msg: str = ""


def _decoder(kind: Any) -> Callable[[Any], Any]:
    # Not strict: that is what turns "0.35" into a float without a string in between.
    return msgspec.json.Decoder(kind, strict=False).decode


_decode_combined: Callable[[Any], _Combined] = msgspec.json.Decoder(_Combined).decode
_decode_any: Callable[[Any], _Any] = msgspec.json.Decoder(_Any).decode
_BY_EVENT: dict[str, Callable[[Any], Message]] = {
    "kline": _decoder(Kline),
    "bookTicker": _decoder(BookTicker),
    "trade": _decoder(Trade),
}


_ENVELOPE, _STREAM_NAME = b'{"stream":"', 48
_BY_LETTER: dict[bytes, Callable[[Any], _CombinedBook | _CombinedKline]] = {
    b"b": _decoder(_CombinedBook),
    b"k": _decoder(_CombinedKline),
}
"""By the letter after the ``@`` of the stream's name: the two kinds that come by the thousand."""


def decode(frame: Frame) -> Message | None:
    """Return what a frame says; None for a well-formed message of a kind that botd does not use.

    WireError for everything else: no JSON, cut short, a member missing or of the wrong type.
    """
    if type(frame) is bytes and frame.startswith(_ENVELOPE):
        at = frame.find(b"@", 0, _STREAM_NAME) + 1
        quick = _BY_LETTER.get(frame[at : at + 1])
        if quick is not None:
            try:
                return quick(frame).data
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                pass  # the long way says what it is, or what is wrong with it
    return _decode(frame)


def _decode(frame: Frame) -> Message | None:
    try:
        try:
            combined = _decode_combined(frame)
        except msgspec.ValidationError:
            return _uncombined(frame)
        topic = combined.stream.rpartition("@")[2]
        decoder = _BY_EVENT.get("kline" if topic.startswith("kline_") else topic)
        return _by_content(combined.data) if decoder is None else decoder(combined.data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise WireError(f"{error}: {excerpt(frame)}") from None


def control(frame: Frame) -> Reply | ServerShutdown | None:
    """Return a frame that concerns the connection itself, None for market data and for garbage."""
    try:
        outer = _decode_any(frame)
        if outer.stream is not None:
            outer = _decode_any(outer.data)
        found = _reply(outer) or _last_words(outer)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return found


def excerpt(frame: Frame, length: int = 120) -> str:
    """Return how a frame begins, in one printable line."""
    text = bytes(frame[:length]).decode("ascii", "backslashreplace")
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _uncombined(frame: Frame) -> Message | None:
    """Decode a frame without an envelope: a reply, a raw stream, a word about the server."""
    outer = _decode_any(frame)
    if outer.stream is not None:
        raise msgspec.ValidationError("a stream without data")
    return _reply(outer) or _by_content(frame)


def _reply(outer: _Any) -> Reply | None:
    """Return the answer to a request, in one of the forms the exchange has."""
    if outer.error is not None:
        return Reply(outer.id, fault=outer.error)
    if outer.code is not None:
        return Reply(outer.id, fault=Fault(outer.code, outer.msg))
    if bytes(outer.result):
        return Reply(outer.id, msgspec.json.decode(outer.result))
    return None


def _last_words(outer: _Any) -> ServerShutdown | None:
    """Return the server's announcement, bare or wrapped as ``{"event": {...}}``."""
    inner = _decode_any(outer.event) if bytes(outer.event) else outer
    if bytes(inner.kind) != b'"serverShutdown"':
        return None
    return ServerShutdown(_number(inner.event_ms))


def _number(raw: msgspec.Raw) -> int:
    return msgspec.json.decode(raw, type=int) if bytes(raw) else 0


def _by_content(data: Any) -> Message | None:
    """Decode by the event's own name; a spot book ticker has none and is known by its update number."""
    inner = _decode_any(data)
    if (words := _last_words(inner)) is not None:
        return words
    kind = bytes(inner.kind).strip(b'"').decode()
    if not kind:
        return _BY_EVENT["bookTicker"](data) if bytes(inner.update) else None
    decoder = _BY_EVENT.get(kind)
    return None if decoder is None else decoder(data)
