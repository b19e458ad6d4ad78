"""Orders through seeded faults: what is told is true, whatever happens on the way; the exchange's books judge."""

from __future__ import annotations

import asyncio
import random

import pytest

from botd.domain.order import OrderStatus
from tests.fakes.binance.exchange import ExchangeFault, named
from tests.fakes.binance.exchange.fault_plan import ExchangeFaults
from tests.fakes.binance.exchange.wire import Exchange
from tests.fakes.live_account import BTC, LiveAccount, account, play, venue

NAMES = (
    "accept_then_timeout", "lost_request", "cut_before", "cut_after", "5xx_with_effect", "5xx_without_effect",
    "-1006_with_effect", "-1007_with_effect", "-1007_late_effect", "-1007_without_effect", "-1008", "-1021", "-2010",
    "200_truncated", "200_html", "200_empty", "slow", "slow_answer", "cancel_fill_race", "cancel_partial_race",
    "events_dropped", "events_twice", "events_reordered", "split_fills", "stream_cut", "stream_end",
)  # fmt: skip
ORDERS = 40


def plan(seed: int) -> list[ExchangeFault]:
    """Twelve faults that hold together for the whole scene, each with its own chance; long waits made short."""
    dice = random.Random(seed)
    found = []
    for name in dice.sample(NAMES, 12):
        short = {"delay_ms": 60} if name in ("slow", "slow_answer", "-1007_late_effect", "events_twice") else {}
        limits = {"times": 2, "at_ms": 100} if name.startswith("stream") else {"chance": dice.choice((0.1, 0.3))}
        found.append(named(name, **short, **limits))
    return found


async def trade(live: LiveAccount, dice: random.Random) -> str:
    """Place an order, and often cancel it before or after its answer."""
    await asyncio.sleep(dice.random() * 0.3)
    kind = dice.choice(("market", "limit", "limit_maker"))
    price = {} if kind == "market" else {"price": dice.choice(("50000", "59999.5"))}
    order = live.submit(
        dice.choice(("buy", "sell")) if kind == "market" else "buy", kind=kind, quantity="0.001", **price
    )
    if dice.random() < 0.6:
        await asyncio.sleep(dice.random() * 0.05)
        live.exchange.know({order: BTC})
        live.exchange.cancel(order)
    await live.until(lambda: live.told(order), 10)
    return order


@pytest.mark.parametrize("seed", range(6))
def test_a_refusal_was_never_placed_an_order_is_placed_once_and_nothing_goes_untold(seed: int) -> None:
    async def scene() -> None:
        dice = random.Random(f"orders {seed}")
        made = Exchange({"USDT": "100000", "BTC": "1"}, faults=ExchangeFaults(plan(seed), seed))
        async with venue(made) as front, account(front, start=False, timeout_s=0.3) as live:
            held = list(made.venue.faults.entries)
            made.venue.mend_all()
            await live.exchange.start()
            await live.until(lambda: live.streams)
            made.venue.faults.entries = held
            live.site.governor.orders.set_limits({"10S": 10_000})
            orders = await asyncio.gather(*(trade(live, dice) for _ in range(ORDERS)))
            await live.until(lambda: not live.exchange.statistics()["orders"]["under_way"])
            made.venue.mend_all()
            await asyncio.sleep(0.15)  # what was accepted late has arrived
            books = made.books
            assert max(len(books.of_client(order)) for order in orders) <= 1
            for order in orders:
                placed, statuses = books.of_client(order), live.statuses(order)
                if not placed:
                    assert statuses <= {OrderStatus.REJECTED, OrderStatus.UNKNOWN}, order
                else:
                    assert OrderStatus.REJECTED not in statuses, order
                    assert live.trades(order) <= {str(trade.id) for trade in placed[0].trades}, order
                    found = await live.exchange.find_order(BTC, order)
                    assert found is not None and found.filled == placed[0].executed
            trades = await live.exchange.find_trades(BTC, since_ms=live.clock.now_ms() - 60_000)
            assert {trade.trade_id for trade in trades} == {str(trade.id) for trade in books.trades}
            books.check()

    play(scene)
