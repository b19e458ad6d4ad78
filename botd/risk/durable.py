"""Rows that must survive a restart: remembered as changed, written out when asked.

State leaves the risk room only this way. JSON is made at the drain, so a row that changes a thousand
times between two commits costs one line.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any


class ChangedRows:
    """Keys that changed since the last drain. ``content(key)`` gives a row's value, None where it is gone."""

    def __init__(self, content: Callable[[str], Any]) -> None:
        self._content = content
        self._keys: set[str] = set()

    def mark(self, key: str) -> None:
        """Remember that the row of ``key`` changed."""
        self._keys.add(key)

    def drain(self) -> dict[str, str | None]:
        """Return the changed rows as JSON by key, in the order of the keys; None for a row that is gone."""
        if not self._keys:
            return {}
        keys, self._keys = sorted(self._keys), set()
        return {key: None if (value := self._content(key)) is None else to_json(value) for key in keys}


def to_json(value: Any) -> str:
    """Return compact JSON with sorted keys: equal states give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def from_json(text: str) -> Any:
    """Return what :func:`to_json` was given."""
    return json.loads(text)
