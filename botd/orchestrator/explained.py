"""``why``: the trace of a decision, as the wire tells it, and what there is to say where there is none.

It reads one bot and the decision that it is given; what guards the position is :mod:`botd.orchestrator.views`'.
"""

from __future__ import annotations

from typing import Any

from botd.bot.bot import Bot
from botd.bot.lifecycle import TRADING, BotState
from botd.domain.candle import bucket_start
from botd.domain.clock import rfc3339
from botd.domain.decision import Decision
from botd.ledger.retention import DECISIONS_MS


def explained(bot: Bot, decision: Decision | None, at_ms: int | None = None) -> dict[str, Any]:
    """Return the row: of the last decision kept up to ``at_ms``, or (None) of the last there is.

    Of a bot that failed since its last, what it failed with. ``note`` says where the decision is not of the very time
    that was asked for.
    """
    if at_ms is None and bot.state in (BotState.FAILED, BotState.BACKOFF) and bot.record.reason:
        before = {} if decision is None else {"before": f"{decision.outcome} at {rfc3339(decision.time_ms)}"}
        return _row(bot, rfc3339(bot.record.since_ms), bot.state.value, [_failed(bot)], before)
    if decision is None:
        none = _none_yet(bot) if at_ms is None else f"no decision is kept from {rfc3339(at_ms)} or before"
        return _row(bot, None, "none", [], {"detail": none})
    gates = [
        {"gate": g.gate, "passed": g.passed, "value": g.value, "limit": g.limit, "detail": g.detail}
        for g in decision.gates
    ]
    row = _row(bot, rfc3339(decision.time_ms), decision.outcome, gates, decision.notes)
    return row if at_ms in (None, decision.time_ms) else {**row, "note": _earlier(bot, decision.time_ms, at_ms)}


def _row(bot: Bot, at: str | None, outcome: str, gates: list[dict[str, Any]], notes: dict[str, Any]) -> dict[str, Any]:
    return {"name": bot.name, "at": at, "outcome": outcome, "gates": gates, "notes": notes, "note": ""}


def _earlier(bot: Bot, found_ms: int, at_ms: int) -> str:
    """Return which decision is shown; where others may have been forgotten since it, which those are."""
    told = f"the last decision kept before {rfc3339(at_ms)} is of {rfc3339(found_ms)}"
    forgotten = bot.desk.clock.now_ms() - DECISIONS_MS
    if at_ms - found_ms <= bot.length_ms or found_ms >= forgotten:
        return told
    return f"{told}: after {DECISIONS_MS // 86_400_000} days only those are kept that changed the outcome"


def _none_yet(bot: Bot) -> str:
    """Return why a bot has not decided anything, and when it will."""
    if bot.state not in TRADING or bot.last_candle_ms is not None:
        return f"no decision yet: the bot is {bot.state.value}"
    due = bucket_start(bot.desk.clock.now_ms(), bot.length_ms) + bot.length_ms
    return f"no decision yet: waits for its first candle of {' '.join(bot.lane)}, which closes at {rfc3339(due)}"


def _failed(bot: Bot) -> dict[str, Any]:
    reason = f"strategy {bot.spec.strategy}: {bot.record.reason}"
    return {"gate": "strategy", "passed": False, "value": bot.state.value, "limit": None, "detail": reason}
