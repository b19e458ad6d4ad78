"""Signs requests as Binance wants it: HMAC-SHA256 of a shared secret, or Ed25519 with a private key.

What is signed is the text as it is sent: parameters are percent-encoded before, never after. REST keeps their
order, the WebSocket API sorts them and encodes nothing. The secret stays in here: no ``repr``, exception or
pickle of a signer shows it.
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Callable, Mapping
from typing import Any, NoReturn
from urllib.parse import quote

from botd.domain.errors import ConfigError

KEY_HEADER = "X-MBX-APIKEY"
_is_plain = re.compile("[A-Za-z0-9._~-]*").fullmatch
"""Most texts are: to find that out takes a fifth of the time of encoding them."""

Sign = Callable[[bytes], str]


class Signer:
    """An API key, and what signs for it."""

    __slots__ = ("_sign", "api_key", "kind")

    def __init__(self, api_key: str, sign: Sign, kind: str) -> None:
        self.api_key = api_key
        self.kind = kind
        """``HMAC`` or ``Ed25519``."""
        self._sign = sign

    def query(self, params: Mapping[str, Any]) -> str:
        """Return the parameters as text, percent-encoded, with their signature at the end."""
        text = encoded(params)
        return f"{text}&signature={quote(self._sign(text.encode()), safe='')}"

    def request(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return the parameters of a WebSocket API request with key and signature."""
        whole = {**params, "apiKey": self.api_key}
        text = "&".join(f"{name}={whole[name]}" for name in sorted(whole))
        return {**whole, "signature": self._sign(text.encode())}

    def __repr__(self) -> str:
        return f"<Signer {self.kind} ***>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a signer is not to be stored")


def make_signer(api_key: str, secret: str) -> Signer:
    """Return the signer for a key: a secret that is a PEM private key signs with Ed25519, any other with HMAC.

    ConfigError for a private key of another kind, or none at all; it does not show what it was given.
    """
    if not api_key.isascii() or not api_key.isalnum():
        raise ConfigError("the API key is not of the exchange's form", "it is letters and digits; look at keys_file")
    if "PRIVATE KEY" in secret:
        return Signer(api_key, _ed25519(secret), "Ed25519")
    return Signer(api_key, _hmac(secret.encode()), "HMAC")


def encoded(params: Mapping[str, Any]) -> str:
    """Return parameters as a query in their order, percent-encoded."""
    texts = ((name, str(value)) for name, value in params.items())
    return "&".join(f"{name}={text if _is_plain(text) else quote(text, safe='')}" for name, text in texts)


def _hmac(secret: bytes) -> Sign:
    return lambda text: hmac.digest(secret, text, "sha256").hex()


def _ed25519(pem: str) -> Sign:
    # Only who has such a key pays for the import.
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    wanted = "botd signs with Ed25519 keys without a passphrase, and with HMAC secrets"
    try:
        key = load_pem_private_key(pem.replace("\\n", "\n").encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ConfigError("the private key cannot be read", wanted) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"the private key is a {type(key).__name__.strip('_')}, not Ed25519", wanted)
    return lambda text: base64.b64encode(key.sign(text)).decode()
