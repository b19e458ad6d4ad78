"""The wire as botctl sees it: find the socket, probe it, send one request, take its reply.

This room knows paths, frames and deadlines. It knows no verb, prints nothing, and never starts a daemon.
zmq is imported when the first request is sent: most of the start-up time of a failed call is saved that way.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import stat
import time
from collections.abc import Iterator
from typing import Any

from botctl.exit_codes import CONFIG, FORBIDDEN, INTERNAL, TIMEOUT, UNAVAILABLE, USAGE, Fault, fault_of
from botd.control.protocol import TAG, encode_request

SYSTEM_SOCKET = "/run/botd/control.sock"
LONGEST_PATH = 107  # sun_path holds 108 bytes with its closing zero
BUSY_PAUSE_S = 0.1

LISTENING = "listening"
MISSING = "no such socket"
REFUSED = "nobody listens there (left behind by a botd that was killed)"
DENIED = "no permission"
NO_SOCKET = "not a socket"


def home() -> str | None:
    """Return the user's home, from the environment or (cron, ``env -i``) from the user database."""
    if given := os.environ.get("HOME"):
        return given
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        return None


def state_dir() -> str | None:
    """Return the state directory that a user's botd has unless its configuration says otherwise."""
    if given := os.environ.get("BOTD_STATE_DIR"):
        return os.path.abspath(given)
    base = home()
    return os.path.join(base, ".local/state/botd") if base else None


def candidates(endpoint: str | None) -> list[str]:
    """Return the socket paths to try, in order. A given endpoint is the only one."""
    if given := asked_for(endpoint):
        if "://" in given and not given.startswith("ipc://"):
            raise Fault(USAGE, f"{given}: not an endpoint of botd", "give a path, or ipc:// and a path")
        path = os.path.abspath(os.path.expanduser(given.removeprefix("ipc://")))
        if len(os.fsencode(path)) > LONGEST_PATH:
            raise Fault(
                CONFIG,
                f"{path}: longer than the {LONGEST_PATH} bytes that a socket path may have",
                "choose a shorter state_dir or control.socket",
            )
        return [path]
    return usual()


def asked_for(endpoint: str | None) -> str:
    """Return the endpoint that the user named, by option or variable; empty where none."""
    return endpoint or os.environ.get("BOTCTL_ENDPOINT") or ""


def usual() -> list[str]:
    """Return the paths where a daemon listens unless its configuration says otherwise."""
    own = state_dir()
    paths = [os.path.join(own, "control.sock")] if own else []
    return [path for path in [*paths, SYSTEM_SOCKET] if len(os.fsencode(path)) <= LONGEST_PATH]


def start_hint(endpoint: str | None) -> str:
    """Return how to start the daemon that was not found: with its configuration, where it must have one."""
    if config := os.environ.get("BOTD_CONFIG"):
        return f"start one with: botctl daemon start --config {config}"
    if asked_for(endpoint) and candidates(endpoint)[0] not in usual():
        return "start it with: botctl daemon start --config FILE (the configuration with this socket)"
    return "start one with: botctl daemon start"


