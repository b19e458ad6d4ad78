"""The resolver: an order whose outcome is not known is asked for until there is evidence.

It takes up every UNKNOWN order and every one that the order table calls doubtful, asks by client id, and ends
a case by what the exchange answers, by the proofs of :mod:`botd.execution.evidence`, or by a person. Errors and
time that passes end nothing; it never sends an order.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Protocol

from botd.domain.clock import Clock
from botd.domain.errors import BotdError, NotFoundError, WrongStateError
from botd.domain.order import Order, OrderStatus
from botd.exchange.remote import RemoteExchange
from botd.execution import evidence
from botd.execution.evidence import Case, Policy, Reading
from botd.execution.gateway import Gateway
from botd.execution.learning import Learner

logger = logging.getLogger("botd.execution")

STEP_S = 0.5


class Account(Protocol):
    """Who can look at the whole account: reconciliation."""

    async def look(self, order: Order) -> Reading:
        """Read open orders, trades and balances, and say whether they are clean of ``order``.

        UnavailableError: they could not be read.
        """
        ...


class Resolver:
    """One case for each order in doubt."""

    def __init__(
        self,
        *,
        exchange: RemoteExchange,
        gateway: Gateway,
        learner: Learner,
        account: Account,
        clock: Clock,
        policy: Policy | None = None,
    ) -> None:
        self.policy = policy or Policy()
        self._exchange = exchange
        self._gateway = gateway
        self._learner = learner
        self._account = account
        self._clock = clock
        self._cases: dict[str, Case] = {}
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._counts = dict.fromkeys(("opened", "answered", "not_placed", "by_person", "errors"), 0)

    async def run(self) -> None:
        """Resolve for ever."""
        while True:
            try:
                self.begin()
            except Exception:  # the task's boundary: one case must not end the others
                logger.exception("resolver: a step failed")
            await self._clock.sleep(STEP_S)

    async def step(self) -> None:
        """Do what is due now, and wait for its answers."""
        self.begin()
        await asyncio.gather(*self._asking.values())

    async def close(self) -> None:
        """Stop asking."""
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def begin(self) -> None:
        """Open and close cases as the order table says, and ask what is due; an answer is not waited for."""
        self._update_cases()
        now = self._clock.monotonic()
        for case in self._cases.values():
            self._alert(case, now)
            if now >= case.next_s and case.client_order_id not in self._asking:
                evidence.asked(case, now, self.policy)
                task = asyncio.get_running_loop().create_task(self._ask(case), name=f"ask {case.client_order_id}")
                self._asking[case.client_order_id] = task

    def resolve(self, client_order_id: str, by: str) -> Order:
        """End a case by a person's decision that the order does not work at the exchange.

        NotFoundError: no such order in doubt. WrongStateError: too early, or the exchange says otherwise.
        """
        self._update_cases()
        case = self._cases.get(client_order_id)
        order = self._gateway.table.find(client_order_id)
        if case is None or order is None:
            raise NotFoundError(f"{client_order_id}: no such order in doubt", "see: botctl orders --status unknown")
        now, policy = self._clock.monotonic(), self.policy
        left = policy.person_s - case.age_s(now)
        if left > 0:
            raise WrongStateError(
                f"{client_order_id}: {evidence.told(case, now)}",
                f"the exchange is still being asked; a person may decide in {left / 60:.0f} min",
            )
        if case.works:
            raise WrongStateError(f"{client_order_id}: works at the exchange", "cancel it first: botctl stop BOT")
        end = OrderStatus.NOT_PLACED if order.status is OrderStatus.UNKNOWN else OrderStatus.CANCELED
        self._gateway.table.finish(order, end, f"decided by {by}; {evidence.told(case, now)}")
        self._counts["by_person"] += 1
        self._update_cases()
        return order

    def rows(self) -> list[dict[str, Any]]:
        """Return the open cases: what was observed, and what a proof lacks."""
        now = self._clock.monotonic()
        return [
            {
                "client_order_id": case.client_order_id,
                "age_s": round(case.age_s(now), 1),
                "asked": case.asked,
                "negatives": case.negatives,
                "errors": case.errors,
                "lacks": [proof.missing for proof in evidence.missing(case, now, self.policy)],
            }
            for case in self._cases.values()
        ]

    def statistics(self) -> dict[str, Any]:
        """Return counters for ``health``."""
        return {"open": len(self._cases), **self._counts}

    # -- inside

    def _update_cases(self) -> None:
        self._gateway.doubt_silence()
        table, now = self._gateway.table, self._clock.monotonic()
        doubtful = {o.client_order_id: o for o in table.open_orders() if o.status is OrderStatus.UNKNOWN}
        for client_order_id in table.doubts:
            order = table.find(client_order_id)
            if order is not None:
                doubtful[client_order_id] = order
        for gone in self._cases.keys() - doubtful.keys():
            del self._cases[gone]
        for client_order_id, order in doubtful.items():
            existed = order.status.rank >= OrderStatus.OPEN.rank or bool(order.exchange_order_id)
            if client_order_id not in self._cases:
                self._cases[client_order_id] = evidence.begin(client_order_id, now, self.policy, existed=existed)
                self._counts["opened"] += 1
            self._cases[client_order_id].existed |= existed

    async def _ask(self, case: Case) -> None:
        try:
            order = self._gateway.table.find(case.client_order_id)
            if order is not None and order.status.is_open:
                await self._ask_about(case, order)
        except BotdError as error:
            evidence.heard_nothing(case)
            self._counts["errors"] += 1
            logger.info("order %s: no answer: %s", case.client_order_id, error.message)
        except Exception:  # the task's boundary: one question's failure must not end the others
            evidence.heard_nothing(case)
            self._counts["errors"] += 1
            logger.exception("order %s: asking failed", case.client_order_id)
        finally:
            del self._asking[case.client_order_id]

    async def _ask_about(self, case: Case, order: Order) -> None:
        found = await self._exchange.find_order(order.symbol, order.client_order_id)
        if found is not None:
            self._counts["answered"] += 1
            case.works = found.status.is_open
            await self._learner.learn(order, found)
            return
        now, case.works = self._clock.monotonic(), False
        evidence.heard_no(case, now, self.policy)
        if evidence.look_is_due(case, now, self.policy):
            reading = await self._account.look(order)
            evidence.read(case, reading, now)
        now = self._clock.monotonic()
        if order.status is OrderStatus.UNKNOWN and not evidence.missing(case, now, self.policy):
            self._counts["not_placed"] += 1
            self._gateway.table.finish(order, OrderStatus.NOT_PLACED, evidence.told(case, now))

    def _alert(self, case: Case, now: float) -> None:
        if case.alerted or case.age_s(now) < self.policy.alert_s:
            return
        case.alerted = True
        order = self._gateway.table.find(case.client_order_id)
        if order is not None:
            lacks = ", ".join(proof.missing for proof in evidence.missing(case, now, self.policy))
            words = evidence.told(case, now)
            self._gateway.table.tell("order.unresolved", order, told=words, lacks=lacks, alarm="yes")
            logger.warning("order %s is unresolved: %s; %s", case.client_order_id, words, lacks)
