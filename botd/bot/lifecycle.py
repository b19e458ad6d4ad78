"""The states of a bot and what may follow what; when a failing bot is tried again."""

from __future__ import annotations

import random
from enum import StrEnum


class BotState(StrEnum):
    CREATED = "created"
    STARTING = "starting"
    RUNNING = "running"
    DEGRADED = "degraded"
    PAUSED = "paused"
    STOPPING = "stopping"
    STOPPED = "stopped"
    BACKOFF = "backoff"
    FAILED = "failed"


class Desired(StrEnum):
    """What a user wants of a bot; durable, the supervisor works towards it."""

    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"


TRADING = frozenset({BotState.RUNNING, BotState.DEGRADED, BotState.PAUSED})
"""States in which signals are evaluated (paused: exits only)."""

_S = BotState
TRANSITIONS: dict[BotState, frozenset[BotState]] = {
    _S.CREATED: frozenset({_S.STARTING, _S.STOPPED}),
    _S.STARTING: frozenset({_S.RUNNING, _S.PAUSED, _S.BACKOFF, _S.FAILED, _S.STOPPED}),
    _S.RUNNING: frozenset({_S.DEGRADED, _S.PAUSED, _S.STOPPING, _S.STOPPED, _S.BACKOFF, _S.FAILED}),
    _S.DEGRADED: frozenset({_S.RUNNING, _S.PAUSED, _S.STOPPING, _S.STOPPED, _S.BACKOFF, _S.FAILED}),
    _S.PAUSED: frozenset({_S.RUNNING, _S.DEGRADED, _S.STOPPING, _S.STOPPED, _S.BACKOFF, _S.FAILED}),
    _S.STOPPING: frozenset({_S.STOPPED}),
    _S.STOPPED: frozenset({_S.STARTING}),
    _S.BACKOFF: frozenset({_S.STARTING, _S.STOPPED, _S.FAILED}),
    _S.FAILED: frozenset({_S.STARTING, _S.STOPPED}),
}


class RestartPolicy:
    """Backoff with jitter: each failure in a row waits twice as long, up to a cap; then the bot is failed."""

    def __init__(
        self,
        rng: random.Random,
        *,
        first_s: float = 5.0,
        cap_s: float = 300.0,
        attempts: int = 5,
        forget_s: float = 3600.0,
    ) -> None:
        """``forget_s`` of trading time without a failure makes the next one the first again."""
        self._rng = rng
        self._first_s = first_s
        self._cap_s = cap_s
        self._attempts = attempts
        self._forget_ms = round(forget_s * 1000)

    def forgets(self, last_failure_ms: int, now_ms: int) -> bool:
        """Tell whether earlier failures no longer count."""
        return now_ms - last_failure_ms >= self._forget_ms

    def delay_s(self, failures: int) -> float | None:
        """Return seconds to wait after the ``failures``-th failure in a row, None to give up."""
        if failures >= self._attempts:
            return None
        wait = min(self._cap_s, self._first_s * 2.0 ** (failures - 1))
        return wait * (0.5 + 0.5 * self._rng.random())
