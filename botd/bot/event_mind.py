"""The mind of an event strategy: calls its hooks with a context, and carries out what it asked for.

Hooks read the bot and *record* what they want; the orders are placed when the hook has returned. So a
user's hook can run in the evaluation thread, and a hook that raises half-way has done nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec

from botd.bot.bot import Bot
from botd.bot.lifecycle import BotState
from botd.domain.candle import Candle
from botd.domain.decision import GateCheck
from botd.domain.order import Fill, Intent, Order, OrderType, Purpose, Side
from botd.strategy.base import EventStrategy

EXIT_REASONS = frozenset({"signal", "take_profit", "stop_loss", "time_stop"})
"""Tags that a strategy may give an order to name the reason of the exit."""


class Asked(msgspec.Struct):
    """What a hook asked for: an order, or (``cancel``) the end of one."""

    client_order_id: str
    side: Side = Side.BUY
    quantity: Decimal = Decimal(0)
    price: Decimal | None = None
    tag: str = ""
    cancel: bool = False


class EventMind:
    """Hooks in, orders out; also the :class:`~botd.strategy.base.Context` that the hooks see."""

    def __init__(self, bot: Bot, strategy: EventStrategy, state: dict[str, Any], *, trusted: bool) -> None:
        """``state`` is what :meth:`_keep_state` wrote to the ledger ({} for a new bot)."""
        self._bot = bot
        self._strategy = strategy
        self._trusted = trusted
        self._asked: list[Asked] = []
        self._notes: dict[str, Any] = {}
        self._calls: list[Callable[[], None]] = []
        self._attached = False
        self._leave_ticks: Callable[[], None] = _nothing
        self._started = bool(state.get("started"))
        self.state = dict(state.get("memory") or {})
        self._known_state = self._encoded_state()
        self.instrument = bot.instrument
        self.capital = bot.spec.capital
        self.needs = strategy.warmup()
        self.declared_entries = strategy.declared_entries

    # -- the mind

    def attach(self) -> None:
        self._attached = True
        if type(self._strategy).on_tick is not EventStrategy.on_tick:
            self._leave_ticks = self._bot.desk.ticks.follow(self._bot.spec.symbol, self._on_tick)

    def detach(self) -> None:
        self._attached = False
        self._leave_ticks()
        self._calls.clear()

    def on_open(self) -> None:
        self._run_calls()

    def on_closed(self, candle: Candle) -> None:
        if not self._started:
            self._started = True
            self._calls.append(lambda: self._strategy.on_start(self))
        self._calls.append(lambda: self._strategy.on_candle(self, candle))
        self._run_calls()

    def on_fill(self, fill: Fill) -> None:
        """Queued: the exchange is still reporting; on candle feeds it runs before the next market event."""
        if not self._attached:
            return
        self._calls.append(lambda: self._strategy.on_fill(self, fill))
        if not self._bot.desk.market.candle_feed:
            self._bot.desk.soon(lambda: self._bot.run_guarded(self._run_calls))

    # -- the context

    def now_ms(self) -> int:
        return self._bot.desk.clock.now_ms()

    def price(self) -> float:
        quote = self._bot.desk.market.quote(self._bot.spec.symbol)
        return quote.last if quote is not None else float("nan")

    def cash(self) -> Decimal:
        return self._bot.book.cash

    def quantity(self) -> Decimal:
        return self._bot.book.position.quantity

    def entry_price(self) -> Decimal | None:
        return self._bot.book.position.entry_price

    def orders(self) -> list[Order]:
        """Return the working orders; on an exchange that cancels at once, without those this hook cancelled."""
        gone = {wish.client_order_id for wish in self._asked if wish.cancel and self._bot.desk.gateway.in_process}
        return [o for o in self._bot.orders() if o.remaining > 0 and o.client_order_id not in gone]

    def buy(self, quantity: Decimal, price: Decimal | None = None, tag: str = "") -> str | None:
        return self._ask(Side.BUY, quantity, price, tag)

    def sell(self, quantity: Decimal, price: Decimal | None = None, tag: str = "") -> str | None:
        return self._ask(Side.SELL, quantity, price, tag)

    def cancel(self, client_order_id: str) -> None:
        self._asked.append(Asked(client_order_id, cancel=True))

    def note(self, **values: float | str) -> None:
        self._notes.update(values)

    # -- inside

    def _ask(self, side: Side, quantity: Decimal, price: Decimal | None, tag: str) -> str:
        client_order_id = self._bot.desk.gateway.reserve_id(self._bot.number)
        self._asked.append(Asked(client_order_id, side, quantity, price, tag))
        return client_order_id

    def _on_tick(self, price: float) -> None:
        self._calls.append(lambda: self._strategy.on_tick(self, price))
        self._bot.run_guarded(self._run_calls)

    def _run_calls(self) -> None:
        while self._calls:
            call = self._calls.pop(0)
            if self._trusted:
                call()
                self._carry_out()
            else:
                self._bot.desk.evaluator.defer(call, self._done)

    def _done(self, error: Exception | None) -> None:
        if error is None:
            self._carry_out()
        else:
            self._asked.clear()
            self._bot.fail(error)

    def _carry_out(self) -> None:
        bot, asked, gates = self._bot, self._asked, list[GateCheck]()
        self._asked = []
        outcome = "hold"
        for wish in asked:
            if wish.cancel:
                self._cancel(wish.client_order_id)
                continue
            if wish.side is Side.BUY and bot.state is BotState.PAUSED:
                gates.append(GateCheck(gate="state", passed=False, value="paused", detail="paused: no entries"))
                continue
            order, verdict = bot.place(self._intent(wish), wish.quantity)
            gates.extend(verdict.checks)
            outcome = ("entered" if wish.side is Side.BUY else "exited") if order is not None else "denied"
        notes, self._notes = self._notes, {}
        self._keep_state()
        if asked or notes:
            bot.decided(outcome, gates, notes)

    def _cancel(self, client_order_id: str) -> None:
        for order in self._bot.orders():
            if order.client_order_id == client_order_id:
                self._bot.desk.gateway.cancel(order)

    def _intent(self, wish: Asked) -> Intent:
        spec, buying = self._bot.spec, wish.side is Side.BUY
        return Intent(
            bot=self._bot.number,
            symbol=spec.symbol,
            interval=spec.interval,
            side=wish.side,
            type=OrderType.MARKET if wish.price is None else OrderType.LIMIT,
            purpose=Purpose.ENTRY if buying else Purpose.EXIT,
            reason=wish.tag if wish.tag in EXIT_REASONS else "signal",
            reference_price=self.price() if wish.price is None else float(wish.price),
            price=wish.price,
            client_order_id=wish.client_order_id,
        )

    def _keep_state(self) -> None:
        encoded = self._encoded_state()
        if encoded != self._known_state:
            self._known_state = encoded
            memory = {"started": self._started, "memory": self.state}
            self._bot.desk.journal.strategy_state(self._bot.number, memory)

    def _encoded_state(self) -> bytes:
        return msgspec.json.encode([self._started, self.state])


def _nothing() -> None:
    """Leave ticks that were never followed."""
