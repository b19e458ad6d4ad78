"""A trade is read while its order's own report is on the way: it is ours, and counts once."""

from __future__ import annotations

from decimal import Decimal

from botd.execution.durable import KeptOrder
from tests.fakes.remote_room import RemoteRoom, run


def test_a_report_that_comes_while_the_ledger_is_asked_makes_the_trade_ours() -> None:
    class Asked(RemoteRoom):
        """The report arrives while the archive is read."""

        async def by_exchange_id(self, symbol: str, exchange_order_id: str) -> KeptOrder | None:
            if room.exchange.orders:
                room.exchange.tell(order.client_order_id, room.exchange.trades[0])
            return None

    async def script() -> None:
        nonlocal room, order
        room = Asked()
        await room.reconciler.step()
        room.exchange.silent = True
        order = room.order("0.5")
        room.exchange.trade(order.client_order_id, "0.5", told=False)
        await room.reconciler.trades.read("BTC/USDT")
        assert order.filled == Decimal("0.5") and len(room.owner.fills) == 1
        assert "account.external" not in room.journal.topics()
        assert room.reconciler.account.expected["BTC"] == Decimal("0.5")

    room: RemoteRoom
    order: object
    run(script())
