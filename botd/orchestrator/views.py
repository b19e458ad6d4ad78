"""The rows that the reading verbs show, with the keys that CLI.md promises.

Amounts are strings, percentages numbers, times RFC 3339. A price that is missing gives null, never 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any

from botd.bot.bot import Bot
from botd.bot.lifecycle import RESTING
from botd.domain.clock import Clock, rfc3339
from botd.domain.decision import Decision
from botd.domain.instrument import ZERO
from botd.ledger.records import BotRecord
from botd.market.lanes import Subscription
from botd.market.manager import MarketManager
from botd.orchestrator.explained import explained
from botd.orchestrator.orchestrator import Orchestrator
from botd.orchestrator.portfolio import Portfolio
from botd.risk.trading_state import TradingStates

DECIMALS = 8


def text(amount: Decimal | None) -> str | None:
    """Return an amount for people and scripts: plain digits, at most 8 decimals, no trailing zeros."""
    if amount is None:
        return None
    plain = f"{amount:f}"
    point = plain.find(".")
    if point < 0:
        return plain
    if len(plain) - point - 1 > DECIMALS:
        plain = f"{amount:.{DECIMALS}f}"
    plain = plain.rstrip("0").rstrip(".")
    return "0" if plain == "-0" else plain


class Views:
    """Reads the living objects; the history comes from :mod:`botd.ledger.queries`."""

    def __init__(
        self,
        orchestrator: Orchestrator,
        portfolio: Portfolio,
        market: MarketManager,
        states: TradingStates,
        clock: Clock,
        mode: str,
        source: str,
        remark: Callable[[], str] = lambda: "",
    ) -> None:
        """``remark`` says what holds all bots back, empty where nothing does."""
        self._remark = remark
        self._states = states
        self._clock = clock
        self._orchestrator = orchestrator
        self._portfolio = portfolio
        self._market = market
        self.mode = mode
        self.source = source

    def bot_row(self, bot: Bot) -> dict[str, Any]:
        """Return the row of ``ls`` and ``show``."""
        book, spec = bot.book, bot.spec
        equity = self.equity(bot)
        unrealized = self.unrealized(bot)
        return {
            "name": bot.name,
            "strategy": spec.strategy,
            "params": dict(spec.params),
            "symbol": spec.symbol,
            "interval": spec.interval,
            "mode": spec.mode,
            "source": self.source,
            "state": bot.state.value,
            "desired": bot.record.desired,
            "since": rfc3339(bot.record.since_ms),
            "capital": text(spec.capital),
            "equity": text(equity),
            "realized_pnl": text(book.realized_pnl),
            "unrealized_pnl": text(unrealized),
            "trades": bot.trades,
            "position": self.position(bot),
            "last_candle": None if bot.last_candle_ms is None else rfc3339(bot.last_candle_ms),
            "note": self.note(bot),
            "labels": dict(spec.labels),
        }

    def removed_row(self, record: BotRecord) -> dict[str, Any]:
        """Return the row of a bot that is archived or could not be loaded."""
        spec = record.spec
        removed = record.removed_ms is not None
        return {
            "name": spec.name,
            "strategy": spec.strategy,
            "params": dict(spec.params),
            "symbol": spec.symbol,
            "interval": spec.interval,
            "mode": spec.mode,
            "source": self.source,
            "state": "removed" if removed else "failed",
            "desired": record.desired,
            "since": rfc3339(record.removed_ms or record.since_ms),
            "capital": text(spec.capital),
            "equity": None,
            "realized_pnl": None,
            "unrealized_pnl": None,
            "trades": None,
            "position": None,
            "last_candle": None,
            "note": record.reason,
            "labels": dict(spec.labels),
        }

    def details(self, bot: Bot) -> dict[str, Any]:
        """Return ``show``: the row, and what else the spec says."""
        spec = bot.spec
        return {
            **self.bot_row(bot),
            "number": bot.number,
            "fraction": text(spec.fraction),
            "risk_per_trade": text(spec.risk_per_trade),
            "stop_loss": text(spec.stop_loss),
            "take_profit": text(spec.take_profit),
            "trailing_stop": text(spec.trailing_stop),
            "atr_stop": spec.atr_text,
            "break_even": text(spec.break_even),
            "time_stop": spec.time_stop,
            "cash": text(bot.book.cash),
            "fees": text(bot.book.fees),
            "created": rfc3339(bot.record.created_ms),
            "failures": bot.record.failures,
            "strategy_code": "changed" if self._orchestrator.runs_old_code(bot) else "loaded",
            "strategy_calls": bot.effort.calls,
            "strategy_s": round(bot.effort.seconds, 3),
            "strategy_longest_ms": round(bot.effort.longest_s * 1000, 3),
            "denied": _denied(bot),
            **_heard(bot.reading),
            "skipped_min_notional": bot.skipped_min_notional,
            "open_orders": [order.client_order_id for order in bot.orders()],
            "decision": None if bot.last_decision is None else bot.last_decision.outcome,
        }

    @staticmethod
    def _guard(bot: Bot) -> str:
        """Return where stop and target are guarded: exchange (the stop rests there), placing, botd, or none."""
        if bot.guard.stop() is None:
            return "botd" if bot.book.position.target is not None else "none"
        return bot.desk.protection(bot.number).place

    @staticmethod
    def _guarded(bot: Bot) -> str:
        """Return in words what rests on the exchange, and what botd watches."""
        levels = {"stop": bot.guard.stop() is not None, "target": bot.book.position.target is not None}
        return bot.desk.protection(bot.number).told(**levels)

    def position(self, bot: Bot) -> dict[str, Any] | None:
        """Return what a bot holds and what guards it, None when flat."""
        position = bot.book.position
        if not position.quantity:
            return None
        stop = bot.guard.stop()
        return {
            "quantity": text(position.quantity),
            "entry_price": text(position.entry_price),
            "side": "long",
            "stop": _level(stop),
            "target": _level(position.target),
            "guard": self._guard(bot),
            "guard_detail": self._guarded(bot),
        }

    def position_row(self, bot: Bot) -> dict[str, Any]:
        """Return the row of ``positions``."""
        row = self.position(bot) or {}
        value = self._portfolio.position_value(bot)
        return {
            "bot": bot.name,
            "symbol": bot.spec.symbol,
            **row,
            "value": text(value),
            "unrealized_pnl": text(self.unrealized(bot)),
            "opened": rfc3339(bot.book.position.entry_time_ms),
            "mode": bot.spec.mode,
            "source": self.source,
        }

    def trading_state(self, bot: Bot | None = None) -> str:
        """Return active, reduce or halted: of a bot with all that holds it back, or of the account."""
        now = self._clock.now_ms()
        if bot is None:
            return self._states.state("account", now)
        return self._states.effective(bot.number, bot.spec.symbol, now)[0]

    def note(self, bot: Bot) -> str:
        """Return the reason of the state, or what else a user should know of it."""
        held = self.trading_state(bot)
        return ": ".join(filter(None, ["" if held == "active" else held, self._reason(bot)]))

    def _reason(self, bot: Bot) -> str:
        if bot.record.reason:
            return bot.record.reason
        if not self._orchestrator.enabled:
            return "bots are disabled"
        if bot.state not in RESTING and (remark := self._remark()):
            return remark
        if self._orchestrator.runs_old_code(bot):
            return f"strategy {bot.spec.strategy}: file changed, the loaded code goes on; botctl restart {bot.name}"
        decision = None if bot.state in RESTING else bot.last_decision
        if decision is not None and decision.outcome == "warming_up":
            return f"warming up: {decision.gates[-1].detail}"
        if decision is not None and decision.outcome == "waiting":
            return decision.gates[-1].detail
        if decision is not None and decision.outcome == "denied" and decision.gates:
            return f"denied: {decision.gates[-1].gate}"
        return ""

    def equity(self, bot: Bot) -> Decimal | None:
        """Return a bot's cash and position at market."""
        if not bot.holds:
            return bot.book.cash
        value = self._portfolio.position_value(bot)
        return None if value is None else bot.book.cash + value

    def unrealized(self, bot: Bot) -> Decimal | None:
        """Return what the position would gain or lose at market, fees apart."""
        position = bot.book.position
        if not position.quantity:
            return ZERO
        value = self._portfolio.position_value(bot)
        return None if value is None else value - position.cost

    def portfolio(self, max_drawdown_pct: float | None) -> dict[str, Any]:
        """Return ``portfolio``: sums over the bots, and the exchange account beside them."""
        bots = list(self._orchestrator.bots.values())
        equities = [self.equity(bot) for bot in bots]
        values = {bot.name: self._portfolio.position_value(bot) for bot in bots}
        rates = {bot.name: self._portfolio.price(bot.instrument.quote) for bot in bots}
        counted = [(bot, rate) for bot in bots if (rate := rates[bot.name]) is not None]
        capital = sum((bot.spec.capital * rate for bot, rate in counted), ZERO)
        equity = _sum((self.equity(bot), rate) for bot, rate in counted)
        value = _sum((values[bot.name], rate) for bot, rate in counted)
        account_equity = self._portfolio.account_equity()
        return {
            "mode": self.mode,
            "source": self.source,
            "currency": self._portfolio.currency,
            "trading": self.trading_state(),
            "bots": len(bots),
            "running": sum(bot.state.value in ("running", "degraded") for bot in bots),
            "capital": text(capital),
            "equity": text(equity),
            "realized_pnl": text(sum((bot.book.realized_pnl * rate for bot, rate in counted), ZERO)),
            "unrealized_pnl": text(_sum((self.unrealized(bot), rate) for bot, rate in counted)),
            "fees": text(sum((bot.book.fees * rate for bot, rate in counted), ZERO)),
            "return_pct": _percent(None if equity is None else equity - capital, capital),
            "exposure_pct": _percent(value, equity),
            "max_drawdown_pct": max_drawdown_pct,
            "positions_value": text(value),
            "account_cash": text(self._portfolio.account_cash()),
            "account_equity": text(account_equity),
            "warnings": self._warnings([bot.name for bot in bots if rates[bot.name] is None], capital, account_equity),
            "unassigned": self._portfolio.unassigned(),
            "by_symbol": self._by_symbol(bots, values),
            "by_bot": [
                {
                    "bot": bot.name,
                    "symbol": bot.spec.symbol,
                    "capital": text(bot.spec.capital),
                    "equity": text(equity_),
                    "value": text(values[bot.name]),
                    "return_pct": _percent(None if equity_ is None else equity_ - bot.spec.capital, bot.spec.capital),
                }
                for bot, equity_ in zip(bots, equities, strict=True)
            ],
        }

    def _warnings(self, uncounted: list[str], capital: Decimal, account: Decimal | None) -> list[str]:
        """Return what the sums do not say by themselves."""
        currency, told = self._portfolio.currency, []
        if account is not None and capital > account:
            told.append(
                f"the bots' capitals sum to {text(capital)} {currency}, the account is worth {text(account)}: "
                "not all of them can be invested at once"
            )
        if uncounted:
            told.append(f"not counted, their currency has no price in {currency}: {', '.join(uncounted)}")
        return told

    def prices(self, symbols: list[str] | None = None) -> list[dict[str, Any]]:
        """Return ``prices``: the market's symbols with their age."""
        wanted = set(symbols or ())
        return [row for row in self._market.symbols() if not wanted or row["symbol"] in wanted]

    def why(self, bot: Bot, decision: Decision | None, at_ms: int | None = None) -> dict[str, Any]:
        """Return ``why``: the decision kept at ``at_ms``, or (None) the last one and what guards the position now."""
        told = explained(bot, decision, at_ms)
        if at_ms is None and bot.holds and not bot.desk.gateway.in_process and (guarded := self._guarded(bot)):
            told["notes"] = {**told["notes"], "guard": guarded}
        return told

    def _by_symbol(self, bots: list[Bot], values: Mapping[str, Decimal | None]) -> list[dict[str, Any]]:
        rows: dict[str, dict[str, Any]] = {}
        for bot in bots:
            row = rows.setdefault(
                bot.spec.symbol, {"symbol": bot.spec.symbol, "bots": 0, "quantity": ZERO, "value": ZERO}
            )
            value = values[bot.name]
            row["bots"] += 1
            row["quantity"] += bot.book.position.quantity
            row["value"] = None if value is None or row["value"] is None else row["value"] + value
        return [{**row, "quantity": text(row["quantity"]), "value": text(row["value"])} for row in rows.values()]


