"""The composition root: builds the parts, starts them in order, runs, and shuts down within a budget.

With :mod:`botd.world` and the modules that it names the only one that knows concrete classes. Start order: ledger,
control socket, READY (answers commands, ledger sound), then exchange, market and cache as supervised parts, then the
bots that should run.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import traceback
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from botd import __version__
from botd.checks import checks
from botd.config import Config
from botd.config import changed as config_changes
from botd.config import reload as reload_config
from botd.control.handlers import handlers
from botd.control.plane import ControlPlane, Sockets
from botd.control.services import Services
from botd.domain.clock import seeded_random
from botd.domain.errors import BotdError, UnavailableError
from botd.domain.events import Event
from botd.log_tail import tail
from botd.logs import Logs, main_file
from botd.market.simulated.samples import sample_candles
from botd.orchestrator.examiner import Examiner
from botd.orchestrator.garbage import Garbage
from botd.orchestrator.health import DEGRADED, OK, LoopLag, Part, pauses, supervise
from botd.risk.settings import check as check_risk
from botd.systemd import Notifier
from botd.world import World

logger = logging.getLogger("botd.app")

SHUTDOWN_BUDGET_S = 38.0
SUPERVISE_EVERY_S = 1.0
TICK_COMMIT_S = 0.05
LOOP_LIMIT_S = 5.0
SWITCH_S = 0.0005
"""How soon a busy loop lets the ledger's thread have its turn: with Python's 5 ms a fill under load became durable in
12 ms at p99, with this in 3."""


def serve(config: Config, *, ready: Callable[[], None], logs: Logs, notifier: Notifier, locks: object) -> int:
    """Run the daemon until a signal ends it; returns the exit code. Raises BotdError before READY.

    ``ready`` is called once commands are answered; ``locks`` are held by the caller for as long.
    """
    sys.setswitchinterval(SWITCH_S)
    return asyncio.run(Daemon(config, logs, notifier).run(ready))


class Daemon:
    """One botd: a world (ledger, market, exchange, bots) and the control plane in front of it."""

    def __init__(self, config: Config, logs: Logs, notifier: Notifier) -> None:
        self._config = self._begun_with = config
        self._logs = logs
        self._notifier = notifier
        self._world = World(config)
        self._clock = self._world.clock
        if config.simulated:
            logs.show_market_time(self._clock.now_ms)
        self._began_s = self._clock.monotonic()
        self._garbage = Garbage(self._clock)
        self._lag = LoopLag(self._clock, garbage=self._garbage)
        self._market_part = Part("market", "loading")
        self._exchange_part = Part("exchange", "signing in", DEGRADED if config.mode == "live" else OK)
        self._health = checks(self._world, self._lag, self._market_part, self._exchange_part)
        self._crashed = False
        self._failed = False
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def run(self, ready: Callable[[], None]) -> int:
        """Start, serve, shut down; see the module for the order."""
        self._signals()
        self._garbage.start()
        self._world.build()
        services = self._services()
        self._plane = ControlPlane(
            _sockets(self._config),
            handlers(services),
            archive=self._world.archive,
            settlement=self._world.settlement,
            clock=self._clock,
        )
        self._plane.bind()
        self._tell("daemon.ready", {"version": __version__, "mode": self._config.mode})
        if older := self._world.ledger.older:
            logger.warning("ledger: %s", older)
            self._tell("ledger.older_copy", {"detail": older})
        await self._commit_first()
        ready()
        logger.info("ready: %s, market %s, socket %s", *self._world.names, self._config.socket)
        self._launch()
        await self._stop.wait()
        return await self._shut_down()

    async def _commit_first(self) -> None:
        """Write the first word: a disk that fails later is waited for, but with one that does botd does not start."""
        try:
            await self._world.settlement.commit()
        except UnavailableError as error:
            remedy = "see to the disk (room, rights, the system's log), then start botd again"
            raise UnavailableError(f"botd does not start: {error.message}", remedy) from error

    # -- running

    def _launch(self) -> None:
        world = self._world
        self._task("loop-lag", self._lag.run())
        self._task("supervisor", self._supervise())
        self._task("tick-commits", self._commit_ticks())
        self._task("watchdog", self._watchdog())
        self._task("cache", world.cache.start())
        pause_s = pauses(seeded_random(world.ledger.instance).random)
        self._task("account", supervise(self._exchange_part, self._run_account, self._clock, pause_s))
        self._feed_task = self._task(
            "market",
            supervise(self._market_part, self._run_market, self._clock, pause_s),
        )

    async def _run_market(self) -> None:
        """Bring the market up, begin the bots, then feed until the end of the data or of the daemon."""
        world = self._world
        if world.market.candle_feed:
            await self._check_ledger()
        elif not world.ledger.checking:  # stops do not wait for it, entries do
            self._task("ledger check", self._check_ledger())
        await world.open_market()
        self._market_part.set(OK)
        async with world.market.lock:
            world.orchestrator.market_ready()
            world.kill_switch.enforce()
            await world.settlement.commit()
        try:
            await world.feed()
        except Exception as error:
            if not world.market.candle_feed:
                world.orchestrator.market_lost(f"market: {type(error).__name__}: {error}")
                raise
            # Half a moment is in the journal: nothing of it may become durable. The ledger has the rest, and
            # a restart plays the moment again.
            world.settlement.abandon()
            logger.exception("botd ends: a moment of the market failed half-way")
            self._crashed = True
            self._stop.set()

    async def _check_ledger(self) -> None:
        """Read every row once, before anything is bought."""
        ledger = self._world.ledger
        if not ledger.checked and (damage := await ledger.check()):
            self._tell("ledger.damaged", {"detail": damage})

    async def _run_account(self) -> None:
        """Sign in to the exchange, then look after what is there."""
        await self._world.account.open()
        self._exchange_part.set(OK)
        await self._world.account.run()

    async def _supervise(self) -> None:
        """Once a second: bots that wait for history or for the end of a backoff, risk states that expired."""
        while True:
            await asyncio.sleep(SUPERVISE_EVERY_S)
            async with self._world.market.lock:
                self._world.orchestrator.supervise()
                self._world.states.expire(self._clock.now_ms())
            self._garbage.look(len(self._world.orchestrator.bots))

    async def _commit_ticks(self) -> None:
        """On tick feeds nothing ends a moment: what gathered becomes durable twenty times a second."""
        while not self._world.market.candle_feed:
            await asyncio.sleep(TICK_COMMIT_S)
            async with self._world.market.lock:
                self._world.settlement.tick()

    async def _watchdog(self) -> None:
        """Feed systemd's watchdog while the loop turns and the ledger takes what it is given."""
        every_s = self._notifier.watchdog_interval_s()
        while every_s:
            await asyncio.sleep(every_s)
            if self._lag.healthy(LOOP_LIMIT_S) and self._world.ledger.error is None:
                self._notifier.watchdog()

    # -- ending

    async def _shut_down(self) -> int:
        logger.info("stopping")
        self._notifier.stopping()
        world = self._world
        code = 70 if self._crashed or self._failed else 0
        try:
            async with asyncio.timeout(SHUTDOWN_BUDGET_S):
                if not self._crashed:
                    await self._until_hurried(self._wind_down())
        except TimeoutError:
            logger.error("the shutdown budget of %g s is used up", SHUTDOWN_BUDGET_S)
        if world.market.candle_feed and world.market.lock.locked():
            world.settlement.abandon()  # a moment is cut in half: a restart plays it again
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await world.account.close()  # orders under way are heard of before the ledger closes
        await world.close_feed()
        await self._plane.close_server()
        try:
            if not self._crashed:
                with contextlib.suppress(BotdError):  # what is not written now, close tries again and says
                    await world.settlement.commit()
            await world.ledger.close()
        except BotdError as error:
            logger.error("%s", error.message)
            code = 70
        await self._plane.close()
        await world.cache.close()
        self._garbage.stop()
        logger.info("stopped")
        return code

    async def _wind_down(self) -> None:
        """No new entries, entry orders cancelled; positions that only botd guards are listed."""
        world = self._world
        async with world.market.lock:  # between two moments: none is cut in half
            self._feed_task.cancel()
            for line in world.orchestrator.wind_down():
                logger.warning("%s", line)
            self._tell("daemon.stopping", {})
            await world.settlement.commit()

    async def _until_hurried(self, work: Awaitable[None]) -> None:
        """Do ``work``; a second signal ends the waiting, never the flush that follows."""
        task = asyncio.ensure_future(work)
        hurry = asyncio.ensure_future(self._hurry.wait())
        await asyncio.wait({task, hurry}, return_when=asyncio.FIRST_COMPLETED)
        hurry.cancel()
        if not task.done():
            task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    # -- signals, reload

    def _signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_end_signal)
        loop.add_signal_handler(signal.SIGHUP, self._on_hangup)
        loop.add_signal_handler(signal.SIGUSR1, self._dump)

    def _on_end_signal(self) -> None:
        (self._hurry if self._stop.is_set() else self._stop).set()

    def _on_hangup(self) -> None:
        try:
            self._reload()
        except BotdError as error:
            logger.error("reload refused, the old configuration stays: %s", error.message)

    def _reload(self) -> dict[str, Any]:
        """Read the configuration again; what can change at once does, the rest is named."""
        self._notifier.reloading(self._clock.monotonic())
        try:
            new = reload_config(self._config, check_risk=check_risk)
            live, restart = config_changes(self._config, new)[0], config_changes(self._begun_with, new)[1]
            self._world.reload_risk(dict(new.risk))
            self._world.orchestrator.enable(new.enable_bots)
            self._logs.set_level(new.log.level)
            for warning in set(new.warnings) - set(self._config.warnings):
                logger.warning("%s", warning)
            self._config = new
        finally:
            self._notifier.ready()
        logger.info("reloaded: changed %s; needs a restart: %s", live or "nothing", restart or "nothing")
        return {"changed": live, "restart_needed": restart}

    def _dump(self) -> None:
        """Write all tasks and the loop's lag to the log (SIGUSR1)."""
        logger.info("loop %s", self._lag.statistics())
        for task in asyncio.all_tasks():
            frames = task.get_stack(limit=4)
            where = "".join(traceback.format_stack(frames[-1])[-1:]).strip() if frames else "done"
            logger.info("task %s: %s", task.get_name(), where)

    # -- what the control plane sees

    def _services(self) -> Services:
        world = self._world
        return Services(
            clock=self._clock,
            desk=world.desk,
            archive=world.archive,
            orchestrator=world.orchestrator,
            fleet=world.fleet,
            kill_switch=world.kill_switch,
            parser=world.parser,
            examiner=Examiner(world.registry, sample_candles, self._config.state_dir),
            portfolio=world.portfolio,
            views=world.views,
            health=self._health,
            lag=self._lag,
            records=world.records,
            live=self._world.live_desk,
            risk=world.risk_desk,
            player=world.player,
            commit=world.settlement.commit,
            halt_now=world.settlement.commit_states,
            shutdown=self._stop.set,
            reload=self._reload,
            identity=self._identity,
            market_status=self._market_status,
            details=lambda: {"exchange": world.account.statistics(), "log": self._logs.statistics()},
            log_file=lambda name: self._logs.path(name) if name else main_file(self._config),
            read_log=tail,
            close_log=self._logs.close_bot,
        )

    def _identity(self) -> dict[str, Any]:
        mode, source = self._world.names
        return {
            "version": __version__,
            "protocol": ["botd/1"],
            "pid": os.getpid(),
            "uptime_s": round(self._clock.monotonic() - self._began_s, 3),
            "events": str(self._config.events_socket),
            "state_dir": str(self._config.state_dir),
            "config": None if self._config.path is None else str(self._config.path),
            "mode": mode,
            "source": source,
            "exchange": self._config.exchange,
            "epoch": self._world.ledger.instance,
            "python": sys.version.split()[0],
            "ledger_checked": self._world.ledger.checked,
            "warnings": self._warnings(),
        }

    def _warnings(self) -> list[str]:
        """Return what is wrong with the ledger, and what to do about it."""
        ledger = self._world.ledger
        told = [line for line in (ledger.trouble(), ledger.older) if line]
        return [*told[:-1], f"{told[-1]}; {ledger.remedy}"] if told and ledger.remedy else told

    def _market_status(self) -> dict[str, Any]:
        """Return ``market status``; of a simulated market also where its speed is written."""
        config, status = self._config, self._world.market_status()
        if not config.simulated:
            return status
        return {**status, "speed_from": f"market.speed in {config.path}" if config.path else "the default: no file"}

    def _tell(self, topic: str, data: dict[str, Any]) -> None:
        self._world.ledger.journal.event(Event(topic=topic, time_ms=self._clock.now_ms(), data=data))

    def _task(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work, name=name)
        task.add_done_callback(self._on_task_end)
        self._tasks.append(task)
        return task

    def _on_task_end(self, task: asyncio.Task[None]) -> None:
        """A part that should run as long as the daemon, and ended by an error nobody expected: botd ends too."""
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("botd ends: its task %r failed", task.get_name(), exc_info=error)
            self._failed = True
            self._stop.set()


def _sockets(config: Config) -> Sockets:
    control = config.control
    return Sockets(
        control=config.socket,
        events=config.events_socket,
        keys_dir=config.state_dir,
        group=control.group,
        operators=control.operators,
        viewers=control.viewers,
        tcp=control.tcp,
    )
