"""The HTTP side of Binance: one kept-alive session, requests signed or not, each with a permit of the governor.

An answer is handed out raw: status, code and message of a refusal, headers, body. What did not come back is a
:class:`NoAnswerError` that says whether anything can have arrived. It judges nothing, and says
nothing of a request's url, headers or body to anybody: they carry the key and the signature. It sends nothing again;
aiohttp alone does so with a GET or DELETE, where the other side had closed the kept-alive connection.

    UnavailableError
    ├── NoAnswerError    no whole answer; ``sent`` False: no byte left, so nothing can have happened
    └── RestError        an answer, but not the one that was asked for (:func:`decoded`)
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any, TypeVar

import aiohttp
import msgspec
import yarl
from aiohttp.abc import AbstractResolver

from botd.domain.clock import Clock
from botd.domain.errors import NotFoundError, UnavailableError
from botd.exchange.binance.error_share import ErrorShare
from botd.exchange.binance.server_time import ServerTime
from botd.exchange.binance.signing import KEY_HEADER, Signer, encoded
from botd.exchange.governor import Governor, Lane

TIMEOUT_S = 15.0
"""The exchange's engine answers within 10 s, or says that it does not know."""
CONNECT_S = 5.0
RECV_WINDOW_MS = 5_000
_ANSWER_BYTES = 64 * 1024 * 1024
_CONNECTIONS = 32
_KEEPALIVE_S = 25.0
"""Shorter than the server's patience: an order must not meet a connection that the other side has just closed."""
_AGAIN = "it is tried again by itself"
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
_NOT_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL)
"""Raised while a connection is made, before anything is written to it."""

Kind = TypeVar("Kind")


class NoAnswerError(UnavailableError):
    """See the module."""

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message, _AGAIN)
        self.sent = sent


class RestError(UnavailableError):
    """REST did not give what was asked for. ``status`` and ``code`` are the exchange's, 0 where there is none."""

    def __init__(self, message: str, status: int = 0, code: int = 0) -> None:
        super().__init__(message, _AGAIN)
        self.status = status
        self.exchange_code = code


class Answer(msgspec.Struct, frozen=True):
    """What came back. ``code`` and ``message`` are those of a refusal's body, 0 and empty where it has none."""

    status: int
    body: bytes
    headers: Mapping[str, str]
    asked_ms: int
    """The exchange's time when the request was sent."""
    code: int = 0
    message: str = ""


class _Fault(msgspec.Struct):
    code: int
    msg: str = ""


_decode_fault = msgspec.json.Decoder(_Fault).decode


class BinanceClient:
    """See the module. ``url`` without a path; ``ssl_context`` and ``resolver`` for tests on loopback."""

    def __init__(
        self,
        url: str,
        *,
        clock: Clock,
        governor: Governor,
        time: ServerTime,
        ssl_context: ssl.SSLContext | None = None,
        resolver: AbstractResolver | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self.governor = governor
        self._url = url.rstrip("/")
        self._host = self._url.split("://", 1)[-1].split("/", 1)[0]
        self._clock = clock
        self._time = time
        self._ssl_context = ssl_context
        self._resolver = resolver
        self._timeout = aiohttp.ClientTimeout(total=timeout_s, connect=min(CONNECT_S, timeout_s))
        self._timeout_s = timeout_s
        self._session: aiohttp.ClientSession | None = None
        self.counts = {"requests": 0, "failures": 0}
        self.errors = ErrorShare(clock)

    async def call(
        self,
        method: str,
        path: str,
        params: Mapping[str, Any],
        *,
        weight: int,
        lane: Lane,
        signer: Signer | None = None,
        patience_s: float = 30.0,
        recv_window_ms: int = RECV_WINDOW_MS,
        orders: int = 0,
        free: bool = False,
        bot: int = 0,
    ) -> Answer:
        """Send one request, once, and return its answer, whatever it says.

        NoAnswerError where none came; BusyError and UnavailableError of the governor, where nothing was sent.
        """
        permit = self.governor.permit(weight, lane, patience_s=patience_s, orders=orders, free=free, bot=bot)
        async with permit:
            asked_ms = self._time.now_ms()
            if signer is None:
                text, headers = encoded(params), {}
            else:  # after the wait for the permit: the time stamp ages
                text = signer.query({**params, "recvWindow": recv_window_ms, "timestamp": asked_ms})
                headers = {KEY_HEADER: signer.api_key}
            self.counts["requests"] += 1
            try:
                answer = await self._send(method, path, text, headers, asked_ms)
            except NoAnswerError as error:
                self.counts["failures"] += 1
                self.errors.note(failed=True)
                if not error.sent:
                    permit.not_sent()
                raise
            permit.answered(answer.status, answer.headers, answer.code)
            self.counts["failures"] += answer.status != 200
            self.errors.note(failed=answer.status >= 500)
            return answer

    async def close(self) -> None:
        """Let go of the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _send(self, method: str, path: str, text: str, headers: dict[str, str], asked_ms: int) -> Answer:
        body = None
        url = self._url + path
        if method == "POST":
            body, headers = text.encode(), headers | _FORM
        elif text:
            url = f"{url}?{text}"
        try:
            async with self._open().request(
                method, yarl.URL(url, encoded=True), data=body, headers=headers, allow_redirects=False
            ) as response:
                content = await response.content.read(_ANSWER_BYTES)
                while not response.content.at_eof() and len(content) < _ANSWER_BYTES:
                    content += await response.content.read(_ANSWER_BYTES)
                status, told = response.status, response.headers
        except _NOT_SENT as error:
            raise NoAnswerError(f"{path}: no connection to {self._host}: {_said(error)}", sent=False) from None
        except TimeoutError:
            raise NoAnswerError(f"{path}: no answer within {self._timeout_s:g} s", sent=True) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise NoAnswerError(f"{path}: {_said(error)}", sent=True) from None
        code, message = (0, "") if status == 200 else _fault(content)
        return Answer(status, content, told, asked_ms, code, message)

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


def decoded(endpoint: str, answer: Answer, kind: type[Kind], symbol: str = "") -> Kind:
    """Return an answer as ``kind``; RestError where it is something else, NotFoundError for an unknown symbol."""
    if answer.status != 200:
        if answer.code == -1121:
            raise NotFoundError(f"{symbol}: the exchange has no such symbol")
        said = f", {answer.code} {answer.message}" if answer.code else ""
        raise RestError(f"{endpoint}: HTTP {answer.status}{said}"[:300], answer.status, answer.code)
    try:
        return msgspec.json.decode(answer.body, type=kind, strict=False)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise RestError(f"{endpoint}: an answer that is none: {error}", answer.status) from None


def _fault(body: bytes) -> tuple[int, str]:
    try:
        fault = _decode_fault(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return 0, ""
    return fault.code, fault.msg


def _said(error: BaseException) -> str:
    """Return what went wrong without the error's own words, which may hold the url."""
    reason = error.os_error.strerror if isinstance(error, aiohttp.ClientConnectorError) else ""
    return f"{type(error).__name__} {reason or ''}".strip()
