"""What Binance says on the user data stream, as typed values: one pass over the bytes, amounts exact.

:func:`decode` takes one frame of the WebSocket API: an answer to a request, an event of the account in its
envelope, or something that botd does not use. Bytes that are no message of the exchange raise
:class:`~botd.exchange.binance.user_events.EventError`, and nothing else. No state is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec

from botd.domain.instrument import ZERO
from botd.domain.order import Fill, OrderStatus, Report
from botd.exchange.binance.order_wire import Symbols, side_of, status_of, type_of
from botd.exchange.remote import RemoteBalance, RemoteOrder

Frame = bytes | bytearray | memoryview


class EventError(ValueError):
    """A frame is no message of the exchange. It may hold anything, so the text shows nothing of it."""


class ExecutionReport(msgspec.Struct, gc=False, kw_only=True):
    """An order moved: x = NEW, CANCELED, REPLACED, REJECTED, TRADE, EXPIRED or TRADE_PREVENTION."""

    symbol: str = msgspec.field(name="s")
    client_id: str = msgspec.field(name="c")
    cancelled_id: str = msgspec.field(name="C", default="")
    """On a cancel: the order's id, while ``client_id`` is the cancel's."""
    side: str = msgspec.field(name="S")
    type: str = msgspec.field(name="o")
    quantity: Decimal = msgspec.field(name="q")
    price: Decimal = msgspec.field(name="p", default=ZERO)
    stop_price: Decimal = msgspec.field(name="P", default=ZERO)
    list_id: int = msgspec.field(name="g", default=-1)
    kind: str = msgspec.field(name="x")
    status: str = msgspec.field(name="X")
    reason: str = msgspec.field(name="r", default="NONE")
    order_id: int = msgspec.field(name="i")
    last_quantity: Decimal = msgspec.field(name="l", default=ZERO)
    filled: Decimal = msgspec.field(name="z")
    last_price: Decimal = msgspec.field(name="L", default=ZERO)
    fee: Decimal = msgspec.field(name="n", default=ZERO)
    fee_asset: str | None = msgspec.field(name="N", default=None)
    time_ms: int = msgspec.field(name="T")
    trade_id: int = msgspec.field(name="t", default=-1)
    created_ms: int = msgspec.field(name="O", default=0)
    filled_notional: Decimal = msgspec.field(name="Z", default=ZERO)

    @property
    def id(self) -> str:
        """The order's client id."""
        return self.cancelled_id or self.client_id

    def report(self, symbol: str, bot: int) -> Report:
        """Return it as a report of our order."""
        fill = None
        if self.kind == "TRADE" and self.last_quantity:
            fill = Fill(
                trade_id=str(self.trade_id),
                client_order_id=self.id,
                bot=bot,
                symbol=symbol,
                side=side_of(self.side),
                quantity=self.last_quantity,
                price=self.last_price,
                fee=self.fee,
                fee_asset=self.fee_asset or "",
                time_ms=self.time_ms,
            )
        return Report(
            client_order_id=self.id,
            status=self._status(),
            time_ms=self.time_ms,
            exchange_order_id=str(self.order_id),
            reason="" if self.reason == "NONE" else self.reason,
            fill=fill,
            filled=self.filled,
        )

    def remote(self, symbols: Symbols) -> RemoteOrder:
        """Return it as an order of somebody else."""
        return RemoteOrder(
            client_order_id=self.id,
            exchange_order_id=str(self.order_id),
            symbol=symbols(self.symbol),
            side=side_of(self.side),
            type=type_of(self.type),
            status=self._status(),
            quantity=self.quantity,
            filled=self.filled,
            filled_notional=self.filled_notional,
            price=self.price or None,
            stop_price=self.stop_price or None,
            list_id="" if self.list_id == -1 else str(self.list_id),
            created_ms=self.created_ms,
            updated_ms=self.time_ms,
        )

    def _status(self) -> OrderStatus:
        return status_of(self.status)


class _Holding(msgspec.Struct, gc=False):
    asset: str = msgspec.field(name="a")
    free: Decimal = msgspec.field(name="f")
    locked: Decimal = msgspec.field(name="l")


