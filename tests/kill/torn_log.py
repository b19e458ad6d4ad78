"""A write-ahead log cut off, or with a lost sector, at every 512 bytes: the state of a whole number of batches, or a
refusal; never another balance.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from tests.kill.known_ledger import LOG, Known, copy, reopen

SECTOR = 512


def cut(log: bytes, at: int) -> bytes:
    """Return the log as it is when everything from ``at`` on was never written."""
    return log[:at]


def lose(log: bytes, at: int) -> bytes:
    """Return the log as it is when one sector was never written."""
    return log[:at] + bytes(len(log[at : at + SECTOR])) + log[at + SECTOR :]


def tear(
    known: Known,
    places: Iterable[int],
    damage: Callable[[bytes, int], bytes],
    scratch: Path,
    report: Callable[[str], None],
) -> Counter[str]:
    """Damage the log at each place and open it; return the counts: prefix, whole, refused, WRONG."""
    counts: Counter[str] = Counter()
    whole, last = known.log, max(known.states)
    for at in sorted(places):
        copy(known.directory, scratch)
        (scratch / LOG).write_bytes(damage(whole, at))
        found = reopen(scratch)
        if found.refusal:
            counts["refused"] += 1
        elif (found.balances, found.all) != known.states.get(found.batch):
            counts["WRONG"] += 1
            report(f"{damage.__name__} at {at} of {len(whole)}: not the state of batch {found.batch}")
        else:
            counts["whole" if found.batch == last else "prefix"] += 1
    return counts
