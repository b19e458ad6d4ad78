"""Orders, trades and balances as Binance's REST API writes them, and as botd means them.

Requests are made of an :class:`~botd.domain.order.Order`, answers become reports and remote values. Amounts stay
exact from text to ``Decimal`` and back. Only members that botd uses are read. It sends nothing and judges nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import msgspec

from botd.domain.instrument import ZERO
from botd.domain.order import Fill, Order, OrderStatus, OrderType, Report, Side
from botd.exchange.remote import RemoteBalance, RemoteOrder, RemoteTrade

Symbols = Callable[[str], str]
"""Turns the exchange's name of a pair into ours."""

STATUSES = {
    "NEW": OrderStatus.OPEN,
    "PENDING_NEW": OrderStatus.OPEN,
    "PENDING_CANCEL": OrderStatus.OPEN,
    "PARTIALLY_FILLED": OrderStatus.PARTIAL,
    "FILLED": OrderStatus.FILLED,
    "CANCELED": OrderStatus.CANCELED,
    "REJECTED": OrderStatus.REJECTED,
    "EXPIRED": OrderStatus.EXPIRED,
    "EXPIRED_IN_MATCH": OrderStatus.EXPIRED,
}
_NO_LIST = -1


class WireOrder(msgspec.Struct, rename="camel", kw_only=True):
    """An order in the answer to a question, to placing or to cancelling; the three differ in what they leave out."""

    symbol: str
    order_id: int
    client_order_id: str
    orig_client_order_id: str = ""
    """In the answer to a cancel: the order's id, while ``client_order_id`` is the cancel's."""
    order_list_id: int = _NO_LIST
    status: str
    side: str
    type: str
    price: Decimal
    orig_qty: Decimal
    executed_qty: Decimal
    cummulative_quote_qty: Decimal = ZERO
    stop_price: Decimal | None = None
    time: int = 0
    update_time: int = 0
    transact_time: int = 0
    fills: list[WireFill] = []

    @property
    def id(self) -> str:
        """The order's client id."""
        return self.orig_client_order_id or self.client_order_id


class WireFill(msgspec.Struct, rename="camel"):
    """An execution inside the answer to placing an order."""

    price: Decimal
    qty: Decimal
    commission: Decimal
    commission_asset: str
    trade_id: int


class _WireList(msgspec.Struct, rename="camel"):
    """The answer to placing or cancelling an order list has its orders inside."""

    order_reports: list[WireOrder] | None = None


_decode_order = msgspec.json.Decoder(WireOrder, strict=False).decode
_decode_list = msgspec.json.Decoder(_WireList, strict=False).decode


class WireTrade(msgspec.Struct, rename="camel"):
    """A row of ``myTrades``."""

    id: int
    order_id: int
    symbol: str
    qty: Decimal
    price: Decimal
    commission: Decimal
    commission_asset: str
    time: int
    is_buyer: bool


class _Balance(msgspec.Struct):
    asset: str
    free: Decimal
    locked: Decimal


class WireAccount(msgspec.Struct, rename="camel"):
    """What ``account`` says."""

    balances: list[_Balance]
    can_trade: bool = True
    update_time: int = 0
    """When the account changed last, as this answer knows it."""

    def holdings(self) -> dict[str, RemoteBalance]:
        """Return every asset that is not zero."""
        return {row.asset: RemoteBalance(row.free, row.locked) for row in self.balances if row.free or row.locked}


def wire_orders(body: bytes) -> list[WireOrder]:
    """Return the orders of an answer: one order, an order list, or a row of either; ValueError for anything else."""
    try:
        if body[:1] == b"[":
            return [
                wire for row in msgspec.json.decode(body, type=list[msgspec.Raw]) for wire in wire_orders(bytes(row))
            ]
        found = _decode_list(body).order_reports
        return [_decode_order(body)] if found is None else found
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"no order: {error}") from None


def text(value: Decimal) -> str:
    """Return an amount as the exchange reads it: plain, without zeros at the end."""
    return f"{value.normalize():f}"


def order_params(order: Order, name: str) -> dict[str, Any]:
    """Return the parameters that place ``order`` on the pair that the exchange calls ``name``."""
    params: dict[str, Any] = {"symbol": name, "side": order.side.name, "type": order.type.name}
    if order.type.has_limit and order.type is not OrderType.LIMIT_MAKER:
        params["timeInForce"] = "GTC"
    params["quantity"] = text(order.quantity)
    if order.type.has_limit:
        params["price"] = text(_given(order.price, order, "price"))
    if order.type.has_trigger:
        params["stopPrice"] = text(_given(order.stop_price, order, "stop price"))
    return params | {"newClientOrderId": order.client_order_id, "newOrderRespType": "FULL"}


