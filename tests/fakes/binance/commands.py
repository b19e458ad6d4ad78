"""The requests a client sends over a stream connection, and the answers to them, good and bad."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Protocol

METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")


class Subscriptions(Protocol):
    """The connection, as its requests see it."""

    combined: bool

    def add(self, streams: list[str]) -> None: ...

    def remove(self, streams: list[str]) -> None: ...

    def listed(self) -> list[str]: ...


class RefusedError(Exception):
    """A request that is wrong: (code, message)."""


def answer(connection: Subscriptions, text: str) -> bytes:
    """Do what the request asks and return the answer; what is wrong with it is an answer too."""
    try:
        request = _parsed(text)
    except RefusedError as error:
        return _error(error, None)
    number = request.get("id")
    try:
        if number is not None and (isinstance(number, bool) or not isinstance(number, int | str)):
            raise RefusedError(2, "Invalid request: request ID must be an integer, a string or null")
        result = _METHODS[_method(request)](connection, request)
    except RefusedError as error:
        return _error(error, number)
    return json.dumps({"result": result, "id": number}, separators=(",", ":")).encode()


def _parsed(text: str) -> dict[str, Any]:
    try:
        request = json.loads(text)
    except ValueError as error:
        place = f"line {error.lineno} column {error.colno}" if isinstance(error, json.JSONDecodeError) else "line 1"
        raise RefusedError(3, f"Invalid JSON: expected value at {place}") from None
    if not isinstance(request, dict):
        raise RefusedError(2, "Invalid request: expected an object")
    return request


def _method(request: dict[str, Any]) -> str:
    method = request.get("method")
    if method is None:
        raise RefusedError(2, "Invalid request: missing field `method` at line 1 column 1")
    if method not in METHODS:
        known = ", ".join(f"`{name}`" for name in METHODS)
        raise RefusedError(2, f"Invalid request: unknown variant `{method}`, expected one of {known}")
    return str(method)


def _streams(request: dict[str, Any]) -> list[str]:
    streams = request.get("params")
    if not isinstance(streams, list) or not all(isinstance(stream, str) for stream in streams):
        raise RefusedError(2, "Invalid request: params must be an array of stream names")
    return list(dict.fromkeys(streams))


def _subscribe(connection: Subscriptions, request: dict[str, Any]) -> None:
    connection.add(_streams(request))


def _unsubscribe(connection: Subscriptions, request: dict[str, Any]) -> None:
    connection.remove(_streams(request))


def _list(connection: Subscriptions, request: dict[str, Any]) -> list[str]:
    return connection.listed()


def _set_property(connection: Subscriptions, request: dict[str, Any]) -> None:
    match request.get("params"):
        case ["combined", bool(value)]:
            connection.combined = value
        case ["combined", _]:
            raise RefusedError(1, "Invalid value type: expected Boolean")
        case _:
            raise RefusedError(0, "Unknown property")


def _get_property(connection: Subscriptions, request: dict[str, Any]) -> bool:
    if request.get("params") != ["combined"]:
        raise RefusedError(0, "Unknown property")
    return connection.combined


_METHODS: dict[str, Callable[[Subscriptions, dict[str, Any]], Any]] = {
    "SUBSCRIBE": _subscribe,
    "UNSUBSCRIBE": _unsubscribe,
    "LIST_SUBSCRIPTIONS": _list,
    "SET_PROPERTY": _set_property,
    "GET_PROPERTY": _get_property,
}


def _error(error: RefusedError, number: Any) -> bytes:
    code, message = error.args
    return json.dumps({"error": {"code": code, "msg": message}, "id": number}, separators=(",", ":")).encode()
