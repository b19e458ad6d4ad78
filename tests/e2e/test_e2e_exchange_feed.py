"""A real botd on the public streams and REST of an exchange on loopback: ticks, warm-up, an outage, recovery."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fakes.mini_binance import MiniBinance

TICKER = '''"""Buys on the first tick, sells at a price."""

from botd.strategy.base import EventStrategy


class Ticker(EventStrategy):
    """Buy once, sell above 105."""

    def on_candle(self, context, candle):
        pass

    def on_tick(self, context, price):
        if not context.state.get("bought"):
            context.state["bought"] = True
            context.buy(context.instrument.floor_quantity(context.cash() / 200))
        elif price > 105 and context.quantity() and not context.orders():
            context.sell(context.quantity())
'''


class ExchangeThread:
    """The fake exchange on a loop of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.exchange = MiniBinance(lambda: int(time.time() * 1000))
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.do(self.exchange.start())

    def do(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(10)

    def close(self) -> None:
        self.do(self.exchange.stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(5)


@pytest.fixture
def front() -> Iterator[ExchangeThread]:
    thread = ExchangeThread()
    yield thread
    thread.close()


def test_bots_trade_on_paper_on_an_exchanges_prices_through_an_outage(make_botd: Any, front: ExchangeThread) -> None:
    port = front.exchange.port
    botd = make_botd(
        {
            "exchange": "binanceus",  # any ccxt id but binance: through ccxt.pro
            "market": {"source": "exchange"},
            "endpoints": {"rest": f"http://127.0.0.1:{port}", "stream": f"ws://127.0.0.1:{port}"},
        }
    )
    strategies = botd.config_file.parent / "strategies"
    strategies.mkdir(mode=0o700)
    (strategies / "ticker.py").write_text(TICKER)
    botd.start()
    botd.until(lambda: botd.health_check("market")["status"] == "ok", 20)
    for name, options in {"rsi": ["--stop-loss", "2%"], "ticker": ["--trailing-stop", "5%"]}.items():
        botd.run(
            "create",
            name,
            "--strategy",
            name,
            "--symbol",
            "BTC/USDT",
            "--interval",
            "1m",
            "--capital",
            "1000",
            *options,
            "--start",
        )
    botd.run("wait", "rsi", "--for", "state=running", "--timeout", "20")
    botd.run("wait", "ticker", "--for", "state=running", "--timeout", "20")
    assert len(botd.json("candles", "BTC/USDT", "--interval", "1m", "-n", "600")) >= 500, "the warm-up history"

    def holds() -> bool:
        front.do(front.exchange.push("BTCUSDT", 100.0, 100.5))
        return botd.json("show", "ticker")["position"] is not None

    botd.until(holds, 15)
    stop = float(botd.json("show", "ticker")["position"]["stop"])
    front.do(front.exchange.push("BTCUSDT", 104.0, 104.5))
    botd.until(lambda: float(botd.json("show", "ticker")["position"]["stop"]) > stop, 10)

    front.do(front.exchange.stop())
    botd.until(lambda: botd.health_check("market")["status"] == "degraded", 20)
    assert botd.run("ls").returncode == 0
    front.do(front.exchange.start())
    botd.until(lambda: botd.health_check("market")["status"] == "ok", 40)

    def sold() -> bool:
        front.do(front.exchange.push("BTCUSDT", 106.0, 106.5))
        return botd.json("show", "ticker")["position"] is None

    botd.until(sold, 15)
    botd.until(lambda: bool(botd.json("trades", "ticker")), 2)
    trade = botd.json("trades", "ticker")[0]
    assert (trade["exit_reason"], trade["exit_price"]) == ("signal", "105.947")  # bid 106 less 0.05 %
    botd.kill()
    botd.start()
    botd.until(lambda: botd.health_check("market")["status"] == "ok", 20)
    botd.until(lambda: [row["state"] for row in botd.json("ls")] == ["running", "running"], 10)
    assert len(botd.json("trades", "ticker")) == 1
    assert botd.stop() == 0
