"""Reconciliation: what the exchange says of the account, held against the books, all the time.

At the start, when the stream of our own events comes up, on a clock step, and by the clock: open orders, trades,
balances. An order that is missing is asked for; what is not ours is recorded; a difference that lasts and that
nothing explains degrades the bots it may concern. It never invents a trade, and it never sends an order.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from botd.domain.clock import Clock
from botd.domain.errors import BotdError, ConflictError, WrongStateError
from botd.domain.events import Event
from botd.domain.failpoints import failpoint
from botd.domain.instrument import split_symbol
from botd.domain.order import Fill, Order, OrderStatus, Report
from botd.exchange.remote import RemoteBalance, RemoteExchange, RemoteOrder
from botd.execution.account import AccountBook
from botd.execution.differences import Differences, came_in, may_come_of
from botd.execution.durable import OrderArchive
from botd.execution.evidence import Reading
from botd.execution.explain import Explained, explain
from botd.execution.gateway import Gateway
from botd.execution.household import Agenda, Household, Schedule
from botd.execution.learning import Learner
from botd.execution.orders import NEVER_PLACED, OrderJournal
from botd.execution.others import Others
from botd.execution.trade_reader import TradeReader

logger = logging.getLogger("botd.execution")

STEP_S = 0.5
LOOKS = 5  # the most for a person's question
_SEEN = frozenset({OrderStatus.OPEN, OrderStatus.PARTIAL})
_TOLD = "told by the exchange"


class Reconciler:
    """The account's books beside the exchange. It is the exchange's :class:`~botd.exchange.remote.AccountListener`."""

    def __init__(
        self,
        *,
        exchange: RemoteExchange,
        gateway: Gateway,
        learner: Learner,
        archive: OrderArchive,
        household: Household,
        journal: OrderJournal,
        clock: Clock,
        instance: str,
        testnet: bool = False,
        schedule: Schedule | None = None,
    ) -> None:
        self.schedule = schedule or Schedule()
        self.account = AccountBook()
        self.balances: dict[str, RemoteBalance] = {}
        self.ready = False
        """True once everything was looked at since the start."""
        self.others = Others(instance)
        self.reset_seen = False
        """A test network began anew: nothing of ours is there."""
        self._exchange = exchange
        self._gateway = gateway
        self._learner = learner
        self._archive = archive
        self._household = household
        self._journal = journal
        self._clock = clock
        self._testnet = testnet
        self._agenda = Agenda(self.schedule)
        self.differences = Differences(
            household, self.schedule.strikes, lambda d: self._tell("account.difference", **d)
        )
        self._looking = asyncio.Lock()
        self._begun_s = 0.0
        self.looked: set[str] = set()
        self._undecided = False
        """Balances differ, and it was not seen often enough to say what it means."""
        self._strays: list[Report] = []
        self._counts = dict.fromkeys(("looks", "failed", "transfers"), 0)
        self.trades = TradeReader(
            exchange=exchange, gateway=gateway, learner=learner, account=self.account, archive=archive, clock=clock,
            tell=journal.event, instance=instance,
        )  # fmt: skip
        gateway.table.on_booked = self._on_booked
        gateway.table.on_stray = self._strays.append
        gateway.table.on_zombie = self._on_zombie
        gateway.may_sell = lambda symbol: self.ready or symbol in self.trades.was_read
        exchange.listen_account(self)

    # -- what the exchange tells by itself

    def on_doubt(self, client_order_id: str, reason: str) -> None:
        order = self._gateway.table.find(client_order_id)
        if order is not None:
            self._gateway.table.doubt(order, reason)

    def on_foreign(self, order: RemoteOrder) -> None:
        self._note_other(order)
        if order.filled:
            self.trades.active.add(order.symbol)

    def on_transfer(self, asset: str, amount: Decimal, time_ms: int) -> None:
        if not self.account.was_inferred(asset, amount, time_ms):
            self._transfer(asset, amount, time_ms, _TOLD)

    def on_stream(self, up: bool) -> None:
        self._agenda.stream_up = up
        self._agenda.everything()  # up: what came before may have been missed; down: look oftener, from now on
        self.trades.active.update(order.symbol for order in self._gateway.open_orders())

    def on_clock_step(self) -> None:
        """The wall clock stepped: look at everything."""
        self._agenda.everything()

    # -- the task

    async def run(self) -> None:
        """Reconcile for ever."""
        while True:
            try:
                await self.step()
            except Exception:  # the task's boundary: whatever was told must not end the looking
                logger.exception("reconcile: a look failed")
            await self._clock.sleep(STEP_S)

    async def step(self) -> None:
        """Look at what is due. A look that fails is tried again soon; it proves nothing."""
        if self._begun_s == 0.0:
            self._begun_s = self._clock.monotonic()
        for what, look in (("orders", self._look_at_orders), ("balances", self._look_at_balances)):
            now = self._clock.monotonic()
            if not self._agenda.is_due(what, now):
                continue
            self._agenda.looked(what, now)
            try:
                failpoint("reconcile.before_look")
                async with self._looking:
                    await look()
                failpoint("reconcile.after_look")
                self._counts["looks"] += 1
                self.looked.add(what)
            except BotdError as error:
                self._counts["failed"] += 1
                self._agenda.again(what, self._clock.monotonic())
                logger.info("reconcile: %s could not be read: %s", what, error.message)
        if not self.ready and len(self.looked) == 2 and not self._undecided:
            self.ready, self._agenda.at_first = True, False
            logger.info("reconcile: the account was read")

    async def look_now(self) -> None:
        """Look at everything at once; again where a fill came meanwhile: books and balances shall be of one moment."""
        for _ in range(LOOKS):
            self._agenda.everything()
            await self.step()
            if not self.account.has_moved:
                return

    def refusals(self) -> list[str]:
        """Return why nothing may be opened on this account, a line each."""
        found = [] if self.ready else ["reconcile: the account was not read yet"]
        found += self.others.refusals()
        if self.reset_seen:
            found.append("the test network began anew: botctl reconcile --accept-reset")
        return found

    async def look(self, order: Order) -> Reading:
        """Read the account for traces of ``order`` (see :class:`botd.execution.resolver.Account`)."""
        async with self._looking:
            found = await self._exchange.find_open_orders(order.symbol)
            self.account.watch()
            balances = await self._exchange.find_balances()
            trades_clean = await self.trades.read(order.symbol)
            return Reading(
                orders_clean=all(other.client_order_id != order.client_order_id for other in found),
                trades_clean=trades_clean,
                balances_clean=not self.account.differences(balances, split_symbol(order.symbol)),
            )

    # -- what a person asks for

    def explain(self) -> Explained:
        """Return the owner of every unit of every asset, and whether the books match."""
        return explain(
            self.balances,
            self.account.expected,
            self._household.claims(),
            self._gateway.open_orders(),
            self.others.externals.values(),
        )

    def accept_difference(self, asset: str, by: str) -> Decimal:
        """Take an unexplained difference as a transfer: a person says it is one. Returns the amount."""
        amount = self.account.differences(self.balances, (asset,)).get(asset)
        if amount is None:
            raise ConflictError(f"{asset}: the books match", "see: botctl reconcile --explain")
        self._transfer(asset, amount, self._clock.now_ms(), f"accepted by {by}")
        self._agenda.everything()
        return amount

    async def accept_reset(self, by: str) -> list[Order]:
        """Begin anew on a test network that did; returns the orders that ended by it."""
        if not self.reset_seen:
            raise WrongStateError("the exchange did not begin anew", "see: botctl reconcile --explain")
        async with self._looking:
            now, balances = self._exchange.now_ms(), await self._exchange.find_balances()
            reason = f"the test network began anew, accepted by {by}"
            ended = [order for order in self._gateway.open_orders() if order.status is not OrderStatus.INTENT]
            for order in ended:
                end = OrderStatus.CANCELED if order.status in _SEEN else OrderStatus.NOT_PLACED
                self._gateway.table.finish(order, end, reason)
            self.account.begin_anew(balances, now)
            self._gateway.table.begin_anew(self.account.epoch)
            self.trades.vanished.clear()
            self.balances, self.reset_seen = balances, False
        self._tell("account.reset_accepted", by=by)
        self._judge({})
        return ended

    def cancel_foreign(self, instance: str) -> int:
        """Cancel the working orders of another instance; returns how many."""
        orders = self.others.foreign.get(instance, {})
        self._exchange.know({key: order.symbol for key, order in orders.items()})
        for client_order_id in orders:
            self._gateway.cancel_foreign(client_order_id)
        self._agenda.everything()
        return len(orders)

    # -- in the ledger

    def drain_changes(self) -> dict[str, str | None]:
        """Return the rows that changed since the last call."""
        return self.account.drain_changes()

    def restore(self, rows: Mapping[str, str]) -> None:
        """Take up what :meth:`drain_changes` gave."""
        self.account.restore(rows)
        self._gateway.table.epoch = self.account.epoch

    def statistics(self) -> dict[str, Any]:
        """Return counters and flags for ``health``."""
        degraded, externals = len(self.differences.degraded), len(self.others.externals)
        flags = {"ready": self.ready, "degraded": degraded, "externals": externals}
        return {**flags, **self._counts, "refusals": self.refusals()}

    # -- open orders

    async def _look_at_orders(self) -> None:
        table = self._gateway.table
        await self._take_strays()
        before = {order.client_order_id: order for order in table.open_orders()}
        seen = [order for order in before.values() if order.status in _SEEN]
        found = {order.client_order_id: order for order in await self._exchange.find_open_orders()}
        self.others.begin(found)
        for remote in [order for order in found.values() if not self._note_other(order)]:
            await self._judge_order(remote, before)
        for order in seen:
            if order.client_order_id not in found:
                table.doubt(order, "not among the exchange's open orders")
        self.trades.active.update(order.symbol for order in before.values())

    async def _judge_order(self, remote: RemoteOrder, before: Mapping[str, Order]) -> None:
        """Hold one working order of ours against the table."""
        order = self._gateway.table.find(remote.client_order_id)
        if order is None:
            kept = await self._archive.by_client_id(remote.client_order_id)
            if kept is None:
                self.others.without_intent[remote.client_order_id] = remote
                self._tell("reconcile.no_intent", client_order_id=remote.client_order_id, symbol=remote.symbol)
                logger.error("the exchange has %s, the ledger has no such intent", remote.client_order_id)
                return
            order = self.trades.adopt(kept)
        was_open = order.status.is_open
        if was_open or remote.client_order_id not in before:  # else it ended while the answer was on its way
            await self._learner.learn(order, remote)
            if not was_open and order.status not in NEVER_PLACED:  # those the table tells of
                self._on_zombie(order)

    def _on_zombie(self, order: Order) -> None:
        self._exchange.know({order.client_order_id: order.symbol})
        self._gateway.cancel_zombie(order)

    def _note_other(self, remote: RemoteOrder) -> bool:
        if not self.others.note(remote):
            return False
        self.trades.know_external(remote.symbol, remote.exchange_order_id)
        return True

    async def _take_strays(self) -> None:
        """Deliver what was reported of orders that only the ledger remembers."""
        strays, self._strays[:] = list(self._strays), []
        for report in strays:
            kept = await self._archive.by_client_id(report.client_order_id)
            if kept is not None:
                self.trades.adopt(kept)
                self._gateway.on_report(report)

    # -- trades and balances

    def _on_booked(self, fill: Fill) -> None:
        self.account.on_fill(fill)
        self.trades.active.add(fill.symbol)

    async def _look_at_balances(self) -> None:
        account = self.account
        if account.opened_ms is None:
            await self._open_account()
            return
        account.watch()
        self.balances = await self._exchange.find_balances()
        active, self.trades.active = self.trades.active if self.ready else set(self._symbols()), set()
        differences = await self._read_trades(active)
        if differences:
            concerned = {s for s in self._symbols() if differences.keys() & set(split_symbol(s))}
            differences = await self._read_trades(concerned - active)
        self._judge(differences)

    async def _open_account(self) -> None:
        """Begin the books with what the exchange holds, at a moment when no fill can be on its way."""
        fills, self._undecided = self._gateway.table.counts["fills"], True
        self.balances = await self._exchange.find_balances()
        await self._look_at_orders()
        now = self._exchange.now_ms()  # a trade from now on is in none of the two answers, or in the second alone
        same = await self._exchange.find_balances() == self.balances
        if not same or self._unsettled() or self._gateway.table.counts["fills"] != fills:
            self._agenda.again("balances", self._clock.monotonic())
            return
        self._undecided = False
        self.account.open(self.balances, now)
        self._tell("account.opened", **{asset: str(held.total) for asset, held in self.balances.items()})

    def _unsettled(self) -> list[Order]:
        """Return the working orders that may not be where the exchange said they are."""
        table = self._gateway.table
        return [o for o in table.open_orders() if o.client_order_id in table.doubts or o.status not in _SEEN]

    def _may_be_explained(self, differences: Mapping[str, Decimal]) -> bool:
        """Tell whether an order of before the restart, whose outcome is not known yet, may be what differs."""
        early = not self.ready and self._clock.monotonic() - self._begun_s < self.schedule.patience_s
        unknown = (order for order in self._gateway.open_orders() if order.status is OrderStatus.UNKNOWN)
        return early and may_come_of(unknown, differences)

    async def _read_trades(self, symbols: Iterable[str]) -> dict[str, Decimal]:
        """Read the trades of symbols; return what the balances differ by then."""
        held = {claim.symbol for claim in self._household.claims() if claim.quantity}
        first_held = sorted(symbols, key=lambda symbol: (symbol not in held, symbol))  # protection waits for those
        await self.trades.read_all(first_held)
        return self.account.differences(self.balances)

    def _symbols(self) -> set[str]:
        followed = {claim.symbol for claim in self._household.claims()} | set(self.account.cursors)
        return followed | {order.symbol for order in self._gateway.open_orders()}

    def _judge(self, differences: Mapping[str, Decimal]) -> None:
        """Say what a look at the balances means: nothing, a deposit, a new beginning, or trouble."""
        lasting = {} if self._may_be_explained(differences) else self.differences.note(differences)
        self._undecided = bool(differences) and not lasting
        if differences:
            self._agenda.again("balances", self._clock.monotonic())
        if not lasting:
            self.differences.agree(differences)
            return
        if self._began_anew():
            if not self.reset_seen:
                self.reset_seen = True
                self._tell("account.reset_seen")
                logger.warning("the test network began anew: none of our orders, trades and balances is there")
            return
        whole = lasting.keys() == differences.keys() and self.differences.are_steady(lasting)
        if whole and came_in(lasting, self._unsettled()):
            for asset, amount in lasting.items():
                self._transfer(asset, amount, self._clock.now_ms(), "nothing is missing elsewhere")
            self.differences.explained()
            self.differences.agree({})
            return
        self.differences.differ(lasting)

    def _began_anew(self) -> bool:
        """Tell whether a test network forgot everything: every cursor's trade, and every order of ours."""
        cursors = self.account.cursors
        gone = all(o.client_order_id in self._gateway.table.doubts for o in self._gateway.open_orders())
        return self._testnet and bool(cursors) and self.trades.vanished >= set(cursors) and gone

    def _transfer(self, asset: str, amount: Decimal, time_ms: int, why: str) -> None:
        self._counts["transfers"] += 1
        self.account.on_transfer(asset, amount)
        if why != _TOLD:
            self.account.infer(asset, amount, time_ms)
        self._household.on_transfer(asset, amount, time_ms)
        data = {"asset": asset, "amount": f"{amount:f}", "why": why}
        self._journal.event(Event(topic="account.transfer", time_ms=time_ms, data=data))

    def _tell(self, topic: str, **data: str) -> None:
        self._journal.event(Event(topic=topic, time_ms=self._clock.now_ms(), data=data))
