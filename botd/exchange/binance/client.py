"""Requests to Binance, signed or not, each with a permit of the governor; :mod:`.transport` carries them.

An answer is handed out raw: status, code and message of a refusal, headers, body. What did not come back is a
:class:`NoAnswerError` that says whether anything can have arrived. It judges nothing, and says
nothing of a request's url, headers or body to anybody: they carry the key and the signature. It sends nothing again.

    UnavailableError
    ├── NoAnswerError    no whole answer; ``sent`` False: no byte left, so nothing can have happened
    └── RestError        an answer, but not the one that was asked for (:func:`decoded`)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from botd.domain.clock import Clock
from botd.domain.errors import NotFoundError, UnavailableError
from botd.exchange.binance.error_share import ErrorShare
from botd.exchange.binance.server_time import ServerTime
from botd.exchange.binance.signing import KEY_HEADER, Signer, encoded
from botd.exchange.binance.transport import AGAIN, NoAnswerError, Transport
from botd.exchange.governor import Governor, Lane

__all__ = ["Answer", "BinanceClient", "NoAnswerError", "RestError", "decoded"]

RECV_WINDOW_MS = 5_000
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}

Kind = TypeVar("Kind")


class RestError(UnavailableError):
    """REST did not give what was asked for. ``status`` and ``code`` are the exchange's, 0 where there is none."""

    def __init__(self, message: str, status: int = 0, code: int = 0) -> None:
        super().__init__(message, AGAIN)
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
    """See the module. ``url`` without a path."""

    def __init__(self, url: str, *, clock: Clock, governor: Governor, time: ServerTime, transport: Transport) -> None:
        self.governor = governor
        self._url = url.rstrip("/")
        self._time = time
        self._transport = transport
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
        await self._transport.close()

    async def _send(self, method: str, path: str, text: str, headers: dict[str, str], asked_ms: int) -> Answer:
        body = None
        url = self._url + path
        if method == "POST":
            body, headers = text.encode(), headers | _FORM
        elif text:
            url = f"{url}?{text}"
        status, told, content = await self._transport.carry(method, url, headers, body)
        code, message = (0, "") if status == 200 else _fault(content)
        return Answer(status, content, told, asked_ms, code, message)


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
