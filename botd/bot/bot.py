"""One bot: its state, its book, its orders. The market calls it; it never waits.

A tick or candle arrives, the bot's mind (:mod:`botd.bot.signal_mind` or :mod:`botd.bot.event_mind`) decides,
and this module turns what is wanted into an intent, sizes it, asks the risk gate and hands it to the
gateway. Reports come back as fills, which alone move position and cash.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Protocol

from botd.bot.desk import Desk
from botd.bot.guard import Guard, change_levels
from botd.bot.lifecycle import TRADING, TRANSITIONS, BotState, Desired
from botd.domain.bot_spec import BotSpec
from botd.domain.candle import Candle, bucket_start, interval_ms
from botd.domain.clock import rfc3339
from botd.domain.decision import Decision, GateCheck
from botd.domain.errors import BotdError
from botd.domain.events import Event
from botd.domain.instrument import Instrument
from botd.domain.order import Fill, Intent, Order, OrderStatus, OrderType, Purpose, Side
from botd.ledger.accounting import BotBook
from botd.ledger.records import BotRecord
from botd.risk.case import RiskRequest, Verdict
from botd.risk.sizing import Sized, size_entry


class Mind(Protocol):
    """What decides for a bot: the part that differs between signal and event strategies."""

    needs: int
    """Candles of history wanted before it may decide."""
    declared_entries: tuple[int, int]
    """Entries (an hour, a day) that the strategy declares as its normal rate."""

    def attach(self) -> None:
        """Begin to read the market (the bot runs)."""
        ...

    def detach(self) -> None:
        """Stop reading it."""
        ...

    def on_closed(self, candle: Candle) -> None: ...

    def on_open(self) -> None: ...

    def on_fill(self, fill: Fill) -> None: ...


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
        self.trades = 0
        self.retry_at_ms = 0
        self.last_failure_ms = 0
        self._log = logging.getLogger(f"botd.bot.{record.spec.name}")
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
        self._length_ms = interval_ms(record.spec.interval)
        self._subscription: Any = None
        self._mind = mind_of(self)
        self._attached = False
        desk.gateway.register(record.number, self)

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
        return BotState(self.record.state)

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
        self._log.info("%s -> %s%s", before.value, state.value, f" ({reason})" if reason else "")

    @property
    def attached(self) -> bool:
        """True while the bot reads signals."""
        return self._attached

    @property
    def ready(self) -> bool:
        """True when the history that the strategy needs is there."""
        return self._subscription is not None and bool(self._subscription.ready)

    # -- what the supervisor asks for

    def watch(self) -> None:
        """Follow the market: needed while the bot trades, and while it holds anything."""
        if self._subscription is None:
            symbol, interval = self.lane
            self._subscription = self.desk.market.subscribe(symbol, interval, self, self._mind.needs, self.number)
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
        if self._subscription is not None:
            self._subscription.close()
            self._subscription = None

    def fail(self, error: Exception) -> None:
        """Handle an exception of the strategy: back off, or give up, and say why."""
        now = self.desk.clock.now_ms()
        if self.desk.restart.forgets(self.last_failure_ms, now):
            self.record.failures = 0
        self.record.failures += 1
        self.last_failure_ms = now
        reason = error.message if isinstance(error, BotdError) else f"{type(error).__name__}: {error}"
        self._log.error("strategy %s failed: %s", self.spec.strategy, reason, exc_info=error)
        hung = type(error).__name__ == "StrategyHungError"
        retry_ms = None if hung else self.desk.restart.retry_ms(self.number, self.record.failures, now)
        if retry_ms is None:
            why = f"quarantined: {reason}" if hung else f"{self.record.failures} failures, last {reason}"
            self.end(BotState.FAILED, why)
        else:
            self.retry_at_ms = retry_ms
            self.end(BotState.BACKOFF, f"{reason}; retry {self.record.failures} at {rfc3339(self.retry_at_ms)}")
            self.watch()

    def respec(self, spec: BotSpec) -> None:
        """Take a changed spec (same symbol and interval) and move the levels of what is held."""
        self.record.spec = spec
        position = self.book.position
        if self.holds and position.entry_price is not None:
            change_levels(position, spec, position.entry_price)
            self.guard.watch(position)
            self.desk.journal.position(position)
        self.desk.journal.bot(self.record)

    # -- what the market calls

    def on_open(self, open_time: int, price: float) -> None:
        """A candle of the bot's interval opened: fills of the open have happened."""
        self.run_guarded(self._mind.on_open)

    def on_closed(self, candle: Candle) -> None:
        """A candle closed: levels have fired, now the trail, the equity and the decision."""
        self.last_candle_ms = candle.open_time
        self.guard.on_closed(candle)
        now = candle.open_time + self._length_ms
        self._record_equity(candle.close, now)
        if self.state is BotState.BACKOFF and now >= self.retry_at_ms and self.record.desired != Desired.STOPPED:
            self.move(BotState.STARTING)
            self.begin()
        if self.state in TRADING:
            self.run_guarded(lambda: self._mind.on_closed(candle))

    def run_guarded(self, call: Callable[[], None]) -> None:
        """Run a part of the mind: a strategy's failure is its bot's alone."""
        try:
            call()
        except Exception as error:  # the bot task's boundary
            self.fail(error)

    # -- orders

    def size(self, price: float) -> Sized:
        """Return the entry quantity by the spec's sizing at the price of the decision."""
        return size_entry(
            self.spec,
            cash=self.book.cash,
            equity=self.book.equity(Decimal(repr(price))),
            price=price,
            slippage=self.desk.slippage,
            fee=self.desk.taker_fee,
            instrument=self.instrument,
            margin=self.desk.gate.settings.funds_margin(self.number),
        )

    def largest_entry(self, price: float) -> tuple[Decimal, str]:
        """Return the most that an entry at ``price`` may buy now, and the risk control that sets it, if one does."""
        wanted = self.size(price).quantity
        most, control = self.desk.gate.largest(self._request(self.entry_intent(price), wanted))
        return (most, control) if control and most < wanted else (wanted, "")

    def entry_intent(self, price: float) -> Intent:
        """Return the intent to buy at market, decided at ``price``."""
        return Intent(
            bot=self.number,
            symbol=self.spec.symbol,
            interval=self.spec.interval,
            side=Side.BUY,
            type=OrderType.MARKET,
            purpose=Purpose.ENTRY,
            reason="signal",
            reference_price=price,
        )

    def place(self, intent: Intent, quantity: Decimal) -> tuple[Order | None, Verdict]:
        """Ask the gate, then send: the one way of every order of this bot."""
        verdict = self.desk.gate.decide(self._request(intent, quantity))
        if not verdict.allowed:
            order = self.desk.gateway.deny(intent, quantity, verdict.code)
            self._log.info("denied %s %s: %s", intent.side, quantity, verdict.code)
            return None, verdict
        for client_order_id in verdict.cancel_first:
            for order in self.desk.gateway.open_orders(self.spec.symbol):
                if order.client_order_id == client_order_id:
                    self.desk.gateway.cancel(order)
        delay_s = 0.0 if self.desk.market.candle_feed else verdict.delay_s
        return self.desk.gateway.submit(intent, verdict.quantity, delay_s), verdict

    def sell_all(self, reason: str, reference: float, trigger: float | None = None) -> Order | None:
        """Sell what is held: ``trigger`` is the level reached, at which a candle feed fills at once."""
        self._cancel(Side.SELL)
        quantity = self.instrument.floor_quantity(self.book.position.quantity)
        if quantity <= 0:
            return None
        types = {"take_profit": OrderType.TAKE_PROFIT, "stop_loss": OrderType.STOP_LOSS}
        kind = types.get(reason, OrderType.STOP_LOSS if reason == "trailing_stop" else OrderType.MARKET)
        on_candles = self.desk.market.candle_feed and trigger is not None
        intent = Intent(
            bot=self.number,
            symbol=self.spec.symbol,
            interval=self.spec.interval,
            side=Side.SELL,
            type=kind if on_candles else OrderType.MARKET,
            purpose=Purpose.EXIT,
            reason=reason,
            reference_price=reference,
            trigger_price=trigger if on_candles else None,
        )
        return self.place(intent, quantity)[0]

    def cancel_entries(self) -> None:
        """Cancel working entries; exits and protection stay."""
        for order in self.orders():
            if order.purpose is Purpose.ENTRY:
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
        """Book a fill: position, cash, levels, and the round trip it may end."""
        position = self.book.position
        bar = self.desk.market.bar_index(*self.lane, bucket_start(fill.time_ms, self._length_ms))
        applied = self.book.apply(fill, reason=order.intent_reason, bar=bar, fee_value_quote=self._fee_value(fill))
        trade = applied.trade
        if fill.side is Side.BUY:
            first = position.bought_quantity == fill.quantity
            entry = fill.price if first or position.entry_price is None else position.entry_price
            self.guard.entered(position, self.spec, float(entry))
        elif trade is None and 0 < position.quantity < self.instrument.step:
            trade = self.book.close_dust(
                self.instrument.step, reason=order.intent_reason, bar=bar, time_ms=fill.time_ms
            )
        if not self.holds:
            self.guard.cleared()
        journal = self.desk.journal
        journal.position(position)
        journal.book(self.number, self.book.cash, self.book.realized_pnl, self.book.fees)
        if trade is not None:
            self.trades += 1
            journal.trade(trade)
            data = {"symbol": trade.symbol, "pnl": str(trade.pnl), "exit_reason": trade.exit_reason}
            journal.event(Event(topic="trade.closed", time_ms=fill.time_ms, bot=self.name, data=data))
            self.desk.monitors.on_trade_closed(self.number, trade.pnl, self.desk.clock.now_ms())
        self._log.info(
            "%s %s %s at %s fee %s %s (%s)",
            "bought" if fill.side is Side.BUY else "sold",
            fill.quantity,
            fill.symbol,
            fill.price,
            fill.fee,
            fill.fee_asset,
            order.intent_reason,
        )
        self._mind.on_fill(fill)
        return applied.realized_pnl

    def on_order_end(self, order: Order) -> None:
        """An order ended without anything left to fill."""
        if order.status is OrderStatus.REJECTED:
            self._log.warning("order %s rejected: %s", order.client_order_id, order.reason)
            self.desk.monitors.on_reject(self.number, self.desk.clock.now_ms())
        if self.state not in TRADING:
            self._unwatch_if_idle()

    # -- decisions

    def decided(self, outcome: str, gates: list[GateCheck], notes: dict[str, Any]) -> None:
        """Keep the trace of a decision for ``botctl why``."""
        decision = Decision(
            bot=self.number, time_ms=self.desk.clock.now_ms(), outcome=outcome, gates=gates, notes=notes
        )
        if outcome == "skipped_min_notional":
            self.skipped_min_notional += 1
            self.desk.journal.keyed("skipped", {str(self.number): str(self.skipped_min_notional)})
        self.last_decision = decision
        self.desk.journal.decision(decision)

    # -- inside

    def _on_level(self, reason: str, price: float) -> None:
        self.sell_all(reason, price, price)

    def _detach(self) -> None:
        if self._attached:
            self._mind.detach()
            self._attached = False

    def _unwatch_if_idle(self) -> None:
        if self._subscription is not None and not self.holds and not self.orders() and not self._attached:
            self._subscription.close()
            self._subscription = None

    def _cancel(self, side: Side) -> None:
        for order in self.orders():
            if order.side is side:
                self.desk.gateway.cancel(order)

    def _fee_value(self, fill: Fill) -> Decimal | None:
        """Return the worth in quote of a fee paid in a third asset, None where its price is unknown."""
        if fill.fee_asset in (self.instrument.quote, self.instrument.base):
            return None
        quote = self.desk.market.quote(f"{fill.fee_asset}/{self.instrument.quote}")
        return None if quote is None else fill.fee * Decimal(repr(quote.last))

    def _record_equity(self, price: float, now_ms: int) -> None:
        book = self.book
        equity = book.equity(Decimal(repr(price)))
        self.desk.journal.equity(self.number, now_ms, equity, book.cash, equity - book.cash)
        self.desk.monitors.on_equity(self.number, equity, now_ms)

    def _request(self, intent: Intent, quantity: Decimal) -> RiskRequest:
        desk, market = self.desk, self.desk.market
        limit_ms = desk.freshness_ms(self.spec.interval)
        return RiskRequest(
            intent=intent,
            spec=self.spec,
            quantity=quantity,
            instrument=self.instrument,
            now_ms=desk.clock.now_ms(),
            bot_cash=self.book.cash,
            bot_equity=self.book.equity(Decimal(repr(intent.reference_price))),
            slippage=desk.slippage,
            fee=desk.taker_fee,
            stale_ms=market.stale(self.spec.symbol, limit_ms),
            freshness_limit_ms=limit_ms,
            not_ready=desk.not_ready(),
            volume=self.desk.minute_volume(self.spec.symbol),
            exits_any_size=market.candle_feed,
            declared_entries=self._mind.declared_entries,
            portfolio=desk.portfolio,
        )
