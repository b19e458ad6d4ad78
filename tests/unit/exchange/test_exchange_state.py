"""The exchange's state: exact to the last digit, and the same future after a restart."""

from __future__ import annotations

import random
from decimal import Context, Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from botd.domain.amounts import money
from botd.domain.order import Report, Side
from botd.market.feed import Quote
from tests.fakes.exchange_desk import Desk

FEES = {"maker_fee": Decimal("0.00075"), "taker_fee": Decimal("0.001"), "slippage": Decimal("0.0005")}
KINDS = ["market", "limit", "limit_maker", "stop_loss", "stop_loss_limit", "take_profit", "take_profit_limit"]
SETTINGS: list[dict[str, Any]] = [
    {"candle_feed": True},
    {"candle_feed": True, "fee_asset": "base", "max_volume_pct": Decimal("0.05")},
    {"candle_feed": True, "fee_asset": "BNB"},
    {"candle_feed": False, "fee_asset": "BNB"},
    {"candle_feed": False, "latency_ms": 700},
]
slow_ok = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


class Walk:
    """Random operations on a desk, the same for the same seed."""

    def __init__(self, seed: int, **fields: Any) -> None:
        balance = {"USDT": Decimal(5000), "BTC": Decimal(3), "BNB": Decimal("0.01")}
        self.desk = Desk(**{"balance": balance, **FEES, **fields})
        self.random = random.Random(seed)
        self.minute = 0
        self.price = 100.0
        self.answers = random.Random(seed + 1)
        self.desk.on_report = self.answer
        self.depth = 0

    def answer(self, report: Report) -> None:
        """Now and then act from within a report."""
        if report.fill is None or self.depth or self.answers.random() < 0.6:
            return
        self.depth += 1
        if self.answers.random() < 0.5:
            self.order(self.answers)
        else:
            self.cancel(self.answers)
        self.depth -= 1

    def order(self, chance: random.Random) -> None:
        fields: dict[str, Any] = {}
        level = round(self.price * chance.uniform(0.97, 1.03), 2)
        kind = chance.choice(KINDS)
        if "limit" in kind:
            fields["price"] = level
        if kind.startswith(("stop", "take")):
            fields["stop_price"] = round(self.price * chance.uniform(0.97, 1.03), 2)
        if chance.random() < 0.2:
            fields["trigger_price"] = self.price
        quantity = f"{chance.randint(1, 200_000) / 100_000:.5f}"
        self.desk.send(chance.choice(list(Side)), kind, quantity, **fields)

    def cancel(self, chance: random.Random) -> None:
        orders = self.desk.exchange.open_orders()
        self.desk.exchange.cancel(chance.choice(orders).client_order_id if orders else "nobody")

    def step(self) -> None:
        draw = self.random.random()
        if draw < 0.45:
            self.order(self.random)
        elif draw < 0.55:
            self.cancel(self.random)
        elif self.desk.candle_feed:
            self.candle()
        else:
            self.tick()

    def candle(self) -> None:
        chance = self.random
        open_ = round(self.price * chance.uniform(0.995, 1.005), 2)
        close = round(open_ * chance.uniform(0.98, 1.02), 2)
        high, low = max(open_, close) + chance.randint(0, 200) / 100, min(open_, close) - chance.randint(0, 200) / 100
        if chance.random() < 0.5:
            self.desk.close(self.minute, 600.0, 600.0, 600.0, 600.0, symbol="BNB/USDT")
        self.desk.open(self.minute, open_)
        if chance.random() < 0.3:
            self.order(chance)
        self.desk.close(self.minute, open_, high, low, close, volume=chance.choice([0.0, 1.5, 40.0]))
        self.minute += 1
        self.price = close

    def tick(self) -> None:
        self.desk.clock.advance(self.desk.clock.now_ms() + self.random.randint(0, 500))
        self.price = round(self.price * self.random.uniform(0.99, 1.01), 2)
        self.desk.tick(self.price - 0.02, self.price + 0.02, self.price)
        if self.random.random() < 0.2:
            self.desk.tick(599.0, 600.0, symbol="BNB/USDT")

    def restart(self, rows: dict[str, str]) -> None:
        """Replace the exchange by a new one that knows only the rows and the market's prices."""
        old, self.desk.exchange = self.desk.exchange, self.desk.new_exchange()
        self.desk.exchange.restore(rows)
        for symbol, price in old._prices.items():
            quote = old._quotes.get(symbol) or Quote(price, price, price, self.desk.clock.now_ms())
            self.desk.exchange.prime(symbol, quote)


def apply(rows: dict[str, str], changes: dict[str, str | None]) -> None:
    for key, text in changes.items():
        if text is None:
            del rows[key]  # only what was once written may be deleted
        else:
            rows[key] = text


