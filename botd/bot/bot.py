"""One bot: its state, its book, its orders. The market calls it; it never waits.

A tick or candle arrives, the bot's mind (:mod:`botd.bot.signal_mind` or :mod:`botd.bot.event_mind`) decides,
and this module turns what is wanted into an intent, sizes it, asks the risk gate and hands it to the
gateway. Reports come back as fills, which alone move position and cash.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from botd.bot.denials import Denials
from botd.bot.desk import Desk
from botd.bot.evaluation import Effort, StrategyHungError
from botd.bot.exits import Exit
from botd.bot.fills import book_fill, meet_resurrected, write_off_dust
from botd.bot.guard import Guard, change_levels
from botd.bot.inputs import claims
from botd.bot.intents import entry_size, largest_entry
from botd.bot.lifecycle import RESTING, STATES, TRADING, TRANSITIONS, BotState, Desired
from botd.bot.mind import Mind
from botd.bot.placing import place
from botd.bot.stops import candles_needed, remeasure, sell_overdue
from botd.domain.bot_spec import BotSpec
from botd.domain.candle import Candle, interval_ms
from botd.domain.clock import rfc3339
from botd.domain.decision import Decision, GateCheck
from botd.domain.errors import BotdError
from botd.domain.events import Event
from botd.domain.instrument import ZERO, Instrument
from botd.domain.order import Fill, Intent, Order, OrderStatus, OrderType, Purpose, Side, offered
from botd.ledger.accounting import BotBook
from botd.ledger.records import BotRecord
from botd.market.lanes import Subscription
from botd.risk.case import Verdict
from botd.risk.sizing import Sized
from botd.risk.trading_state import ACTIVE
from botd.risk.words import explain, scope_name
from botd.strategy.faults import raised

GUARD_RETRY_S = 10.0
"""After a sale of the guard was refused, the next try on a tick feed."""


class Bot:
    """A bot from birth to removal. ``number`` is its identity for ever, the name may be used again."""

    def __init__(
        self, record: BotRecord, instrument: Instrument, book: BotBook, desk: Desk, mind_of: Callable[[Bot], Mind]
    ) -> None:
        self.record = record
        self.instrument = instrument
        self.book = book
        self.desk = desk
        self.last_candle_ms: int | None = None
        self.last_decision: Decision | None = None
        self.skipped_min_notional = 0
        self.denials = Denials(record.number, desk.journal)
        self.trades = 0
        self.code = ""
        """Digest of the strategy's source, where that is a user's file."""
        self.lost: BotdError | None = None
        """Why the strategy could not be loaded; the position is guarded all the same."""
        self.retry_at_ms = 0
        self.last_failure_ms = 0
        self._guard_rests_s = 0.0
        self.log = logging.getLogger(f"botd.bot.{record.spec.name}")
        self.lane = (record.spec.symbol, record.spec.interval)
        by_ticks = not desk.market.candle_feed
        self.guard = Guard(
            record.number,
            (record.spec.symbol, "tick") if by_ticks else self.lane,
            desk.market.levels,
            by_ticks=by_ticks,
            sell=self._on_level,
            raised=lambda: desk.journal.position(self.book.position),
        )
        self.length_ms = interval_ms(record.spec.interval)
        self.exit = Exit(self)
        self.reading: Any = None
        """Its claim on the market, None without one; and those on what its strategy reads besides."""
        self._inputs: list[Subscription] = []
        self._mind = mind_of(self)
        self._attached = False

    # -- identity and state

    @property
    def name(self) -> str:
        return self.record.spec.name

    @property
    def number(self) -> int:
        return self.record.number

    @property
    def spec(self) -> BotSpec:
        return self.record.spec

    @property
    def state(self) -> BotState:
        return STATES[self.record.state]

    @property
    def holds(self) -> bool:
        """True while there is a position (dust apart)."""
        return self.book.position.quantity > 0

    def move(self, state: BotState, reason: str = "") -> None:
        """Enter ``state`` if the table allows it; the ledger and the followers learn of it."""
        before = self.state
        if state is before and reason == self.record.reason:
            return
        if state is not before and state not in TRANSITIONS[before]:
            raise ValueError(f"{self.name}: {before} cannot become {state}")
        now = self.desk.clock.now_ms()
        self.record.state, self.record.reason, self.record.since_ms = state.value, reason, now
        self.desk.journal.bot(self.record)
        data = {"before": before.value, "after": state.value, "reason": reason}
        self.desk.journal.event(Event(topic="bot.state", time_ms=now, bot=self.name, data=data))
        self.log.info("%s -> %s%s", before.value, state.value, f" ({reason})" if reason else "")

    @property
    def attached(self) -> bool:
        """True while the bot reads signals."""
        return self._attached

    @property
    def ready(self) -> bool:
        """True when the history that the strategy needs is there."""
        return self.reading is not None and all(claim.ready for claim in (self.reading, *self._inputs))

    @property
    def declared_entries(self) -> tuple[int, int]:
        """Entries (an hour, a day) that the strategy declares as its normal rate."""
        return self._mind.declared_entries

    @property
    def order_value(self) -> Decimal | None:
        """What each of its purchases is worth, in quote, where its strategy says so beforehand."""
        return self._mind.order_value

    @property
    def places_sales(self) -> bool:
        """True where the strategy offers parts of the holding by orders of its own."""
        return self._mind.places_sales

    @property
    def memory(self) -> dict[str, Any]:
        """What the strategy wants to know after a restart."""
        return self._mind.memory

    @property
    def effort(self) -> Effort:
        """What the strategy's calls have cost."""
        return self._mind.effort

    # -- what the supervisor asks for

    def watch(self) -> None:
        """Follow the market: needed while the bot trades, and while it holds anything."""
        if self.reading is None:
            symbol, interval = self.lane
            needs = max(self._mind.needs, candles_needed(self.spec))
            self.reading = self.desk.market.subscribe(symbol, interval, self, needs, self.number)
            self._inputs = claims(self.desk.market, self._mind.reads, interval, self._mind.needs, self.number)
        if self.holds:
            self.guard.watch(self.book.position)

    def begin(self) -> None:
        """Go from starting to running (or paused), reading signals from the next closed candle on."""
        self.watch()
        if not self._attached:
            self._mind.attach()
            self._attached = True
        self.move(BotState.PAUSED if self.record.desired == Desired.PAUSED else BotState.RUNNING)

    def end(self, state: BotState, reason: str = "") -> None:
        """Stop reading signals and cancel working entries; the guard goes on while something is held."""
        self._detach()
        self.cancel_entries()
        self.move(state, reason)
        self._unwatch_if_idle()

    def close_down(self) -> None:
        """Let go of the market entirely (removal, shutdown)."""
        self._detach()
        self.guard.cleared()
        self._let_go()

    def fail(self, error: Exception) -> None:
        """Handle an exception of the strategy: back off, or give up, and say why."""
        reason = raised(error)
        self.log.error("strategy %s failed: %s", self.spec.strategy, reason, exc_info=error)
        if not self._attached:
            return  # it was stopped meanwhile: nothing waits for it
        now, restart = self.desk.clock.now_ms(), self.desk.restart
        if restart.forgets(self.last_failure_ms, now):
            self.record.failures = 0
        self.record.failures += 1
        self.last_failure_ms = now
        self.desk.journal.keyed("failures", {str(self.number): str(now)})
        if isinstance(error, StrategyHungError):
            self.end(BotState.FAILED, f"quarantined: {reason}")
            return
        retry_ms = restart.retry_ms(self.number, self.record.failures, now)
        if retry_ms is None:
            self.end(BotState.FAILED, f"{self.record.failures} failures, last {reason}")
        else:
            self.retry_at_ms = retry_ms
            self.end(BotState.BACKOFF, f"{reason}; retry {self.record.failures} at {rfc3339(retry_ms)}")

    def remember_failure(self, failed_ms: int) -> None:
        """Take up the last failure from the ledger: a restart neither shortens a backoff nor forgets."""
        self.last_failure_ms = failed_ms
        retry_ms = self.desk.restart.retry_ms(self.number, self.record.failures, failed_ms)
        self.retry_at_ms = failed_ms if retry_ms is None else retry_ms

    def respec(self, spec: BotSpec) -> None:
        """Take a changed spec (same symbol and interval) and move the levels of what is held."""
        before, self.record.spec = self.spec, spec
        position = self.book.position
        if self.reading is not None and candles_needed(spec) > candles_needed(before):
            self._let_go()  # more history is wanted
            self.watch()
        if self.holds and position.entry_price is not None:
            remeasure(self, before)
            change_levels(position, spec, position.entry_price)
            self.guard.watch(position)
            self.desk.journal.position(position)
        self.desk.journal.bot(self.record)

    # -- what the market calls

    def on_open(self, open_time: int, price: float) -> None:
        """A candle of the bot's interval opened: fills of the open have happened."""
        if self._attached:
            self.run_guarded(self._mind.on_open)

    def on_closed(self, candle: Candle) -> None:
        """A candle closed: levels have fired, now the trail, the equity, the decision and the time stop."""
        self.last_candle_ms = candle.open_time
        self.guard.on_closed(candle)
        now = candle.open_time + self.length_ms
        self._record_equity(candle.close, now)
        if self.state is BotState.BACKOFF and now >= self.retry_at_ms and self.record.desired != Desired.STOPPED:
            self.move(BotState.STARTING)
            self.begin()
        if self._attached and self.state in TRADING:
            self.run_guarded(lambda: self._mind.on_closed(candle))
        if self.spec.time_stop is not None:
            sell_overdue(self, candle)

    def run_guarded(self, call: Callable[[], None]) -> None:
        """Run a part of the mind: a strategy's failure is its bot's alone."""
        try:
            call()
        except Exception as error:  # the bot task's boundary
            self.fail(error)

    # -- orders

    def size(self, price: float) -> Sized:
        """Return the entry quantity by the spec's sizing at the price of the decision."""
        return entry_size(self, price)

    def largest_entry(self, price: float) -> tuple[Decimal, str]:
        """Return the most that an entry at ``price`` may buy now, and the risk control that sets it, if one does."""
        return largest_entry(self, price)

    def place(self, intent: Intent, quantity: Decimal) -> tuple[Order | None, Verdict]:
        """Ask the gate, then send: the one way of every order of this bot."""
        return place(self, intent, quantity)

    def held_back(self) -> list[GateCheck]:
        """Return the gate that says what would deny an entry of this bot now: a halt, or a limit once reached."""
        states, now = self.desk.gate.states, self.desk.clock.now_ms()
        bound = None if states.quiet else states.binding(self.number, self.spec.symbol, now)
        if bound is None:
            return []
        scope, cause = scope_name(bound[0], {self.number: self.name}), bound[1]
        detail = f"no entry would go: {explain(scope, cause)}"
        return [GateCheck(gate="trading_state", passed=False, value=cause.state, limit=ACTIVE, detail=detail)]

    def sell_all(self, reason: str, reference: float, trigger: float | None = None) -> Order | None:
        """Sell what is held: ``trigger`` is the level reached, at which a candle feed fills at once."""
        return self.exit.sell(reason, reference, trigger)

    def sellable(self) -> Decimal:
        """Return what is held and not offered for sale yet: more would be somebody else's coins."""
        if not self.desk.gateway.may_sell(self.spec.symbol):
            return ZERO
        return max(ZERO, self.book.position.quantity - offered(self.orders()))

    def cancel(self, client_order_id: str) -> None:
        """Cancel one working order of the bot; nothing happens where it has ended."""
        for order in self.orders():
            if order.client_order_id == client_order_id:
                self.desk.gateway.cancel(order)

    def cancel_entries(self) -> None:
        """Cancel working entries; exits and protection stay."""
        for order in self.orders():
            if order.purpose is Purpose.ENTRY:
                self.desk.gateway.cancel(order)

    def cancel_own(self) -> None:
        """Cancel what the strategy placed; protection belongs to the position."""
        for order in self.orders():
            if order.purpose is not Purpose.PROTECTION:
                self.desk.gateway.cancel(order)

    def cancel_all(self) -> None:
        """Cancel every working order of the bot."""
        for order in self.orders():
            self.desk.gateway.cancel(order)

    def orders(self) -> list[Order]:
        """Return the bot's working orders."""
        return self.desk.gateway.open_orders(bot=self.number)

    # -- what the gateway calls

    def on_fill(self, order: Order, fill: Fill) -> Decimal:
        """Book a fill; return the profit it realised."""
        realized = book_fill(self, order, fill)
        self._mind.on_fill(fill)
        self._protect_soon()
        return realized

    def on_order_end(self, order: Order) -> None:
        """An order ended without anything left to fill."""
        if order.purpose is Purpose.EXIT and order.status in (OrderStatus.REJECTED, OrderStatus.DENIED):
            self._guard_rests_s = self.desk.clock.monotonic() + GUARD_RETRY_S
        if order.status is OrderStatus.REJECTED and not order.is_target:  # a pair is refused as one
            self.log.warning("order %s rejected: %s", order.client_order_id, order.reason)
            self.desk.monitors.on_reject(self.number, self.desk.clock.now_ms())
        write_off_dust(self, order)
        self.exit.on_order_end(order)
        self._protect_soon()
        self._unwatch_if_idle()

    def on_resurrected(self, order: Order, ended_as: OrderStatus) -> None:
        """An order that had ended lives."""
        meet_resurrected(self, order, ended_as)

    # -- decisions

    def decided(self, outcome: str, gates: list[GateCheck], notes: dict[str, Any]) -> None:
        """Keep the trace of a decision for ``botctl why``."""
        decision = Decision(
            bot=self.number, time_ms=self.desk.clock.now_ms(), outcome=outcome, gates=gates, notes=notes
        )
        if outcome == "skipped_min_notional":
            self.skipped_min_notional += 1
            self.desk.journal.keyed("skipped", {str(self.number): str(self.skipped_min_notional)})
        self.denials.decided()
        self.last_decision = decision
        self.desk.journal.decision(decision)

    # -- inside

    def _on_level(self, reason: str, price: float) -> None:
        if self.desk.market.candle_feed:
            self.sell_all(reason, price, price)
            return
        # Every tick beyond the level asks again: a sale under way goes on, one refused waits a little.
        now = self.desk.clock.monotonic()
        if self.exit.is_left_to_exchange(reason, price, now):
            return
        selling = any(order.side is Side.SELL and order.type is OrderType.MARKET for order in self.orders())
        if not selling and now >= self._guard_rests_s and self.sell_all(reason, price, price) is None:
            self._guard_rests_s = now + GUARD_RETRY_S

    def _protect_soon(self) -> None:
        if not self.desk.gateway.in_process:
            self.desk.soon(self.desk.protect)

    def _detach(self) -> None:
        if self._attached:
            self._mind.detach()
            self._attached = False

    def _unwatch_if_idle(self) -> None:
        if self.state in RESTING and not self.holds and not self.orders():
            self._let_go()

    def _let_go(self) -> None:
        for claim in (self.reading, *self._inputs) if self.reading is not None else ():
            claim.close()
        self.reading, self._inputs = None, []

    def _record_equity(self, price: float, now_ms: int) -> None:
        book = self.book
        equity = book.equity(Decimal(repr(price)))
        self.desk.journal.equity(self.number, now_ms, equity, book.cash, equity - book.cash)
        self.desk.monitors.on_equity(self.number, equity, now_ms)
