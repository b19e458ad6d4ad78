"""Fills frozen dataclasses from a document: one declared key at a time, nothing undeclared.

A dataclass declares its keys with ``field(metadata=key(default, reader))`` and its sections with
``field(metadata=section(cls))``; fields without such metadata are no keys. It knows no key by name.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from botd.config_values import Reader, Spot
from botd.domain.hints import nearest


def key(default: Any, reader: Reader) -> dict[str, Any]:
    """Declare a key; ``default`` is what would stand in the file."""
    return {"default": default, "read": reader}


def section(cls: type) -> dict[str, Any]:
    """Declare a section: a mapping of keys."""
    return {"section": cls}


def fill(cls: type, raw: Any, spot: Spot, schema: type | None = None) -> Any:
    """Return a ``cls`` read from the mapping ``raw``; ``schema`` is the root class, for the nearest key."""
    if raw is None:
        raw = {}
    if not isinstance(raw, dict):
        spot.fail("expected a mapping of keys")
    schema = schema or cls
    declared = {item.name: item.metadata for item in dataclasses.fields(cls) if item.metadata}
    _refuse_unknown(raw, list(declared), spot, schema)
    values = {}
    for name, metadata in declared.items():
        place = spot.child(name)
        if "section" in metadata:
            values[name] = fill(metadata["section"], raw.get(name), place, schema)
        else:
            values[name] = metadata["read"](raw[name] if name in raw else metadata["default"], place)
    return cls(**values)


def key_names(cls: type, prefix: str = "") -> Iterator[str]:
    """Yield every key, dotted; sections are not keys themselves."""
    for item in dataclasses.fields(cls):
        if "section" in item.metadata:
            yield from key_names(item.metadata["section"], f"{prefix}{item.name}.")
        elif item.metadata:
            yield prefix + item.name


def _refuse_unknown(raw: Mapping[str, Any], known: list[str], spot: Spot, schema: type) -> None:
    for name in raw:
        if name in known:
            continue
        like = nearest(str(name).lower(), known) or _elsewhere(str(name), schema)
        advice = f"did you mean {like}?" if like else f"one of {', '.join(known)}"
        spot.child(str(name)).fail(f"unknown key; {advice}", "botd.yaml(5) describes every key")


def _elsewhere(name: str, schema: type) -> str:
    """Return the dotted key of another section whose last part is most like ``name``."""
    by_last = {dotted.rpartition(".")[2]: dotted for dotted in key_names(schema)}
    return by_last.get(nearest(name.lower(), by_last), "")
