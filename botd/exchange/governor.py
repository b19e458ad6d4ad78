"""One ledger of request weight for the address that botd calls the exchange from.

Whoever wants to send a REST request takes a :class:`Permit` first and tells it what came back. The exchange
counts weight by the minute of *its* clock and says in every answer what it has counted: that is the truth,
and what is under way is added to it. Each lane may use the budget up to its own share, so that history never
takes what an order needs; history is also spread over the minute. Orders are counted apart (:mod:`.order_counts`):
who waits for that count holds up nobody but orders.

After a 429 or 418 nothing is sent until ``Retry-After`` is over, to the second; then one request alone, and the
others when it was answered. The governor sends nothing, knows no endpoint but its weight, and keeps no key.
"""

from __future__ import annotations

import asyncio
import enum
import heapq
import itertools
import logging
from collections.abc import Mapping
from types import TracebackType
from typing import Any

import msgspec

from botd.domain.clock import Clock
from botd.domain.errors import BusyError, UnavailableError
from botd.exchange.order_counts import Bill, OrderCounts

MINUTE_MS, WEIGHT_LIMIT = 60_000, 6000
GUARD_MS = 500
"""So long after the full minute the one before counts on: clocks differ, and requests take their time."""
USED_HEADER = "X-MBX-USED-WEIGHT-1M"
_BAN_S = 120.0  # the shortest ban there is: 418 without Retry-After
_FORBIDDEN_S = 300.0  # 403: at least
_REGION_S = 3600.0  # nothing will change soon
_MARGIN_S = 1.0
"""Added to Retry-After, which comes in whole seconds."""
_LOOK_S = 0.25  # those who wait are looked at so often
_TOO_MANY_ORDERS = -1015

logger = logging.getLogger("botd.exchange")


class Lane(enum.IntEnum):
    """Who asks; the smaller goes first."""

    PROTECTIVE = 0
    """Exits and stops."""
    CANCEL = 1
    RECONCILE = 2
    ENTRY = 3
    MARKET = 4
    HISTORY = 5


_SHARE = {
    Lane.PROTECTIVE: 1.0,
    Lane.CANCEL: 0.97,
    Lane.RECONCILE: 0.9,
    Lane.ENTRY: 0.85,
    Lane.MARKET: 0.75,
    Lane.HISTORY: 0.5,
}
_PACED = {Lane.HISTORY}


