"""Order life over the wire: the live exchange, a real ledger, seeded faults, a daemon that dies in between.

The front's exchange keeps the books. Times of doubt are a twentieth of the real ones.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from botd.domain.clock import WallClock
from botd.domain.order import Intent, Order, OrderStatus, OrderType, Purpose, Side
from botd.exchange.binance.binance import BinanceExchange
from botd.exchange.binance.signing import make_signer
from botd.exchange.binance.site import Site
from botd.execution.client_ids import parse_client_order_id
from botd.execution.durable import DurableOrders
from botd.execution.evidence import Policy
from botd.execution.explain import Claim
from botd.execution.gateway import Gateway
from botd.execution.household import Schedule
from botd.execution.learning import Learner
from botd.execution.reconcile import Reconciler
from botd.execution.resolver import Resolver
from botd.ledger.store import Ledger
from tests.fakes.binance import BinanceFront
from tests.fakes.binance.exchange import DEFAULT_KEY
from tests.fakes.binance.exchange.fault_plan import ExchangeFaults
from tests.fakes.binance.exchange.wire import Exchange
from tests.fakes.ledger_rows import record
from tests.fakes.live_account import BTC, FAST, account, play, venue
from tests.fakes.remote_room import Owner
from tests.integration.test_live_exchange_faults import plan

QUICK = Policy(
    first_s=(0.05, 0.1, 0.2, 0.4), then_every_s=0.5, age_s=2.25, negatives=3, apart_s=0.5, alert_s=3, person_s=45
)
OFTEN = Schedule(orders_s=1.5, orders_without_stream_s=0.25, balances_s=1.0, again_s=0.5)
WORLD = {"mode": "live", "market": {"source": "exchange"}}


class Daemon:
    """What a botd has between its bots and the exchange."""

    def __init__(self, front: BinanceFront, home: Path, clock: WallClock | None = None) -> None:
        self.clock = clock or WallClock()
        self.ledger = Ledger.open(home / "ledger.db", WORLD, clock=self.clock)
        instance, journal = self.ledger.instance, self.ledger.journal
        self.site = Site(self.clock, timeout_s=0.3, rest=front.rest_url, ws_api=front.ws_url)
        self.exchange = BinanceExchange(
            site=self.site, signer=make_signer(DEFAULT_KEY.key, DEFAULT_KEY.secret), clock=self.clock, rules=FAST,
            owner_of=lambda text: made[1] if (made := parse_client_order_id(text)) and made[0] == instance else None,
        )  # fmt: skip
        durable = DurableOrders(self.ledger)
        self.gateway = Gateway(
            exchange=self.exchange, journal=journal, clock=self.clock, mode="live", instance=instance,
            send_later=lambda delay, call: None, commit_intent=durable.commit_intent,
        )  # fmt: skip
        self.owner = Owner()
        self.gateway.register(7, self.owner)
        learner = Learner(self.exchange, self.gateway)
        self.reconciler = Reconciler(
            exchange=self.exchange, gateway=self.gateway, learner=learner, archive=durable, household=self,
            journal=journal, clock=self.clock, instance=instance, schedule=OFTEN,
        )  # fmt: skip
        self.resolver = Resolver(
            exchange=self.exchange, gateway=self.gateway, learner=learner, account=self.reconciler, clock=self.clock,
            policy=QUICK,
        )  # fmt: skip
        journal.bot(record(7))
        loaded = self.ledger.load()
        self.reconciler.restore(loaded.kv.get("account", {}))
        self.gateway.restore_cancels(loaded.kv.get("cancels", {}))
        self.gateway.restore(loaded.open_orders, loaded.last_sequence, loaded.trade_ids)
        self.tasks: list[asyncio.Task[Any]] = []
        self.told: list[str] = []

    async def start(self) -> None:
        await self.exchange.start()
        await until(lambda: self.exchange.stream_is_up, 10)
        self.site.governor.orders.set_limits({"10S": 10_000})
        work = (self.reconciler.run(), self.resolver.run(), self.commits())
        self.tasks = [asyncio.create_task(one) for one in work]

    async def commits(self) -> None:
        while True:
            self.keep()
            await asyncio.sleep(0.02)

    def keep(self) -> None:
        self.ledger.journal.keyed("account", self.reconciler.drain_changes())
        self.ledger.journal.keyed("cancels", self.gateway.drain_cancels())
        self.ledger.commit()

    async def end(self, *, killed: bool) -> None:
        """``killed``: what was not committed is lost, and answers under way are not heard."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        self.gateway.close()
        if killed:
            self.exchange.listen(lambda report: None)
        await self.resolver.close()
        await self.exchange.close(budget_s=0.0 if killed else 1.0)
        if not killed:
            self.keep()
        await self.site.close()
        await self.ledger.close()

    # -- one household

    def claims(self) -> Iterable[Claim]:
        return [Claim(bot=7, name="alpha", symbol=BTC)]

    def on_difference(self, bots: Sequence[int], reason: str) -> None:
        self.told.append(reason)

    def on_agreement(self, bots: Sequence[int]) -> None: ...

    def on_transfer(self, asset: str, amount: Decimal, time_ms: int) -> None:
        self.told.append(f"{amount} {asset}")

    def buy(self, dice: random.Random) -> Order:
        kind = dice.choice((OrderType.MARKET, OrderType.LIMIT))
        price = Decimal(dice.choice(("50000", "60100"))) if kind is OrderType.LIMIT else None
        intent = Intent(
            bot=7, symbol=BTC, interval="1m", side=Side.BUY, type=kind, purpose=Purpose.EXIT, reason="signal",
            reference_price=60000.0, price=price,
        )  # fmt: skip
        return self.gateway.submit(intent, Decimal("0.001"))


