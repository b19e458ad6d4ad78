"""What the exchange allows on its streams, and how long botd waits for what: numbers, budgets, pauses.

Pure policies: they are told the time by a clock's monotonic seconds, and they neither send nor sleep.
"""

from __future__ import annotations

import collections
import dataclasses
from typing import Protocol

from botd.domain.clock import Clock


class Chance(Protocol):
    """Where jitter comes from: a seeded generator."""

    def uniform(self, a: float, b: float, /) -> float:
        """Return any number from ``a`` to ``b``."""
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class StreamRules:
    """The limits of Binance's spot streams and botd's own times, in seconds; tests use shorter ones."""

    streams: int = 1024
    """on one connection"""
    messages: int = 5
    """from the client within ``messages_s``, pongs included; one more and the server hangs up"""
    messages_s: float = 1.0
    batch: int = 200
    """streams in one request"""
    batch_bytes: int = 4_000
    """length of one request"""
    attempts: int = 250
    """connections tried within ``attempts_s``. The limit is 300 an address: the rest is for the user
    stream, and for others behind the same address"""
    attempts_s: float = 300.0
    open_s: float = 10.0
    """to connect, TLS and handshake included"""
    reply_s: float = 10.0
    """to answer a request"""
    silence_s: float = 60.0
    """without any frame, pings included, and the connection is taken for dead: a server pings every 20 s"""
    lifetime_s: float = 86_400.0
    overlap_s: float = 300.0
    """before the end of its life a connection gets its successor"""
    linger_s: float = 1.0
    """for which the old one goes on beside the new one, for what is still under way on it"""
    first_pause_s: float = 0.5
    longest_pause_s: float = 30.0
    stable_s: float = 10.0
    """after which a connection is a success: the next pause is the first again"""
    cooldown_s: float = 30.0
    """for which a new connection cannot be asked to make way for another one"""

    @property
    def spacing_s(self) -> float:
        """Return the time between two requests: even, so that the network cannot press too many into one
        second, and one message short of the limit, so that a pong never has to wait."""
        return self.messages_s / max(1, self.messages - 1)


class MessageBudget:
    """How many messages have left through a connection lately, and when the next may."""

    def __init__(self, rules: StreamRules, clock: Clock) -> None:
        self._rules = rules
        self._clock = clock
        self._sent: collections.deque[float] = collections.deque(maxlen=rules.messages)
        self._last_request = float("-inf")
        self.count = 0

    def request_wait_s(self) -> float:
        """Return in how many seconds a request may be sent; 0: now."""
        spaced = self._last_request + self._rules.spacing_s - self._clock.monotonic()
        return max(0.0, spaced, self._full_s(self._rules.messages - 1))

    def pong_wait_s(self) -> float:
        """Return in how many seconds a pong may be sent; 0: now."""
        return self._full_s(self._rules.messages)

    def requested(self) -> None:
        """Count a request that was sent."""
        self._last_request = self._clock.monotonic()
        self.answered()

    def answered(self) -> None:
        """Count a pong that was sent."""
        self._sent.append(self._clock.monotonic())
        self.count += 1

    def _full_s(self, limit: int) -> float:
        """Return when there are fewer than ``limit`` messages within the window."""
        if len(self._sent) < limit:
            return 0.0
        return max(0.0, self._sent[-limit] + self._rules.messages_s - self._clock.monotonic())


class AttemptBudget:
    """How many connections were tried lately, over all shards."""

    def __init__(self, rules: StreamRules, clock: Clock) -> None:
        self._rules = rules
        self._clock = clock
        self._tried: collections.deque[float] = collections.deque(maxlen=rules.attempts)
        self.count = 0

    def wait_s(self) -> float:
        """Return in how many seconds the next may be tried; 0: now."""
        if len(self._tried) < self._rules.attempts:
            return 0.0
        return max(0.0, self._tried[0] + self._rules.attempts_s - self._clock.monotonic())

    def tried(self) -> None:
        """Count one."""
        self._tried.append(self._clock.monotonic())
        self.count += 1


class Backoff:
    """Pauses that double from one failure to the next, with full jitter: anything from nothing to the whole."""

    def __init__(self, rules: StreamRules, rng: Chance) -> None:
        self._rules = rules
        self._rng = rng
        self._failures = 0

    def pause_s(self, at_least_s: float = 0.0) -> float:
        """Count a failure and return how long to wait; ``at_least_s`` is what the server asked for."""
        longest = min(self._rules.longest_pause_s, self._rules.first_pause_s * 2.0 ** min(self._failures, 32))
        self._failures += 1
        return at_least_s + self._rng.uniform(0.0, longest)

    def succeeded(self) -> None:
        """Begin anew."""
        self._failures = 0
