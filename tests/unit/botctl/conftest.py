"""Arrangements: a fake daemon on a socket of its own, and botctl run in this process or in one of its own."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from botctl.cli import run
from tests.fakes.fake_botd import FakeBotd

HELLO = {
    "version": "0.1.0",
    "protocol": ["botd/1"],
    "pid": 1,
    "uptime_s": 1.0,
    "commands": [],
    "events": "",
    "state_dir": "/var/lib/botd",
    "mode": "paper",
    "source": "synthetic",
    "epoch": "e1",
}


class Result:
    """What one run gave."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


def bot_row(name: str, **changes: Any) -> dict[str, Any]:
    """Return a row of ``ls`` as the daemon gives it."""
    row = {
        "name": name,
        "strategy": "rsi",
        "params": {"period": 14},
        "symbol": "BTC/USDT",
        "interval": "1m",
        "mode": "paper",
        "source": "synthetic",
        "state": "running",
        "desired": "running",
        "since": "2026-01-01T00:00:00Z",
        "capital": "1000",
        "equity": "1034.1200456",
        "realized_pnl": "30.00000001",
        "unrealized_pnl": "-4.12",
        "trades": 3,
        "position": {
            "quantity": "0.00010000",
            "entry_price": "57200.00",
            "side": "long",
            "stop": "56000",
            "target": None,
            "guard": "botd",
        },
        "last_candle": "2026-01-01T00:03:00Z",
        "note": "",
        "labels": {},
    }
    return {**row, **changes}


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the user's own daemon, options and colours out of the tests."""
    for name in ("BOTCTL_ENDPOINT", "BOTCTL_OUTPUT", "BOTD_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("BOTD_STATE_DIR", str(tmp_path / "state"))


@pytest.fixture
def botd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeBotd]:
    """A fake daemon that botctl finds by itself."""
    path = tmp_path / "control.sock"
    monkeypatch.setenv("BOTCTL_ENDPOINT", str(path))
    handlers: dict[str, Callable[[dict[str, Any]], Any]] = {
        "hello": lambda args: HELLO,
        "market.status": lambda args: {"time": 1767225792000, "state": "playing"},
    }
    with FakeBotd(path, handlers) as fake:
        yield fake


@pytest.fixture
def botctl(capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """Run botctl in this process: ``botctl("ls", "-o", "json")``."""

    def call(*arguments: str) -> Result:
        code = run(list(arguments))
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return call


@pytest.fixture
def process() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run botctl as a process of its own, with the environment given and no other."""

    def call(*arguments: str, env: dict[str, str] | None = None, **settings: Any) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "botctl.cli", *arguments]
        environment = dict(os.environ) if env is None else env
        return subprocess.run(command, env=environment, text=True, capture_output=True, timeout=30, **settings)

    return call


@pytest.fixture
def terminal() -> Callable[..., tuple[int, list[str]]]:
    """Run botctl on a terminal of its own: ``terminal(80, "ls")`` gives the exit code and the lines, colours gone."""

    def call(
        width: int, *arguments: str, answer: bytes = b"", after: str = "", **environment: str
    ) -> tuple[int, list[str]]:
        outer, inner = pty.openpty()
        fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
        env = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES", "NO_COLOR")}
        command = [sys.executable, "-m", "botctl.cli", *arguments]
        running = subprocess.Popen(
            command,
            stdin=inner,
            stdout=inner,
            stderr=inner,
            env={**env, "TERM": "xterm", **environment},
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # Ctrl-C reaches it
        )
        os.close(inner)
        shown = b""
        while after.encode() not in shown:
            shown += os.read(outer, 65536)
        if answer:
            os.write(outer, answer)
        with contextlib.suppress(OSError):  # the other end is closed
            while part := os.read(outer, 65536):
                shown += part
        os.close(outer)
        text = re.sub(r"\x1b\[[\d;]*m", "", shown.decode())
        return running.wait(30), text.replace("\r\n", "\n").removesuffix("\n").split("\n")

    return call
