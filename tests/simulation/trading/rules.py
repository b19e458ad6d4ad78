"""What must always be true, held against the exchange's own books: the invariants I1-I9 and A1-A9 of live trading.

:meth:`Rules.look` is called every simulated second, :meth:`Rules.durable` on the ledger's file after each end of a
process, :meth:`Rules.final` when the faults are over. A rule that does not hold raises :class:`Broken`.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from botd.bot.intents import market_entry, risk_request
from botd.domain.order import Fill, Intent, Order, OrderStatus, Purpose, Side, offered
from botd.exchange.remote import RemoteBalance
from botd.execution.client_ids import parse_client_order_id
from botd.execution.explain import explain
from botd.execution.orders import OrderTable
from botd.ledger import agreement, audit, double_entry, replay
from botd.ledger.accounting import BotBook
from botd.ledger.checksums import damages
from botd.ledger.lots import FifoBook
from botd.orchestrator.household import claims
from tests.fakes.binance.exchange.books import Books
from tests.fakes.binance.exchange.orders import Order as TrueOrder
from tests.simulation.trading.life import Life
from tests.simulation.trading.market import SYMBOLS
from tests.simulation.trading.network import Network

ZERO = Decimal(0)
NEVER = ("rejected", "not_placed", "denied")
_ENDED = {"CANCELED": "canceled", "EXPIRED": "expired", "FILLED": "filled", "REJECTED": "rejected"}
_MAY_TRADE = {"", "INSUFFICIENT_FUNDS", "BUDGET_EXCEEDED", "DUPLICATE_ORDER", "RATE_LIMIT", "MAX_OPEN_ORDERS"}
_MAY_TRADE |= {"MAX_POSITION", "MAX_EXPOSURE", "MAX_ORDER_VALUE", "MAX_ORDER_SIZE", "SELF_TRADE", "FILTER"}


class Broken(AssertionError):
    """A rule does not hold."""


class Rules:
    """See the module. What was seen of a life goes with it; what was acknowledged stays."""

    def __init__(self, network: Network, path: Path) -> None:
        self.acknowledged: set[str] = set()
        """Bots whose creation was answered (I7)."""
        self.counts: Counter[str] = Counter()
        self._network = network
        self._path = path
        self._seen: dict[str, tuple[int, Decimal]] = {}
        self._checked = 0
        self._instance = ""
        self._life: Life | None = None

    @property
    def books(self) -> Books:
        return self._network.venue.books

    # -- while it lives

    def begin(self, life: Life) -> None:
        """Look at another life."""
        self._life = life
        self._seen.clear()

    def begin_none(self) -> None:
        """Nobody lives."""
        self._life = None
        self._seen.clear()

    def built(self, life: Life) -> None:
        """The ledger was read: what was acknowledged is there (I7), and entries are watched (I6)."""
        world = life.world
        self._instance = world.ledger.instance
        missing = self.acknowledged - set(world.orchestrator.bots)
        self.hold(not missing, f"I7: {sorted(missing)} were acknowledged and are gone")
        send = world.gateway.submit

        def submit(intent: Intent, quantity: Decimal, delay_s: float = 0.0) -> Order:
            if intent.purpose is Purpose.ENTRY:
                waits = world._not_ready()
                self.hold(not waits, f"I6: an entry of bot {intent.bot} while {waits}")
                bound = world.states.binding(intent.bot, intent.symbol, life.clock.now_ms())
                self.hold(bound is None, f"I6: an entry of bot {intent.bot} while {bound}")
            return send(intent, quantity, delay_s)

        world.gateway.submit = submit  # type: ignore[method-assign]

    def look(self) -> None:
        """Hold the rules that hold at any moment."""
        self.counts["looks"] += 1
        life, books, network = self._life, self.books, self._network
        self.hold(not network.while_banned, f"I9: asked while told to wait: {network.while_banned[:3]}")
        self._look_at_fresh()
        if life is None or not life.built:
            return
        self.hold(not life.failures, "; ".join(life.failures))
        self.hold(not life.loop.complaints, f"asyncio: {life.loop.complaints[:1]}")
        table = life.world.gateway.table
        now = {order.client_order_id: order for order in table.open_orders()}
        for key in self._seen.keys() | now.keys():
            order = now.get(key) or table.find(key)
            if order is None:
                self._seen.pop(key, None)
                continue
            rank, filled = self._seen.get(key, (0, ZERO))
            self.hold(order.status.rank >= rank, f"I3: {key} went back to {order.status}")
            self.hold(order.filled >= filled, f"I3: {key}: {order.filled} filled, it was {filled}")
            self.hold(order.filled <= order.quantity, f"I3: {key}: {order.filled} of {order.quantity} filled")
            self._hold_end(order.status, key, books.of_client(key))
            if order.status.is_open:
                self._seen[key] = (order.status.rank, order.filled)
            else:
                self._seen.pop(key, None)
        for bot in life.bots:
            book = bot.book
            self.hold(book.position.quantity >= 0, f"A9: {bot.name} holds {book.position.quantity}")
            told = book.capital + book.realized_pnl - book.position.cost
            self.hold(book.cash == told, f"A3: {bot.name}: cash {book.cash}, by the sums {told}")
        self._look_at_legs(table)
        deepest = life.world.drawdown.percent()
        self.hold(deepest is None or 0 <= deepest <= 100, f"A8: drawdown {deepest}")

    def _look_at_legs(self, table: OrderTable) -> None:
        """A bot has one protective order, or one pair of them, at the exchange: never two that could both sell."""
        resting: defaultdict[int, set[tuple[str, int]]] = defaultdict(set)
        for true in self.books.open_orders():
            order = table.find(true.client_id)
            if order is not None and order.purpose is Purpose.PROTECTION:
                resting[order.bot].add(("list", true.list_id) if true.list_id >= 0 else ("order", true.id))
        for bot, legs in resting.items():
            self.hold(len(legs) == 1, f"two live legs of bot {bot}: {sorted(legs)}")

    def _look_at_fresh(self) -> None:
        """Every order on the exchange with our prefix has one committed intent, and is one (I1, I2)."""
        orders = list(self.books.orders.values())[self._checked :]
        self._checked += len(orders)
        ours = [order for order in orders if parse_client_order_id(order.client_id) is not None]
        if not ours:
            return
        with reading(self._path) as ledger:
            for order in ours:
                rows = ledger.execute("SELECT 1 FROM orders WHERE client_order_id = ?", (order.client_id,)).fetchall()
                self.hold(len(rows) == 1, f"I1: {order.client_id} has {len(rows)} intents")
                self.hold(len(self.books.of_client(order.client_id)) == 1, f"I2: {order.client_id} was placed twice")

    def _hold_end(self, status: OrderStatus, key: str, placed: list[TrueOrder]) -> None:
        if status.is_open:
            return
        self.counts["ends"] += 1
        if status in (OrderStatus.REJECTED, OrderStatus.NOT_PLACED, OrderStatus.DENIED):
            refused = all(order.status == "REJECTED" for order in placed)
            self.hold(refused or status is OrderStatus.REJECTED, f"I4: {key} is {status}, the exchange has it")
            self.hold(refused or all(order.status == "EXPIRED" for order in placed), f"I4: {key} is {status}: placed")
        elif status is not OrderStatus.CANCELED or placed:
            self.hold(bool(placed), f"I4: {key} is {status}, the exchange never had it")
            self.hold(all(not order.open for order in placed), f"I4: {key} is {status}, and works at the exchange")

    # -- what is on disk

    def durable(self, *, whole: bool = False) -> None:
        """Hold the ledger's file against the exchange's books: after the end of a process, whichever."""
        self.counts["reads"] += 1
        self.books.check()
        if not self._path.exists():
            return
        with reading(self._path) as ledger:
            fills = [_fill(row) for row in ledger.execute("SELECT * FROM fills ORDER BY id")]
            self._hold_fills(ledger, fills)
            self._hold_sales(ledger)
            self._hold_account(ledger, fills)
            self._hold_books(ledger, fills)
            if whole:
                for said in (*damages(ledger, indexes=True), *audit.damages(ledger, self._path)):
                    self.hold(False, f"the ledger: {said}")
                for said in agreement.differences(ledger):
                    self.hold(False, f"the audit: {said}")

    def _hold_sales(self, ledger: sqlite3.Connection) -> None:
        """Nobody sold more than was held."""
        rows = ledger.execute("SELECT data FROM events WHERE topic = 'book.oversold'").fetchall()
        self.hold(not rows, f"sold beyond the holding: {rows[:1]}")

    def _hold_fills(self, ledger: sqlite3.Connection, fills: list[Fill]) -> None:
        true = {(trade.symbol, str(trade.id)): trade for trade in self.books.trades}
        sums: defaultdict[str, Decimal] = defaultdict(Decimal)
        self.hold(len({(f.symbol, f.trade_id) for f in fills}) == len(fills), "A7: a fill twice")
        for fill in fills:
            trade = true.get((SYMBOLS[fill.symbol], fill.trade_id))
            self.hold(trade is not None, f"A7: fill {fill.trade_id} of {fill.symbol} never happened")
            assert trade is not None
            said = (fill.quantity, fill.price, fill.fee, fill.fee_asset, fill.side is Side.BUY)
            truth = (trade.quantity, trade.price, trade.commission, trade.commission_asset, trade.buys)
            self.hold(said == truth, f"A7: fill {fill.trade_id} says {said}, it was {truth}")
            sums[fill.client_order_id] += fill.quantity
        for key, filled, status in ledger.execute("SELECT client_order_id, filled, status FROM orders"):
            self.hold(Decimal(filled) == sums[key], f"I3: {key}: {filled} filled, its fills say {sums[key]}")
            self._hold_end(OrderStatus(status), key, self.books.of_client(key))

    def _hold_account(self, ledger: sqlite3.Connection, fills: list[Fill]) -> None:
        """Start, transfers, others' trades and our fills make up what the account should hold (A1)."""
        rows = dict(ledger.execute("SELECT key, value FROM keyed WHERE space = 'account'").fetchall())
        if "opened" not in rows:
            return
        events = ledger.execute("SELECT topic, data FROM events WHERE topic LIKE 'account.%' ORDER BY seq").fetchall()
        lines = [line for fill in fills for line in double_entry.postings(fill)]
        sums = double_entry.balances(lines)
        told: defaultdict[str, Decimal] = defaultdict(Decimal)
        for topic, data in events:
            values = msgspec.json.decode(data)
            if topic == "account.opened":
                told.update({asset: Decimal(total) for asset, total in values.items()})
            elif topic == "account.external":
                self.hold(False, f"A1: a trade of ours was taken for somebody else's: {values}")
            elif topic == "account.transfer":
                told[values["asset"]] += Decimal(values["amount"])
        for asset in {name for _, name in sums}:
            self.hold(sum((v for (_, a), v in sums.items() if a == asset), ZERO) == 0, f"A1: {asset} does not add up")
            told[asset] += double_entry.moved(lines, asset)
        kept = {key.partition(":")[2]: Decimal(value) for key, value in rows.items() if key.startswith("expected:")}
        for asset in {*kept, *told}:
            self.hold(
                kept.get(asset, ZERO) == told[asset], f"A1: {asset}: {kept.get(asset)} kept, {told[asset]} by sums"
            )

    def _hold_books(self, ledger: sqlite3.Connection, fills: list[Fill]) -> None:
        """Played again, the fills give each bot's book to the last digit (A6); lots give the same profit (A4)."""
        for said in replay.differences(ledger):
            self.hold(False, f"A6: {said}")
        found = ledger.execute(
            "SELECT bot, symbol, trade_id FROM adjustments WHERE kind = ?", (replay.DUST,)
        ).fetchall()
        if all(trade for _, _, trade in found):  # else it was written off after a restart, nobody knows after which
            for said in differing_lots(fills, set(found)):
                self.hold(False, f"A4: {said}")

    # -- when the faults are over

    def unsettled(self, life: Life) -> str:
        """Return what is not as the exchange has it; empty when everything is (I5, I8, A2)."""
        world, books = life.world, self.books
        if not life.built or world.orchestrator.market_refusal:
            return "the market does not serve yet"
        gateway, account = world.gateway, world.account
        if gateway.table.doubts or account.resolver.rows():
            return f"in doubt: {dict(gateway.table.doubts)} {account.resolver.rows()}"
        working = {order.client_id: order for order in books.open_orders()}
        ours = {order.client_order_id: order for order in gateway.open_orders()}
        if working.keys() != ours.keys():
            return f"orders: {sorted(working.keys() ^ ours.keys())}"
        for key, order in ours.items():
            if order.filled != working[key].executed:
                return f"{key}: {order.filled} filled, {working[key].executed} in truth"
        if not account.reconciler.ready:
            return f"not ready: {account.refusals()}"
        total = {asset: amount for asset, amount in books.balances.items() if amount}
        expected = {asset: amount for asset, amount in account.reconciler.account.expected.items() if amount}
        if total != expected:
            return f"A2: the exchange holds {total}, expected {expected}"
        held = {asset: RemoteBalance(free=free, locked=locked) for asset, (free, locked) in books.both().items()}
        reconciler = account.reconciler
        said = explain(
            held,
            reconciler.account.expected,
            claims(life.bots),
            gateway.open_orders(),
            reconciler.others.externals.values(),
        )
        if not said.match:
            return f"books: {said.differences}"
        for asset, (_, locked) in books.both().items():
            sells = sum(
                (offered(each) for each in by_bot(ours.values()) if each[0].symbol.split("/")[0] == asset), ZERO
            )
            buys = sum(
                (o.remaining * (o.price or ZERO) for o in ours.values() if asset == "USDT" and o.side is Side.BUY), ZERO
            )
            if locked != sells + buys:
                return f"I8: {locked} {asset} locked, our orders bind {sells + buys}"
        return ""

    def idle(self, life: Life) -> list[str]:
        """Return the bots that would not trade now, and why."""
        found = []
        for bot in life.bots:
            quote = life.world.market.quote(bot.spec.symbol)
            code = "no price"
            if quote is not None:
                code = life.world.gate.decide(
                    risk_request(bot, market_entry(bot, quote.last), bot.size(quote.last).quantity)
                ).code
            if bot.state.value != "running" or code not in _MAY_TRADE:
                found.append(f"{bot.name} {bot.state.value} {bot.record.reason} {code}".strip())
        return found

    def hold(self, holds: bool, what: str) -> None:
        if not holds:
            raise Broken(what)


