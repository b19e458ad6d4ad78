"""Signatures of requests: HMAC-SHA256 and Ed25519, over what was sent as it was sent. Knows keys and texts only."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping
from urllib.parse import quote, unquote

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from tests.fakes.binance.exchange.keys import ApiKey
from tests.fakes.binance.exchange.orders import Refused

_KEY = re.compile(r"[A-Za-z0-9]{64}")
_INVALID = "Signature for this request is not valid."


def key_of(keys: Mapping[str, ApiKey], given: str) -> ApiKey:
    """Return the key of a request, or refuse it: -2014, -2015."""
    if not _KEY.fullmatch(given):
        raise Refused(-2014, "API-key format invalid.", 401)
    if given not in keys:
        raise Refused(-2015, "Invalid API-key, IP, or permissions for action.", 401)
    return keys[given]


def check_rest(key: ApiKey, query: str, body: str) -> None:
    """Refuse a request whose signature does not fit its query and body, put together as they are: -1022, -1102."""
    parts = [_split(query), _split(body)]
    signatures = [signature for _, signature in parts if signature is not None]
    if not signatures or not signatures[0]:
        raise Refused(-1102, "Mandatory parameter 'signature' was not sent, was empty/null, or malformed.")
    payload = "".join(rest for rest, _ in parts)
    if len(signatures) > 1 or not verified(key, payload, unquote(signatures[0])):
        raise Refused(-1022, _INVALID)


def _split(text: str) -> tuple[str, str | None]:
    """Return the text without its signature, and the signature."""
    fields = text.split("&") if text else []
    found = next((field.partition("=")[2] for field in fields if field.startswith("signature=")), None)
    return "&".join(field for field in fields if not field.startswith("signature=")), found


def check_socket(key: ApiKey, parameters: Mapping[str, str]) -> None:
    """Refuse parameters of the WebSocket API whose signature does not fit them, sorted by name."""
    signature = parameters.get("signature", "")
    if not signature:
        raise Refused(-1102, "Mandatory parameter 'signature' was not sent, was empty/null, or malformed.")
    fields = sorted((name, value) for name, value in parameters.items() if name != "signature")
    plain = "&".join(f"{name}={value}" for name, value in fields)
    encoded = "&".join(f"{name}={quote(value, safe='')}" for name, value in fields)
    if not (verified(key, plain, signature) or verified(key, encoded, signature)):
        raise Refused(-1022, _INVALID)


def verified(key: ApiKey, payload: str, signature: str) -> bool:
    """Tell whether a signature is that key's for a text. Hexadecimal digits may be of either case, base64 not."""
    if key.public:
        try:
            Ed25519PublicKey.from_public_bytes(key.public).verify(
                base64.b64decode(signature, validate=True), payload.encode()
            )
        except (InvalidSignature, binascii.Error, ValueError):
            return False
        return True
    good = hmac.new(key.secret.encode(), payload.encode(), hashlib.sha256).hexdigest()
    return hmac.compare_digest(good, signature.lower())
