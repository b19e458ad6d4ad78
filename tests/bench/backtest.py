"""The backtest kernel and the event path: RSI(14) 30/70, 2 % stop, 4 % target over 1,000,000 1m candles; and a sweep.

The candles are a seeded random walk whose every open is the close before, so that levels counted from the close of the
decision and from the fill are the same. vectorbt and backtesting.py run in a virtual environment of their own. The
trade lists are held together by their candles. vectorbt takes one order a candle: its stops are not live in the candle
of the entry, which on this walk is never the one that matters. Beside the event path stands nautilus_trader's, whose
orders fill at the close that decides; freqtrade's fill as ours, the markets it asks its exchange for are the front's.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from botd.backtest.engine import run as run_engine
from botd.backtest.engine import spec_of
from botd.backtest.history import History, from_candles
from botd.backtest.kernel import make_room
from botd.backtest.parity import difference
from botd.backtest.run import average_ranges, backtest, decide, load_kernel, tape_of, trade
from botd.domain.candles import Candles
from botd.domain.clock import WallClock
from botd.market.store.candle_store import CandleStore
from botd.strategy.base import SignalStrategy
from botd.strategy.registry import Registry
from tests.bench import freqtrade_beside
from tests.bench.candle_store import walk
from tests.bench.figures import Options, Row, median
from tests.bench.freqtrade_beside import PEER as FREQTRADE
from tests.bench.lab_run import SWEEP_CANDLES, SYMBOL, TERMS
from tests.bench.live_capacity import front
from tests.bench.peers import PeersMissingError
from tests.bench.processes import run_ms
from tests.bench.tick_to_order import PEER as NAUTILUS
from tests.bench.tick_to_order import interpreter

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
VENV = ROOT / "build" / "lab-venv"
PACKAGES = ("vectorbt", "backtesting", "TA-Lib")
ROWS, SETS = 1_000_000, 100
PEER_LIMIT_S = 600
CANDLES_PER_S, WHOLE_MS, WHOLE_MB = 90e6, 1000.0, 350.0
SETS_PER_S, SWEEP_MB = 300e6, 300.0
EVENT_PATH_PER_S = 300e3
FREQTRADE_WARM_UP = 15
"""Candles: it trades on none of its first, ours on the first whose RSI is defined."""


def run(options: Options) -> list[Row]:
    """Return the figures."""
    with tempfile.TemporaryDirectory(prefix="botd-bench-") as folder:
        home = Path(folder)
        rows = walk(ROWS)
        CandleStore(home / "store").write(SYMBOL, "1m", rows)
        _save(home / "all.npz", rows, ROWS)
        _save(home / "some.npz", rows, SWEEP_CANDLES)
        history = from_candles(rows, SYMBOL)
        rounds = 5 if options.quick else 15
        before = _rates(history, rounds)
        peers = _Peers(home, options)
        kernel, whole = (median([*one, *two]) for one, two in zip(before, _rates(history, rounds), strict=True))
        vectorbt, theirs = peers.rate("vectorbt"), peers.rate("backtesting")
        return [
            Row("signals and kernel, warm, candles", kernel, "/s", "vectorbt", vectorbt, CANDLES_PER_S, at_least=True),
            Row("with all figures of the report", whole, "/s", "vectorbt", vectorbt),
            Row("the same", whole, "/s", "backtesting.py", theirs),
            *_event_path(history, theirs, options),
            *_nautilus(home, options),
            *_freqtrade(home, peers, options),
            *_process(home, peers, options),
            *_sweep(home, peers),
            *_agreement(history, peers),
            *peers.missing,
        ]


def _rates(history: History, rounds: int) -> tuple[list[float], list[float]]:
    """Return candles a second of signals and kernel, and of a whole backtest in memory."""
    strategy = Registry.standard().load("rsi").build({})
    assert isinstance(strategy, SignalStrategy)
    load_kernel()
    atr = average_ranges(history, TERMS)
    room = make_room(len(history.candles), len(history.candles) // 4)
    tape = tape_of(history)

    def once() -> None:
        trade(tape, decide(history, "rsi", strategy), atr, TERMS, room)

    kernel = [len(history.candles) / _seconds(once) for _ in range(rounds)]
    clock = WallClock()
    whole = [
        len(history.candles) / _seconds(lambda: backtest(history, "rsi", strategy, TERMS, clock)) for _ in range(rounds)
    ]
    return kernel, whole


def _event_path(history: History, theirs: float | None, options: Options) -> list[Row]:
    """Measure the production bot, guard, gate, exchange and books on a virtual clock: signals, then every candle."""
    clock, registry, rates = WallClock(), Registry.standard(), []
    spec = spec_of("rsi", history, TERMS)
    for _ in range(2 if options.quick else 5):
        (result,) = run_engine([history], [spec], registry, clock, terms=TERMS)
        rates.append(len(history.candles) / result.seconds)
    strategy = registry.load("rsi").build({})
    assert isinstance(strategy, SignalStrategy)
    apart = difference(backtest(history, "rsi", strategy, TERMS, clock), result)
    note = apart or f"{result.count:,} trades, each that of the kernel"
    name, rate = "event path, one signal bot, candles", median(rates)
    part = from_candles(history.candles.part(0, SWEEP_CANDLES), SYMBOL)
    every = spec_of("dca", part, TERMS, {"every": "1d", "amount": "1000000"})
    (dca,) = run_engine([part], [every], registry, clock, terms=TERMS)
    low, high = part.candles.close.min(), part.candles.close.max()
    levels = spec_of("grid", part, TERMS, {"lower": f"{low:.2f}", "upper": f"{high:.2f}", "levels": "20"})
    (grid,) = run_engine([part], [levels], registry, clock, terms=TERMS)
    return [
        Row(name, rate, "/s", "backtesting.py", theirs, EVENT_PATH_PER_S, at_least=True, note=note),
        Row("event path, one event bot (dca), candles", SWEEP_CANDLES / dca.seconds, "/s"),
        Row("event path, a grid of 20 levels, candles", SWEEP_CANDLES / grid.seconds, "/s"),
    ]


def _nautilus(home: Path, options: Options) -> list[Row]:
    """Measure nautilus_trader's event engine on the same candles, where it installs."""
    name, rows = "some" if options.quick else "all", SWEEP_CANDLES if options.quick else ROWS
    try:
        told = _json([interpreter(), HERE / "nautilus_backtest.py", home / f"{name}.npz"])
    except (subprocess.SubprocessError, OSError) as error:
        return [Row(NAUTILUS, None, note=f"not installed, or it failed: {error}"[:200])]
    note = f"{told['count']:,} trades; decided and filled at the same close"
    return [Row(f"{NAUTILUS} {told['version']}, its event engine, candles", rows / told["warm_s"], "/s", note=note)]


