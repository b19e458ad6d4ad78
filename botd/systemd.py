"""Talks to systemd: readiness, reloads and watchdog over $NOTIFY_SOCKET. Without it every call does nothing."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping


class Notifier:
    """Sends state to the service manager; a failure to send is never an error of the daemon."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._usec = environ.get("WATCHDOG_USEC", "")
        self._watched_pid = environ.get("WATCHDOG_PID", "")

    def send(self, *assignments: str) -> bool:
        """Send ``NAME=value`` lines; returns whether somebody took them."""
        if not self._address.startswith(("/", "\0")):
            return False
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
                channel.setblocking(False)
                channel.sendto("\n".join(assignments).encode(), self._address)
        except OSError:
            return False
        return True

    def ready(self) -> bool:
        """Say that the daemon answers commands; also ends a reload."""
        return self.send("READY=1", f"MAINPID={os.getpid()}", "STATUS=answering")

    def stopping(self) -> bool:
        return self.send("STOPPING=1", "STATUS=stopping")

    def reloading(self, monotonic_s: float) -> bool:
        """Say that a reload begins, at so many seconds of the monotonic clock; :meth:`ready` ends it."""
        return self.send("RELOADING=1", f"MONOTONIC_USEC={round(monotonic_s * 1_000_000)}")

    def watchdog(self) -> bool:
        """Feed the watchdog; call only while loop and ledger are sound."""
        return self.send("WATCHDOG=1")

    def watchdog_interval_s(self) -> float | None:
        """Return how often to feed it (half of its limit), or None when this process is not watched."""
        if not self._usec.isdigit() or int(self._usec) == 0:
            return None
        if self._watched_pid and self._watched_pid != str(os.getpid()):
            return None
        return int(self._usec) / 2_000_000
