"""Bringing an order to what the exchange answers: its fills first, then its status. Nothing is invented."""

from __future__ import annotations

from botd.domain.order import Fill, Order, OrderStatus, Report
from botd.exchange.remote import RemoteExchange, RemoteOrder, RemoteTrade
from botd.execution.gateway import Gateway


class Learner:
    """Turns answers into reports."""

    def __init__(self, exchange: RemoteExchange, gateway: Gateway) -> None:
        self._exchange = exchange
        self._gateway = gateway

    async def learn(self, order: Order, found: RemoteOrder) -> bool:
        """Apply an answer; False while the exchange speaks of fills that it does not show yet.

        QueryFailedError: the fills could not be asked for; nothing was applied but what is known.
        """
        if found.filled > order.filled:
            trades = await self._exchange.find_trades(found.symbol, order_id=found.exchange_order_id)
            for trade in trades:
                if trade.exchange_order_id == found.exchange_order_id:
                    self.book(order, trade)
        if found.status.is_open and order.status is found.status and order.exchange_order_id:
            return self._agreed(order, found)  # no news, hence no row in the ledger
        report = Report(
            client_order_id=order.client_order_id,
            status=found.status,
            time_ms=found.updated_ms or order.updated_ms,
            exchange_order_id=found.exchange_order_id,
            filled=found.filled,
        )
        self._gateway.on_report(report)  # of one that had ended here it may say that it lives
        return self._agreed(order, found)

    def _agreed(self, order: Order, found: RemoteOrder) -> bool:
        if found.filled > order.filled:
            return False
        if not found.status.is_open or self._gateway.cancel_again(order):
            self._gateway.table.clear(order)
        return True

    def book(self, order: Order, trade: RemoteTrade) -> bool:
        """Book a trade of an order, open or ended; False where it was booked before."""
        if self._gateway.table.has_booked(order, trade.trade_id):
            return False
        fill = Fill(
            trade_id=trade.trade_id,
            client_order_id=order.client_order_id,
            bot=order.bot,
            symbol=trade.symbol,
            side=trade.side,
            quantity=trade.quantity,
            price=trade.price,
            fee=trade.fee,
            fee_asset=trade.fee_asset,
            time_ms=trade.time_ms,
        )
        self._gateway.on_report(
            Report(
                client_order_id=order.client_order_id,
                status=OrderStatus.PARTIAL if order.status.is_open else order.status,
                time_ms=trade.time_ms,
                exchange_order_id=trade.exchange_order_id,
                fill=fill,
            )
        )
        return True
