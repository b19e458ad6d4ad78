"""What the market lists: grids and statuses of instruments, kept in the ledger for when it is out of reach."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping

import msgspec

from botd.bot.bot import Bot
from botd.domain.instrument import Instrument
from botd.ledger.journal import Journal

logger = logging.getLogger("botd.world")

SPACE = "instruments"


class Listing:
    """The instruments by symbol, one mapping that everybody shares."""

    def __init__(self, kept: Mapping[str, str], journal: Journal, bots: Callable[[], Iterable[Bot]]) -> None:
        """``kept`` are the ledger's rows of the last run."""
        self.instruments: dict[str, Instrument] = {
            key: msgspec.json.decode(row, type=Instrument) for key, row in kept.items()
        }
        self._kept = dict(kept)
        self._journal = journal
        self._bots = bots

    def take(self, found: Mapping[str, Instrument]) -> None:
        """Take what is listed now, also for the bots that there are."""
        self.instruments.update(found)
        for bot in self._bots():
            listed = found.get(bot.spec.symbol, bot.instrument)
            if listed.status != bot.instrument.status:
                logger.warning("%s: %s -> %s", bot.spec.symbol, bot.instrument.status, listed.status)
            bot.instrument = listed
        rows = {key: msgspec.json.encode(instrument).decode() for key, instrument in found.items()}
        changed = {key: row for key, row in rows.items() if self._kept.get(key) != row}
        self._kept.update(changed)
        self._journal.keyed(SPACE, changed)
