"""Bots of a small world, made as the verb makes them or with a mind of the test's own."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from botd.bot.bot import Bot
from botd.domain.bot_spec import BotSpec
from botd.ledger.accounting import BotBook
from botd.ledger.records import BotRecord
from botd.world import World
from tests.fakes.ledger_file import LedgerFile


class SmallFleet(LedgerFile):
    """What a test does with the bots of ``world``."""

    world: World

    def create(self, name: str = "alpha", strategy: str = "rsi", *, start: bool = True, **more: Any) -> Bot:
        """Create a bot as the verb does."""
        base = {"name": name, "strategy": strategy, "symbol": "BTC/USDT", "interval": "1m", "capital": "1000"}
        spec = self.world.parser.parse({**base, **more})
        return self.world.orchestrator.create(spec, start=start, replace=False)[0]

    def add(self, mind: Any, name: str = "alpha", *, start: bool = True, **spec: Any) -> Bot:
        """Put a bot with a mind of the test's making (a function of the bot) into the fleet."""
        orchestrator = self.world.orchestrator
        number, orchestrator._next_number = orchestrator._next_number, orchestrator._next_number + 1
        base = {"strategy": "test", "symbol": "BTC/USDT", "interval": "1m", "capital": Decimal(1000)}
        record = BotRecord(number=number, spec=BotSpec(**{"name": name, **base, **spec}))
        instrument, book = (
            orchestrator._factory.instruments["BTC/USDT"],
            BotBook(number, "BTC/USDT", record.spec.capital),
        )
        bot = Bot(record, instrument, book, self.world.desk, mind)
        orchestrator._take(bot)
        self.world.journal.bot(record)
        return orchestrator.start(bot) if start else bot
