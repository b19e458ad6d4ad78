"""Until when the exchange does not want to hear from this address: remembered across a restart, as a row of the ledger.

Asking all the same would make a ban longer. It decides nothing; the governor keeps to it.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from botd.domain.clock import Clock
from botd.exchange.governor import Governor

KEY = "blocked"
_LONGEST_MS = 3 * 86_400_000
"""Binance's longest ban: a row that says more was written under a clock that was wrong."""
_SAME_MS = 2_000


class _Block(msgspec.Struct):
    until_ms: int
    why: str


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
        until_ms = self._clock.now_ms() + round(left_s * 1000)
        if abs(until_ms - self._kept_ms) < _SAME_MS:
            return {}
        self._kept_ms = until_ms
        return {KEY: msgspec.json.encode(_Block(until_ms, self._governor.why)).decode()}

    def restore(self, rows: Mapping[str, str]) -> None:
        """Hold to what an earlier botd was told."""
        if KEY in rows:
            block = msgspec.json.decode(rows[KEY], type=_Block)
            self._kept_ms = block.until_ms
            left_ms = block.until_ms - self._clock.now_ms()
            if 0 < left_ms <= _LONGEST_MS:
                self._governor.hold(left_ms / 1000, block.why)
