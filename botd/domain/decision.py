"""The trace of one decision: which gates it passed, with the values and limits that decided."""

from __future__ import annotations

from typing import Any

import msgspec


class GateCheck(msgspec.Struct, frozen=True, kw_only=True):
    """One gate of a decision. ``value`` and ``limit`` are what was compared; ``detail`` says it in words.

    A quantity limit that shrank the order has ``passed`` True and says so in ``detail``.
    """

    gate: str
    passed: bool
    value: str | float | None = None
    limit: str | float | None = None
    detail: str = ""


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """Why a bot did or did not trade at ``time_ms``.

    ``outcome``: hold, entered, exited, denied (with the code in the last gate), stale, warming_up, waiting (for a
    candle that it reads besides), skipped_min_notional, error.
    """

    bot: int
    time_ms: int
    outcome: str
    gates: list[GateCheck] = []
    notes: dict[str, Any] = {}
