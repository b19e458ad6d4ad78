"""How orders trade: as takers with the touch, as makers when the market comes to them, stops when it reaches them.

Fills, commissions, funds held back, the ends of orders and the reports of all that. Whether an order is accepted at
all is :mod:`.engine`'s.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import ROUND_DOWN, ROUND_UP, Decimal
from typing import Any, Protocol

from tests.fakes.binance.exchange import events
from tests.fakes.binance.exchange.books import Books
from tests.fakes.binance.exchange.filters import SymbolRules
from tests.fakes.binance.exchange.orders import PRICED, ZERO, Order, OrderList, Trade
from tests.fakes.binance.exchange.prices import Prices

_GRAIN = Decimal("0.00000001")
_FIRST_TRADE = 5_000_001


@dataclass(frozen=True)
class Fees:
    """Rates; with ``in_bnb`` commissions are paid in BNB at ``discount`` of the rate, while there is BNB."""

    maker: Decimal = Decimal("0.001")
    taker: Decimal = Decimal("0.001")
    in_bnb: bool = False
    discount: Decimal = Decimal("0.75")


class Tempering(Protocol):
    """What a fault plan has to say about fills."""

    def most(self, order: Order) -> Decimal | None:
        """Return the most that one look at the market may fill of an order; None for all of it."""
        ...

    def pieces(self, order: Order) -> int:
        """Return in how many trades a fill comes."""
        ...


class Matcher:
    """Executes the orders of the books. ``rules(symbol)``: its filters as they are now; ``emit``: the user's events."""

    def __init__(
        self,
        books: Books,
        prices: Prices,
        fees: Fees,
        *,
        now: Callable[[], int],
        rules: Callable[[str], SymbolRules],
        emit: Callable[[dict[str, Any]], None],
        tempering: Tempering,
        first_fill: Callable[[Order], None],
    ) -> None:
        self.books = books
        self.prices = prices
        self.fees = fees
        self._now = now
        self._rules = rules
        self._emit = emit
        self._tempering = tempering
        self._first_fill = first_fill
        self._executions = itertools.count(9_000_001)
        self._trade_ids: defaultdict[str, itertools.count[int]] = defaultdict(lambda: itertools.count(_FIRST_TRADE))

    # -- the market moved ----------------------------------------------------------------------------------------

    def moved(self, symbol: str) -> None:
        """Look at every open order of a symbol: stops first, then what rests."""
        self.wake(symbol)
        for order in self.books.open_orders(symbol):
            if order.open and order.working:
                self._meet(order)

    def wake(self, symbol: str) -> None:
        """Trigger the stops whose moment has come."""
        for order in self.books.open_orders(symbol):
            if order.open and not order.working and self.triggered(order):
                self.trigger(order)

    def printed(self, symbol: str, price: Decimal, quantity: Decimal | None = None) -> None:
        """Let a public trade happen: it fills what rests at its price or better, and may trigger stops."""
        self.prices[symbol].last = price
        left = quantity
        for order in self.books.open_orders(symbol):
            if not (order.open and order.working) or left == ZERO:
                continue
            if price <= order.price if order.buys else price >= order.price:
                offered = order.left if left is None else min(order.left, left)
                filled = self._fill_some(order, order.price, offered, True)
                left = None if left is None else left - filled
        self.wake(symbol)

    def _meet(self, order: Order) -> None:
        """Fill an order that rests, at its own price, with what has come to it."""
        for level in self.prices[order.symbol].against(order.buys):
            reaches = level.price <= order.price if order.buys else level.price >= order.price
            if not reaches or not order.open:
                break
            level.take(self._fill_some(order, order.price, level.offers(order.left), True))
            if self._tempering.most(order) is not None:
                break

    # -- stops ---------------------------------------------------------------------------------------------------

    def reached(self, order: Order) -> bool:
        """Tell whether the last price is where the stop is, or beyond."""
        last, stop = self.prices[order.symbol].last, order.asked.stop_price
        if not last or not stop:
            return False
        rises = order.buys == order.type.startswith("STOP_LOSS")
        return last >= stop if rises else last <= stop

    def triggered(self, order: Order) -> bool:
        """Tell whether a stop's moment has come; a trailing one follows the price until it turns."""
        delta, last = order.asked.trailing_delta, self.prices[order.symbol].last
        if not delta or not last:
            return self.reached(order)
        if order.extreme is None:
            if order.asked.stop_price and not self.reached(order):
                return False
            order.extreme = last
        order.extreme = min(order.extreme, last) if order.buys else max(order.extreme, last)
        turn = order.extreme * (10_000 + (delta if order.buys else -delta)) / 10_000
        return last >= turn if order.buys else last <= turn

    def trigger(self, order: Order) -> None:
        """Put a stop on the book, or send it to the market; its pair expires."""
        order.working_ms = order.updated_ms = self._now()
        self._leave_list(order)
        self.report(order, "NEW")
        if order.type in PRICED:
            self.take(order)
            return
        self.books.lock(("order", order.id), "", ZERO)
        cost = sum((price * quantity for price, quantity in self.plan(order)), ZERO)
        if order.buys and cost > self.books.free(self.books.pair(order.symbol)[1]):
            self.expire(order, "REJECTED")
        else:
            self.take(order)

    # -- taking --------------------------------------------------------------------------------------------------

    def plan(self, order: Order) -> list[tuple[Decimal, Decimal]]:
        """Return (price, quantity) of what an order would take now."""
        asked, step = order.asked, self._rules(order.symbol)
        quantity, money = asked.quantity - order.executed, asked.quote_quantity
        found = []
        for level in self.prices[order.symbol].against(order.buys):
            if asked.price and (level.price > asked.price if order.buys else level.price < asked.price):
                break
            wanted = step.whole(money / level.price) if money else quantity
            part = level.offers(wanted)
            if part <= 0:
                continue
            found.append((level.price, part))
            quantity, money = quantity - part, money - part * level.price if money else money
        return found

    def take(self, order: Order) -> None:
        """Trade with the touch; then rest, or expire, as its type and time in force have it."""
        plan, asked = self.plan(order), order.asked
        market = order.type not in PRICED
        whole = sum((part for _, part in plan), ZERO)
        if asked.quote_quantity:
            order.asked = asked = replace(asked, quantity=whole)
        if asked.time_in_force == "FOK" and whole < order.left:
            self.expire(order, "UNFILLED_FOK_ORDER_EXPIRED")
            return
        most = None if market or asked.time_in_force == "FOK" else self._tempering.most(order)
        levels = {level.price: level for level in self.prices[order.symbol].against(order.buys)}
        for price, part in plan:
            part = part if most is None else min(part, most)
            if part > 0:
                filled = self._fill_some(order, price, part, False, tempered=False)
                levels[price].take(filled)
                most = None if most is None else most - filled
        if not order.open:
            return
        if market:
            self.expire(order, "INSUFFICIENT_LIQUIDITY")
        elif asked.time_in_force == "IOC":
            self.expire(order, "UNFILLED_IOC_QUANTITY_EXPIRED")
        else:
            self.hold(order)

    # -- fills ---------------------------------------------------------------------------------------------------

    def _fill_some(
        self, order: Order, price: Decimal, quantity: Decimal, maker: bool, *, tempered: bool = True
    ) -> Decimal:
        """Fill so much, or what the fault plan allows of it, in as many trades as it says; return how much."""
        rules = self._rules(order.symbol)
        most = self._tempering.most(order) if tempered else None
        quantity = quantity if most is None else min(quantity, most)
        if quantity <= 0:
            return ZERO
        pieces = max(1, self._tempering.pieces(order))
        part = rules.whole(quantity / pieces)
        left = quantity
        for _ in range(pieces - 1):
            if part > 0 and order.open:
                self.fill(order, price, part, maker)
                left -= part
        self.fill(order, price, left, maker)
        return quantity

    def fill(self, order: Order, price: Decimal, quantity: Decimal, maker: bool) -> Trade:
        """Book one trade of an order and report it."""
        now, (base, quote_asset) = self._now(), self.books.pair(order.symbol)
        quote = (price * quantity).quantize(_GRAIN, ROUND_DOWN)
        commission, asset = self._commission(order, base, quote_asset, quantity, quote, maker)
        number = next(self._trade_ids[order.symbol])
        trade = Trade(
            number, order.id, order.list_id, order.symbol, order.buys, maker, price, quantity, quote,
            commission, asset, now,
        )  # fmt: skip
        if not order.trades:
            self._first_fill(order)
            self._leave_list(order)
        order.trades.append(trade)
        order.executed += quantity
        order.quote += quote
        order.updated_ms = now
        order.status = "FILLED" if order.left == 0 else "PARTIALLY_FILLED"
        self.books.book(trade)
        if order.status == "FILLED":
            self.books.close(order)
        else:
            self.hold(order)
        self.books.settle(now)
        self.report(order, "TRADE", trade)
        self._list_done(order)
        return trade

    def _commission(
        self, order: Order, base: str, quote_asset: str, quantity: Decimal, quote: Decimal, maker: bool
    ) -> tuple[Decimal, str]:
        rate = self.fees.maker if maker else self.fees.taker
        if self.fees.in_bnb and "BNB" not in (base, quote_asset):
            price = self.prices["BNB" + quote_asset].last
            due = (quote * rate * self.fees.discount / price).quantize(_GRAIN, ROUND_DOWN) if price else ZERO
            if price and self.books.free("BNB") >= due:
                return due, "BNB"
        got, asset = (quantity, base) if order.buys else (quote, quote_asset)
        return (got * rate).quantize(_GRAIN, ROUND_DOWN), asset

    # -- funds held back, and the ends of orders -----------------------------------------------------------------

    def needed(self, order: Order) -> tuple[str, Decimal]:
        """Return the asset and how much of it an open order holds back."""
        base, quote = self.books.pair(order.symbol)
        if not order.buys:
            return base, order.left
        price = order.price or order.asked.stop_price or order.reserved_at or self.prices[order.symbol].last
        return quote, (price * order.left).quantize(_GRAIN, ROUND_UP)

    def hold(self, order: Order) -> None:
        """Hold back what an order needs, unless its list does."""
        if order.open and not self.books.held(("list", order.list_id)) and (order.type in PRICED or not order.working):
            self.books.lock(("order", order.id), *self.needed(order))

    def expire(self, order: Order, reason: str) -> None:
        self._end(order, "EXPIRED", reason)

    def cancel(self, order: Order, cancel_id: str) -> None:
        order.cancel_id = cancel_id
        self._end(order, "CANCELED")

    def _end(self, order: Order, status: str, reason: str = "") -> None:
        order.status, order.expiry, order.updated_ms = status, reason, self._now()
        self.books.close(order)
        self._release_list(order)
        self.books.settle(self._now())
        self.report(order, status)
        self._list_done(order)

    # -- pairs ---------------------------------------------------------------------------------------------------

    def list_of(self, order: Order) -> OrderList | None:
        return self.books.lists.get(order.list_id)

    def _leave_list(self, order: Order) -> None:
        """The first leg that does something holds its own funds from now on; the other one expires."""
        pair = self.list_of(order)
        if pair is None:
            return
        self.books.lock(("list", pair.id), "", ZERO)
        self.hold(order)
        for number in pair.order_ids:
            other = self.books.orders[number]
            if other is not order and other.open:
                self.expire(other, "OCO_TRIGGER")

    def _release_list(self, order: Order) -> None:
        pair = self.list_of(order)
        if pair is not None and not any(self.books.orders[number].open for number in pair.order_ids):
            self.books.lock(("list", pair.id), "", ZERO)

    def _list_done(self, order: Order) -> None:
        pair = self.list_of(order)
        if pair is None or pair.state == "ALL_DONE":
            return
        legs = [self.books.orders[number] for number in pair.order_ids]
        if not any(leg.open for leg in legs):
            pair.state = "ALL_DONE"
            self._emit(events.list_status(pair, legs, self._now()))

    # -- reports -------------------------------------------------------------------------------------------------

    def report(self, order: Order, kind: str, trade: Trade | None = None) -> None:
        """Tell the user of an order, and of the balances it changed."""
        now = self._now()
        order.note()
        self._emit(events.execution_report(order, kind, trade, now, next(self._executions)))
        assets = list(dict.fromkeys((*self.books.pair(order.symbol), *((trade.commission_asset,) if trade else ()))))
        self._emit(events.account_position(self.books, assets, now))
