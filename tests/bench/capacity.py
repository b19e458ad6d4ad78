"""Capacity: 200 bots of five strategies on 50 symbols for minutes. Is every candle delivered, and at what cost?"""

from __future__ import annotations

import itertools
import sqlite3
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.bench.figures import Options, Row, median, quantile
from tests.bench.fleet import Wire, launch, market, populate
from tests.bench.processes import cpu_s, resident_mb, run_ms
from tests.e2e.conftest import BIN, Botd, clean_environment

BOTS, SYMBOLS = 200, 50
SPEED = 60.0
MINUTE_MS = 60_000
LS_MS, LAG_P99_MS, RESIDENT_MB = 45.0, 20.0, 400.0
SAMPLE_EVERY_S = 0.83
"""Not a divisor of the second in which a candle closes: samples fall everywhere in it."""
BEAT_S = 0.1
"""How often botd measures the lag of its loop."""


@dataclass
class Played:
    """What came of a run."""

    delivered: int
    """Closed candles that bots were told of, summed over the bots."""
    missed: int
    cpu_share: float
    resident: float
    health: dict[str, Any]
    ls_ms: list[float]
    skeleton_ms: list[float]
    idle_ms: list[float]


IDLE = "an idle thread beside it"


def run(options: Options) -> list[Row]:
    """Play at speed 60 for the time asked, then a while at speed 1."""
    rows = []
    for speed, seconds in ((SPEED, options.seconds), (1.0, 15.0 if options.quick else 130.0)):
        with tempfile.TemporaryDirectory(prefix="bench-") as directory:
            rows += _rows(play(Path(directory), seconds, speed), seconds, speed)
    return rows


def play(home: Path, seconds: float, speed: float, *, bots: int = BOTS, markets: int = SYMBOLS) -> Played:
    """Let the bots trade for a while, asking for the list meanwhile; then count in the ledger what they saw."""
    botd = Botd(home / "botd", market(markets, speed=speed))
    try:
        launch(botd)
        assert botd.process is not None
        with Wire(botd.socket) as wire:
            populate(wire, bots, markets)
            time.sleep(1.0)
            with Idle() as idle, Sampler(botd.socket) as sampler:
                began, used = time.perf_counter(), cpu_s(botd.process.pid)
                wire.call("market.play")
                time.sleep(seconds)
                wire.call("market.pause")
                share = (cpu_s(botd.process.pid) - used) / (time.perf_counter() - began)
            resident = resident_mb(botd.process.pid)
            health, status = wire.call("health"), wire.call("market.status")
            rows = wire.call("ls", {"all": True})["rows"]
    finally:
        botd.stop()
    played = Played(0, 0, share, resident, health, sampler.taken["ls"], sampler.taken["skeleton"], idle.lags)
    _count(played, botd.state_dir / "ledger.db", rows, status)
    return played


class Sampler:
    """Runs ``botctl ls -o json`` on a thread again and again, in turns with the least a command line can do, and
    keeps how long each run took."""

    def __init__(self, socket: Path) -> None:
        self.taken: dict[str, list[float]] = {"ls": [], "skeleton": []}
        self._commands: dict[str, list[str | Path]] = {
            "ls": [BIN / "botctl", "--endpoint", socket, "ls", "-o", "json"],
            "skeleton": [sys.executable, Path(__file__).with_name("skeleton.py"), socket],
        }
        self._failure: Exception | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name="sampler")

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *ended: object) -> None:
        self._ended.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _work(self) -> None:
        environment = clean_environment()
        for name in itertools.cycle(self._commands):
            if self._ended.wait(SAMPLE_EVERY_S / 2):
                return
            try:
                self.taken[name].append(run_ms(self._commands[name], environment))
            except Exception as failure:  # raised again where the samples are wanted
                self._failure = failure
                return


class Idle:
    """A thread that does nothing but wake ten times a second: how late the machine itself is, in milliseconds."""

    def __init__(self) -> None:
        self.lags: list[float] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name="idle")

    def __enter__(self) -> Idle:
        self._thread.start()
        return self

    def __exit__(self, *ended: object) -> None:
        self._ended.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._ended.is_set():
            began = time.perf_counter()
            time.sleep(BEAT_S)
            self.lags.append(1000 * (time.perf_counter() - began - BEAT_S))


def _count(played: Played, ledger: Path, rows: list[dict[str, Any]], status: dict[str, Any]) -> None:
    """Compare each bot's last candle and its equity points with the candles that the market has closed.

    A bot writes one point at each closed candle, stamped with its close; the first candle closes a minute after
    the market's beginning, which is where every bot was started.
    """
    cursor, closed = status["cursor_ms"], status["candles"] // len(status["symbols"])
    expected = (closed, cursor - (closed - 1) * MINUTE_MS, cursor) if closed else (0, None, None)
    last = cursor - MINUTE_MS if closed else None
    with sqlite3.connect(f"file:{ledger}?mode=ro", uri=True) as connection:
        points = "SELECT count(DISTINCT time_ms), min(time_ms), max(time_ms) FROM equity WHERE bot = ?"
        numbers = dict(connection.execute("SELECT name, number FROM bots"))
        for row in rows:
            found = connection.execute(points, (numbers[row["name"]],)).fetchone()
            played.delivered += found[0]
            if found != expected or _ms(row["last_candle"]) != last:
                played.missed += max(1, closed - found[0])


def _ms(time_text: str | None) -> int | None:
    return None if time_text is None else round(datetime.fromisoformat(time_text).timestamp() * 1000)


def _rows(played: Played, seconds: float, speed: float) -> list[Row]:
    at = f"speed {speed:g}, {seconds:.0f} s: "
    loop, ledger, ls_ms = played.health["loop"], played.health["ledger"], played.ls_ms
    fills = played.health["orders"]["fills"]
    return [
        Row(f"{at}candles told to {BOTS} bots", played.delivered, note=f"{fills} fills"),
        Row(f"{at}candles missed", played.missed, bound=0),
        Row(f"{at}loop lag p50", loop["lag_ms_p50"], "ms", IDLE, median(played.idle_ms)),
        Row(f"{at}loop lag p99", loop["lag_ms_p99"], "ms", IDLE, quantile(played.idle_ms, 0.99), LAG_P99_MS),
        Row(f"{at}loop lag max (with the making of the bots)", loop["lag_ms_max"], "ms"),
        Row(f"{at}commit p99", ledger["commit_p99_ms"], "ms"),
        Row(f"{at}resident memory", played.resident, "MB", bound=RESIDENT_MB),
        Row(f"{at}share of a processor", 100 * played.cpu_share, "%"),
        Row(
            f"{at}botctl ls -o json, median of {len(ls_ms)}",
            median(ls_ms),
            "ms",
            "click + zmq skeleton",
            median(played.skeleton_ms),
            LS_MS,
        ),
        Row(
            f"{at}botctl ls -o json, p99",
            quantile(ls_ms, 0.99),
            "ms",
            "click + zmq skeleton",
            quantile(played.skeleton_ms, 0.99),
        ),
    ]