class AccountPosition(msgspec.Struct, gc=False):
    """The assets that may have changed, with what there is of them now."""

    rows: list[_Holding] = msgspec.field(name="B")
    changed_ms: int = msgspec.field(name="u")

    def holdings(self) -> dict[str, RemoteBalance]:
        return {row.asset: RemoteBalance(row.free, row.locked) for row in self.rows}


class BalanceUpdate(msgspec.Struct, gc=False):
    """A deposit, withdrawal or transfer."""

    asset: str = msgspec.field(name="a")
    amount: Decimal = msgspec.field(name="d")
    time_ms: int = msgspec.field(name="T")


class _Member(msgspec.Struct, gc=False):
    symbol: str = msgspec.field(name="s")
    client_id: str = msgspec.field(name="c")


class ListStatus(msgspec.Struct, gc=False):
    """An order list moved; its orders have reports of their own."""

    symbol: str = msgspec.field(name="s")
    list_id: int = msgspec.field(name="g")
    kind: str = msgspec.field(name="l")
    status: str = msgspec.field(name="L")
    reason: str = msgspec.field(name="r", default="NONE")
    orders: list[_Member] = msgspec.field(name="O", default_factory=list)


class Ended(msgspec.Struct, gc=False):
    """No more events will come on this connection, or it is about to end."""

    kind: str = msgspec.field(name="e")


class Reply(msgspec.Struct, gc=False):
    """The answer to a request. ``subscription`` is the number of the new subscription, where it was one."""

    id: int
    status: int
    code: int = 0
    message: str = ""
    subscription: int | None = None
    retry_at_ms: int = 0
    """The exchange's time before which it wants no request, 0 where it says none."""


Event = ExecutionReport | AccountPosition | BalanceUpdate | ListStatus | Ended
Message = Event | Reply


class _Fault(msgspec.Struct, gc=False):
    code: int = 0
    msg: str = ""
    data: Any = None


class _Envelope(msgspec.Struct, gc=False):
    event: msgspec.Raw = msgspec.Raw()
    kind: str = msgspec.field(name="e", default="")
    id: int | str | None = None
    status: int = 0
    result: msgspec.Raw = msgspec.Raw()
    error: _Fault | None = None


class _Kind(msgspec.Struct, gc=False):
    kind: str = msgspec.field(name="e", default="")


class _Subscribed(msgspec.Struct, gc=False):
    number: int | None = msgspec.field(name="subscriptionId", default=None)


def _decoder(kind: Any) -> Callable[[Any], Any]:
    return msgspec.json.Decoder(kind, strict=False).decode


_envelope: Callable[[Any], _Envelope] = msgspec.json.Decoder(_Envelope).decode
_kind: Callable[[Any], _Kind] = msgspec.json.Decoder(_Kind).decode
_subscribed: Callable[[Any], _Subscribed] = msgspec.json.Decoder(_Subscribed).decode
_DECODERS: dict[str, Callable[[Any], Event]] = {
    "executionReport": _decoder(ExecutionReport),
    "outboundAccountPosition": _decoder(AccountPosition),
    "balanceUpdate": _decoder(BalanceUpdate),
    "listStatus": _decoder(ListStatus),
    "eventStreamTerminated": _decoder(Ended),
    "serverShutdown": _decoder(Ended),
}


def decode(frame: Frame) -> Message | None:
    """Return what a frame says; None for a well-formed message of a kind that botd does not use."""
    try:
        outer = _envelope(frame)
        if bytes(outer.event):
            return _event(outer.event, _kind(outer.event).kind)
        if outer.kind:
            return _event(frame, outer.kind)
        return _reply(outer)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise EventError(str(error)) from None


def _event(data: Any, kind: str) -> Event | None:
    decoder = _DECODERS.get(kind)
    return None if decoder is None else decoder(data)


def _reply(outer: _Envelope) -> Reply | None:
    if not outer.status:
        return None
    fault = outer.error or _Fault()
    number = _subscribed(outer.result).number if bytes(outer.result)[:1] == b"{" else None
    found = outer.id if isinstance(outer.id, int) else 0
    until = fault.data.get("retryAfter") if isinstance(fault.data, dict) else 0
    return Reply(found, outer.status, fault.code, fault.msg, number, until if isinstance(until, int) else 0)
