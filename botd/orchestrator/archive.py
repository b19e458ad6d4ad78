"""The archive: what the ledger remembers, as the reading verbs list it. It reads only; commands are recorded by
:mod:`botd.orchestrator.settlement`.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from botd.bot.bot import Bot
from botd.domain.bot_spec import BotSpec
from botd.domain.candle import bucket_start
from botd.domain.clock import Clock, parse_time
from botd.domain.decision import Decision
from botd.domain.errors import NotFoundError
from botd.ledger import queries
from botd.ledger.queries import PageOf
from botd.ledger.records import ACCOUNT, BotRecord
from botd.ledger.store import EventListener, Ledger


class Archive:
    """Lists come as (rows, cursor of the next page or None); ``name`` None means all bots."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock

    @property
    def epoch(self) -> str:
        """The ledger's own name: event numbers of another epoch cannot be compared."""
        return self._ledger.instance

    @property
    def event_seq(self) -> int:
        """The number of the last event."""
        return int(self._ledger.statistics()["event_seq"])

    def on_events(self, listener: EventListener) -> None:
        """Hand events to ``listener`` once they are durable."""
        self._ledger.on_commit(listener)

    async def orders(self, name: str | None, **filters: Any) -> PageOf:
        return await queries.orders(self._ledger, bots=await self._numbers(name), **filters)

    async def fills(self, name: str | None, **filters: Any) -> PageOf:
        return await queries.fills(self._ledger, bots=await self._numbers(name), **filters)

    async def trades(self, name: str | None, **filters: Any) -> PageOf:
        return await queries.trades(self._ledger, bots=await self._numbers(name), **filters)

    async def equity(self, name: str | None, **filters: Any) -> PageOf:
        """Return the curve of a bot, or (None) of the account."""
        return await queries.equity(self._ledger, bots=await self._numbers(name) or [ACCOUNT], **filters)

    async def events(self, **filters: Any) -> PageOf:
        return await queries.events(self._ledger, **filters)

    async def recall(self, request_id: str) -> list[dict[str, Any]]:
        """Return what was asked under ``request_id`` of late and what was answered, newest first."""
        return await queries.recall(self._ledger, request_id, self._clock.wall_ms())

    async def decision(self, bot: Bot, at_ms: int | None) -> Decision | None:
        """Return a bot's last decision, or the last up to ``at_ms``."""
        row = await queries.decision_at(self._ledger, bot.number, at_ms)
        if row is None:
            return None
        return msgspec.convert({**row, "bot": bot.number, "time_ms": parse_time(row["at"])}, Decision)

    async def removed(self) -> list[BotRecord]:
        """Return the bots that are archived, by number."""
        rows = await self._ledger.query("SELECT * FROM bots WHERE removed_ms IS NOT NULL ORDER BY number")
        return [
            BotRecord(
                **{key: row[key] for key in BotRecord.__struct_fields__ if key != "spec"},
                spec=msgspec.json.decode(row["spec"], type=BotSpec),
            )
            for row in rows
        ]

    @staticmethod
    def open_trade(bot: Bot) -> dict[str, Any]:
        """Return the row of the round trip that is under way."""
        market, position = bot.desk.market, bot.book.position
        quote = market.quote(bot.spec.symbol)
        last = bot.last_candle_ms  # None: just started, and told of no candle yet
        if last is None:
            last = bucket_start(bot.desk.clock.now_ms(), bot.length_ms) - bot.length_ms
        bar = market.bar_index(*bot.lane, last)
        price = None if quote is None else Decimal(repr(quote.bid))
        return queries.open_trade_row(position, bot.name, bar=max(bar, position.entry_bar), price=price)

    def statistics(self) -> dict[str, Any]:
        """Return what ``health`` shows of the ledger."""
        return self._ledger.statistics()

    async def backup(self, verify: bool) -> dict[str, Any]:
        """Copy the ledger beside it, while it is in use."""
        return await self._ledger.backup(self._ledger.path.parent / "backups", verify)

    async def _numbers(self, name: str | None) -> list[int] | None:
        """Return the number of the bot of that name; of all that had it where none has it now."""
        if not name:
            return None
        rows = await self._ledger.query("SELECT number, removed_ms FROM bots WHERE name = ? ORDER BY number", (name,))
        if not rows:
            raise NotFoundError(f"{name}: no such bot", "see: botctl ls --removed")
        return [row["number"] for row in rows if row["removed_ms"] is None] or [row["number"] for row in rows]
