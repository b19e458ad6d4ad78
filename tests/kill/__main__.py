"""The campaign of kills and damage; prints what it reached, and ends with 1 where a rule was broken.

python -m tests.kill                                              all of it: an hour or more
python -m tests.kill --cycles 100 --live 0 --cuts 0 --flips 0     only kills
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.kill.bit_flips import MONEY, SILENT, flip, share_found
from tests.kill.cycles import READY_S, Campaign
from tests.kill.known_ledger import make
from tests.kill.live_cycles import LiveCampaign
from tests.kill.torn_log import SECTOR, cut, lose, tear
from tests.kill.worlds import replay, synthetic

ROUND, LIVE_ROUND = 40, 20
CANDLES = 6000
NOTICED = 0.99


def kills(home: Path, cycles: int, seed: int) -> bool:
    """Kill a botd so often, in rounds of which each ends in a comparison with an undisturbed run."""
    home.mkdir()
    campaign = Campaign(home, seed, lambda said: print(f"BROKEN: {said}", flush=True))
    began, worlds = time.monotonic(), (replay(home, CANDLES, seed), synthetic(seed))
    number = 0
    try:
        while campaign.kills < cycles:
            campaign.round(worlds[number % 2], min(ROUND, cycles - campaign.kills))
            number += 1
            print(f"  {campaign.kills} kills, {time.monotonic() - began:.0f} s", flush=True)
    finally:  # what was reached is told, however it ends
        campaign.close()
        print(f"{campaign.kills} kills in {number} rounds, each compared with a run that nobody disturbed", end="")
        print(f": {len(campaign.wrong)} findings")
        print(f"  {campaign.acknowledged:,} commands acknowledged, {campaign.fills:,} fills compared")
        print(f"  {campaign.starts} starts, READY within {campaign.slowest_s:.2f} s (allowed: {READY_S:g}){_load()}")
        _table(campaign.counts)
    return not campaign.wrong


def live_kills(home: Path, cycles: int, seed: int) -> bool:
    """Kill a botd that trades live on the front so often, in rounds that end with both books beside each other."""
    home.mkdir()
    campaign = LiveCampaign(home, seed, lambda said: print(f"BROKEN: {said}", flush=True))
    began = time.monotonic()
    while campaign.kills < cycles:
        campaign.round(min(LIVE_ROUND, cycles - campaign.kills))
        print(f"  {campaign.kills} live kills, {time.monotonic() - began:.0f} s", flush=True)
    print(f"{campaign.kills} kills of live trading: {campaign.orders:,} orders, {campaign.pairs} pairs", end="")
    print(f", {campaign.trades:,} trades", end="")
    print(f", {len(campaign.wrong)} findings: orphans, doubles or books that differ")
    print(f"  {campaign.starts} starts, READY within {campaign.slowest_s:.2f} s at most{_load()}")
    _table(campaign.counts)
    return not campaign.wrong


def torn(home: Path, cuts: int, seed: int) -> bool:
    """Cut the log at every 512 bytes, and lose sectors; also of a log that was moved into the file before."""
    dice, wrong = random.Random(seed), 0
    for name, checkpoint_at, share in (("a log", 0, 0.6), ("a log moved into its file", 40, 0.4)):
        known = make(home / f"torn{checkpoint_at}", 40, bots=200 if checkpoint_at else 5, checkpoint_at=checkpoint_at)
        places = range(0, len(known.log), SECTOR)
        for damage, part in ((cut, 0.8), (lose, 0.2)):
            chosen = dice.sample(places, min(len(places), round(cuts * share * part)))
            counts = tear(known, chosen, damage, home / "scratch", lambda said: print(f"BROKEN: {said}", flush=True))
            wrong += counts["WRONG"]
            print(f"{name}, {damage.__name__} at {len(chosen)} of {len(places)} sectors: {_told(counts)}", flush=True)
    return not wrong


def flips(home: Path, number: int, seed: int) -> bool:
    """Flip single bits of a ledger's file."""
    known = make(home / "flips", 200, closed=True)
    counts = flip(known, number, seed, home / "scratch", lambda said: print(f"BROKEN: {said}", flush=True))
    for kind, outcomes in sorted(counts.items()):
        print(f"{sum(outcomes.values()):6} bits of {kind:10}: {_told(outcomes)}")
    share = share_found(counts, "row", "audit row")
    print(f"  of flips in ledger and audit rows {share:.2%} were noticed before anything trades")
    return share >= NOTICED and not any(outcomes[MONEY] + outcomes[SILENT] for outcomes in counts.values())


def _table(counts: Counter[str]) -> None:
    for where, count in sorted(counts.items()):
        print(f"    {where:44} {count}")


def _load() -> str:
    return f"; load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"


def _told(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))


def main() -> int:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cycles", type=int, default=1000, metavar="N", help="kills")
    parser.add_argument("--live", type=int, default=200, metavar="N", help="kills of live trading")
    parser.add_argument("--cuts", type=int, default=3750, metavar="N", help="damages of the log: four in five are cuts")
    parser.add_argument("--flips", type=int, default=1500, metavar="N", help="bits")
    parser.add_argument("--seed", type=int, default=1, metavar="S")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)  # what the ledger says of each damage is not news here
    home = Path(tempfile.mkdtemp(prefix="kill-"))
    print(f"seed {options.seed}, in {home}", flush=True)
    sound = [
        not options.flips or flips(home, options.flips, options.seed),
        not options.cuts or torn(home, options.cuts, options.seed),
        not options.cycles or kills(home / "k", options.cycles, options.seed),
        not options.live or live_kills(home / "l", options.live, options.seed),
    ]
    if all(sound):
        shutil.rmtree(home)
    return 0 if all(sound) else 1


if __name__ == "__main__":
    sys.exit(main())
