"""The real botd under a service manager: readiness, reload, watchdog, stop, and a second one."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest


class Manager:
    """Plays systemd: starts botd in the foreground and hears what it says."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.channel.bind(str(directory / "notify"))
        self.channel.settimeout(20)
        (directory / "botd.yaml").write_text("state_dir: state\nlog: {level: info}\n")
        self.process: subprocess.Popen[str] | None = None

    def start(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        environ = {"PATH": os.environ["PATH"], "HOME": str(self.directory), "JOURNAL_STREAM": "8:1", **variables}
        environ |= {"NOTIFY_SOCKET": str(self.directory / "notify"), "BOTD_CONFIG": str(self.directory / "botd.yaml")}
        command = [sys.executable, "-m", "botd.cli", *arguments]
        return subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True)

    def hear(self, wanted: str) -> str:
        """Return the first message with ``wanted`` in it."""
        while True:
            message = self.channel.recv(4096).decode()
            if wanted in message:
                return message


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    playing = Manager(tmp_path)
    playing.process = playing.start(WATCHDOG_USEC="400000")
    yield playing
    if playing.process.poll() is None:
        playing.process.kill()
    playing.process.communicate()
    playing.channel.close()


def test_systemd_hears_ready_watchdog_reload_and_stop(manager: Manager) -> None:
    process = manager.process
    assert process is not None
    assert f"MAINPID={process.pid}" in manager.hear("READY=1")
    assert (manager.directory / "state/control.sock").is_socket()
    manager.hear("WATCHDOG=1")
    (manager.directory / "botd.yaml").write_text("state_dir: state\nlog: {level: loud}\n")
    process.send_signal(signal.SIGHUP)
    manager.hear("RELOADING=1")
    manager.hear("READY=1")  # a mistake in the file ends the reload, not the daemon
    process.send_signal(signal.SIGTERM)
    manager.hear("STOPPING=1")
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "<3>ERROR botd.app: reload refused" in errors and "log.level: 'loud'" in errors
    assert all(line.startswith("<") for line in errors.splitlines())


def test_a_second_botd_is_refused_by_state_directory_and_by_socket(manager: Manager) -> None:
    assert manager.process is not None
    manager.hear("READY=1")
    other = str(manager.directory / "other")
    for second in (
        manager.start(),
        manager.start("--state-dir", other, BOTD_SOCKET=str(manager.directory / "state/control.sock")),
    ):
        _, errors = second.communicate(timeout=30)
        assert second.returncode == 75
        assert f"another botd (pid {manager.process.pid}) holds" in errors
    with socket.socket(socket.AF_UNIX) as probe:
        probe.connect(str(manager.directory / "state/control.sock"))  # not stolen
