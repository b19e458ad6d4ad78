"""What a follower believes of the messages it hears: the newest epoch's, each once; and what time it is there.

Pure state: it is told what came and when, and asks nothing.
"""

from __future__ import annotations

NEXT, ANEW, OLD = "next", "anew", "old"

_WINDOW_S = 300.0


class Fence:
    """Judges messages by (epoch, number). ``heal_s``: an epoch that was silent so long is not waited for, what looks
    older may speak again."""

    def __init__(self, heal_s: float) -> None:
        self.epoch = 0
        self._heal_s = heal_s
        self._seq = 0
        self._heard_s = 0.0

    def judge(self, epoch: int, seq: int, now_s: float) -> str:
        """Return NEXT for the message that follows the last one, ANEW where some were missed or another leads, OLD
        for that of a leader that was replaced, which is not to be believed."""
        if epoch < self.epoch and now_s - self._heard_s < self._heal_s:
            return OLD
        follows = epoch == self.epoch and seq == self._seq + 1
        self.epoch, self._seq, self._heard_s = epoch, seq, now_s
        return NEXT if follows else ANEW


class SharedTime:
    """The exchange's time, as the leader knows it.

    A message is as late as its way was long, so of the last minutes the one that was least late tells. A clock of
    ours that steps back is noticed at once, one that steps forward makes prices look too old for a while.
    """

    def __init__(self) -> None:
        self.offset_ms = 0
        """How far the exchange's time is ahead of our clock."""
        self._best: int | None = None
        self._before: int | None = None
        self._turn_s = 0.0

    def heard(self, time_ms: int, now_ms: int, now_s: float) -> None:
        """Take the time that a message carries, and ours."""
        if now_s - self._turn_s > _WINDOW_S:
            self._before = self._best if now_s - self._turn_s < 2 * _WINDOW_S else None
            self._best, self._turn_s = None, now_s
        ahead = time_ms - now_ms
        self._best = ahead if self._best is None else max(self._best, ahead)
        self.offset_ms = self._best if self._before is None else max(self._best, self._before)