async def until(condition: Callable[[], Any], seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


async def trading(daemon: Daemon, dice: random.Random, count: int) -> None:
    for _ in range(count):
        order = daemon.buy(dice)
        await asyncio.sleep(dice.random() * 0.03)
        if dice.random() < 0.4:
            daemon.gateway.cancel(order)


def settled(daemon: Daemon, made: Exchange) -> bool:
    """Tell whether both books say the same."""
    working = {order.client_id for order in made.books.open_orders("BTCUSDT")}
    ours = {order.client_order_id for order in daemon.gateway.open_orders()}
    quiet = not daemon.gateway.table.doubts and not daemon.resolver.rows()
    return quiet and working == ours and daemon.reconciler.ready and daemon.reconciler.explain().match


@pytest.mark.parametrize("seed", range(int(os.environ.get("BOTD_SEEDS", "3"))))
def test_nothing_is_lost_or_doubled_and_the_books_agree_when_the_faults_end(seed: int, tmp_path: Path) -> None:
    async def scene() -> None:
        dice = random.Random(f"life {seed}")
        made = Exchange({"USDT": "100000", "BTC": "1"}, faults=ExchangeFaults(plan(seed), seed))
        async with venue(made) as front:
            held = list(made.venue.faults.entries)
            for orders in (25, 15):
                made.venue.mend_all()  # signing in is not what is tried here
                daemon = Daemon(front, tmp_path)
                await daemon.start()
                if orders == 25:
                    await until(
                        lambda daemon=daemon: daemon.reconciler.ready, 10
                    )  # a birth is quiet: the gate sees to it
                made.venue.faults.entries = held
                await trading(daemon, dice, orders)
                assert daemon.told == []
                if orders == 25:
                    await daemon.end(killed=True)
            made.venue.mend_all()
            await until(lambda: settled(daemon, made), 15)
            assert daemon.told == []
            await daemon.end(killed=False)
            await check(made, tmp_path)

    play(scene, 60)


async def check(made: Exchange, home: Path) -> None:
    """Hold the ledger's rows against the exchange's books."""
    made.books.check()
    ledger = Ledger.open(home / "ledger.db", WORLD, clock=WallClock())
    fills = await ledger.query("SELECT trade_id, quantity FROM fills")
    booked = {row["trade_id"]: Decimal(row["quantity"]) for row in fills}
    assert booked == {str(trade.id): trade.quantity for trade in made.books.trades}
    known = set()
    for row in await ledger.query("SELECT client_order_id, status, filled FROM orders"):
        placed = made.books.of_client(row["client_order_id"])
        known |= {order.client_id for order in placed}
        assert len(placed) <= 1
        if placed:
            assert Decimal(row["filled"]) == placed[0].executed
            assert OrderStatus(row["status"]) not in (OrderStatus.NOT_PLACED, OrderStatus.REJECTED)
        else:
            assert row["status"] in ("not_placed", "rejected", "canceled", "denied")
    assert {order.client_id for order in made.books.orders.values()} == known
    await ledger.close()


@pytest.mark.parametrize("ahead_ms", [-30_000, 30_000])
def test_the_books_begin_at_the_exchanges_time_whatever_our_clock_says(ahead_ms: int, tmp_path: Path) -> None:
    class Wrong(WallClock):
        def now_ms(self) -> int:
            return super().now_ms() + ahead_ms

        wall_ms = now_ms

    async def scene() -> None:
        made = Exchange({"USDT": "100000", "BTC": "1"})
        async with venue(made) as front, account(front) as person:
            await person.settled(person.submit(quantity="0.005"))  # before botd is born: in what it opens with
            daemon = Daemon(front, tmp_path, Wrong())
            await daemon.start()
            await until(lambda: daemon.reconciler.ready, 10)
            for side in ("buy", "sell"):
                await person.settled(person.submit(side=side, quantity="0.01"))
            for _ in range(4):
                await daemon.reconciler.look_now()
            found = daemon.reconciler.explain()
            assert found.match and daemon.told == [], found.differences
            await daemon.end(killed=False)

    play(scene, 60)
