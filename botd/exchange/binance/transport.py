"""Carries requests to Binance over HTTP: one kept-alive session, whole answers.

What did not come back is a :class:`NoAnswerError` that says whether anything can have arrived. It reads nothing of
what it carries, and says nothing of it to anybody. It sends nothing again; aiohttp alone does so with a GET or
DELETE, where the other side had closed the kept-alive connection.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Protocol
from urllib.parse import urlsplit

import aiohttp
import yarl
from aiohttp.abc import AbstractResolver

from botd.domain.errors import UnavailableError

TIMEOUT_S = 15.0
"""The exchange's engine answers within 10 s, or says that it does not know."""
CONNECT_S = 5.0
AGAIN = "it is tried again by itself"
_ANSWER_BYTES = 64 * 1024 * 1024
_CONNECTIONS = 32
_KEEPALIVE_S = 25.0
"""Shorter than the server's patience: an order must not meet a connection that the other side has just closed."""
_NOT_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL)
"""Raised while a connection is made, before anything is written to it."""

Carried = tuple[int, Mapping[str, str], bytes]
"""Status, headers and body of an answer."""


class NoAnswerError(UnavailableError):
    """No whole answer came; ``sent`` False: no byte left, so nothing can have happened."""

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message, AGAIN)
        self.sent = sent


class Transport(Protocol):
    """The seam between the client and the network."""

    async def carry(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Carried:
        """Send a request once and return the whole answer; NoAnswerError where none came."""
        ...

    async def close(self) -> None:
        """Let go of the connections."""
        ...


class HttpTransport:
    """See the module. ``ssl_context`` and ``resolver`` for tests on loopback."""

    def __init__(
        self,
        *,
        ssl_context: ssl.SSLContext | None = None,
        resolver: AbstractResolver | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._ssl_context = ssl_context
        self._resolver = resolver
        self._timeout = aiohttp.ClientTimeout(total=timeout_s, connect=min(CONNECT_S, timeout_s))
        self._timeout_s = timeout_s
        self._session: aiohttp.ClientSession | None = None

    async def carry(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Carried:
        """Send a request once and return the whole answer; NoAnswerError where none came."""
        try:
            async with self._open().request(
                method, yarl.URL(url, encoded=True), data=body, headers=headers, allow_redirects=False
            ) as response:
                content = await response.content.read(_ANSWER_BYTES)
                while not response.content.at_eof() and len(content) < _ANSWER_BYTES:
                    content += await response.content.read(_ANSWER_BYTES)
                return response.status, response.headers, content
        except _NOT_SENT as error:
            raise NoAnswerError(
                f"{_path(url)}: no connection to {urlsplit(url).netloc}: {_said(error)}", sent=False
            ) from None
        except TimeoutError:
            raise NoAnswerError(f"{_path(url)}: no answer within {self._timeout_s:g} s", sent=True) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise NoAnswerError(f"{_path(url)}: {_said(error)}", sent=True) from None

    async def close(self) -> None:
        """Let go of the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                limit=_CONNECTIONS,
                ssl=self._ssl_context or True,
                resolver=self._resolver,
                keepalive_timeout=_KEEPALIVE_S,
            )
            self._session = aiohttp.ClientSession(
                connector=connector, timeout=self._timeout, cookie_jar=aiohttp.DummyCookieJar()
            )
        return self._session


def _said(error: BaseException) -> str:
    """Return what went wrong without the error's own words, which may hold the url."""
    reason = error.os_error.strerror if isinstance(error, aiohttp.ClientConnectorError) else ""
    return f"{type(error).__name__} {reason or ''}".strip()


def _path(url: str) -> str:
    """Return what may be said of a url: its parameters carry the signature."""
    return urlsplit(url).path
