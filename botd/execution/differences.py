"""Differences between the account and the books that last: which bots they concern, and since when they are gone.

It judges nothing but duration; it never changes a book.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal

from botd.domain.instrument import split_symbol
from botd.domain.order import Order, Side
from botd.execution.household import Household

logger = logging.getLogger("botd.execution")


class Differences:
    """By asset, how many looks in a row found one; by bot, why it may not open."""

    def __init__(self, household: Household, most: int, tell: Callable[[dict[str, str]], None]) -> None:
        """``most`` looks in a row must find a difference before it counts; ``tell`` writes it down."""
        self.degraded: dict[int, str] = {}
        self._household = household
        self._most = most
        self._tell = tell
        self._looks: dict[str, int] = {}
        self._same: dict[tuple[str, Decimal], int] = {}
        """The same, of those in a row that found the same amount."""
        self._told: frozenset[str] = frozenset()

    def note(self, differences: Mapping[str, Decimal]) -> dict[str, Decimal]:
        """Take what a look found; return the differences that were found often enough."""
        self._looks = {asset: self._looks.get(asset, 0) + 1 for asset in differences}
        self._same = {found: self._same.get(found, 0) + 1 for found in differences.items()}
        return {asset: differences[asset] for asset, looks in self._looks.items() if looks >= self._most}

    def are_steady(self, lasting: Mapping[str, Decimal]) -> bool:
        """Tell whether the last look found the same amounts as this one: balances that lag behind our fills differ by
        another one each time."""
        return all(self._same.get(found, 0) > 1 for found in lasting.items())

    def explained(self) -> None:
        """They came from outside."""
        self._looks.clear()
        self._same.clear()

    def differ(self, lasting: Mapping[str, Decimal]) -> None:
        """Degrade the bots whose assets these are."""
        reason = "unexplained: " + ", ".join(f"{amount:+f} {asset}" for asset, amount in lasting.items())
        bots = [c.bot for c in self._household.claims() if lasting.keys() & set(split_symbol(c.symbol))]
        if self._told != lasting.keys():
            self._told = frozenset(lasting)
            self._tell({asset: str(amount) for asset, amount in lasting.items()})
            logger.error("the account differs, %s; it stays so until it agrees or is accepted", reason)
        self.degraded.update((bot, reason) for bot in bots if bot not in self.degraded)
        if bots:  # each time: one that was paused or just starting may run by now
            self._household.on_difference(bots, reason)

    def agree(self, differences: Mapping[str, Decimal]) -> None:
        """Let bots open again none of whose assets differs any more."""
        self._told &= differences.keys()
        claims = {claim.bot: claim for claim in self._household.claims()}
        for bot in list(self.degraded):
            claim = claims.get(bot)
            if claim is None or not differences.keys() & set(split_symbol(claim.symbol)):
                del self.degraded[bot]
                if claim is not None:
                    self._household.on_agreement([bot])


def came_in(lasting: Mapping[str, Decimal], unsettled: Iterable[Order]) -> bool:
    """Tell whether something came from outside: a trade takes as it gives, and nothing is missing.

    A deposit could hide what a fill of an unsettled order took, never what it gave: a purchase in doubt must not have
    brought what came, and of what a sale in doubt would have sold nothing is missing. (A purchase and a sale of one
    amount, both in doubt and both filled, would show among the trades: those were read before, more than once.)
    """
    brought = {split_symbol(order.symbol)[0] for order in unsettled if order.side is Side.BUY}
    return min(lasting.values()) > 0 and not brought & lasting.keys()


def may_come_of(orders: Iterable[Order], differences: Mapping[str, Decimal]) -> bool:
    """Tell whether a fill of one of these orders may be what differs: it moves the base asset, whatever else came."""
    for order in orders:
        base, _ = split_symbol(order.symbol)
        moved = differences.get(base, 0)
        if moved > 0 if order.side is Side.BUY else moved < 0:
            return True
    return False
