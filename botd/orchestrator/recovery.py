"""Recovery: from what the ledger keeps to the state in memory, after any end."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from botd.bot.denials import SPACE as DENIALS
from botd.bot.exits import SPACE as EXITS
from botd.bot.stops import SPACE as ATR
from botd.domain.position import Position
from botd.execution.gateway import Gateway
from botd.ledger.accounting import BotBook
from botd.ledger.records import BotRecord, Loaded
from botd.orchestrator.bot_factory import Kept
from botd.orchestrator.orchestrator import Orchestrator

Restore = Callable[[Mapping[str, str]], None]


def recover(loaded: Loaded, orchestrator: Orchestrator, gateway: Gateway, restores: Mapping[str, Restore]) -> None:
    """Rebuild orders, bots and keyed state. ``restores`` takes each space of keyed rows."""
    for space, restore in restores.items():
        restore(loaded.kv.get(space, {}))
    gateway.restore(loaded.open_orders, loaded.last_sequence, loaded.trade_ids)
    positions = {position.bot: position for position in loaded.positions}
    for record in loaded.bots:
        orchestrator.restore(
            record,
            _book(record, loaded, positions.get(record.number)),
            dict(loaded.strategy_states.get(record.number, {})),
            _kept(record.number, loaded),
        )


def _kept(number: int, loaded: Loaded) -> Kept:
    spaces, key = loaded.kv, str(number)
    return Kept(
        skipped=int(spaces.get("skipped", {}).get(key, "0")),
        trades=loaded.trade_counts.get(number, 0),
        failed_ms=int(spaces.get("failures", {}).get(key, "0")),
        denials=spaces.get(DENIALS, {}).get(key, ""),
        code=spaces.get("code", {}).get(key, ""),
        atr=spaces.get(ATR, {}).get(key, ""),
        exit=spaces.get(EXITS, {}).get(key, ""),
    )


def _book(record: BotRecord, loaded: Loaded, position: Position | None) -> BotBook:
    kept = loaded.books.get(record.number)
    if kept is None:
        return BotBook(record.number, record.spec.symbol, record.spec.capital)
    return BotBook(
        record.number,
        record.spec.symbol,
        record.spec.capital,
        cash=kept.cash,
        realized_pnl=kept.realized,
        fees=kept.fees,
        position=position,
    )
