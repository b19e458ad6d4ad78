"""Replies as bytes: fast, exact and never too large."""

from __future__ import annotations

from typing import Any

import msgspec

from botd.control.protocol import MAX_REPLY_BYTES, ProtocolError, encode_error
from botd.domain.errors import BotdError, InvalidError


def encode_result(request_id: str, result: Any) -> bytes:
    """Return the frame of a good reply: Decimal as text, numbers that are not finite as null.

    InvalidError where it is over 8 MiB: lists of that size come by page.
    """
    payload = to_json({"id": request_id, "ok": True, "result": result})
    if len(payload) > MAX_REPLY_BYTES:
        raise InvalidError(
            f"the reply has {len(payload)} bytes, at most {MAX_REPLY_BYTES} are sent",
            "page through it: ask with a limit, then with the cursor of each reply",
        )
    return payload


def encode_refusal(request_id: str | None, error: BotdError | ProtocolError) -> bytes:
    """Return the frame of a refusal, each text in one line."""
    return encode_error(request_id, error.code, _one_line(error.message), _one_line(error.hint))


def _one_line(text: str) -> str:
    line = " ".join(text.split()) if not text.isprintable() else text
    return line if line.isprintable() else ascii(line)[1:-1]


def _foreign(value: Any) -> Any:
    """Return a plain value for a number that is not of this language's own kinds (array libraries')."""
    if callable(item := getattr(value, "item", None)):
        return item()
    raise TypeError(f"a reply cannot carry a {type(value).__name__}")


to_json = msgspec.json.Encoder(enc_hook=_foreign).encode
"""Decimal becomes text, what is not finite null."""
