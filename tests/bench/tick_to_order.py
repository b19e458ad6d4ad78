"""From a closing candle on the wire to the order it causes: the kline is sent, the POST arrives; one machine, loopback.

The exchange is the Binance-wire front in a process of its own. botd trades live: the intent is committed with FULL
in between. Half of its bots run a built-in strategy, half a user's (evaluated in a thread of its own). Beside it, on
other fronts of the same kind in the same run: nautilus_trader's Binance adapter (where it cannot be installed, its row
says so), and a bare client that answers each candle at once and keeps nothing, the least there can be on the machine.
``python -m tests.bench tick_to_order``: ``--seconds`` of each [300, quick 130].
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.bench.figures import Options, Row, median, quantile
from tests.bench.fleet import Wire
from tests.bench.processes import end
from tests.e2e.conftest import Botd
from tests.fakes.binance.exchange import DEFAULT_KEY
from tests.fakes.live_daemon import NO_LIMITS, configure, ready

ROOT = Path(__file__).parents[2]
VENV = ROOT / "build" / "nautilus-venv"
PEER = "nautilus_trader"
SYMBOLS = 100
FULL_S, QUICK_S = 300.0, 130.0
WARM_S, BARE_S = 30.0, 62.0
CLOSES_MS = "5,3000"
"""Candles close within so long after the minute: one order hardly ever waits for another."""
FLIP = '''
import numpy as np
from botd.strategy.base import SignalStrategy, Signals


class Flip(SignalStrategy):
    """In at one candle, out at the next."""

    def warmup(self):
        return 1

    def signals(self, candles):
        odd = (candles.time // 60_000) % 2 == 1
        return Signals(enter=odd, exit=~odd)
'''


def run(options: Options) -> list[Row]:
    """One after the other, each with a front of its own."""
    seconds = options.asked_s or (QUICK_S if options.quick else FULL_S)
    with tempfile.TemporaryDirectory(prefix="bench-") as directory, front() as port:
        built_in, users = _ours(Path(directory), port, seconds)
        sync = _sync(Path(directory) / "sync")
    with front() as port:
        theirs, why = _theirs(port, seconds)
    with front() as port:
        bare = _bare(port, BARE_S)
    rows = _rows("a built-in strategy", built_in, theirs, bound=True) + _rows("a user's strategy", users, theirs)
    rows.append(Row("of it a sync of this disk, p50", sync, "ms", note="theirs keeps nothing on disk"))
    rows.append(Row("a client that decides and keeps nothing, p50", median(bare), "ms", note=f"{len(bare)} orders"))
    return [*rows, *([Row(PEER, None, note=why)] if why else [])]


def _sync(path: Path) -> float:
    """Return the median milliseconds of making one page durable."""
    took = []
    with path.open("wb", buffering=0) as file:
        for _ in range(100):
            file.write(bytes(4096))
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            took.append((time.perf_counter() - began) * 1000)
            time.sleep(0.02)
    return median(took)


@contextlib.contextmanager
def front() -> Iterator[int]:
    """Run the front; give its port."""
    command = [sys.executable, "-m", "tests.fakes.binance", f"--symbols={SYMBOLS}", "--rate=50", "--kline-ms=0"]
    command += ["--exchange", "--balance=USDT=100000000", "--orders-10s=10000", f"--close-ms={CLOSES_MS}"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline().split()[1])
    finally:
        end(process)
        process.stdout.close()


def _ours(home: Path, port: int, seconds: float) -> tuple[list[float], list[float]]:
    """Return milliseconds from candle to order: of built-in strategies, and of a user's."""
    at = SimpleNamespace(rest_url=f"http://127.0.0.1:{port}", ws_url=f"ws://127.0.0.1:{port}")
    limits = {**NO_LIMITS, "max_position": "off", "max_exposure": "off", "max_order_value": "off"}
    botd = configure(Botd(home / "botd"), at, risk=limits, log={"level": "warning"})
    (home / "botd" / "strategies" / "flip.py").write_text(FLIP)
    names = _names(port)
    botd.start()
    try:
        ready(botd)
        with Wire(botd.socket) as wire:
            wire.call("live.arm", {})
            wire.call("apply", {"bots": [_spec(number, *pair) for number, pair in enumerate(names.items())]}, 60)
            wire.call("start", {"all": True}, 60)
        time.sleep(WARM_S + seconds)
        found = _taken(port, since_s=seconds)
    finally:
        botd.stop()
    flips = {name for number, name in enumerate(names) if number % 2}
    return [ms for name, ms in found if name not in flips], [ms for name, ms in found if name in flips]


