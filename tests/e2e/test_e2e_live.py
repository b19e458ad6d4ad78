"""A real botd trading live on a Binance front: intent first, fills, protection, kill -9, halt, books that match."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import ROUND_FLOOR, Decimal
from typing import Any

import pytest

from tests.fakes.binance import FrontThread, RunningClock
from tests.fakes.binance.exchange import DEFAULT_KEY
from tests.fakes.binance.exchange.wire import Exchange
from tests.fakes.live_daemon import ALPHA, BETA, configure, legs, live_market, ready


@pytest.fixture
def venue() -> Exchange:
    return Exchange({"USDT": "10000"})


@pytest.fixture
def front(venue: Exchange) -> Iterator[FrontThread]:
    with FrontThread(live_market(), clock=RunningClock(), exchange=venue) as thread:
        yield thread


@pytest.fixture
def botd(make_botd: Any, front: FrontThread) -> Any:
    return configure(make_botd(), front).start()


def test_live_bots_wait_for_arming_then_trade_protected_through_a_kill_and_the_books_match(
    botd: Any, front: FrontThread, venue: Exchange
) -> None:
    refused = botd.run("create", *ALPHA[:-1], check=False)
    assert refused.returncode == 5 and "--live" in refused.stderr
    assert "botd will guard its stop: its strategy places sales" in botd.run("create", *ALPHA).stdout
    assert "its stop will rest on the exchange" in botd.run("create", *BETA).stdout
    ready(botd)
    botd.until(lambda: "not armed" in botd.run("why", "alpha").stdout, 20)
    assert venue.books.orders == {}

    assert botd.run("live", "arm", check=False).returncode == 2  # no terminal to ask on
    botd.run("live", "arm", "--max-capital", "500", "--for", "1d", "--yes")
    botd.until(lambda: botd.json("show", "alpha")["position"] is not None, 20)
    fill, trade = botd.json("fills")[0], venue.books.trades[0]
    assert (Decimal(fill["quantity"]), Decimal(fill["price"])) == (trade.quantity, trade.price)

    botd.until(lambda: legs(venue), 80)  # beta enters at the minute's close
    held = Decimal(botd.json("show", "beta")["position"]["quantity"])
    leg = legs(venue)[0]
    assert leg.asked.symbol == "ETHUSDT" and leg.asked.quantity == held.quantize(Decimal("0.0001"), ROUND_FLOOR)
    botd.until(lambda: botd.json("show", "beta")["position"]["guard"] == "exchange", 20)
    unprotected = [botd.json("stats", name)[0]["seconds_unprotected"] for name in ("alpha", "beta")]
    assert unprotected[0] == 0 and 0 < unprotected[1] < 30  # alpha's stop was declared botd's, beta's had to be placed
    assert botd.json("show", "alpha")["position"]["guard"] == "botd"  # its strategy may place sales of its own
    botd.kill()
    botd.start()
    ready(botd)
    botd.until(lambda: len(legs(venue)) == 1, 20)
    made = [len(venue.books.of_client(order["client_order_id"])) for order in botd.json("orders")]
    assert max(made) == 1  # nothing was sent twice

    found = botd.json("reconcile", "--explain")
    assert found["match"] and {"alpha", "beta"} <= {row["owner"] for row in found["rows"]}
    assert "orders 10s" in botd.run("limits").stdout
    assert botd.run("halt").returncode == 0
    for name in ("alpha", "beta"):
        botd.run("close", name, timeout=90)
        assert botd.json("show", name)["position"] is None
    botd.until(lambda: venue.books.open_orders() == [], 20)
    front.call(venue.venue.check)
    assert botd.stop() == 0
    assert DEFAULT_KEY.secret not in botd.log()
