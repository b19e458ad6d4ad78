"""How much one caller may ask, and all of them together."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from botd.domain.clock import Clock

PEERS_REMEMBERED = 1024
BYTES_PER_REQUEST = 8192
"""A request larger than this counts as several."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the control socket. ``reserved`` places are kept for halt, stop, shutdown, hello and ping."""

    in_flight: int = 64
    reserved: int = 16
    per_second: float = 50.0
    burst: int = 50
    waiters: int = 16
    """Repeats of one request that may wait for its answer."""


class PeerRates:
    """A token bucket for each peer; the longest idle ones are forgotten (their buckets are full again)."""

    def __init__(self, limits: Limits, clock: Clock) -> None:
        self._limits = limits
        self._clock = clock
        self._buckets: OrderedDict[object, tuple[float, float]] = OrderedDict()

    def take(self, peer: object, size: int) -> bool:
        """Return whether ``peer`` may ask now, for a request of ``size`` bytes."""
        now = self._clock.monotonic()
        full = float(self._limits.burst)
        tokens, then = self._buckets.get(peer, (full, now))
        tokens = min(full, tokens + (now - then) * self._limits.per_second)
        cost = 1 + size // BYTES_PER_REQUEST
        allowed = tokens >= min(cost, full)
        self._buckets[peer] = (max(0.0, tokens - cost) if allowed else tokens, now)
        self._buckets.move_to_end(peer)
        if len(self._buckets) > PEERS_REMEMBERED:
            self._buckets.popitem(last=False)
        return allowed