def probe(path: str) -> str:
    """Say what is at ``path``: LISTENING, MISSING, REFUSED, DENIED or NO_SOCKET. Takes about 0.1 ms."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
        stream.settimeout(1.0)
        try:
            stream.connect(path)
        except (BlockingIOError, TimeoutError):
            return LISTENING  # a full queue of connections: somebody is there
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EPERM):
                return DENIED
            if error.errno not in (errno.ECONNREFUSED, errno.ENOTSOCK):
                return MISSING
            return REFUSED if _is_socket(path) else NO_SOCKET
    return LISTENING


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return True  # gone since


def locate(endpoint: str | None) -> str:
    """Return the first path where a daemon listens; a fault names all that were tried, and the remedy."""
    tried = []
    for path in candidates(endpoint):
        found = probe(path)
        if found == LISTENING:
            return path
        tried.append((path, found))
    listed = "; ".join(f"{path}: {found}" for path, found in tried)
    if any(found == DENIED for _, found in tried):
        raise Fault(FORBIDDEN, f"no permission to reach botd (tried {listed})", "run as its owner or join its group")
    if asked_for(endpoint) and tried[0][1] == NO_SOCKET:
        raise Fault(UNAVAILABLE, f"{tried[0][0]}: not a socket", "give the path of botd's control.sock")
    raise Fault(UNAVAILABLE, f"botd is not running (tried {listed})", start_hint(endpoint))


class Client:
    """One DEALER connection to one daemon. Not for use by several threads."""

    def __init__(self, endpoint: str | None = None) -> None:
        self.endpoint = endpoint
        self.path = ""
        self._socket: Any = None
        self._context: Any = None
        self._refusals: Any = None
        self._sent = 0

    def connect(self) -> None:
        """Find the daemon and connect; nothing happens where a connection is there already."""
        if self._socket is not None:
            return
        self.path = locate(self.endpoint)
        from botctl.light import load_zmq

        zmq = load_zmq()
        self._context = zmq.Context.instance()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.set(zmq.LINGER, 500)
        self._socket.set(zmq.RECONNECT_IVL, 50)
        self._refusals = self._socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_FAILED_AUTH)
        self._socket.connect("ipc://" + self.path)

    def close(self) -> None:
        """Drop the connection; the next call makes a new one."""
        if self._socket is not None:
            self._socket.disable_monitor()
            self._socket.close()
            self._socket = self._refusals = None

    def call(self, cmd: str, args: dict[str, Any] | None = None, timeout_s: float = 10.0) -> Any:
        """Send one request and return its result.

        A daemon that is busy is asked again within the timeout. Raises Fault with the daemon's own reason, with
        69 when it goes away before it answers, and with 75 when the answer does not come in time: the work may
        be done all the same.
        """
        until = time.monotonic() + timeout_s
        while True:
            self.connect()
            self._sent += 1
            request_id = f"{os.getpid()}-{self._sent}-{os.urandom(8).hex()}"
            try:
                request = encode_request(request_id, cmd, args, max(1, int(timeout_s * 1000)), "botctl")
            except UnicodeEncodeError:
                raise Fault(USAGE, f"{cmd}: an argument is not UTF-8 text") from None
            self._socket.send_multipart([TAG, request])
            # The daemon answers TIMEOUT itself; the grace lets that better answer arrive.
            reply = self._receive(request_id, cmd, until + 0.3, timeout_s)
            if reply.get("ok"):
                return reply.get("result")
            fault = fault_of(reply.get("error") or {})
            if fault.code != "BUSY" or time.monotonic() + BUSY_PAUSE_S > until:
                raise fault
            time.sleep(BUSY_PAUSE_S)  # nothing was begun: asking again is safe

    def rows(self, cmd: str, args: dict[str, Any] | None = None, timeout_s: float = 10.0) -> Iterator[Any]:
        """Yield every row of a paged list, page by page."""
        wanted = dict(args or {})
        while True:
            result = self.call(cmd, wanted, timeout_s)
            yield from result["rows"]
            if not result.get("next"):
                return
            wanted["cursor"] = result["next"]

    def _receive(self, request_id: str, cmd: str, until: float, timeout_s: float) -> dict[str, Any]:
        while (left := until - time.monotonic()) > 0:
            if not self._socket.poll(min(left, 0.25) * 1000):
                self._still_there(cmd)
                continue
            try:
                reply = json.loads(self._socket.recv_multipart()[-1])
            except ValueError:
                raise Fault(INTERNAL, f"{cmd}: the reply is not JSON", "is this really botd's socket?") from None
            if isinstance(reply, dict) and reply.get("id") in (request_id, None):
                return reply
        raise Fault(
            TIMEOUT, f"{cmd}: no answer within {timeout_s:g} s", "it may still be done: look before you repeat it"
        )

    def _still_there(self, cmd: str) -> None:
        if probe(self.path) in (MISSING, REFUSED, NO_SOCKET):
            self.close()
            raise Fault(UNAVAILABLE, f"{cmd}: botd went away before it answered", "see botctl daemon status, then ls")
        if self._refusals.poll(0):
            self.close()
            raise Fault(
                FORBIDDEN, f"{cmd}: botd does not admit uid {os.getuid()}", "run as its owner or join its group"
            )
