"""The kill switch: halt, reduce, release; close and flatten.

``halt`` is durable before anything is cancelled. Protective orders and exits go on in every trading state;
only ``flatten`` replaces them, by its own sale.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from botd.bot.bot import Bot
from botd.bot.desk import Desk
from botd.bot.lifecycle import RESTING, BotState, Desired
from botd.domain.errors import UnavailableError
from botd.domain.order import Purpose
from botd.ledger.records import amount
from botd.orchestrator.orchestrator import Orchestrator
from botd.risk.trading_state import ACTIVE, TradingStates
from botd.risk.words import explain

logger = logging.getLogger("botd.orchestrator")

ACCOUNT = "account"


class KillSwitch:
    """Scopes are ``account``, ``symbol:BTC/USDT`` and ``bot:7``."""

    def __init__(self, desk: Desk, orchestrator: Orchestrator, states: TradingStates) -> None:
        self._desk = desk
        self._orchestrator = orchestrator
        self._states = states

    def scopes(self, names: Iterable[str], symbol: str | None) -> list[tuple[str, str]]:
        """Return (scope, how a person calls it); no name and no symbol is the account."""
        found = [(f"bot:{self._orchestrator.get(name).number}", name) for name in names]
        if symbol:
            found.append((f"symbol:{symbol}", symbol))
        return found or [(ACCOUNT, ACCOUNT)]

    def set(self, scopes: list[tuple[str, str]], state: str, by: str) -> list[dict[str, Any]]:
        """Put scopes into active, reduce or halted; returns a row each. Cancels nothing yet."""
        now = self._desk.clock.now_ms()
        rows = []
        for scope, name in scopes:
            verb = {"active": self._states.release, "reduce": self._states.reduce}.get(state, self._states.halt)
            change = verb(scope, now_ms=now, by=by)
            row = {
                "scope": name,
                "before": change.before,
                "after": change.after,
                "result": "changed" if change.changed else "unchanged",
                "remaining": change.remaining,
                "detail": self._still(scope, name) if state == ACTIVE else "",
            }
            rows.append(row)
        return rows

    def _still(self, scope: str, name: str) -> str:
        """Return what a release leaves in force around a scope, of the account and the symbol too, and what ends it."""
        kind = scope.partition(":")[0]
        named = {scope: f"{kind}:{name}" if ":" in scope else scope}
        if scope != ACCOUNT:
            named[ACCOUNT] = ACCOUNT
        if kind == "bot":
            symbol = f"symbol:{self._orchestrator.get(name).spec.symbol}"
            named[symbol] = symbol
        now = self._desk.clock.now_ms()
        held = [(named[held], cause) for held, _, cause in self._states.causes() if held in named and cause.holds(now)]
        return "; ".join(explain(*one) for one in held)

    def cancel_entries(self, scopes: list[tuple[str, str]]) -> int:
        """Cancel the working entries of scopes (after a halt or reduce); returns how many."""
        count = 0
        for order in self._desk.gateway.open_orders():
            wanted = (ACCOUNT, f"symbol:{order.symbol}", f"bot:{order.bot}")
            if order.purpose is Purpose.ENTRY and any(scope in wanted for scope, _ in scopes):
                self._desk.gateway.cancel(order)
                count += 1
        return count

    def enforce(self) -> int:
        """Cancel the working entries wherever trading is not active: after a restart in the midst of a halt."""
        if self._states.quiet:
            return 0
        now, count = self._desk.clock.now_ms(), 0
        for order in self._desk.gateway.open_orders():
            state, _ = self._states.effective(order.bot, order.symbol, now)
            if order.purpose is Purpose.ENTRY and state != ACTIVE:
                self._desk.gateway.cancel(order)
                count += 1
        return count

    def close(self, bot: Bot, *, keep_running: bool) -> dict[str, Any]:
        """Cancel a bot's orders and sell what it holds; it pauses unless ``keep_running``."""
        before = bot.book.position.quantity
        if bot.holds:
            self._sell(bot)
        bot.cancel_entries()
        if not keep_running and bot.record.desired == Desired.RUNNING and bot.state not in RESTING:
            self._orchestrator.pause(bot)
        return self.closed_row(bot, before)

    def flatten(self, symbol: str | None, by: str) -> list[Bot]:
        """Halt the account (or the symbol), then sell every position in it; returns the bots that held."""
        scopes = self.scopes((), symbol)
        self.set(scopes, "halted", by)
        self.cancel_entries(scopes)
        bots = [b for b in self._orchestrator.bots.values() if symbol in (None, b.spec.symbol)]
        held = [bot for bot in bots if bot.holds]
        for bot in held:
            try:
                self._sell(bot)
            except UnavailableError as error:  # its row says what remains; the others are sold
                logger.error("flatten: %s", error.message)
        return held

    def closed_row(self, bot: Bot, before: Any) -> dict[str, Any]:
        """Return what is left of a position that was ``before``."""
        rest = bot.book.position.quantity
        return {
            "name": bot.name,
            "symbol": bot.spec.symbol,
            "sold": amount(before - rest),
            "remaining": amount(rest),
            "state": bot.state.value,
            "result": "changed" if before else "unchanged",
            "detail": _closed(bot, bool(before)),
        }

    def _sell(self, bot: Bot) -> None:
        quote = self._desk.market.quote(bot.spec.symbol)
        if quote is None:
            raise UnavailableError(f"{bot.name}: no price of {bot.spec.symbol} yet", "see: botctl health")
        bot.cancel_all()
        bot.sell_all("manual", quote.bid, quote.bid)


def _closed(bot: Bot, held: bool) -> str:
    """Return what a sale does not say by itself: that there was nothing to sell, and that the bot buys no more."""
    rests = f"paused: no entries until botctl resume {bot.name}" if bot.state is BotState.PAUSED else ""
    return ", ".join(filter(None, ["" if held else "nothing was held", rests]))
