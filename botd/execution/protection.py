"""Protective orders: a position with a stop has a leg that was seen on the exchange, or says that botd guards it.

    entry fills -> leg placed -> acknowledged -> asked for -> proven
    the level moves, or the quantity -> the old leg is cancelled -> its outcome -> the next leg
    an exit -> the exit cancels the leg, waits for its outcome, and sells what is left

Never two live legs, and never a leg beside an exit: whatever is not known is waited for. The guard on botd's side
goes on all the time. It places and cancels through the position's owner, who asks the risk gate.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any, Literal, Protocol

import msgspec

from botd.domain.clock import Clock
from botd.domain.errors import BotdError
from botd.domain.events import Event
from botd.domain.instrument import ZERO, Instrument
from botd.domain.order import Order, OrderStatus, Purpose
from botd.execution.gateway import Gateway
from botd.execution.orders import OrderJournal

logger = logging.getLogger("botd.execution")

STEP_S = 0.5


class ProtectionRules(msgspec.Struct, frozen=True, kw_only=True):
    """What is done when a leg is not proven in time, and how often one is moved."""

    policy: Literal["retry", "bot_side", "flatten"] = "retry"
    verify_s: float = 10
    tries: int = 3
    retry_s: float = 5
    declared_s: float = 600
    """After so long a position guarded by botd is offered to the exchange again."""
    move_every_s: float = 5
    move_by: float = 0.001
    """A level that moved by less, as a share of itself, is not worth a moment without a leg."""


class Position(Protocol):
    """A position, as far as its protection is concerned: its bot."""

    number: int
    name: str
    symbol: str
    instrument: Instrument

    def stop(self) -> float | None:
        """Return the level that sells on the way down, None where there is none."""
        ...

    def quantity(self) -> Decimal:
        """Return what is held and not offered by other orders than the leg."""
        ...

    def exiting(self) -> bool:
        """Tell whether a sale of everything is under way, or waits for a leg's outcome."""
        ...

    def refusal(self) -> str:
        """Return why its stop cannot rest on the exchange, empty where it can."""
        ...

    def place(self, stop_price: Decimal, quantity: Decimal) -> Order | None:
        """Place a leg; None where it was denied."""
        ...

    def cancel(self, order: Order) -> None: ...

    def flatten(self, reason: str) -> None:
        """Sell everything now."""
        ...


class Protected(msgspec.Struct, kw_only=True):
    """What is known of a position's protection. Times are monotonic seconds."""

    seconds: float = 0.0
    """For how long it was neither proven nor declared."""
    leg: Order | None = None
    placed_s: float = 0.0
    asked: bool = False
    proven: bool = False
    overdue: bool = False
    failures: int = 0
    rests_s: float = 0.0
    declared: str = ""
    """Why botd guards it, empty where a leg does or should."""
    seen_s: float | None = None

    @property
    def place(self) -> str:
        """Where the stop is: exchange, botd, or nowhere proven yet."""
        return "exchange" if self.proven else "botd" if self.declared else "placing"