@contextlib.contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a ledger's file to read."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        yield connection
    finally:
        connection.close()


def by_bot(orders: Iterable[Order]) -> list[list[Order]]:
    """Return the orders, a list a bot."""
    found: defaultdict[int, list[Order]] = defaultdict(list)
    for order in orders:
        found[order.bot].append(order)
    return list(found.values())


def _fill(row: tuple[Any, ...]) -> Fill:
    symbol, trade_id, key, bot, side, quantity, price, fee, fee_asset, _, time_ms = row[1:12]
    return Fill(
        trade_id=trade_id, client_order_id=key, bot=bot, symbol=symbol, side=Side(side), quantity=Decimal(quantity),
        price=Decimal(price), fee=Decimal(fee), fee_asset=fee_asset, time_ms=time_ms,
    )  # fmt: skip


def differing_lots(fills: Iterable[Fill], dust: set[tuple[int, str, str]]) -> Iterator[str]:
    """Tell where average cost and lots do not give the same realised and unrealised profit."""
    views: dict[int, tuple[BotBook, FifoBook]] = {}
    for fill in fills:
        book, fifo = views.setdefault(fill.bot, (BotBook(fill.bot, fill.symbol, ZERO), FifoBook(fill.symbol)))
        book.apply(fill, reason="", bar=0)
        fifo.apply(fill)
        if (fill.bot, fill.symbol, fill.trade_id) in dust:
            book.close_dust(book.position.quantity + 1, reason="", bar=0, time_ms=0)
            fifo.write_off()
    for bot, (book, fifo) in views.items():
        worth = book.realized_pnl + book.unrealized_pnl(Decimal(1000))
        lots = fifo.realized_pnl + fifo.quantity * 1000 - fifo.cost
        if abs(worth - lots) >= Decimal("1e-9"):
            yield f"bot {bot}: {worth} by average, {lots} by lots"
