"""Capacity on a live market: 1,000 bots on the streams of 200 symbols, 2,000 messages a second; then 100 bots on 20.

The exchange is the Binance-wire front in a process of its own (its streams, its REST for history and proof), in real
time: candles close with the minute. Is every candle told to every bot, and at what cost? ``python -m tests.bench
live_capacity``: ten minutes by default, ``--seconds`` otherwise; less than 65 may see no candle close.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.capacity import IDLE, Idle
from tests.bench.figures import Options, Row, median, quantile
from tests.bench.fleet import Wire, launch, specs
from tests.bench.processes import cpu_s, end, resident_mb
from tests.e2e.conftest import Botd

MINUTE_MS = 60_000
FULL_S, QUICK_S = 600.0, 75.0
KLINE_MS = 1500
LAG_P99_MS, RESIDENT_MB, SHARE_PCT = 20.0, 400.0, 10.0
READY_S = 120.0
AT_START = "with the making of the bots"


@dataclass
class Lived:
    """What came of a run."""

    create_s: float
    """For ``apply`` and ``start`` of all bots."""
    ready_s: float
    """Until all of them run, their history loaded."""
    told: int
    missed: int
    minutes: int
    rate: float
    cpu_share: float
    resident: float
    health: dict[str, Any]
    idle_ms: list[float]
    ping_ms: list[float]


def run(options: Options) -> list[Row]:
    """Live for the time asked with the many bots, and a fifth of it (at least 65 s) with the few."""
    seconds = options.asked_s or (QUICK_S if options.quick else FULL_S)
    rows = []
    for bots, symbols, rate, for_s in ((1000, 200, 2000, seconds), (100, 20, 200, max(65.0, seconds / 5))):
        with tempfile.TemporaryDirectory(prefix="bench-") as directory:
            rows += _rows(live(Path(directory), bots, symbols, rate, for_s), bots, symbols, for_s)
    return rows


def live(home: Path, bots: int, symbols: int, rate: float, seconds: float) -> Lived:
    """Let the bots live for a while; then count in the ledger what they were told."""
    with front(symbols, rate) as port:
        botd = Botd(home / "botd", _configuration(port))
        try:
            launch(botd)
            assert botd.process is not None
            with Wire(botd.socket) as wire:
                create_s, ready_s = _populated(wire, port, bots)
                with Idle() as idle:
                    began, used = time.perf_counter(), cpu_s(botd.process.pid)
                    sent, first_ms = _published(port), _next_minute()
                    ping_ms = _pings(wire, seconds)
                    elapsed = time.perf_counter() - began
                    share = (cpu_s(botd.process.pid) - used) / elapsed
                    rate_seen = (_published(port) - sent) / elapsed
                last_ms = _next_minute() - MINUTE_MS
                time.sleep(4.0)  # what closed with that minute is told and written
                resident, health = resident_mb(botd.process.pid), wire.call("health")
        finally:
            botd.stop()
    told, missed = _counted(botd.state_dir / "ledger.db", bots, first_ms, last_ms)
    minutes = (last_ms - first_ms) // MINUTE_MS + 1
    return Lived(
        create_s, ready_s, told, missed, minutes, rate_seen, share, resident, health, idle.lags, ping_ms
    )  # fmt: skip


@contextlib.contextmanager
def front(symbols: int, rate: float) -> Iterator[int]:
    """Run the front; give its port."""
    command = [sys.executable, "-m", "tests.fakes.binance", f"--symbols={symbols}", f"--rate={rate}"]
    process = subprocess.Popen([*command, f"--kline-ms={KLINE_MS}"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline().split()[1])
    finally:
        end(process)
        process.stdout.close()


def _configuration(port: int) -> dict[str, Any]:
    return {
        "market": {"source": "exchange"},
        "endpoints": {"rest": f"http://127.0.0.1:{port}", "stream": f"ws://127.0.0.1:{port}"},
        "paper": {"balance": {"USDT": 10_000_000}},
        "log": {"level": "warning"},
    }


def _populated(wire: Wire, port: int, bots: int) -> tuple[float, float]:
    """Create and start the bots; return the seconds that took, and those until all run."""
    until = time.monotonic() + READY_S
    while wire.call("market.status")["state"] != "ready":
        _in_time(until, "the market is not ready")
    rows = _asked(port, "api/v3/exchangeInfo")["symbols"]
    markets = [f"{row['baseAsset']}/{row['quoteAsset']}" for row in rows]
    began = time.perf_counter()
    wire.call("apply", {"bots": specs(bots, markets)}, READY_S)
    wire.call("start", {"all": True}, READY_S)
    create_s = time.perf_counter() - began
    while any(row["state"] != "running" for row in wire.call("ls", {"all": True})["rows"]):
        _in_time(until, "not all bots run")
    return create_s, time.perf_counter() - began


def _in_time(until: float, failure: str) -> None:
    if time.monotonic() > until:
        raise RuntimeError(failure)
    time.sleep(0.2)


def _pings(wire: Wire, seconds: float) -> list[float]:
    """Ping the daemon ten times a second; return how long the answers took."""
    taken, until = [], time.perf_counter() + seconds
    while time.perf_counter() < until:
        began = time.perf_counter()
        wire.call("ping")
        taken.append(1000 * (time.perf_counter() - began))
        time.sleep(0.1)
    return taken


def _asked(port: int, path: str) -> Any:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=10) as answer:
        return json.load(answer)


def _published(port: int) -> int:
    return int(_asked(port, "_front/statistics")["published"])


def _next_minute() -> int:
    """Return when the candle closes that forms now."""
    return (int(time.time() * 1000) // MINUTE_MS + 1) * MINUTE_MS


def _counted(ledger: Path, bots: int, first_ms: int, last_ms: int) -> tuple[int, int]:
    """Return how many closed candles the bots were told of, and how many they were not: a bot writes a point of its
    curve at each, stamped with its close."""
    wanted = (last_ms - first_ms) // MINUTE_MS + 1
    query = "SELECT count(DISTINCT time_ms) FROM equity WHERE bot > 0 AND time_ms BETWEEN ? AND ? GROUP BY bot"
    with sqlite3.connect(f"file:{ledger}?mode=ro", uri=True) as connection:
        found = [row[0] for row in connection.execute(query, (first_ms, last_ms))]
    return sum(found), wanted * bots - sum(found)


def _rows(lived: Lived, bots: int, symbols: int, seconds: float) -> list[Row]:
    at = f"{bots} bots, {symbols} symbols, {seconds:.0f} s: "
    loop, ledger, many = lived.health["loop"], lived.health["ledger"], bots >= 1000
    whole = seconds >= FULL_S  # botd looks back ten minutes: in a shorter run the making of the bots counts too
    lag = (loop["lag_ms_p99"], "ms", IDLE, quantile(lived.idle_ms, 0.99))
    return [
        Row(f"{at}created and started", lived.create_s, "s", note=f"all running after {lived.ready_s:.1f} s"),
        Row(f"{at}messages", lived.rate, "/s"),
        Row(f"{at}candles told to bots", lived.told, note=f"{lived.minutes} minutes"),
        Row(f"{at}candles missed", lived.missed, bound=0),
        Row(f"{at}loop lag p50", loop["lag_ms_p50"], "ms", IDLE, median(lived.idle_ms)),
        Row(f"{at}loop lag p99", *lag, LAG_P99_MS if whole else None, note="" if whole else AT_START),
        Row(f"{at}loop lag max", loop["lag_ms_max"], "ms", note="" if whole else AT_START),
        Row(f"{at}garbage collector, longest pause", loop["gc_ms_max"], "ms", note=f"{loop['gc_runs']} pauses"),
        Row(f"{at}ping p99", quantile(lived.ping_ms, 0.99), "ms", bound=LAG_P99_MS),
        Row(f"{at}commit p99", ledger["commit_p99_ms"], "ms"),
        Row(f"{at}resident memory", lived.resident, "MB", bound=RESIDENT_MB),
        Row(f"{at}share of a processor", 100 * lived.cpu_share, "%", bound=None if many else SHARE_PCT),
    ]