class ProtectiveOrders:
    """See the module."""

    def __init__(
        self,
        *,
        gateway: Gateway,
        positions: Callable[[], Iterable[Position]],
        journal: OrderJournal,
        clock: Clock,
        rules: ProtectionRules | None = None,
        unable: Callable[[str], str] | None = None,
    ) -> None:
        """``positions`` gives every bot that holds something or has a leg; ``unable`` says why the exchange takes no
        stop orders of a symbol now, empty where it does."""
        self.rules = rules or ProtectionRules()
        self._gateway = gateway
        self._positions = positions
        self._unable = unable or (lambda symbol: "")
        self._journal = journal
        self._clock = clock
        self._protected: dict[int, Protected] = {}
        self._written: dict[int, float] = {}

    async def run(self) -> None:
        """Protect for ever."""
        while True:
            try:
                self.step()
            except Exception:  # the task's boundary: one position must not end the others' protection
                logger.exception("protection: a step failed")
            await self._clock.sleep(STEP_S)

    def step(self) -> None:
        """Bring every position's protection one step further; called at boot before anything else trades, and often."""
        now, gone = self._clock.monotonic(), set(self._protected)
        for position in self._positions():
            gone.discard(position.number)
            try:
                self._tend(position, self._protected.setdefault(position.number, Protected()), now)
            except BotdError as error:
                logger.error("%s: its protection could not be looked after: %s", position.name, error.message)
        for number in gone:
            del self._protected[number]

    def where(self, bot: int) -> Protected | None:
        """Return what protects a bot's position, None where nothing is held."""
        return self._protected.get(bot)

    def rows(self) -> list[dict[str, Any]]:
        """Return a row for each position."""
        return [
            {"bot": bot, "stop": known.place, "seconds_unprotected": round(known.seconds, 1), "detail": known.declared}
            for bot, known in self._protected.items()
        ]

    # -- in the ledger

    def drain_changes(self) -> dict[str, str | None]:
        """Return by bot the seconds unprotected of its position, where they changed."""
        held = {bot: known.seconds for bot, known in self._protected.items() if known.seconds}
        changed: dict[str, str | None] = {str(b): repr(s) for b, s in held.items() if self._written.get(b) != s}
        changed |= {str(bot): None for bot in self._written.keys() - held.keys()}
        self._written = held
        return changed

    def restore(self, rows: Mapping[str, str]) -> None:
        """Take up what :meth:`drain_changes` gave."""
        self._written = {int(bot): float(seconds) for bot, seconds in rows.items()}
        self._protected = {bot: Protected(seconds=seconds) for bot, seconds in self._written.items()}

    # -- one position

    def _tend(self, position: Position, known: Protected, now: float) -> None:
        stop, instrument = position.stop(), position.instrument
        quantity = instrument.floor_quantity(position.quantity())
        wanted = stop is not None and quantity > ZERO and not position.exiting()
        self._count(known, now, needed=stop is not None and quantity > ZERO)
        leg = self._leg(position, known, now)
        if leg is not None:
            if stop is None or quantity <= ZERO:
                position.cancel(leg)
            elif wanted and self._differs(leg, known, stop, quantity, position, now):
                known.proven = False
                position.cancel(leg)  # the next leg waits for its outcome
            elif wanted and not leg.cancel_requested:
                self._verify(position, known, leg, now)
        elif wanted and stop is not None:
            self._place(position, known, stop, quantity, now)
        known.seen_s = now

    def _leg(self, position: Position, known: Protected, now: float) -> Order | None:
        """Return the working leg; learn from the one before how it ended."""
        working = [o for o in self._gateway.open_orders(bot=position.number) if o.purpose is Purpose.PROTECTION]
        if known.leg is not None and not known.leg.status.is_open:
            self._ended(position, known, known.leg, now)
            known.leg, known.proven = None, False
        if known.leg is None and working:  # after a restart
            known.leg, known.placed_s, known.asked, known.overdue = working[0], now, False, False
        return known.leg

    def _ended(self, position: Position, known: Protected, leg: Order, now: float) -> None:
        if leg.cancel_requested or leg.status is OrderStatus.FILLED or leg.filled:
            return
        self._failed(position, known, f"the leg is {leg.status.value}: {leg.reason}".rstrip(": "), now)

    def _place(self, position: Position, known: Protected, stop: float, quantity: Decimal, now: float) -> None:
        if now < known.rests_s:
            return
        known.declared = ""
        refusal = position.refusal() or self._unable(position.symbol) or self._crowded(position)
        if refusal:
            self._declare(position, known, refusal, now)
            return
        price = position.instrument.floor_price(Decimal(repr(stop)))
        leg = position.place(price, quantity)
        if leg is None or not leg.status.is_open:
            self._failed(position, known, "the leg was denied" if leg is None else leg.reason, now)
            return
        known.leg, known.placed_s, known.asked, known.proven, known.overdue = leg, now, False, False, False

    def _crowded(self, position: Position) -> str:
        """Return why the exchange takes no further stop order of this symbol."""
        most = position.instrument.max_algo_orders
        resting = sum(1 for order in self._gateway.open_orders(position.symbol) if order.type.has_trigger)
        if most and resting >= most:
            return f"the exchange takes {most} stop orders of {position.symbol}, and has them"
        return ""

    def _verify(self, position: Position, known: Protected, leg: Order, now: float) -> None:
        """A leg is proven by an answer to a question of its own, not by its acknowledgement alone."""
        if leg.status in (OrderStatus.OPEN, OrderStatus.PARTIAL) and not known.proven:
            if not known.asked:
                known.asked = True
                self._gateway.table.doubt(leg, "is the protective order there?")
            elif leg.client_order_id not in self._gateway.table.doubts:
                known.proven, known.failures = True, 0
                self._tell("protection.proven", position, known, leg.client_order_id)
                return
        if not known.proven and not known.overdue and now - known.placed_s >= self.rules.verify_s:
            known.overdue = True
            self._failed(position, known, f"the leg was not seen within {self.rules.verify_s:.0f} s", now)

    def _failed(self, position: Position, known: Protected, why: str, now: float) -> None:
        """A leg was refused or not seen. One that may yet be there stays: the next waits for its outcome."""
        known.failures += 1
        self._tell("protection.failed", position, known, why)
        logger.warning("%s: %s", position.name, why)
        if self.rules.policy == "flatten":
            position.flatten("unprotected")
        elif self.rules.policy == "bot_side" or known.failures >= self.rules.tries:
            self._declare(position, known, why, now)
        else:
            known.rests_s = now + self.rules.retry_s
            if known.leg is not None and known.leg.status.is_open:
                position.cancel(known.leg)

    def _declare(self, position: Position, known: Protected, why: str, now: float) -> None:
        known.declared, known.failures, known.rests_s = why, 0, now + self.rules.declared_s
        self._tell("protection.bot_side", position, known, why)

    def _differs(
        self, leg: Order, known: Protected, stop: float, quantity: Decimal, position: Position, now: float
    ) -> bool:
        """Tell whether the leg must make room for another: other quantity at once, another level when it pays."""
        if leg.cancel_requested:
            return False
        if leg.remaining != quantity:
            return True
        price = position.instrument.floor_price(Decimal(repr(stop)))
        moved = abs(price - (leg.stop_price or ZERO)) >= price * Decimal(repr(self.rules.move_by))
        return moved and now - known.placed_s >= self.rules.move_every_s

    def _count(self, known: Protected, now: float, *, needed: bool) -> None:
        """Add the time since the last look to what was unprotected."""
        if known.seen_s is not None and needed and not known.proven and not known.declared:
            known.seconds += now - known.seen_s

    def _tell(self, topic: str, position: Position, known: Protected, detail: str) -> None:
        data = {"symbol": position.symbol, "stop": known.place, "detail": detail, "seconds": f"{known.seconds:.1f}"}
        self._journal.event(Event(topic=topic, time_ms=self._clock.now_ms(), bot=position.name, data=data))
