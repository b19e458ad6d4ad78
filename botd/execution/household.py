"""The seams of reconciliation: whose account it is, when to look, and what is remembered of each look."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Protocol

import msgspec

from botd.execution.explain import Claim


class Household(Protocol):
    """The bots, as far as the account's books concern them."""

    def claims(self) -> Iterable[Claim]:
        """Return what each bot says is its own."""
        ...

    def on_difference(self, bots: Sequence[int], reason: str) -> None:
        """The account differs in an asset of these bots, and nothing explains it: no opens, until it agrees."""
        ...

    def on_agreement(self, bots: Sequence[int]) -> None:
        """The books of these bots match again."""
        ...

    def on_transfer(self, asset: str, amount: Decimal, time_ms: int) -> None:
        """A deposit or a withdrawal: neither a profit nor a loss."""
        ...


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """How often to look, in seconds."""

    orders_s: float = 30
    orders_without_stream_s: float = 5
    balances_s: float = 60
    again_s: float = 10
    """After a look that failed, or found a difference."""
    strikes: int = 3
    """So many looks in a row must find a difference before it counts."""
    at_first_s: float = 1
    """So soon at first, and then twice as long each time, until the account was read."""
    patience_s: float = 60
    """So long at first a difference does not count while an order of before the restart is unknown: it may be it."""


class Agenda:
    """When which look is due; monotonic seconds."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self._due = {"orders": 0.0, "balances": 0.0}
        self.stream_up = False
        self.at_first = True
        self._first_s = dict.fromkeys(self._due, schedule.at_first_s)

    def everything(self) -> None:
        """Look at everything now."""
        self._due = dict.fromkeys(self._due, 0.0)

    def is_due(self, what: str, now_s: float) -> bool:
        """Tell whether a look is due."""
        return now_s >= self._due[what]

    def looked(self, what: str, now_s: float) -> None:
        """A look begins now: the next one comes after its interval."""
        schedule = self._schedule
        orders_s = schedule.orders_s if self.stream_up else schedule.orders_without_stream_s
        usual_s = {"orders": orders_s, "balances": schedule.balances_s}[what]
        if self.at_first:  # twice as long each time: a doubt that lasts must not use up the budget of its answers
            soon_s = self._first_s[what]
            usual_s, self._first_s[what] = min(usual_s, soon_s), min(2 * soon_s, schedule.again_s)
        self._due[what] = now_s + usual_s

    def again(self, what: str, now_s: float) -> None:
        """Look again soon."""
        again_s = self._first_s[what] if self.at_first else self._schedule.again_s
        self._due[what] = min(self._due[what], now_s + again_s)
