"""The campaign: seeds of whole botds trading through faults, crashes and restarts on virtual time.

python -m tests.simulation.trading --seeds 100 --minutes 60 --bots 20 [--first N] [--jobs 2]
python -m tests.simulation.trading --seed 17 --minutes 60 --bots 20 [-v]      # one again, exactly
"""

from __future__ import annotations

import argparse
import functools
import logging
import os
import sys

from tests.simulation.trading.campaign import campaign, played, quiet


def replay(options: argparse.Namespace) -> int:
    """Play one seed."""
    if options.v:
        logging.basicConfig(level=logging.INFO, format="%(name)s %(message)s")
    else:
        quiet()
    result = played(options.seed, options.minutes, options.bots)
    print(", ".join(f"{name} {count:,}" for name, count in sorted(result.counts.items())))
    print(result.said or f"every rule held; state {result.digest}")
    return 1 if result.said else 0


def main() -> int:
    """Run the campaign, or one seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20, metavar="N")
    parser.add_argument("--first", type=int, default=0, metavar="SEED")
    parser.add_argument("--seed", type=int, metavar="SEED")
    parser.add_argument("--minutes", type=float, default=10, metavar="M")
    parser.add_argument("--bots", type=int, default=20, metavar="B")
    parser.add_argument("--jobs", type=int, default=2, metavar="J")
    parser.add_argument("-v", action="store_true", help="with --seed: botd's own log")
    options = parser.parse_args()
    if os.environ.get("PYTHONHASHSEED") != "0":  # sets of words in the same order, in every process
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, "-m", "tests.simulation.trading", *sys.argv[1:]])
    if options.seed is not None:
        return replay(options)
    seeds = range(options.first, options.first + options.seeds)
    tell = functools.partial(print, flush=True)
    return 1 if campaign(seeds, options.minutes, options.bots, options.jobs, tell) else 0


if __name__ == "__main__":
    sys.exit(main())
