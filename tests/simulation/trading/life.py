"""One life of botd in the simulation: the world of ``mode: live``, its tasks as the daemon has them, until it ends.

What :mod:`botd.app` does around the world is done here, without its sockets and signals: start, supervision, commits,
the order of shutting down. Verbs are given as the control plane gives them, under the lock and committed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any
from unittest import mock

from botd.app import SUPERVISE_EVERY_S, TICK_COMMIT_S
from botd.bot.bot import Bot
from botd.config import Config, build
from botd.config_yaml import Document
from botd.domain.clock import seeded_random
from botd.domain.errors import BotdError
from botd.exchange.binance.site import Site
from botd.orchestrator.health import DEGRADED, OK, Part, pauses, supervise
from botd.world import World
from tests.fakes.binance.exchange import DEFAULT_KEY
from tests.simulation.trading import disk
from tests.simulation.trading.market import Feed, Market
from tests.simulation.trading.network import URL, Dialer, DoorTransport, Network
from tests.simulation.trading.timeline import LoopClock, VirtualLoop

_OFF = ("max_drawdown", "daily_loss", "consecutive_losses", "reject_storm", "volatility_halt", "repeated_execution")
"""Controls that end in waiting for a person or for hours: what trades here is what is tried."""


def configuration(home: Path) -> Config:
    """Return the configuration of every life of one run."""
    values = {
        "state_dir": str(home),
        "mode": "live",
        "market": {"source": "exchange"},
        "endpoints": {"rest": URL, "ws_api": "wss://simulated"},
        "risk": {"preset": "live", **dict.fromkeys(_OFF, "off")},
    }
    keys = {"BINANCE_API_KEY": DEFAULT_KEY.key, "BINANCE_API_SECRET": DEFAULT_KEY.secret}
    return build(Document(values, path=home / "botd.yaml"), keys)


class Life:
    """From build to end. ``fleet`` are the bots that should be there, by name."""

    def __init__(
        self, config: Config, network: Network, market: Market, clock: LoopClock, fleet: list[dict[str, Any]]
    ) -> None:
        self.loop = VirtualLoop(network.timeline)
        self.clock = clock
        self.fleet = fleet
        self.failures: list[str] = []
        self.acknowledged: set[str] = set()
        """Bots whose creation was answered."""
        self.ended = False
        self._network = network
        self._market = market
        self._tasks: list[asyncio.Task[None]] = []
        self.world = World(config)
        self.world.clock = self.clock
        self.world.site = Site(
            self.clock,
            rest=URL,
            ws_api="wss://simulated",
            transport=DoorTransport(network, self.loop),
            user_dial=Dialer(network, self.loop),
        )
        self.market_part, self.exchange_part = Part("market"), Part("exchange")
        self.loop.call_soon(self._spawn, "main", self._main())

    def play(self, until_s: float) -> bool:
        """Live to a time; False where it ended by a crash."""
        with mock.patch("botd.world.exchange_feed", self._feed):
            return self.loop.play(until_s)

    def drop(self) -> None:
        """End as a killed process does."""
        self._market.feed = None
        self.loop.dead = True
        self._network.cut_all()
        self.loop.drop()
        with contextlib.suppress(AttributeError):  # it died before it had one
            disk.drop(self.world.ledger)

    def stop(self) -> None:
        """End in order, as :meth:`botd.app.Daemon._shut_down` does."""
        self._spawn("stop", self._shut_down())

    @property
    def built(self) -> bool:
        return hasattr(self.world, "live_desk")

    @property
    def bots(self) -> list[Bot]:
        return list(self.world.orchestrator.bots.values()) if self.built else []

    def command(self, verb: Callable[[], Any], done: Callable[[], None] = lambda: None) -> None:
        """Give a verb as the control plane does; ``done`` is called once it is acknowledged."""
        self._spawn("command", self._command(verb, done))

    def look(self) -> None:
        """Let the account be looked at now, as ``reconcile`` does."""
        self._spawn("look", self.world.account.reconciler.look_now())

    # -- inside

    def _feed(self, config: Any, market: Any, clock: Any, told: Any, instance: Any, site: Any) -> Feed:
        return Feed(self._market, market, site, clock, told)

    def _spawn(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        task = self.loop.create_task(work, name=name)
        task.add_done_callback(self._on_end)
        self._tasks.append(task)

    def _on_end(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None and isinstance(error, Exception):
            self.failures.append(f"task {task.get_name()}: {type(error).__name__}: {error}")
            logging.getLogger("simulation").error("task %s failed", task.get_name(), exc_info=error)

    async def _main(self) -> None:
        world = self.world
        world.build()
        await world.settlement.commit()
        pause_s = pauses(seeded_random(world.ledger.instance).random)
        self._spawn("supervisor", self._supervise())
        self._spawn("tick-commits", self._commit_ticks())
        self._spawn("account", supervise(self.exchange_part, self._run_account, self.clock, pause_s))
        self._spawn("market", supervise(self.market_part, self._run_market, self.clock, pause_s))

    async def _run_market(self) -> None:
        world = self.world
        if not world.ledger.checked:
            await world.ledger.check()
        await world.open_market()
        self.market_part.set(OK)
        async with world.market.lock:
            world.orchestrator.market_ready()
            world.kill_switch.enforce()
            await world.settlement.commit()
        self._spawn("fleet", self._make_fleet())
        try:
            await world.feed()
        except Exception as error:
            world.orchestrator.market_lost(f"market: {type(error).__name__}: {error}")
            self.market_part.set(DEGRADED)
            raise

    async def _run_account(self) -> None:
        await self.world.account.open()
        self.exchange_part.set(OK)
        await self.world.account.run()

    async def _supervise(self) -> None:
        while True:
            await asyncio.sleep(SUPERVISE_EVERY_S)
            async with self.world.market.lock:
                self.world.orchestrator.supervise()
                self.world.states.expire(self.clock.now_ms())

    async def _commit_ticks(self) -> None:
        while True:
            await asyncio.sleep(TICK_COMMIT_S)
            async with self.world.market.lock:
                self.world.settlement.tick()

    async def _make_fleet(self) -> None:
        """Arm, and make the bots that are not there yet."""
        world = self.world
        if world.arming.refusal():
            await self._command(lambda: world.arming.arm(max_capital=None, for_ms=None, by="simulation"))
        for spec in self.fleet:
            if spec["name"] not in world.orchestrator.bots:
                parsed = world.parser.parse(spec)
                await self._command(
                    lambda parsed=parsed: world.orchestrator.create(parsed, start=True, replace=False),
                    lambda parsed=parsed: self.acknowledged.add(parsed.name),
                )

    async def _command(self, verb: Callable[[], Any], done: Callable[[], None] = lambda: None) -> None:
        try:
            async with self.world.market.lock:
                verb()
                await self.world.settlement.commit()
        except BotdError as error:
            logging.getLogger("simulation").info("a verb is refused: %s", error.message)
        else:
            done()

    async def _shut_down(self) -> None:
        world = self.world
        async with world.market.lock:
            world.orchestrator.wind_down()
            await world.settlement.commit()
        me = asyncio.current_task()
        for task in self._tasks:
            if task is not me:
                task.cancel()
        await asyncio.gather(*(task for task in self._tasks if task is not me), return_exceptions=True)
        await world.account.close()
        await world.close_feed()
        await world.settlement.commit()
        await world.ledger.close()
        self.ended = True
