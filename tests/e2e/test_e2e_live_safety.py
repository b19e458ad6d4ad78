"""Keys and worlds: a testnet needs no arming, a key that may withdraw is refused, and the key is never to be seen."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.binance import FrontThread, RunningClock
from tests.fakes.binance.exchange import DEFAULT_KEY, ApiKey, made_key, named
from tests.fakes.binance.exchange.wire import Exchange
from tests.fakes.live_daemon import ALPHA, NO_LIMITS, REST, configure, live_market, ready

CHURN = ("--strategy", "churner", "--symbol")
LIMITS = {**NO_LIMITS, "unknown_outstanding": "off", "exchange_degraded": "off"}
TAKER = ApiKey(made_key("taker"), secret=made_key("takersecret"), withdraws=True)
FAULTS = (
    *("accept_then_timeout", "lost_request", "cut_before", "cut_after", "5xx_with_effect", "5xx_without_effect"),
    *("503_unknown_with_effect", "-1006_with_effect", "-1007_without_effect", "-1008", "-1015", "-1021", "-2010"),
    *("-2011", "-2013", "200_truncated", "200_html", "200_empty", "just_placed_unknown", "cancel_fill_race"),
    *("events_dropped", "events_reordered", "stream_cut", "403", "429", "418"),
)
"""Every row of the table of answers that a fault can bring, those that silence botd for a while last."""


@pytest.fixture
def venue() -> Exchange:
    return Exchange({"USDT": "10000"}, orders_10s=1000)


@pytest.fixture
def front(venue: Exchange) -> Iterator[FrontThread]:
    with FrontThread(live_market(), clock=RunningClock(), exchange=venue) as thread:
        yield thread


@pytest.fixture
def on_testnet(make_botd: Any) -> Iterator[tuple[Any, FrontThread, Exchange]]:
    """A botd on a testnet whose alpha has bought."""
    venue = Exchange({"USDT": "10000"}, testnet=True)
    with FrontThread(live_market(), clock=RunningClock(), exchange=venue) as front:
        botd = configure(make_botd(), front, testnet=True).start()
        botd.run("create", *ALPHA)
        botd.until(lambda: botd.json("show", "alpha")["position"] is not None, 40)
        yield botd, front, venue
        assert botd.stop() == 0


def test_a_testnet_needs_no_arming_and_its_limit_of_stops_is_told(on_testnet: Any) -> None:
    botd, _, _ = on_testnet
    status = botd.json("live", "status")
    assert (status["armed"], status["testnet"]) == (True, True)
    words = ("--strategy", "holder", "--symbol", "BTC/USDT", "--interval", "1m", "--capital", "100")
    told = [botd.run("create", f"b{n}", *words, "--stop-loss", "2%", "--live").stdout for n in range(6)]
    assert all("its stop will rest on the exchange" in line for line in told[:5])
    assert "botd will guard its stop: the exchange takes 5 stop orders of BTC/USDT, 6 bots want one" in told[5]


def test_a_testnet_that_begins_anew_is_recognised_said_and_accepted(on_testnet: Any) -> None:
    botd, front, venue = on_testnet
    assert botd.run("reconcile", "--accept-reset", check=False).returncode == 5
    assert botd.run("reconcile").returncode == 0
    front.call(venue.venue.reset)

    botd.until(lambda: "reconcile --accept-reset" in botd.run("reconcile", check=False).stdout, 40)
    assert botd.run("reconcile", check=False).returncode == 1
    assert "the test network began anew" in botd.run("logs").stdout
    left = botd.run("reconcile", "--accept-reset", check=False)
    assert left.returncode == 1 and "bots claim" in left.stdout and "botctl rm NAME --force" in left.stderr
    botd.run("rm", "alpha", "--force", "--yes")
    assert botd.run("reconcile").returncode == 0


def test_a_key_that_may_withdraw_is_refused_health_says_so_and_nothing_is_sent(make_botd: Any) -> None:
    venue = Exchange({"USDT": "10000"}, keys=[TAKER])
    with FrontThread(live_market(), clock=RunningClock(), exchange=venue) as front:
        botd = configure(make_botd(), front, TAKER).start()
        botd.run("create", *ALPHA)
        botd.run("live", "arm", "--yes")

        botd.until(lambda: "withdrawals" in botd.health_check("exchange")["detail"], 20)
        assert botd.run("health", check=False).returncode == 1
        botd.until(lambda: "exchange" in botd.run("why", "alpha").stdout, 20)
        assert venue.books.orders == {}


def test_the_key_is_in_no_log_database_reply_or_command_line_whatever_goes_wrong(
    make_botd: Any, front: FrontThread, venue: Exchange
) -> None:
    botd = configure(make_botd(), front, risk=LIMITS, log={"level": "debug"}).start()
    botd.run("create", "alpha", *CHURN, "BTC/USDT", *REST)
    botd.run("create", "delta", *CHURN, "ETH/USDT", *REST)
    ready(botd)
    botd.run("live", "arm", "--yes")
    botd.until(lambda: len(venue.books.orders) > 5, 30)
    assert botd.process is not None
    seen = [Path(f"/proc/{botd.process.pid}/cmdline").read_bytes()]
    hit = []
    for name in FAULTS:
        fault = named(name, for_ms=2000)
        front.call(venue.inject, fault)
        until = time.monotonic() + 2.0
        while not front.call(venue.venue.faults.hits, fault) and time.monotonic() < until:
            time.sleep(0.05)  # the bots go on trading into it
        hit.append(front.call(venue.venue.faults.hits, fault) > 0)
        if len(hit) % 6 == 0:
            for words in (("close", "alpha"), ("health", "-o", "json"), ("limits",), ("orders", "-o", "json")):
                done = botd.run(*words, "--timeout", "3s", check=False)
                seen.append((done.stdout + done.stderr).encode())
    for words in (
        ("logs", "-n", "500"),
        ("events",),
        ("audit", "show", "--config", str(botd.config_file)),
        ("doctor",),
    ):
        done = botd.run(*words, check=False)
        seen.append((done.stdout + done.stderr).encode())
    botd.kill()  # the write-ahead log stays
    files = [path for path in [*botd.state_dir.rglob("*"), botd.config_file.parent / "stderr.log"] if path.is_file()]
    assert {"ledger.db", "ledger.db-wal"} <= {path.name for path in files} and sum(hit) > len(FAULTS) / 2, hit
    seen += [path.read_bytes() for path in files]
    for canary in (DEFAULT_KEY.key, DEFAULT_KEY.secret):
        assert not any(canary.encode() in content for content in seen)
