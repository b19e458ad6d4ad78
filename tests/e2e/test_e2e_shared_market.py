"""Four real daemons on one market: two publish what an exchange says, two have no connection to it and follow.

The leader is killed before a candle closes, then Redis itself: the followers' bots hear that candle once, and true.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.conftest import Botd
from tests.e2e.test_e2e_replay import milliseconds
from tests.fakes.binance import CandleMarket, FrontThread, Pace, RunningClock
from tests.fakes.binance.market import text
from tests.fakes.redis_server import RedisServer

MINUTE = 60_000
BEFORE_THE_CLOSE_S = 15


@pytest.fixture
def front() -> Iterator[FrontThread]:
    """An exchange whose clock is not ours: its next minute ends soon."""
    now = time.time_ns() // 1_000_000
    start = now // MINUTE * MINUTE + MINUTE - BEFORE_THE_CLOSE_S * 1000
    start = min((start - MINUTE, start), key=lambda at: abs(at - now))  # at most half a minute away
    market = CandleMarket(["BTCUSDT", "ETHUSDT"], pace=Pace(kline_ms=1000, book_ms=200))
    with FrontThread(market, clock=RunningClock(start)) as thread:
        yield thread


def candles(botd: Botd) -> list[tuple[int, float, float, float, float, float]]:
    rows = botd.json("candles", "BTC/USDT", "--interval", "1m", "-n", "200")
    columns = ("open", "high", "low", "close", "volume")
    return [(milliseconds(row["time"]), *(float(row[name]) for name in columns)) for row in rows]  # type: ignore[misc]


def truth(front: FrontThread, first: int, end: int) -> list[tuple[Any, ...]]:
    prices, amounts = (
        getattr(front.front.market.listings["BTCUSDT"], f"{name}_decimals") for name in ("price", "quantity")
    )
    return [
        (
            bar.open_time,
            *(float(text(value, prices)) for value in (bar.open, bar.high, bar.low, bar.close)),
            float(text(bar.volume, amounts)),
        )
        for bar in front.call(front.front.market.truth, "BTCUSDT", "1m", first, end)
    ]


def test_followers_hear_every_candle_while_publishers_and_redis_come_and_go(make_botd: Any, front: FrontThread) -> None:
    with RedisServer() as server:
        redis = {"host": "127.0.0.1", "port": server.port}
        urls = {"endpoints": {"rest": front.rest_url, "stream": front.ws_url}}
        publishing = {"market": {"source": "exchange"}, "redis": {**redis, "publish": True}, **urls}
        first, second = (make_botd(publishing, name).start() for name in ("first", "second"))
        first.until(lambda: any("publishing" in botd.health_check("market")["detail"] for botd in (first, second)), 15)
        followers = [make_botd({"market": {"source": "redis"}, "redis": redis}, name).start() for name in ("c", "d")]
        for follower in followers:
            follower.run(
                *("create", "alpha", "--strategy", "ema_cross", "--symbol", "BTC/USDT", "--interval", "1m"),
                *("--capital", "1000", "--stop-loss", "2%", "--start"),
            )
        for follower in followers:
            follower.run("wait", "alpha", "--for", "state=running", "--timeout", "20")
            assert follower.health_check("market")["status"] == "ok", follower.health_check("market")
            follower.until(lambda follower=follower: follower.json("prices")[0]["age_s"] < 3, 5)
        before = [candles(follower)[-1][0] for follower in followers]

        leader, waiting = sorted((first, second), key=lambda botd: "waiting" in botd.health_check("market")["detail"])
        assert "publishes" in waiting.health_check("market")["detail"]
        assert leader.json("market", "status")["shared"]["role"] == "leading"
        leader.kill()
        waiting.until(lambda: "publishing 1 lanes" in waiting.health_check("market")["detail"], 10)
        for follower, last in zip(followers, before, strict=True):
            follower.until(lambda follower=follower, last=last: candles(follower)[-1][0] > last, 80)
            found = candles(follower)
            assert found == truth(front, found[0][0], found[-1][0] + MINUTE)
            assert len(found) == 200
            assert follower.json("events", "--topic", "market.gap") == []
            row = follower.json("market", "status")
            assert (row["role"], row["epoch"]) == ("following", waiting.json("market", "status")["shared"]["epoch"])

        server.kill()
        for follower in followers:
            follower.until(lambda follower=follower: "does not answer" in follower.health_check("market")["detail"], 5)
        server.start()
        for follower in followers:
            follower.until(lambda follower=follower: follower.health_check("market")["status"] == "ok", 15)
            follower.until(lambda follower=follower: follower.json("prices")[0]["age_s"] < 3, 5)
        assert [botd.stop() for botd in (waiting, *followers)] == [0, 0, 0]
    assert front.record.while_banned() == []
