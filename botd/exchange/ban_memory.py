"""Until when the exchange does not want to hear from this address: remembered across a restart, as a row of the ledger.

Asking all the same would make a ban longer. Nobody may ask what the exchange's clock says meanwhile, and ours may step:
what has passed is told by the monotonic time; where the machine began anew, by that and the exchange's time. A
ban that seems over is tried with one request alone.

It decides nothing else; the governor keeps to it.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from botd.domain.clock import Clock
from botd.exchange.governor import Governor

KEY = "blocked"
_SAME_MS = 2_000


class _Block(msgspec.Struct):
    until_ms: int
    """The exchange's time, as far as it is known."""
    why: str
    left_s: float = 0.0
    """How long that was when the row was written."""
    written_s: float = float("inf")
    """Monotonic time then: begins anew when the machine does."""

    def remains_s(self, server_ms: int, monotonic_s: float) -> float:
        """Return what remains of it, rather too much than too little."""
        if monotonic_s >= self.written_s:
            return self.left_s - (monotonic_s - self.written_s)
        return min(self.left_s - monotonic_s, (self.until_ms - server_ms) / 1000)  # it has run since then, at least


class BanMemory:
    """See the module. :meth:`restore` once, before anything is asked."""

    def __init__(self, governor: Governor, clock: Clock) -> None:
        self._governor = governor
        self._clock = clock
        self._kept_ms = 0
        """What the row says; 0: there is none."""

    def drain_changes(self) -> dict[str, str | None]:
        """Return the row if it changed since the last call: None once all may be asked again."""
        left_s = self._governor.blocked_s
        if not left_s:
            if not self._kept_ms:
                return {}
            self._kept_ms = 0
            return {KEY: None}
        until_ms = self._governor.server_ms + round(left_s * 1000)
        if abs(until_ms - self._kept_ms) < _SAME_MS:
            return {}
        self._kept_ms = until_ms
        block = _Block(until_ms, self._governor.why, left_s, self._clock.monotonic())
        return {KEY: msgspec.json.encode(block).decode()}

    def restore(self, rows: Mapping[str, str]) -> None:
        """Hold to what an earlier botd was told."""
        if KEY in rows:
            block = msgspec.json.decode(rows[KEY], type=_Block)
            self._kept_ms = block.until_ms
            left_s = block.remains_s(self._governor.server_ms, self._clock.monotonic())
            self._governor.hold(max(0.0, left_s), block.why)
