"""Several sets of one history in one call of compiled code: the thread that plays them waits for no other.

What it gives for a set is what :func:`botd.backtest.run.play` gives for it, to the last bit: the same functions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from botd.backtest.compiler import compiled
from botd.backtest.kernel import Arrays, Flags, Floats, Ints, Numbers, Room, make_room, sealed, walk
from botd.backtest.sums import Sums, sum_up

_NOTHING = sealed(np.empty(0))


@dataclass(frozen=True, slots=True)
class Batch:
    """``enter`` and ``leave`` have a row for each of some decisions, ``atr`` one for each of some ranges (one row at
    least); every set says by number which are its (no ranges: -1), and has a row of :class:`Numbers`."""

    enter: Flags
    leave: Flags
    atr: Floats
    says: Ints
    ranges: Ints
    numbers: Floats


def play_batch(time: Ints, arrays: Arrays, batch: Batch) -> list[Sums]:
    """Play the sets of a batch, one after the other."""
    out = np.empty((len(batch.says), len(Sums._fields)))
    chosen = sealed(batch.enter), sealed(batch.leave), sealed(batch.atr), sealed(batch.says), sealed(batch.ranges)
    room = make_room(0, max(int(np.count_nonzero(row)) for row in batch.enter) + 1)  # never more trades than entries
    _play(time, arrays, *chosen, sealed(batch.numbers), _NOTHING, room, out)
    return [Sums(*row) for row in out.tolist()]


@compiled
def _play(
    time: Ints,
    arrays: Arrays,
    enter: Flags,
    leave: Flags,
    atr: Floats,
    says: Ints,
    ranges: Ints,
    numbers: Floats,
    nothing: Floats,
    room: Room,
    out: Floats,
) -> None:
    for k in range(len(says)):
        n = numbers[k]
        own = Numbers(n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7], n[8], n[9], n[10], n[11], n[12], n[13], n[14])
        then = atr[ranges[k]] if ranges[k] >= 0 else nothing
        trades, skipped = walk(arrays, enter[says[k]], leave[says[k]], then, own, room)
        sums = sum_up(time, arrays.close, own.capital, room, trades, skipped)
        for j in range(len(sums)):
            out[k, j] = sums[j]
