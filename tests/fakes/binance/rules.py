"""The exchange's rules of the wire as numbers, all of them changeable by a test."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Rules:
    """Binance's own numbers (spot, 2026). Seconds of ``timers``, except the weights': those follow the market's clock.

    ``timers``: ``wall`` for clients that live in real time, whatever the market's clock does; ``market`` for clients
    in virtual time.
    """

    timers: str = "wall"
    ping_s: float = 20.0
    pong_s: float = 60.0
    life_s: float = 86_400.0
    messages: int = 5
    message_window_s: float = 0.95
    """A second less what the way may take from it: six messages within are one too many."""
    streams: int = 1024
    connections: int = 300
    connection_window_s: float = 300.0
    weight: int = 6000
    offences: int = 10
    """Requests after a 429, before its Retry-After is over, that make it a ban."""
    ban_s: int = 120
    ban_most_s: int = 3 * 86_400
    buffer: int = 32 * 1024 * 1024
    """Bytes that wait for a client who does not read, before it is cut."""
    stamped: bool = False
    """The update ids of bookTicker are the monotonic clock's nanoseconds at the send, for benches on one machine."""
