"""The wire, for both ends: frames, limits, strict JSON, error codes and what they exit with.

A request travels as ``[botd/1][{"id","cmd","args","deadline_ms","client"}]`` and is answered by
``[botd/1][{"id","ok":true,"result"}]`` or ``[botd/1][{"id","ok":false,"error":{"code","message","hint"}}]``
(ROUTER and DEALER add and take away the routing id). ``deadline_ms`` is how long the caller waits, counted
from the arrival of the request. An event travels as ``[topic][{"seq","epoch","ts","topic","bot","data"}]``.

Imported by botctl at each start, so it needs ``json`` and nothing of botd, and it does no input or output.
"""

from __future__ import annotations

import json
import re

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing itself is not needed to run
    from typing import Any

VERSION = 1
TAG = b"botd/1"
MAX_REQUEST_BYTES = 256 * 1024
MAX_REPLY_BYTES = 8 * 1024 * 1024
MAX_DEPTH = 16
MAX_FRAMES = 3
"""Routing id, tag, JSON."""
DEFAULT_DEADLINE_MS = 30_000
MAX_DEADLINE_MS = 3_600_000

EXIT_CODES = {
    "INVALID": 2,
    "USAGE": 2,
    "NOT_FOUND": 4,
    "CONFLICT": 5,
    "WRONG_STATE": 5,
    "DENIED": 5,
    "UNAVAILABLE": 69,
    "INTERNAL": 70,
    "TIMEOUT": 75,
    "BUSY": 75,
    "RUNNING": 75,
    "VERSION": 76,
    "FORBIDDEN": 77,
    "CONFIG": 78,
}
"""Error code on the wire -> exit status of botctl."""

HEARTBEAT = "heartbeat"
"""Topic of the frame that carries the last ``seq`` every few seconds, so that a gap is noticed in silence."""
WELCOME = "welcome"
"""Topic of the frame that follows a new subscription: from here on nothing is missed."""

CROSS_VERSION = ("hello", "ping", "halt", "stop", "shutdown")
"""Answered whatever the version of the tag; ``stop`` only with ``{"all": true}``."""

REQUEST_KEYS = ("id", "cmd", "args", "deadline_ms", "client")

# Patterns are compiled by the re module at first use: botctl needs few of them.
_REQUEST_ID = r"[A-Za-z0-9_.:-]{1,64}\Z"
_QUOTED_ID = rb'"id"\s*:\s*"([A-Za-z0-9_.:-]{1,64})"'
_TAG = rb"botd/([0-9]{1,4})\Z"
# From any quote this matches to the closing one or to the end, so it never backtracks.
_STRINGS = rb'(?s)"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)'
_SURROGATE = rb"\\u[dD][89a-fA-F]"
_INFINITY = float("inf")
_BRACKETS = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


class ProtocolError(ValueError):
    """What came over the wire is not what this page describes."""

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint


class Request:
    """A request whose envelope is sound; ``args`` is still unchecked."""

    __slots__ = ("args", "client", "cmd", "deadline_ms", "id")

    def __init__(self, id: str, cmd: str, args: dict[str, Any], deadline_ms: int, client: str) -> None:
        self.id = id
        self.cmd = cmd
        self.args = args
        self.deadline_ms = deadline_ms
        self.client = client


# -- requests