def _sum(parts: Iterable[tuple[Decimal | None, Decimal]]) -> Decimal | None:
    """Return the sum of amounts at their rates, None where one is unknown."""
    total = ZERO
    for amount, rate in parts:
        if amount is None:
            return None
        total += amount * rate
    return total


def _percent(part: Decimal | None, whole: Decimal | None) -> float | None:
    if part is None or not whole:
        return None
    return round(float(part / whole) * 100, 6)


def _denied(bot: Bot) -> dict[str, Any] | None:
    """Return the denial that a bot meets again and again, with its count; None where the last order went."""
    series = bot.denials.series
    if series is None:
        return None
    return {
        "code": series.code,
        "side": series.side.value,
        "count": series.count,
        "since": rfc3339(series.since_ms),
    }


def _heard(reading: Subscription | None) -> dict[str, Any]:
    """Return what a bot's candles took, its strategy's share apart, and how late it was told of the last; live only."""
    if reading is None or not reading.told:
        return {"candles_told": None, "candles_s": None, "candles_longest_ms": None, "told_late_ms": None}
    return {
        "candles_told": reading.told,
        "candles_s": round(reading.spent_s, 6),
        "candles_longest_ms": round(reading.longest_s * 1000, 3),
        "told_late_ms": reading.late_ms,
    }


def _level(level: float | None) -> str | None:
    return None if level is None else text(Decimal(repr(level)))
