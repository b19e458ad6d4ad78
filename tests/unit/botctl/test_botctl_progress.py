"""Progress of a long command: what is said, and how often."""

from __future__ import annotations

import pytest

from botctl.progress import Progress
from botctl.session import Session


class Seconds:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Seconds()


def test_rate_and_time_left_are_those_of_this_run(clock):
    progress = Progress(Session(), "candles", clock)
    clock.now += 10
    assert progress.text(20_000, 50_000) == "40%  20,000 of 50,000 candles  2,000/s  15s left"
    assert progress.text(50_000, 50_000) == "100%  50,000 of 50,000 candles  5,000/s"
    assert progress.text(0, 0) == "100%  0 of 0 candles"


def test_off_a_terminal_a_line_comes_now_and_then_and_when_something_is_waited_for(clock, capsys):
    progress = Progress(Session(), "candles", clock)
    for done in range(100):
        progress(done, 100)
        clock.now += 0.2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3 and all("\r" not in line for line in lines)
    progress(99, 100, "the exchange asks to wait")
    progress(99, 100, "")
    assert capsys.readouterr().err.splitlines()[0].endswith("the exchange asks to wait")


def test_quiet_says_nothing(clock, capsys):
    session = Session()
    session.quiet = True
    progress = Progress(session, "candles", clock)
    clock.now += 60
    progress(1, 2, "note")
    progress.end()
    assert capsys.readouterr().err == ""


def test_before_anything_is_known_no_full_bar_is_drawn(clock, capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    progress = Progress(Session(), "candles", clock)
    progress(0, 0)
    progress.end()
    assert capsys.readouterr().err == ""
    progress(0, 0, "the exchange asks to wait")
    shown = capsys.readouterr().err
    assert "[........................] the exchange asks to wait" in shown and "%" not in shown
