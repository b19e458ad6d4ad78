"""botctl panic with botd dead: no order of ours is left at the exchange, what is held is sold, the next start knows."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from botd.execution.client_ids import client_order_id
from tests.fakes.binance import FrontThread, RunningClock
from tests.fakes.binance.exchange.wire import Exchange
from tests.fakes.live_daemon import NO_LIMITS, REST, configure, live_market, ready

ALPHA = ("alpha", "--strategy", "buyer", "--symbol", "BTC/USDT", *REST)
DELTA = ("delta", "--strategy", "ladder", "--symbol", "ETH/USDT", *REST)
HAND, FOREIGN = "by-hand", client_order_id("live", "ZZZZZ", 1, 7)


@pytest.fixture
def venue() -> Exchange:
    return Exchange({"USDT": "10000", "BNB": "10"}, orders_10s=1000)


@pytest.fixture
def front(venue: Exchange) -> Iterator[FrontThread]:
    with FrontThread(live_market("BTCUSDT", "ETHUSDT", "BNBUSDT"), clock=RunningClock(), exchange=venue) as thread:
        yield thread


@pytest.fixture
def botd(make_botd: Any, front: FrontThread, venue: Exchange) -> Any:
    """A botd that holds coins and has working entries, beside orders of others."""
    botd = configure(make_botd(), front, risk=NO_LIMITS).start()
    botd.run("create", *ALPHA)
    botd.run("create", *DELTA)
    ready(botd)
    botd.run("live", "arm", "--yes")
    botd.until(lambda: botd.json("show", "alpha")["position"] is not None, 30)
    botd.until(lambda: len(ours(venue)) >= 20, 30)
    for client in (HAND, FOREIGN):
        asked = {"symbol": "BNBUSDT", "side": "SELL", "type": "LIMIT", "quantity": "1", "price": "1500"}
        front.call(lambda c=client, a=asked: venue.venue.order(**a, timeInForce="GTC", newClientOrderId=c))
    return botd


def ours(venue: Exchange) -> list[Any]:
    return [order for order in venue.books.open_orders() if order.client_id not in (HAND, FOREIGN)]


def panic(botd: Any, *words: str) -> tuple[int, list[dict[str, Any]], str]:
    done = botd.run("panic", "--config", str(botd.config_file), *words, "-o", "json", check=False, timeout=120)
    return done.returncode, json.loads(done.stdout or "[]"), done.stderr


def test_panic_asks_and_refuses_paper(make_botd: Any, botd: Any, venue: Exchange) -> None:
    botd.kill()
    assert panic(botd)[0] == 2 and ours(venue)
    paper = make_botd(name="paper")
    code, _, said = panic(paper, "--yes")
    assert code == 5 and "trades on paper" in said


def test_with_botd_dead_no_order_of_ours_is_left_what_is_held_is_sold_and_the_next_start_books_it(
    botd: Any, front: FrontThread, venue: Exchange
) -> None:
    botd.kill()
    working = {order.client_id for order in ours(venue)}
    code, rows, said = panic(botd, "--yes")
    assert (code, ours(venue)) == (0, []), said
    assert {order.client_id for order in venue.books.open_orders()} == {HAND, FOREIGN}
    assert {row["client_order_id"] for row in rows if row["result"] == "canceled"} == working
    assert "2 working orders of others are left alone" in said
    held = venue.books.free("BTC")
    assert held > 0

    code, rows, said = panic(botd, "--sell", "--yes")
    assert code == 0, (rows, said)
    sale = next(row for row in rows if row["kind"] == "position")
    assert (sale["bot"], sale["result"]) == ("alpha", "sold")
    assert venue.books.free("BTC") < Decimal("0.00001")
    assert panic(botd, "--sell", "--yes")[0] == 0  # again: nothing is left to sell
    assert venue.books.free("BTC") < Decimal("0.00001")
    for other in venue.books.open_orders():
        front.call(venue.venue.engine.cancel, "BNBUSDT", None, other.client_id)

    botd.start()
    botd.until(botd.is_reconciled, 30)
    ready(botd)
    assert "panic" in [trade["exit_reason"] for trade in botd.json("trades", "alpha")]
    booked = [fill for fill in botd.json("fills") if fill["client_order_id"] == sale["client_order_id"]]
    assert (
        sum(Decimal(fill["quantity"]) for fill in booked) == venue.books.of_client(sale["client_order_id"])[0].executed
    )
    front.call(venue.venue.check)


def test_a_botd_that_hangs_is_named_and_its_orders_are_cancelled_all_the_same(botd: Any, venue: Exchange) -> None:
    botd.process.send_signal(signal.SIGSTOP)
    try:
        code, _, said = panic(botd, "--yes")
        assert (code, ours(venue)) == (0, []), said
        assert f"kill -9 {botd.process.pid}" in said
    finally:
        botd.kill()
