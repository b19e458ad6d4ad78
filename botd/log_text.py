"""What one log record looks like: text or JSON lines, no control characters, no secrets.

It formats; it opens no file and knows no destination.
"""

from __future__ import annotations

import json
import logging
import re
import traceback
import urllib.parse
from collections.abc import Iterable

from botd.domain.clock import parse_time, rfc3339

HIDDEN = "***"
MIN_SECRET = 6
"""A shorter string is no secret: hiding it would blank words out of every line."""

_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_SENSITIVE = re.compile(
    r"""(?ix) (
        (?: signature | api[-_]?key | api[-_]?secret | secret(?:[-_]?key)? | listen[-_]?key | x-mbx-apikey
          | private[-_]?key | passphrase | password | access[-_]?token )
        ["']? \s* (?: = | : | %3D ) \s* ["']?
    ) ( [^\s&"',;)}\]]+ )"""
)
_PRIVATE_KEY = re.compile(r"(-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----).*?(-----END|$)", re.DOTALL)
_URL_PASSWORD = re.compile(r"(://[^\s/:@]*:)[^\s/@]+@")
_PRIORITY = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}

_LEVELS = {"WARNING": "WARN", "CRITICAL": "FATAL"}


class Redactor:
    """Replaces every known secret, and whatever stands where secrets stand in urls and headers."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets: list[str] = []
        for secret in secrets:
            self.add(secret)

    def add(self, secret: str) -> None:
        """Hide ``secret`` from now on, as it is and as urls, JSON and Python's repr write it; of a key each line."""
        lines = secret.replace("\\n", "\n").split("\n")
        for line in lines if len(lines) > 1 else ():
            if not line.startswith("-----"):
                self.add(line.strip())
        forms = {secret, urllib.parse.quote(secret, safe=""), json.dumps(secret)[1:-1], repr(secret)[1:-1]}
        known = {*self._secrets, *(form for form in forms if len(form) >= MIN_SECRET)}
        self._secrets = sorted(known, key=len, reverse=True)

    def clean(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        text = _PRIVATE_KEY.sub(rf"\1{HIDDEN}\2", text)
        text = _SENSITIVE.sub(lambda match: match[1] + HIDDEN, text)
        return _URL_PASSWORD.sub(rf"\1{HIDDEN}@", text)


def escape(text: str) -> str:
    """Return ``text`` with control, direction and surrogate characters written as escapes."""
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)


def stamp(record: logging.LogRecord) -> int:
    """Return the wall time of a record in milliseconds (set when it was made)."""
    return int(getattr(record, "wall_ms", record.created * 1000))


def market_time(record: logging.LogRecord) -> str:
    """Return what time it was on a simulated market, as events say it; empty on any other."""
    ms = getattr(record, "market_ms", None)
    return "" if ms is None else rfc3339(ms)


def trace_of(record: logging.LogRecord) -> str:
    """Return the traceback of a record, or an empty string."""
    if record.exc_info and record.exc_info[0] is not None:
        return "".join(traceback.format_exception(*record.exc_info)).rstrip()
    return record.exc_text or ""


class TextFormatter(logging.Formatter):
    """``2026-01-01T12:00:00.123Z INFO  botd.app: message``; tracebacks follow, indented.

    On a simulated market a line ends with its time: ``[market 2026-01-01T03:14:00Z]``.

    With ``journal`` each line starts with ``<N>`` and the time is left to journald.
    """

    def __init__(self, redactor: Redactor, *, journal: bool = False) -> None:
        super().__init__()
        self._redactor = redactor
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        message = escape(self._redactor.clean(record.getMessage()))
        head = f"{_LEVELS.get(record.levelname, record.levelname):<5} {record.name}: {message}"
        if when := market_time(record):
            head = f"{head} [market {when}]"
        if not self._journal:
            head = f"{_millis(stamp(record))} {head}"
        trace = self._redactor.clean(trace_of(record))
        lines = [head, *(f"    {escape(line)}" for line in trace.split("\n") if trace)]
        prefix = f"<{_PRIORITY.get(record.levelno, 6)}>" if self._journal else ""
        return "\n".join(prefix + line for line in lines)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ``time level logger message``; ``market_time`` and ``trace`` where there is one."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "time": _millis(stamp(record)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self._redactor.clean(record.getMessage()),
        }
        if when := market_time(record):
            fields["market_time"] = when
        trace = trace_of(record)
        if trace:
            fields["trace"] = self._redactor.clean(trace)
        return json.dumps(fields)


def line_time(line: str) -> int | None:
    """Return the time of a log line in milliseconds, or None for a continuation of the one before."""
    if line.startswith('{"time": "'):
        text = line[10:34]
    elif line[:1].isdigit():
        text = line[:24]
    else:
        return None
    try:
        return parse_time(text)
    except ValueError:
        return None


def _millis(ms: int) -> str:
    """Return a time stamp of constant width, so that lines align and sort."""
    text = rfc3339(ms)
    return text if "." in text else text[:-1] + ".000Z"
