"""Round trips a second over the control socket: one client that waits for each answer, and one that does not."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from tests.fakes.control_daemon import UNLIMITED, ControlClient, ControlDaemon

REQUEST = b'{"id":"bench","cmd":"ping","args":{},"deadline_ms":5000}'
WINDOW = 32


def main() -> None:
    with tempfile.TemporaryDirectory() as directory, ControlDaemon(Path(directory), limits=UNLIMITED) as daemon:
        pid = os.fork()  # a program of its own, as botctl is
        if pid == 0:
            measure(daemon)
            os._exit(0)
        os.waitpid(pid, 0)


def measure(daemon: ControlDaemon) -> None:
    """Print the figures as a client of the daemon sees them."""
    with daemon.client() as client:
        round_trips(client, 500, 1)
        alone_s = round_trips(client, 5000, 1)
        piped_s = round_trips(client, 20_000, WINDOW)
    print(
        f"control socket: {1e6 * alone_s / 5000:.0f} us a round trip, {5000 / alone_s:,.0f}/s one by one, "
        f"{20_000 / piped_s:,.0f}/s with {WINDOW} under way",
        flush=True,
    )


def round_trips(client: ControlClient, count: int, window: int) -> float:
    """Return the seconds for ``count`` pings, ``window`` of them under way."""
    socket = client.socket
    began = time.perf_counter()
    for _ in range(window):
        socket.send_multipart((b"botd/1", REQUEST))
    for answered in range(count):
        socket.recv_multipart()
        if answered + window < count:
            socket.send_multipart((b"botd/1", REQUEST))
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
