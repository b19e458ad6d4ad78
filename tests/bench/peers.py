"""circus and supervisor, in a virtual environment of their own: installed once, each run as a real daemon."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import zmq

from tests.bench.processes import running
from tests.e2e.conftest import clean_environment

VENV = Path(__file__).parents[2] / "build" / "bench-venv"
PACKAGES = ("circus", "supervisor")
PROGRAM = "sleep 3600"
READY_S = 20.0
SETTLED_S = 1.0

CIRCUS = """\
[circus]
endpoint = ipc://{home}/circus.sock
pubsub_endpoint = ipc://{home}/circus-events.sock
check_delay = 5

[watcher:idle]
cmd = {program}
graceful_timeout = 1
"""

SUPERVISOR = """\
[supervisord]
nodaemon = true
logfile = {home}/supervisord.log
pidfile = {home}/supervisord.pid
childlogdir = {home}

[unix_http_server]
file = {home}/supervisor.sock

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface

[supervisorctl]
serverurl = unix://{home}/supervisor.sock

[program:idle]
command = {program}
"""

STATUS_CALL = b"<?xml version='1.0'?><methodCall><methodName>supervisor.getAllProcessInfo</methodName></methodCall>"


class PeersMissingError(Exception):
    """The peers cannot be installed here."""


def installed() -> Path:
    """Return the directory of the peers' programs; install them where they are not there yet."""
    programs = VENV / "bin"
    if all((programs / name).exists() for name in ("circusd", "circusctl", "supervisord", "supervisorctl")):
        return programs
    try:
        subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True, capture_output=True, timeout=120)
        subprocess.run(
            [programs / "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES],
            check=True,
            capture_output=True,
            timeout=600,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise PeersMissingError(f"skipped: pip could not install {' and '.join(PACKAGES)}: {error}") from None
    return programs


class Peer:
    """One of them: how it is run, and how it is asked for its status over its own wire."""

    def __init__(self, name: str, home: Path) -> None:
        self.name = name
        self.home = home
        self.programs = installed()
        home.mkdir(parents=True, exist_ok=True)
        self.config = home / f"{name}.ini"
        self.socket = home / f"{name}.sock"
        template = CIRCUS if name == "circus" else SUPERVISOR
        self.config.write_text(template.format(home=home, program=PROGRAM))

    @property
    def daemon(self) -> list[str | Path]:
        """Return the command that runs it in the foreground."""
        if self.name == "circus":
            return [self.programs / "circusd", self.config]
        return [self.programs / "supervisord", "-c", self.config]

    @property
    def status(self) -> list[str | Path]:
        """Return the command of its own command line that lists what runs."""
        if self.name == "circus":
            return [self.programs / "circusctl", "--endpoint", f"ipc://{self.socket}", "status"]
        return [self.programs / "supervisorctl", "-c", self.config, "status"]

    @contextlib.contextmanager
    def run(self) -> Iterator[float]:
        """Run it; gives the seconds from its start to the first status it answered."""
        self.socket.unlink(missing_ok=True)
        began = time.perf_counter()
        with running(self.daemon, self.home / "peer.log", clean_environment()) as process:
            while not self._answers():
                if process.poll() is not None or time.perf_counter() - began > READY_S:
                    told = (self.home / "peer.log").read_text()[-300:]
                    raise PeersMissingError(f"skipped: {self.name} does not start: {told}")
                time.sleep(0.002)
            answered = time.perf_counter() - began
            try:
                yield answered
            finally:
                # circus does not hear a TERM that comes while it still starts, and would leave its program behind.
                time.sleep(max(0.0, SETTLED_S - (time.perf_counter() - began)))

    def _answers(self) -> bool:
        if not self.socket.exists():
            return False
        return self._circus_answers() if self.name == "circus" else self._supervisor_answers()

    def _circus_answers(self) -> bool:
        context: zmq.Context[Any] = zmq.Context.instance()
        with context.socket(zmq.DEALER) as dealer:
            dealer.linger = 0
            dealer.connect(f"ipc://{self.socket}")
            dealer.send(json.dumps({"id": "bench", "command": "status", "properties": {}}).encode())
            return bool(dealer.poll(2000)) and b'"statuses"' in dealer.recv()

    def _supervisor_answers(self) -> bool:
        head = f"POST /RPC2 HTTP/1.0\r\nContent-Type: text/xml\r\nContent-Length: {len(STATUS_CALL)}\r\n\r\n"
        with socket.socket(socket.AF_UNIX) as stream:
            try:
                stream.connect(str(self.socket))
                stream.sendall(head.encode() + STATUS_CALL)
                stream.settimeout(2)
                return b"200 OK" in stream.recv(65536)
            except OSError:
                return False
