"""What goes wrong at the exchange, and when: data, dice, and decisions about one request, order or event. Pure.

Like :mod:`tests.fakes.binance.faults`, which is about the market's streams and public REST. Nothing here acts: the
:class:`Course` of a request is followed by :mod:`.venue`, an event's by :mod:`.user_stream`.
"""

from __future__ import annotations

import fnmatch
import random
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import msgspec

from tests.fakes.binance.exchange.calls import HTML, Answer, Call, Course, Lost, error
from tests.fakes.binance.exchange.orders import Order

KINDS = {
    # requests; effect: whether the exchange does what is asked, delay_ms: how much later it does, wait_ms: how
    # long the client waits for what it hears
    "silence": "no answer ever comes",
    "cut": "the connection is cut; effect False: before the request is read",
    "error": "status and code are answered; how: html, empty (default: JSON)",
    "broken": "the true answer's body is how: truncated, html, empty",
    "slow": "the effect and the answer come delay_ms late; how: answer lets only the answer wait",
    "limited": "429 and Retry-After: everything is refused until it is over",
    "banned": "418 and Retry-After, likewise",
    # what is told of the account
    "lag": "reads do not know the last delay_ms: orders, trades, balances",
    # orders
    "race": "an order fills (share of what is left) just before its cancel arrives",
    "partial": "one look at the market fills at most share of an order",
    "split": "a fill comes in count trades",
    # the user's events
    "event_missing": "events do not come",
    "event_duplicated": "events come count times more, delay_ms apart",
    "event_reordered": "events come after the count that follow them",
    "event_late": "events come delay_ms late",
    # the exchange itself
    "status": "a symbol's status is how: HALT, BREAK, CANCEL_ONLY",
    "filters": "a symbol's filters have other values",
    "skew": "the exchange's clock is delay_ms ahead (behind, where negative)",
    # the user's connections
    "stream_cut": "connections are cut; how: fin, rst, close",
    "stream_half_open": "connections neither send nor answer any more",
    "stream_end": "subscriptions end with eventStreamTerminated",
    "stream_refuse": "connecting or subscribing fails",
}
REQUEST_KINDS = ("limited", "banned", "cut", "silence", "error", "broken", "slow")
EVENT_KINDS = ("event_missing", "event_duplicated", "event_reordered", "event_late")
STREAM_KINDS = ("stream_cut", "stream_half_open", "stream_end")
_UNKNOWN = {
    -1000: (500, "An unknown error occurred while processing the request."),
    -1001: (500, "Internal error; unable to process your request. Please try again."),
    -1006: (500, "An unexpected response was received from the message bus. Execution status unknown."),
    -1007: (504, "Timeout waiting for response from backend server. Send status unknown; execution status unknown."),
    -1008: (503, "Server is currently overloaded with other requests. Please try again in a few minutes."),
    -1015: (429, "Too many new orders; current limit is 100 orders per 10 SECOND."),
    -1021: (400, "Timestamp for this request is outside of the recvWindow."),
    -2010: (400, "Account has insufficient balance for requested action."),
    -2011: (400, "Unknown order sent."),
    -2013: (400, "Order does not exist."),
    -2015: (401, "Invalid API-key, IP, or permissions for action."),
    -2026: (400, "Order was canceled or expired with no executed qty over 90 days ago and has been archived."),
}


