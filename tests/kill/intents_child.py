"""A process that sends orders intent-first while its disk fails, and says what it sent and what it denied.

``python -m tests.kill.intents_child DIRECTORY ORDERS`` prints one JSON object. At each send the ledger's file is read
by a connection of its own: is the intent durable?
"""

from __future__ import annotations

import asyncio
import json
import sys
from decimal import Decimal
from pathlib import Path

from botd.domain.clock import WallClock
from botd.domain.errors import UnavailableError
from botd.domain.order import Order, OrderStatus
from botd.execution.durable import DurableOrders
from botd.execution.gateway import Gateway
from botd.ledger import schema
from tests.fakes.fake_exchange import buy
from tests.fakes.ledger_rows import open_ledger, record
from tests.fakes.remote_exchange import RemoteFake
from tests.fakes.remote_room import Owner


class Witness(RemoteFake):
    """An exchange that looks into the ledger before it takes an order."""

    def __init__(self, path: Path) -> None:
        super().__init__(USDT="1000000")
        self.arrived: list[str] = []
        self.not_durable: list[str] = []
        self._path = path

    def submit(self, order: Order) -> None:
        self.arrived.append(order.client_order_id)
        reader = schema.connect(self._path, write=False)
        found = reader.execute("SELECT 1 FROM orders WHERE client_order_id = ?", (order.client_order_id,)).fetchone()
        reader.close()
        if found is None:
            self.not_durable.append(order.client_order_id)
        super().submit(order)


async def main(directory: Path, orders: int) -> None:
    ledger = open_ledger(directory, retry_s=0.02)
    ledger.journal.bot(record(1))
    exchange = Witness(ledger.path)
    gateway = Gateway(
        exchange=exchange, journal=ledger.journal, clock=WallClock(), mode="live", instance="ABCDE",
        send_later=lambda delay, call: None, commit_intent=DurableOrders(ledger).commit_intent,
    )  # fmt: skip
    gateway.register(1, Owner())
    denied, later = [], []
    for _ in range(orders):
        order = gateway.submit(buy(), Decimal(1))
        while order.client_order_id not in exchange.arrived and order.status is not OrderStatus.DENIED:
            await asyncio.sleep(0.001)
        if order.status is OrderStatus.DENIED:
            denied.append(order.client_order_id)
            await asyncio.sleep(0.02)
        elif denied:
            later.append(order.client_order_id)
        try:
            await ledger.commit()
        except UnavailableError:
            pass  # kept, in order, and written once the disk allows
    await ledger.drain(1)
    await ledger.close()
    print(json.dumps({"sent": exchange.arrived, "denied": denied, "later": later, "not_durable": exchange.not_durable}))


if __name__ == "__main__":
    asyncio.run(asyncio.wait_for(main(Path(sys.argv[1]), int(sys.argv[2])), 60))
