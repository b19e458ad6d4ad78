"""The simulated exchange's open orders: found by id and by lane, and turned into rows and back.

A finished order leaves the book; of the last thousand the final status is remembered, for a cancel that
comes too late. That memory is a courtesy and not part of the kept state.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple

import msgspec

from botd.domain.amounts import EXACT, money
from botd.domain.instrument import ZERO
from botd.domain.order import Order, OrderStatus, OrderType, Side

Lane = tuple[str, str]
ORDER = "order:"
_REMEMBERED = 1000


class RestingOrder(msgspec.Struct, kw_only=True):
    """One open order as the exchange keeps it.

    ``active_ms``: on candle feeds the order works from the first candle event whose open time is not
    before this; on tick feeds from this time on. ``unit`` is what one unit of the remaining quantity
    reserves of ``asset``; ``priced`` is False where no price was known to reserve at. ``triggered``: a
    stop-limit whose stop was reached. ``arrived``: on tick feeds, the order was compared with a quote.
    """

    client_order_id: str
    exchange_order_id: int
    bot: int
    symbol: str
    interval: str
    lane: Lane
    side: Side
    type: OrderType
    quantity: Decimal
    price: Decimal | None
    stop_price: Decimal | None
    created_ms: int
    active_ms: int
    asset: str
    unit: Decimal
    priced: bool = True
    filled: Decimal = ZERO
    triggered: bool = False
    arrived: bool = False

    @classmethod
    def of(
        cls,
        order: Order,
        *,
        exchange_order_id: int,
        lane: Lane,
        created_ms: int,
        active_ms: int,
        asset: str,
        unit: Decimal,
        priced: bool,
    ) -> RestingOrder:
        """Return the exchange's own copy of an order it accepts; a trigger price counts as triggered."""
        return cls(
            client_order_id=order.client_order_id,
            exchange_order_id=exchange_order_id,
            bot=order.bot,
            symbol=order.symbol,
            interval=order.interval,
            lane=lane,
            side=order.side,
            type=order.type,
            quantity=order.quantity,
            price=order.price,
            stop_price=order.stop_price,
            created_ms=created_ms,
            active_ms=active_ms,
            asset=asset,
            unit=unit,
            priced=priced,
            triggered=order.trigger_price is not None,
        )

    @property
    def remaining(self) -> Decimal:
        """The quantity still to fill."""
        return self.quantity - self.filled

    @property
    def status(self) -> OrderStatus:
        """OPEN, or PARTIAL once something filled."""
        return OrderStatus.PARTIAL if self.filled else OrderStatus.OPEN

    @property
    def rests(self) -> bool:
        """True where the order counts against the exchange's limits on open orders."""
        return self.type is not OrderType.MARKET

    def reservation(self) -> Decimal:
        """Return what the remaining quantity keeps of ``asset``."""
        return money(EXACT.multiply(self.remaining, self.unit))

    def as_order(self) -> Order:
        """Return the order in the words of the domain."""
        return Order(
            client_order_id=self.client_order_id,
            bot=self.bot,
            symbol=self.symbol,
            interval=self.interval,
            side=self.side,
            type=self.type,
            quantity=self.quantity,
            price=self.price,
            stop_price=self.stop_price,
            status=self.status,
            exchange_order_id=str(self.exchange_order_id),
            filled=self.filled,
            created_ms=self.created_ms,
        )


class Reach(NamedTuple):
    """What open orders wait for: the highest price that one waits to fall to, the lowest to rise to."""

    falls: float
    rises: float

    def is_touched(self, low: float, high: float) -> bool:
        """Tell whether a range of prices does anything."""
        return low <= self.falls or high >= self.rises


class Book:
    """Open orders. ``changed`` names the ids whose row is not drained yet."""

    def __init__(self) -> None:
        self.orders: dict[str, RestingOrder] = {}
        self.lanes: dict[Lane, dict[str, RestingOrder]] = {}
        self.reaches: dict[Lane, Reach] = {}
        """What a lane's orders wait for, once somebody computed it; forgotten when one comes, goes or changes."""
        self.finished: OrderedDict[str, tuple[OrderStatus, str]] = OrderedDict()
        self.changed: set[str] = set()
        self._stored: set[str] = set()
        self._resting: dict[str, int] = {}
        self._algo: dict[str, int] = {}

    def add(self, order: RestingOrder) -> None:
        """Take up a new order."""
        self._insert(order)
        self.changed.add(order.client_order_id)

    def holds(self, order: RestingOrder) -> bool:
        """Tell whether this very order is still open (a listener may have ended it meanwhile)."""
        return self.orders.get(order.client_order_id) is order

    def touch(self, order: RestingOrder) -> None:
        """Note that the order's row changed."""
        self.changed.add(order.client_order_id)
        self.reaches.pop(order.lane, None)

    def finish(self, order: RestingOrder, status: OrderStatus) -> None:
        """Take the order out of the book."""
        del self.orders[order.client_order_id]
        self.reaches.pop(order.lane, None)
        lane = self.lanes[order.lane]
        del lane[order.client_order_id]
        if not lane:
            del self.lanes[order.lane]
        self._count(order, -1)
        self.changed.add(order.client_order_id)
        self.finished[order.client_order_id] = (status, str(order.exchange_order_id))
        if len(self.finished) > _REMEMBERED:
            self.finished.popitem(last=False)

    def resting(self, symbol: str) -> int:
        """Return how many orders rest in the symbol's book (waiting market orders do not)."""
        return self._resting.get(symbol, 0)

    def algo(self, symbol: str) -> int:
        """Return how many of them wait for a stop price."""
        return self._algo.get(symbol, 0)

    def drain(self) -> dict[str, str | None]:
        """Return the changed rows since the last call; None for an order that ended."""
        rows: dict[str, str | None] = {}
        for client_order_id in sorted(self.changed):
            order = self.orders.get(client_order_id)
            if order is not None:
                rows[ORDER + client_order_id] = msgspec.json.encode(order).decode()
                self._stored.add(client_order_id)
            elif client_order_id in self._stored:
                rows[ORDER + client_order_id] = None
                self._stored.discard(client_order_id)
        self.changed.clear()
        return rows

    @classmethod
    def restored(cls, rows: Mapping[str, str]) -> Book:
        """Return the book of these rows (keys of others are passed over), in order of arrival."""
        book = cls()
        orders = [msgspec.json.decode(text, type=RestingOrder) for key, text in rows.items() if key.startswith(ORDER)]
        for order in sorted(orders, key=lambda order: order.exchange_order_id):
            book._insert(order)
            book._stored.add(order.client_order_id)
        return book

    def _insert(self, order: RestingOrder) -> None:
        self.orders[order.client_order_id] = order
        self.lanes.setdefault(order.lane, {})[order.client_order_id] = order
        self.reaches.pop(order.lane, None)
        self._count(order, 1)

    def _count(self, order: RestingOrder, by: int) -> None:
        if order.rests:
            self._resting[order.symbol] = self._resting.get(order.symbol, 0) + by
        if order.type.has_trigger:
            self._algo[order.symbol] = self._algo.get(order.symbol, 0) + by
