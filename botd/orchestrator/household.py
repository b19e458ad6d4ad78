"""The bots as the account's books see them: what each claims, and what a difference means for it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal

from botd.bot.bot import Bot
from botd.bot.lifecycle import BotState
from botd.execution.explain import Claim

logger = logging.getLogger("botd.account")


def claims(bots: Iterable[Bot]) -> list[Claim]:
    """Return what each bot says is its own."""
    return [
        Claim(
            bot=bot.number,
            name=bot.name,
            symbol=bot.spec.symbol,
            quantity=bot.book.position.quantity,
            cash=bot.book.cash,
            dust=bot.book.dust,
        )
        for bot in bots
    ]


class BotHousehold:
    """The bots, as reconciliation sees them (:class:`botd.execution.household.Household`)."""

    def __init__(self, bots: Callable[[], Iterable[Bot]], on_transfer: Callable[[str, Decimal], None]) -> None:
        self._bots = bots
        self._tell = on_transfer

    def claims(self) -> Iterable[Claim]:
        return claims(self._bots())

    def on_difference(self, bots: Sequence[int], reason: str) -> None:
        for bot in self._bots():
            if bot.number in bots and bot.state is BotState.RUNNING:
                bot.move(BotState.DEGRADED, reason)

    def on_agreement(self, bots: Sequence[int]) -> None:
        for bot in self._bots():
            if bot.number in bots and bot.state is BotState.DEGRADED:
                bot.move(BotState.RUNNING)

    def on_transfer(self, asset: str, amount: Decimal, time_ms: int) -> None:
        logger.info("a transfer of %s %s", amount, asset)
        self._tell(asset, amount)
