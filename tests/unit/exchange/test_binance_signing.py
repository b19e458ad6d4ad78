"""Signatures, computed again by other means; and a secret that shows nowhere."""

from __future__ import annotations

import base64
import hashlib
import pickle
import traceback
from urllib.parse import parse_qs, unquote

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from botd.domain.errors import ConfigError
from botd.exchange.binance.signing import encoded, make_signer

KEY, SECRET = "K" * 64, "sEcReTcAnArY" * 5


def hmac_sha256(secret: bytes, text: bytes) -> str:
    """RFC 2104, by hand."""
    key = secret.ljust(64, b"\0")
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in key) + text).digest()
    return hashlib.sha256(bytes(byte ^ 0x5C for byte in key) + inner).hexdigest()


def pem_of(key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def test_hmac_signs_the_query_as_it_is_sent() -> None:
    params = {"symbol": "BTCUSDT", "quantity": "0.01", "recvWindow": 3000, "timestamp": 1_767_225_600_000}
    text, _, signature = make_signer(KEY, SECRET).query(params).rpartition("&signature=")
    assert text == "symbol=BTCUSDT&quantity=0.01&recvWindow=3000&timestamp=1767225600000"
    assert signature == hmac_sha256(SECRET.encode(), text.encode())


def test_parameters_are_encoded_before_they_are_signed() -> None:
    params = {"newClientOrderId": "a:b/c d+é", "n": 1}
    text, _, signature = make_signer(KEY, SECRET).query(params).rpartition("&signature=")
    assert text == "newClientOrderId=a%3Ab%2Fc%20d%2B%C3%A9&n=1"
    assert signature == hmac_sha256(SECRET.encode(), text.encode())
    assert unquote(encoded({"x": "a:b/c d+é"})) == "x=a:b/c d+é"


def test_requests_of_the_websocket_api_are_signed_in_the_order_of_their_names() -> None:
    made = make_signer(KEY, SECRET).request({"timestamp": 17, "recvWindow": 5000})
    assert made.pop("signature") == hmac_sha256(SECRET.encode(), f"apiKey={KEY}&recvWindow=5000&timestamp=17".encode())
    assert made == {"timestamp": 17, "recvWindow": 5000, "apiKey": KEY}


def test_an_ed25519_key_signs_what_its_public_key_verifies() -> None:
    private = ed25519.Ed25519PrivateKey.generate()
    for pem in (pem_of(private), pem_of(private).replace("\n", "\\n")):  # as in a file, as in the environment
        signer = make_signer(KEY, pem)
        text, _, signature = signer.query({"symbol": "BTCUSDT", "timestamp": 1}).rpartition("&signature=")
        private.public_key().verify(base64.b64decode(unquote(signature)), text.encode())
        assert parse_qs(f"signature={signature}")["signature"] == [unquote(signature)]
        made = signer.request({"timestamp": 17})
        private.public_key().verify(base64.b64decode(made["signature"]), f"apiKey={KEY}&timestamp=17".encode())


def test_the_first_vector_of_the_standard() -> None:
    seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    expected = (
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
        "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
    )
    signer = make_signer(KEY, pem_of(ed25519.Ed25519PrivateKey.from_private_bytes(seed)))
    assert base64.b64decode(signer._sign(b"")).hex() == expected


@pytest.mark.parametrize(
    "secret",
    [
        "-----BEGIN PRIVATE KEY-----\nsEcReTcAnArY\n-----END PRIVATE KEY-----",
        pem_of(ec.generate_private_key(ec.SECP256R1())),
    ],
)
def test_a_private_key_of_another_kind_is_refused_and_not_shown(secret: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make_signer(KEY, secret)
    shown = "".join(traceback.format_exception(caught.value)) + caught.value.hint
    assert secret.split("\n")[1] not in shown


@pytest.mark.parametrize("key", ["", "key with spaces", "key\r\nX-Other: 1", "schlüssel"])
def test_a_key_that_is_no_header_is_refused(key: str) -> None:
    with pytest.raises(ConfigError):
        make_signer(key, SECRET)


def test_a_signer_shows_nothing() -> None:
    signer = make_signer(KEY, SECRET)
    assert SECRET not in f"{signer} {signer!r} {signer!s:>10} {vars(type(signer))}"
    assert KEY not in repr(signer)
    with pytest.raises(TypeError):
        pickle.dumps(signer)