@slow_ok
@given(seed=st.integers(0, 10_000), fields=st.sampled_from(SETTINGS), stops=st.sets(st.integers(0, 60), max_size=8))
def test_a_restored_exchange_has_the_same_future(seed: int, fields: dict[str, Any], stops: set[int]) -> None:
    plain, restarted = Walk(seed, **fields), Walk(seed, **fields)
    rows: dict[str, str] = {}
    for number in range(60):
        plain.step()
        restarted.step()
        if number in stops:
            apply(rows, restarted.desk.exchange.drain_changes())
            restarted.restart(rows)
        assert restarted.desk.reports == plain.desk.reports
    assert restarted.desk.exchange.balances() == plain.desk.exchange.balances()
    assert restarted.desk.exchange.open_orders() == plain.desk.exchange.open_orders()


@slow_ok
@given(seed=st.integers(0, 10_000), fields=st.sampled_from(SETTINGS))
def test_start_plus_fills_minus_fees_is_the_balance_exactly(seed: int, fields: dict[str, Any]) -> None:
    walk = Walk(seed, **fields)
    for _ in range(80):
        walk.step()
    wide = Context(prec=60)
    expected = {"USDT": Decimal(5000), "BTC": Decimal(3), "BNB": Decimal("0.01")}
    for fill in walk.desk.fills:
        sign = 1 if fill.side is Side.BUY else -1
        expected["BTC"] = wide.add(expected["BTC"], sign * fill.quantity)
        expected["USDT"] = wide.subtract(expected["USDT"], sign * money(fill.notional))
        expected[fill.fee_asset] = wide.subtract(expected[fill.fee_asset], fill.fee)
    balances = walk.desk.exchange.balances()
    assert {asset: balance.total for asset, balance in balances.items()} == expected
    assert balances["BTC"].total >= 0
    reserved = {"USDT": Decimal(0), "BTC": Decimal(0)}
    for order in walk.desk.exchange._book.orders.values():
        reserved[order.asset] = wide.add(reserved[order.asset], order.reservation())
    for asset, amount in reserved.items():
        assert balances[asset].total - balances[asset].free == amount


@slow_ok
@given(seed=st.integers(0, 10_000), fields=st.sampled_from(SETTINGS))
def test_fills_never_exceed_the_order_and_trade_ids_are_unique(seed: int, fields: dict[str, Any]) -> None:
    walk = Walk(seed, **fields)
    for _ in range(80):
        walk.step()
    assert len({fill.trade_id for fill in walk.desk.fills}) == len(walk.desk.fills)
    ranks: dict[str, list[int]] = {}
    for report in walk.desk.reports:
        if report.reason != "Unknown order sent.":
            ranks.setdefault(report.client_order_id, []).append(report.status.rank)
    assert all(row == sorted(row) for row in ranks.values())


def test_nothing_changed_is_nothing_to_write() -> None:
    desk = Desk()
    assert set(desk.exchange.drain_changes()) == {"balance:USDT", "balance:BTC"}
    desk.close(0, 100.0, 101.0, 99.0, 100.0)
    desk.open(1, 100.0)
    assert desk.exchange.drain_changes() == {}


def test_an_order_that_came_and_went_between_two_drains_leaves_no_row() -> None:
    desk = Desk()
    desk.exchange.drain_changes()
    desk.send("sell", "market", trigger_price=100.0)
    assert set(desk.exchange.drain_changes()) == {"balance:USDT", "balance:BTC", "sequence"}


def test_an_ended_order_deletes_its_row_also_after_a_restart() -> None:
    desk = Desk()
    desk.send("buy", "limit", price=90)
    rows: dict[str, str] = {}
    apply(rows, desk.exchange.drain_changes())
    desk.exchange = desk.new_exchange()
    desk.exchange.restore(rows)
    assert desk.exchange.drain_changes() == {}
    desk.exchange.cancel("c1")
    assert desk.exchange.drain_changes() == {"order:c1": None}


def test_without_rows_the_configured_balance_stands_and_with_rows_the_rows_win() -> None:
    desk = Desk(balance={"USDT": Decimal(7)})
    desk.exchange.restore({})
    assert desk.total("USDT") == 7
    desk.exchange.restore({"balance:USDT": '"5"'})
    assert desk.total("USDT") == 5


@pytest.mark.parametrize("amount", ["123456789012345.1234567890123456", "0.0000000000000001"])
def test_balances_keep_sixteen_decimals_at_any_size(amount: str) -> None:
    desk = Desk(balance={"USDT": Decimal(amount), "BTC": Decimal(1)})
    desk.send("sell", "market", trigger_price=100.0)
    assert desk.total("USDT") == Context(prec=60).add(Decimal(amount), Decimal("9.98"))
