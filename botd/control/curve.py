"""TCP with CURVE: the server's key and the list of client keys that may come in.

Both live in files of the state directory: ``curve.key`` (0600, ``{"public", "secret"}``) and
``curve.allow`` (one ``PUBLIC_KEY operator|viewer`` a line; ``# `` starts a comment). CURVE without such a list
would admit any key, so both are needed or botd does not start.
"""

from __future__ import annotations

import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path

import zmq
from zmq.utils import z85

from botd.control.access import Role
from botd.domain.errors import ConfigError

KEY_FILE = "curve.key"
ALLOW_FILE = "curve.allow"
KEY_LENGTH = 40
"""Letters of a key in Z85."""
_HOLDS = "see control.tcp in botd.yaml(5) for what it holds"
_LINE = "write a line a client: PUBLIC_KEY operator, or PUBLIC_KEY viewer"


@dataclass(frozen=True, slots=True)
class CurveKeys:
    """The server's own pair, and who may come in: public key -> role."""

    public: bytes
    secret: bytes
    clients: dict[bytes, Role]

    def __repr__(self) -> str:
        """Never show the secret."""
        return f"CurveKeys(public={self.public!r}, clients={len(self.clients)})"


def create_key_file(state_dir: Path) -> bytes:
    """Make ``curve.key`` and return the public key that clients need; ConfigError if there is one already."""
    public, secret = zmq.curve_keypair()
    path = state_dir / KEY_FILE
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be made: {error.strerror}") from None
    with os.fdopen(descriptor, "w") as file:
        json.dump({"public": public.decode(), "secret": secret.decode()}, file)
    return public


def load_keys(state_dir: Path) -> CurveKeys:
    """Return the keys for ``control.tcp``; ConfigError says which file is missing, open to others, or wrong."""
    public, secret = _server_pair(state_dir / KEY_FILE)
    return CurveKeys(public, secret, _allowed(state_dir / ALLOW_FILE))


def _server_pair(path: Path) -> tuple[bytes, bytes]:
    text = _private_text(path)
    try:
        pair = json.loads(text)
        public, secret = pair["public"].encode(), pair["secret"].encode()
        if zmq.curve_public(secret) != public:
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError, zmq.ZMQError):
        raise ConfigError(f"{path}: holds no pair of CURVE keys", _HOLDS) from None
    return public, secret


def _allowed(path: Path) -> dict[bytes, Role]:
    allowed: dict[bytes, Role] = {}
    for number, line in enumerate(_private_text(path).splitlines(), start=1):
        words = line.split()
        if not words or words[0] == "#":  # a key may begin with #, so a comment needs a space
            continue
        key, role = words[0], words[1] if len(words) > 1 else ""
        if len(key) != KEY_LENGTH or not _is_key(key):
            raise ConfigError(f"{path}, line {number}: not a public key of {KEY_LENGTH} letters", _LINE)
        if role not in ("operator", "viewer"):
            raise ConfigError(f"{path}, line {number}: the key must be followed by operator or viewer", _LINE)
        allowed[key.encode()] = "operator" if role == "operator" else "viewer"
    if not allowed:
        raise ConfigError(f"{path}: no key is allowed", _LINE)
    return allowed


def _is_key(text: str) -> bool:
    try:
        return len(z85.decode(text)) == 32
    except (KeyError, ValueError):
        return False


def _private_text(path: Path) -> str:
    """Read a file that nobody else may read or write, and that is no link."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise ConfigError(f"control.tcp needs {path}: {error.strerror}", _HOLDS) from None
    with os.fdopen(descriptor, encoding="utf-8", errors="replace") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_uid not in (os.geteuid(), 0) or status.st_mode & 0o077:
            raise ConfigError(f"{path}: others could read or change it", f"chown and chmod 600 {path}")
        return file.read(1_000_000)
