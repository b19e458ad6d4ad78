"""READY after kill -9 with very full books: 1,000 bots, 1,000,000 fills. The ledger is made once, under ``build/``.

``python -m tests.bench ready_after_kill``; the first time takes a few minutes more.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from pathlib import Path

from botd.ledger.schema import VERSION
from tests.bench.figures import Options, Row, median
from tests.bench.fleet import Wire, launch, market, populate
from tests.bench.start_up import READY_FULL_S, SYMBOLS, fill_ledger
from tests.e2e.conftest import Botd

BOTS, FILLS = 1_000, 1_000_000
QUICK = (200, 100_000)
BUILD = Path(__file__).parents[2] / "build"
RUN_S = 3.0
"""It lives so long between two kills."""


def run(options: Options) -> list[Row]:
    """Kill it a few times; the median of the starts."""
    bots, fills = QUICK if options.quick else (BOTS, FILLS)
    botd = made(bots, fills)
    ready, trading = [], []
    try:
        for _ in range(2 if options.quick else 3):
            botd.start(wait=False)
            botd.until(lambda: botd.socket.exists() and botd.run("daemon", "ping", check=False).returncode == 0, 60)
            time.sleep(RUN_S)
            botd.kill()
            ready.append(launch(botd))
            began = time.perf_counter()
            with Wire(botd.socket) as wire:
                while wire.call("health")["bots"].get("running") != bots:  # every row is read before anything trades
                    time.sleep(0.1)
            trading.append(ready[-1] + time.perf_counter() - began)
            botd.kill()
    finally:
        botd.stop()
    told = f"{bots:,} bots, {fills:,} fills, {_megabytes(botd):,.0f} MB"
    return [
        Row(f"botd after kill -9, {told}, to the first ping", median(ready), "s", bound=READY_FULL_S),
        Row("the same, until all bots run", median(trading), "s"),
    ]


def made(bots: int, fills: int) -> Botd:
    """Return a botd that stands still over full books; made anew where the schema is another."""
    home = BUILD / f"full-books-{bots}-{fills}-v{VERSION}"
    botd = Botd(home, market(SYMBOLS, speed=1, autoplay=True))
    if (home / "made").exists():
        return botd
    shutil.rmtree(home, ignore_errors=True)
    botd = Botd(home, market(SYMBOLS, speed=1, autoplay=True))
    launch(botd)
    with Wire(botd.socket) as wire:
        populate(wire, bots, SYMBOLS)
    botd.stop()
    asyncio.run(fill_ledger(botd, fills, bots))
    (home / "made").touch()
    return botd


def _megabytes(botd: Botd) -> float:
    return (botd.state_dir / "ledger.db").stat().st_size / 1e6