def _spec(number: int, name: str, symbol: str) -> dict[str, Any]:
    spec = {"name": f"bot{number:03d}", "symbol": symbol, "interval": "1m", "capital": "1000", "mode": "live"}
    if number % 2:
        return {**spec, "strategy": "flip"}
    return {**spec, "strategy": "rsi", "params": {"period": 2, "oversold": 50, "overbought": 50}}


def _theirs(port: int, seconds: float) -> tuple[list[float], str]:
    """Return the same of nautilus_trader, and why there is nothing."""
    try:
        python = interpreter()
    except (subprocess.SubprocessError, OSError) as error:
        return [], f"not installed: {error}"[:200]
    return _of_client([str(python), str(Path(__file__).with_name("nautilus_client.py"))], port, seconds)


def _bare(port: int, seconds: float) -> list[float]:
    """Return the same of a client that does nothing but answer."""
    found, why = _of_client([sys.executable, "-m", "tests.bench.bare_client"], port, seconds)
    assert found, why
    return found


def _of_client(command: list[str], port: int, seconds: float) -> tuple[list[float], str]:
    """Run a client of the front; return the milliseconds from candle to order, and why there are none."""
    done = subprocess.run(
        [*command, str(port), str(WARM_S + seconds), ",".join(_names(port))],
        cwd=ROOT,
        env=os.environ | {"FRONT_KEY": DEFAULT_KEY.key, "FRONT_SECRET": DEFAULT_KEY.secret},
        capture_output=True,
        text=True,
        timeout=seconds + 120,
    )
    found = [ms for _, ms in _taken(port, since_s=seconds)]
    return found, "" if found else f"no orders came: {(done.stderr or done.stdout)[-200:]}"


def interpreter() -> Path:
    """Return the peer's interpreter; install what is missing."""
    python = VENV / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True, timeout=120)
    if subprocess.run([str(python), "-c", f"import {PEER}"], capture_output=True).returncode:
        command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", PEER]
        subprocess.run(command, check=True, timeout=600, capture_output=True)
    return python


def _names(port: int) -> dict[str, str]:
    rows = _asked(port, "api/v3/exchangeInfo")["symbols"]
    return {row["symbol"]: f"{row['baseAsset']}/{row['quoteAsset']}" for row in rows}


def _taken(port: int, since_s: float) -> list[tuple[str, float]]:
    """Return (symbol, milliseconds) of every order that followed a closing candle in the last seconds."""
    closed: dict[str, list[int]] = {}
    for key, moment in _asked(port, "_front/closed_ns").items():
        closed.setdefault(key.partition("@")[0].upper(), []).append(moment)
    since = time.monotonic_ns() - since_s * 1e9
    found = []
    for request in _asked(port, "_front/requests"):
        if (request["method"], request["path"]) != ("POST", "/api/v3/order") or request["arrived_ns"] < since:
            continue
        name = request["parameters"]["symbol"]
        before = [moment for moment in closed.get(name, ()) if moment <= request["arrived_ns"]]
        if before:
            found.append((name, (request["arrived_ns"] - max(before)) / 1e6))
    return found


def _asked(port: int, path: str) -> Any:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=30) as answer:
        return json.load(answer)


def _rows(what: str, ours: list[float], theirs: list[float], bound: bool = False) -> list[Row]:
    if not ours:
        return [Row(f"candle to order, {what}", None, note="no orders came")]
    rows, told = [], f"{len(ours)} orders" + (f", theirs {len(theirs)}" if theirs else "")
    for name, share, most in (("p50", 0.5, 0.5), ("p90", 0.9, 1.0), ("p99", 0.99, 1.0)):
        peer = quantile(theirs, share) if theirs else None
        limit = most * peer if bound and peer is not None and name != "p90" else None
        figure = f"candle to order, {what}, {name}"
        rows.append(Row(figure, quantile(ours, share), "ms", PEER if theirs else "", peer, limit, note=told))
    rows.append(Row(f"candle to order, {what}, mean of the faster half", _fast(ours), "ms"))
    return rows


def _fast(values: list[float]) -> float:
    middle = median(values)
    fast = [value for value in values if value <= middle]
    return sum(fast) / len(fast)
