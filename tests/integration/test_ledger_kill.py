"""kill -9 at any time: what was acknowledged is there, nothing is there twice, nothing without what came before."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.fakes.ledger_rows import open_ledger

ROOT = Path(__file__).parents[2]
CHILD = ROOT / "tests" / "fakes" / "ledger_child.py"
CYCLES = 20


def _run_and_kill(directory: Path, first: int, after_s: float) -> int:
    """Run the child until ``after_s`` after its first word; return the last number it acknowledged."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(CHILD), str(directory), str(first)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)
    assert child.stdout is not None
    begun = child.stdout.readline()
    assert begun, "the child died before its first commit"
    time.sleep(after_s)  # the kill is at a random time: that is what is tested
    child.kill()
    rest = child.stdout.read().splitlines(keepends=True)
    child.wait()
    whole = [int(line) for line in [begun, *rest] if line.endswith(b"\n")]
    assert whole == sorted(whole)
    return whole[-1]


async def _found(directory: Path) -> tuple[dict[str, Any], list[int], list[int]]:
    ledger = open_ledger(directory)
    loaded = ledger.load()
    counts = await ledger.query(
        "SELECT (SELECT count(*) FROM trades) trades, (SELECT count(DISTINCT bars) FROM trades) numbers,"
        " (SELECT max(bars) FROM trades) last, (SELECT count(*) FROM fills) fills,"
        " (SELECT count(*) FROM orders) orders"
    )
    seqs = [row["seq"] for row in await ledger.query("SELECT seq FROM events ORDER BY seq")]
    await ledger.close()
    return counts[0], seqs, [int(loaded.kv["child"]["last"]), loaded.last_sequence[1]]


def test_acknowledged_batches_survive_kill_9_and_form_a_prefix(tmp_path: Path) -> None:
    dice = random.Random(20260101)
    first = 1
    for _ in range(CYCLES):
        acknowledged = _run_and_kill(tmp_path, first, dice.uniform(0.0, 0.12))
        counts, seqs, lasts = asyncio.run(_found(tmp_path))
        last = counts["last"]
        assert last >= acknowledged
        assert counts == {"trades": last, "numbers": last, "last": last, "fills": last, "orders": last}
        assert seqs == list(range(1, last + 1))
        assert lasts == [last, last]
        first = last + 1
    assert first > CYCLES