def encode_request(
    request_id: str, cmd: str, args: dict[str, Any] | None = None, deadline_ms: int | None = None, client: str = ""
) -> bytes:
    """Return the JSON frame of a request; ValueError where a number is not finite."""
    request: dict[str, Any] = {"id": request_id, "cmd": cmd, "args": args or {}}
    if deadline_ms is not None:
        request["deadline_ms"] = deadline_ms
    if client:
        request["client"] = client
    return json.dumps(request, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def decode_request(raw: bytes, *, lenient: bool = False) -> Request:
    """Return the request in a JSON frame; ProtocolError in one clear line otherwise.

    ``lenient`` overlooks unknown keys: for the few commands that work across versions.
    """
    body = parse(raw)
    if not lenient and (unknown := [key for key in body if key not in REQUEST_KEYS]):
        raise _invalid(f"unknown key {shown(unknown[0])} in the request", f"keys are {', '.join(REQUEST_KEYS)}")
    request_id, cmd, args = body.get("id"), body.get("cmd"), body.get("args")
    if not isinstance(request_id, str) or not re.match(_REQUEST_ID, request_id):
        raise _invalid("id must be 1 to 64 letters, digits or _ . : -")
    if not isinstance(cmd, str) or not 0 < len(cmd) <= 64:
        raise _invalid("cmd must be the name of a command")
    if args is None:
        args = {}
    if not isinstance(args, dict):
        raise _invalid("args must be an object")
    deadline_ms = body.get("deadline_ms")
    if deadline_ms is None:
        deadline_ms = DEFAULT_DEADLINE_MS
    if type(deadline_ms) is not int or deadline_ms < 1:
        raise _invalid("deadline_ms must be a whole number above 0")
    client = body.get("client")
    if client is not None and (not isinstance(client, str) or len(client) > 128):
        raise _invalid("client must be a text of at most 128 letters")
    return Request(request_id, cmd, args, min(deadline_ms, MAX_DEADLINE_MS), client or "")


def request_id_of(raw: bytes) -> str | None:
    """Return the id near the start of a frame that may be broken, so that even a refusal finds its caller."""
    found = re.search(_QUOTED_ID, raw[:256])
    return found.group(1).decode() if found else None


def version_of(tag: bytes) -> int | None:
    """Return N of the tag ``botd/N``, None for anything else."""
    found = re.match(_TAG, tag)
    return int(found.group(1)) if found else None


# -- replies


def encode_error(request_id: str | None, code: str, message: str, hint: str = "") -> bytes:
    """Return the JSON frame of a refusal."""
    refusal = {"id": request_id, "ok": False, "error": {"code": code, "message": message, "hint": hint}}
    return json.dumps(refusal, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


# -- strict JSON


def parse(raw: bytes) -> dict[str, Any]:
    """Return the JSON object in ``raw``.

    Refused with ProtocolError: too large, nested too deep (before anything is parsed), not UTF-8, NaN,
    Infinity and numbers that become infinite, duplicate keys, half surrogates, anything but an object.
    """
    if len(raw) > MAX_REQUEST_BYTES:
        raise _invalid(f"{len(raw)} bytes are too many, at most {MAX_REQUEST_BYTES}")
    if _is_too_deep(raw):
        raise _invalid(f"brackets are nested deeper than {MAX_DEPTH}, or do not match")
    try:
        value = _decoder.decode(raw.decode())
    except UnicodeDecodeError as error:
        raise _invalid(f"not UTF-8 at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise _invalid(f"not JSON: {error.msg} at character {error.pos}") from None
    except ProtocolError:
        raise
    except (ValueError, RecursionError):
        raise _invalid("not JSON: a number has too many digits") from None
    if not isinstance(value, dict):
        raise _invalid("not a JSON object")
    if re.search(_SURROGATE, raw) and not _is_encodable(value):
        raise _invalid("a text holds half a surrogate pair")
    return value


def shown(text: object, most: int = 60) -> str:
    """Return ``text`` quoted, shortened and with control characters escaped, fit for one line."""
    quoted = ascii(str(text)[: most + 1])
    return quoted if len(quoted) <= most + 2 else quoted[:most] + "...'"


def _is_too_deep(raw: bytes) -> bool:
    """Peel pairs of brackets from the inside, one level a round; all in C, also for 256 KiB of them."""
    if raw.count(b"[") + raw.count(b"{") <= MAX_DEPTH:
        return False
    brackets = re.sub(_STRINGS, b"", raw).translate(_BRACKETS, _NO_BRACKETS)
    for _ in range(MAX_DEPTH):
        if not brackets:
            break
        brackets = brackets.replace(b"[]", b"")
    return bool(brackets)


def _is_encodable(value: dict[str, Any]) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _object(pairs: list[tuple[str, object]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise _invalid(f"key {shown(twice)} is given twice")
    return found


def _float(text: str) -> float:
    value = float(text)
    if value in (_INFINITY, -_INFINITY):
        raise _invalid(f"number {shown(text)} is too large")
    return value


def _constant(text: str) -> float:
    raise _invalid(f"{text} is not a number that JSON knows")


def _invalid(message: str, hint: str = "") -> ProtocolError:
    return ProtocolError("INVALID", message, hint)


_decoder = json.JSONDecoder(object_pairs_hook=_object, parse_float=_float, parse_constant=_constant)