def pair_params(first: Order, second: Order, name: str, list_id: str) -> dict[str, Any]:
    """Return the parameters that place two orders of which one cancels the other (OCO)."""
    above, below = sorted((first, second), key=_level, reverse=True)
    params: dict[str, Any] = {"symbol": name, "listClientOrderId": list_id}
    params |= {"side": above.side.name, "quantity": text(above.quantity)}
    for place, order in (("above", above), ("below", below)):
        params |= {f"{place}Type": order.type.name, f"{place}ClientOrderId": order.client_order_id}
        if order.type.has_limit:
            params[f"{place}Price"] = text(_given(order.price, order, "price"))
        if order.type.has_trigger:
            params[f"{place}StopPrice"] = text(_given(order.stop_price, order, "stop price"))
        if order.type.has_limit and order.type.has_trigger:
            params[f"{place}TimeInForce"] = "GTC"
    return params | {"newOrderRespType": "FULL"}


def remote_order(wire: WireOrder, symbols: Symbols) -> RemoteOrder:
    """Return an order as the exchange tells of it; ValueError for words that botd does not know."""
    return RemoteOrder(
        client_order_id=wire.id,
        exchange_order_id=str(wire.order_id),
        symbol=symbols(wire.symbol),
        side=side_of(wire.side),
        type=type_of(wire.type),
        status=status_of(wire.status),
        quantity=wire.orig_qty,
        filled=wire.executed_qty,
        filled_notional=max(ZERO, wire.cummulative_quote_qty),  # below zero: not kept for old orders
        price=wire.price or None,
        stop_price=wire.stop_price or None,
        list_id="" if wire.order_list_id == _NO_LIST else str(wire.order_list_id),
        created_ms=wire.time or wire.transact_time,
        updated_ms=wire.update_time or wire.transact_time,
    )


def remote_trade(wire: WireTrade, symbols: Symbols) -> RemoteTrade:
    """Return one execution on our account."""
    return RemoteTrade(
        trade_id=str(wire.id),
        exchange_order_id=str(wire.order_id),
        symbol=symbols(wire.symbol),
        side=Side.BUY if wire.is_buyer else Side.SELL,
        quantity=wire.qty,
        price=wire.price,
        fee=wire.commission,
        fee_asset=wire.commission_asset,
        time_ms=wire.time,
    )


def reports(wire: WireOrder, symbol: str, bot: int) -> Iterator[Report]:
    """Return what an answer says of our order: a report a fill, the last one with the status."""
    told: dict[str, Any] = {
        "client_order_id": wire.id,
        "time_ms": wire.transact_time or wire.update_time,
        "exchange_order_id": str(wire.order_id),
    }
    status = status_of(wire.status)
    for number, row in enumerate(wire.fills, 1):
        fill = Fill(
            trade_id=str(row.trade_id),
            client_order_id=wire.id,
            bot=bot,
            symbol=symbol,
            side=side_of(wire.side),
            quantity=row.qty,
            price=row.price,
            fee=row.commission,
            fee_asset=row.commission_asset,
            time_ms=told["time_ms"],
        )
        is_last = number == len(wire.fills)
        yield Report(
            **told,
            status=status if is_last else OrderStatus.PARTIAL,
            fill=fill,
            filled=wire.executed_qty if is_last else None,
        )
    if not wire.fills:
        yield Report(**told, status=status, filled=wire.executed_qty)


def status_of(word: str) -> OrderStatus:
    """Return botd's status; ValueError for a word that is new."""
    if word not in STATUSES:
        raise ValueError(f"unknown order status {word[:40]!r}")
    return STATUSES[word]


def side_of(word: str) -> Side:
    return Side(word.lower())


def type_of(word: str) -> OrderType:
    return OrderType(word.lower())


def _level(order: Order) -> Decimal:
    """Where an order of a pair lies: its trigger, or its price where it has none."""
    return order.stop_price or order.price or ZERO


def _given(value: Decimal | None, order: Order, what: str) -> Decimal:
    if value is None:
        raise ValueError(f"{order.client_order_id}: a {order.type} order needs a {what}")
    return value
