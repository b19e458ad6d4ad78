"""An exchange across a network, in a test's hands: it keeps books of its own, and answers as it is told to.

Orders arrive or do not (``lose``), reports go out or do not (``silent``), questions are answered or fail
(``broken``). A test moves it: :meth:`trade`, :meth:`finish`, :meth:`tell`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from botd.domain.order import Fill, Order, OrderStatus, OrderType, Report, Side
from botd.exchange.remote import (
    AccountListener,
    QueryFailedError,
    RemoteBalance,
    RemoteOrder,
    RemoteTrade,
    UnlistedError,
)
from tests.fakes.fake_exchange import FakeExchange


class RemoteFake(FakeExchange):
    """The oracle: ``orders`` by client id, ``trades`` in order, ``held`` by asset."""

    def __init__(self, **held: str) -> None:
        super().__init__(in_process=False)
        self.orders: dict[str, RemoteOrder] = {}
        self.trades: list[RemoteTrade] = []
        self.held = {asset: Decimal(amount) for asset, amount in held.items()}
        self.lose = self.silent = False
        self.broken: set[str] = set()
        self.unlisted: set[str] = set()
        self.lists: dict[str, tuple[str, str]] = {}
        self.asked: list[str] = []
        self.listener: AccountListener | None = None
        self.time_ms: Callable[[], int] = lambda: 1

    def now_ms(self) -> int:
        return self.time_ms()

    def listen_account(self, listener: AccountListener) -> None:
        self.listener = listener

    # -- orders

    def submit(self, order: Order) -> None:
        super().submit(order)
        if not self.lose:
            self.arrive(order)
        if not self.silent:
            self.tell(order.client_order_id)

    def submit_pair(self, first: Order, second: Order, list_id: str) -> None:
        """Both arrive, or neither; the list's id is the oracle's too."""
        self.lists[list_id] = (first.client_order_id, second.client_order_id)
        for order in (first, second):
            super().submit(order)
            if not self.lose:
                self.arrive(order)
        for order in () if self.silent else (first, second):
            self.tell(order.client_order_id)

    def arrive(self, order: Order) -> None:
        known = {name: getattr(order, name) for name in ("client_order_id", "symbol", "side", "type", "quantity")}
        self.orders[order.client_order_id] = RemoteOrder(
            **known, exchange_order_id=f"x{len(self.orders) + 1}", status=OrderStatus.OPEN, filled=Decimal(0),
            filled_notional=Decimal(0), price=order.price, stop_price=order.stop_price,
        )  # fmt: skip

    def place_by_hand(
        self, client_order_id: str, quantity: str = "1", side: Side = Side.BUY, **more: Any
    ) -> RemoteOrder:
        order = Order(client_order_id=client_order_id, bot=0, symbol="BTC/USDT", interval="", side=side,
                      type=OrderType.LIMIT, quantity=Decimal(quantity), price=Decimal(100), **more)  # fmt: skip
        self.arrive(order)
        return self.orders[client_order_id]

    def trade(self, client_order_id: str, quantity: str, fee: str = "0", *, paid: str = "USDT",
              told: bool = True) -> RemoteTrade:  # fmt: skip
        order, amount = self.orders[client_order_id], Decimal(quantity)
        trade = RemoteTrade(trade_id=str(len(self.trades) + 1), exchange_order_id=order.exchange_order_id,
                            symbol=order.symbol, side=order.side, quantity=amount, price=Decimal(100), fee=Decimal(fee),
                            fee_asset=paid, time_ms=1)  # fmt: skip
        self.trades.append(trade)
        sign, (base, quote) = (1 if order.side is Side.BUY else -1), order.symbol.split("/")
        for asset, moved in ((base, sign * amount), (quote, -sign * amount * 100), (paid, -Decimal(fee))):
            self.held[asset] = self.held.get(asset, Decimal(0)) + moved
        filled = order.filled + amount
        status = OrderStatus.FILLED if filled == order.quantity else OrderStatus.PARTIAL
        self.orders[client_order_id] = msgspec.structs.replace(order, filled=filled, status=status)
        if told:
            self.tell(client_order_id, trade)
        return trade

    def finish(self, client_order_id: str, status: OrderStatus, *, told: bool = True) -> None:
        self.orders[client_order_id] = msgspec.structs.replace(self.orders[client_order_id], status=status)
        if told:
            self.tell(client_order_id)

    def tell(self, client_order_id: str, trade: RemoteTrade | None = None, status: str = "") -> None:
        order, fill = self.orders.get(client_order_id), None
        if trade is not None:
            fields = msgspec.structs.asdict(trade)
            del fields["exchange_order_id"]
            fill = Fill(client_order_id=client_order_id, bot=1, **fields)
        told = OrderStatus(status) if status else order.status if order else OrderStatus.UNKNOWN
        self.report(Report(client_order_id=client_order_id, status=told, time_ms=1, fill=fill,
                           exchange_order_id=order.exchange_order_id if order else "",
                           filled=order.filled if order else None))  # fmt: skip

    # -- questions

    def _answer(self, what: str) -> None:
        self.asked.append(what)
        if what in self.broken:
            raise QueryFailedError(what)

    async def find_order(self, symbol: str, client_order_id: str) -> RemoteOrder | None:
        self._answer("order")
        return self.orders.get(client_order_id)

    async def find_numbered(self, symbol: str, exchange_order_id: str) -> RemoteOrder | None:
        self._answer("numbered" if "numbered" in self.broken else "order")
        return next((o for o in self.orders.values() if o.exchange_order_id == exchange_order_id), None)

    async def find_open_orders(self, symbol: str | None = None) -> Sequence[RemoteOrder]:
        self._answer("open_orders")
        return [o for o in self.orders.values() if o.status.is_open and symbol in (None, o.symbol)]

    async def find_trades(self, symbol: str, *, from_id: str | None = None, order_id: str | None = None,
                          since_ms: int | None = None) -> Sequence[RemoteTrade]:  # fmt: skip
        self._answer("trades")
        if symbol in self.unlisted:
            raise UnlistedError(symbol)
        return [t for t in self.trades if t.symbol == symbol and order_id in (None, t.exchange_order_id)
                and (from_id is None or int(t.trade_id) >= int(from_id))]  # fmt: skip

    async def find_balances(self) -> dict[str, RemoteBalance]:
        self._answer("balances")
        return {asset: RemoteBalance(free=amount) for asset, amount in self.held.items() if amount}
