"""The risk gate: may this order go, and how large?

One synchronous call between sizing and the ledger. An entry passes every control that is on, in the
order of the table (:mod:`botd.risk.controls`); the first failure wins. A sale is never bound by a control:
on spot it can only shrink a position; only what the exchange itself would refuse (dust) is not sent. A
denial is a value. The gate sends nothing and reads no clock.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import msgspec

from botd.domain.decision import GateCheck
from botd.domain.instrument import ZERO
from botd.domain.order import Side
from botd.risk import checks_order, checks_quantity, checks_state
from botd.risk.case import Case, Desk, Limits, RiskRequest, Verdict, expected_price
from botd.risk.controls import BY_NAME, CONTROLS
from botd.risk.monitors import Monitors
from botd.risk.settings import ACCOUNT, RiskSettings
from botd.risk.trading_state import TradingStates
from botd.risk.windows import RateLimiter, RecentEntries

Check = Callable[[Case, Limits], str]

CHECKS: dict[str, Check] = {
    "mode": checks_state.mode,
    "trading_state": checks_state.trading_state,
    "readiness": checks_state.readiness,
    "price_freshness": checks_state.price_freshness,
    "symbol_allowlist": checks_state.symbol_allowlist,
    "filters": checks_order.filters,
    "price_collar": checks_order.price_collar,
    "max_open_orders": checks_order.max_open_orders,
    "rate_limit": checks_order.rate_limit,
    "duplicate_order": checks_order.duplicate_order,
    "repeated_execution": checks_order.repeated_execution,
    "self_trade": checks_order.self_trade,
    "daily_loss": checks_state.daily_loss,
    "max_drawdown": checks_state.max_drawdown,
    "consecutive_losses": checks_state.consecutive_losses,
    "reject_storm": checks_state.reject_storm,
    "unknown_outstanding": checks_state.unknown_outstanding,
    "volatility_halt": checks_state.volatility_halt,
    "exchange_degraded": checks_state.exchange_degraded,
} | {name: checks_quantity.limit_quantity(name, code, room) for name, (code, room) in checks_quantity.ROOMS.items()}
"""One check a control; the order is that of the table of controls."""


class Plan(msgspec.Struct, frozen=True):
    """What binds one bot: the checks that are on with their limits, worked out once per change of settings."""

    desk: Desk
    steps: list[tuple[Check, Limits]]
    limits: dict[str, Limits]


class RiskGate:
    """The gate of one account. Settings, states and monitors are its collaborators and its only memory
    beside the recent entries."""

    def __init__(self, settings: RiskSettings, states: TradingStates, monitors: Monitors) -> None:
        self.settings, self.states, self.monitors = settings, states, monitors
        self._rates = RateLimiter()
        self._entries = RecentEntries()
        self._plans: dict[int, Plan] = {}
        self._version = settings.version
        self._allowed = 0
        self._shrunk: Counter[str] = Counter()
        self._denied: Counter[str] = Counter()

    def decide(self, request: RiskRequest) -> Verdict:
        """Judge an order. An allowed entry counts at once for rates, duplicates and repeats."""
        if request.intent.side is Side.SELL:
            verdict = self._exit(request)
        else:
            self.states.expire(request.now_ms)
            verdict = self._entry(request)
        if verdict.allowed:
            self._allowed += 1
            self._shrunk.update(verdict.shrunk_by)
        else:
            self._denied[verdict.code] += 1
        return verdict

    def largest(self, request: RiskRequest) -> tuple[Decimal, str]:
        """Return the largest quantity that the limits allow just now, and the control that sets it.

        Nothing is recorded; ``request.quantity`` does not matter. For what ``create`` prints.
        """
        plan = self._plan(request.intent.bot)
        case, best = Case(request, plan.desk), (ZERO, "")
        for name in (control.name for control in CONTROLS if control.name in checks_quantity.ROOMS):
            if name in plan.limits:
                room = checks_quantity.ROOMS[name][1](case, plan.limits[name])
                most = checks_quantity.most_quantity(case, room)
                best = (most, name) if not best[1] or most < best[0] else best
        return best

    def set(self, changes: Mapping[str, Any], *, now_ms: int, bot: int = ACCOUNT, by: str = "") -> list[dict[str, Any]]:
        """Do ``risk set`` (see :meth:`RiskSettings.set`) and lift what controls now off had set."""
        rows = self.settings.set(changes, bot)
        self.monitors.settings_changed(now_ms, by)
        return rows

    def forget(self, bot: int) -> None:
        """Drop everything kept of a bot that is no more, states and settings included."""
        for part in (self._rates, self._entries, self.monitors, self.settings, self.states):
            part.forget(bot)

    def drain_changes(self) -> dict[str, str | None]:
        """Return the changed rows of the space ``risk``: settings, monitors, recent entries."""
        return self.settings.drain_changes() | self.monitors.drain_changes() | self._entries.drain_changes()

    def restore(self, rows: Mapping[str, str]) -> None:
        """Take the rows of the space ``risk`` back."""
        for part in (self.settings, self.monitors, self._entries):
            part.restore(rows)

    def statistics(self) -> dict[str, Any]:
        """Return counters for ``health``."""
        return {"allowed": self._allowed, "denied": dict(self._denied), "shrunk": dict(self._shrunk)}

    def _entry(self, request: RiskRequest) -> Verdict:
        plan = self._plan(request.intent.bot)
        case = Case(request, plan.desk)
        for check, limits in plan.steps:
            code = check(case, limits)
            if code:
                return Verdict(allowed=False, quantity=ZERO, code=code, checks=case.checks, shrunk_by=case.shrunk_by)
        self._accept(case, plan.limits)
        return Verdict(
            allowed=True,
            quantity=case.quantity,
            checks=case.checks,
            delay_s=case.delay_s,
            shrunk_by=case.shrunk_by,
        )

    def _accept(self, case: Case, limits: dict[str, Limits]) -> None:
        rates, windows = limits.get("rate_limit", {}), limits.get("duplicate_order", {})
        for part, bot in (("bot", case.bot), ("account", ACCOUNT)):
            if part in rates:
                self._rates.take(bot, rates[part], case.now_ms)
        signature = checks_order.signature(case) if windows else None
        window_ms = round(max(windows.values(), default=0.0) * 1000)
        self._entries.accept(case.bot, case.now_ms, signature, window_ms, "repeated_execution" in limits)

    def _exit(self, request: RiskRequest) -> Verdict:
        quantity, refusal = exit_quantity(request)
        value, limit = str(request.quantity), "the exchange's filters"
        if refusal:
            checks = [GateCheck(gate="filters", passed=False, value=value, limit=limit, detail=refusal)]
            return Verdict(allowed=False, quantity=ZERO, code="FILTER", checks=checks)
        detail = f"{quantity} of {request.quantity}" if quantity != request.quantity else ""
        checks = [GateCheck(gate="filters", passed=True, value=value, limit=limit, detail=detail)]
        cancel_first: list[str] = []
        if "self_trade" in self._plan(request.intent.bot).limits:
            orders = request.portfolio.open_orders(symbol=request.intent.symbol)
            cancel_first = checks_order.met_by_exit(request.intent, request.slippage, orders)
            words = f"cancels {', '.join(cancel_first)} first" if cancel_first else ""
            checks.append(GateCheck(gate="self_trade", passed=True, value=float(len(cancel_first)), detail=words))
        return Verdict(allowed=True, quantity=quantity, checks=checks, cancel_first=cancel_first)

    def _plan(self, bot: int) -> Plan:
        if self._version != self.settings.version:
            self._version = self.settings.version
            self._plans.clear()
        plan = self._plans.get(bot)
        if plan is None:
            plan = self._plans[bot] = self._make_plan(bot)
        return plan

    def _make_plan(self, bot: int) -> Plan:
        settings = self.settings
        desk = Desk(
            states=self.states,
            monitors=self.monitors,
            rates=self._rates,
            entries=self._entries,
            own_equity=settings.preset.own_equity,
            live_ok=settings.preset.name != "off",
            symbols=settings.symbols(bot),
        )
        limits = {name: settings.numbers(name, bot) for name in BY_NAME if settings.is_on(name, bot)}
        return Plan(desk, [(CHECKS[name], limits[name]) for name in limits], limits)


def exit_quantity(request: RiskRequest) -> tuple[Decimal, str]:
    """Return how much of a sale the exchange takes, and why nothing where it takes nothing.

    Rounded down to the step and to the exchange's maximum; what remains after that is sold next, or is
    dust. An exit that a level triggered (``trigger_price``) goes whatever the filters say.
    """
    intent, instrument, wanted = request.intent, request.instrument, request.quantity
    if not wanted.is_finite() or wanted <= 0:
        return ZERO, f"quantity {wanted} must be finite and above zero"
    price = expected_price(intent) if intent.trigger_price is None else intent.trigger_price
    priced = math.isfinite(price) and price > 0
    exact = checks_order.order_price(intent, price) if priced or intent.type.has_limit else None
    most = instrument.most(wanted, exact if priced else None)
    refusal = checks_order.unreasonable(most, price if priced else 1.0, instrument)
    if refusal:
        return ZERO, refusal
    quantity = instrument.floor_quantity(most)
    if quantity <= 0:
        refusal = f"dust: {wanted:f} {instrument.base} is less than the step {instrument.step:f}"
    elif quantity < instrument.min_quantity:
        refusal = f"dust: {quantity:f} {instrument.base} is below the minimum {instrument.min_quantity:f}"
    elif exact is not None:
        filters = msgspec.structs.replace(instrument, min_notional=ZERO) if request.exits_any_size else instrument
        refusal = filters.refusal(quantity, exact, limit_price=intent.type.has_limit)
    if refusal and intent.trigger_price is not None:
        return quantity if quantity > 0 else wanted, ""
    return quantity, refusal
