"""What the handlers may reach: the daemon's parts, composed by the app, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from botd.bot.bot import Bot
from botd.bot.desk import Desk
from botd.domain.clock import Clock
from botd.domain.errors import BotdError, NotFoundError, UnavailableError
from botd.orchestrator.archive import Archive
from botd.orchestrator.examiner import Examiner
from botd.orchestrator.fleet import Fleet, action_row
from botd.orchestrator.health import Health, LoopLag
from botd.orchestrator.kill_switch import KillSwitch
from botd.orchestrator.live_desk import LiveDesk
from botd.orchestrator.orchestrator import Orchestrator
from botd.orchestrator.portfolio import Portfolio
from botd.orchestrator.risk_desk import RiskDesk
from botd.orchestrator.specs import SpecParser
from botd.orchestrator.track_record import TrackRecord
from botd.orchestrator.views import Views


class MarketPlayer(Protocol):
    """A simulated market that can be stopped and started."""

    def play(self) -> None: ...

    def pause(self) -> None: ...

    def status(self) -> dict[str, Any]: ...


@dataclass(slots=True)
class Services:
    """Parts by their names; callables where only one thing is wanted."""

    clock: Clock
    desk: Desk
    archive: Archive
    orchestrator: Orchestrator
    fleet: Fleet
    kill_switch: KillSwitch
    parser: SpecParser
    examiner: Examiner
    portfolio: Portfolio
    views: Views
    health: Health
    lag: LoopLag
    records: TrackRecord
    risk: RiskDesk
    live: LiveDesk
    player: MarketPlayer | None
    commit: Callable[[], Awaitable[None]]
    """Make everything journalled so far durable."""
    halt_now: Callable[[], Awaitable[None]]
    """Make the trading states durable at once, also while a moment of the market is being applied."""
    shutdown: Callable[[], None]
    reload: Callable[[], dict[str, Any]]
    identity: Callable[[], dict[str, Any]]
    market_status: Callable[[], dict[str, Any]]
    details: Callable[[], dict[str, dict[str, Any]]]
    """What ``health`` counts of the exchange and of the log."""
    log_file: Callable[[str | None], Path]
    """The log of a bot, or of the daemon."""
    read_log: Callable[[Path, int | None, int | None, str | None], tuple[list[str], str]]
    """Return lines of a log (so many, since a time, on from a cursor), and the cursor after them."""
    close_log: Callable[[str], None]
    """Close the log of a bot that is removed."""

    @property
    def lock(self) -> asyncio.Lock:
        """Held while a moment of a simulated market is applied; verbs that change something take it."""
        return self.desk.market.lock

    def names(self, args: Any) -> list[str]:
        """Return the bots that a selector means."""
        return self.orchestrator.select(args.names, everything=args.all, labels=args.labels)

    def require_bots(self) -> None:
        """Refuse lifecycle, fleet and trading verbs while bots are disabled."""
        if not self.orchestrator.enabled:
            raise UnavailableError("bots are disabled", "unset BINANCE_ENABLE_BOTS or set enable_bots: true")

    def require_market(self) -> None:
        """Refuse what needs prices while there are none."""
        if self.orchestrator.market_refusal:
            raise UnavailableError(self.orchestrator.market_refusal, "it keeps trying; see: botctl health")

    def require_symbols(self, *symbols: str | None) -> None:
        """Refuse a symbol that nobody knows: a misspelt one must not look halted, or without a price."""
        known = {*self.parser.symbols, *(bot.spec.symbol for bot in self.orchestrator.bots.values())}
        for symbol in symbols:
            if symbol and known and symbol not in known:
                raise NotFoundError(f"no symbol {symbol!r} in this market", self.parser.symbol_hint(symbol))

    def each(self, args: Any, verb: Callable[[Bot], str]) -> list[dict[str, Any]]:
        """Try ``verb`` on every selected bot; a row each. ``verb`` returns what the row should add."""
        rows = []
        for name in self.names(args):
            before = ""
            try:
                bot = self.orchestrator.get(name)
                before = bot.state.value
                detail = verb(bot)
                rows.append(action_row(name, before, self.orchestrator.get(name).state.value, detail))
            except BotdError as error:
                rows.append(action_row(name, before, before, error=error))
        return rows
