"""The exchange's door without a wire: a raw request in, weighed and its signature checked; a raw outcome out. Pure.

    door = Door(venue)
    door.knock("POST", "/api/v3/order?symbol=...&signature=...", {"X-MBX-APIKEY": key}, b"", done)

For a simulation whose client under test makes real requests; over HTTP :mod:`.rest_desk` does the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from urllib.parse import parse_qsl

from tests.fakes.binance.clock import WallTimers
from tests.fakes.binance.exchange import requests, signatures
from tests.fakes.binance.exchange.api import ENDPOINTS, PUBLIC
from tests.fakes.binance.exchange.calls import Answer, Call, Lost, Outcome
from tests.fakes.binance.exchange.orders import Refused
from tests.fakes.binance.exchange.venue import Venue
from tests.fakes.binance.limits import Limits
from tests.fakes.binance.rules import Rules

_ADDRESS = "here"


def parameters_of(query: str, body: str) -> dict[str, str]:
    """Return the parameters of both, each at most once."""
    pairs = parse_qsl(query, keep_blank_values=True) + parse_qsl(body, keep_blank_values=True)
    parameters = dict(pairs)
    if len(parameters) < len(pairs):
        raise Refused(-1101, "Duplicate values for a parameter detected.")
    return parameters


def read(venue: Venue, method: str, path: str, query: str, body: str, key: str) -> Call:
    """Return what is asked, its key, signature and time checked. ``query`` and ``body`` as they were sent."""
    call = Call(method, path, parameters_of(query, body), key)
    if ENDPOINTS[method, path].security != PUBLIC:
        known = signatures.key_of(venue.keys, key)
        requests.mandatory(call.parameters, "timestamp")
        signatures.check_rest(known, query, body)
        venue.admit(call)
    return call


def refusal(refused: Refused) -> Answer:
    return Answer(refused.status, {"code": refused.code, "msg": refused.message})


def is_ban(outcome: Outcome) -> bool:
    """Tell whether an answer is the kind of 429 or 418 that is about the address."""
    return (
        isinstance(outcome, Answer)
        and outcome.status in (418, 429)
        and isinstance(outcome.body, dict)
        and outcome.body.get("code") == -1003
        and "retry-after" in outcome.headers
    )


class Door:
    """One address's way to a venue. ``rules``: the weight of a minute and the like."""

    def __init__(self, venue: Venue, rules: Rules | None = None) -> None:
        self._venue = venue
        self.limits = Limits(rules or Rules(), _Clock(venue.now), WallTimers())  # type: ignore[arg-type]
        self.told_to_wait: list[tuple[int, str]] = []
        """(time, path) of each request made although a Retry-After was not over."""

    def knock(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes, done: Callable[[Outcome], None]
    ) -> None:
        """Take a request and tell its outcome, now or when the venue's timetable says so."""
        path, _, query = target.partition("?")
        text = body.decode("utf-8", "replace")
        endpoint = ENDPOINTS.get((method, path))
        weight = endpoint.cost(dict(parse_qsl(query) + parse_qsl(text))) if endpoint else 1
        verdict = self.limits.take(_ADDRESS, weight)
        if verdict.told:
            self.told_to_wait.append((self._venue.now(), path))

        def answered(outcome: Outcome) -> None:
            if isinstance(outcome, Lost):
                done(outcome)
                return
            if is_ban(outcome):
                self.limits.sentence(_ADDRESS, outcome.status, int(outcome.headers["retry-after"]))
            elif endpoint is not None and endpoint.free and outcome.status == 200:
                self.limits.give_back(_ADDRESS, weight)
            used = str(self.limits.used(_ADDRESS))
            given = {"content-type": "application/json;charset=UTF-8", **outcome.headers}
            done(Answer(outcome.status, outcome.encoded(), given | {"x-mbx-used-weight-1m": used}))

        if verdict.status != 200:
            left_s = -(-max(0, verdict.until_ms - self._venue.now()) // 1000)
            message = f"Way too much request weight used; IP banned until {verdict.until_ms}."
            banned = Answer(verdict.status, {"code": -1003, "msg": message}, {"retry-after": str(left_s)})
            used = {"x-mbx-used-weight-1m": str(verdict.used)}
            done(Answer(banned.status, banned.encoded(), {**banned.headers, **used}))
            return
        if endpoint is None:
            answered(self._venue.api.answer(Call(method, path, {})))
            return
        key = next((value for name, value in headers.items() if name.lower() == "x-mbx-apikey"), "")
        try:
            call = read(self._venue, method, path, query, text, key)
        except Refused as refused:
            answered(refusal(refused))
        else:
            self._venue.call(call, answered)


class _Clock:
    def __init__(self, now: Callable[[], int]) -> None:
        self.now_ms = now
