"""Protective orders: a position with a stop has a leg that was seen on the exchange, or says that botd guards it.

    entry fills -> leg placed -> acknowledged -> asked for -> proven
    the level moves, or the quantity -> the old leg is cancelled -> its outcome -> the next leg
    an exit -> the exit cancels the leg, waits for its outcome, and sells what is left

A position with a target too has a pair: stop and target, of which one ends the other. Where the exchange takes no
pair, or refused this one, the stop rests alone and botd watches the target. A target that filled in part has lost its
stop: what is left of it is cancelled, and the next pair protects the rest.

After a restart legs that rest are taken up at once; one is placed as soon as the symbol's trades were read, since what
was sold meanwhile needs none, and the coins that lie there may be others'.

Never two live legs that could both sell, and never a leg beside an exit: whatever is not known is waited for. The
guard on botd's side goes on all the time. It places and cancels through the position's owner, who asks the risk gate.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any

from botd.domain.clock import Clock
from botd.domain.errors import BotdError
from botd.domain.events import Event
from botd.domain.instrument import ZERO
from botd.domain.order import Order, OrderStatus, Purpose
from botd.execution.gateway import Gateway
from botd.execution.orders import OrderJournal
from botd.execution.positions import Levels, Position, Protected, ProtectionRules, levels_of

__all__ = ["ProtectionRules", "ProtectiveOrders"]

logger = logging.getLogger("botd.execution")

STEP_S = 0.5


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
        unpaired: Callable[[str], str] | None = None,
    ) -> None:
        """``positions`` gives every bot that holds something or has a leg; ``unable`` says why the exchange takes no
        stop orders of a symbol now, ``unpaired`` why no pairs; empty where it does."""
        self.rules = rules or ProtectionRules()
        self._gateway = gateway
        self._positions = positions
        self._unable = unable or (lambda symbol: "")
        self._unpaired = unpaired or (lambda symbol: "the exchange takes no pairs")
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
            {
                "bot": bot,
                "stop": known.place,
                "target": known.target_place,
                "seconds_unprotected": round(known.seconds, 1),
                "detail": known.detail,
            }
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
        levels = levels_of(position)
        held = position.instrument.floor_quantity(position.quantity())
        known.beyond = ZERO if levels is None else held - levels.quantity
        self._count(known, now, needed=levels is not None)
        self._look_at_legs(position, known, now)
        if levels is None or levels.target is None:
            known.alone = ""
        if known.working:
            if known.broken:
                self._mend(position, known, now)
            elif levels is None:
                self._cancel(position, known)
            elif not position.exiting():
                self._keep(position, known, levels, now)
        elif levels is not None and not position.exiting():
            self._place(position, known, levels, now)
        known.seen_s = now

    def _look_at_legs(self, position: Position, known: Protected, now: float) -> None:
        """Learn how legs ended, and take up those of before a restart."""
        legs = (known.leg, known.target)
        if legs != (None, None) and not known.working:
            self._ended(position, known, now)
            known.leg = known.target = known.acted_s = None
            known.proven = False
        elif known.has_lost_target:  # its stop sells, or soon will
            known.target, known.alone_s = None, now + self.rules.move_every_s
        if not known.working:
            for order in self._gateway.open_orders(bot=position.number):
                if order.purpose is Purpose.PROTECTION:
                    known.placed_s, known.asked, known.overdue = now, False, False
                    known.target, known.leg = (order, known.leg) if order.is_target else (known.target, order)

    def _ended(self, position: Position, known: Protected, now: float) -> None:
        """Both legs have ended: by what was asked of them, or it is a failure."""
        leg, target = known.leg, known.target
        if leg is None or any(o is not None and (o.cancel_requested or o.filled) for o in (leg, target)):
            return
        why = f"{leg.status.value}: {leg.reason}".rstrip(": ")
        if target is None or known.proven or leg.status is not OrderStatus.REJECTED or leg.was_turned_away:
            self._failed(position, known, f"the leg is {why}", now)
        else:
            self._alone(position, known, f"the pair is {why}", now + self.rules.declared_s)

    def _mend(self, position: Position, known: Protected, now: float) -> None:
        """One leg of a pair acted, so the exchange ends the other: what it leaves must not rest without a stop."""
        known.proven = False
        if known.acted_s is None:
            known.acted_s = now
        elif now - known.acted_s >= self.rules.rest_s:
            if not known.leaves_dust(position.instrument):
                self._cancel(position, known)
            elif not known.declared:  # no other order could sell it: it is left where it may yet be sold
                self._declare(position, known, "what the target has left is too little for another order", now)

    def _keep(self, position: Position, known: Protected, levels: Levels, now: float) -> None:
        if any(leg.cancel_requested for leg in known.working):
            return
        if self._differs(position, known, levels, now):
            known.proven = False
            self._cancel(position, known)  # the next leg waits for its outcome
        elif known.leg is not None:
            self._verify(position, known, known.leg, now)

    def _cancel(self, position: Position, known: Protected) -> None:
        for leg in known.working:
            position.cancel(leg)

    def _place(self, position: Position, known: Protected, levels: Levels, now: float) -> None:
        if now < known.rests_s or not self._gateway.may_sell(position.symbol):
            return
        known.declared = ""
        refusal = position.refusal() or self._unable(position.symbol) or self._crowded(position)
        if refusal:
            self._declare(position, known, refusal, now)
            return
        single = Levels(levels.quantity, levels.stop)
        paired = levels.target is not None and self._may_pair(position, known, now)
        legs = position.place(levels if paired else single)
        if paired and not legs:
            self._alone(position, known, "the pair was denied", now + self.rules.declared_s)
            legs = position.place(single)
        if not legs or not legs[0].status.is_open:
            self._failed(position, known, legs[0].reason if legs else "the leg was denied", now)
            return
        known.leg, known.target = legs[0], legs[1] if len(legs) > 1 else None
        known.alone = "" if known.target is not None else known.alone
        known.placed_s, known.asked, known.proven, known.overdue = now, False, False, False

    def _may_pair(self, position: Position, known: Protected, now: float) -> bool:
        """Tell whether the target may rest beside the stop; say why not where that is new."""
        if now < known.alone_s:
            return False
        why = self._unpaired(position.symbol)
        if why and why != known.alone:
            self._alone(position, known, why, now)
        return not why

    def _alone(self, position: Position, known: Protected, why: str, until_s: float) -> None:
        known.alone, known.alone_s = why, until_s
        self._tell("protection.target_bot_side", position, known, why)

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
            self._cancel(position, known)

    def _declare(self, position: Position, known: Protected, why: str, now: float) -> None:
        known.declared, known.failures, known.rests_s = why, 0, now + self.rules.declared_s
        self._tell("protection.bot_side", position, known, why)

    def _differs(self, position: Position, known: Protected, levels: Levels, now: float) -> bool:
        """Tell whether the legs must make room for others: other quantity at once, other levels when it pays."""
        leg = known.leg
        if leg is None or leg.remaining != levels.quantity:
            return leg is not None
        if now - known.placed_s < self.rules.move_every_s:
            return False
        by = levels.stop * Decimal(repr(self.rules.move_by))
        if abs(levels.stop - (leg.stop_price or ZERO)) >= by:
            return True
        if known.target is None:
            return levels.target is not None and self._may_pair(position, known, now)
        return levels.target != known.target.price

    def _count(self, known: Protected, now: float, *, needed: bool) -> None:
        """Add the time since the last look to what was unprotected."""
        if known.seen_s is not None and needed and not known.proven and not known.declared:
            known.seconds += now - known.seen_s

    def _tell(self, topic: str, position: Position, known: Protected, detail: str) -> None:
        data = {"symbol": position.symbol, "stop": known.place, "target": known.target_place, "detail": detail}
        data["seconds"] = f"{known.seconds:.1f}"
        self._journal.event(Event(topic=topic, time_ms=self._clock.now_ms(), bot=position.name, data=data))
