"""The matching engine's front door: which orders are accepted, cancelled, found. Pure, synchronous, timed by ``now``.

It does not know of requests, signatures, sockets or faults; how orders trade is :mod:`.matching`.
"""

from __future__ import annotations

import itertools
import random
import string
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from tests.fakes.binance.exchange import events
from tests.fakes.binance.exchange.books import Books
from tests.fakes.binance.exchange.filters import Standing, SymbolRules
from tests.fakes.binance.exchange.matching import Fees, Matcher, Tempering
from tests.fakes.binance.exchange.order_counts import OrderCounts
from tests.fakes.binance.exchange.orders import PRICED, STOPS, ZERO, NewOrder, Order, OrderList, Refused
from tests.fakes.binance.exchange.prices import Depth, Prices

_ALPHABET = string.ascii_letters + string.digits
_FUNDS = "Account has insufficient balance for requested action."
_UNKNOWN = "Unknown order sent."


class Untempered:
    """Fills are as large as the market allows."""

    def most(self, order: Order) -> Decimal | None:
        return None

    def pieces(self, order: Order) -> int:
        return 1


class Engine:
    """One account's exchange. ``row_of(symbol)``: the row of exchangeInfo as it is now, None for no such symbol."""

    def __init__(
        self,
        books: Books,
        *,
        now: Callable[[], int],
        row_of: Callable[[str], Mapping[str, Any] | None],
        emit: Callable[[dict[str, Any]], None],
        counts: OrderCounts | None = None,
        fees: Fees | None = None,
        tempering: Tempering | None = None,
        seed: int = 0,
    ) -> None:
        self.books = books
        self.prices = Prices()
        self.counts = counts or OrderCounts(now)
        self._now = now
        self._row_of = row_of
        self._emit = emit
        self._chance = random.Random(seed)
        self._order_ids = itertools.count(1_000_001)
        self._list_ids = itertools.count(1)
        self._rules: dict[str, SymbolRules] = {}
        self.matcher = Matcher(
            books, self.prices, fees or Fees(), now=now, rules=self.rules, emit=emit,
            tempering=tempering or Untempered(), first_fill=lambda order: self.counts.filled(order.id),
        )  # fmt: skip

    # -- the market ----------------------------------------------------------------------------------------------

    def set_price(
        self, symbol: str, bids: Depth, asks: Depth, last: Decimal | None = None, *, fills: bool = True
    ) -> None:
        """Move the market of a symbol, and let its orders trade where it is open.

        Without ``fills`` only stops look at it: what rests waits for public trades.
        """
        self.prices.put(symbol, bids, asks, last)
        if fills:
            self.look(symbol)
        elif self.rules(symbol).status == "TRADING":
            self.matcher.wake(symbol)

    def look(self, symbol: str) -> None:
        """Let the orders of a symbol trade with the market as it is."""
        if self.rules(symbol).status == "TRADING":
            self.matcher.moved(symbol)

    def printed(self, symbol: str, price: Decimal, quantity: Decimal | None = None) -> None:
        """Let a public trade happen."""
        if self.rules(symbol).status == "TRADING":
            self.matcher.printed(symbol, price, quantity)

    def rules(self, symbol: str) -> SymbolRules:
        """Return a symbol's filters as they are now."""
        row = self._row_of(symbol)
        if row is None:
            raise Refused(-1121, "Invalid symbol.")
        known = self._rules.get(symbol)
        if known is None or known.row is not row:
            known = self._rules[symbol] = SymbolRules(row)
            self.books.list_pair(symbol, known.base, known.quote)
        return known

    # -- placing -------------------------------------------------------------------------------------------------

    def place(self, asked: NewOrder) -> Order:
        """Accept an order or refuse it; what it trades at once has been traded when this returns."""
        self.examine(asked)
        self.counts.take(1)
        order = self._accept(asked)
        self.counts.placed(order.id)
        if self._at_once(asked):
            order.working_ms = order.created_ms
        if asked.type in PRICED or asked.type in STOPS:
            self.matcher.hold(order)
            self.books.settle(self._now())
        self.matcher.report(order, "NEW")
        if order.working:
            self.matcher.take(order)
        return order

    def examine(self, asked: NewOrder) -> None:
        """Refuse what must not be placed; nothing is changed."""
        rules = self._open_market(asked.symbol)
        rules.check(asked, self._standing(asked.symbol, rules))
        if asked.client_id and any(order.open for order in self.books.of_client(asked.client_id)):
            raise Refused(-2010, "Duplicate order sent.")
        trial = Order(0, asked, "", self._now())
        if asked.type in STOPS and not asked.trailing_delta and self.matcher.reached(trial):
            raise Refused(-2010, "Order would trigger immediately.")
        if asked.type == "LIMIT_MAKER" and self.matcher.plan(trial):
            raise Refused(-2010, "Order would immediately match and take.")
        self._affordable(trial, rules)

    def _open_market(self, symbol: str) -> SymbolRules:
        rules = self.rules(symbol)
        if rules.status != "TRADING":
            raise Refused(-1013, "Market is closed.")
        return rules

    def _affordable(self, trial: Order, rules: SymbolRules) -> None:
        if trial.type == "MARKET":
            plan = self.matcher.plan(trial)
            quantity = sum((part for _, part in plan), ZERO)
            if trial.asked.quote_quantity and quantity == 0:
                raise Refused(-2010, "Order book liquidity is less than `LOT_SIZE` filter minimum quantity.")
            cost = sum((price * part for price, part in plan), ZERO)
            asset, amount = (rules.quote, cost) if trial.buys else (rules.base, trial.quantity or quantity)
        else:
            asset, amount = self.matcher.needed(trial)
        if amount > self.books.free(asset):
            raise Refused(-2010, _FUNDS)

    def _standing(self, symbol: str, rules: SymbolRules, adding: int = 1) -> Standing:
        orders = self.books.open_orders(symbol)
        touch = self.prices[symbol]
        buying = sum((order.left for order in orders if order.buys), ZERO)
        stops = sum(order.type in STOPS and not order.working for order in orders)
        holding = self.books.balances[rules.base] + buying
        return Standing(touch.average or touch.last, len(orders), stops, holding, adding)

    def _accept(self, asked: NewOrder, list_id: int = -1) -> Order:
        now = self._now()
        order = Order(next(self._order_ids), asked, asked.client_id or self.made_id(), now, list_id, updated_ms=now)
        order.reserved_at = self.prices[asked.symbol].last
        self.books.add(order)
        return order

    @staticmethod
    def _at_once(asked: NewOrder) -> bool:
        return asked.type not in STOPS

    def made_id(self) -> str:
        """Return a client id of the exchange's own."""
        return "".join(self._chance.choices(_ALPHABET, k=22))

    # -- pairs ---------------------------------------------------------------------------------------------------

    def place_oco(self, above: NewOrder, below: NewOrder, client_id: str = "") -> tuple[OrderList, list[Order]]:
        """Accept a pair of which one cancels the other."""
        rules = self._open_market(above.symbol)
        if not rules.row.get("ocoAllowed", True):
            raise Refused(-2010, "OCO orders are not supported for this symbol.")
        self._pair_rules(above, below)
        for leg in (above, below):
            rules.check(leg, self._standing(leg.symbol, rules, adding=2))
            if leg.client_id and any(order.open for order in self.books.of_client(leg.client_id)):
                raise Refused(-2010, "Duplicate order sent.")
        if above.client_id and above.client_id == below.client_id:
            raise Refused(-2010, "Duplicate order sent.")
        if client_id and any(
            pair.client_id == client_id and pair.state == "EXECUTING" for pair in self.books.lists.values()
        ):
            raise Refused(-2010, "Duplicate order sent.")
        needs = [self.matcher.needed(Order(0, leg, "", 0)) for leg in (above, below)]
        asset, amount = needs[0][0], max(amount for _, amount in needs)
        if amount > self.books.free(asset):
            raise Refused(-2010, _FUNDS)
        self.counts.take(2)
        number = next(self._list_ids)
        legs = [self._accept(leg, number) for leg in (below, above)]
        pair = OrderList(number, client_id or self.made_id(), above.symbol, tuple(leg.id for leg in legs), self._now())
        self.books.lists[number] = pair
        self.books.lock(("list", number), asset, amount)
        self.books.settle(self._now())
        self._emit(events.list_status(pair, legs, self._now()))
        for order in legs:
            self.counts.placed(order.id)
            order.working_ms = order.created_ms if self._at_once(order.asked) else -1
            self.matcher.report(order, "NEW")
        return pair, legs

    def _pair_rules(self, above: NewOrder, below: NewOrder) -> None:
        """Refuse a pair that is none: the stop loss is on the losing side, the other leg on the winning one."""
        buys, last = above.side == "BUY", self.prices[above.symbol].last
        loss, gain = (above, below) if buys else (below, above)
        if not any(leg.type in STOPS for leg in (above, below)):
            raise Refused(-1168, "At least one OCO order must be contingent.")
        if gain.type.startswith("STOP_LOSS"):
            wrong = (-1196, "buy OCO must be above") if buys else (-1197, "sell OCO must be below")
            raise Refused(wrong[0], f"A stop loss order in a {wrong[1]}.")
        if not loss.type.startswith("STOP_LOSS"):
            if loss.type == "LIMIT_MAKER":
                wrong = (-1165, "buy OCO must be below") if buys else (-1166, "sell OCO must be above")
                raise Refused(wrong[0], f"A limit order in a {wrong[1]}.")
            wrong = (-1198, "buy OCO must be below") if buys else (-1199, "sell OCO must be above")
            raise Refused(wrong[0], f"A take profit order in a {wrong[1]}.")
        gained = gain.price if gain.type == "LIMIT_MAKER" else gain.stop_price
        lower, higher = (gained, loss.stop_price) if buys else (loss.stop_price, gained)
        if (lower and last and lower >= last) or (higher and last and higher <= last):
            raise Refused(-2010, "The relationship of the prices for the orders is not correct.")

    # -- cancelling ----------------------------------------------------------------------------------------------

    def cancel(
        self, symbol: str, order_id: int | None, client_id: str, cancel_id: str = "", only: str = ""
    ) -> list[Order]:
        """Cancel an open order, with its pair where it has one; return what was cancelled, that order first."""
        self._cancellable(symbol)
        order = self.found(symbol, order_id, client_id, only_open=True)
        if order is None:
            raise Refused(-2011, _UNKNOWN)
        wanted = {"": None, "ONLY_NEW": "NEW", "ONLY_PARTIALLY_FILLED": "PARTIALLY_FILLED"}
        if only not in wanted:
            raise Refused(-1145, "Invalid cancelRestrictions")
        if wanted[only] not in (None, order.status):
            raise Refused(-2011, "Order was not canceled due to cancel restrictions.")
        return self._cancel(order, cancel_id or self.made_id())

    def _cancellable(self, symbol: str) -> None:
        if self.rules(symbol).status not in ("TRADING", "CANCEL_ONLY"):
            raise Refused(-2011, "Market is closed.")

    def _cancel(self, order: Order, cancel_id: str) -> list[Order]:
        pair = self.matcher.list_of(order)
        legs = [self.books.orders[number] for number in pair.order_ids] if pair else [order]
        cancelled = [leg for leg in sorted(legs, key=lambda leg: leg is not order) if leg.open]
        for leg in cancelled:
            self.matcher.cancel(leg, cancel_id)
        return cancelled

    def cancel_all(self, symbol: str) -> list[list[Order]]:
        """Cancel everything open on a symbol; pairs come together."""
        self._cancellable(symbol)
        done = []
        for order in self.books.open_orders(symbol):
            if order.open:
                done.append(self._cancel(order, self.made_id()))
        if not done:
            raise Refused(-2011, _UNKNOWN)
        return done

    def cancel_pair(self, symbol: str, list_id: int | None, client_id: str, cancel_id: str = "") -> OrderList:
        self._cancellable(symbol)
        pair = self.found_pair(list_id, client_id)
        if pair is None or pair.symbol != symbol or pair.state == "ALL_DONE":
            raise Refused(-2011, _UNKNOWN)
        first = next(self.books.orders[number] for number in pair.order_ids if self.books.orders[number].open)
        self._cancel(first, cancel_id or self.made_id())
        return pair

    # -- finding -------------------------------------------------------------------------------------------------

    def found(self, symbol: str, order_id: int | None, client_id: str, *, only_open: bool = False) -> Order | None:
        """Return an order by its number, else the latest of a client id."""
        if order_id is not None:
            order = self.books.orders.get(order_id)
            candidates = [order] if order is not None and client_id in ("", order.client_id) else []
        else:
            candidates = self.books.of_client(client_id)
        fitting = [each for each in candidates if each.symbol == symbol and (each.open or not only_open)]
        # An open one before those that are over: the id is an address.
        return max(fitting, key=lambda each: (each.open, each.id), default=None)

    def found_pair(self, list_id: int | None, client_id: str) -> OrderList | None:
        if list_id is not None:
            return self.books.lists.get(list_id)
        named = [pair for pair in self.books.lists.values() if pair.client_id == client_id]
        return named[-1] if named else None

    def faults(self) -> list[str]:
        """Return what does not hold of the books, and of the funds that open orders hold back."""
        found = self.books.faults()
        for order in self.books.open_orders():
            paired = self.books.held(("list", order.list_id)) if order.list_id >= 0 else ZERO
            held, needed = self.books.held(("order", order.id)), self.matcher.needed(order)[1]
            if (held or not paired) and held != needed:
                found.append(f"order {order.id}: holds {held}, needs {needed}")
        return found

    # -- steering ------------------------------------------------------------------------------------------------

    def fill(self, order: Order, quantity: Decimal | None = None, price: Decimal | None = None) -> Decimal:
        """Let an open order trade so much (all that is left) at its own price, whatever the market is."""
        if not order.open:
            return ZERO
        if not order.working:
            self.matcher.trigger(order)
        if not order.open:
            return order.executed
        part = self.rules(order.symbol).whole(min(quantity or order.left, order.left))
        if part > 0:
            self.matcher.fill(order, price or order.price or self.prices[order.symbol].last, part, True)
        return part

    def deposit(self, asset: str, amount: Decimal) -> None:
        """Move funds in (or out, where negative), as the user sees it."""
        moved = self.books.transfer(asset, amount, self._now())
        self._emit(events.balance_update(moved, self._now()))
        self._emit(events.account_position(self.books, [asset], self._now()))
