"""Failpoints: nothing where none is armed, death or an error at the n-th passage where one is."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from botd.domain.failpoints import VARIABLE, Failpoint, failpoint

ROOT = Path(__file__).parents[3]


def test_nothing_happens_where_none_is_armed() -> None:
    assert failpoint("ledger.before_commit") is None


def test_an_error_is_raised_once_at_the_passage_that_was_asked_for() -> None:
    point = Failpoint("disk:2:EIO")
    point("disk")
    point("other")
    with pytest.raises(OSError) as raised:
        point("disk")
    assert raised.value.errno == errno.EIO
    point("disk")


@pytest.mark.parametrize("spec", ["", "disk", "disk:", "disk:x", ":3", "disk:1:NOPE"])
def test_what_is_no_failpoint_is_refused(spec: str) -> None:
    with pytest.raises(ValueError, match="give name:n"):
        Failpoint(spec)


def test_the_process_dies_at_the_passage_that_was_asked_for() -> None:
    script = "from botd.domain.failpoints import failpoint\nfor n in range(5): failpoint('here'); print(n, flush=True)"
    environment = {VARIABLE: "here:3", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "0\n1\n")
