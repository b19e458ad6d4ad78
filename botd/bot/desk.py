"""The desk: what all bots of one daemon share. Made once by the composition root."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from botd.bot.evaluation import Evaluator
from botd.bot.guarding import Guarding
from botd.bot.lifecycle import RestartPolicy
from botd.domain.clock import Clock
from botd.execution.gateway import Gateway
from botd.ledger.journal import Journal
from botd.market.manager import MarketManager
from botd.market.ticks import TickRelay
from botd.risk.gate import RiskGate
from botd.risk.portfolio_view import PortfolioView


class RiskObserver(Protocol):
    """Who must know what happens to a bot's money: the risk monitors."""

    def on_trade_closed(self, bot: int, pnl: Decimal, now_ms: int) -> None: ...

    def on_reject(self, bot: int, now_ms: int) -> None: ...

    def on_equity(self, bot: int, equity: Decimal | None, now_ms: int) -> None: ...


def _no_word() -> str:
    """Paper: nothing speaks against it."""
    return ""


def _no_limit() -> None:
    """No limit."""


def _by_botd(bot: int) -> Guarding:
    """Paper: the guard is what protects."""
    return Guarding()


def _call_soon(call: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_soon(call)


def _agreed(bot: int) -> str:
    """Paper: the account is the books."""
    return ""


def _no_price(asset: str) -> None:
    """Nobody knows."""


def _nothing() -> None:
    """No protective orders: botd's own guard is all there is."""


@dataclass(frozen=True, slots=True)
class Desk:
    """Collaborators of every bot."""

    clock: Clock
    market: MarketManager
    gateway: Gateway
    gate: RiskGate
    monitors: RiskObserver
    portfolio: PortfolioView
    journal: Journal
    evaluator: Evaluator
    ticks: TickRelay
    restart: RestartPolicy
    slippage: float
    taker_fee: float
    freshness_ms: Callable[[str], int]
    """The age at which a price of that interval is stale."""
    minute_volume: Callable[[str], float | None]
    """Base volume of a symbol's last 1m candle, None where nobody follows that lane."""
    not_ready: Callable[[], list[str]]
    """Names of the parts that entries need and that are not ready."""
    soon: Callable[[Callable[[], None]], None] = _call_soon
    """Run a call after the present one (the event loop's call_soon)."""
    protect: Callable[[], None] = _nothing
    """Look after every position's protective order (exchanges outside the process)."""
    unarmed: Callable[[], str] = _no_word
    """Why live entries may not go now, empty where they may."""
    most_held: Callable[[], Decimal | None] = _no_limit
    """What all positions may be worth while live trading is armed."""
    exchange_trouble: Callable[[], str] = _no_word
    """Why the exchange is not to be trusted with entries, empty where it is."""
    protection: Callable[[int], Guarding] = _by_botd
    """Where the levels of a bot's position are kept."""
    difference: Callable[[int], str] = _agreed
    """What of a bot's assets the account has other than the books say; empty where they agree."""
    worth: Callable[[str], Decimal | None] = _no_price
    """What a unit of an asset is worth in the account's currency, None where nobody knows."""
