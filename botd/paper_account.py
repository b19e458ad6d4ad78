"""The account on paper: the simulated exchange as the configuration wants it. Part of the composition root.

The same shape as :class:`botd.live_account.LiveAccount`, with nothing to wait for and nothing in doubt.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any

from botd.bot.bot import Bot
from botd.bot.guarding import Guarding
from botd.config import Config
from botd.domain.clock import Clock
from botd.domain.instrument import Instrument
from botd.exchange.remote import RemoteBalance
from botd.exchange.simulated import SimulatedExchange
from botd.execution.explain import Explained, explain
from botd.execution.gateway import Gateway
from botd.market.feed import Quote
from botd.market.manager import MarketManager
from botd.orchestrator.health import OK
from botd.orchestrator.household import claims

Bots = Callable[[], Iterable[Bot]]


def account_currency(balance: Mapping[str, Decimal]) -> str:
    """Return what the account is valued in: USDT where it holds some, else the first asset of its balance."""
    return "USDT" if "USDT" in balance else next(iter(balance), "USDT")


class PaperAccount:
    """One account on the simulated exchange, fed by the market. ``bots`` are asked for when needed."""

    commit_intent = intents = None
    site = None
    governor = None
    reconciler = None
    resolver = None

    def __init__(
        self, config: Config, clock: Clock, market: MarketManager, instruments: Mapping[str, Instrument], bots: Bots
    ) -> None:
        paper = config.paper
        self.exchange = SimulatedExchange(
            instruments,
            clock=clock,
            maker_fee=paper.maker_fee,
            taker_fee=paper.taker_fee,
            slippage=paper.slippage,
            balance=paper.balance,
            candle_feed=market.candle_feed,
            fee_asset=paper.fee_asset,
            latency_ms=paper.latency_ms,
            max_volume_pct=paper.max_volume_pct,
        )
        self.drains = {"simulated": self.exchange.drain_changes}
        self.restores = {"simulated": self.exchange.restore}
        self._bots = bots
        market.add_sink(self.exchange)

    def attend(self, gateway: Gateway, commit_causes: Callable[[], None]) -> None:
        """The exchange reports by itself, within a moment; the orders are needed to say whose is what."""
        self._gateway = gateway

    def list_instruments(self, found: Mapping[str, Instrument]) -> None:
        """Take instruments that became known, or changed."""
        self.exchange.list_instruments(found)

    def prime(self, symbol: str, quote: Quote) -> None:
        """Know a price as of the restart."""
        self.exchange.prime(symbol, quote)

    def protect(self) -> None:
        """The guard is all the protection there is."""

    def refusals(self) -> list[str]:
        """Nothing speaks against opening."""
        return []

    def protection_of(self, bot: int) -> Guarding:
        """The guard never leaves a position alone."""
        return Guarding()

    def stop_refusal(self, bot: Bot) -> str:
        """The guard is all the protection there is."""
        return "the exchange is botd's own"

    def difference(self, bot: int) -> str:
        """The account is the books."""
        return ""

    def trouble(self) -> str:
        """The exchange is to be trusted."""
        return ""

    def worth(self, asset: str) -> Decimal | None:
        """There is no price but the market's."""
        return None

    async def open(self) -> None:
        """There is nobody to sign in to."""

    async def run(self) -> None:
        """There is nothing to look after."""
        await asyncio.get_running_loop().create_future()

    async def close(self) -> None:
        """Nothing is under way."""

    def health(self) -> tuple[str, str]:
        """Return status and detail of the exchange."""
        return OK, "simulated"

    def statistics(self) -> dict[str, Any]:
        """There is nothing between it and us to count."""
        return {}

    def explain(self) -> Explained:
        """Say whose is what; the account is the books."""
        balances = self.exchange.balances()
        held = {asset: RemoteBalance(balance.free, balance.total - balance.free) for asset, balance in balances.items()}
        totals = {asset: balance.total for asset, balance in balances.items()}
        return explain(held, totals, claims(self._bots()), self._gateway.open_orders(), ())
