"""Who gets what: streams, the connections subscribed to them, and one encoding of each event for all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Protocol

from tests.fakes.binance.wire import TEXT, frame, wrapped


class Subscriber(Protocol):
    """A connection, as the hub sees it."""

    combined: bool

    def send(self, data: bytes) -> None: ...


class Hub:
    """Subscriptions. ``opened`` and ``shut`` are told of a stream's first and last subscriber."""

    def __init__(self, opened: Callable[[str], None], shut: Callable[[str], None], *, stamped: bool = False) -> None:
        self._opened = opened
        self._shut = shut
        self._stamped = stamped
        self._streams: dict[str, tuple[Subscriber, ...]] = {}
        self.published = 0

    def subscribe(self, subscriber: Subscriber, streams: Iterable[str]) -> None:
        """Add a subscriber to streams it does not have yet."""
        for stream in streams:
            present = self._streams.get(stream, ())
            self._streams[stream] = (*present, subscriber)
            if not present:
                self._opened(stream)

    def unsubscribe(self, subscriber: Subscriber, streams: Iterable[str]) -> None:
        for stream in streams:
            left = tuple(other for other in self._streams.get(stream, ()) if other is not subscriber)
            if left:
                self._streams[stream] = left
            elif self._streams.pop(stream, None):
                self._shut(stream)

    def subscribers(self, stream: str) -> tuple[Subscriber, ...]:
        return self._streams.get(stream, ())

    def streams(self) -> list[str]:
        return list(self._streams)

    def publish(self, stream: str, payload: bytes, kind: int = TEXT) -> None:
        """Send an event to all who have its stream, wrapped for those of the combined form."""
        subscribers = self._streams.get(stream)
        if not subscribers:
            return
        if self._stamped and payload.startswith(b'{"u":'):
            payload = b'{"u":%d%b' % (time.monotonic_ns(), payload[payload.index(b",") :])
        self.published += 1
        raw = combined = b""
        for subscriber in subscribers:
            if subscriber.combined:
                combined = combined or frame(wrapped(stream, payload), kind)
                subscriber.send(combined)
            else:
                raw = raw or frame(payload, kind)
                subscriber.send(raw)

    def publish_bare(self, stream: str, payload: bytes, kind: int = TEXT) -> None:
        """Send bytes as they are to all who have a stream, also to those of the combined form."""
        data = frame(payload, kind)
        for subscriber in self._streams.get(stream, ()):
            subscriber.send(data)
