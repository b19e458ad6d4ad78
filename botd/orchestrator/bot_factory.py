"""From a record of the ledger to a living bot: its strategy, its mind, its book."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from botd.bot import stops
from botd.bot.bot import Bot
from botd.bot.desk import Desk
from botd.bot.event_mind import EventMind
from botd.bot.lifecycle import BotState
from botd.bot.lost_mind import LostMind
from botd.bot.mind import Mind
from botd.bot.signal_mind import SignalMind
from botd.domain.errors import BotdError, DeniedError, NotFoundError
from botd.domain.events import Event
from botd.domain.instrument import Instrument
from botd.ledger.accounting import BotBook
from botd.ledger.records import BotRecord
from botd.strategy.base import EventStrategy, SignalStrategy
from botd.strategy.inputs import reads_of
from botd.strategy.registry import Registry, StrategyInfo
from botd.strategy.trust import trusted
from botd.strategy.warmup import warmup_of

logger = logging.getLogger("botd.orchestrator")


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What the ledger keeps of a bot beside its record, book and memory."""

    skipped: int = 0
    trades: int = 0
    failed_ms: int = 0
    denials: str = ""
    """The series of denials that was under way."""
    code: str = ""
    """Digest of the strategy's source as it was last run."""
    atr: str = ""
    """The range that the stop of what it holds was measured by."""
    exit: str = ""
    """The sale that waited for another order's outcome."""


class BotFactory:
    """Makes bots; knows the strategies and the instruments."""

    def __init__(self, desk: Desk, registry: Registry, instruments: Mapping[str, Instrument], state_dir: Path) -> None:
        self._desk = desk
        self._registry = registry
        self.instruments = instruments
        self._state_dir = state_dir
        self._ran: dict[int, tuple[str, str]] = {}
        """By a bot's number: the user's strategy that it ran last, and its digest."""

    def make(
        self, record: BotRecord, book: BotBook, memory: dict[str, Any] | None = None, *, fresh: bool = False
    ) -> Bot:
        """Return the bot of ``record``; errors say what is missing or wrong (strategy file, symbol).

        ``fresh`` reads a strategy's file again that has changed since it was loaded.
        """
        spec = record.spec
        instrument = self._instrument(record)
        info = self._registry.load(spec.strategy, fresh=fresh)
        self._require_trust(record, info)
        strategy = info.build(spec.params)
        needs = warmup_of(info.name, strategy)
        reads = reads_of(info.name, strategy, spec.symbol, spec.interval)
        for read in reads:
            self._listed(spec.name, read.symbol)

        def mind_of(bot: Bot) -> Mind:
            if isinstance(strategy, SignalStrategy):
                key = (info.name, info.digest, msgspec.json.encode(spec.params, order="sorted"))
                return SignalMind(bot, strategy, key, needs=needs, trusted=info.builtin, reads=reads)
            assert isinstance(strategy, EventStrategy)
            return EventMind(bot, strategy, dict(memory or {}), needs=needs, trusted=info.builtin, reads=reads)

        bot = Bot(record, instrument, book, self._desk, mind_of)
        bot.code = "" if info.builtin else info.digest
        return bot

    def take_up(self, record: BotRecord, book: BotBook, memory: dict[str, Any], kept: Kept) -> Bot:
        """Return a bot from the ledger; NotFoundError where its symbol is gone.

        One whose strategy cannot be loaded is failed and without a mind, for its position and orders.
        """
        if kept.code:
            self._ran[record.number] = record.spec.strategy, kept.code
        try:
            bot = self.make(record, book, memory)
        except BotdError as error:
            bot = Bot(record, self._instrument(record), book, self._desk, lambda bot: LostMind(memory))
            bot.lost = error
            logger.error("bot %s: %s", record.spec.name, error.message)
            # In memory only: with the file mended the next start goes on as if nothing had been.
            record.state, record.reason = BotState.FAILED.value, error.message
        bot.skipped_min_notional, bot.trades = kept.skipped, kept.trades
        bot.remember_failure(kept.failed_ms)
        bot.denials.restore(kept.denials)
        stops.restore(bot, kept.atr)
        bot.exit.restore(kept.exit)
        if bot.code and kept.code and bot.code != kept.code:
            self.tell_changed(bot)
        return bot

    def keep_code(self, bot: Bot) -> None:
        """Let the ledger know which source the bot runs."""
        self._ran[bot.number] = bot.spec.strategy, bot.code
        self._desk.journal.keyed("code", {str(bot.number): bot.code or None})

    def tell_changed(self, bot: Bot) -> None:
        """The bot runs another source than it did last: a paper bot goes on with it, and says so."""
        logger.warning("bot %s: the file of strategy %s is another than before", bot.name, bot.spec.strategy)
        data = {"strategy": bot.spec.strategy, "digest": bot.code}
        now = self._desk.clock.now_ms()
        self._desk.journal.event(Event(topic="bot.code", time_ms=now, bot=bot.name, data=data))
        self.keep_code(bot)

    def changed(self, bot: Bot) -> bool:
        """Tell whether the file of a user's strategy is another than the one that the bot runs (or gone)."""
        return bool(bot.code) and self._registry.digest(bot.spec.strategy) != bot.code

    def _require_trust(self, record: BotRecord, info: StrategyInfo) -> None:
        """Raise DeniedError for a bot with real money whose strategy's file changed, unless its owner vouched for it.

        Another strategy than the one that it ran was asked for by its owner.
        """
        name, digest = self._ran.get(record.number, ("", ""))
        if record.spec.mode != "live" or info.builtin or name != info.name or digest == info.digest:
            return
        if trusted(self._state_dir).get(name) != info.digest:
            raise DeniedError(
                f"strategy {name}: {info.path} is not the file that {record.spec.name} traded real money by",
                f"botctl check {name} --trust vouches for it; then: botctl start {record.spec.name}",
            )

    def _instrument(self, record: BotRecord) -> Instrument:
        return self._listed(record.spec.name, record.spec.symbol)

    def _listed(self, name: str, symbol: str) -> Instrument:
        instrument = self.instruments.get(symbol)
        if instrument is None:
            raise NotFoundError(f"{name}: no symbol {symbol!r} in this market", "see: botctl symbols")
        return instrument
