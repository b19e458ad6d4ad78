"""The world of one daemon: ledger, market, exchange, risk and bots, wired together.

Part of the composition root (:mod:`botd.app` adds the control plane and the process around it,
:mod:`botd.feeds` chooses the market, the two accounts the exchange): only these modules know concrete classes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

from botd.bot.bot import Bot
from botd.bot.desk import Desk
from botd.bot.evaluation import Evaluator
from botd.bot.lifecycle import RestartPolicy
from botd.config import Config
from botd.domain.candle import Candle, interval_ms
from botd.domain.clock import Clock, MarketClock, WallClock
from botd.domain.errors import ConfigError
from botd.domain.events import Event
from botd.exchange.ban_memory import BanMemory
from botd.exchange.exchange import Exchange
from botd.exchange.governor import Governor
from botd.execution.gateway import Gateway
from botd.feeds import candle_cache, candle_source, exchange_feed, last_quotes, with_grids
from botd.ledger.store import Ledger
from botd.market.feed import CandleSource
from botd.market.manager import MarketManager
from botd.market.simulated.player import ENDED, Player
from botd.market.ticks import TickRelay
from botd.orchestrator.archive import Archive
from botd.orchestrator.arming import Arming
from botd.orchestrator.bot_factory import BotFactory
from botd.orchestrator.fleet import Fleet
from botd.orchestrator.health import OK
from botd.orchestrator.kill_switch import KillSwitch
from botd.orchestrator.listing import Listing
from botd.orchestrator.live_desk import LiveDesk
from botd.orchestrator.orchestrator import Orchestrator
from botd.orchestrator.portfolio import Portfolio
from botd.orchestrator.recovery import recover
from botd.orchestrator.risk_desk import RiskDesk
from botd.orchestrator.settlement import CURSOR, PLAYING, Settlement
from botd.orchestrator.specs import SpecParser
from botd.orchestrator.track_record import FleetDrawdown, TrackRecord
from botd.orchestrator.views import Views
from botd.paper_account import PaperAccount, account_currency
from botd.risk.gate import RiskGate
from botd.risk.monitors import Monitors
from botd.risk.settings import ACCOUNT, RiskSettings
from botd.risk.trading_state import MANUAL, StateChange, TradingStates
from botd.risk.words import scope_name
from botd.strategy.registry import Registry

if TYPE_CHECKING:
    from botd.exchange.binance.site import Site
    from botd.live_account import LiveAccount

logger = logging.getLogger("botd.world")

CANDLE_GRACE_MS = 90_000
TICK_FRESHNESS_MS = 10_000


class World:
    """Built in two steps: the constructor touches nothing, :meth:`build` opens the ledger and recovers."""

    def __init__(self, config: Config) -> None:
        if config.mode == "live" and config.exchange != "binance":
            raise ConfigError(f"mode: live: not on {config.exchange} yet", "set exchange: binance, or mode: paper")
        self.config = config
        self.source: CandleSource | None = candle_source(config)
        self.clock: Clock = MarketClock(self.source.start_ms) if self.source is not None else WallClock()
        self.names = (config.mode, config.market.source)
        self.site: Site | None = None  # the account's, where it is given: a simulation has no network
        self.player: Player | None = None
        self._feed: Any = None
        self._bans: BanMemory | None = None
        self._draining: asyncio.Task[None] | None = None

    def build(self) -> None:
        """Open the ledger and make every part; raises ConfigError where the ledger does not fit."""
        config = self.config
        self.ledger = Ledger.open(config.state_dir / "ledger.db", config.world(), clock=self.clock)
        self.journal = self.ledger.journal
        self.loaded = self.ledger.load()
        self._build_market()
        self._build_exchange()
        self._build_risk()
        self._build_settlement()
        self._build_bots()
        self._build_views()
        self._recover()

    def _build_market(self) -> None:
        config = self.config
        kept = self.loaded.kv.get("market", {})
        cursor = int(kept[CURSOR]) if CURSOR in kept else None
        if isinstance(self.clock, MarketClock) and cursor is not None:
            self.clock.advance(cursor)
        self.listing = Listing(self.loaded.kv.get("instruments", {}), self.journal, self._bots)
        self._instruments = self.listing.instruments
        self.cache = candle_cache(config, self.clock, self.ledger.instance)
        self.market = MarketManager(
            clock=self.clock,
            cache=self.cache,
            base_interval=config.market.interval if self.source is not None else None,
            on_event=self.journal.event,
            candle_feed=self.source is not None,
        )
        if self.source is None or not isinstance(self.clock, MarketClock):
            return
        self.market.attach_source(self.source)
        self._instruments.update(with_grids(self.source.instruments(), config.instruments))
        playing = kept.get(PLAYING, "true" if config.market.autoplay else "false") == "true"
        self.player = Player(
            source=self.source,
            manager=self.market,
            clock=self.clock,
            speed=float(config.market.speed),
            playing=playing,
            cursor_ms=cursor,
            on_state=self._on_market_state,
            brake=lambda: self.settlement.brake(),
        )

    def _build_exchange(self) -> None:
        config = self.config
        currency = account_currency(config.paper.balance)
        self.account: PaperAccount | LiveAccount
        if config.mode == "live":
            from botd.live_account import LiveAccount

            self.account = LiveAccount(
                config, self.clock, self.ledger, self._bots, currency, self._on_deposit, self.site
            )
        else:
            self.account = PaperAccount(config, self.clock, self.market, self._instruments, self._bots)
        self._remember_bans(self.account.governor)  # before anything is asked: the account does not wait for the feed
        self.exchange: Exchange = self.account.exchange
        self.ticks = TickRelay()
        self.market.add_sink(self.ticks)
        self.gateway = Gateway(
            exchange=self.exchange,
            journal=self.journal,
            clock=self.clock,
            mode=config.mode,
            instance=self.ledger.instance,
            send_later=self._send_later,
            commit_intent=self.account.commit_intent,
        )
        self.account.attend(self.gateway, lambda: self.settlement.commit_whole())
        self.portfolio = Portfolio(self.exchange, self.gateway, self.market, self._bots, currency, self.account.worth)
        key = config.keys.fingerprint if config.keys else ""
        mode, paper = config.mode, config.paper_reason
        self.arming = Arming(self.clock, self.journal.event, mode=mode, testnet=config.testnet, key=key, paper=paper)

    def _build_risk(self) -> None:
        self.settings = RiskSettings.from_config(dict(self.config.risk), self.config.mode)
        self.states = TradingStates(self._on_trading_state)
        self.monitors = Monitors(self.settings, self.states)
        self.gate = RiskGate(self.settings, self.states, self.monitors)

    def _build_settlement(self) -> None:
        on_defer = None if self.market.candle_feed else self._drain_soon
        self.evaluator = Evaluator(self.market.window, self.clock, on_defer=on_defer)
        self.drawdown = FleetDrawdown(lambda: self.orchestrator.bots.values(), lambda bot: self.views.equity(bot))
        self.settlement = Settlement(
            ledger=self.ledger,
            intents=self.account.intents,
            clock=self.clock,
            lock=self.market.lock,
            evaluator=self.evaluator,
            portfolio=self.portfolio,
            monitors=self.monitors,
            mark_fleet=self.drawdown.mark,
            drains={
                **self.account.drains,
                "live": self.arming.drain_changes,
                "cancels": self.gateway.drain_cancels,
                "trading_state": self.states.drain_changes,
                "risk": self.gate.drain_changes,
                "fleet": self.drawdown.drain_changes,
                "sequences": self.gateway.drain_changes,
                "bans": lambda: self._bans.drain_changes() if self._bans is not None else {},
            },
        )
        self.market.set_hooks(self._prepare, self.settlement.settle, self.settlement.between)

    def _build_bots(self) -> None:
        config = self.config
        self.desk = Desk(
            clock=self.clock,
            market=self.market,
            gateway=self.gateway,
            gate=self.gate,
            monitors=self.monitors,
            portfolio=self.portfolio,
            journal=self.journal,
            evaluator=self.evaluator,
            ticks=self.ticks,
            restart=RestartPolicy(),
            slippage=float(config.paper.slippage),
            taker_fee=float(config.paper.taker_fee),
            freshness_ms=self._freshness_ms,
            minute_volume=self._minute_volume,
            not_ready=self._not_ready,
            protect=self.account.protect,
            unarmed=self.arming.refusal,
            most_held=lambda: self.arming.most,
            exchange_trouble=self.account.trouble,
            protection=self.account.protection_of,
            difference=self.account.difference,
            worth=self.portfolio.price,
        )
        self.registry = Registry.standard(config.strategies_dir)
        factory = BotFactory(self.desk, self.registry, self._instruments, config.state_dir)
        self.orchestrator = Orchestrator(
            self.desk,
            factory,
            self.loaded.next_bot_number,
            live_refusal=self._live_refusal,
            enabled=config.enable_bots,
        )
        base = config.market.interval if self.source is not None else None
        where = {"synthetic": "market.symbols", "replay": "market.files"}.get(config.market.source, "")
        self.parser = SpecParser(self.registry, self._instruments, base, config.mode, where)
        self.fleet = Fleet(self.orchestrator, self.parser)
        self.kill_switch = KillSwitch(self.desk, self.orchestrator, self.states)

    def _build_views(self) -> None:
        self.views = Views(
            self.orchestrator, self.portfolio, self.market, self.states, self.clock, *self.names, self._remark
        )
        self.records = TrackRecord(self.ledger, self.views, self.drawdown)
        self.archive = Archive(self.ledger, self.clock)
        account = self.account
        self.live_desk = LiveDesk(
            self.arming,
            explain=account.explain,
            name_of=lambda number: next((bot.name for bot in self._bots() if bot.number == number), ""),
            governor=account.governor,
            reconciler=account.reconciler,
            resolver=account.resolver,
            stop_refusal=account.stop_refusal,
        )
        self.risk_desk = RiskDesk(self.orchestrator, self.gate, self.clock)

    def _recover(self) -> None:
        recover(
            self.loaded,
            self.orchestrator,
            self.gateway,
            {
                **self.account.restores,
                "live": self.arming.restore,
                "cancels": self.gateway.restore_cancels,
                "trading_state": self.states.restore,
                "risk": self.gate.restore,
                "fleet": self.drawdown.restore,
                "sequences": self.gateway.restore_reserved,
            },
        )
        for symbol, quote in last_quotes(self.source, self.clock.now_ms()) if self.source is not None else ():
            self.market.prime(symbol, quote)
            self.account.prime(symbol, quote)

    # -- running

    async def open_market(self) -> None:
        """Make the market serve; raises while it cannot (the caller tries again)."""
        if self.source is None:
            await self._open_exchange_market()

    async def feed(self) -> None:
        """Feed the market until its end; on tick feeds for ever."""
        if self.player is not None:
            await self.player.run()
        else:
            await self._feed.run()

    async def close_feed(self) -> None:
        """Let go of the exchange's connections."""
        if self._feed is not None:
            await self._feed.close()

    def market_health(self) -> tuple[str, str]:
        """Return status and detail of a market that serves."""
        if self._feed is not None:
            return self._feed.status, self._feed.detail
        state = self.player.state if self.player is not None else ""
        return OK, f"{self.config.market.source}, {state}, {len(self._instruments)} symbols"

    def market_status(self) -> dict[str, Any]:
        """Return ``market status``."""
        if self.player is not None:
            return self.player.status()
        statistics = self._feed.statistics() if self._feed is not None else {}
        state = "ready" if not self.orchestrator.market_refusal else "waiting"
        return {"state": state, "source": self.config.market.source, **statistics}

    def reload_risk(self, risk: Mapping[str, Any]) -> None:
        """Take changed risk settings from the configuration."""
        self.settings.reload(risk, self.config.mode)
        self.monitors.settings_changed(self.clock.now_ms())

    # -- inside

    async def _open_exchange_market(self) -> None:
        if self._feed is None:
            self._feed = exchange_feed(
                self.config, self.market, self.clock, self._take_listing, self.ledger.instance, self.account.site
            )
            self._remember_bans(getattr(self._feed, "governor", None))
        await self._feed.start()
        self._take_listing()

    def _remember_bans(self, governor: Governor | None) -> None:
        if governor is not None and self._bans is None:
            self._bans = BanMemory(governor, self.clock)
            self._bans.restore(self.loaded.kv.get("bans", {}))

    def _take_listing(self) -> None:
        """Take what the exchange lists now."""
        found = with_grids(self._feed.instruments(), self.config.instruments)
        self.account.list_instruments(found)
        self.listing.take(found)

    def _prepare(self, closed: list[tuple[str, str, Candle]]) -> Any:
        for symbol, interval, candle in closed:
            if interval == "1m":
                self.monitors.on_candle(symbol, candle, candle.open_time + interval_ms(interval))
        return self.evaluator.prepare(closed)

    def _freshness_ms(self, interval: str) -> int:
        if self.market.candle_feed:
            return interval_ms(self.config.market.interval) + CANDLE_GRACE_MS
        return TICK_FRESHNESS_MS

    def _minute_volume(self, symbol: str) -> float | None:
        last = self.market.window(symbol, "1m", 1) if self.config.market.interval == "1m" else None
        return float(last.volume[-1]) if last is not None and len(last) else None

    def _not_ready(self) -> list[str]:
        parts = []
        if not self.ledger.opens_allowed():
            parts.append(self.ledger.trouble() or "ledger")
        if self.orchestrator.market_refusal:
            parts.append("market")
        return parts + self.account.refusals()

    def _remark(self) -> str:
        """Return what keeps every bot from buying, for their notes: the ledger's trouble, or the market's end."""
        if trouble := self.ledger.trouble():
            return f"no entries: {trouble}"
        return "the market has ended" if self.player is not None and self.player.state == ENDED else ""

    def _live_refusal(self) -> str:
        on_paper = "" if self.config.mode == "live" else "this botd trades on paper"
        return on_paper if self.config.keys is not None else "no key"

    def _bots(self) -> Collection[Bot]:
        return self.orchestrator.bots.values()

    def _on_deposit(self, worth: Decimal) -> None:
        self.monitors.adjust(ACCOUNT, worth)

    def _on_market_state(self, state: str) -> None:
        self.journal.keyed("market", {PLAYING: "false" if state == "paused" else "true"})
        self.journal.event(Event(topic=f"market.{state}", time_ms=self.clock.now_ms()))
        self.settlement.commit_soon()

    def _on_trading_state(self, change: StateChange) -> None:
        told = {key: value for key, value in msgspec.to_builtins(change).items() if value not in ("", None, [])}
        del told["time_ms"]  # the event's own
        told["scope"] = scope = scope_name(change.scope, {bot.number: bot.name for bot in self._bots()})
        bot = scope.removeprefix("bot:") if scope.startswith("bot:") else ""
        self.journal.event(Event(topic="risk.state", time_ms=change.time_ms, bot=bot, data=told))
        if change.changed and change.after != "active" and change.code != MANUAL:  # a person's: once it is durable
            self.kill_switch.cancel_entries([(change.scope, change.scope)])

    def _drain_soon(self) -> None:
        if self._draining is None or self._draining.done():
            self._draining = asyncio.get_running_loop().create_task(self._drain(), name="strategies")

    async def _drain(self) -> None:
        async with self.market.lock:
            waiting = self.evaluator.drain()
            if waiting is not None:
                await waiting

    def _send_later(self, delay_s: float, call: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_later(delay_s, call)
