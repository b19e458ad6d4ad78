"""Orders go out to Binance, once, and what the answers prove comes back as reports.

Every request is a task of its own that nobody else can cancel. Whatever ends it, a report follows: the exchange's
answer as the table of outcomes reads it, a refusal where nothing was sent, and UNKNOWN for all that proves nothing.
A cancel that is not answered with the order's end is a doubt: only a question tells. Nothing is sent again here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any

from botd.domain.clock import Clock
from botd.domain.errors import BotdError
from botd.domain.failpoints import failpoint
from botd.domain.order import NOT_SENT, TURNED_AWAY, Order, OrderStatus, Purpose, Report
from botd.exchange.binance.client import Answer, NoAnswerError
from botd.exchange.binance.order_wire import WireOrder, order_params, pair_params, reports, wire_orders
from botd.exchange.binance.outcomes import Operation, Outcome, classify
from botd.exchange.binance.signing import Signer
from botd.exchange.binance.site import Site
from botd.exchange.binance.weights import ORDER_CALL
from botd.exchange.governor import Lane
from botd.exchange.remote import QueryFailedError, RemoteOrder

RECV_WINDOW_MS = 3_000
"""A request that was held up on its way for longer does not enter the engine."""
PATIENCE_S = {Lane.ENTRY: 5.0, Lane.PROTECTIVE: 30.0, Lane.CANCEL: 30.0}
"""How long a permit is waited for: an entry is worth less with every second."""

_ABSENT = 1_000
"""So many orders that the exchange knows nothing of stay known here, the last ones: one may show up late."""
_RULES, _RULES_IN_WORDS = (-1013, -1111, -1121), ("Filter failure: ", "Market is closed.")
"""Refusals by rules of the listing: it may have changed."""

logger = logging.getLogger("botd.exchange")

OwnerOf = Callable[[str], int | None]
"""The bot's number of a client order id of ours, None for anybody else's."""


class OrderDesk:
    """See the module. ``tell`` takes reports, ``doubt`` a client id and the reason to ask."""

    def __init__(
        self,
        site: Site,
        signer: Signer,
        *,
        clock: Clock,
        owner_of: OwnerOf,
        tell: Callable[[Report], None],
        doubt: Callable[[str, str], None],
    ) -> None:
        self._site = site
        self._signer = signer
        self._clock = clock
        self._owner_of = owner_of
        self._tell_report = tell
        self._doubt = doubt
        self._symbols: dict[str, str] = {}
        """Of orders that may be working, by client id: a cancel must name it."""
        self._absent: dict[str, None] = {}
        """Those of them that the exchange knew nothing of when it was asked, in that order."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._counts = {outcome.value: 0 for outcome in Outcome} | {"not_sent": 0}

    @property
    def known(self) -> int:
        """How many orders may be working, as far as anybody said."""
        return len(self._symbols)

    # -- what may be asked for

    def know(self, symbols: Mapping[str, str]) -> None:
        """Learn the symbols of orders that were sent before."""
        self._symbols.update(symbols)
        for client_order_id in symbols:
            self._absent.pop(client_order_id, None)

    def place(self, *orders: Order, list_id: str = "") -> None:
        """Send one order, or two as a pair named ``list_id``, in a task of its own."""
        symbol, ids = orders[0].symbol, [order.client_order_id for order in orders]
        self._site.attended.add(symbol)
        self._symbols.update(dict.fromkeys(ids, symbol))
        try:
            name = self._site.listing.name(symbol)
            params = pair_params(orders[0], orders[1], name, list_id) if list_id else order_params(orders[0], name)
        except (BotdError, ValueError) as error:
            asyncio.get_running_loop().call_soon(self._refuse, ids, f"cannot be sent: {error}")
            return
        path = "/api/v3/orderList/oco" if list_id else "/api/v3/order"
        is_entry = all(order.purpose is Purpose.ENTRY for order in orders)
        lane = Lane.ENTRY if is_entry else Lane.PROTECTIVE
        self._start(self._place(path, params, ids, symbol, lane, orders[0].bot), f"place {ids[0]}")

    def cancel(self, client_order_id: str) -> None:
        """Ask for an order's end, in a task of its own; of one leg of a pair it is the end of both."""
        symbol = self._symbols.get(client_order_id)
        if symbol is None:
            reason = "its symbol is not known here, so it was not cancelled"
            asyncio.get_running_loop().call_soon(self._doubt, client_order_id, reason)
            return
        self._start(self._cancel(client_order_id, symbol), f"cancel {client_order_id}")

    async def cancel_all(self, symbol: str) -> int:
        """End all working orders of a symbol, everybody's, in one request; return how many ended."""
        params = {"symbol": self._site.listing.name(symbol)}
        try:
            answer = await self._call("DELETE", "/api/v3/openOrders", params, Lane.CANCEL)
        except BotdError as error:
            raise QueryFailedError(error.message, error.hint) from None
        if classify(Operation.CANCEL, answer.status, answer.code, answer.message) is Outcome.NO_SUCH_ORDER:
            return 0
        if answer.status != 200:
            raise QueryFailedError(f"cancel of all {symbol}: {_words(answer)}")
        try:
            ended = wire_orders(answer.body)
        except ValueError as error:
            raise QueryFailedError(f"cancel of all {symbol}: {error}") from None
        self._tell_all(ended, symbol)
        return len(ended)

    async def close(self, budget_s: float) -> None:
        """Wait for answers under way; those that take longer are UNKNOWN."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=budget_s)
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=1.0)

    def forget(self, client_order_id: str, status: OrderStatus) -> None:
        """An order that has ended needs no cancel any more."""
        self._absent.pop(client_order_id, None)
        if not status.is_open:
            self._symbols.pop(client_order_id, None)

    def learn(self, client_order_id: str, found: RemoteOrder | None) -> None:
        """Take what the answer to a question says of an order; None: that the exchange knows nothing of it."""
        if found is not None:
            if found.status.is_open and self._owner_of(client_order_id) is not None:
                self._symbols[client_order_id] = found.symbol
            self.forget(client_order_id, found.status)
        elif client_order_id in self._symbols:
            self._absent[client_order_id] = None
            if len(self._absent) > _ABSENT:
                self.forget(next(iter(self._absent)), OrderStatus.NOT_PLACED)

    def statistics(self) -> dict[str, Any]:
        return {**self._counts, "under_way": len(self._tasks)}

    # -- one request

    async def _place(
        self, path: str, params: dict[str, Any], ids: list[str], symbol: str, lane: Lane, bot: int
    ) -> None:
        try:
            answer = await self._call("POST", path, params, lane, orders=len(ids), bot=bot)
            wires = _orders(answer, ids)
            outcome = classify(Operation.CREATE, answer.status, answer.code, answer.message, readable=wires is not None)
            self._counts[outcome] += 1
            if wires is not None and outcome is Outcome.PLACED:
                self._tell_all(wires, symbol)
            elif outcome.did_not_happen:
                if answer.code in _RULES or answer.message.startswith(_RULES_IN_WORDS):
                    self._site.doubted.add(symbol)
                self._refuse(ids, _words(answer) if outcome is Outcome.REJECTED else TURNED_AWAY + _words(answer))
            else:
                self._unknown(ids, _words(answer))
        except NoAnswerError as error:
            if error.sent:
                self._counts[Outcome.UNKNOWN] += 1
                self._unknown(ids, error.message)
            else:
                self._counts["not_sent"] += 1
                self._refuse(ids, NOT_SENT + error.message)
        except BotdError as error:  # the governor lets nothing through
            self._counts["not_sent"] += 1
            self._refuse(ids, NOT_SENT + error.message)
        except asyncio.CancelledError:
            self._unknown(ids, "botd stopped before the answer came")
            raise
        except Exception:  # a mistake of ours proves nothing about the order
            logger.exception("order %s: its answer was not taken", ids[0])
            self._unknown(ids, "its answer was not taken")

    async def _cancel(self, client_order_id: str, symbol: str) -> None:
        try:
            params = {"symbol": self._site.listing.name(symbol), "origClientOrderId": client_order_id}
            bot = self._owner_of(client_order_id) or 0
            answer = await self._call("DELETE", "/api/v3/order", params, Lane.CANCEL, bot=bot)
            wires = _orders(answer, [client_order_id])
            outcome = classify(Operation.CANCEL, answer.status, answer.code, answer.message, readable=wires is not None)
            self._counts[outcome] += 1
            if wires is not None and outcome is Outcome.CANCELED:
                self._tell_all(wires, symbol)
            else:
                self._doubt(client_order_id, f"cancel: {_words(answer)}")
        except BotdError as error:
            is_lost = isinstance(error, NoAnswerError) and error.sent
            self._counts[Outcome.UNKNOWN if is_lost else "not_sent"] += 1
            self._doubt(client_order_id, f"cancel: {'' if is_lost else 'not sent: '}{error.message}")
        except Exception:  # a mistake of ours proves nothing about the order
            logger.exception("cancel of %s: its answer was not taken", client_order_id)
            self._doubt(client_order_id, "cancel: its answer was not taken")

    async def _call(
        self, method: str, path: str, params: dict[str, Any], lane: Lane, *, orders: int = 0, bot: int = 0
    ) -> Answer:
        answer = await self._site.client.call(
            method,
            path,
            params,
            weight=ORDER_CALL,
            lane=lane,
            signer=self._signer,
            patience_s=PATIENCE_S[lane],
            recv_window_ms=RECV_WINDOW_MS,
            orders=orders,
            free=True,
            bot=bot,
        )
        failpoint("order.after_send")
        if answer.code == -1021:
            self._site.time.distrust()
        return answer

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:  # whoever was told did not take it
            logger.error("%s: what was told was not taken", task.get_name(), exc_info=error)

    # -- telling

    def _tell_all(self, wires: Iterable[WireOrder], symbol: str) -> None:
        for wire in wires:
            bot = self._owner_of(wire.id)
            if bot is None:
                continue
            for report in reports(wire, symbol, bot):
                self._tell(report)

    def _refuse(self, ids: Iterable[str], reason: str) -> None:
        for client_order_id in ids:
            self._say(client_order_id, OrderStatus.REJECTED, reason)

    def _unknown(self, ids: Iterable[str], reason: str) -> None:
        for client_order_id in ids:
            logger.warning("order %s: its outcome is unknown: %s", client_order_id, reason)
            self._say(client_order_id, OrderStatus.UNKNOWN, reason)

    def _say(self, client_order_id: str, status: OrderStatus, reason: str) -> None:
        now = self._clock.now_ms()
        self._tell(Report(client_order_id=client_order_id, status=status, time_ms=now, reason=reason[:200]))

    def _tell(self, report: Report) -> None:
        self.forget(report.client_order_id, report.status)
        self._tell_report(report)


def _orders(answer: Answer, ids: list[str]) -> list[WireOrder] | None:
    """Return the orders that an answer speaks of, where these are among them; None for any other answer."""
    if answer.status != 200:
        return None
    try:
        wires = wire_orders(answer.body)
    except ValueError:
        return None
    return wires if set(ids) <= {wire.id for wire in wires} else None


def _words(answer: Answer) -> str:
    """Return what the exchange said, for people."""
    if answer.code:
        return f"{answer.code} {answer.message}"
    return f"HTTP {answer.status}" + (", not an answer that can be read" if answer.status == 200 else "")
