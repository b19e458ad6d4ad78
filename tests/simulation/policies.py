"""What becomes of a submit whose outcome is not known: botd's rule beside three others, on the same tapes of faults.

    python -m tests.simulation.policies [--submits 10000] [--seed 0]

A tape is one order at market whose answer says nothing (a timeout before or after the effect, a cut, 5xx, -1006,
-1007, a broken body), and what the exchange is like in the minutes after it: reads that lag, questions that fail,
events of the account that come or do not. Each rule wants the position once: what it takes for never placed it
orders anew, by then without a fault. The exchange's own books then say what it has: an *orphan* is an order there that
the rule does not follow, a *duplicate* an intent with more than one order.

The rule of botd is its own code (:mod:`botd.execution.evidence`, the table of
:mod:`botd.exchange.binance.outcomes`); the others are models of a few lines. The mix of tapes is made, not measured:
figures compare rules, they do not forecast accidents.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import msgspec

from botd.exchange.binance.outcomes import Operation, Outcome, classify
from botd.execution import evidence
from botd.execution.evidence import Policy, Reading
from tests.fakes.binance.exchange import DEFAULT_KEY
from tests.fakes.binance.exchange.calls import Answer, Call, Lost
from tests.fakes.binance.exchange.calls import Outcome as Heard
from tests.fakes.binance.exchange.fault_plan import ExchangeFault, named
from tests.fakes.binance.exchange.venue import Venue
from tests.fakes.binance.listings import symbol_row
from tests.simulation.trading.timeline import Timeline, VirtualLoop

SYMBOL, ORDER = "BTCUSDT", "/api/v3/order"
AMBIGUOUS = (
    "accept_then_timeout", "timeout_then_accept", "lost_request", "cut_before", "cut_after", "5xx_with_effect",
    "5xx_without_effect", "503_unknown_with_effect", "503_unknown_without_effect", "-1006_with_effect",
    "-1006_without_effect", "-1007_with_effect", "-1007_late_effect", "-1007_without_effect", "200_truncated",
    "200_html",
)  # fmt: skip
LAGS_S = (0, 0, 0, 4, 15, 40)
"""How far the exchange's reads are behind in the first minutes after the submit."""
FAILS_S = (0, 0, 0, 5, 30, 90)
"""For how long questions fail after it."""
HEARS = 0.5
"""The share of tapes in which the account's events come."""
OURS_TIMEOUT_S, THEIRS_TIMEOUT_S = 15.0, 10.0
END_S = 400.0
_ROW = symbol_row(SYMBOL)


class Tape(msgspec.Struct, frozen=True):
    """What goes wrong around one submit."""

    seed: int
    submit: str
    lag_s: int
    fails_s: int
    hears: bool

    @classmethod
    def draw(cls, seed: int) -> Tape:
        dice = random.Random(f"tape {seed}")
        return cls(seed, dice.choice(AMBIGUOUS), dice.choice(LAGS_S), dice.choice(FAILS_S), dice.random() < HEARS)

    def faults(self) -> list[ExchangeFault]:
        found = [named(self.submit, method="POST", path=ORDER, times=1)]
        if self.fails_s:
            found.append(
                ExchangeFault(kind="error", method="GET", for_ms=self.fails_s * 1000, status=503, effect=False)
            )
        if self.lag_s:
            found.append(ExchangeFault(kind="lag", method="GET", for_ms=180_000, delay_ms=self.lag_s * 1000))
        return found


