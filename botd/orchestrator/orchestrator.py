"""Which bots there are and which should run.

Verbs set the *desired* state durably; the actual state follows at once where the market is ready, and
otherwise when :meth:`Orchestrator.supervise` finds it ready. Nothing here touches a socket or SQL.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any

import msgspec

from botd.bot.bot import Bot
from botd.bot.desk import Desk
from botd.bot.lifecycle import BotState, Desired
from botd.domain.bot_spec import BotSpec
from botd.domain.errors import BotdError, ConflictError, NotFoundError, UnavailableError, WrongStateError
from botd.domain.events import Event
from botd.ledger.accounting import BotBook
from botd.ledger.records import BotRecord
from botd.orchestrator.bot_factory import BotFactory
from botd.orchestrator.portfolio import labels_match
from botd.orchestrator.specs import difference

logger = logging.getLogger("botd.orchestrator")

IDLE = frozenset({BotState.CREATED, BotState.STOPPED, BotState.FAILED})


class Orchestrator:
    """The fleet: bots by name, and the verbs that change what should run."""

    def __init__(
        self,
        desk: Desk,
        factory: BotFactory,
        next_number: int,
        *,
        live_refusal: Callable[[], str],
        enabled: bool = True,
    ) -> None:
        """``live_refusal`` says why a live bot may not run now (no key), empty when it may."""
        self._desk = desk
        self._factory = factory
        self._next_number = next_number
        self._live_refusal = live_refusal
        self.enabled = enabled
        self.bots: dict[str, Bot] = {}
        self.broken: dict[str, BotRecord] = {}
        self.market_refusal = "market: not ready yet"

    # -- finding

    def get(self, name: str) -> Bot:
        """Return a bot by name; NotFoundError otherwise."""
        bot = self.bots.get(name)
        if bot is None:
            if name in self.broken:
                raise UnavailableError(f"{name}: {self.broken[name].reason}", "mend it, then: botctl daemon restart")
            raise NotFoundError(f"{name}: no such bot", "see: botctl ls")
        return bot

    def select(
        self, names: Iterable[str] = (), *, everything: bool = False, labels: Mapping[str, str] | None = None
    ) -> list[str]:
        """Return names of bots by name (also unknown ones), all, or by labels, in order of birth."""
        if everything:
            return list(self.bots)
        if labels:
            return [name for name, bot in self.bots.items() if labels_match(bot.spec.labels, labels)]
        return list(dict.fromkeys(names))

    # -- restoring and supervising

    def restore(
        self, record: BotRecord, book: BotBook, strategy_state: dict[str, Any], *, skipped: int, trades: int
    ) -> None:
        """Take up a bot from the ledger. One whose strategy or symbol is gone is kept aside, with the reason."""
        try:
            bot = self._factory.make(record, book, strategy_state)
        except BotdError as error:
            logger.error("bot %s cannot be loaded: %s", record.spec.name, error.message)
            record.reason = error.message
            self.broken[record.spec.name] = record
            return
        bot.skipped_min_notional, bot.trades = skipped, trades
        self.bots[bot.name] = bot
        self._desk.gateway.register(bot.number, bot)

    def market_ready(self) -> None:
        """The market serves: guard every position first, then begin the bots that should run."""
        self.market_refusal = ""
        for bot in self.bots.values():
            if bot.holds or bot.orders():
                bot.watch()
        for bot in self.bots.values():
            if bot.record.desired != Desired.STOPPED and self.enabled:
                self._resume_after_restart(bot)

    def market_lost(self, why: str) -> None:
        """The market does not serve: verbs that need it answer so."""
        self.market_refusal = why

    def supervise(self) -> None:
        """Begin bots that wait for history, and retry those whose backoff is over (called every second)."""
        now = self._desk.clock.now_ms()
        for bot in list(self.bots.values()):
            if bot.state is BotState.STARTING and bot.ready and not self.market_refusal:
                bot.begin()
            elif bot.state is BotState.BACKOFF and now >= bot.retry_at_ms and not self._desk.market.candle_feed:
                bot.move(BotState.STARTING)

    # -- verbs

    def create(self, spec: BotSpec, *, start: bool, replace: bool) -> tuple[Bot, str]:
        """Make a bot; returns it with created, unchanged or replaced."""
        existing = self.bots.get(spec.name)
        if spec.name in self.broken:
            raise ConflictError(f"{spec.name}: exists, but {self.broken[spec.name].reason}", f"botctl rm {spec.name}")
        if existing is not None:
            return self._create_again(existing, spec, start=start, replace=replace)
        now = self._desk.clock.now_ms()
        record = BotRecord(
            number=self._next_number,
            spec=spec,
            desired=Desired.STOPPED.value,
            state=BotState.CREATED.value,
            since_ms=now,
            reason="",
            failures=0,
            created_ms=now,
            removed_ms=None,
        )
        bot = self._factory.make(record, BotBook(record.number, spec.symbol, spec.capital))
        self._next_number += 1
        self.bots[spec.name] = bot
        self._desk.journal.bot(record)
        self._desk.journal.book(bot.number, bot.book.cash, bot.book.realized_pnl, bot.book.fees)
        self._tell(bot, "bot.created", {"strategy": spec.strategy, "symbol": spec.symbol, "interval": spec.interval})
        if spec.mode == "live" and (why := self._live_refusal()):
            bot.move(BotState.STOPPED, why)
        if start:
            self.start(bot)
        return bot, "created"

    def change(self, bot: Bot, spec: BotSpec) -> Bot:
        """Give a bot another spec, keeping number, position and history; it goes on if it ran."""
        if spec == bot.spec:
            return bot
        moved = (spec.symbol, spec.interval) != (bot.spec.symbol, bot.spec.interval)
        if moved and (bot.holds or bot.orders()):
            raise WrongStateError(
                f"{bot.name}: holds {bot.book.position.quantity:f} {bot.instrument.base}, its symbol and interval stay",
                f"botctl close {bot.name}",
            )
        if spec.symbol not in self._factory.instruments:
            raise NotFoundError(f"{bot.name}: no symbol {spec.symbol!r} in this market", "see: botctl symbols")
        changed = difference(bot.spec, spec)
        if (spec.strategy, spec.params) == (bot.spec.strategy, bot.spec.params) and not moved:
            self._fund(bot, spec.capital)
            bot.respec(spec)
            self._tell(bot, "bot.changed", {"changes": changed})
            return bot
        trading = bot.attached
        bot.cancel_all()
        bot.close_down()
        self._fund(bot, spec.capital)
        bot.record.spec = spec
        self._desk.journal.strategy_state(bot.number, {})
        book = bot.book if not moved else _moved(bot.book, spec.symbol)
        fresh = self._factory.make(bot.record, book)
        fresh.skipped_min_notional, fresh.trades = bot.skipped_min_notional, bot.trades
        self.bots[spec.name] = fresh
        self._desk.journal.bot(fresh.record)
        self._tell(fresh, "bot.changed", {"changes": changed})
        if fresh.holds:
            fresh.respec(spec)
        if trading:
            fresh.begin()
        return fresh

    def start(self, bot: Bot) -> None:
        """Wish a bot to run, and begin it if the market is ready."""
        self._require_market()
        if bot.spec.mode == "live" and (why := self._live_refusal()):
            bot.move(BotState.STOPPED, why)
            raise WrongStateError(f"{bot.name}: {why}", "a live bot never runs on paper instead")
        self._desire(bot, Desired.RUNNING)
        bot.record.failures = 0
        if bot.state in IDLE or bot.state is BotState.BACKOFF:
            bot.move(BotState.STARTING)
        bot.watch()
        if bot.state is BotState.STARTING and bot.ready:
            bot.begin()

    def stop(self, bot: Bot) -> None:
        """Wish a bot to stand still: no signals, working entries cancelled, the position stays guarded."""
        self._desire(bot, Desired.STOPPED)
        if bot.state is BotState.STOPPED:
            return
        bot.end(BotState.STOPPED)

    def pause(self, bot: Bot) -> None:
        """No entries; signal exits go on."""
        if bot.state in IDLE:
            raise WrongStateError(f"{bot.name}: is {bot.state.value}, only a running bot can be paused")
        self._desire(bot, Desired.PAUSED)
        if bot.state in (BotState.RUNNING, BotState.DEGRADED):
            bot.cancel_entries()
            bot.move(BotState.PAUSED)

    def resume(self, bot: Bot) -> None:
        """Entries again."""
        if bot.state in IDLE:
            raise WrongStateError(f"{bot.name}: is {bot.state.value}, not paused", f"botctl start {bot.name}")
        self._desire(bot, Desired.RUNNING)
        if bot.state is BotState.PAUSED:
            bot.move(BotState.RUNNING)

    def remove(self, bot: Bot, *, force: bool) -> str:
        """Archive a bot; returns what it leaves unassigned in the account (with ``force``)."""
        base = bot.instrument.base
        if not force and bot.holds:
            raise WrongStateError(
                f"{bot.name}: holds {bot.book.position.quantity:f} {base}",
                f"botctl close {bot.name}, or rm --force to leave it unassigned",
            )
        if not force and bot.orders():
            raise WrongStateError(f"{bot.name}: has {len(bot.orders())} open orders", f"botctl stop {bot.name}")
        left = f"{bot.book.position.quantity:f} {base} now unassigned" if bot.holds else ""
        bot.cancel_all()
        if bot.state is not BotState.STOPPED:
            bot.end(BotState.STOPPED)
        bot.close_down()
        bot.record.desired = Desired.STOPPED.value
        bot.record.removed_ms = self._desk.clock.now_ms()
        self._desk.journal.bot(bot.record)
        del self.bots[bot.name]
        self._desk.gate.forget(bot.number)
        self._tell(bot, "bot.removed", {"unassigned": left})
        return left

    def remove_broken(self, name: str) -> None:
        """Archive a bot that could not be loaded."""
        record = self.broken.pop(name)
        record.removed_ms = self._desk.clock.now_ms()
        self._desk.journal.bot(record)

    def wind_down(self) -> list[str]:
        """Before the daemon ends: cancel working entries; return lines on positions and what guards them."""
        lines = []
        for bot in self.bots.values():
            bot.cancel_entries()
            if bot.holds:
                stop = bot.guard.stop()
                guard = f"stop {stop:g} rests with botd" if stop is not None else "no stop"
                lines.append(f"{bot.name} holds {bot.book.position.quantity:f} {bot.instrument.base}, {guard}")
        return lines

    # -- inside

    def _create_again(self, bot: Bot, spec: BotSpec, *, start: bool, replace: bool) -> tuple[Bot, str]:
        changed = difference(bot.spec, spec)
        result = "unchanged"
        if changed:
            if not replace:
                what = ", ".join(f"{key} {old} -> {new}" for key, (old, new) in changed.items())
                raise ConflictError(f"{bot.name}: exists with another spec ({what})", "use --replace, or botctl set")
            bot = self.change(bot, spec)
            result = "replaced"
        if start:
            self.start(bot)
        return bot, result

    def _resume_after_restart(self, bot: Bot) -> None:
        if bot.spec.mode == "live" and (why := self._live_refusal()):
            if bot.state is not BotState.STOPPED:
                bot.record.state = BotState.RUNNING.value
                bot.move(BotState.STOPPED, why)
            return
        if bot.state is BotState.FAILED:
            return
        bot.record.state = BotState.STARTING.value
        bot.watch()
        if bot.ready:
            bot.begin()

    def _desire(self, bot: Bot, desired: Desired) -> None:
        if bot.record.desired != desired:
            bot.record.desired = desired.value
            self._desk.journal.bot(bot.record)

    def _fund(self, bot: Bot, capital: Decimal) -> None:
        """A changed capital adds to or takes from the bot's cash; profit so far stays."""
        if capital != bot.spec.capital:
            bot.book.change_capital(capital)
            self._desk.gate.monitors.adjust(bot.number, capital - bot.spec.capital)
            bot.record.spec = msgspec.structs.replace(bot.spec, capital=capital)
            self._desk.journal.book(bot.number, bot.book.cash, bot.book.realized_pnl, bot.book.fees)

    def _require_market(self) -> None:
        if not self.enabled:
            raise UnavailableError("bots are disabled", "unset BINANCE_ENABLE_BOTS or set enable_bots: true")
        if self.market_refusal:
            raise UnavailableError(self.market_refusal, "it keeps trying; see: botctl health")

    def _tell(self, bot: Bot, topic: str, data: dict[str, Any]) -> None:
        self._desk.journal.event(Event(topic=topic, time_ms=self._desk.clock.now_ms(), bot=bot.name, data=data))


def _moved(book: BotBook, symbol: str) -> BotBook:
    """Return a flat book's money with another symbol."""
    return BotBook(book.bot, symbol, book.capital, cash=book.cash, realized_pnl=book.realized_pnl, fees=book.fees)
