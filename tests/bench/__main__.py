"""``python -m tests.bench [NAME...] [--quick] [--seconds S]``: run the benches and print their tables."""

from __future__ import annotations

import argparse
import compileall
import importlib
import os
import sys
import time
from pathlib import Path

from tests.bench.figures import Options, Row, table

BENCHES = (
    "start_up",
    "control_plane",
    "rooms",
    "candle_store",
    "backtest",
    "market_manager",
    "capacity",
    "replay",
    "shared_market",
)
NAMED = (
    "halt_live",
    "ready_after_kill",
    "tick_to_order",
    "live_capacity",
    "stream_client",
    "honest_front",
    "freqtrade_beside",
)
"""Long, or of interest to few: only where they are named."""
_WHICH = f"which: {', '.join(BENCHES)} [default: all of these]; only where named: {', '.join(NAMED)}"
ROOT = Path(__file__).parents[2]


def main() -> int:
    """Run what was asked for; a bound that is not kept is shown, and is no failure: machines differ."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=_WHICH)
    parser.add_argument("--quick", action="store_true", help="a short form: fewer rounds, half a minute of market")
    parser.add_argument(
        "--seconds", type=float, help="wall time of the capacity benches [300, quick 20; live 600, quick 75]"
    )
    given = parser.parse_args()
    if unknown := set(given.names) - {*BENCHES, *NAMED}:
        parser.error(f"no such bench: {', '.join(sorted(unknown))}; there are {', '.join((*BENCHES, *NAMED))}")
    options = Options(
        quick=given.quick, seconds=given.seconds or (20.0 if given.quick else 300.0), asked_s=given.seconds
    )
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} processors, load {load:.1f} before, python {sys.version.split()[0]}")
    for package in ("botd", "botctl", "strategies"):  # as an installation leaves them
        compileall.compile_dir(ROOT / package, quiet=2)
    rows: list[Row] = []
    for name in given.names or BENCHES:
        began = time.monotonic()
        found = importlib.import_module(f"tests.bench.{name}").run(options)
        print(f"\n# {name} ({time.monotonic() - began:.0f} s)\n{table(found)}", flush=True)
        rows += found
    missed = [row for row in rows if row.met is False]
    print(f"\n{sum(row.met is True for row in rows)} bounds kept, {len(missed)} not")
    return 0


if __name__ == "__main__":
    sys.exit(main())
