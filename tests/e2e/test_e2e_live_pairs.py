"""A real botd whose stop and target rest as a pair: said, cancelled by panic, placed again, sold with botd dead."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from tests.fakes.binance import FrontThread, RunningClock
from tests.fakes.binance.exchange.wire import Exchange
from tests.fakes.live_daemon import BETA, configure, live_market, ready


@pytest.fixture
def venue() -> Exchange:
    return Exchange({"USDT": "10000"})


@pytest.fixture
def front(venue: Exchange) -> Iterator[FrontThread]:
    with FrontThread(live_market("ETHUSDT"), clock=RunningClock(), exchange=venue) as thread:
        yield thread


def pair(venue: Exchange) -> dict[str, Any]:
    """Return the working legs by type."""
    return {order.type: order for order in venue.books.open_orders()}


def guarded(botd: Any) -> str:
    position = botd.json("show", "beta")["position"]
    return "" if position is None else str(position["guard_detail"])


def test_a_pair_rests_is_said_cancelled_by_panic_placed_again_and_its_target_sells_with_botd_dead(
    make_botd: Any, front: FrontThread, venue: Exchange
) -> None:
    botd = configure(make_botd(), front).start()
    botd.run("create", *BETA, "--take-profit", "3%")
    ready(botd)
    botd.run("live", "arm", "--yes")
    botd.until(lambda: guarded(botd) == "stop and target rest on the exchange", 90)  # it enters at the minute's close
    legs = pair(venue)
    assert set(legs) == {"STOP_LOSS", "LIMIT_MAKER"} and len({order.list_id for order in legs.values()}) == 1
    assert "stop and target rest on the exchange" in botd.run("show", "beta").stdout
    assert "stop and target rest on the exchange" in botd.run("why", "beta").stdout
    assert botd.json("reconcile", "--explain")["match"]

    botd.kill()
    done = botd.run("panic", "--config", str(botd.config_file), "--yes", "-o", "json", check=False, timeout=120)
    assert (done.returncode, pair(venue)) == (0, {}), done.stderr
    rows = json.loads(done.stdout)
    canceled = {row["client_order_id"] for row in rows if row["result"] == "canceled"}
    assert canceled == {order.client_id for order in legs.values()}

    botd.start()
    botd.until(lambda: guarded(botd) == "stop and target rest on the exchange", 60)
    again = pair(venue)
    assert again.keys() == legs.keys() and not {order.client_id for order in again.values()} & canceled

    botd.kill()
    price = again["LIMIT_MAKER"].price
    front.call(venue.set_price, "ETHUSDT", str(price), str(price + Decimal("0.01")))
    assert pair(venue) == {} and venue.books.orders[again["LIMIT_MAKER"].id].status == "FILLED"
    botd.start()
    botd.until(lambda: [row["exit_reason"] for row in botd.json("trades", "beta") if row["exit_reason"]], 60)
    assert botd.json("trades", "beta")[0]["exit_reason"] == "take_profit"
    botd.until(botd.is_reconciled, 30)
    front.call(venue.venue.check)
    assert botd.stop() == 0
