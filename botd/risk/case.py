"""One question to the gate and its answer: the request, the verdict, and the case while it is heard.

Numbers of limits are floats (rounded down to whole steps by the sizing's own formula); quantities are
exact. Every comparison is written so that NaN fails it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec

from botd.domain.bot_spec import BotSpec
from botd.domain.decision import GateCheck
from botd.domain.instrument import ZERO, Instrument
from botd.domain.order import Intent
from botd.risk.monitors import Monitors
from botd.risk.portfolio_view import PortfolioView
from botd.risk.trading_state import TradingStates
from botd.risk.windows import RateLimiter, RecentEntries


class RiskRequest(msgspec.Struct, frozen=True, kw_only=True):
    """An intent with its quantity, and what the gate must know to judge it.

    ``fee`` is the rate that this order would pay, ``slippage`` the fraction expected of a market order.
    ``bot_equity`` None: a price is missing. ``stale_ms``: the age of the price where it is older than
    ``freshness_limit_ms`` (None: the control's own limit), None while fresh. ``not_ready``: the parts that
    trading needs and lacks.
    ``volume``: base volume of the last 1m candle. ``unarmed``: why live entries may not go, empty where they may;
    ``most_held``: what all positions may be worth while live trading is armed, None for no such limit.
    ``declared_entries``: entries (an hour, a day) that the strategy declares as its normal rate.
    ``exchange_degraded``: why the exchange is not to be trusted, empty where it is. ``exits_any_size``: the
    exchange takes sales below the minimum notional (candle feeds, where the rules of fills sell every
    position).
    """

    intent: Intent
    spec: BotSpec
    quantity: Decimal
    instrument: Instrument
    now_ms: int
    bot_cash: Decimal
    bot_equity: Decimal | None
    slippage: float
    fee: float
    portfolio: PortfolioView
    stale_ms: int | None = None
    freshness_limit_ms: int | None = None
    not_ready: Sequence[str] = ()
    volume: float | None = None
    unarmed: str = "live trading is not armed"
    most_held: Decimal | None = None
    declared_entries: tuple[int, int] = (0, 0)
    exchange_degraded: str = ""
    exits_any_size: bool = False


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What the gate says. ``quantity`` is what may be sent (zero where denied), ``code`` the denial's.

    ``delay_s``: how long a tick feed's gateway must queue the order. ``cancel_first``: client order ids of
    other bots that this exit would hit. ``shrunk_by``: the controls that cut the quantity.
    """

    allowed: bool
    quantity: Decimal
    code: str = ""
    checks: list[GateCheck] = []
    delay_s: float = 0.0
    cancel_first: list[str] = []
    shrunk_by: list[str] = []

    @property
    def told(self) -> dict[str, str]:
        """What the event of a denial says beside its code: value, limit and words of the check that failed."""
        failed = [check for check in self.checks if not check.passed][-1:]
        return {key: str(value) for check in failed for key, value in _facts(check) if value not in (None, "")}

    @property
    def detail(self) -> str:
        """The denial in words, else what shrank the order, else nothing."""
        failed = [check for check in self.checks if not check.passed]
        return "; ".join(check.detail for check in failed or self.checks if check.detail)


class Desk(msgspec.Struct, frozen=True):
    """What the checks may ask apart from the request."""

    states: TradingStates
    monitors: Monitors
    rates: RateLimiter
    entries: RecentEntries
    own_equity: bool
    live_ok: bool
    symbols: frozenset[str]


Limits = dict[str, float]
"""The limits of one control that are on, by part."""


class Case:
    """An entry on its way through the gate. Checks read it, note what they saw, and may cut ``quantity``."""

    __slots__ = (
        "_account_equity",
        "bot",
        "checks",
        "delay_s",
        "desk",
        "fee",
        "instrument",
        "intent",
        "now_ms",
        "portfolio",
        "price",
        "quantity",
        "request",
        "shrunk_by",
        "slippage",
        "symbol",
    )

    def __init__(self, request: RiskRequest, desk: Desk) -> None:
        intent = request.intent
        self.request, self.intent, self.desk = request, intent, desk
        self.instrument, self.portfolio, self.now_ms = request.instrument, request.portfolio, request.now_ms
        self.bot, self.symbol = intent.bot, intent.symbol
        self.quantity = request.quantity
        self.price = expected_price(intent)
        self.slippage = 0.0 if intent.type.has_limit else request.slippage
        self.fee = request.fee
        self.checks: list[GateCheck] = []
        self.shrunk_by: list[str] = []
        self.delay_s = 0.0
        self._account_equity: float | None = None

    @property
    def account_equity(self) -> float:
        """The account's worth (NaN: unknown); asked once, however many limits are shares of it."""
        if self._account_equity is None:
            self._account_equity = number(self.portfolio.account_equity())
        return self._account_equity

    def passed(self, gate: str, value: str | float | None, limit: str | float | None, detail: str = "") -> str:
        """Note a gate that let the order through; returns no code."""
        self.checks.append(GateCheck(gate=gate, passed=True, value=value, limit=limit, detail=detail))
        return ""

    def failed(self, gate: str, code: str, value: Any, limit: str | float | None, detail: str) -> str:
        """Note the gate that refused; returns its code."""
        self.checks.append(GateCheck(gate=gate, passed=False, value=value, limit=limit, detail=detail))
        return code


def _facts(check: GateCheck) -> tuple[tuple[str, Any], ...]:
    return ("value", check.value), ("limit", check.limit), ("detail", check.detail)


def expected_price(intent: Intent) -> float:
    """Return the price at which an order is valued: its limit, its stop, else the price of the decision."""
    if intent.type.has_limit and intent.price is not None:
        return number(intent.price)
    if intent.type.has_trigger and intent.stop_price is not None:
        return number(intent.stop_price)
    return intent.reference_price


def number(value: Decimal | float | None) -> float:
    """Return ``value`` as a float; NaN for what is unknown or no number."""
    if value is None:
        return math.nan
    if isinstance(value, Decimal) and not value.is_finite():
        return math.nan
    try:
        return float(value)
    except (OverflowError, ValueError):
        return math.nan


def known(value: float) -> bool:
    """Tell whether a number can be compared with a limit at all."""
    return math.isfinite(value)


__all__ = ["ZERO", "Case", "Desk", "Limits", "RiskRequest", "Verdict", "expected_price", "known", "number"]