class Desk:
    """One rule's way to the exchange, in one tape."""

    def __init__(self, tape: Tape, timeout_s: float) -> None:
        self.timeline = Timeline()
        self.loop = VirtualLoop(self.timeline)
        self.followed: set[str] = set()
        """Orders that the rule takes for placed."""
        self.told: set[str] = set()
        """Orders that an event has spoken of."""
        self.decided_s = 0.0
        self._timeout_s = timeout_s
        self._number = 0
        self.venue = Venue(
            {SYMBOL: _ROW}, now=self.timeline.now_ms, at=self.timeline.at, faults=tape.faults(), seed=tape.seed,
            balances={"USDT": Decimal(1_000_000), "BTC": Decimal(1)},
        )  # fmt: skip
        self.venue.set_price(SYMBOL, "60000", "60001")
        if tape.hears:
            self.venue.stream.subscribe(self)

    def event(self, event: dict[str, Any]) -> None:
        if event["e"] == "executionReport":
            self.told.add(event["c"])

    def cut(self, how: str) -> None: ...

    async def submit(self) -> tuple[str, Outcome]:
        """Send an order; return its id and what the answer proves."""
        self._number += 1
        key = f"order-{self._number}"
        parameters = {"symbol": SYMBOL, "side": "BUY", "type": "MARKET", "quantity": "0.01", "newClientOrderId": key}
        answer = await self._ask("POST", ORDER, parameters)
        if answer is None:
            return key, Outcome.UNKNOWN
        code, message, readable = _read(answer)
        outcome = classify(Operation.CREATE, answer.status, code, message, readable=readable)
        if outcome is Outcome.PLACED:
            self.followed.add(key)
        return key, outcome

    async def is_there(self, key: str) -> bool | None:
        """Ask for an order; None where nothing was answered that counts."""
        answer = await self._ask("GET", ORDER, {"symbol": SYMBOL, "origClientOrderId": key})
        if answer is None:
            return None
        if answer.status == 200:
            return True
        return False if _read(answer)[0] == -2013 else None

    async def look(self, key: str) -> Reading | None:
        """Look at orders, trades and balances for traces of an order."""
        asked = [
            await self._ask("GET", "/api/v3/openOrders", {"symbol": SYMBOL}),
            await self._ask("GET", "/api/v3/myTrades", {"symbol": SYMBOL}),
            await self._ask("GET", "/api/v3/account", {}),
        ]
        if any(answer is None or answer.status != 200 for answer in asked):
            return None
        orders, trades, account = (msgspec.json.decode(answer.encoded()) for answer in asked if answer is not None)
        usdt = next(Decimal(row["free"]) for row in account["balances"] if row["asset"] == "USDT")
        return Reading(
            orders_clean=all(order["clientOrderId"] != key for order in orders),
            trades_clean=not trades,
            balances_clean=usdt == 1_000_000,
        )

    async def _ask(self, method: str, path: str, parameters: dict[str, str]) -> Answer | None:
        waiting: asyncio.Future[Heard] = self.loop.create_future()
        stamped = {**parameters, "timestamp": str(self.timeline.now_ms()), "recvWindow": "5000"}
        call = Call(method, path, stamped, DEFAULT_KEY.key)

        def done(heard: Heard) -> None:
            if not waiting.done() and not (isinstance(heard, Lost) and not heard.cut):
                waiting.set_result(heard)

        self.timeline.after(0.02, lambda: self.venue.call(call, done))
        try:
            async with asyncio.timeout(self._timeout_s):
                heard = await waiting
        except TimeoutError:
            return None
        return heard if isinstance(heard, Answer) else None


def _read(answer: Answer) -> tuple[int, str, bool]:
    try:
        body = msgspec.json.decode(answer.encoded())
    except msgspec.DecodeError:
        return 0, "", False
    if answer.status == 200:
        return 0, "", isinstance(body, dict) and "clientOrderId" in body
    return (body.get("code", 0), body.get("msg", ""), True) if isinstance(body, dict) else (0, "", False)


# -- the rules: each gets an order in doubt, and returns whether it was placed


async def by_evidence(desk: Desk, key: str) -> bool:
    """botd: questions end the doubt, and the proofs of :mod:`botd.execution.evidence`; errors and time never do."""
    policy, clock = Policy(), desk.loop.time
    case = evidence.begin(key, clock(), policy, existed=False)
    while clock() < END_S:
        await asyncio.sleep(max(0.0, case.next_s - clock()))
        if key in desk.told:
            return True
        evidence.asked(case, clock(), policy)
        found = await desk.is_there(key)
        if found:
            return True
        if found is None:
            evidence.heard_nothing(case)
            continue
        evidence.heard_no(case, clock(), policy)
        if evidence.look_is_due(case, clock(), policy):
            began = clock()
            if (reading := await desk.look(key)) is not None:
                evidence.read(case, reading, began)
        if not evidence.missing(case, clock(), policy):
            return False
    return True  # still in doubt, still followed


