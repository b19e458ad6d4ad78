"""Single bits of a ledger's file flipped: noticed before anything trades, or nothing is different."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.kill.known_ledger import FILE, Known, copy, reopen
from tests.kill.pages import Pages

FOUND, SAME, SILENT, MONEY = "found", "same", "SILENT", "MONEY"
"""Noticed; nothing is different; another row and nothing said; another balance and nothing said."""


def flip(known: Known, flips: int, seed: int, scratch: Path, report: Callable[[str], None]) -> dict[str, Counter[str]]:
    """Flip a bit, open, put it back: half of them in rows of the ledger and of the audit, half anywhere. Return the
    outcomes by kind of byte."""
    copy(known.directory, scratch)
    path = scratch / FILE
    whole = path.read_bytes()
    right = known.states[max(known.states)]
    counts: dict[str, Counter[str]] = {}
    for at, bit, kind in _draw(path, flips, random.Random(seed)):
        copy(known.directory, scratch)
        damaged = bytearray(whole)
        damaged[at] ^= 1 << bit
        path.write_bytes(damaged)
        found = reopen(scratch)
        outcome = FOUND if found.refusal else SAME
        if not found.refusal and found.all != right[1]:
            outcome = SILENT if found.balances == right[0] else MONEY
            report(f"bit {bit} of byte {at} ({kind}): {outcome}")
        counts.setdefault(kind, Counter())[outcome] += 1
    return counts


def _draw(path: Path, flips: int, dice: random.Random) -> Iterator[tuple[int, int, str]]:
    pages = Pages(path)
    rows = (pages.places("row"), pages.places("audit row"))
    for number in range(flips):
        at = dice.choice(rows[number // 2 % 2]) if number % 2 else dice.randrange(len(pages.kinds))
        yield at, dice.randrange(8), pages.kinds[at]


def share_found(counts: dict[str, Counter[str]], *kinds: str) -> float:
    """Return the share of flips in bytes of these kinds that were noticed."""
    found = sum(counts.get(kind, Counter())[FOUND] for kind in kinds)
    return found / max(1, sum(sum(counts.get(kind, Counter()).values()) for kind in kinds))
