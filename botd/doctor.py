"""What ``botctl doctor`` looks at: one function a check, each a row, none raises.

It reads and connects, and changes nothing.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import resource
import shutil
import socket
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from botd import offline
from botd.audit_trail import damages
from botd.domain.clock import WallClock, rfc3339
from botd.domain.errors import BotdError
from botd.ledger import failures

if TYPE_CHECKING:
    from botd.config import Config

Row = dict[str, str]
OK, WARNING, FAILED = "ok", "warning", "failed"
MODULES = (
    "click",
    "daemon",
    "redis",
    "zmq",
    "tabulate",
    "yaml",
    "sqlite_utils",
    "msgspec",
    "numpy",
    "talib",
    "aiohttp",
)
MIB = 1 << 20
DISK_WARNING, DISK_FAILED = 1024 * MIB, 200 * MIB
RESTORE = "put a copy made by `botctl backup --verify` in its place; until then botd opens no positions"
TIME_ERROR = 5
"""What adjtimex(2) returns while the clock is not synchronised."""


def examine(path: str | Path | None = None) -> list[Row]:
    """Return all rows; a broken configuration is one of them, and ends the checks that need it."""
    rows = [_python(), _dependencies(), _clock(), _files(), _systemd()]
    try:
        config = offline.config(path)
    except BotdError as error:
        return [*rows, _row("configuration", FAILED, error.message, error.hint)]
    found = str(config.path) if config.path else "none: built-in defaults"
    warned = "; ".join(config.warnings)
    rows.append(_row("configuration", WARNING if warned else OK, f"{found}; {warned}" if warned else found))
    checks: tuple[Callable[[Config], Row], ...] = (_state_dir, _ledger, _disk, _socket, _redis, _strategies, _keys)
    return [*rows, *(check(config) for check in checks)]


def _row(name: str, status: str, detail: str, hint: str = "") -> Row:
    return {"name": name, "status": status, "detail": detail, "hint": hint}


def _python() -> Row:
    version = ".".join(map(str, sys.version_info[:3]))
    good = sys.version_info >= (3, 11)
    return _row("python", OK if good else FAILED, version, "" if good else "3.11 or newer is needed")


def _dependencies() -> Row:
    broken = []
    for name in MODULES:
        try:
            importlib.import_module(name)
        except Exception as error:  # a broken C library raises what it likes
            broken.append(f"{name} ({error})")
    if importlib.util.find_spec("ccxt") is None:  # too large to import for a check
        broken.append("ccxt")
    if broken:
        return _row("dependencies", FAILED, "cannot import " + ", ".join(broken), "pip install botctl")
    return _row("dependencies", OK, f"{len(MODULES) + 1} importable")


def _clock() -> Row:
    now_ms = WallClock().wall_ms()
    installed_ms = int(Path(__file__).stat().st_mtime * 1000)
    if now_ms < installed_ms:
        return _row("clock", FAILED, f"{rfc3339(now_ms)} is before this program was installed", "set the time")
    try:
        synchronised = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512)) != TIME_ERROR
    except (OSError, AttributeError):
        return _row("clock", OK, rfc3339(now_ms))
    if not synchronised:
        return _row("clock", WARNING, "not synchronised", "run a time daemon (timedatectl set-ntp true)")
    return _row("clock", OK, f"{rfc3339(now_ms)}, synchronised")


def _files() -> Row:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = soft == resource.RLIM_INFINITY or soft >= 1024
    return _row("open files", OK if enough else WARNING, f"limit {soft}", "" if enough else "ulimit -n 4096")


def _systemd() -> Row:
    if shutil.which("systemctl") is None:
        return _row("systemd", OK, "not here; use botd --daemon")
    scored = shutil.which("systemd-analyze") is not None
    return _row("systemd", OK, "present" + (", with systemd-analyze" if scored else ""))


def _state_dir(config: Config) -> Row:
    directory = config.state_dir
    existing = next(place for place in (directory, *directory.parents) if place.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        return _row("state directory", FAILED, f"{existing} cannot be written", "correct its owner, or set state_dir")
    if existing != directory:
        return _row("state directory", OK, f"{directory} will be made")
    mode = directory.stat().st_mode & 0o777
    if mode & 0o022:
        return _row("state directory", WARNING, f"{directory} has mode {mode:04o}", f"chmod go-w {directory}")
    return _row("state directory", OK, str(directory))


def _ledger(config: Config) -> Row:
    path = config.state_dir / "ledger.db"
    refusal = offline.ledger_refusal(config)
    if refusal is not None:
        return _row("ledger", FAILED, refusal.message, refusal.hint)
    try:
        if not path.exists() or not path.stat().st_size:
            return _row("ledger", OK, "none yet: it is made at the first start")
        found = damages(path)
    except (OSError, BotdError) as error:
        words = error.message if isinstance(error, BotdError) else f"{path}: {error.strerror}"
        return _row("ledger", FAILED, words, "run as its owner")
    except sqlite3.Error as error:
        refused = failures.on_open(path, error)
        return _row("ledger", FAILED, refused.message, refused.hint)
    if found:
        more = f", and {len(found) - 1} more: botctl audit verify" if len(found) > 1 else ""
        return _row("ledger", FAILED, f"{path} is damaged: {found[0]}{more}", RESTORE)
    return _row("ledger", OK, f"{path}: every row and the audit read")


def _disk(config: Config) -> Row:
    existing = next(place for place in (config.state_dir, *config.state_dir.parents) if place.exists())
    free = shutil.disk_usage(existing).free
    status = FAILED if free < DISK_FAILED else WARNING if free < DISK_WARNING else OK
    return _row("disk", status, f"{free // MIB} MiB free", "" if status == OK else "make room: 1 GiB is wanted")


def _socket(config: Config) -> Row:
    from botd.config import find_file

    path, start = config.socket, "botctl daemon start"
    if config.path is not None and config.path != find_file(None, os.environ):
        start += f" --config {config.path}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
        channel.settimeout(1)
        try:
            channel.connect(str(path))
        except FileNotFoundError:
            return _row("daemon", OK, f"not running (no {path})", start)
        except ConnectionRefusedError:
            return _row("daemon", WARNING, f"not running; {path} is left from one that died", start)
        except OSError as error:
            return _row("daemon", FAILED, f"{path}: {error.strerror}", "join the group of the socket")
    return _row("daemon", OK, f"listens on {path}")


def _redis(config: Config) -> Row:
    host, port = config.redis.host, config.redis.port
    if host is None:
        return _row("redis", OK, "not configured: memory")
    try:
        with socket.create_connection((host, port), timeout=1) as channel:
            channel.sendall(b"PING\r\n")
            answer = channel.recv(64)
    except OSError as error:
        return _row("redis", WARNING, f"{host}:{port}: {error}", "start it; botd goes on from memory meanwhile")
    if not answer.startswith((b"+PONG", b"-NOAUTH")):
        return _row("redis", WARNING, f"{host}:{port} does not answer like redis", "check redis.host and redis.port")
    return _row("redis", OK, f"{host}:{port}")


def _strategies(config: Config) -> Row:
    try:
        rows = offline.registry(config).describe()
    except BotdError as error:
        return _row("strategies", FAILED, error.message, error.hint)
    broken = [f"{row['name']}: {row['error']}" for row in rows if row["error"]]
    if broken:
        return _row("strategies", WARNING, "; ".join(broken), "botctl strategies NAME")
    return _row("strategies", OK, f"{len(rows)} load")


def _keys(config: Config) -> Row:
    if config.keys is None:
        return _row("keys", OK, "none: paper only")
    status = WARNING if config.keys.source == "environment" else OK
    hint = "use keys_file, which other programs cannot see" if status == WARNING else ""
    return _row("keys", status, f"from {config.keys.source}", hint)
