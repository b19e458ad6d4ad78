"""The states of a bot and what may follow what; when a failing bot is tried again."""

from __future__ import annotations

from enum import StrEnum

from botd.domain.clock import seeded_random


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


STATES = {state.value: state for state in BotState}
"""The states by their names."""


class Desired(StrEnum):
    """What a user wants of a bot; durable, the supervisor works towards it."""

    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"


TRADING = frozenset({BotState.RUNNING, BotState.DEGRADED, BotState.PAUSED})
"""States in which signals are evaluated (paused: exits only)."""

RESTING = frozenset({BotState.CREATED, BotState.STOPPED, BotState.FAILED})
"""States that only a user's verb leaves. A resting bot needs the market only while it holds something."""

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
    """Backoff with jitter: each failure in a row waits twice as long, up to a cap; then the bot is failed.

    The jitter belongs to the bot and its failure: bots that fail together are not tried together, and the
    same market gives the same waits, whenever the daemon was restarted.
    """

    def __init__(
        self, *, first_s: float = 5.0, cap_s: float = 300.0, attempts: int = 5, forget_s: float = 3600.0
    ) -> None:
        """``forget_s`` of trading time without a failure makes the next one the first again."""
        self._first_s = first_s
        self._cap_s = cap_s
        self._attempts = attempts
        self._forget_ms = round(forget_s * 1000)

    def forgets(self, last_failure_ms: int, now_ms: int) -> bool:
        """Tell whether earlier failures no longer count."""
        return now_ms - last_failure_ms >= self._forget_ms

    def retry_ms(self, bot: int, failures: int, failed_ms: int) -> int | None:
        """Return when to try again after the ``failures``-th failure in a row, None to give up."""
        if failures >= self._attempts:
            return None
        wait_s = min(self._cap_s, self._first_s * 2.0 ** (failures - 1))
        jitter = seeded_random(f"{bot} {failures} {failed_ms}").random()
        return failed_ms + round(wait_s * (0.5 + 0.5 * jitter) * 1000)
