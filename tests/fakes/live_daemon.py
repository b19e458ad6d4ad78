"""A live botd on the Binance front: configuration, keys, strategies of its own, and how to wait until it trades."""

from __future__ import annotations

import json
from typing import Any

from tests.fakes.binance import CandleMarket, Pace
from tests.fakes.binance.exchange import DEFAULT_KEY, ApiKey
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
LADDER = '''
from decimal import Decimal
from botd.strategy.base import EventStrategy

RUNGS = 150


class Ladder(EventStrategy):
    """Keeps limit purchases far below the price."""

    def on_candle(self, context, candle):
        pass

    def on_tick(self, context, price):
        for rung in range(len(context.orders()), min(RUNGS, len(context.orders()) + 10)):
            bid = context.instrument.floor_price(Decimal(repr(price)) * (Decimal("0.9") - Decimal(rung) / 1000))
            context.buy(context.instrument.floor_quantity(Decimal(20) / bid), bid)
'''
CHURNER = '''
from decimal import Decimal
from botd.strategy.base import EventStrategy


class Churner(EventStrategy):
    """Places and cancels without end."""

    def on_candle(self, context, candle):
        pass

    def on_tick(self, context, price):
        for order in context.orders():
            context.cancel(order.client_order_id)
        bid = context.instrument.floor_price(Decimal(repr(price)) * Decimal("0.97"))
        quantity = context.instrument.floor_quantity(Decimal(15) / bid)
        context.buy(quantity, bid)
        if context.quantity() > quantity:
            context.sell(quantity)
        else:
            context.buy(quantity)
'''
HANGER = '''
import time
from botd.strategy.base import EventStrategy


class Hanger(EventStrategy):
    """Never comes back."""

    def on_candle(self, context, candle):
        pass

    def on_tick(self, context, price):
        while True:
            time.sleep(0.05)
'''
STRATEGIES = {"buyer": BUYER, "holder": HOLDER, "ladder": LADDER, "churner": CHURNER, "hanger": HANGER}
NO_LIMITS = {
    "rate_limit": "off",
    "duplicate_order": "off",
    "repeated_execution": "off",
    "max_order_size": "off",
    "max_open_orders": {"symbol": 400, "bot": 400, "account": 400},
    "reject_storm": "off",
}
REST = ("--interval", "1m", "--capital", "1000", "--stop-loss", "2%", "--start", "--live")
ALPHA = ("alpha", "--strategy", "buyer", "--symbol", "BTC/USDT", *REST)
BETA = ("beta", "--strategy", "holder", "--symbol", "ETH/USDT", *REST)


def live_market(*names: str) -> CandleMarket:
    """Return a market of a candle's news a second and five quotes."""
    return CandleMarket(list(names) or ["BTCUSDT", "ETHUSDT"], pace=Pace(kline_ms=1000, book_ms=200))


def configure(botd: Any, front: Any, key: ApiKey = DEFAULT_KEY, **more: Any) -> Any:
    """Write what a live botd needs: its configuration, its key file, its strategies."""
    home = botd.config_file.parent
    strategies = home / "strategies"
    strategies.mkdir(mode=0o700, exist_ok=True)
    for name, text in STRATEGIES.items():
        (strategies / f"{name}.py").write_text(text)
    keys = home / "keys"
    keys.write_text(f"BINANCE_API_KEY={key.key}\nBINANCE_API_SECRET={key.secret}\n")
    keys.chmod(0o600)
    ends = {"rest": front.rest_url, "stream": front.ws_url, "ws_api": front.ws_url}
    text = {"mode": "live", "market": {"source": "exchange"}, "endpoints": ends, "keys_file": str(keys), **more}
    botd.configure(text)
    return botd


def ready(botd: Any) -> None:
    """Wait until the account was read and everything is well."""
    botd.until(lambda: not json.loads(botd.run("reconcile", "-o", "json", check=False).stdout)["refusals"], 30)
    botd.until(lambda: botd.run("health", check=False).returncode == 0, 30)


def legs(venue: Exchange) -> list[Any]:
    """Return the stops that work at the exchange."""
    return [order for order in venue.books.open_orders() if order.asked.type == "STOP_LOSS"]
