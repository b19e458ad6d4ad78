"""Durations, ages and moments as people write and read them. Knows no clock but the one it is given."""

from __future__ import annotations

import re
from typing import Any

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|[smhdw])?)+")
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhdw])?")


def parse_duration_s(text: str) -> float | None:
    """Return seconds for ``5``, ``500ms``, ``30s``, ``5m``, ``1h30m``; None where it is no duration."""
    if not _DURATION.fullmatch(text):
        return None
    parts = _PART.findall(text)
    if len(parts) > 1 and any(not unit for _, unit in parts):
        return None
    return sum(float(number) * _UNITS[unit or "s"] for number, unit in parts)


def parse_rfc3339_ms(text: str) -> int | None:
    """Return milliseconds since 1970 for an RFC 3339 time or a date (UTC where no zone is given)."""
    from datetime import UTC, datetime

    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)


def format_age(seconds: float | None) -> str:
    """Return an age in two units: ``0s``, ``59s``, ``3m12s``, ``4h05m``, ``2d03h``."""
    if seconds is None:
        return "-"
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02d}h"


def format_ms(time_ms: int) -> str:
    """Return the RFC 3339 form, in UTC, of milliseconds since 1970: with a fraction where there is one."""
    from datetime import UTC, datetime

    fraction = f".{time_ms % 1000:03d}" if time_ms % 1000 else ""
    return datetime.fromtimestamp(time_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S") + fraction + "Z"


def is_moment(value: Any) -> bool:
    """Say whether a value is a time in milliseconds, by its size."""
    return isinstance(value, int) and value > 10**12


def with_moments(value: Any) -> Any:
    """Return a reply with its times as text: ``time`` is replaced, beside ``cursor_ms`` comes ``cursor``."""
    if isinstance(value, list):
        return [with_moments(item) for item in value]
    if not isinstance(value, dict):
        return value
    told = {}
    for key, item in value.items():
        told[key] = format_ms(item) if key == "time" and is_moment(item) else with_moments(item)
        if key.endswith("_ms") and is_moment(item):
            told[key.removesuffix("_ms")] = format_ms(item)
    return told
