"""Redis comes, goes, hangs, forgets and lies while a market plays: the bots do not notice, health does.

One replay without Redis gives what must come out. The paced replays are long enough for an outage, the
breaker's five seconds and some trading after that.
"""

from __future__ import annotations

import gzip
import itertools
import json
import math
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.e2e.conftest import DATA, Botd
from tests.e2e.test_e2e_replay import milliseconds
from tests.fakes.redis_server import RedisServer, free_port

ROWS, KEPT = 1800, 500
MINUTE = 60_000
FUTURE = 1e15
SPEED = 60
"""Market time by wall time for one candle a second."""
BOTS = {
    "rsi": ("1m", "--stop-loss", "2%", "--take-profit", "4%"),
    "macd": ("1m",),
    "mean_reversion": ("5m", "--trailing-stop", "1.5%"),
}
HEADER = "open_time_ms,open,high,low,close,volume\n"


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first candles of a real month; without recorded data a random walk."""
    path = tmp_path_factory.mktemp("market") / "btc.csv"
    real = DATA / "ohlcv" / "BTCUSDT-1m-2024-08.csv.gz"
    if real.is_file():
        with gzip.open(real, "rt") as file:
            path.write_text("".join(itertools.islice(file, ROWS + 1)))
    else:
        path.write_text(HEADER + "".join(random_walk()))
    return path


def random_walk() -> Iterator[str]:
    rng, price = random.Random(5), 60_000.0
    for row in range(ROWS):
        close = price * math.exp(rng.gauss(0, 0.001))
        high, low = max(price, close) * (1 + rng.random() / 2000), min(price, close) * (1 - rng.random() / 2000)
        yield f"{1_722_470_400_000 + row * MINUTE},{price:.2f},{high:.2f},{low:.2f},{close:.2f},{rng.random():.5f}\n"
        price = round(close, 2)


@pytest.fixture
def server() -> Iterator[RedisServer]:
    server = RedisServer()
    yield server
    server.stop()


def config(market: Path, speed: int, port: int | None) -> dict[str, Any]:
    source = {"source": "replay", "files": {"BTC/USDT": str(market)}, "interval": "1m"}
    return {
        "market": {**source, "speed": speed, "autoplay": False},
        "redis": {} if port is None else {"host": "127.0.0.1", "port": port},
    }


def begin(botd: Botd) -> Health:
    botd.start()
    for name, (interval, *stops) in BOTS.items():
        options = ("--symbol", "BTC/USDT", "--interval", interval, "--capital", "10000", *stops)
        botd.run("create", name, "--strategy", name, *options, "--start")
    botd.run("market", "play")
    return Health(botd)


def candles(botd: Botd) -> int:
    return int(botd.json("market", "status")["candles"])


class Health:
    """Asks a daemon for its health. The answer has one second: a loop that waits for Redis does not give it."""

    def __init__(self, botd: Botd) -> None:
        self.botd = botd
        self.late = 0

    def report(self) -> dict[str, Any] | None:
        done = self.botd.run("--timeout", "1", "health", "-o", "json", check=False)
        if done.returncode == 75:
            self.late += 1
            return None
        assert done.returncode in (0, 1), done.stderr
        report: dict[str, Any] = json.loads(done.stdout)
        assert report["market"]["status"] == "ok"
        assert report["bots"]["running"] == len(BOTS)
        assert report["status"] == report["redis"]["status"]
        return report

    def until_redis_is(self, status: str, timeout_s: float, words: str = "") -> None:
        def condition() -> bool:
            time.sleep(0.1)
            report = self.report()
            return report is not None and report["redis"]["status"] == status and words in report["redis"]["detail"]

        self.botd.until(condition, timeout_s)

    def assert_never_blocked(self) -> None:
        """A busy machine may make the loop wait, but not as long as one operation on a dead Redis would."""
        assert self.late <= 1
        report = self.report()
        assert report is not None
        assert report["status"] == "ok"
        assert report["loop"]["lag_ms_max"] < 2000


def end(botd: Botd) -> None:
    botd.run("wait", "--for", "market=ended", "--timeout", "40", timeout=50)


def books(botd: Botd) -> dict[str, Any]:
    """What the bots have seen and done."""
    return {
        "candles": candles(botd),
        "trades": botd.json("trades"),
        "points": {name: [row["time"] for row in botd.json("equity", name)] for name in BOTS},
        "bots": [{key: row[key] for key in ("name", "equity", "position", "last_candle")} for row in botd.json("ls")],
        "gaps": botd.json("events", "--topic", "market.gap"),
    }


@pytest.fixture(scope="module")
def undisturbed(market: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The books of the same market without Redis."""
    botd = Botd(tmp_path_factory.mktemp("calm"), config(market, 0, None))
    try:
        begin(botd)
        end(botd)
        found = books(botd)
    finally:
        botd.stop()
    assert found["candles"] == ROWS
    assert [len(points) for points in found["points"].values()] == [ROWS, ROWS, ROWS // 5]
    assert len(found["trades"]) > 30
    assert found["gaps"] == []
    return found


def in_redis(server: RedisServer) -> dict[str, Any]:
    """Everything there, by key without its prefix; raises where a value is not one of ours."""
    found: dict[str, Any] = {}
    with redis.Redis(port=server.port, socket_timeout=5) as client:
        for key in client.scan_iter():
            name = key.decode().split(":", 2)[2]
            assert 0 < client.ttl(key) <= 7 * 86_400
            if name.startswith("quote:"):
                found[name] = json.loads(client.get(key))
            else:
                members = client.zrange(key, 0, -1, withscores=True)
                found[name] = [json.loads(value) for value, _ in members]
                assert [row["open_time"] for row in found[name]] == [score for _, score in members]
    return found


def as_botctl_says(botd: Botd) -> dict[str, Any]:
    """The same from the daemon: candles by lane, and the last price."""
    found: dict[str, Any] = {}
    for interval in ("1m", "5m"):
        rows = botd.json("candles", "BTC/USDT", "--interval", interval, "-n", str(KEPT))
        found[f"candles:BTC/USDT:{interval}"] = [
            (milliseconds(row["time"]), *(float(row[key]) for key in ("open", "high", "low", "close", "volume")))
            for row in rows
        ]
    found["quote:BTC/USDT"] = float(botd.json("prices")[0]["price"])
    return found


def assert_redis_tells_the_truth(server: RedisServer, botd: Botd) -> None:
    def found() -> dict[str, Any]:
        try:
            raw = in_redis(server)
        except (ValueError, redis.RedisError) as error:
            return {"error": error}
        columns = ("open_time", "open", "high", "low", "close", "volume")
        return {
            key: value["last"] if key.startswith("quote:") else [tuple(row[name] for name in columns) for row in value]
            for key, value in raw.items()
        }

    said, deadline = as_botctl_says(botd), time.monotonic() + 3
    assert len(said["candles:BTC/USDT:1m"]) == KEPT
    while found() != said and time.monotonic() < deadline:  # the last batch may be under way
        time.sleep(0.05)
    assert found() == said


def assert_undisturbed(health: Health, server: RedisServer, undisturbed: dict[str, Any], warnings: int) -> None:
    botd = health.botd
    end(botd)
    found = books(botd)
    for key, value in undisturbed.items():
        assert found[key] == value, key
    assert_redis_tells_the_truth(server, botd)
    health.assert_never_blocked()
    log = (botd.config_file.parent / "stderr.log").read_text()
    assert log.count("does not answer") == warnings, log[-2000:]
    assert log.count("answers again") == warnings
    assert botd.stop() == 0


def test_with_redis_the_bots_do_the_same_and_others_can_read_along(
    make_botd: Any, server: RedisServer, market: Path, undisturbed: dict[str, Any]
) -> None:
    server.start()
    with redis.Redis(port=server.port) as client, client.pubsub(ignore_subscribe_messages=True) as follower:
        follower.psubscribe("botd:*:candle:BTC/USDT:1m")
        follower.get_message(timeout=1)
        health = begin(make_botd(config(market, 240 * SPEED, server.port)))
        health.until_redis_is("ok", 5)
        assert_undisturbed(health, server, undisturbed, warnings=0)
        told = []
        while (message := follower.get_message(timeout=0.2)) is not None:
            told.append(json.loads(message["data"])["open_time"])
    assert told == [milliseconds(point) - MINUTE for point in undisturbed["points"]["rsi"]]


def test_redis_killed_and_then_frozen_and_back_each_time(
    make_botd: Any, server: RedisServer, market: Path, undisturbed: dict[str, Any]
) -> None:
    server.start()
    health = begin(make_botd(config(market, 140 * SPEED, server.port)))
    health.until_redis_is("ok", 5)
    assert candles(health.botd) > 0
    for disturb, mend in ((server.kill, server.start), (server.freeze, server.thaw)):
        disturb()
        health.until_redis_is("degraded", 3, "does not answer")
        first = candles(health.botd)
        health.botd.until(lambda first=first: candles(health.botd) > first, 2)
        assert first < ROWS, "the outage must fall into the run"
        mend()
        health.until_redis_is("ok", 10)
    assert_undisturbed(health, server, undisturbed, warnings=2)


def test_redis_absent_at_the_start_and_there_later(make_botd: Any, market: Path, undisturbed: dict[str, Any]) -> None:
    server = RedisServer(free_port())
    health = begin(make_botd(config(market, 240 * SPEED, server.port)))
    health.until_redis_is("degraded", 3, "does not answer")
    assert candles(health.botd) < ROWS
    with server:
        health.until_redis_is("ok", 10)
        assert_undisturbed(health, server, undisturbed, warnings=1)


def test_redis_flushed_and_full_of_garbage(
    make_botd: Any, server: RedisServer, market: Path, undisturbed: dict[str, Any]
) -> None:
    """Nothing, values of another kind, words instead of candles, and a candle that looks right but is not ours."""
    server.start()
    health = begin(make_botd(config(market, 400 * SPEED, server.port)))
    first = milliseconds(undisturbed["points"]["rsi"][0])
    with redis.Redis(port=server.port) as client:

        def there(row: int) -> bool:
            """Look for a candle in Redis itself, which is quicker than to ask the daemon."""
            return bool(client.zrangebyscore(lane, first + row * MINUTE, FUTURE - 1))

        health.botd.until(lambda: bool(client.keys("botd:*:quote:BTC/USDT")), 5)
        (quote,) = client.keys("botd:*:quote:BTC/USDT")
        lane, other = (quote.replace(b"quote", b"candles") + b":" + interval for interval in (b"1m", b"5m"))
        health.botd.until(lambda: there(300), 10)
        assert client.flushall()
        health.botd.until(lambda: there(KEPT + 100), 10)
        client.set(quote, b"\xff\x00 no price")
        client.set(other, b"no candles")
        client.zadd(lane, {b"from the future": FUTURE, b"from the past": 1.0})
        health.botd.until(lambda: there(ROWS - KEPT + 20), 10)
        value, at = client.zrange(lane, -10, -10, withscores=True)[0]
        wrong = {**json.loads(value), "close": 1.0, "low": 1.0}
        client.zadd(lane, {json.dumps(wrong): at, b"no candle": at + 1})
        assert not there(ROWS - 100)
    assert_undisturbed(health, server, undisturbed, warnings=0)
