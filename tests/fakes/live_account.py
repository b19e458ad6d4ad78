"""The live exchange against the front's exchange, over real sockets, and everything that it told."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from typing import Any

from botd.domain.clock import WallClock
from botd.domain.order import Order, OrderStatus, OrderType, Purpose, Report, Side
from botd.exchange.binance.binance import BinanceExchange
from botd.exchange.binance.signing import make_signer
from botd.exchange.binance.site import Site
from botd.exchange.binance.stream_rules import StreamRules
from botd.exchange.remote import RemoteOrder
from tests.fakes.binance import BinanceFront
from tests.fakes.binance.exchange import DEFAULT_KEY
from tests.fakes.binance.exchange.wire import Exchange
from tests.fakes.live_scene import play as play

BTC = "BTC/USDT"
FAST = StreamRules(open_s=2.0, reply_s=1.0, first_pause_s=0.02, longest_pause_s=0.1, stable_s=0.05)


def bot_of(client_order_id: str) -> int | None:
    """Ours are ``L-bot-sequence``."""
    letter, _, rest = client_order_id.partition("-")
    return int(rest.partition("-")[0]) if letter == "L" else None


class LiveAccount:
    """A botd side (site, exchange) and what it reported. It is its own listener."""

    def __init__(self, front: BinanceFront, *, timeout_s: float = 2.0, **options: Any) -> None:
        self.clock = WallClock()
        site_options = {name: options.pop(name) for name in ("ssl_context", "resolver", "testnet") if name in options}
        urls = {} if "resolver" in site_options else {"rest": front.rest_url, "ws_api": front.ws_url}
        self.site = Site(self.clock, timeout_s=timeout_s, **urls, **site_options)
        key = options.pop("key", (DEFAULT_KEY.key, DEFAULT_KEY.secret))
        self.exchange = BinanceExchange(
            site=self.site,
            signer=make_signer(*key),
            clock=self.clock,
            owner_of=bot_of,
            rules=options.pop("rules", FAST),
        )
        self.reports: list[Report] = []
        self.doubts: list[tuple[str, str]] = []
        self.foreign: list[RemoteOrder] = []
        self.transfers: list[tuple[str, Decimal]] = []
        self.streams: list[bool] = []
        self.steps = 0
        self._numbers = itertools.count(1)
        self.exchange.listen(self.reports.append)
        self.exchange.listen_account(self)

    def on_doubt(self, client_order_id: str, reason: str) -> None:
        self.doubts.append((client_order_id, reason))

    def on_foreign(self, order: RemoteOrder) -> None:
        self.foreign.append(order)

    def on_transfer(self, asset: str, amount: Decimal, time_ms: int) -> None:
        self.transfers.append((asset, amount))

    def on_stream(self, up: bool) -> None:
        self.streams.append(up)

    def on_clock_step(self) -> None:
        self.steps += 1

    def order(self, side: str = "buy", quantity: str = "0.01", kind: str = "market", **values: Any) -> Order:
        """Return an order of bot 7 with the next id; prices as text."""
        amounts = {name: Decimal(value) if name in ("price", "stop_price") else value for name, value in values.items()}
        given = {
            "client_order_id": f"L-7-{next(self._numbers)}", "bot": 7, "symbol": BTC, "interval": "1m",
            "side": Side(side), "type": OrderType(kind), "quantity": Decimal(quantity), "purpose": Purpose.ENTRY,
        }  # fmt: skip
        return Order(**{**given, **amounts})

    def submit(self, *arguments: Any, **values: Any) -> str:
        order = self.order(*arguments, **values)
        self.exchange.submit(order)
        return order.client_order_id

    def told(self, client_order_id: str) -> list[Report]:
        return [report for report in self.reports if report.client_order_id == client_order_id]

    def statuses(self, client_order_id: str) -> set[OrderStatus]:
        return {report.status for report in self.told(client_order_id)}

    def trades(self, client_order_id: str) -> set[str]:
        return {report.fill.trade_id for report in self.told(client_order_id) if report.fill is not None}

    async def until(self, condition: Callable[[], Any], seconds: float = 5.0) -> None:
        """Wait until something holds: bounded, and no longer than it takes."""
        async with asyncio.timeout(seconds):
            while not condition():
                await asyncio.sleep(0.002)

    async def settled(self, client_order_id: str) -> Report:
        """Return the last report of an order, as soon as one has come from the answer or the stream."""
        await self.until(lambda: self.told(client_order_id))
        return self.told(client_order_id)[-1]

    async def close(self) -> None:
        await self.exchange.close(budget_s=0.2)
        await self.site.close()


@contextlib.asynccontextmanager
async def venue(exchange: Exchange | None = None, **options: Any) -> AsyncIterator[BinanceFront]:
    """A front with an exchange where BTC costs 60,000; ``front.exchange`` steers it."""
    made = exchange or Exchange({"USDT": "100000", "BTC": "1"})
    front = await BinanceFront(["BTCUSDT", "BNBUSDT"], exchange=made, **options).start()
    made.set_price("BTCUSDT", "60000.00", "60000.01")
    try:
        yield front
    finally:
        await front.stop()


@contextlib.asynccontextmanager
async def account(front: BinanceFront, *, start: bool = True, **options: Any) -> AsyncIterator[LiveAccount]:
    """A live exchange that is started and hears its events."""
    made = LiveAccount(front, **options)
    try:
        if start:
            await made.exchange.start()
            await made.until(lambda: made.streams)
        yield made
    finally:
        await made.close()
