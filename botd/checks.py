"""What ``health`` looks at, one check a part. Part of the composition root."""

from __future__ import annotations

from botd.bot.lifecycle import BotState
from botd.orchestrator.health import DEGRADED, FAILED, OK, Health, LoopLag, Part
from botd.world import World

Checked = tuple[str, str, str]
"""Name, status and detail."""


def checks(world: World, lag: LoopLag, market: Part, exchange: Part) -> Health:
    """Return the health of a daemon; ``market`` and ``exchange`` are the parts as their supervisors see them."""
    health = Health()
    health.add(lambda: _loop(lag))
    health.add(lambda: _ledger(world))
    health.add(lambda: ("market", *(_as_told(market) or world.market_health())))
    health.add(lambda: ("exchange", *(_as_told(exchange) or world.account.health())))
    health.add(lambda: _cache(world))
    health.add(lambda: _bots(world))
    health.add(lambda: world.risk_desk.check())
    return health


def _as_told(part: Part) -> tuple[str, str] | None:
    """Return what is wrong with a part, None where it runs and speaks for itself."""
    return None if part.status == OK else (part.status, part.detail)


def _loop(lag: LoopLag) -> Checked:
    found = lag.statistics()
    said = f"lag p99 {found['lag_ms_p99']} ms, garbage at most {found['gc_ms_max']} ms"
    return "loop", DEGRADED if lag.lags() else OK, said


def _ledger(world: World) -> Checked:
    if world.ledger.error is not None:
        return "ledger", FAILED, world.ledger.error
    if world.ledger.damage is not None:
        return "ledger", FAILED, f"{world.ledger.damage}: no new positions; {world.ledger.remedy}"
    if world.ledger.older:
        return "ledger", DEGRADED, f"{world.ledger.older} {world.ledger.remedy}"
    found = world.ledger.statistics()
    status = {"ok": OK, "low": DEGRADED, "critical": FAILED}[found["disk"]]
    detail = f"{found['size_bytes'] / 1e6:.1f} MB, {found['disk_free_bytes'] / 1e6:,.0f} MB free"
    return "ledger", status, detail + (": no new positions" if status == FAILED else "")


def _cache(world: World) -> Checked:
    found = world.cache.status()
    return found["name"], found["status"], found["detail"]


def _bots(world: World) -> Checked:
    fleet = world.orchestrator
    if not fleet.enabled:
        return "bots", DEGRADED, "disabled (enable_bots)"
    bad = [bot.name for bot in fleet.bots.values() if bot.state in (BotState.FAILED, BotState.BACKOFF)]
    bad += list(fleet.broken)
    return ("bots", DEGRADED, f"failing: {', '.join(bad[:5])}") if bad else ("bots", OK, "")