class Permit:
    """The right to send one request: ``async with governor.permit(...) as permit``, then :meth:`answered`.

    A request that was never answered stays counted: nobody knows.
    """

    __slots__ = ("_governor", "bot", "free", "is_open", "lane", "orders", "patience_s", "sent_ms", "weight")

    def __init__(
        self, governor: Governor, weight: int, lane: Lane, patience_s: float, orders: int, free: bool, bot: int
    ) -> None:
        self.weight = weight
        self.lane = lane
        self.patience_s = patience_s
        self.orders = orders
        self.free = free
        self.bot = bot
        self.sent_ms = 0
        self.is_open = False
        self._governor = governor

    async def __aenter__(self) -> Permit:
        await self._governor.enter(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        if self.is_open:
            self._governor.leave(self, None, {})

    def answered(self, status: int, headers: Mapping[str, str], code: int = 0) -> None:
        """Take the exchange's word for what was used, and for whether it wants to hear from us.

        ``code`` is the one in the body of a refusal: too many *orders* silence orders only.
        """
        if self.is_open:
            self._governor.leave(self, status, headers, code)

    def not_sent(self) -> None:
        """No byte of the request left: it counts for nothing."""
        if self.is_open:
            self._governor.take_back(self)


class Governor:
    """See the module. ``limit`` is the exchange's weight a minute for one address."""

    def __init__(self, clock: Clock, *, limit: int = WEIGHT_LIMIT) -> None:
        self.limit = limit
        self._clock = clock
        self._offset_ms = 0
        self._minute = 0
        self._told = 0
        """What the exchange says was used in this minute of its clock; what it did not say is counted by us."""
        self._before = 0
        """The same of the minute before: it counts on for a moment."""
        self._under_way = 0
        self._open = 0
        self._blocked_s = 0.0
        """Monotonic time until which nothing is sent."""
        self._why = ""
        self._on_trial = False
        """After a block: one request alone."""
        self._paced_s = 0.0
        self.orders = OrderCounts(lambda: self.server_ms, clock.monotonic)
        self.bills: dict[int, Bill] = {}
        """What each bot has used, by its number."""
        self._waiting: list[tuple[int, int, float, asyncio.Future[None], Permit]] = []
        self._order = itertools.count()
        self._pump: asyncio.Task[None] | None = None
        self._counts = dict.fromkeys(("sent", "answered", "unanswered", "waited", "refused", "429", "418", "403"), 0)

    # -- for those who ask ----------------------------------------------------------------------------

    def permit(
        self, weight: int, lane: Lane, *, patience_s: float = 30.0, orders: int = 0, free: bool = False, bot: int = 0
    ) -> Permit:
        """Return a permit to enter: BusyError when it would take longer than ``patience_s``, UnavailableError
        while the exchange does not want to hear from us and that will not be over by then.

        ``orders``: how many orders it places; ``free``: it weighs nothing when it succeeds; ``bot`` pays for it.
        """
        return Permit(self, weight, lane, patience_s, orders, free, bot)

    def set_offset(self, offset_ms: int) -> None:
        """Say by how much the exchange's clock is ahead of ours."""
        self._offset_ms = offset_ms

    @property
    def server_ms(self) -> int:
        """The exchange's time, as far as it is known: ours until it was measured."""
        return self._clock.now_ms() + self._offset_ms

    @property
    def blocked_s(self) -> float:
        """For how long nothing may be sent; 0: it may."""
        return max(0.0, self._blocked_s - self._clock.monotonic())

    @property
    def used(self) -> int:
        """The weight used in the exchange's present minute, with what is under way."""
        self._turn_minute()
        return (max(self._told, self._before) if self._in_guard else self._told) + self._under_way

    @property
    def why(self) -> str:
        """Why nothing is sent now; empty when it is."""
        return self._why if self.blocked_s else ""

    def hold(self, seconds: float, why: str) -> None:
        """Send nothing for so long: what the exchange has asked for holds for a botd started anew, too."""
        self._blocked_s, self._why = max(self._blocked_s, self._clock.monotonic() + seconds), why
        self._on_trial = True

    @property
    def detail(self) -> str:
        """Why nothing is sent now and for how long; empty when it is."""
        left = self.blocked_s
        return f"{self._why}, {left:.0f} s left" if left else ""

    def statistics(self) -> dict[str, Any]:
        return {
            "used": self.used,
            "limit": self.limit,
            "under_way": self._open,
            "waiting": len(self._waiting),
            "blocked_s": round(self.blocked_s, 1),
            **self._counts,
        }

    def limits(self) -> dict[str, Any]:
        """Return what ``botctl limits`` shows: weight, order counts, and every bot's bill."""
        bills = {bot: msgspec.structs.asdict(bill) for bot, bill in sorted(self.bills.items())}
        return {"weight": self.statistics(), "orders": self.orders.statistics(), "bots": bills}

    # -- what permits call ----------------------------------------------------------------------------

    async def enter(self, permit: Permit) -> None:
        """Wait until the permit's request may be sent; see :meth:`permit`."""
        now = self._clock.monotonic()
        self._refuse_if_blocked(permit.patience_s)
        if not self._waiting and not self._order_wait_s(permit) and not self._wait_s(permit):
            self._send(permit)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (int(permit.lane), next(self._order), now + permit.patience_s, future, permit)
        heapq.heappush(self._waiting, entry)
        self._release()
        if not future.done():
            self._counts["waited"] += 1
            if self._pump is None or self._pump.done():
                self._pump = asyncio.get_running_loop().create_task(self._pump_waiting(), name="request-weight")
        try:
            await future
        except asyncio.CancelledError:
            if permit.is_open:
                self.take_back(permit)
            raise

    def leave(self, permit: Permit, status: int | None, headers: Mapping[str, str], code: int = 0) -> None:
        """Count an answer; ``status`` None: there was none."""
        permit.is_open = False
        self._open -= 1
        self._turn_minute()
        self._under_way -= permit.weight
        self._count(permit, status, headers)
        if permit.orders:
            counted = status is None or status == 200 or status >= 500
            self.orders.answered(permit.orders, permit.sent_ms, headers, counted=counted)
        if code == _TOO_MANY_ORDERS:
            self.orders.refused(_number(headers.get("Retry-After")))
            self._on_trial = False
        elif status is not None and status in (403, 418, 429, 451):
            self._block(status, headers)
        elif status is not None:
            self._on_trial = False
        self._release()

    def take_back(self, permit: Permit) -> None:
        """The request was let through and then not sent."""
        permit.is_open = False
        self._open -= 1
        self._under_way -= permit.weight
        self.orders.taken_back(permit.orders)
        self._release()

    # -- counting -------------------------------------------------------------------------------------

    @property
    def _in_guard(self) -> bool:
        return self.server_ms % MINUTE_MS < GUARD_MS

    def _turn_minute(self) -> None:
        minute = self.server_ms // MINUTE_MS
        if minute > self._minute or minute < self._minute - 1:  # or a step of our clock was taken back
            self._before = self._told if minute == self._minute + 1 else 0
            self._minute, self._told = minute, 0

    def _count(self, permit: Permit, status: int | None, headers: Mapping[str, str]) -> None:
        self._counts["unanswered" if status is None else "answered"] += 1
        weight = 0 if permit.free and status == 200 else permit.weight
        bill = self.bills.setdefault(permit.bot, Bill())
        bill.requests += 1
        bill.weight += weight
        bill.orders += permit.orders
        bill.failed += status != 200
        told = _number(headers.get(USED_HEADER))
        if told is None:
            self._told += weight
            return
        near_the_turn = self._in_guard or permit.sent_ms // MINUTE_MS < self._minute
        if near_the_turn and 0 < self._before <= told:
            self._told += weight  # the header speaks of the minute before
        else:
            self._told = max(self._told, int(told))

    def _block(self, status: int, headers: Mapping[str, str]) -> None:
        after = _number(headers.get("Retry-After"))
        if status == 403:
            seconds, why = max(_FORBIDDEN_S, after or 0.0), "403: the exchange's firewall refuses this address"
        elif status == 451:
            seconds, why = _REGION_S, "451: the exchange does not serve this region"
        elif status == 418:
            seconds, why = _BAN_S if after is None else after, "418: this address is banned"
        else:
            rest_of_minute = (MINUTE_MS + GUARD_MS - self.server_ms % MINUTE_MS) / 1000
            seconds, why = rest_of_minute if after is None else after, "429: too many requests"
        self._counts["403" if status == 451 else str(status)] += 1
        until = self._clock.monotonic() + seconds + _MARGIN_S
        if until > self._blocked_s:
            self._blocked_s, self._why = until, why
            logger.warning("exchange: %s; nothing is sent for %.0f s", why, seconds)
        self._on_trial = True

    # -- letting through ------------------------------------------------------------------------------

    def _release(self) -> None:
        """Let those go that may, the most important first; nobody overtakes who waits in a better lane."""
        held = []
        while self._waiting:
            entry = self._waiting[0]
            future, permit = entry[3:]
            if not future.done():
                if self._order_wait_s(permit) > 0:
                    held.append(entry)  # cancels and questions behind it go on
                elif self._wait_s(permit) > 0:
                    break
                else:
                    self._send(permit)
                    future.set_result(None)
            heapq.heappop(self._waiting)
        for entry in held:
            heapq.heappush(self._waiting, entry)

    def _order_wait_s(self, permit: Permit) -> float:
        return self.orders.wait_s(permit.orders, _SHARE[permit.lane]) if permit.orders else 0.0

    def _wait_s(self, permit: Permit) -> float:
        """Return how long a request has to wait at least; 0: it may go."""
        if (blocked := self.blocked_s) > 0:
            return blocked
        if self._on_trial and self._open:
            return _LOOK_S
        if (used := self.used) and used + permit.weight > self._most(permit):
            return min(_LOOK_S, self._turn_s()) if self._open else self._turn_s()
        if permit.lane in _PACED:
            return max(0.0, self._paced_s - self._clock.monotonic())
        return 0.0

    def _most(self, permit: Permit) -> float:
        return self.limit * _SHARE[permit.lane]

    def _turn_s(self) -> float:
        """Return in how many seconds a minute is over for certain."""
        left = GUARD_MS - self.server_ms % MINUTE_MS
        return (left if left > 0 else left + MINUTE_MS) / 1000

    def _send(self, permit: Permit) -> None:
        permit.is_open = True
        permit.sent_ms = self.server_ms
        self._open += 1
        self._under_way += permit.weight
        self.orders.sent(permit.orders)
        self._counts["sent"] += 1
        if permit.lane in _PACED:
            now = self._clock.monotonic()
            self._paced_s = max(now, self._paced_s) + permit.weight * 60.0 / self._most(permit)

    async def _pump_waiting(self) -> None:
        """Look again when time has passed; what an answer sets free goes at once, by :meth:`leave`."""
        while self._waiting:
            first = self._waiting[0][4]
            await self._clock.sleep(min(_LOOK_S, max(0.001, self._wait_s(first), self._order_wait_s(first))))
            self._refuse_the_impatient()
            self._release()

    def _refuse_the_impatient(self) -> None:
        now = self._clock.monotonic()
        for _, _, until, future, permit in self._waiting:
            if not future.done() and now >= until:
                self._counts["refused"] += 1
                future.set_exception(self._refusal(permit))
            elif not future.done() and self._blocked_s > until:
                self._counts["refused"] += 1
                future.set_exception(UnavailableError(self.detail, "it goes on by itself"))
        self._waiting = [entry for entry in self._waiting if not entry[3].done()]
        heapq.heapify(self._waiting)

    def _refuse_if_blocked(self, patience_s: float) -> None:
        if self.blocked_s > patience_s:
            self._counts["refused"] += 1
            raise UnavailableError(self.detail, "it goes on by itself")

    def _refusal(self, permit: Permit) -> BusyError | UnavailableError:
        if self.blocked_s:
            return UnavailableError(self.detail, "it goes on by itself")
        if self._order_wait_s(permit):
            return BusyError("the account's order count is used up", "it goes on with the next window")
        return BusyError(
            f"the exchange's request weight is used up: {self.used} of {self.limit}, {permit.lane.name.lower()} may "
            f"use {self._most(permit):.0f}",
            "it goes on with the next minute",
        )


def _number(text: str | None) -> float | None:
    """Return a header's number; None where there is none."""
    try:
        value = float(text) if text is not None else None
    except ValueError:
        return None
    return value if value is not None and 0 <= value < 1e9 else None
