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
from botd.bot.lifecycle import RESTING, BotState, Desired
from botd.domain.amounts import short
from botd.domain.bot_spec import BotSpec
from botd.domain.errors import BotdError, ConflictError, NotFoundError, UnavailableError, WrongStateError
from botd.domain.events import Event
from botd.ledger.accounting import BotBook
from botd.ledger.records import BotRecord
from botd.orchestrator.bot_factory import BotFactory, Kept
from botd.orchestrator.portfolio import labels_match
from botd.orchestrator.specs import difference, in_words

logger = logging.getLogger("botd.orchestrator")

DISABLED = "bots are disabled"


_KEPT_STATES = RESTING | {BotState.BACKOFF}
"""States that a restart of the daemon does not change."""


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

    def runs_old_code(self, bot: Bot) -> bool:
        """Tell whether the bot's strategy file changed since it was loaded: the loaded code goes on."""
        return self._factory.changed(bot)

    # -- restoring and supervising

    def restore(self, record: BotRecord, book: BotBook, memory: dict[str, Any], kept: Kept) -> None:
        """Take up a bot from the ledger, not running yet.

        One whose strategy cannot be loaded is failed, and its position guarded all the same; one whose symbol
        is gone is kept aside, with the reason.
        """
        if record.state not in _KEPT_STATES:
            record.state = BotState.STARTING.value
        try:
            bot = self._factory.take_up(record, book, memory, kept)
        except BotdError as error:
            logger.error("bot %s cannot be loaded: %s", record.spec.name, error.message)
            record.reason = error.message
            self.broken[record.spec.name] = record
            return
        self._take(bot)

    def market_ready(self) -> None:
        """The market serves: guard every position first, then begin the bots that should run."""
        self.market_refusal = ""
        for bot in self.bots.values():
            if bot.holds or bot.orders():
                bot.watch()
            if bot.lost is not None:
                bot.cancel_entries()  # nobody would answer their fills
        self._desk.protect()
        for bot in self.bots.values():
            self._resume(bot)

    def market_lost(self, why: str) -> None:
        """The market does not serve: verbs that need it answer so."""
        self.market_refusal = why

    def enable(self, enabled: bool) -> None:
        """Let bots run, or let none run; what is wished of each stays as it was, and so do the guards."""
        self.enabled = enabled
        for bot in self.bots.values() if not self.market_refusal else ():
            self._resume(bot)

    def supervise(self) -> None:
        """Begin bots that wait for history, retry after a backoff, go on with sales that wait (called every second)."""
        now = self._desk.clock.now_ms()
        for bot in list(self.bots.values()):
            bot.exit.go_on()
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
        bot = self._factory.make(record, BotBook(record.number, spec.symbol, spec.capital), fresh=True)
        self._next_number += 1
        self._take(bot)
        self._desk.journal.bot(record)
        self._desk.journal.book(bot.number, bot.book.cash, bot.book.realized_pnl, bot.book.fees)
        self._factory.keep_code(bot)
        self._tell(bot, "bot.created", {"strategy": spec.strategy, "symbol": spec.symbol, "interval": spec.interval})
        if spec.mode == "live" and (why := self._live_refusal()):
            bot.move(BotState.STOPPED, why)
        return (self.start(bot) if start else bot), "created"

    def change(self, bot: Bot, spec: BotSpec) -> Bot:
        """Give a bot another spec, keeping number, position and history; it goes on if it ran."""
        if spec == bot.spec:
            return bot
        refusal = self.refusal_of_change(bot, spec)
        if refusal is not None:
            raise refusal
        changed = difference(bot.spec, spec)
        moved = (spec.symbol, spec.interval) != (bot.spec.symbol, bot.spec.interval)
        if (spec.strategy, spec.params) == (bot.spec.strategy, bot.spec.params) and not moved:
            self._fund(bot, spec.capital)
            bot.respec(spec)
            self._tell(bot, "bot.changed", {"changes": changed})
            return bot
        before, bot.record.spec = bot.spec, spec
        try:
            fresh = self._factory.make(bot.record, _moved(bot.book, spec.symbol) if moved else bot.book, fresh=True)
        finally:
            bot.record.spec = before
        bot.cancel_own()
        self._fund(bot, spec.capital, fresh.book)
        bot.record.spec = spec
        self._desk.journal.strategy_state(bot.number, {})
        self._replace(bot, fresh)
        if fresh.holds:
            fresh.respec(spec)
        self._desk.journal.bot(fresh.record)
        self._tell(fresh, "bot.changed", {"changes": changed})
        return fresh

    def refusal_of_change(self, bot: Bot, spec: BotSpec) -> BotdError | None:
        """Return why a bot cannot become ``spec``, None where it can."""
        moved = {"symbol", "interval"} & set(difference(bot.spec, spec))
        if moved and (bot.holds or bot.orders()):
            held = f"holds {bot.book.position.quantity:f} {bot.instrument.base}" if bot.holds else "has open orders"
            return WrongStateError(
                f"{bot.name}: {held}, its {' and '.join(sorted(moved))} cannot change",
                f"botctl {'close' if bot.holds else 'stop'} {bot.name}",
            )
        taken = bot.spec.capital - spec.capital
        if taken > 0 and taken > bot.book.cash:
            return WrongStateError(
                f"{bot.name}: {taken:f} cannot be taken out, {bot.book.cash:.2f} is free", f"botctl close {bot.name}"
            )
        if spec.mode != bot.spec.mode:
            return WrongStateError(f"{bot.name}: is a {bot.spec.mode} bot, and stays one", "create another bot")
        if spec.symbol not in self._factory.instruments:
            return NotFoundError(f"{bot.name}: no symbol {spec.symbol!r} in this market", "see: botctl symbols")
        return None

    def start(self, bot: Bot) -> Bot:
        """Wish a bot to run, and begin it if the market is ready. A changed or mended strategy file is read again."""
        self._require_market()
        if bot.spec.mode == "live" and (why := self._live_refusal()):
            bot.move(BotState.STOPPED, why)
            raise WrongStateError(f"{bot.name}: {why}", "a live bot never runs on paper instead")
        if not bot.attached and (bot.lost is not None or self._factory.changed(bot)):
            bot = self._reload(bot)
        self._desire(bot, Desired.RUNNING)
        if bot.state is BotState.PAUSED:
            bot.move(BotState.RUNNING)
        elif bot.state in RESTING or bot.state is BotState.BACKOFF:
            bot.record.failures = 0
            bot.move(BotState.STARTING)
        bot.watch()
        if bot.state is BotState.STARTING and bot.ready:
            bot.begin()
        return bot

    def restart(self, bot: Bot) -> Bot:
        """Stop and start a bot; where it could not start again, as its changed file is broken, it runs on."""
        self._require_market()
        self._factory.make(bot.record, bot.book, fresh=True)
        self.stop(bot)
        return self.start(bot)

    def stop(self, bot: Bot) -> None:
        """Wish a bot to stand still: no signals, working entries cancelled, the position stays guarded."""
        self._desire(bot, Desired.STOPPED)
        if bot.state is BotState.STOPPED:
            return
        bot.end(BotState.STOPPED)

    def pause(self, bot: Bot) -> None:
        """No entries; signal exits go on."""
        if bot.state in RESTING:
            raise WrongStateError(f"{bot.name}: is {bot.state.value}, only a running bot can be paused")
        self._desire(bot, Desired.PAUSED)
        if bot.state in (BotState.RUNNING, BotState.DEGRADED):
            bot.cancel_entries()
            bot.move(BotState.PAUSED)

    def resume(self, bot: Bot) -> None:
        """Entries again."""
        if bot.state in RESTING:
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
        bot.exit.give_up()
        bot.cancel_all()
        if bot.state is not BotState.STOPPED:
            bot.end(BotState.STOPPED)
        bot.close_down()
        bot.record.desired = Desired.STOPPED.value
        bot.record.removed_ms = self._desk.clock.now_ms()
        self._desk.journal.bot(bot.record)
        del self.bots[bot.name]
        self._desk.gate.forget(bot.number)
        bot.denials.end()
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
                known, levels = self._desk.protection(bot.number), []
                for name, level, place in (
                    ("stop", bot.guard.stop(), known.place),
                    ("target", bot.book.position.target, known.target),
                ):
                    where = "rests on the exchange" if place == "exchange" else "rests with botd"
                    if level is not None:
                        levels.append(f"{name} {short(Decimal(repr(level)))} {where}")
                guard = ", ".join(levels) if bot.guard.stop() is not None else ", ".join(["no stop", *levels])
                lines.append(f"{bot.name} holds {bot.book.position.quantity:f} {bot.instrument.base}, {guard}")
        return lines

    # -- inside

    def _create_again(self, bot: Bot, spec: BotSpec, *, start: bool, replace: bool) -> tuple[Bot, str]:
        changed = difference(bot.spec, spec)
        result = "unchanged"
        if changed:
            if not replace:
                what = f"exists with another spec ({in_words(changed)})"
                raise ConflictError(f"{bot.name}: {what}", "use --replace, or botctl set")
            bot = self.change(bot, spec)
            result = "replaced"
        return (self.start(bot) if start else bot), result

    def _take(self, bot: Bot) -> None:
        """Let the fleet have the bot, and the bot the reports of its orders."""
        self.bots[bot.name] = bot
        self._desk.gateway.register(bot.number, bot)

    def _resume(self, bot: Bot) -> None:
        """Bring a bot to what is wished of it, after a restart or when bots are enabled again."""
        if bot.record.desired == Desired.STOPPED or bot.state is BotState.FAILED:
            return
        if not self.enabled:
            bot.end(BotState.STOPPED, DISABLED)
        elif bot.spec.mode == "live" and (why := self._live_refusal()):
            bot.end(BotState.STOPPED, why)
        elif not bot.attached:
            if bot.state in RESTING:
                bot.move(BotState.STARTING)
            bot.watch()
            if bot.state is BotState.STARTING and bot.ready:
                bot.begin()

    def _reload(self, bot: Bot) -> Bot:
        """Return the bot with its strategy's file read anew; raises, and changes nothing, where that fails."""
        fresh = self._factory.make(bot.record, bot.book, bot.memory, fresh=True)
        if fresh.code != bot.code:
            self._factory.tell_changed(fresh)
        self._replace(bot, fresh)
        return fresh

    def _replace(self, bot: Bot, fresh: Bot) -> None:
        """Put ``fresh`` in the place of ``bot``: same record, another mind. It goes on where the other stood."""
        trading = bot.attached
        bot.close_down()
        bot.exit.go_on_in(fresh)
        fresh.skipped_min_notional, fresh.trades = bot.skipped_min_notional, bot.trades
        fresh.denials = bot.denials
        fresh.last_candle_ms, fresh.last_decision = bot.last_candle_ms, bot.last_decision
        fresh.last_failure_ms, fresh.retry_at_ms = bot.last_failure_ms, bot.retry_at_ms
        self._take(fresh)
        self._factory.keep_code(fresh)
        if trading:
            fresh.begin()
        elif fresh.holds or fresh.orders() or fresh.state not in RESTING:
            fresh.watch()

    def _desire(self, bot: Bot, desired: Desired) -> None:
        if bot.record.desired != desired:
            bot.record.desired = desired.value
            self._desk.journal.bot(bot.record)

    def _fund(self, bot: Bot, capital: Decimal, book: BotBook | None = None) -> None:
        """A changed capital adds to or takes from the bot's cash; profit so far stays."""
        if capital != bot.spec.capital:
            book = book or bot.book
            book.change_capital(capital)
            self._desk.gate.monitors.adjust(bot.number, capital - bot.spec.capital)
            bot.record.spec = msgspec.structs.replace(bot.spec, capital=capital)
            self._desk.journal.book(bot.number, book.cash, book.realized_pnl, book.fees)

    def _require_market(self) -> None:
        if not self.enabled:
            raise UnavailableError(DISABLED, "unset BINANCE_ENABLE_BOTS or set enable_bots: true")
        if self.market_refusal:
            raise UnavailableError(self.market_refusal, "it keeps trying; see: botctl health")

    def _tell(self, bot: Bot, topic: str, data: dict[str, Any]) -> None:
        self._desk.journal.event(Event(topic=topic, time_ms=self._desk.clock.now_ms(), bot=bot.name, data=data))


def _moved(book: BotBook, symbol: str) -> BotBook:
    """Return a flat book's money with another symbol."""
    return BotBook(book.bot, symbol, book.capital, cash=book.cash, realized_pnl=book.realized_pnl, fees=book.fees)