async def by_failing(desk: Desk, key: str) -> bool:
    """No answer is a failure; who does so hears no events either."""
    return False


async def by_time(desk: Desk, key: str) -> bool:
    """Asked every 5 s; not found within 25 s is rejected."""
    for _ in range(5):
        await asyncio.sleep(5)
        if key in desk.told or await desk.is_there(key):
            return True
    return key in desk.told


async def by_four_failures(desk: Desk, key: str) -> bool:
    """Asked every 5 s; the fourth question without the order means that it is lost, an error counts too."""
    for _ in range(4):
        await asyncio.sleep(5)
        if key in desk.told or await desk.is_there(key):
            return True
    return key in desk.told


Rule = Callable[[Desk, str], Awaitable[bool]]
RULES: dict[str, tuple[Rule, float]] = {
    "evidence only (botd)": (by_evidence, OURS_TIMEOUT_S),
    "timeout means failure, sent again": (by_failing, THEIRS_TIMEOUT_S),
    "rejected after 25 s": (by_time, THEIRS_TIMEOUT_S),
    "four failed queries mean lost": (by_four_failures, THEIRS_TIMEOUT_S),
}


class Found(msgspec.Struct):
    """What became of one tape under one rule."""

    ambiguous: bool
    orphans: int
    missing: int
    """Orders that the rule follows and the exchange never had."""
    duplicate: bool
    decided_s: float


def play(tape: Tape, rule: Rule, timeout_s: float) -> Found:
    """Play a tape under a rule."""
    desk = Desk(tape, timeout_s)
    found = Found(False, 0, 0, False, 0.0)

    async def scene() -> None:
        for _ in range(4):
            key, outcome = await desk.submit()
            if outcome is Outcome.PLACED:
                break
            if outcome is not Outcome.UNKNOWN:
                continue
            found.ambiguous = True
            if await rule(desk, key):
                desk.followed.add(key)
                break
        found.decided_s = desk.loop.time()

    task = desk.loop.create_task(scene())
    desk.loop.play(END_S * 2)
    assert task.done()
    task.result()
    desk.loop.drop()
    there = {order.client_id for order in desk.venue.books.orders.values()}
    found.orphans, found.missing = len(there - desk.followed), len(desk.followed - there)
    found.duplicate = len(there) > 1
    return found


def compare(submits: int, seed: int) -> dict[str, Counter[str]]:
    """Play the same tapes under every rule."""
    totals = {name: Counter[str]() for name in RULES}
    for number in range(submits):
        tape = Tape.draw(seed * 1_000_000 + number)
        for name, (rule, timeout_s) in RULES.items():
            found, total = play(tape, rule, timeout_s), totals[name]
            total["ambiguous"] += found.ambiguous
            total["orphans"] += found.orphans
            total["missing"] += found.missing
            total["duplicates"] += found.duplicate
            total["decided_ms"] += round(found.decided_s * 1000)
    return totals


def main() -> int:
    """Print the comparison, by 10,000 ambiguous submits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--submits", type=int, default=10_000, metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    began = time.perf_counter()
    totals = compare(options.submits, options.seed)
    print(f"{options.submits:,} submits a rule, in {time.perf_counter() - began:.0f} s; by 10,000 ambiguous ones:")
    print(f"{'rule':36} {'orphans':>8} {'duplicates':>11} {'missing':>8} {'decided after':>14}")
    for name, total in totals.items():
        share = 10_000 / max(1, total["ambiguous"])
        mean_s = total["decided_ms"] / options.submits / 1000
        orphans, duplicates, missing = (round(total[key] * share) for key in ("orphans", "duplicates", "missing"))
        print(f"{name:36} {orphans:8,} {duplicates:11,} {missing:8,} {mean_s:11.1f} s")
    ours = next(iter(totals.values()))
    return 1 if ours["orphans"] or ours["duplicates"] else 0


if __name__ == "__main__":
    sys.exit(main())
