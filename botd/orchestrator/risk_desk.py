"""The risk settings as the risk verbs see them: shown, changed, with the bots by their names."""

from __future__ import annotations

from typing import Any

from botd.bot.bot import Bot
from botd.domain.clock import Clock
from botd.orchestrator.health import OK
from botd.orchestrator.orchestrator import Orchestrator
from botd.risk.controls import BY_NAME
from botd.risk.gate import RiskGate
from botd.risk.settings import ACCOUNT
from botd.risk.table import risk_rows
from botd.risk.units import unit_of
from botd.risk.words import held_rows

MOST_TOLD = 3


class RiskDesk:
    """Reads and changes limits; what trips and is released is the kill switch's."""

    def __init__(self, orchestrator: Orchestrator, gate: RiskGate, clock: Clock) -> None:
        self._orchestrator = orchestrator
        self._gate = gate
        self._clock = clock

    def rows(self) -> list[dict[str, Any]]:
        """Return ``risk show``."""
        return risk_rows(self._gate.settings, self._gate.states, self._clock.now_ms(), self._names())

    def held(self) -> list[dict[str, Any]]:
        """Return what is halted, reduced or tripped just now: who, since when, why, and what ends it."""
        return held_rows(self._gate.states, self._clock.now_ms(), self._names())

    def check(self) -> tuple[str, str, str]:
        """Return the row of ``health``: a halt is no fault, but nobody should have to look for it."""
        rows = self.held()
        told = [
            f"{row['scope']} {row['state']} since {row['since']}: {row['remedy']}"
            if row["until"] is None
            else f"{row['scope']} {row['state']} until {row['until']}; sooner: {row['remedy']}"
            for row in rows[:MOST_TOLD]
        ]
        more = [f"{len(rows) - MOST_TOLD} more: botctl risk show"] if len(rows) > MOST_TOLD else []
        return "trading", OK, "; ".join([*told, *more]) or "active"

    def statistics(self) -> dict[str, Any]:
        """Return how often the gate let an order go, shrank it or denied it since the start, repeats included."""
        return self._gate.statistics()

    def _names(self) -> dict[int, str]:
        return {bot.number: bot.name for bot in self._orchestrator.bots.values()}

    def change(self, bot: Bot | None, changes: dict[str, Any], by: str) -> list[dict[str, Any]]:
        """Do ``risk set`` for the account, or for one bot."""
        number = ACCOUNT if bot is None else bot.number
        rows = self._gate.set(changes, now_ms=self._clock.now_ms(), bot=number, by=by)
        named = {} if bot is None else {"scope": f"bot:{bot.name}"}
        return [{**row, **named, "units": self._units(row["control"], number)} for row in rows]

    def _units(self, control: str, bot: int) -> dict[str, str]:
        limits = self._gate.settings.limits(bot)[control]
        return {part.name: unit_of(part.unit, limits[part.name]) for part in BY_NAME[control].parts}
