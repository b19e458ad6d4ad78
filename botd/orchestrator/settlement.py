"""Settlement: the end of a market moment and of a command, when what changed becomes one transaction.

On a simulated market a moment, or the few that follow each other fast, is a transaction: cursor, intents, the
simulated book, fills. What did not commit is played again after a crash, and gives the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from typing import Any, Protocol

from botd.bot.evaluation import Evaluator
from botd.domain.clock import Clock
from botd.domain.errors import UnavailableError
from botd.ledger.records import ACCOUNT
from botd.ledger.store import Ledger
from botd.orchestrator.portfolio import Portfolio

CURSOR, PLAYING = "cursor", "playing"
MOST_PENDING = 64
ACCOUNT_EVERY_MS = 60_000
IDLE_COMMIT_S = 1.0
GATHER_S = 0.02
"""Moments that follow each other faster than this share a transaction."""

Drain = Callable[[], Mapping[str, str | None]]


class EquityObserver(Protocol):
    """Who watches the account's equity: the risk monitors."""

    def on_equity(self, bot: int, equity: Decimal | None, now_ms: int) -> None: ...


class Intents(Protocol):
    """Orders that are sent once they are durable."""

    @property
    def waiting(self) -> bool: ...

    def commit_waiting(self) -> None: ...


class Settlement:
    """Collects the state of the parts that keep rows by key, and commits."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        intents: Intents | None,
        clock: Clock,
        lock: asyncio.Lock,
        evaluator: Evaluator,
        portfolio: Portfolio,
        monitors: EquityObserver,
        mark_fleet: Callable[[], None],
        drains: Mapping[str, Drain],
    ) -> None:
        """``intents``: None where the exchange is in the process. ``drains`` gives, by space of keyed rows, what
        changed since it was asked last; ``mark_fleet`` is called when a point of the account's curve is due."""
        self._ledger = ledger
        self._journal = ledger.journal
        self._clock = clock
        self._lock = lock
        self._evaluator = evaluator
        self._portfolio = portfolio
        self._monitors = monitors
        self._mark_fleet = mark_fleet
        self._drains = drains
        self._intents = intents
        self._account_ms = clock.now_ms()
        self._committed_s = clock.monotonic()
        self._cursor_ms: int | None = None
        self._later: asyncio.TimerHandle | None = None
        self._abandoned = False

    def between(self) -> Awaitable[None] | None:
        """After the closed candles of a moment, before the opens: users' event strategies have their say."""
        return self._evaluator.drain()

    def settle(self, cursor_ms: int) -> Awaitable[None] | None:
        """End a moment: it commits, with the cursor, now or soon. Awaitable where something has to be waited for."""
        waiting = self._evaluator.drain()
        if waiting is not None:
            return self._settle_after(waiting, cursor_ms)
        self._settle(cursor_ms)
        return None

    def brake(self) -> Awaitable[None] | None:
        """Between two moments: awaitable where the market runs ahead of the ledger. Commands go on meanwhile."""
        return self._ledger.drain(MOST_PENDING // 2) if self._ledger.pending > MOST_PENDING else None

    async def commit(self) -> None:
        """End a command: durable when it returns, and the moments before it too."""
        if self._abandoned:
            raise UnavailableError("market: a moment failed half-way, botd ends", "see the log; then start botd again")
        self._cancel_later()
        self._collect()
        self._keep_cursor()
        await self._ledger.commit()

    def abandon(self) -> None:
        """A moment failed half-way: nothing of it may become durable. The ledger has the moments before, or a
        restart plays them again."""
        self._abandoned = True
        self._cancel_later()

    def commit_soon(self) -> None:
        """Commit within a fiftieth of a second, between two moments."""
        if self._later is None and not self._abandoned:
            self._later = asyncio.get_running_loop().call_later(GATHER_S, self._commit_gathered)

    async def commit_states(self) -> None:
        """Make the trading states durable at once, apart from a moment that is under way."""
        if not self._lock.locked():
            await self.commit()
            return
        apart = self._ledger.detached()
        apart.keyed("trading_state", self._drains["trading_state"]())
        await self._ledger.commit_batch(apart)

    async def record(self, request_id: str, uid: int, pid: int, cmd: str, args: Any, reply: Any) -> None:
        """Keep a command and its reply, apart from whatever is being journalled."""
        apart = self._ledger.detached()
        apart.command(request_id, uid, pid, cmd, args, reply, self._clock.wall_ms())
        await self._ledger.commit_batch(apart)

    async def record_refusal(self, request_id: str, uid: int, pid: int, cmd: str, args: Any, code: str) -> None:
        """Let the audit know of a command that was turned away."""
        apart = self._ledger.detached()
        apart.refusal(request_id, uid, pid, cmd, args, code, self._clock.wall_ms())
        await self._ledger.commit_batch(apart)

    def tick(self) -> None:
        """Called often on tick feeds: the account's curve, and a commit of what has gathered."""
        self._mark_account(self._clock.now_ms())
        self._commit_journalled()

    def commit_whole(self) -> None:
        """Commit what was journalled, unless a moment or a command is half-way."""
        if not self._lock.locked():
            self._commit_journalled()

    # -- inside

    def _cancel_later(self) -> None:
        if self._later is not None:
            self._later.cancel()
            self._later = None

    async def _settle_after(self, waiting: Awaitable[None], cursor_ms: int) -> None:
        await waiting
        self._settle(cursor_ms)

    def _settle(self, cursor_ms: int) -> None:
        self._mark_account(cursor_ms)
        self._cursor_ms = cursor_ms
        if self._intents is not None and self._intents.waiting:
            self._commit_moments()
            self._intents.commit_waiting()
        elif self._clock.monotonic() - self._committed_s < GATHER_S:
            self.commit_soon()
        else:
            self._commit_moments()

    def _commit_gathered(self) -> None:
        self._later = None
        if self._lock.locked():
            self.commit_soon()  # a moment may be half-way
        else:
            self._commit_moments()

    def _commit_moments(self) -> None:
        self._collect()
        now = self._clock.monotonic()
        if self._journal.empty and now - self._committed_s < IDLE_COMMIT_S:
            return
        self._committed_s = now
        self._keep_cursor()
        self._ledger.commit()

    def _commit_journalled(self) -> None:
        self._collect()
        if not self._journal.empty and not self._abandoned:
            self._ledger.commit()

    def _keep_cursor(self) -> None:
        """Write the cursor beside the effects of the moments up to it: neither is durable without the other."""
        if self._cursor_ms is not None:
            self._journal.keyed("market", {CURSOR: str(self._cursor_ms)})
            self._cursor_ms = None

    def _collect(self) -> None:
        for space, drain in self._drains.items():
            changes = drain()
            if changes:
                self._journal.keyed(space, changes)

    def _mark_account(self, now_ms: int) -> None:
        if now_ms // ACCOUNT_EVERY_MS == self._account_ms // ACCOUNT_EVERY_MS:
            return  # a point a minute, at the same moments after a restart
        self._account_ms = now_ms
        self._mark_fleet()
        equity = self._portfolio.account_equity()
        if equity is not None:
            cash = self._portfolio.account_cash()
            self._journal.equity(ACCOUNT, now_ms, equity, cash, equity - cash)
            self._monitors.on_equity(ACCOUNT, equity, now_ms)
