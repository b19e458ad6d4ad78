"""The demo, with a real botd: it shows what it promises and leaves nothing behind, however it ends."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

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


def test_a_dangerous_verb_asks_on_a_terminal(botd):
    botd.handlers["flatten"] = lambda args: {"rows": [], "done": True}
    command = [sys.executable, "-m", "botctl.cli", "flatten"]
    for answer, exit_code, asked in ((b"n\n", 2, 0), (b"y\n", 0, 1)):
        terminal, inner = pty.openpty()
        running = subprocess.Popen(command, stdin=inner, stdout=inner, stderr=inner)
        os.close(inner)
        os.write(terminal, answer)
        assert running.wait(10) == exit_code
        assert len(botd.asked("flatten")) == asked
        os.close(terminal)
