"""Which files of strategies their owner vouched for after they changed: name -> digest, in the state directory.

A bot with real money takes a changed file only with the owner's word (``botctl check NAME --trust``), which examines
it first. The file is written whole or not at all. This page does not decide what is done about it.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from botd.domain.errors import ForbiddenError

FILE = "trusted_strategies.json"


def trusted(state_dir: Path) -> dict[str, str]:
    """Return the digests vouched for, by name; nothing where the file is not there or not readable as such."""
    try:
        return msgspec.json.decode((state_dir / FILE).read_bytes(), type=dict[str, str])
    except (OSError, msgspec.DecodeError):
        return {}


def trust(state_dir: Path, name: str, digest: str) -> None:
    """Note that the file of this digest may run under this name."""
    noted = {**trusted(state_dir), name: digest}
    draft = state_dir / f"{FILE}.{os.getpid()}"
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(noted, order="sorted")))
        draft.replace(state_dir / FILE)
    except OSError as error:
        raise ForbiddenError(f"{state_dir / FILE}: {error.strerror}") from None
