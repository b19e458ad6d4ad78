"""The real account: the exchange across the network, and who looks after what is there. Part of the composition root.

    site (hosts, budget, time, listing) -> exchange -> gateway -> resolver, reconciler, protective orders

Made where the configuration says ``mode: live``; on paper none of this exists.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any

from botd.bot.bot import Bot
from botd.bot.guarding import Guarding
from botd.bot.protected import ProtectedPosition
from botd.config import Config
from botd.domain.clock import Clock
from botd.domain.errors import BotdError
from botd.domain.instrument import Instrument
from botd.domain.order import OrderType
from botd.exchange.binance.binance import BinanceExchange
from botd.exchange.binance.signing import make_signer
from botd.exchange.binance.site import Site
from botd.execution.client_ids import parse_client_order_id
from botd.execution.durable import DurableOrders
from botd.execution.explain import Explained
from botd.execution.gateway import Gateway
from botd.execution.learning import Learner
from botd.execution.protection import ProtectiveOrders
from botd.execution.reconcile import Reconciler
from botd.execution.resolver import Resolver
from botd.ledger.store import Ledger
from botd.market.feed import Quote
from botd.orchestrator.health import DEGRADED, OK
from botd.orchestrator.household import BotHousehold

logger = logging.getLogger("botd.account")

VALUE_EVERY_S, VALUE_FIRST_S = 60.0, 1.0
"""How often the account's other assets are valued, and how soon while its balances are not known yet."""

Bots = Callable[[], Iterable[Bot]]
OnDeposit = Callable[[Decimal], None]
"""Told what a deposit (a withdrawal: negative) is worth: it is neither gain nor loss."""


