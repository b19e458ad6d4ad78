"""Settlement: the end of a market moment and of a command, when what changed becomes one transaction.

On a simulated market a moment is a transaction: cursor, intents, the simulated book, fills. What did not
commit is played again after a crash, and gives the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from typing import Any, Protocol

from botd.bot.evaluation import Evaluator
from botd.domain.clock import Clock
from botd.ledger.journal import Journal
from botd.ledger.records import ACCOUNT
from botd.ledger.store import Ledger
from botd.orchestrator.portfolio import Portfolio

CURSOR, PLAYING = "cursor", "playing"
MOST_PENDING = 500
ACCOUNT_EVERY_MS = 60_000
IDLE_COMMIT_S = 1.0

Drain = Callable[[], Mapping[str, str | None]]


class EquityObserver(Protocol):
    """Who watches the account's equity: the risk monitors."""

    def on_equity(self, bot: int, equity: Decimal | None, now_ms: int) -> None: ...


class Settlement:
    """Collects the state of the parts that keep rows by key, and commits."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        journal: Journal,
        clock: Clock,
        lock: asyncio.Lock,
        evaluator: Evaluator,
        portfolio: Portfolio,
        monitors: EquityObserver,
        mark_fleet: Callable[[], None],
        drains: Mapping[str, Drain],
    ) -> None:
        """``drains`` gives, by space of keyed rows, what changed since it was asked last; ``mark_fleet`` is
        called when a point of the account's curve is due."""
        self._ledger = ledger
        self._journal = journal
        self._clock = clock
        self._lock = lock
        self._evaluator = evaluator
        self._portfolio = portfolio
        self._monitors = monitors
        self._mark_fleet = mark_fleet
        self._drains = drains
        self._account_ms = 0
        self._committed_s = clock.monotonic()

    def between(self) -> Awaitable[None] | None:
        """After the closed candles of a moment, before the opens: users' event strategies have their say."""
        return self._evaluator.drain()

    def settle(self, cursor_ms: int) -> Awaitable[None] | None:
        """End a moment: one transaction, with the cursor. Awaitable where something has to be waited for."""
        waiting = self._evaluator.drain()
        if waiting is not None:
            return self._settle_after(waiting, cursor_ms)
        return self._settle(cursor_ms)

    async def commit(self) -> None:
        """End a command: durable when it returns."""
        self._collect()
        await self._ledger.commit()

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

    def tick(self) -> None:
        """Called often on tick feeds: the account's curve, and a commit of what has gathered."""
        self._mark_account(self._clock.now_ms())
        self._collect()
        if not self._journal.empty:
            self._ledger.commit()

    # -- inside

    async def _settle_after(self, waiting: Awaitable[None], cursor_ms: int) -> None:
        await waiting
        more = self._settle(cursor_ms)
        if more is not None:
            await more

    def _settle(self, cursor_ms: int) -> Awaitable[None] | None:
        self._mark_account(cursor_ms)
        self._collect()
        now = self._clock.monotonic()
        if self._journal.empty and now - self._committed_s < IDLE_COMMIT_S:
            return None
        self._committed_s = now
        self._journal.keyed("market", {CURSOR: str(cursor_ms)})
        self._ledger.commit()
        if self._ledger.pending > MOST_PENDING:
            return self._ledger.drain(MOST_PENDING // 2)
        return None

    def _collect(self) -> None:
        for space, drain in self._drains.items():
            changes = drain()
            if changes:
                self._journal.keyed(space, changes)

    def _mark_account(self, now_ms: int) -> None:
        if now_ms - self._account_ms < ACCOUNT_EVERY_MS:
            return
        self._account_ms = now_ms
        self._mark_fleet()
        equity = self._portfolio.account_equity()
        if equity is not None:
            cash = self._portfolio.account_cash()
            self._journal.equity(ACCOUNT, now_ms, equity, cash, equity - cash)
            self._monitors.on_equity(ACCOUNT, equity, now_ms)
