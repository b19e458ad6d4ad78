"""The execution room in front of an exchange across a network, on a virtual clock that a test moves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from decimal import Decimal
from typing import Any

from botd.domain.clock import VirtualClock
from botd.domain.errors import BotdError
from botd.domain.order import Fill, Order, OrderStatus
from botd.execution.durable import KeptOrder
from botd.execution.explain import Claim
from botd.execution.gateway import Committed, Gateway
from botd.execution.learning import Learner
from botd.execution.reconcile import Reconciler
from botd.execution.resolver import Resolver
from tests.fakes.fake_exchange import FakeJournal, buy
from tests.fakes.remote_exchange import RemoteFake


class Owner:
    """A bot that books its fills, and is told the rest."""

    def __init__(self, name: str = "alpha") -> None:
        self.name = name
        self.fills: list[Fill] = []
        self.ended: list[str] = []
        self.resurrected: list[tuple[str, str]] = []

    def on_fill(self, order: Order, fill: Fill) -> Decimal:
        self.fills.append(fill)
        return Decimal(0)

    def on_order_end(self, order: Order) -> None:
        self.ended.append(order.client_order_id)

    def on_resurrected(self, order: Order, ended_as: OrderStatus) -> None:
        self.resurrected.append((order.client_order_id, ended_as.value))


class RemoteRoom:
    """Household and archive too: one bot with BTC/USDT, and the orders that a test calls forgotten."""

    def __init__(self, *, testnet: bool = False, **held: str) -> None:
        self.clock = VirtualClock()
        self.exchange = RemoteFake(**(held or {"USDT": "10000"}))
        self.exchange.time_ms = self.clock.now_ms
        self.journal = FakeJournal()
        self.owner = Owner()
        self.kept: dict[str, KeptOrder] = {}
        self.commits: list[tuple[Order, Committed]] = []
        self.commit_at_once = True
        self.later: list[Callable[[], None]] = []
        self.told: list[tuple[str, Any]] = []
        self.gateway = Gateway(
            exchange=self.exchange, journal=self.journal, clock=self.clock, mode="live", instance="ABCDE",
            send_later=lambda delay, call: self.later.append(call), commit_intent=self.commit,
        )  # fmt: skip
        self.gateway.register(1, self.owner)
        learner = Learner(self.exchange, self.gateway)
        self.reconciler = Reconciler(
            exchange=self.exchange, gateway=self.gateway, learner=learner, archive=self, household=self,
            journal=self.journal, clock=self.clock, instance="ABCDE", testnet=testnet,
        )  # fmt: skip
        self.resolver = Resolver(
            exchange=self.exchange, gateway=self.gateway, learner=learner, account=self.reconciler, clock=self.clock
        )

    # -- the seams

    def commit(self, orders: Sequence[Order], then: Committed) -> None:
        self.commits.append((orders[0], then))
        if self.commit_at_once:
            then(None)

    async def by_client_id(self, client_order_id: str) -> KeptOrder | None:
        return self.kept.get(client_order_id)

    async def by_exchange_id(self, symbol: str, exchange_order_id: str) -> KeptOrder | None:
        return next((k for k in self.kept.values() if k.order.exchange_order_id == exchange_order_id), None)

    def claims(self) -> Iterable[Claim]:
        signed = [fill.quantity if fill.side == "buy" else -fill.quantity for fill in self.owner.fills]
        return [Claim(bot=1, name="alpha", symbol="BTC/USDT", quantity=sum(signed, Decimal(0)), cash=Decimal(1000))]

    def on_difference(self, bots: Sequence[int], reason: str) -> None:
        self.told.append(("difference", (list(bots), reason)))

    def on_agreement(self, bots: Sequence[int]) -> None:
        self.told.append(("agreement", list(bots)))

    def on_transfer(self, asset: str, amount: Decimal, time_ms: int) -> None:
        self.told.append(("transfer", (asset, str(amount))))

    # -- what a test does

    def order(self, quantity: str = "1", delay_s: float = 0.0, **changes: Any) -> Order:
        return self.gateway.submit(buy(**changes), Decimal(quantity), delay_s)

    def wait(self, seconds: float) -> None:
        self.clock.advance(self.clock.now_ms() + round(seconds * 1000))

    async def pass_time(self, seconds: float, step_s: float = 1.0) -> None:
        """Let time pass, with the resolver at work."""
        for _ in range(round(seconds / step_s)):
            await self.resolver.step()
            self.wait(step_s)
        await self.resolver.step()

    async def look(self, times: int = 1, every_s: float = 61.0) -> None:
        """Let reconciliation look at everything, so many times."""
        for _ in range(times):
            self.wait(every_s)
            await self.reconciler.step()

    def fail_commit(self, index: int = -1) -> None:
        self.commits[index][1](BotdError("ledger: the disk is full"))


def run(script: Coroutine[Any, Any, None]) -> None:
    """Run a test's script to its end."""
    asyncio.run(script)
