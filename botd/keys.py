"""Where the exchange's API key comes from: a systemd credential, else a file, else the environment.

A key is never read from YAML or the command line, and never printed: :class:`Secret` shows as ``***``.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path

from botd.domain.errors import ConfigError

CREDENTIAL = "botd.keys"
"""Name of the systemd credential: LoadCredential=botd.keys:/path (or LoadCredentialEncrypted=)."""

KEY_NAMES = ("BINANCE_API_KEY", "API_KEY")
SECRET_NAMES = ("BINANCE_API_SECRET", "API_SECRET")
MAX_BYTES = 64 * 1024
_EXPECTED = "two lines: BINANCE_API_KEY=... and BINANCE_API_SECRET=... (or a PEM private key for Ed25519)"
_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?-----END [A-Z0-9 ]*PRIVATE KEY-----", re.DOTALL)


class Secret:
    """A string that no log, traceback or encoder shows; :meth:`reveal` gives it to the request signer."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __format__(self, specification: str) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> tuple[type, tuple[str]]:
        raise TypeError("a secret is not to be stored")


@dataclass(frozen=True, slots=True)
class Keys:
    """An API key pair and where it was found (``credential``, ``file`` or ``environment``)."""

    api_key: Secret
    api_secret: Secret
    source: str

    @property
    def fingerprint(self) -> str:
        """A short name of the key that does not give it away."""
        return hashlib.sha256(self.api_key.reveal().encode()).hexdigest()[:12]


def find_keys(keys_file: Path | None, environ: MutableMapping[str, str]) -> tuple[Keys | None, list[str]]:
    """Return the keys of the first source that has them, and warnings.

    Keys in ``environ`` are removed from it, also when another source is used.
    Raises ConfigError for a file that others can read, that is not ours, or that holds no pair.
    """
    from_environment, warnings = _take_from_environment(environ)
    directory = environ.get("CREDENTIALS_DIRECTORY")
    if directory:
        credential = Path(directory) / CREDENTIAL
        if credential.exists():
            return _parse(credential.read_text(encoding="utf-8"), credential, "credential"), warnings
    if keys_file is not None:
        return _parse(_read_private(keys_file), keys_file, "file"), warnings
    return from_environment, warnings


def _take_from_environment(environ: MutableMapping[str, str]) -> tuple[Keys | None, list[str]]:
    key = environ.pop("BINANCE_API_KEY", "").strip()
    secret = environ.pop("BINANCE_API_SECRET", "").strip()
    if not key and not secret:
        return None, []
    if not key or not secret:
        missing = "BINANCE_API_SECRET" if key else "BINANCE_API_KEY"
        return None, [f"{missing} is not set: the other half of the key is not used"]
    warning = "the API key was read from the environment, where other programs of this user can see it; use keys_file"
    return Keys(Secret(key), Secret(secret), "environment"), [warning]


def _read_private(path: Path) -> str:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise ConfigError(f"keys_file {path}: is a symbolic link", "give the file itself") from None
        raise ConfigError(f"keys_file {path}: {error.strerror}", "correct keys_file, or the file's owner") from None
    try:
        _refuse_exposed(path, os.fstat(descriptor))
        return os.read(descriptor, MAX_BYTES).decode("utf-8")
    except UnicodeDecodeError:
        raise ConfigError(f"keys_file {path}: is not text", f"it needs {_EXPECTED}") from None
    finally:
        os.close(descriptor)


def _refuse_exposed(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ConfigError(f"keys_file {path}: is not a regular file", "give the file itself")
    if status.st_uid != os.geteuid():
        fact = f"belongs to uid {status.st_uid}, not to uid {os.geteuid()}"
        raise ConfigError(f"keys_file {path}: {fact}", f"chown {os.geteuid()} {path}")
    if status.st_mode & 0o177:
        mode = stat.S_IMODE(status.st_mode)
        raise ConfigError(f"keys_file {path}: mode {mode:04o} lets others in", f"chmod 600 {path}")


def _parse(text: str, path: Path, source: str) -> Keys:
    values: dict[str, str] = {}
    private = _PRIVATE_KEY.search(text)
    for line in _PRIVATE_KEY.sub("", text).splitlines():
        name, equals, value = line.strip().removeprefix("export ").partition("=")
        if equals and not name.startswith("#"):
            values[name.strip().upper()] = value.strip().strip("\"'")
    key, secret = _first(values, KEY_NAMES), private[0] if private else _first(values, SECRET_NAMES)
    if not key or not secret:
        raise ConfigError(f"keys_file {path}: holds no key pair", f"it needs {_EXPECTED}")
    return Keys(Secret(key), Secret(secret), source)


def _first(values: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((values[name] for name in names if values.get(name)), "")
