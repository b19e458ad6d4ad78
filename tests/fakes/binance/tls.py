"""Production urls on loopback: a certificate authority for one test run, and a resolver that knows only loopback.

A client keeps ``https://api.binance.com`` and ``wss://stream.binance.com:9443`` as they are; the resolver answers
127.0.0.1 and the front's port for the exchange's names, and refuses every other name, so nothing leaves the machine.
"""

from __future__ import annotations

import datetime
import socket
import ssl
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from aiohttp import ClientSession, TCPConnector
from aiohttp.abc import AbstractResolver, ResolveResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

HOSTS = (
    "api.binance.com", "api1.binance.com", "api2.binance.com", "api3.binance.com", "api4.binance.com",
    "api-gcp.binance.com", "data-api.binance.vision", "stream.binance.com", "data-stream.binance.vision",
    "ws-api.binance.com", "testnet.binance.vision", "stream.testnet.binance.vision", "ws-api.testnet.binance.vision",
)  # fmt: skip


class ThrowAwayCA:
    """An authority made at run time, and one certificate of it for the exchange's names. Keys live in ``directory``."""

    def __init__(self, directory: Path | None = None, hosts: Sequence[str] = HOSTS) -> None:
        self.directory = directory or Path(tempfile.mkdtemp(prefix="front-ca-"))
        self.ca_file = self.directory / "ca.pem"
        self._chain_file = self.directory / "server.pem"
        authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Throw-away CA of a test")])
        authority = (
            _builder(name, name, authority_key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key()), critical=False)
            .add_extension(_key_usage(sign=True), critical=True)
            .sign(authority_key, hashes.SHA256())
        )
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0])])
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
        certificate = (
            _builder(subject, name, key.public_key())
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(issuer, critical=False)
            .sign(authority_key, hashes.SHA256())
        )
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        pem = serialization.Encoding.PEM
        self.ca_file.write_bytes(authority.public_bytes(pem))
        self._chain_file.touch(mode=0o600)
        self._chain_file.write_bytes(private + certificate.public_bytes(pem))

    def server_context(self) -> ssl.SSLContext:
        """Return what the front's ``tls`` takes."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._chain_file)
        return context

    def client_context(self) -> ssl.SSLContext:
        """Return a context that trusts this authority and no other."""
        return ssl.create_default_context(cafile=str(self.ca_file))


class LoopbackResolver(AbstractResolver):
    """Answers 127.0.0.1 with the front's port for the exchange's names, whatever port was asked for.

    ``ports``: names that have a front of their own.
    """

    def __init__(self, port: int, ports: Mapping[str, int] | None = None, hosts: Sequence[str] = HOSTS) -> None:
        self._ports = dict.fromkeys(hosts, port) | dict(ports or {})
        self.asked: list[str] = []

    def address(self, host: str) -> tuple[str, int]:
        """Return where a name is to be found; OSError for any other name. For clients that connect themselves."""
        self.asked.append(host)
        if host not in self._ports:
            raise OSError(socket.EAI_NONAME, f"{host} is not on this machine")
        return "127.0.0.1", self._ports[host]

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found, place = self.address(host)
        return [
            ResolveResult(
                hostname=host, host=found, port=place, family=socket.AF_INET, proto=0, flags=socket.AI_NUMERICHOST
            )
        ]

    async def close(self) -> None:
        """Nothing is open."""


def loopback_session(resolver: LoopbackResolver, context: ssl.SSLContext) -> ClientSession:
    """Return an aiohttp session for a client that takes one, e.g. ccxt's ``session``."""
    return ClientSession(connector=TCPConnector(resolver=resolver, ssl=context, use_dns_cache=False))


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=2))
    )


def _key_usage(*, sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=sign, crl_sign=sign, encipher_only=False, decipher_only=False,
    )  # fmt: skip
