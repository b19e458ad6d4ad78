"""Where output goes that nobody can take: a full disk, a reader that went away, a terminal that is gone."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

from tests.fakes.fake_botd import FakeBotd
from tests.unit.botctl.conftest import bot_row

COMMAND = [sys.executable, "-m", "botctl.cli"]


@pytest.fixture
def bots(botd: FakeBotd) -> FakeBotd:
    botd.handlers["ls"] = lambda args: {"rows": [bot_row(f"bot{n}") for n in range(500)], "next": None}
    return botd


def run(*words: str, **streams: Any) -> tuple[int, str]:
    """Run botctl with its streams as given; return its exit code and what it said on stderr."""
    given = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, **streams}
    done = subprocess.run([*COMMAND, *words], text=True, timeout=30, **given)
    return done.returncode, done.stderr or ""


@pytest.mark.parametrize("words", ["ls", "ls -o json", "--help", "--version", "strategies", "completion bash"])
def test_a_full_disk_is_one_line_and_1(bots: FakeBotd, words: str) -> None:
    with open("/dev/full", "w") as full:
        assert run(*words.split(), stdout=full) == (1, "botctl: error: cannot write: No space left on device\n")


@pytest.mark.parametrize("words", ["ls", "ls -o json", "--help", "--version", "strategies", "completion bash"])
def test_a_reader_that_went_away_is_nothing_to_speak_of(bots: FakeBotd, words: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as gone:
        assert run(*words.split(), stdout=gone) == (0, "")


@pytest.mark.parametrize(("words", "code"), [("show nope", 2), ("ls", 0), ("rm --all", 2), ("stats", 2)])
def test_where_stderr_takes_nothing_the_exit_code_is_the_same(bots: FakeBotd, words: str, code: int) -> None:
    with open("/dev/full", "w") as full:  # the fake daemon knows neither show nor stats: 2
        assert run(*words.split(), stderr=full)[0] == code


def test_a_refusal_after_output_that_went_nowhere_keeps_its_code(bots: FakeBotd) -> None:
    bots.handlers["start"] = lambda args: {"rows": [{"name": "a", "error": {"code": "NOT_FOUND", "message": "a: no"}}]}
    with open("/dev/full", "w") as full:
        assert run("start", "a", stdout=full) == (4, "botctl: error: a: no\n")
