"""The demo, with a real botd: it shows what it promises and leaves nothing behind, however it ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from botctl.cells import Column, money
from botctl.output import table
from botctl.session import Session

COMMAND = [sys.executable, "-m", "botctl.cli", "demo", "--seconds"]


def alive_in(directory):
    """Return the processes whose command line names the directory."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.fsencode(str(directory)) in (process / "cmdline").read_bytes():
                found.append(process.name)
        except OSError:
            continue
    return found


def test_the_demo_trades_prints_its_chapters_and_leaves_nothing(tmp_path):
    done = subprocess.run([*COMMAND, "2"], env={**os.environ, "TMPDIR": str(tmp_path)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for part in ("PAPER · SYNTHETIC MARKET", "$ botctl ls", "$ botctl stats", "$ botctl portfolio", "$ botctl health"):
        assert part in done.stdout
    for strategy in ("rsi", "macd", "mean_reversion", "ema_cross", "breakout", "dca", "grid"):
        assert f" {strategy} " in done.stdout
    assert "failed" not in done.stdout.replace("backoff", "")
    assert "\x1b" not in done.stdout
    assert list(tmp_path.iterdir()) == []
    assert alive_in(tmp_path) == []


def test_on_a_terminal_every_frame_fits_and_takes_the_place_of_the_one_before(tmp_path, terminal):
    code, lines = terminal(80, "demo", "--seconds", "3", TMPDIR=str(tmp_path))
    assert code == 0
    text = "\n".join(lines)
    first, *frames = re.split(r"\x1b\[(\d+)A\r\x1b\[J", text)
    assert len(frames) >= 4
    drawn = first[first.index("market 2026-") :]
    for above, frame in zip(frames[::2], frames[1::2], strict=True):
        assert int(above) == drawn.count("\n") <= 23
        drawn = frame.partition("\n\n$ ")[0]
        assert max(map(len, drawn.splitlines())) <= 80
        assert drawn.splitlines()[2].split()[:1] == ["NAME"]


def test_the_columns_of_a_table_drawn_again_stay_where_they_are():
    columns = [Column("name"), Column("symbol"), Column("equity", form=money), Column("note", prose=9, one_line=True)]
    rows = [
        {"name": "alpha", "symbol": "BTC/USDT", "equity": equity, "note": note}
        for equity, note in (("9.5", "warming up"), ("10000", ""), ("9.5", ""), ("123456.5", "x"))
    ]
    widest: dict[str, str] = {}
    titles = [table(Session(), [row], columns, widest=widest).splitlines() for row in rows]
    assert [len(lines) for lines in titles] == [2] * 4
    assert [lines[0].index("EQUITY") for lines in titles] == [17, 20, 20, 21]  # wider only, never narrower
    assert table(Session(), rows[2:3], columns).splitlines()[0].index("EQUITY") == 17


def test_ctrl_c_cleans_up_too(tmp_path):
    running = subprocess.Popen(
        [*COMMAND, "60"],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    until = time.monotonic() + 20
    assert running.stderr is not None
    while "created golf" not in running.stderr.readline() and time.monotonic() < until:
        pass
    running.send_signal(signal.SIGINT)
    assert running.wait(20) == 130
    assert list(tmp_path.iterdir()) == []
    assert alive_in(tmp_path) == []


def test_a_dangerous_verb_asks_on_a_terminal_and_no_ends_with_1(botd, terminal):
    botd.handlers["flatten"] = lambda args: {"rows": [], "done": True}
    code, lines = terminal(80, "flatten", answer=b"n\n")
    assert (code, botd.asked("flatten")) == (1, [])
    assert lines[-1].endswith("nothing was done")
    assert terminal(80, "flatten", answer=b"y\n")[0] == 0
    assert len(botd.asked("flatten")) == 1
