"""The exchange's own books, the oracle: orders, trades, balances, transfers, all of them in exact decimals.

It judges nobody's requests; it books what the engine tells it, and proves that its sums hold. Nothing of the program
under test is used here.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping
from decimal import Decimal

from tests.fakes.binance.exchange.orders import ZERO, Order, OrderList, Trade, Transfer

Holder = tuple[str, int]
"""Who holds funds back: ("order", id) or ("list", id)."""
_SNAPSHOTS = 5000


class Books:
    """``start``: what the account has at the beginning, by asset."""

    def __init__(self, start: Mapping[str, Decimal], now_ms: int) -> None:
        self._pairs: dict[str, tuple[str, str]] = {}
        self.reset(start, now_ms)

    def reset(self, start: Mapping[str, Decimal], now_ms: int) -> None:
        """Begin, or begin anew: no order, no trade, and these balances."""
        self.start = dict(start)
        self.balances: defaultdict[str, Decimal] = defaultdict(Decimal, start)
        """What is owned of each asset, free and locked together."""
        self.orders: dict[int, Order] = {}
        self.lists: dict[int, OrderList] = {}
        self.trades: list[Trade] = []
        self.transfers: list[Transfer] = []
        self.updated_ms = now_ms
        self._locks: dict[Holder, tuple[str, Decimal]] = {}
        self._locked: defaultdict[str, Decimal] = defaultdict(Decimal)
        self._open: defaultdict[str, dict[int, Order]] = defaultdict(dict)
        self._by_client: defaultdict[str, list[int]] = defaultdict(list)
        self._snapshots: deque[tuple[int, dict[str, tuple[Decimal, Decimal]]]] = deque(maxlen=_SNAPSHOTS)
        self._snap(now_ms)

    # -- reading -------------------------------------------------------------------------------------------------

    def locked(self, asset: str) -> Decimal:
        return self._locked[asset]

    def free(self, asset: str) -> Decimal:
        return self.balances[asset] - self._locked[asset]

    def held(self, holder: Holder) -> Decimal:
        """Return what a holder keeps back."""
        return self._locks.get(holder, ("", ZERO))[1]

    def both(self) -> dict[str, tuple[Decimal, Decimal]]:
        """Return (free, locked) of every asset."""
        return {asset: (self.free(asset), self._locked[asset]) for asset in sorted(self.balances)}

    def both_at(self, time_ms: int) -> tuple[int, dict[str, tuple[Decimal, Decimal]]]:
        """Return them as they were then, with the time of their last change."""
        return next((kept for kept in reversed(self._snapshots) if kept[0] <= time_ms), self._snapshots[0])

    def open_orders(self, symbol: str | None = None) -> list[Order]:
        """Return open orders, oldest first."""
        if symbol is not None:
            return list(self._open[symbol].values())
        return sorted((order for orders in self._open.values() for order in orders.values()), key=lambda each: each.id)

    def of_client(self, client_id: str) -> list[Order]:
        """Return the orders that ever had this client id, oldest first: one address, maybe many letters."""
        return [self.orders[number] for number in self._by_client[client_id]]

    def trades_of(self, symbol: str) -> list[Trade]:
        return [trade for trade in self.trades if trade.symbol == symbol]

    def position(self, asset: str) -> Decimal:
        return self.balances[asset]

    # -- booking -------------------------------------------------------------------------------------------------

    def list_pair(self, symbol: str, base: str, quote: str) -> None:
        self._pairs[symbol] = (base, quote)

    def pair(self, symbol: str) -> tuple[str, str]:
        return self._pairs[symbol]

    def add(self, order: Order) -> None:
        self.orders[order.id] = order
        self._by_client[order.client_id].append(order.id)
        self._open[order.symbol][order.id] = order

    def close(self, order: Order) -> None:
        """Note that an order is over: it holds nothing."""
        self._open[order.symbol].pop(order.id, None)
        self.lock(("order", order.id), "", ZERO)

    def lock(self, holder: Holder, asset: str, amount: Decimal) -> None:
        """Set what a holder keeps back, whatever it was."""
        before = self._locks.pop(holder, None)
        if before is not None:
            self._locked[before[0]] -= before[1]
        if amount:
            self._locks[holder] = (asset, amount)
            self._locked[asset] += amount

    def book(self, trade: Trade) -> None:
        """Move what a trade moves."""
        base, quote = self._pairs[trade.symbol]
        sign = 1 if trade.buys else -1
        self.balances[base] += sign * trade.quantity
        self.balances[quote] -= sign * trade.quote
        self.balances[trade.commission_asset] -= trade.commission
        self.trades.append(trade)

    def transfer(self, asset: str, amount: Decimal, now_ms: int) -> Transfer:
        moved = Transfer(now_ms, asset, amount)
        self.transfers.append(moved)
        self.balances[asset] += amount
        self.settle(now_ms)
        return moved

    def settle(self, now_ms: int) -> None:
        """Note that something moved."""
        self.updated_ms = now_ms
        self._snap(now_ms)

    def _snap(self, now_ms: int) -> None:
        if self._snapshots and self._snapshots[-1][0] == now_ms:
            self._snapshots.pop()
        self._snapshots.append((now_ms, self.both()))

    # -- proof ---------------------------------------------------------------------------------------------------

    def expected(self) -> dict[str, Decimal]:
        """Return what is owned by the sums: start, transfers, trades, commissions."""
        sums: defaultdict[str, Decimal] = defaultdict(Decimal, self.start)
        for moved in self.transfers:
            sums[moved.asset] += moved.amount
        for trade in self.trades:
            base, quote = self._pairs[trade.symbol]
            sums[base] += trade.quantity if trade.buys else -trade.quantity
            sums[quote] += -trade.quote if trade.buys else trade.quote
            sums[trade.commission_asset] -= trade.commission
        return dict(sums)

    def faults(self) -> list[str]:
        """Return what does not hold; nothing, always."""
        found = []
        expected = self.expected()
        for asset in self.balances.keys() | expected.keys():
            if self.balances[asset] != expected.get(asset, ZERO):
                found.append(f"{asset}: {self.balances[asset]} owned, {expected.get(asset, ZERO)} by the sums")
            held = sum((amount for name, amount in self._locks.values() if name == asset), ZERO)
            if self._locked[asset] != held or not 0 <= held <= self.balances[asset]:
                found.append(f"{asset}: {self._locked[asset]} locked, {held} held, {self.balances[asset]} owned")
        for order in self.orders.values():
            found += self._order_faults(order)
        return found

    def _order_faults(self, order: Order) -> list[str]:
        executed = sum((trade.quantity for trade in order.trades), ZERO)
        found = []
        if executed != order.executed or sum((trade.quote for trade in order.trades), ZERO) != order.quote:
            found.append(f"order {order.id}: {order.executed} executed, its trades say {executed}")
        if not order.asked.quote_quantity and (order.status == "FILLED") != (order.executed == order.quantity):
            found.append(f"order {order.id}: {order.status} with {order.executed} of {order.quantity}")
        if order.open != (order.id in self._open[order.symbol]):
            found.append(f"order {order.id}: {order.status}, but listed otherwise")
        if not order.open and self.held(("order", order.id)):
            found.append(f"order {order.id}: {order.status}, and holds {self.held(('order', order.id))}")
        return found

    def check(self) -> None:
        """Fail where the books do not hold."""
        found = self.faults()
        assert not found, "; ".join(found)
