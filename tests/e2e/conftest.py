"""A real botd and a real botctl, as a user runs them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from botctl.client import LISTENING, probe

BIN = Path(sys.executable).parent
DATA = Path(os.environ.get("BOTD_TEST_DATA", Path(__file__).parents[2] / "../shared/data")).resolve()


def clean_environment() -> dict[str, str]:
    """The environment without anything that would steer botd."""
    drop = ("BOTD_", "BOTCTL_", "BINANCE_", "REDIS_", "NOTIFY_", "WATCHDOG_", "JOURNAL_")
    return {key: value for key, value in os.environ.items() if not key.startswith(drop)}


class Botd:
    """One botd with a state directory of its own."""

    def __init__(self, home: Path, config: dict[str, Any] | None = None) -> None:
        self.state_dir = home / "state"
        self.config_file = home / "botd.yaml"
        self.socket = self.state_dir / "control.sock"
        self.process: subprocess.Popen[str] | None = None
        self.environment = clean_environment()
        home.mkdir(parents=True, exist_ok=True)
        self.configure(config or {})

    def configure(self, config: dict[str, Any]) -> None:
        """Write the configuration file."""
        base = {"state_dir": str(self.state_dir), "strategies_dir": str(self.config_file.parent / "strategies")}
        self.config_file.write_text(yaml.safe_dump({**base, **config}))

    def start(self, wait: bool = True) -> Botd:
        """Start in the foreground; wait until it answers."""
        log = (self.config_file.parent / "stderr.log").open("a")
        self.process = subprocess.Popen(
            [BIN / "botd", "--config", str(self.config_file)],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            text=True,
        )
        log.close()
        if wait:
            self.until(lambda: probe(str(self.socket)) == LISTENING, 20)
            self.until(lambda: self.run("daemon", "ping", check=False).returncode == 0, 20)
        return self

    def run(self, *args: str, check: bool = True, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run botctl; with ``check`` a failure fails the test with what it printed."""
        done = subprocess.run(
            [BIN / "botctl", "--endpoint", str(self.socket), *args],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        if check and done.returncode:
            raise AssertionError(f"botctl {' '.join(args)}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def json(self, *args: str) -> Any:
        """Run botctl with ``-o json``."""
        return json.loads(self.run(*args, "-o", "json").stdout)

    def health(self) -> Any:
        """What ``botctl health`` says; it ends with 1 while something is degraded, as just after a start."""
        return json.loads(self.run("health", "-o", "json", check=False).stdout)

    def is_healthy(self) -> bool:
        """Tell whether nothing is degraded; just after a start the market is still loading."""
        return bool(self.health()["status"] == "ok")

    def health_check(self, name: str) -> dict[str, str]:
        """One row of ``botctl health``'s checks."""
        return next(dict(row) for row in self.health()["checks"] if row["name"] == name)

    def is_reconciled(self) -> bool:
        """Tell whether the account was read and matches; just after a start it may not have been."""
        done = self.run("reconcile", "-o", "json", check=False)
        return done.returncode == 0 and not json.loads(done.stdout)["refusals"]

    def until(self, condition: Callable[[], bool], timeout_s: float) -> None:
        """Wait for a condition; fail with the daemon's log."""
        end = time.monotonic() + timeout_s
        while (began := time.monotonic()) < end:
            if condition():
                return
            if self.process is not None and self.process.poll() is not None:
                raise AssertionError(f"botd ended with {self.process.returncode}:\n{self.log()}")
            time.sleep(max(0.02, 2 * (time.monotonic() - began)))  # asking takes a process: botd gets most of the time
        raise AssertionError(f"not within {timeout_s} s:\n{self.log()}")

    def log(self) -> str:
        """What the daemon printed, the last lines."""
        return (self.config_file.parent / "stderr.log").read_text()[-4000:]

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """TERM, and wait for the end; return the exit code."""
        if self.process is None or self.process.poll() is not None:
            return self.process.returncode if self.process else 0
        self.process.terminate()
        try:
            return self.process.wait(45)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise


@pytest.fixture
def make_botd(tmp_path: Path) -> Iterator[Callable[..., Botd]]:
    """Make daemons; all are ended after the test."""
    made: list[Botd] = []

    def make(config: dict[str, Any] | None = None, name: str = "a") -> Botd:
        botd = Botd(tmp_path / name, config)
        made.append(botd)
        return botd

    yield make
    for botd in made:
        with contextlib.suppress(Exception):
            botd.stop()


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of recorded market data; tests on it skip where it is absent."""
    if not (DATA / "ohlcv").is_dir():
        pytest.skip(f"no recorded data at {DATA} (set BOTD_TEST_DATA)")
    return DATA
