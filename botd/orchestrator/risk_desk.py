"""The risk settings as the risk verbs see them: shown, changed, with the bots by their names."""

from __future__ import annotations

from typing import Any

from botd.bot.bot import Bot
from botd.domain.clock import Clock
from botd.orchestrator.orchestrator import Orchestrator
from botd.risk.gate import RiskGate
from botd.risk.settings import ACCOUNT
from botd.risk.table import risk_rows


class RiskDesk:
    """Reads and changes limits; what trips and is released is the kill switch's."""

    def __init__(self, orchestrator: Orchestrator, gate: RiskGate, clock: Clock) -> None:
        self._orchestrator = orchestrator
        self._gate = gate
        self._clock = clock

    def rows(self) -> list[dict[str, Any]]:
        """Return ``risk show``."""
        names = {bot.number: bot.name for bot in self._orchestrator.bots.values()}
        return risk_rows(self._gate.settings, self._gate.states, self._clock.now_ms(), names)

    def change(self, bot: Bot | None, changes: dict[str, Any], by: str) -> list[dict[str, Any]]:
        """Do ``risk set`` for the account, or for one bot."""
        number = ACCOUNT if bot is None else bot.number
        rows = self._gate.set(changes, now_ms=self._clock.now_ms(), bot=number, by=by)
        return rows if bot is None else [{**row, "scope": f"bot:{bot.name}"} for row in rows]
