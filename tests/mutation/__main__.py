"""The campaign of mutants; prints what was noticed, and each change that no test noticed as a line before and after.

    python -m tests.mutation                                          all three rooms
    python -m tests.mutation --room books                             one of them
    python -m tests.mutation --source botd/ledger/lots.py --tests tests/unit/ledger   any file on any tests

Changes that make no difference are in ``equivalent.txt`` beside this file, each with its reason: they are not counted.
Ends with 1 where fewer than nine of ten were noticed. The tree is copied first, so work on it may go on.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.mutation.mutants import Mutant
from tests.mutation.trial import KILLED, TIMED_OUT, Broken, try_all

AIM = 0.90
NOT_COPIED = (".git", ".venv", "build", "dist", "__pycache__", ".*_cache", ".hypothesis", "*.egg-info")
SHORT = {"BOTD_CAMPAIGN": "50x30"}
"""How long the state machines search: what a unit test shall notice is found soon, or not at all."""
NOTES = Path(__file__).parent / "equivalent.txt"


class Room(NamedTuple):
    """What is changed, and the tests that shall notice."""

    sources: tuple[str, ...]
    tests: tuple[str, ...]


BOOK_TESTS = ("amounts", "accounting", "lots", "postings", "books_machine")
"""The other tests of the ledger are about files and rows."""

ROOMS = {
    "orders": Room(
        ("botd/domain/order.py", "botd/execution/orders.py"),
        ("tests/unit/execution", "tests/unit/risk/test_risk_pairs.py"),  # pairs are counted as one by the gate
    ),
    "gate": Room(
        (
            "botd/risk/gate.py",
            "botd/risk/case.py",
            "botd/risk/checks_state.py",
            "botd/risk/checks_order.py",
            "botd/risk/checks_quantity.py",
            "botd/risk/windows.py",
            "botd/risk/sizing.py",
            "botd/risk/controls.py",
        ),
        ("tests/unit/risk",),
    ),
    "books": Room(
        ("botd/domain/amounts.py", "botd/ledger/accounting.py", "botd/ledger/double_entry.py", "botd/ledger/lots.py"),
        tuple(f"tests/unit/ledger/test_ledger_{name}.py" for name in BOOK_TESTS),
    ),
}

Key = tuple[str, str, str, str, int]


def equivalents(notes: Path) -> dict[Key, str]:
    """Return the changes that make no difference, with their reasons.

    A paragraph each: the file and the function; ``-`` and the line before, ``+`` and after; ``=`` and the reason.
    """
    found: dict[Key, str] = {}
    place, minus, plus = ("", ""), "", ""
    for line in notes.read_text().splitlines() if notes.exists() else ():
        sign, _, text = line.partition(" ")
        if sign == "-":
            minus = text
        elif sign == "+":
            plus = text
        elif sign == "=":
            number = 1
            while (*place, minus, plus, number) in found:
                number += 1
            found[(*place, minus, plus, number)] = text
        elif sign and sign != "#":
            place = (sign, text)
    return found


def try_room(room: Room, known: dict[Key, str], home: Path) -> bool:
    """Try every mutant of a room, and tell what became of them; True where enough were noticed."""
    began, counts, used = time.monotonic(), Counter[str](), set[Key]()
    for mutant, verdict in try_all([Path(name) for name in room.sources], list(room.tests), home):
        if verdict in (KILLED, TIMED_OUT):
            counts[verdict] += 1
            if mutant.key in known:
                print(f"  noticed, so not equivalent: {mutant.key}", flush=True)
        elif mutant.key in known:
            counts["equivalent"] += 1
        else:
            counts[verdict] += 1
            print("\n".join(_shown(mutant, verdict)), flush=True)
        used.add(mutant.key)
    for key in known.keys() - used:
        if key[0] in room.sources:
            print(f"  no such change any more: {key}")
    noticed = counts[KILLED] + counts[TIMED_OUT]
    tried = sum(counts.values()) - counts["equivalent"]
    told = ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common())
    print(f"{sum(counts.values())} changes: {told}; {noticed / max(1, tried):.1%} noticed", end="")
    print(f", {time.monotonic() - began:.0f} s", flush=True)
    return noticed >= AIM * tried


def _shown(mutant: Mutant, verdict: str) -> Iterator[str]:
    yield f"{mutant.path}:{mutant.line} {mutant.function} ({verdict})"
    yield f"  - {mutant.minus}"
    yield f"  + {mutant.plus}"


def in_a_copy(arguments: list[str]) -> int:
    """Run the campaign in a copy of the tree that this is started in."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the copy goes whatever ends this
    with tempfile.TemporaryDirectory(prefix="mutation-") as home:
        tree = Path(home) / "tree"
        shutil.copytree(".", tree, ignore=shutil.ignore_patterns(*NOT_COPIED))
        paths = os.pathsep.join([str(tree), os.environ.get("PYTHONPATH", "")])
        command = [sys.executable, "-m", "tests.mutation", "--here", home, *arguments]
        return subprocess.run(command, cwd=tree, env=os.environ | {"PYTHONPATH": paths}, check=False).returncode


def main(arguments: list[str]) -> int:
    """Try what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--room", choices=ROOMS, action="append", help="only this one; may be given more than once")
    parser.add_argument("--source", action="append", metavar="FILE", help="try this file instead of the rooms")
    parser.add_argument("--tests", action="append", metavar="PATH", help="with --source: the tests that shall notice")
    parser.add_argument("--notes", type=Path, default=NOTES, metavar="FILE", help="changes that make no difference")
    parser.add_argument("--here", metavar="DIR", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.here is None:
        return in_a_copy(arguments)
    os.nice(10)
    os.environ |= SHORT
    rooms = {name: ROOMS[name] for name in options.room or ROOMS}
    if options.source:
        rooms = {" ".join(options.source): Room(tuple(options.source), tuple(options.tests or ["tests"]))}
    known, sound = equivalents(options.notes), True
    for name, room in rooms.items():
        print(f"{name}: {', '.join(room.sources)}", flush=True)
        try:
            sound &= try_room(room, known, Path(options.here))
        except Broken as broken:
            print(f"  {broken}")
            sound = False
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
