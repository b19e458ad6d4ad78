"""A real botd trading live on a Binance front: intent first, fills, protection, kill -9, halt, books that match."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import ROUND_FLOOR, Decimal
from typing import Any

import pytest

from tests.fakes.binance import CandleMarket, FrontThread, Pace, RunningClock
from tests.fakes.binance.exchange import DEFAULT_KEY
from tests.fakes.binance.exchange.wire import Exchange

BUYER = '''
from decimal import ROUND_FLOOR, Decimal
from botd.strategy.base import EventStrategy


class Buyer(EventStrategy):
    """Buys for a tenth of its cash at market whenever it holds nothing."""

    def on_candle(self, context, candle):
        pass

    def on_tick(self, context, price):
        if not context.quantity() and not context.orders():
            context.buy(context.cash() / 10 / Decimal(repr(price)))
'''
HOLDER = '''
import numpy as np
from botd.strategy.base import SignalStrategy, Signals


class Holder(SignalStrategy):
    """Always wants to be in."""

    def warmup(self):
        return 1

    def signals(self, candles):
        return Signals(enter=np.ones(len(candles), bool), exit=np.zeros(len(candles), bool))
'''
REST = ("--interval", "1m", "--capital", "1000", "--stop-loss", "2%", "--start", "--live")
ALPHA = ("alpha", "--strategy", "buyer", "--symbol", "BTC/USDT", *REST)
BETA = ("beta", "--strategy", "holder", "--symbol", "ETH/USDT", *REST)


@pytest.fixture
def venue() -> Exchange:
    return Exchange({"USDT": "10000"})


@pytest.fixture
def front(venue: Exchange) -> Iterator[FrontThread]:
    market = CandleMarket(["BTCUSDT", "ETHUSDT"], pace=Pace(kline_ms=1000, book_ms=200))
    with FrontThread(market, clock=RunningClock(), exchange=venue) as thread:
        yield thread


@pytest.fixture
def botd(make_botd: Any, front: FrontThread) -> Any:
    ends = {"rest": front.rest_url, "stream": front.ws_url, "ws_api": front.ws_url}
    made = make_botd({"mode": "live", "market": {"source": "exchange"}, "endpoints": ends})
    strategies = made.config_file.parent / "strategies"
    strategies.mkdir(mode=0o700)
    (strategies / "buyer.py").write_text(BUYER)
    (strategies / "holder.py").write_text(HOLDER)
    keys = made.config_file.parent / "keys"
    keys.write_text(f"BINANCE_API_KEY={DEFAULT_KEY.key}\nBINANCE_API_SECRET={DEFAULT_KEY.secret}\n")
    keys.chmod(0o600)
    text = made.config_file.read_text()
    made.config_file.write_text(text + f"keys_file: {keys}\n")
    return made.start()


def ready(botd: Any) -> None:
    botd.until(lambda: not json.loads(botd.run("reconcile", "-o", "json", check=False).stdout)["refusals"], 30)
    botd.until(lambda: botd.run("health", check=False).returncode == 0, 30)


def legs(venue: Exchange) -> list[Any]:
    return [order for order in venue.books.open_orders() if order.asked.type == "STOP_LOSS"]


def test_live_bots_wait_for_arming_then_trade_protected_through_a_kill_and_the_books_match(
    botd: Any, front: FrontThread, venue: Exchange
) -> None:
    refused = botd.run("create", *ALPHA[:-1], check=False)
    assert refused.returncode == 5 and "--live" in refused.stderr
    botd.run("create", *ALPHA)
    botd.run("create", *BETA)
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
