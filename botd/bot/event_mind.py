"""The mind of an event strategy: calls its hooks with a context, and carries out what they asked for.

The orders are placed when a hook has returned, and its memory is kept with them. So a user's hook can run
in the evaluation thread, and one that raises half-way has done nothing and remembers nothing. What a hook sees of
candles is looked up here, never in its thread: those of the latest close that missed no input.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any

import msgspec

from botd.bot.bot import Bot
from botd.bot.evaluation import Effort
from botd.bot.hook_context import Asked, HookContext
from botd.bot.inputs import as_seen, awaited
from botd.bot.lifecycle import BotState
from botd.domain.candle import Candle
from botd.domain.candles import Candles
from botd.domain.decision import GateCheck
from botd.domain.order import Fill, Intent, Order, OrderType, Purpose, Side
from botd.ledger.records import amount
from botd.strategy.base import Context, EventStrategy
from botd.strategy.inputs import Read, missing

EXIT_REASONS = frozenset({"signal", "take_profit", "stop_loss", "time_stop"})
"""Tags that a strategy may give an order to name the reason of the exit."""

Hook = Callable[[Context], None]


class EventMind:
    """Hooks in, orders out."""

    places_sales = True

    def __init__(
        self,
        bot: Bot,
        strategy: EventStrategy,
        memory: dict[str, Any],
        *,
        needs: int,
        trusted: bool,
        reads: tuple[Read, ...] = (),
        closed: Callable[[], Candles] | None = None,
    ) -> None:
        """``memory`` is what the ledger kept of :attr:`memory` ({} for a new bot), ``needs`` the warm-up, ``reads``
        the strategy's inputs; ``closed`` gives the candles with what they see of these, else the market does."""
        self._bot = bot
        self._strategy = strategy
        self._in_words = strategy.in_words()
        self._trusted = trusted
        self._hooks: deque[Hook] = deque()
        self._life = 0  # which attachment a call belongs to: what one left behind does not count in the next
        self._attached = False
        self._tick: float | None = None
        self._leave_ticks: Callable[[], None] = _nothing
        self._started = bool(memory.get("started"))
        self._state: dict[str, Any] = dict(memory.get("memory") or {})
        self._kept = self._encoded()
        self._closed = closed or self._closed_in_market
        self._looks = bool(reads) or needs > 1
        """Whether the strategy declares that it looks back; the others cost nothing here."""
        self._seen: Candles | None = None
        """What hooks see; None until a close that missed nothing."""
        self._resumes = False
        """Whether the last that was said is that an input was waited for: the next hook says that it is no more."""
        self.needs = needs
        self.reads = reads
        self.declared_entries = strategy.declared_entries
        self.effort = Effort()

    @property
    def order_value(self) -> Decimal | None:
        """What each purchase is worth; a strategy that fails to say so says nothing."""
        try:
            return self._strategy.order_value(self._bot.spec.capital)
        except Exception:  # a user's code may raise anything, and nobody waits for this
            return None

    @property
    def memory(self) -> dict[str, Any]:
        """Whether it has started, and the strategy's own state, as of the last hook that returned."""
        started, state = msgspec.json.decode(self._kept)
        return {"started": started, "memory": state}

    def attach(self) -> None:
        self._attached = True
        self._life += 1
        if type(self._strategy).on_tick is not EventStrategy.on_tick:
            self._leave_ticks = self._bot.desk.ticks.follow(self._bot.spec.symbol, self._on_tick)

    def detach(self) -> None:
        """Forget what is queued, and what a hook that did not return has done to the memory."""
        self._attached = False
        self._leave_ticks()
        self._leave_ticks = _nothing
        self._hooks.clear()
        self._tick = None
        self._seen = None
        self._started, self._state = msgspec.json.decode(self._kept)

    def on_open(self) -> None:
        self._run_hooks()

    def on_closed(self, candle: Candle) -> None:
        waits = self._look() if self._looks else None
        if waits is None:
            if not self._started:
                self._started = True
                self._hooks.append(self._strategy.on_start)
            self._hooks.append(lambda context: self._strategy.on_candle(context, candle))
        else:
            self._bot.decided("waiting", [*self._in_gates(), waits], {})
        self._run_hooks()

    def on_fill(self, fill: Fill) -> None:
        """Queued: the exchange is still reporting; on candle feeds it runs before the next market event."""
        if not self._attached:
            return
        self._hooks.append(lambda context: self._strategy.on_fill(context, fill))
        if not self._bot.desk.market.candle_feed:
            self._bot.desk.soon(lambda: self._bot.run_guarded(self._run_hooks))

    # -- inside

    def _on_tick(self, price: float) -> None:
        """A tick that comes while the one before still waits takes its place."""
        waiting, self._tick = self._tick is not None, price
        if not waiting:
            self._hooks.append(self._tell_tick)
            self._bot.run_guarded(self._run_hooks)

    def _tell_tick(self, context: Context) -> None:
        price, self._tick = self._tick, None
        if price is not None:
            self._strategy.on_tick(context, price)

    def _look(self) -> GateCheck | None:
        """See what has closed; return the gate that says what is waited for, if anything is: all is as before then."""
        bot, candles = self._bot, self._closed()
        waits = awaited(bot, self.reads, missing(candles) if len(candles) else "its first candle")
        if waits is None:
            self._seen, last = candles, bot.last_decision
            self._resumes = last is not None and last.outcome == "waiting"
        return waits

    def _closed_in_market(self) -> Candles:
        window = self._bot.desk.market.window
        return as_seen(window(*self._bot.lane, max(1, self.needs)), self.reads, window)

    def _run_hooks(self) -> None:
        if self._looks and self._seen is None and self._hooks and self._look() is not None:
            return  # of fills before a restart, and of ticks: told when there is something to see
        evaluator = self._bot.desk.evaluator
        while self._hooks:
            call = Call(self, self._hooks.popleft(), self._life, self._seen)
            if self._trusted:
                evaluator.timed(call.run, self.effort)
                self._carry_out(call.context)
            else:
                evaluator.defer(call.run, call.done, self.effort)

    def begin_call(self, life: int, seen: Candles | None) -> HookContext | None:
        """Return the context of a hook that is about to run, None where the bot was stopped meanwhile."""
        return HookContext(self._bot, self._state, seen) if self._is_current(life) else None

    def end_call(self, life: int, context: HookContext | None, error: Exception | None) -> None:
        """Carry out what a hook asked for in the evaluation thread, or let its bot fail."""
        if not self._is_current(life):
            return
        if error is not None:
            self._bot.fail(error)
        else:
            self._bot.run_guarded(partial(self._carry_out, context))

    def _is_current(self, life: int) -> bool:
        return self._attached and life == self._life

    def _carry_out(self, context: HookContext | None) -> None:
        if context is None:
            return
        self._state = context.state
        self._keep_state()  # first: a memory that cannot be kept is the hook's failure, before anything is placed
        gates = self._in_gates()
        outcome = "hold"
        for wish in context.asked:
            if wish.cancel:
                self._bot.cancel(wish.client_order_id)
            else:
                outcome = self._place(context, wish, gates) or outcome
        if context.asked or context.notes or self._resumes:
            self._resumes = False
            gates += self._bot.held_back() if outcome == "hold" else []
            self._bot.decided(outcome, gates, context.notes)

    def _in_gates(self) -> list[GateCheck]:
        """Return the row of ``why`` that says when the strategy buys and sells, where it says so."""
        return [GateCheck(gate="strategy", passed=True, detail=self._in_words)] if self._in_words else []

    def _place(self, context: HookContext, wish: Asked, gates: list[GateCheck]) -> str:
        """Place one order; return the outcome, empty where nothing was tried."""
        bot, quantity = self._bot, wish.quantity
        if wish.side is Side.BUY:
            if bot.state is BotState.PAUSED:
                gates.append(GateCheck(gate="state", passed=False, value="paused", detail="paused: no entries"))
                return ""
        else:
            held = bot.sellable()
            quantity = min(quantity, held)
            if quantity < wish.quantity:
                detail = f"{wish.quantity:f} asked for, {held:f} held and not offered yet"
                gates.append(GateCheck(gate="holding", passed=quantity > 0, value=str(held), detail=detail))
            if quantity <= 0:
                return "denied"
        order, verdict = bot.place(self._intent(context, wish), quantity)
        gates.extend(verdict.checks)
        if order is None:
            return "denied"
        gates.append(_placed(order))
        if order.type is OrderType.LIMIT:
            return "ordered"
        return "bought" if wish.side is Side.BUY else "sold"

    def _intent(self, context: HookContext, wish: Asked) -> Intent:
        spec, buying = self._bot.spec, wish.side is Side.BUY
        return Intent(
            bot=self._bot.number,
            symbol=spec.symbol,
            interval=spec.interval,
            side=wish.side,
            type=OrderType.MARKET if wish.price is None else OrderType.LIMIT,
            purpose=Purpose.ENTRY if buying else Purpose.EXIT,
            reason=wish.tag if wish.tag in EXIT_REASONS else "signal",
            reference_price=context.price() if wish.price is None else float(wish.price),
            price=wish.price,
            client_order_id=wish.client_order_id,
        )

    def _keep_state(self) -> None:
        encoded = self._encoded()
        if encoded != self._kept:
            self._kept = encoded
            memory = {"started": self._started, "memory": self._state}
            self._bot.desk.journal.strategy_state(self._bot.number, memory)

    def _encoded(self) -> bytes:
        return msgspec.json.encode([self._started, self._state])


class Call:
    """One call of a hook: runs here or in the evaluation thread, and keeps what it asked for."""

    def __init__(self, mind: EventMind, hook: Hook, life: int, seen: Candles | None) -> None:
        self._mind = mind
        self._hook = hook
        self._life = life
        self._seen = seen
        self.context: HookContext | None = None

    def run(self) -> None:
        """Call the hook."""
        self.context = self._mind.begin_call(self._life, self._seen)
        if self.context is not None:
            self._hook(self.context)

    def done(self, error: Exception | None) -> None:
        """Take what came of it."""
        self._mind.end_call(self._life, self.context, error)


def _placed(order: Order) -> GateCheck:
    """Return the row of ``why`` that says what was sent: an order that rests is no exit yet."""
    what = f"{order.side.value} {amount(order.quantity)} {order.symbol}"
    how = "at the market" if order.price is None else f"rests at {amount(order.price)}"
    return GateCheck(gate="order", passed=True, value=amount(order.quantity), detail=f"{what}, {how}")


def _nothing() -> None:
    """Leave ticks that were never followed."""
