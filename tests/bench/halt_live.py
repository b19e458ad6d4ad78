"""Halt with real money at its worst: Redis dead, a strategy that hangs, a slow disk, 150 working entries.

From the request until the ledger has it (seen by a reader), and until the last cancel took effect at the exchange.
"""

from __future__ import annotations

import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from tests.bench.figures import Options, Row, median
from tests.bench.fleet import Wire
from tests.e2e.conftest import Botd
from tests.fakes.binance import FrontThread, RunningClock
from tests.fakes.binance.exchange.wire import Exchange
from tests.fakes.live_daemon import NO_LIMITS, REST, configure, live_market, ready
from tests.fakes.redis_server import RedisServer
from tests.fakes.slow_disk import slow_disk, why_not

ENTRIES = 150
SYNC_MS = 20.0
DURABLE_MS, CANCELLED_S = 100.0, 2.0


def run(options: Options) -> list[Row]:
    """Halt a few times; the medians."""
    if missing := why_not():
        return [Row("halt with a slow disk", None, note=missing)]
    durable, cancelled = [], []
    with tempfile.TemporaryDirectory(prefix="bench-") as directory, troubled(Path(directory)) as (botd, venue):
        for _ in range(2 if options.quick else 5):
            answered_s, ended_s = halt(botd, venue)
            durable.append(answered_s * 1000)
            cancelled.append(ended_s)
            botd.run("release")
            botd.until(lambda: len(venue.books.open_orders()) >= ENTRIES, 120)
    worst = f"Redis dead, a strategy hung, each sync {SYNC_MS:g} ms"
    return [
        Row(f"halt durable ({worst})", median(durable), "ms", bound=DURABLE_MS),
        Row(f"{ENTRIES} working entries cancelled at the exchange", median(cancelled), "s", bound=CANCELLED_S),
    ]


@contextmanager
def troubled(home: Path) -> Iterator[tuple[Botd, Exchange]]:
    """A live botd with working entries, whose Redis is dead, whose disk is slow, and one of whose strategies hangs."""
    venue = Exchange({"USDT": "100000"}, orders_10s=1000)
    redis = RedisServer().start()
    with FrontThread(live_market("BTCUSDT", "ETHUSDT"), clock=RunningClock(), exchange=venue) as front:
        botd = configure(Botd(home / "botd"), front, risk=NO_LIMITS, redis={"host": redis.host, "port": redis.port})
        botd.environment |= slow_disk(home / "disk", SYNC_MS)
        botd.start()
        try:
            botd.run("create", "delta", "--strategy", "ladder", "--symbol", "ETH/USDT", *_rich(REST))
            ready(botd)
            botd.run("live", "arm", "--yes")
            botd.until(lambda: len(venue.books.open_orders()) >= ENTRIES, 120)
            redis.stop()
            botd.run("create", "stuck", "--strategy", "hanger", "--symbol", "BTC/USDT", *REST)
            botd.until(lambda: botd.json("show", "stuck")["state"] in ("running", "failed", "backoff"), 30)
            yield botd, venue
        finally:
            botd.stop()
            redis.stop()


def halt(botd: Any, venue: Exchange) -> tuple[float, float]:
    """Halt the account; return seconds until the ledger has it, and until no order is open at the exchange."""
    ledger = sqlite3.connect(f"file:{botd.state_dir / 'ledger.db'}?mode=ro", uri=True)
    with closing(ledger), Wire(botd.socket) as wire:
        began = time.perf_counter()
        wire.socket.send_multipart(wire.request("halt"))
        while not _halted(ledger) and time.perf_counter() < began + 30:
            time.sleep(0.001)
        durable = time.perf_counter() - began
        while venue.books.open_orders() and time.perf_counter() < began + 30:
            time.sleep(0.002)
        cancelled = time.perf_counter() - began
        assert wire.socket.poll(20_000), "no answer to halt"
        return durable, cancelled


def _halted(ledger: sqlite3.Connection) -> bool:
    rows = ledger.execute("SELECT value FROM keyed WHERE space = 'trading_state'").fetchall()
    return any("halted" in str(row[0]) for row in rows)


def _rich(words: tuple[str, ...]) -> list[str]:
    return ["50000" if word == "1000" else word for word in words]
