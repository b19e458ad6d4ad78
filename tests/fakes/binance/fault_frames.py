"""What faults do to frames on their way from the market to the subscribers: late, twice, never, broken, wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

from tests.fakes.binance.clock import FrontClock
from tests.fakes.binance.faults import Fault, FaultPlan
from tests.fakes.binance.market import StreamEvent
from tests.fakes.binance.wire import BINARY, TEXT

GARBAGE = {
    "text": (b"not json at all", TEXT),
    "binary": (bytes(range(256)), BINARY),
    "html": (b"<html><body>502 Bad Gateway</body></html>", TEXT),
    "empty": (b"", TEXT),
    "utf8": (b'{"e":"kline\xff\xfe"}', TEXT),
}


class _Frame(NamedTuple):
    """What goes out: after ``delay_ms``, ``bare`` without the wrapping of the combined form."""

    payload: bytes
    delay_ms: int = 0
    kind: int = TEXT
    bare: bool = False


class FrameFaults:
    """A sink between the pump and the hub. ``publish(stream, payload, kind)`` and ``publish_bare`` send."""

    def __init__(
        self,
        plan: FaultPlan,
        clock: FrontClock,
        at: Callable[[float, Callable[[], None]], None],
        publish: Callable[[str, bytes, int], None],
        publish_bare: Callable[[str, bytes, int], None],
    ) -> None:
        self._plan = plan
        self._clock = clock
        self._at = at
        self._publish = publish
        self._publish_bare = publish_bare
        self._held: dict[str, list[list[Any]]] = {}

    def deliver(self, stream: str, event: StreamEvent) -> None:
        """Send an event as the faults that hold now have it."""
        if not self._plan.active and not self._held:
            self._publish(stream, event.payload, TEXT)
            return
        frames = [_Frame(event.payload)]
        for fault in self._plan.frames(stream, event.time_ms, event.closes):
            frames = _EFFECTS[fault.kind](self, fault, stream, event, frames)
        for frame in frames:
            self._send(stream, frame)
        if frames:
            self._release(stream)

    def _send(self, stream: str, frame: _Frame) -> None:
        if frame.delay_ms:
            later = frame._replace(delay_ms=0)
            self._at(self._clock.now_ms() + frame.delay_ms, lambda: self._send(stream, later))
        elif frame.bare:
            self._publish_bare(stream, frame.payload, frame.kind)
        else:
            self._publish(stream, frame.payload, frame.kind)

    def _release(self, stream: str) -> None:
        """Send the frames of a stream that have been overtaken often enough."""
        for entry in self._held.get(stream, []):
            entry[0] -= 1
        for entry in [entry for entry in self._held.get(stream, []) if entry[0] <= 0]:
            self._held[stream].remove(entry)
            for frame in entry[1]:
                self._send(stream, frame)
        if not self._held.get(stream, True):
            del self._held[stream]

    def _delayed(self, fault: Fault, stream: str, event: StreamEvent, frames: list[_Frame]) -> list[_Frame]:
        return [frame._replace(delay_ms=frame.delay_ms + fault.delay_ms) for frame in frames]

    def _duplicated(self, fault: Fault, stream: str, event: StreamEvent, frames: list[_Frame]) -> list[_Frame]:
        turns = range(fault.count + 1)
        return [frame._replace(delay_ms=frame.delay_ms + turn * fault.delay_ms) for turn in turns for frame in frames]

    def _reordered(self, fault: Fault, stream: str, event: StreamEvent, frames: list[_Frame]) -> list[_Frame]:
        if frames:
            self._held.setdefault(stream, []).append([fault.count, frames])
        return []

    def _missing(self, fault: Fault, stream: str, event: StreamEvent, frames: list[_Frame]) -> list[_Frame]:
        return []

    def _revised(self, fault: Fault, stream: str, event: StreamEvent, frames: list[_Frame]) -> list[_Frame]:
        if event.closes is None:
            return frames
        wrong = [frame._replace(payload=_revised(frame.payload)) for frame in frames]
        if fault.how != "again":
            return wrong
        return wrong + [frame._replace(delay_ms=frame.delay_ms + max(1, fault.delay_ms)) for frame in frames]

    def _garbage(self, fault: Fault, stream: str, event: StreamEvent, frames: list[_Frame]) -> list[_Frame]:
        choice = fault.how or list(GARBAGE)[int(self._plan.dice(fault, f"how/{event.time_ms}") * (len(GARBAGE) - 1))]
        payload, kind = GARBAGE[choice]
        return [_Frame(payload, 0, kind, bare=True), *frames]

    def _truncated(self, fault: Fault, stream: str, event: StreamEvent, frames: list[_Frame]) -> list[_Frame]:
        # Without the wrapping's end, too: what arrives is no JSON in either form.
        return [frame._replace(payload=frame.payload[: len(frame.payload) // 2]) for frame in frames]

    def _wrong_types(self, fault: Fault, stream: str, event: StreamEvent, frames: list[_Frame]) -> list[_Frame]:
        shape = fault.how or list(SHAPES)[int(self._plan.dice(fault, f"how/{event.time_ms}") * len(SHAPES))]
        return [frame._replace(payload=_reshaped(frame.payload, SHAPES[shape])) for frame in frames]


_EFFECTS = {
    "delayed": FrameFaults._delayed,
    "duplicated": FrameFaults._duplicated,
    "reordered": FrameFaults._reordered,
    "missing": FrameFaults._missing,
    "silent": FrameFaults._missing,
    "revised": FrameFaults._revised,
    "garbage": FrameFaults._garbage,
    "truncated": FrameFaults._truncated,
    "wrong_types": FrameFaults._wrong_types,
}


def _revised(payload: bytes) -> bytes:
    """Return a closing kline with a trade less in its numbers: close at the open, half the volume."""
    row = json.loads(payload)
    kline = row["k"]
    kline["c"] = kline["o"]
    for field in ("v", "q", "V", "Q"):
        whole, _, fraction = kline[field].partition(".")
        half = int(whole + fraction) // 2
        kline[field] = f"{half // 10 ** len(fraction)}.{half % 10 ** len(fraction):0{len(fraction)}d}"
    kline["n"] = kline["n"] // 2
    kline["L"] = kline["f"] + kline["n"] - 1 if kline["n"] else -1
    return json.dumps(row, separators=(",", ":")).encode()


def _inner(row: dict[str, Any]) -> dict[str, Any]:
    """Return the part of an event that holds its numbers."""
    kline = row.get("k")
    return kline if isinstance(kline, dict) else row


def _numbers(row: dict[str, Any]) -> Any:
    part = _inner(row)
    part.update({key: float(value) for key, value in part.items() if _is_amount(value)})
    return row


def _texts(row: dict[str, Any]) -> Any:
    part = _inner(row)
    part.update({key: str(value) for key, value in part.items() if isinstance(value, int)})
    return row


def _each(value: Any) -> Callable[[dict[str, Any]], Any]:
    def change(row: dict[str, Any]) -> Any:
        part = _inner(row)
        part.update({key: value for key, old in part.items() if _is_amount(old)})
        return row

    return change


def _bare_list(row: dict[str, Any]) -> Any:
    return [row]


def _fewer(row: dict[str, Any]) -> Any:
    part = _inner(row)
    for key in [key for key, value in part.items() if _is_amount(value)][::2]:
        del part[key]
    return row


def _inside_null(row: dict[str, Any]) -> Any:
    return {**row, "k": None} if "k" in row else {**row, "p": None, "b": None, "c": None}


SHAPES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "numbers": _numbers,
    "texts": _texts,
    "nulls": _each(None),
    "words": _each("abc"),
    "nan": _each("NaN"),
    "negative": _each("-1.00000000"),
    "huge": _each("9" * 400),
    "list": _bare_list,
    "fewer": _fewer,
    "null_inside": _inside_null,
    "string": lambda row: "kline",
}


def _reshaped(payload: bytes, shape: Callable[[dict[str, Any]], Any]) -> bytes:
    row = json.loads(payload)
    return json.dumps(shape(row) if isinstance(row, dict) else None, separators=(",", ":")).encode()


def _is_amount(value: Any) -> bool:
    return isinstance(value, str) and value.replace(".", "", 1).isdigit()
