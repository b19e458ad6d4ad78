"""A real botd on the streams of a Binance front: warm-up, ticks, candles, an outage, a half-open line, recovery."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.fakes.binance import CandleMarket, Fault, FrontThread, Pace, RunningClock


@pytest.fixture
def front() -> Iterator[FrontThread]:
    market = CandleMarket(["BTCUSDT", "ETHUSDT"], pace=Pace(kline_ms=1000, book_ms=200))
    with FrontThread(market, clock=RunningClock()) as thread:
        yield thread


def test_bots_trade_on_paper_on_the_stream_through_faults(make_botd: Any, front: FrontThread) -> None:
    botd = make_botd(
        {"market": {"source": "exchange"}, "endpoints": {"rest": front.rest_url, "stream": front.ws_url}}
    ).start()
    botd.until(lambda: botd.health_check("market")["status"] == "ok", 20)
    for name, symbol in {"alpha": "BTC/USDT", "beta": "BTC/USDT", "gamma": "ETH/USDT"}.items():
        botd.run(
            "create",
            name,
            "--strategy",
            "ema_cross",
            "--symbol",
            symbol,
            "--interval",
            "1m",
            "--capital",
            "1000",
            "--stop-loss",
            "2%",
            "--start",
        )
    for name in ("alpha", "beta", "gamma"):
        botd.run("wait", name, "--for", "state=running", "--timeout", "20")
    assert len(botd.json("candles", "BTC/USDT", "--interval", "1m", "-n", "400")) == 400, "the warm-up history"
    botd.until(lambda: all(row["age_s"] < 3 for row in botd.json("prices")), 10)

    before = {row["name"]: row["last_candle"] for row in botd.json("ls")}
    botd.until(lambda: all(row["last_candle"] != before[row["name"]] for row in botd.json("ls")), 75)

    fault = front.call(front.front.inject, Fault(kind="refuse"))
    front.call(front.front.inject, Fault(kind="cut"))
    botd.until(lambda: botd.health_check("market")["status"] != "ok", 30)
    assert botd.run("ls").returncode == 0
    front.call(front.front.mend, fault)
    botd.until(lambda: botd.health_check("market")["status"] == "ok", 60)
    botd.until(lambda: all(row["age_s"] < 3 for row in botd.json("prices")), 20)
    assert botd.stop() == 0
    assert front.record.while_banned() == []
