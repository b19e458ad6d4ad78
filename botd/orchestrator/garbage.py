"""The interpreter's collector of reference cycles: its pauses measured, and kept short.

A full collection looks at everything that is alive: with a thousand bots it holds the loop for a tenth of a second and
finds next to nothing, because botd makes few cycles. So the collector is called rarely, and what stays for good (code,
bots, arrays) is put out of its sight once it has settled; when bots were removed, all is looked at once.
"""

from __future__ import annotations

import gc
from typing import Any

from botd.domain.clock import Clock

THRESHOLDS = (20_000, 20, 50)
"""New objects before the youngest are looked at; how often that, before the next older ones are."""
SETTLED_LOOKS = 10
"""Looks in a row without a change, and what there is has settled."""
_CHANGED = 20
"""Bots more or fewer than at the last time, and it is done anew."""


class Garbage:
    """See the module. :meth:`start` at the beginning, :meth:`look` about once a second, :meth:`stop` at the end."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began_s = 0.0
        self._before: tuple[int, int, int] | None = None
        self._held = 0
        self._frozen_at: int | None = None
        self._same = 0
        self._runs = 0
        self._total_s = 0.0
        self._longest_s = 0.0

    def start(self) -> None:
        """Measure every collection, and have fewer of them."""
        if self._before is None:
            self._before = gc.get_threshold()
            gc.set_threshold(*THRESHOLDS)
            gc.callbacks.append(self._on_collection)

    def stop(self) -> None:
        """Leave the interpreter as it was."""
        if self._before is not None:
            gc.callbacks.remove(self._on_collection)
            gc.set_threshold(*self._before)
            gc.unfreeze()
            self._before = None

    def look(self, held: int) -> None:
        """Take notice of how many bots there are: once that has settled, they are put out of sight."""
        self._same = self._same + 1 if held == self._held else 0
        self._held = held
        at = self._frozen_at
        if self._same < SETTLED_LOOKS or self._before is None or (at is not None and abs(held - at) < _CHANGED):
            return
        if at is not None and held < at:
            gc.unfreeze()
            gc.collect()  # those removed
        gc.freeze()
        self._frozen_at = held

    def statistics(self) -> dict[str, Any]:
        """Return how many collections there were, and milliseconds: of all together, and of the longest."""
        return {
            "gc_runs": self._runs,
            "gc_ms_total": round(self._total_s * 1000, 2),
            "gc_ms_max": round(self._longest_s * 1000, 2),
        }

    def _on_collection(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._began_s = self._clock.monotonic()
            return
        took_s = self._clock.monotonic() - self._began_s
        self._runs += 1
        self._total_s += took_s
        self._longest_s = max(self._longest_s, took_s)