class ExchangeFault(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One entry. ``at_ms`` after the exchange's start, for ``for_ms`` (None: to the end).

    ``method``, ``path``, ``symbol``, ``client`` (a client order id) and ``event`` are patterns; ``path`` matches the
    end. Of what fits, the first ``skip`` pass, then at most ``times`` are hit, each with ``chance``.
    """

    kind: str
    at_ms: int = 0
    for_ms: int | None = None
    method: str = "*"
    path: str = "*"
    symbol: str = "*"
    client: str = "*"
    event: str = "*"
    chance: float = 1.0
    skip: int = 0
    times: int | None = None
    effect: bool = True
    delay_ms: int = 0
    wait_ms: int = 0
    count: int = 1
    share: str = "1"
    status: int = 0
    code: int = 0
    message: str = ""
    how: str = ""
    retry_after_s: int = 30
    filters: dict[str, dict[str, Any]] = {}

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"no fault {self.kind!r}; there are {', '.join(KINDS)}")

    def concerns(self, call: Call) -> bool:
        return (
            _fits(call.method, self.method)
            and _fits(call.path, "*" + self.path)
            and _fits(call.symbol, self.symbol)
            and (self.client == "*" or any(_fits(each, self.client) for each in call.client_ids))
        )

    def answer(self) -> Answer:
        """Return what is answered instead of the truth."""
        status, message = _UNKNOWN.get(self.code, (503, "Unknown error, please check your request or try again later."))
        status, message = self.status or status, self.message or message
        if self.how in ("html", "empty"):
            return Answer(status, HTML if self.how == "html" else b"", {"content-type": "text/html"})
        if not self.code:
            return Answer(status, {"msg": message}, {})
        return error(self.code, message, status)


class _Count:
    """How much an entry has seen and hit; it keeps the entry, whose identity is its key."""

    def __init__(self, fault: ExchangeFault) -> None:
        self.fault = fault
        self.seen = 0
        self.hits = 0


class ExchangeFaults:
    """The entries, which of them hold, and what they decide. ``seed`` decides every chance."""

    def __init__(self, faults: Iterable[ExchangeFault] = (), seed: int = 0) -> None:
        self.seed = seed
        self.entries: list[tuple[ExchangeFault, int]] = []
        """(entry, the time its ``at_ms`` is counted from)"""
        self._planned = list(faults)
        self._counts: dict[int, _Count] = {}

    def begin(self, start_ms: int) -> None:
        """Count the planned entries' times from now; what was injected stays."""
        planned = {id(fault) for fault in self._planned}
        injected = [entry for entry in self.entries if id(entry[0]) not in planned]
        self.entries = [(fault, start_ms) for fault in self._planned] + injected

    def inject(self, fault: ExchangeFault, now_ms: int) -> ExchangeFault:
        self.entries.append((fault, now_ms))
        return fault

    def mend(self, fault: ExchangeFault) -> None:
        self.entries = [entry for entry in self.entries if entry[0] is not fault]

    def clear(self) -> None:
        """End everything that goes wrong."""
        self.entries = []

    def holding(self, now_ms: int, *kinds: str) -> list[ExchangeFault]:
        """Return the entries of these kinds that hold now."""
        return [
            fault
            for fault, start in self.entries
            if fault.kind in kinds
            and start + fault.at_ms <= now_ms
            and (fault.for_ms is None or now_ms < start + fault.at_ms + fault.for_ms)
        ]

    def hit(self, fault: ExchangeFault) -> bool:
        """Count one thing that an entry concerns, and tell whether it is hit."""
        count = self._counts.setdefault(id(fault), _Count(fault))
        count.seen += 1
        if count.seen <= fault.skip or (fault.times is not None and count.hits >= fault.times):
            return False
        if fault.chance < 1 and self.dice(fault, str(count.seen)) >= fault.chance:
            return False
        count.hits += 1
        return True

    def hits(self, fault: ExchangeFault) -> int:
        """Return how often an entry hit something."""
        return self._counts[id(fault)].hits if id(fault) in self._counts else 0

    def dice(self, fault: ExchangeFault, what: str) -> float:
        """Return a number in [0, 1) that belongs to this entry and thing."""
        text = f"{self.seed}/{fault.kind}/{fault.at_ms}/{fault.path}/{fault.symbol}/{fault.code}/{what}"
        return zlib.crc32(text.encode()) / 2**32

    # -- decisions -----------------------------------------------------------------------------------------------

    def course(self, call: Call, now_ms: int) -> Course:
        """Decide what becomes of a request: the first entry that hits it."""
        if not self.entries:
            return Course()
        for fault in self.holding(now_ms, *REQUEST_KINDS):
            if fault.concerns(call) and self.hit(fault):
                return _course(fault)
        return Course()

    def lag_ms(self, call: Call, now_ms: int) -> int:
        """Return how old a read is."""
        lags = [fault.delay_ms for fault in self.holding(now_ms, "lag") if fault.concerns(call) and self.hit(fault)]
        return max(lags, default=0)

    def race(self, order: Order, now_ms: int) -> Decimal | None:
        """Return the share of an order that fills before its cancel arrives."""
        for fault in self.holding(now_ms, "race"):
            if _of_order(fault, order) and self.hit(fault):
                return Decimal(fault.share)
        return None

    def share(self, order: Order, now_ms: int) -> Decimal | None:
        shares = [Decimal(fault.share) for fault in self.holding(now_ms, "partial") if _of_order(fault, order)]
        return min(shares, default=None)

    def pieces(self, order: Order, now_ms: int) -> int:
        return max((fault.count for fault in self.holding(now_ms, "split") if _of_order(fault, order)), default=1)

    def events(self, event: dict[str, Any], now_ms: int) -> list[ExchangeFault]:
        """Return what happens to one of the user's events."""
        if not self.entries:
            return []
        return [
            fault
            for fault in self.holding(now_ms, *EVENT_KINDS)
            if _fits(event["e"], fault.event)
            and (fault.symbol == "*" or _fits(event.get("s", ""), fault.symbol))
            and (fault.client == "*" or any(_fits(event.get(key, "") or "", fault.client) for key in ("c", "C")))
            and self.hit(fault)
        ]

    def skew_ms(self, now_ms: int) -> int:
        return sum(fault.delay_ms for fault in self.holding(now_ms, "skew"))

    def symbol_faults(self, symbol: str, now_ms: int) -> list[ExchangeFault]:
        return [fault for fault in self.holding(now_ms, "status", "filters") if _fits(symbol, fault.symbol)]


def _course(fault: ExchangeFault) -> Course:
    unchecked = fault.how == "unchecked"
    late = Course(fault.effect, fault.delay_ms, fault.wait_ms, unchecked=unchecked)
    if fault.kind in ("silence", "cut"):
        return replace(late, lost=Lost(cut=fault.kind == "cut"))
    if fault.kind == "error":
        return replace(late, instead=fault.answer())
    if fault.kind == "broken":
        return Course(answer_after_ms=fault.wait_ms, broken=fault.how or "truncated")
    if fault.kind == "slow" and fault.how == "answer":
        return Course(answer_after_ms=fault.delay_ms)
    if fault.kind == "slow":
        return late
    status = 418 if fault.kind == "banned" else 429
    return Course(effect=False, instead=Answer(status, None, {"retry-after": str(fault.retry_after_s)}))


NAMED: dict[str, dict[str, Any]] = {
    "accept_then_timeout": {"kind": "silence"},
    "timeout_then_accept": {"kind": "silence", "delay_ms": 2000},
    "lost_request": {"kind": "silence", "effect": False},
    "cut_before": {"kind": "cut", "effect": False},
    "cut_after": {"kind": "cut"},
    "5xx_with_effect": {"kind": "error", "status": 502, "how": "html"},
    "5xx_without_effect": {"kind": "error", "status": 502, "how": "html", "effect": False},
    "503_unknown_with_effect": {"kind": "error", "status": 503},
    "503_unknown_without_effect": {"kind": "error", "status": 503, "effect": False},
    "-1006_with_effect": {"kind": "error", "code": -1006},
    "-1006_without_effect": {"kind": "error", "code": -1006, "effect": False},
    "-1007_with_effect": {"kind": "error", "code": -1007},
    "-1007_late_effect": {"kind": "error", "code": -1007, "delay_ms": 1500},
    "-1007_without_effect": {"kind": "error", "code": -1007, "effect": False},
    "-1007_after_ten_seconds": {"kind": "error", "code": -1007, "wait_ms": 10_000},
    "-1008": {"kind": "error", "code": -1008, "effect": False},
    "-1015": {"kind": "error", "code": -1015, "effect": False},
    "-1021": {"kind": "error", "code": -1021, "effect": False},
    "-2010": {"kind": "error", "code": -2010, "effect": False},
    "-2011": {"kind": "error", "code": -2011, "effect": False, "method": "DELETE"},
    "-2013": {"kind": "error", "code": -2013, "effect": False, "method": "GET", "path": "/api/v3/order"},
    "403": {"kind": "error", "status": 403, "how": "html", "effect": False},
    "429": {"kind": "limited", "retry_after_s": 10},
    "418": {"kind": "banned", "retry_after_s": 120},
    "200_truncated": {"kind": "broken", "how": "truncated"},
    "200_html": {"kind": "broken", "how": "html"},
    "200_empty": {"kind": "broken", "how": "empty"},
    "slow": {"kind": "slow", "delay_ms": 800},
    "slow_answer": {"kind": "slow", "delay_ms": 3000, "how": "answer"},
    "just_placed_unknown": {"kind": "lag", "path": "/api/v3/order", "delay_ms": 4000},
    "trades_lag": {"kind": "lag", "path": "/api/v3/myTrades", "delay_ms": 4000},
    "balance_lag": {"kind": "lag", "path": "/api/v3/account", "delay_ms": 4000},
    "open_orders_lag": {"kind": "lag", "path": "/api/v3/openOrders", "delay_ms": 4000},
    "cancel_fill_race": {"kind": "race"},
    "cancel_partial_race": {"kind": "race", "share": "0.5"},
    "partial_fills": {"kind": "partial", "share": "0.3"},
    "split_fills": {"kind": "split", "count": 3},
    "events_dropped": {"kind": "event_missing"},
    "events_twice": {"kind": "event_duplicated", "delay_ms": 300},
    "events_reordered": {"kind": "event_reordered", "count": 2},
    "events_late": {"kind": "event_late", "delay_ms": 5000},
    "halt": {"kind": "status", "how": "HALT"},
    "cancel_only": {"kind": "status", "how": "CANCEL_ONLY"},
    "clock_ahead": {"kind": "skew", "delay_ms": 2500},
    "clock_behind": {"kind": "skew", "delay_ms": -2500},
    "stream_cut": {"kind": "stream_cut"},
    "stream_half_open": {"kind": "stream_half_open"},
    "stream_end": {"kind": "stream_end"},
}
"""Faults of the field by their names: values over the defaults, themselves open to be overridden."""


def named(name: str, **changes: Any) -> ExchangeFault:
    """Return a fault by its name, with other values where they are given."""
    return ExchangeFault(**{**NAMED[name], **changes})


def seeded(
    seed: int, span_ms: int, count: int = 20, names: Sequence[str] | None = None, symbols: Sequence[str] = ("*",)
) -> ExchangeFaults:
    """Draw a plan of so many entries within a span: the same for the same arguments."""
    dice = random.Random(seed)
    faults = []
    for _ in range(count):
        name = dice.choice(list(names or NAMED))
        changes: dict[str, Any] = {
            "at_ms": dice.randrange(span_ms),
            "for_ms": dice.randrange(1000, max(1001, span_ms // 6)),
            "symbol": dice.choice(list(symbols)),
            "chance": dice.choice((0.1, 0.3, 1.0)),
        }
        kind = NAMED[name]["kind"]
        if kind in ("limited", "banned", "error", "silence", "cut", "broken"):
            changes["times"] = dice.randrange(1, 6)
        if kind not in ("status", "filters", "race", "partial", "split") and not kind.startswith("event"):
            changes["symbol"] = "*"
        faults.append(named(name, **changes))
    return ExchangeFaults(sorted(faults, key=lambda fault: fault.at_ms), seed)


def of_json(data: bytes, seed: int = 0) -> ExchangeFaults:
    """Read a JSON array of entries."""
    return ExchangeFaults(msgspec.json.decode(data, type=list[ExchangeFault]), seed)


def _fits(value: str, pattern: str) -> bool:
    return pattern in ("*", "**") or fnmatch.fnmatchcase(value, pattern)


def _of_order(fault: ExchangeFault, order: Order) -> bool:
    return _fits(order.symbol, fault.symbol) and _fits(order.client_id, fault.client)
