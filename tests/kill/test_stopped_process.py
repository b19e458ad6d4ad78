"""A botd that the system stops for a while (SIGSTOP, a suspended machine): it goes on, nothing comes twice, and a
price that waited in the socket meanwhile is not taken for a fresh one.
"""

from __future__ import annotations

import datetime
import itertools
import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.e2e.conftest import Botd, make_botd  # noqa: F401
from tests.fakes.binance import CandleMarket, Fault, FrontThread, Pace, RunningClock
from tests.kill.worlds import rows, unsound

STOPPED_S = float(os.environ.get("BOTD_STOPPED_S", "4"))
"""``make kill`` stops it for 60 s."""
TOO_OLD_S = 11.0
"""Longer than a price is good for."""


@pytest.fixture
def front() -> Iterator[FrontThread]:
    """An exchange with a price five times a second."""
    market = CandleMarket(["BTCUSDT"], pace=Pace(kline_ms=1000, book_ms=200))
    with FrontThread(market, clock=RunningClock()) as thread:
        yield thread


@pytest.fixture
def live(make_botd: Callable[..., Botd], front: FrontThread) -> Botd:  # noqa: F811
    """A botd on its streams, with a bot."""
    endpoints = {"rest": front.rest_url, "stream": front.ws_url}
    botd = make_botd({"market": {"source": "exchange"}, "endpoints": endpoints}).start()
    rsi = ["--strategy", "rsi", "--symbol", "BTC/USDT", "--interval", "1m", "--capital", "1000", "--start"]
    botd.until(lambda: botd.run("create", "alpha", *rsi, check=False).returncode == 0, 20)
    botd.run("wait", "alpha", "--for", "state=running", "--timeout", "20")
    botd.until(lambda: price(botd)["age_s"] < 3, 10)
    return botd


def price(botd: Botd) -> dict[str, Any]:
    return botd.json("prices")[0]


def stop_for(botd: Botd, seconds: float, meanwhile: Callable[[], None] = lambda: None) -> None:
    assert botd.process is not None
    botd.process.send_signal(signal.SIGSTOP)
    time.sleep(0.6)  # some messages wait in the socket
    meanwhile()
    time.sleep(seconds)
    botd.process.send_signal(signal.SIGCONT)


def test_it_goes_on_and_every_candle_comes_once(live: Botd) -> None:
    stop_for(live, STOPPED_S)
    resumed = datetime.datetime.now(datetime.UTC).replace(second=0, microsecond=0)
    live.until(lambda: price(live)["age_s"] < 3, 20)

    def last_candles() -> list[datetime.datetime]:
        found = live.json("candles", "BTC/USDT", "--interval", "1m", "-n", "30")
        return [datetime.datetime.fromisoformat(row["time"]) for row in found]

    minute = datetime.timedelta(minutes=1)
    live.until(lambda: last_candles()[-1] >= resumed - minute, 30)  # all that closed by then
    times = last_candles()
    assert {later - earlier for earlier, later in itertools.pairwise(times)} == {minute}
    assert live.stop() == 0
    twice = "SELECT bot, time_ms, count(*) FROM decisions GROUP BY bot, time_ms HAVING count(*) > 1"
    assert rows(live.state_dir / "ledger.db", twice) == []
    assert unsound(live.state_dir / "ledger.db") == []


def test_a_price_that_waited_in_the_socket_is_not_fresh(live: Botd, front: FrontThread) -> None:
    """Nothing new comes after it goes on: what it reads then is as old as the stop."""

    def fall_silent() -> None:
        front.call(front.front.inject, Fault(kind="silent"))
        front.call(front.front.inject, Fault(kind="error"))

    stop_for(live, TOO_OLD_S, fall_silent)
    seen = [price(live) for _ in range(5)]
    assert all(row["age_s"] is None or row["age_s"] >= 10 or row.get("stale") for row in seen), seen
