"""``botd --daemon`` with real processes and a tiny daemon in place of botd.app."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from botd.locks import holder

SCRIPT = """
import logging, os, signal, sys
from botd import cli
from botd.domain.errors import ConfigError

LOG = logging.getLogger("botd.app")

def serve(config, *, ready, logs, notifier, locks):
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    LOG.info("pid %d session %d umask %o cwd %s", os.getpid(), os.getsid(0), os.umask(0o27), os.getcwd())
    how = os.environ["HOW"]
    if how == "refuse":
        raise ConfigError("the ledger belongs to another world", "use another state_dir")
    if how == "break":
        raise ZeroDivisionError("odd")
    if how == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "end":
        return 0
    if how == "crash":
        import faulthandler
        faulthandler.enable()
        faulthandler._sigsegv()
    ready()
    os.write(2, b"past the logs\\n")
    signal.sigwait({signal.SIGTERM})
    LOG.info("stopping")
    return 0

sys.exit(cli.run(serve=serve))
"""


class Launcher:
    """Runs the script in a state directory of its own and ends what is left over."""

    def __init__(self, directory: Path) -> None:
        self.state = directory / "state"
        self.script = directory / "tiny.py"
        self.script.write_text(textwrap.dedent(SCRIPT))

    def run(
        self, how: str, *, daemon: bool = True, env: dict[str, str] | None = None, keep: tuple[int, ...] = ()
    ) -> subprocess.CompletedProcess[str]:
        arguments = [sys.executable, str(self.script), "--state-dir", str(self.state), *(["--daemon"] * daemon)]
        environ = {"HOW": how, "PATH": os.environ["PATH"], "HOME": str(self.state.parent), **(env or {})}
        return subprocess.run(arguments, env=environ, capture_output=True, text=True, timeout=30, pass_fds=keep)

    def pid(self) -> int | None:
        return holder(self.state)

    def log(self) -> str:
        return (self.state / "logs/botd.log").read_text()

    def stop(self) -> None:
        pid = self.pid()
        if pid is not None:
            os.kill(pid, signal.SIGTERM)
            wait_until(lambda: self.pid() is None)


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for something another process does."""
    until = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < until, "it did not happen within 10 s"
        time.sleep(0.01)


@pytest.fixture
def launcher(tmp_path: Path) -> Iterator[Launcher]:
    running = Launcher(tmp_path)
    yield running
    running.stop()


def test_it_returns_when_ready_and_the_daemon_is_on_its_own(launcher: Launcher) -> None:
    done = launcher.run("serve")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    pid = launcher.pid()
    assert pid is not None
    assert f"pid {pid} session " in launcher.log()
    assert os.getsid(pid) not in (pid, os.getsid(0))  # a session of its own, and never a terminal's leader
    assert "umask 27 cwd /" in launcher.log()
    wait_until(lambda: "past the logs" in launcher.log())
    launcher.stop()
    assert launcher.log().rstrip().endswith("stopping")


def test_a_start_that_goes_well_warns_of_its_configuration_on_the_callers_terminal(
    launcher: Launcher, tmp_path: Path
) -> None:
    (tmp_path / "b.yaml").write_text("mode: live\nmarket: {source: exchange}\n")
    done = launcher.run("serve", env={"BOTD_CONFIG": str(tmp_path / "b.yaml")})
    assert (done.returncode, done.stdout) == (0, "")
    remedy = "give one by keys_file or a systemd credential, botd.yaml(5)"
    assert done.stderr == f"botd: warning: mode is paper, not live: no key; {remedy}\n"
    assert "WARN  botd.cli: mode is paper, not live: no key" in launcher.log()


def test_the_daemon_keeps_nothing_of_its_caller(launcher: Launcher) -> None:
    reader, writer = os.pipe()
    with os.fdopen(reader) as end:
        launcher.run("serve", keep=(writer,))
        os.close(writer)
        assert end.read() == ""  # end of file: the daemon does not hold the pipe open


def test_a_second_one_is_refused_before_it_forks(launcher: Launcher) -> None:
    assert launcher.run("serve").returncode == 0
    second = launcher.run("serve")
    assert second.returncode == 75
    assert f"another botd (pid {launcher.pid()}) holds" in second.stderr


def test_the_childs_own_reason_and_exit_code_come_back(launcher: Launcher) -> None:
    done = launcher.run("refuse")
    assert done.returncode == 78
    assert done.stderr == "botd: error: the ledger belongs to another world\n  hint: use another state_dir\n"
    assert launcher.pid() is None
    assert "ERROR botd.cli: the ledger belongs to another world" in launcher.log()


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("break", "botd: error: internal error: ZeroDivisionError: odd"),
        ("die", "botd: error: botd ended before it was ready"),
        ("crash", "botd: error: botd ended before it was ready"),
        ("end", "botd: error: botd ended before it was ready"),
    ],
)
def test_a_start_that_ends_otherwise_is_70(launcher: Launcher, how: str, message: str) -> None:
    done = launcher.run(how)
    assert done.returncode == 70
    assert done.stderr.splitlines()[0] == message
    assert launcher.pid() is None
    if how == "crash":
        assert "Segmentation fault" in launcher.log()


def test_after_kill_9_it_starts_again_without_cleaning(launcher: Launcher) -> None:
    assert launcher.run("serve").returncode == 0
    pid = launcher.pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: launcher.pid() is None)
    assert launcher.run("serve").returncode == 0
    assert launcher.pid() not in (None, pid)


def test_it_starts_with_closed_standard_streams(launcher: Launcher) -> None:
    closed = f"exec {sys.executable} {launcher.script} --state-dir {launcher.state} --daemon <&- >&- 2>&-"
    environ = {"HOW": "serve", "PATH": os.environ["PATH"], "HOME": str(launcher.state.parent)}
    done = subprocess.run(["sh", "-c", closed], env=environ, timeout=30)
    assert done.returncode == 0
    assert launcher.pid() is not None
    assert "pid" in launcher.log()


def test_a_wrong_configuration_is_refused_on_the_callers_terminal(launcher: Launcher, tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text("market:\n  sped: 1\n")
    done = launcher.run("serve", env={"BOTD_CONFIG": str(tmp_path / "b.yaml")})
    assert done.returncode == 78
    assert done.stderr.startswith("botd: error: b.yaml:2: market.sped: unknown key; did you mean speed?\n")
    assert not launcher.state.exists()


def test_in_the_foreground_it_logs_to_stderr_and_keeps_the_terminals_session(launcher: Launcher) -> None:
    done = launcher.run("end", daemon=False)
    assert done.returncode == 0
    assert "INFO  botd.app: pid" in done.stderr and f"session {os.getsid(0)}" in done.stderr
