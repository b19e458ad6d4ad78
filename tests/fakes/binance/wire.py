"""WebSocket frames as bytes, made once for all who get them. Knows the framing of RFC 6455 and nothing else."""

from __future__ import annotations

import struct

TEXT, BINARY, CLOSE, PING, PONG = 0x81, 0x82, 0x88, 0x89, 0x8A


def frame(payload: bytes, kind: int = TEXT) -> bytes:
    """Return a whole server frame (servers do not mask)."""
    length = len(payload)
    if length < 126:
        return bytes((kind, length)) + payload
    if length < 65536:
        return struct.pack("!BBH", kind, 126, length) + payload
    return struct.pack("!BBQ", kind, 127, length) + payload


def close_frame(code: int, reason: str = "") -> bytes:
    return frame(struct.pack("!H", code) + reason.encode()[:120], CLOSE)


def wrapped(stream: str, payload: bytes) -> bytes:
    """Return an event as the combined form has it."""
    return b'{"stream":"%b","data":%b}' % (stream.encode(), payload)