class LiveAccount:
    """One account on Binance. ``bots`` are asked for when needed: they are made after it. ``site`` stands in for what
    the configuration names."""

    def __init__(
        self,
        config: Config,
        clock: Clock,
        ledger: Ledger,
        bots: Bots,
        currency: str,
        on_deposit: OnDeposit,
        site: Site | None = None,
    ) -> None:
        assert config.keys is not None  # without a key the configuration is one of paper
        ends, instance = config.endpoints, ledger.instance
        self.site = site or Site(clock, testnet=config.testnet, rest=ends.rest, stream=ends.stream, ws_api=ends.ws_api)
        signer = make_signer(config.keys.api_key.reveal(), config.keys.api_secret.reveal())
        self.exchange = BinanceExchange(
            site=self.site,
            signer=signer,
            clock=clock,
            owner_of=lambda text: made[1] if (made := parse_client_order_id(text)) and made[0] == instance else None,
            seed=instance,
        )
        self.governor = self.site.governor
        self.intents = DurableOrders(ledger)
        self.commit_intent = self.intents.commit_intent
        self._config = config
        self._clock = clock
        self._ledger = ledger
        self._household = BotHousehold(bots, self._on_transfer)
        self._on_deposit = on_deposit
        self._currency = currency
        self._bids: dict[str, Decimal] = {}
        self._bots = bots

    def attend(self, gateway: Gateway, commit_causes: Callable[[], None]) -> None:
        """Make who looks after the orders of ``gateway``; ``commit_causes`` commits what led to an intent."""
        self.intents.commit_causes = commit_causes
        journal, clock = self._ledger.journal, self._clock
        learner = Learner(self.exchange, gateway)
        self.reconciler = Reconciler(
            exchange=self.exchange,
            gateway=gateway,
            learner=learner,
            archive=self.intents,
            household=self._household,
            journal=journal,
            clock=clock,
            instance=self._ledger.instance,
            testnet=self._config.testnet,
        )
        self.resolver = Resolver(
            exchange=self.exchange, gateway=gateway, learner=learner, account=self.reconciler, clock=clock
        )
        self.protection = ProtectiveOrders(
            gateway=gateway,
            positions=self._positions,
            journal=journal,
            clock=clock,
            unable=self._unable,
            unpaired=self._unpaired,
        )
        self._gateway = gateway

    @property
    def drains(self) -> dict[str, Callable[[], Mapping[str, str | None]]]:
        """The rows that changed, by space of the ledger."""
        return {"account": self.reconciler.drain_changes, "protection": self.protection.drain_changes}

    @property
    def restores(self) -> dict[str, Callable[[Mapping[str, str]], None]]:
        """Who takes the rows back."""
        return {"account": self.reconciler.restore, "protection": self.protection.restore}

    def list_instruments(self, found: Mapping[str, Instrument]) -> None:
        """The exchange reads its own listing."""

    def prime(self, symbol: str, quote: Quote) -> None:
        """Nothing is matched here."""

    def protect(self) -> None:
        """Bring every position's protection one step further."""
        self.protection.step()

    def protection_of(self, bot: int) -> Guarding:
        """Return where the levels of a bot's position are kept, and for how long its stop was nowhere."""
        known = self.protection.where(bot)
        if known is None:
            return Guarding("placing")
        return Guarding(known.place, known.seconds, known.target_place, known.detail)

    def stop_refusal(self, bot: Bot) -> str:
        """Return why the stop of what a bot buys would not rest on the exchange; empty where it would."""
        symbol, most = bot.spec.symbol, bot.instrument.max_algo_orders
        if why := ProtectedPosition(bot).refusal() or self._unable(symbol):
            return why
        there = [other for other in self._bots() if other.spec.symbol == symbol and other.spec.has_stop]
        stops = sum(not ProtectedPosition(other).refusal() for other in there)
        return f"the exchange takes {most} stop orders of {symbol}, {stops} bots want one" if 0 < most < stops else ""

    def difference(self, bot: int) -> str:
        """Return what of a bot's assets differs for longer than anything explains, empty where nothing does."""
        return self.reconciler.differences.degraded.get(bot, "")

    def trouble(self) -> str:
        """Return why the exchange is not to be trusted with entries."""
        return self.exchange.unreliable

    def explain(self) -> Explained:
        """Say whose is what."""
        return self.reconciler.explain()

    async def open(self) -> None:
        """Sign in. UnavailableError: out of reach, may be called again; ConfigError: a key that will not do."""
        await self.exchange.start()

    async def run(self) -> None:
        """Look after the account for ever."""
        await asyncio.gather(
            self.reconciler.run(), self.resolver.run(), self.protection.run(), self._value_other_assets()
        )

    def worth(self, asset: str) -> Decimal | None:
        """Return what a unit of an asset that no bot follows sells for; 0 where nobody buys it for the currency."""
        symbol = f"{asset}/{self._currency}"
        if self.site.listing.pairs and symbol not in self.site.listing.pairs:
            return Decimal(0)
        return self._bids.get(symbol)

    async def close(self) -> None:
        """Send nothing more, and wait for the orders under way; before the ledger closes."""
        self._gateway.close()
        await self.resolver.close()
        await self.exchange.close()
        await self.site.close()

    def refusals(self) -> list[str]:
        """Return why nothing may be opened on this account."""
        waits = [] if self.exchange.is_ready() else [f"exchange: {self.exchange.detail or 'not signed in yet'}"]
        return waits + self.reconciler.refusals()

    def health(self) -> tuple[str, str]:
        """Return status and detail of the exchange."""
        refusals = self.reconciler.refusals()
        if self.exchange.status == OK and refusals:
            return DEGRADED, "; ".join(refusals)
        return self.exchange.status, self.exchange.detail

    def statistics(self) -> dict[str, Any]:
        """Return counters of all parts."""
        return {
            **self.exchange.statistics(),
            "reconcile": self.reconciler.statistics(),
            "resolve": self.resolver.statistics(),
            "protection": self.protection.rows(),
        }

    async def _value_other_assets(self) -> None:
        """Ask once a minute what the account's other assets are worth: equity counts them."""
        while True:
            held = {f"{asset}/{self._currency}" for asset, held in self.exchange.balances().items() if held.total}
            wanted = (held & self.site.listing.pairs.keys()) - {bot.spec.symbol for bot in self._bots()}
            if wanted:
                try:
                    self._bids.update(await self.site.bids(wanted))
                except BotdError as error:
                    logger.info("prices of other assets could not be read: %s", error.message)
            await self._clock.sleep(VALUE_EVERY_S if held else VALUE_FIRST_S)

    def _on_transfer(self, asset: str, amount: Decimal) -> None:
        price = Decimal(1) if asset == self._currency else self.worth(asset)
        if price is not None:
            self._on_deposit(amount * price)

    def _unable(self, symbol: str) -> str:
        if OrderType.STOP_LOSS in self.exchange.capabilities(symbol).order_types:
            return ""
        return f"the exchange takes no stop orders of {symbol}"

    def _unpaired(self, symbol: str) -> str:
        return "" if self.exchange.capabilities(symbol).pairs else f"the exchange takes no pairs of {symbol}"

    def _positions(self) -> Iterable[ProtectedPosition]:
        return [ProtectedPosition(bot) for bot in self._bots() if bot.holds or bot.orders()]
