"""Many seeds of the trading simulation, several processes at a time, and what they reached together."""

from __future__ import annotations

import logging
import multiprocessing
import time
import traceback
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

from tests.simulation.trading.rules import Broken
from tests.simulation.trading.run import Run

TOLD_EACH = 50


class Result(NamedTuple):
    """What became of a seed. ``said`` is empty where every rule held."""

    seed: int
    counts: Counter[str]
    digest: str
    settled_s: float
    trading_s: float
    said: str


def played(seed: int, minutes: float, bots: int) -> Result:
    """Play a seed."""
    run, said = Run(seed, minutes=minutes, bots=bots), ""
    try:
        run.play()
    except Broken as broken:
        said = str(broken)
    except Exception:  # the seed must be told whatever happened
        said = f"seed {seed} at {run.timeline.now_s:.1f} s: {traceback.format_exc()}"
    if said:
        said += f"\n    python -m tests.simulation.trading --seed {seed} --minutes {minutes:g} --bots {bots}"
    return Result(seed, run.counts, run.digest, run.settled_s, run.trading_s, said)


def campaign(seeds: range, minutes: float, bots: int, jobs: int, tell: Callable[[str], None]) -> int:
    """Play many seeds and tell what was reached; return how many broke a rule."""
    began, counts, broken, settled, trading, done = time.perf_counter(), Counter[str](), 0, 0.0, 0.0, 0
    try:
        with ProcessPoolExecutor(jobs, multiprocessing.get_context("fork"), initializer=quiet) as pool:
            for result in pool.map(played, seeds, [minutes] * len(seeds), [bots] * len(seeds)):
                counts.update(result.counts)
                settled, trading = max(settled, result.settled_s), max(trading, result.trading_s)
                done += 1
                if result.said:
                    broken += 1
                    tell(result.said)
                if not done % TOLD_EACH:
                    tell(f"  {done} seeds, {time.perf_counter() - began:.0f} s")
    finally:  # what was reached is told, however it ends
        took = time.perf_counter() - began
        tell(f"{done} seeds of {minutes:g} minutes with {bots} bots in {took:.0f} s: {broken} broke a rule")
        tell(f"slowest after the faults: ledger = exchange {settled:.1f} s, all trading {trading:.1f} s")
        tell(", ".join(f"{name} {count:,}" for name, count in sorted(counts.items())))
    return broken


def quiet() -> None:
    """Keep botd's log to itself."""
    logging.disable(logging.CRITICAL)
