"""Checks that say yes or no to any entry, whatever its size: mode, states, readiness, prices, monitors.

Each takes the case and the limits of its control that are on, notes what it saw, and returns the code of
its denial or an empty string.
"""

from __future__ import annotations

from botd.domain.order import OrderStatus, pairs_as_one
from botd.risk.case import Case, Limits
from botd.risk.trading_state import ACTIVE, HALTED, account_scope, bot_scope, symbol_scope
from botd.risk.words import explain, scope_name


def mode(case: Case, limits: Limits) -> str:
    """A live bot trades only while live trading is armed, and never under preset off."""
    wanted = case.request.spec.mode
    if wanted == "paper":
        return case.passed("mode", wanted, "armed")
    if not case.desk.live_ok:
        detail = "preset off is for paper only"
        return case.failed("mode", "MODE_NOT_ARMED", wanted, "preset paper or live", detail)
    if case.request.unarmed:
        return case.failed("mode", "MODE_NOT_ARMED", wanted, "armed", case.request.unarmed)
    return case.passed("mode", wanted, "armed")


def trading_state(case: Case, limits: Limits) -> str:
    """Nobody has halted or reduced the account, the symbol or the bot."""
    states = case.desk.states
    if states.quiet:
        return case.passed("trading_state", ACTIVE, ACTIVE)
    state, scope, cause = states.manual(case.bot, case.symbol)
    if cause is None:
        return case.passed("trading_state", ACTIVE, ACTIVE)
    code = "TRADING_HALTED" if state == HALTED else "REDUCE_ONLY"
    return case.failed("trading_state", code, state, ACTIVE, explain(_named(case, scope), cause))


def readiness(case: Case, limits: Limits) -> str:
    """Every part that trading needs is ready."""
    missing = case.request.not_ready
    if missing:
        parts = ", ".join(missing)
        return case.failed("readiness", "NOT_READY", parts, "ready", f"not ready: {parts}")
    return case.passed("readiness", "ready", "ready")


def price_freshness(case: Case, limits: Limits) -> str:
    """The price is not older than its limit. Times in seconds."""
    age, limit_ms = case.request.stale_ms, case.request.freshness_limit_ms
    limit = limits["value"] if limit_ms is None else limit_ms / 1000
    if age is None:
        return case.passed("price_freshness", "fresh", limit)
    if age / 1000 <= limit:
        return case.passed("price_freshness", age / 1000, limit)
    detail = f"the price is {age / 1000:g} s old, limit {limit:g} s"
    return case.failed("price_freshness", "STALE_MARKET_DATA", age / 1000, limit, detail)


def symbol_allowlist(case: Case, limits: Limits) -> str:
    """The symbol is the bot's own, trading on the exchange, and on the list where there is one."""
    symbol, instrument, allowed = case.symbol, case.instrument, case.desk.symbols
    detail = ""
    if symbol != case.request.spec.symbol or symbol != instrument.symbol:
        detail = f"{symbol} is not the bot's symbol {case.request.spec.symbol}"
    elif instrument.status != "TRADING":
        detail = f"{symbol} is in status {instrument.status}"
    elif allowed and symbol not in allowed:
        detail = f"{symbol} is not in risk.symbol_allowlist"
    if detail:
        return case.failed("symbol_allowlist", "SYMBOL_NOT_ALLOWED", symbol, ",".join(sorted(allowed)) or "any", detail)
    return case.passed("symbol_allowlist", symbol, ",".join(sorted(allowed)) or "any")


def daily_loss(case: Case, limits: Limits) -> str:
    """The loss since 00:00 UTC has not reached its limit, of the bot or of the account."""
    loss = case.desk.monitors.loss
    return _tripped(case, "daily_loss", limits, {"bot": loss(case.bot), "account": loss(0)})


def max_drawdown(case: Case, limits: Limits) -> str:
    """The drawdown has not reached its limit since it was last released."""
    drawdown = case.desk.monitors.drawdown
    return _tripped(case, "max_drawdown", limits, {"bot": drawdown(case.bot), "account": drawdown(0)})


def consecutive_losses(case: Case, limits: Limits) -> str:
    """The bot does not pause after a losing streak."""
    return _tripped(case, "consecutive_losses", limits, {"losses": float(case.desk.monitors.streak(case.bot))})


def reject_storm(case: Case, limits: Limits) -> str:
    """The exchange has not rejected too many orders within a minute."""
    rejects = case.desk.monitors.rejects
    values: dict[str, float | None] = {
        "bot": float(rejects(case.bot, case.now_ms)),
        "account": float(rejects(0, case.now_ms)),
    }
    return _tripped(case, "reject_storm", limits, values)


def volatility_halt(case: Case, limits: Limits) -> str:
    """The symbol has not moved violently of late."""
    return _tripped(case, "volatility_halt", limits, {})


def unknown_outstanding(case: Case, limits: Limits) -> str:
    """Not too many orders wait for their outcome. A paper bot's exchange always knows."""
    gate = "unknown_outstanding"
    if case.request.spec.mode == "paper":
        return case.passed(gate, 0.0, limits.get("bot"))
    for part, orders in (
        ("bot", case.portfolio.open_orders(bot=case.bot)),
        ("account", case.portfolio.open_orders()),
    ):
        limit = limits.get(part)
        if limit is None:
            continue
        unknown = len(pairs_as_one(order for order in orders if order.status is OrderStatus.UNKNOWN))
        if not unknown < limit:
            detail = f"{unknown} orders of the {part} have no known outcome: `botctl resolve`"
            return case.failed(gate, "UNKNOWN_OUTSTANDING", float(unknown), limit, detail)
    return case.passed(gate, 0.0, limits.get("bot"))


def exchange_degraded(case: Case, limits: Limits) -> str:
    """The exchange neither errs too often nor bans us."""
    trouble = case.request.exchange_degraded
    if trouble:
        return case.failed("exchange_degraded", "EXCHANGE_DEGRADED", trouble, limits.get("errors"), trouble)
    return case.passed("exchange_degraded", "ok", limits.get("errors"))


_SCOPE_OF_PART = {
    "bot": "bot",
    "losses": "bot",
    "account": "account",
    "move": "symbol",
    "sigma": "symbol",
}


def _tripped(case: Case, gate: str, limits: Limits, values: dict[str, float | None]) -> str:
    code, states = gate.upper(), case.desk.states
    first = next(iter(limits))
    if states.quiet:
        return case.passed(gate, values.get(first), limits[first])
    scopes = {"bot": bot_scope(case.bot), "account": account_scope(), "symbol": symbol_scope(case.symbol)}
    for part in limits:
        scope = scopes.get(_SCOPE_OF_PART.get(part, ""))
        hit = states.tripped(code, (scope,), case.now_ms) if scope else None
        if hit is not None:
            return case.failed(gate, code, values.get(part), limits[part], explain(_named(case, hit[0]), hit[1]))
    return case.passed(gate, values.get(first), limits[first])


def _named(case: Case, scope: str) -> str:
    return scope_name(scope, {case.bot: case.request.spec.name})