def _freqtrade(home: Path, peers: _Peers, options: Options) -> list[Row]:
    """Measure freqtrade's backtest of the same candles, where it installs; its trades go beside those of the others."""
    name, rows = "some" if options.quick else "all", SWEEP_CANDLES if options.quick else ROWS
    script, symbol, own = HERE / "freqtrade_backtest.py", "S000/USDT", home / "freqtrade"
    try:
        programs = freqtrade_beside.installed()
        with front(symbols=1, rate=1.0) as port:
            urls = freqtrade_beside.urls_at(programs, port)
            freqtrade_beside.prepare(own, urls, symbol, wallet=1e9, warm_up=FREQTRADE_WARM_UP)
            told = _json([programs / "python", script, own, symbol, home / f"{name}.npz"])
    except (subprocess.SubprocessError, OSError) as error:
        return [Row(FREQTRADE, None, note=f"not installed, or it failed: {error}"[:200])]
    peers.add(FREQTRADE, told, rows)
    return [Row(f"{FREQTRADE} {told['version']}, its backtest, candles", rows / told["warm_s"], "/s")]


class _Peers:
    """The peers' answers, or why there are none."""

    def __init__(self, home: Path, options: Options) -> None:
        self.missing: list[Row] = []
        self._told: dict[tuple[str, int], dict[str, Any]] = {}
        try:
            python = _installed()
            for peer, file, sets in (("vectorbt", "all", 0), ("vectorbt", "some", SETS), ("backtesting", "all", 0)):
                shorter = "some" if options.quick and peer == "backtesting" else file
                told = _json(
                    [python, HERE / "lab_peers.py", peer, home / f"{shorter}.npz", *([str(sets)] * bool(sets))]
                )
                self._told[peer, sets] = {**told, "candles": ROWS if shorter == "all" else SWEEP_CANDLES}
        except (PeersMissingError, subprocess.SubprocessError, OSError) as error:
            self.missing.append(Row("peers", None, note=str(error)[:200]))

    def add(self, peer: str, told: dict[str, Any], candles: int) -> None:
        """Keep what a peer told that ran elsewhere."""
        self._told[peer, 0] = {**told, "candles": candles}

    def get(self, peer: str, sets: int, key: str) -> Any:
        """Return what a peer told, None where it did not run."""
        return self._told.get((peer, sets), {}).get(key)

    def rate(self, peer: str, sets: int = 0) -> float | None:
        """Return candles (times sets) a second, warm."""
        told = self._told.get((peer, sets))
        return None if told is None else told["candles"] * max(1, sets) / told["warm_s"]


