"""What bots hold and entries may buy, kept order by order: the same as adding all of it up, whatever happened."""

from __future__ import annotations

import random
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from botd.domain.clock import VirtualClock
from botd.domain.order import Fill, Order, OrderStatus, OrderType, Purpose, Report, Side
from botd.execution.orders import OrderTable
from botd.orchestrator.exposure import Exposure

D = Decimal
SYMBOLS = ("BTC/USDT", "ETH/USDT", "SOL/USDT")


class Nothing:
    """A journal that keeps nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *given: None


class Owner:
    """A bot as far as it has a position, some of which it writes off when an order ends."""

    def __init__(self, number: int, symbol: str) -> None:
        self.number, self.name, self.spec = number, f"bot{number}", SimpleNamespace(symbol=symbol)
        self.book = SimpleNamespace(position=SimpleNamespace(quantity=D(0)))

    def on_fill(self, order: Order, fill: Fill) -> Decimal:
        sign = 1 if fill.side is Side.BUY else -1
        self.book.position.quantity = max(D(0), self.book.position.quantity + sign * fill.quantity)
        return D(0)

    def on_order_end(self, order: Order) -> None:
        if self.book.position.quantity < D("0.05"):
            self.book.position.quantity = D(0)

    def on_resurrected(self, order: Order, ended_as: OrderStatus) -> None: ...


class Play:
    """Bots, a table of orders, and random things that happen to them."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.bots: dict[int, Owner] = {}
        self.table = OrderTable(journal=Nothing(), clock=VirtualClock(), instance="AAAAA", remote=False)  # type: ignore[arg-type]
        self.exposure = Exposure(self.table.open_orders, self.bots.values)  # type: ignore[arg-type]
        self.table.on_changed = self.exposure.note
        self.orders: list[Order] = []
        self.made = 0

    def create(self) -> None:
        self.made += 1
        owner = self.bots[self.made] = Owner(self.made, self.dice.choice(SYMBOLS))
        if self.dice.random() < 0.3:
            owner.book.position.quantity = D(self.dice.randint(1, 500)) / 100  # from the ledger
        self.table.register(self.made, owner)

    def remove(self) -> None:
        if self.bots:
            del self.bots[self.dice.choice(list(self.bots))]

    def enter(self) -> None:
        if not self.bots:
            return
        bot = self.dice.choice(list(self.bots.values()))
        limited = self.dice.random() < 0.5
        order = Order(
            client_order_id=f"o{len(self.orders)}",
            bot=bot.number,
            symbol=bot.spec.symbol,
            interval="1m",
            side=self.dice.choice((Side.BUY, Side.SELL)),
            type=OrderType.LIMIT if limited else OrderType.MARKET,
            quantity=D(self.dice.randint(10, 999)) / 100,
            price=D(self.dice.randint(1, 99999)) / 100 if limited else None,
        )
        order.purpose = Purpose.ENTRY if order.side is Side.BUY else Purpose.EXIT
        self.orders.append(order)
        self.table.keep(order)

    def report(self) -> None:
        """A fill, or an end, of an order that may have ended already."""
        if not self.orders:
            return
        order, fill, status = self.dice.choice(self.orders), None, OrderStatus.CANCELED
        if self.dice.random() < 0.7 and order.remaining > 0:
            part = min(order.remaining, D(self.dice.randint(1, 400)) / 100)
            status = OrderStatus.FILLED if part == order.remaining else OrderStatus.PARTIAL
            fill = Fill(
                trade_id=f"t{self.dice.random()}",
                client_order_id=order.client_order_id,
                bot=order.bot,
                symbol=order.symbol,
                side=order.side,
                quantity=part,
                price=D(10),
                fee=D(0),
                fee_asset="USDT",
                time_ms=1,
            )
        self.table.apply(Report(client_order_id=order.client_order_id, status=status, time_ms=1, fill=fill))

    def plain(self) -> dict[str, list[Decimal]]:
        found: dict[str, list[Decimal]] = {}
        for bot in self.bots.values():
            if bot.book.position.quantity:
                found.setdefault(bot.spec.symbol, [D(0)] * 3)[0] += bot.book.position.quantity
        for order in self.table.open_orders():
            if order.purpose is Purpose.ENTRY:
                place = found.setdefault(order.symbol, [D(0)] * 3)
                if order.price is not None:
                    place[1] += order.remaining * order.price
                else:
                    place[2] += order.remaining
        return found


@pytest.mark.parametrize("seed", range(20))
def test_it_equals_the_plain_sum_after_every_step_of_a_random_play(seed: int) -> None:
    play = Play(seed)
    steps = (play.create, play.enter, play.enter, play.enter, play.report, play.report, play.report, play.remove)
    weights = (3, 4, 4, 4, 5, 5, 5, 1)
    for _ in range(400):
        play.dice.choices(steps, weights)[0]()
        if play.dice.random() < 0.5:  # not asked after every step: what was not asked for is kept up to date too
            kept = {symbol: [sums.held, sums.limited, sums.at_market] for symbol, sums in play.exposure.sums().items()}
            assert kept == play.plain()
    assert play.table.counts["fills"] > 20
