"""From a record of the ledger to a living bot: its strategy, its mind, its book."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from botd.bot.bot import Bot, Mind
from botd.bot.desk import Desk
from botd.bot.event_mind import EventMind
from botd.bot.signal_mind import SignalMind
from botd.domain.errors import NotFoundError
from botd.domain.instrument import Instrument
from botd.ledger.accounting import BotBook
from botd.ledger.records import BotRecord
from botd.strategy.base import EventStrategy, SignalStrategy
from botd.strategy.registry import Registry


class BotFactory:
    """Makes bots; knows the strategies and the instruments."""

    def __init__(self, desk: Desk, registry: Registry, instruments: Mapping[str, Instrument]) -> None:
        self._desk = desk
        self._registry = registry
        self.instruments = instruments

    def make(self, record: BotRecord, book: BotBook, strategy_state: dict[str, Any] | None = None) -> Bot:
        """Return the bot of ``record``; errors say what is missing (strategy file, symbol)."""
        spec = record.spec
        instrument = self.instruments.get(spec.symbol)
        if instrument is None:
            raise NotFoundError(f"{spec.name}: no symbol {spec.symbol!r} in this market", "see: botctl symbols")
        info = self._registry.load(spec.strategy)
        strategy = info.build(spec.params)

        def mind_of(bot: Bot) -> Mind:
            if isinstance(strategy, SignalStrategy):
                key = (info.name, info.digest, msgspec.json.encode(spec.params, order="sorted"))
                return SignalMind(bot, strategy, key, trusted=info.builtin)
            assert isinstance(strategy, EventStrategy)
            return EventMind(bot, strategy, dict(strategy_state or {}), trusted=info.builtin)

        return Bot(record, instrument, book, self._desk, mind_of)