def _process(home: Path, peers: _Peers, options: Options) -> list[Row]:
    """Measure the whole process, from the start of Python to the figures, from the local store."""
    command = [sys.executable, "-m", "tests.bench.lab_run", home / "store"]
    taken = [run_ms(command, _environment()) for _ in range(4 if options.quick else 8)][1:]
    memory = _json(command)["memory_mb"]
    name, whole, megabytes = f"vectorbt {peers.get('vectorbt', 0, 'version')}", "whole_s", "memory_mb"
    theirs = peers.get("vectorbt", 0, whole)
    return [
        Row("whole process, 1,000,000 candles", median(taken), "ms", name, theirs and theirs * 1e3, WHOLE_MS),
        Row("its memory", memory, "MB", name, peers.get("vectorbt", 0, megabytes), WHOLE_MB),
    ]


def _sweep(home: Path, peers: _Peers) -> list[Row]:
    """Measure the sweep in a process of its own; every set has all its figures."""
    told = _json([sys.executable, "-m", "tests.bench.lab_run", home / "store", str(SETS)])
    rate = told["candles"] * SETS / told["seconds"]
    theirs = peers.rate("vectorbt", SETS)
    return [
        Row("sweep, 100 sets x 100,000, set-candles", rate, "/s", "vectorbt", theirs, SETS_PER_S, at_least=True),
        Row("its memory", told["memory_mb"], "MB", "vectorbt", peers.get("vectorbt", SETS, "memory_mb"), SWEEP_MB),
    ]


def _agreement(history: History, peers: _Peers) -> list[Row]:
    """Hold the trade lists together by the rows of entry and exit."""
    strategy = Registry.standard().load("rsi").build({})
    assert isinstance(strategy, SignalStrategy)
    rows = []
    for peer in ("backtesting", "vectorbt", FREQTRADE):
        theirs = peers.get(peer, 0, "trades")
        if theirs is not None:
            candles = peers.get(peer, 0, "candles")
            part = from_candles(history.candles.part(0, candles), SYMBOL)
            result = backtest(part, "rsi", strategy, TERMS, WallClock())
            room, count = result.room, result.count
            ours = set(zip(room.entry_row[:count].tolist(), room.exit_row[:count].tolist(), strict=True))
            same = len(ours & {(entry, left) for entry, left in theirs})
            note = f"{same:,} with the same entry and exit candle"
            rows.append(Row(f"trades in {candles:,} candles", count, "", peer, len(theirs), note=note))
    return rows


def _installed() -> Path:
    """Return the Python of the peers' environment; make it where it is not there yet."""
    python = VENV / "bin" / "python"
    check = [python, "-c", "import vectorbt, backtesting, talib"]
    if python.exists() and subprocess.run(check, capture_output=True, check=False).returncode == 0:
        return python
    try:
        subprocess.run([sys.executable, "-m", "venv", VENV], check=True, capture_output=True, timeout=120)
        install = [VENV / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES]
        subprocess.run(install, check=True, capture_output=True, timeout=900)
    except (OSError, subprocess.SubprocessError) as error:
        raise PeersMissingError(f"skipped: pip could not install {', '.join(PACKAGES)}: {error}") from None
    return python


def _json(command: Sequence[str | Path]) -> dict[str, Any]:
    done = subprocess.run(
        command, cwd=ROOT, env=_environment(), capture_output=True, text=True, check=True, timeout=PEER_LIMIT_S
    )
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def _save(path: Path, rows: Candles, count: int) -> None:
    columns = {name: getattr(rows, name)[:count] for name in ("time", "open", "high", "low", "close")}
    np.savez(path, **columns)


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
