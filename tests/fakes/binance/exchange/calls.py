"""A request to the exchange and its answer as plain values, and what may become of one on its way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec


class Call(NamedTuple):
    """A request: what was asked, and with which key. Its signature has been checked, where it needs one."""

    method: str
    path: str
    parameters: Mapping[str, str]
    key: str = ""

    @property
    def symbol(self) -> str:
        return self.parameters.get("symbol", "")

    @property
    def client_ids(self) -> list[str]:
        return [value for name, value in self.parameters.items() if name.lower().endswith("clientorderid")]

    @property
    def changes(self) -> bool:
        """Tell whether it is one that changes something."""
        return self.method != "GET"


@dataclass(frozen=True)
class Answer:
    """``body``: what becomes JSON, or bytes as they are."""

    status: int
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)

    def encoded(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else msgspec.json.encode(self.body)


@dataclass(frozen=True)
class Lost:
    """No answer comes. ``cut``: the connection ends; else nothing happens on it."""

    cut: bool = False


Outcome = Answer | Lost


@dataclass(frozen=True)
class Course:
    """What becomes of a request: whether and when it has its effect, what is answered, and when.

    ``instead``: another answer than the true one; ``broken``: its body is ``truncated``, ``html`` or ``empty``.
    """

    effect: bool = True
    effect_after_ms: int = 0
    answer_after_ms: int = 0
    lost: Lost | None = None
    instead: Answer | None = None
    broken: str = ""
    unchecked: bool = False
    """The request's time is not looked at again before the engine."""

    @property
    def plain(self) -> bool:
        return self == _PLAIN


_PLAIN = Course()
HTML = b"<html><head><title>ERROR: The request could not be satisfied</title></head><body></body></html>"


def error(code: int, message: str, status: int, headers: Mapping[str, str] | None = None) -> Answer:
    return Answer(status, {"code": code, "msg": message}, headers or {})


def broken(answer: Answer, how: str) -> Answer:
    """Return an answer whose body did not arrive as it was sent."""
    if how == "truncated":
        whole = answer.encoded()
        return Answer(answer.status, whole[: len(whole) // 2], answer.headers)
    body = HTML if how == "html" else b""
    return Answer(answer.status, body, {**answer.headers, "content-type": "text/html"})
