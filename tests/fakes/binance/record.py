"""What the front saw, for assertions: connections, subscriptions, requests. It judges nothing but bans."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from typing import Any

import msgspec


class RequestSeen(msgspec.Struct):
    """A REST request. Times in ms of the market's clock; ``used``: the weight of the minute, itself included.

    ``banned``: a Retry-After that this client had been given was not over yet.
    """

    time_ms: int
    method: str
    path: str
    parameters: dict[str, str]
    weight: int
    used: int
    status: int
    banned: bool
    arrived_ns: int = 0
    """On the monotonic clock, for benches on one machine."""


class ConnectionSeen(msgspec.Struct):
    """A WebSocket connection. ``why`` it ended: client, stop, pong, messages, streams, life, slow, cut, shutdown.

    ``subscriptions``: (time, method, streams), the streams of the url included.
    """

    number: int
    path: str
    opened_ms: int
    closed_ms: int | None = None
    why: str = ""
    subscriptions: list[tuple[int, str, list[str]]] = msgspec.field(default_factory=list)
    streams: list[str] = msgspec.field(default_factory=list)
    sent: int = 0
    received: int = 0
    pongs: int = 0
    address: str = ""


class Record:
    """Everything seen since the start; ``keep`` bounds the requests that are kept one by one."""

    def __init__(self, keep: int = 200_000) -> None:
        self._keep = keep
        self.requests: list[RequestSeen] = []
        self.connections: list[ConnectionSeen] = []
        self.refused_connections = 0
        self.closings: list[tuple[int, str, int]] = []
        """(time, stream, open time) of each closing kline the market made, before any fault."""
        self.closed_ns: dict[str, int] = {}
        """When on the monotonic clock they were made, by ``stream/open time``."""

    def request(self, seen: RequestSeen) -> None:
        if len(self.requests) < self._keep:
            self.requests.append(seen)

    def closing(self, time_ms: int, stream: str, open_time: int) -> None:
        if len(self.closings) < self._keep:
            self.closings.append((time_ms, stream, open_time))
            self.closed_ns[f"{stream}/{open_time}"] = time.monotonic_ns()

    def paths(self) -> Counter[str]:
        """Return how often each path was asked for."""
        return Counter(seen.path for seen in self.requests)

    def of(self, path: str) -> list[RequestSeen]:
        """Return the requests whose path ends so."""
        return [seen for seen in self.requests if seen.path.endswith(path)]

    def while_banned(self) -> list[RequestSeen]:
        """Return the requests made although the client had been told to wait. A good client makes none."""
        return [seen for seen in self.requests if seen.banned]

    def open_connections(self) -> list[ConnectionSeen]:
        return [seen for seen in self.connections if seen.closed_ms is None]

    def endings(self) -> Counter[str]:
        """Return why connections ended."""
        return Counter(seen.why for seen in self.connections if seen.closed_ms is not None)

    def most_weight(self) -> int:
        """Return the highest weight of any minute."""
        return max((seen.used for seen in self.requests), default=0)

    def subscribed(self) -> set[str]:
        """Return the streams that open connections have now."""
        return set(_flat(seen.streams for seen in self.open_connections()))

    def summary(self) -> dict[str, Any]:
        """Return the counts, for another process."""
        return {
            "requests": len(self.requests),
            "paths": dict(self.paths()),
            "while_banned": len(self.while_banned()),
            "most_weight": self.most_weight(),
            "connections": len(self.connections),
            "open": len(self.open_connections()),
            "refused": self.refused_connections,
            "endings": dict(self.endings()),
            "streams": len(self.subscribed()),
            "sent": sum(seen.sent for seen in self.connections),
            "received": sum(seen.received for seen in self.connections),
        }


def _flat(lists: Iterable[list[str]]) -> Iterable[str]:
    return (item for row in lists for item in row)
