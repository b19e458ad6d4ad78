"""What proves that an order was never placed: the policy as data, and pure functions over what was observed.

An answer is evidence; an error, and time that passes, are not. Times are monotonic seconds. It asks nothing
and knows no clock: the resolver asks, and says here what it heard.

    case began -> asked at 1, 2, 4, 8 s, then every 10 s -> a positive answer ends it at any time
                                                         -> PROOFS, all of them: NOT_PLACED
                                                         -> a person, after 15 minutes
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """When to ask, and how much proves something."""

    first_s: tuple[float, ...] = (1, 2, 4, 8)
    then_every_s: float = 10
    age_s: float = 45
    negatives: int = 3
    apart_s: float = 10
    alert_s: float = 60
    person_s: float = 900


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What a look at the account gave: open orders and trades without the order, balances that add up."""

    orders_clean: bool
    trades_clean: bool
    balances_clean: bool


class Case(msgspec.Struct, kw_only=True):
    """An order whose state is asked for, and what was observed. ``existed``: the exchange had it once, so that a
    "no such order" proves nothing."""

    client_order_id: str
    began_s: float
    next_s: float
    existed: bool = False
    asked: int = 0
    errors: int = 0
    negatives: int = 0
    """Negative answers that count: the first, and each that came ``apart_s`` after the last that counted."""
    counted_s: float | None = None
    reading: Reading | None = None
    reading_s: float = 0.0
    """When the last look at the account began."""
    works: bool = False
    """The last answer was that the order works."""
    alerted: bool = False

    def age_s(self, now_s: float) -> float:
        """Return for how long the order has been in doubt."""
        return now_s - self.began_s


def begin(client_order_id: str, now_s: float, policy: Policy, *, existed: bool) -> Case:
    """Open a case. An order that existed is asked for at once, a fresh one is given a second to arrive."""
    first = now_s if existed else now_s + policy.first_s[0]
    return Case(client_order_id=client_order_id, began_s=now_s, next_s=first, existed=existed)


def asked(case: Case, now_s: float, policy: Policy) -> None:
    """Note that the question is sent now, and set when the next one is due."""
    case.asked += 1
    late = [case.began_s + at for at in policy.first_s if case.began_s + at > now_s]
    case.next_s = late[0] if late else now_s + policy.then_every_s


def heard_nothing(case: Case) -> None:
    """Note an error: it is counted, and proves nothing."""
    case.errors += 1


def heard_no(case: Case, now_s: float, policy: Policy) -> None:
    """Note that the exchange answered: no such order."""
    if case.counted_s is None or now_s - case.counted_s >= policy.apart_s:
        case.negatives += 1
        case.counted_s = now_s


def read(case: Case, reading: Reading, began_s: float) -> None:
    """Note a look at the account that began at ``began_s``."""
    case.reading, case.reading_s = reading, began_s


class Proof(msgspec.Struct, frozen=True):
    """One row of what must hold, and what to say while it does not."""

    name: str
    holds: Callable[[Case, float, Policy], bool]
    missing: str


def _looked(case: Case, policy: Policy) -> Reading | None:
    """Return the look at the account, where it began after the age was reached."""
    return case.reading if case.reading_s - case.began_s >= policy.age_s else None


PROOFS = (
    Proof("existence", lambda c, now, p: not c.existed, "the exchange had acknowledged it"),
    Proof("age", lambda c, now, p: c.age_s(now) >= p.age_s, "it is too young"),
    Proof("negatives", lambda c, now, p: c.negatives >= p.negatives, "too few negative answers"),
    Proof("orders", lambda c, now, p: (r := _looked(c, p)) is not None and r.orders_clean, "open orders"),
    Proof("trades", lambda c, now, p: (r := _looked(c, p)) is not None and r.trades_clean, "trades not all explained"),
    Proof("balances", lambda c, now, p: (r := _looked(c, p)) is not None and r.balances_clean, "balances that differ"),
)
"""All of them together prove that an order was never placed."""

_BY_LOOKING = {"orders", "trades", "balances"}


def missing(case: Case, now_s: float, policy: Policy) -> list[Proof]:
    """Return what is not proved; nothing: the order was never placed."""
    return [proof for proof in PROOFS if not proof.holds(case, now_s, policy)]


def look_is_due(case: Case, now_s: float, policy: Policy) -> bool:
    """Tell whether a look at the account is all that lacks."""
    lacking = {proof.name for proof in missing(case, now_s, policy)}
    return bool(lacking) and lacking <= _BY_LOOKING


def told(case: Case, now_s: float) -> str:
    """Return what was observed, in one line."""
    words = f"in doubt for {case.age_s(now_s):.0f} s, asked {case.asked} times, {case.negatives} negative answers"
    if case.errors:
        words += f", {case.errors} without an answer"
    if case.reading is not None:
        states = {True: "clean", False: "not clean"}
        words += f", open orders {states[case.reading.orders_clean]}, trades {states[case.reading.trades_clean]}"
        words += f", balances {states[case.reading.balances_clean]}"
    return words
