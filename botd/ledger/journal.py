"""The journal: what the rooms write down while they work, collected into batches.

Appending costs a tuple; nothing is written until the ledger commits the batch. Values are encoded at once,
so the caller may change them afterwards. It may not touch a connection, nor judge what it is given.
"""

from __future__ import annotations

import asyncio
import numbers
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import msgspec

from botd.domain.decision import Decision
from botd.domain.events import Event
from botd.domain.order import Fill, Order
from botd.domain.position import Position, Trade
from botd.ledger import audit
from botd.ledger.records import BotRecord, SequencedEvent, amount, optional_amount
from botd.ledger.tables import Row

_PLAIN = {str, int, float, type(None)}


def _foreign(value: Any) -> Any:
    """Return a JSON value for what strategies put in their notes: numpy scalars, sets, anything."""
    if hasattr(value, "item"):
        return value.item()
    return sorted(value) if isinstance(value, (set, frozenset)) else str(value)


_encode = msgspec.json.Encoder(enc_hook=_foreign).encode


def _code_of(reply: str) -> str:
    """Return why an encoded reply tells of no success: the code of the refusal, or of the first row that failed."""
    told = msgspec.json.decode(reply)
    told = told if isinstance(told, dict) else {}
    if told.get("ok") is not True:
        return str((told.get("error") or {}).get("code") or "INTERNAL")
    result = told.get("result")
    rows = result.get("rows") if isinstance(result, dict) else None
    failed = [row["error"] for row in rows or () if isinstance(row, dict) and row.get("error")]
    return str(failed[0].get("code") or "INTERNAL") if failed and isinstance(failed[0], dict) else ""


@dataclass(slots=True)
class Batch:
    """Rows that become durable together or not at all, and who waits for that.

    ``sequence`` and ``event_seq`` (the last event's number so far) are given at commit.
    """

    rows: dict[str, list[Row]]
    events: list[SequencedEvent]
    size: int
    sequence: int
    event_seq: int
    waiters: list[asyncio.Future[None]] = field(default_factory=list)


class Journal:
    """Append to the batch under way."""

    def __init__(self, outcomes: dict[int, str]) -> None:
        """``outcomes`` is the last decision's outcome of each bot: changes of it are kept for ever."""
        self._outcomes = outcomes
        self._rows: dict[str, list[Row]] = {}
        self._events: list[tuple[Event, str]] = []

    @property
    def empty(self) -> bool:
        """True while nothing was appended since the last commit."""
        return not (self._rows or self._events)

    def order(self, order: Order) -> None:
        """Write an order as it is now; the same client order id replaces what was there."""
        row = (
            order.client_order_id,
            order.bot,
            order_sequence(order),
            order.symbol,
            order.interval,
            order.side.value,
            order.type.value,
            amount(order.quantity),
            optional_amount(order.price),
            optional_amount(order.stop_price),
            order.trigger_price,
            order.purpose.value,
            order.intent_reason,
            order.status.value,
            order.status.rank,
            order.exchange_order_id,
            amount(order.filled),
            amount(order.filled_notional),
            order.reason,
            int(order.cancel_requested),
            order.created_ms,
            order.updated_ms,
        )
        self._append("orders", row)
        self._append("audit", audit.of_order(order))

    def fill(self, fill: Fill, realized_pnl: Decimal) -> None:
        """Write a fill; one that is there already (symbol and trade id) is left as it was."""
        row = (
            fill.symbol,
            fill.trade_id,
            fill.client_order_id,
            fill.bot,
            fill.side.value,
            amount(fill.quantity),
            amount(fill.price),
            amount(fill.fee),
            fill.fee_asset,
            amount(realized_pnl),
            fill.time_ms,
        )
        self._append("fills", row)
        self._append("audit", audit.of_fill(fill))

    def adjustment(self, bot: int, symbol: str, trade_id: str, kind: str, value: Decimal, time_ms: int) -> None:
        """Write what a fill does not say by itself, for :mod:`botd.ledger.replay`."""
        self._append("adjustments", (bot, symbol, trade_id, kind, amount(value), time_ms))

    def trade(self, trade: Trade) -> None:
        """Write a finished round trip."""
        row = (
            trade.bot,
            trade.symbol,
            trade.side,
            amount(trade.quantity),
            trade.entry_time_ms,
            trade.exit_time_ms,
            amount(trade.entry_price),
            amount(trade.exit_price),
            amount(trade.pnl),
            trade.return_pct,
            amount(trade.fees),
            trade.exit_reason,
            trade.bars,
        )
        self._append("trades", row)

    def position(self, position: Position) -> None:
        """Write a bot's holding and its levels."""
        row = (
            position.bot,
            position.symbol,
            amount(position.quantity),
            amount(position.cost),
            position.stop,
            position.target,
            position.trailing,
            position.highest,
            position.entry_time_ms,
            position.entry_bar,
            amount(position.bought_quantity),
            amount(position.bought_notional),
            amount(position.sold_quantity),
            amount(position.sold_notional),
            amount(position.fees),
            amount(position.realized_pnl),
        )
        self._append("positions", row)

    def bot(self, record: BotRecord) -> None:
        """Write a bot: its spec, its desired and its present state."""
        row = (
            record.number,
            record.spec.name,
            _encode(record.spec).decode(),
            str(record.desired),
            str(record.state),
            record.since_ms,
            record.reason,
            record.failures,
            record.created_ms,
            record.removed_ms,
        )
        self._append("bots", row)

    def book(self, bot: int, cash: Decimal, realized: Decimal, fees: Decimal) -> None:
        """Write a bot's money."""
        self._append("books", (bot, amount(cash), amount(realized), amount(fees)))

    def strategy_state(self, bot: int, state: dict[str, Any]) -> None:
        """Write an event strategy's memory, JSON types only."""
        self._append("strategy_states", (bot, _encode(state).decode()))

    def decision(self, decision: Decision) -> None:
        """Write the trace of a decision."""
        changed = self._outcomes.get(decision.bot) != decision.outcome
        self._outcomes[decision.bot] = decision.outcome
        data = _encode({"gates": decision.gates, "notes": decision.notes}).decode()
        self._append("decisions", (decision.bot, decision.time_ms, decision.outcome, int(changed), data))

    def equity(self, bot: int, time_ms: int, equity: Decimal, cash: Decimal, exposure: Decimal) -> None:
        """Write one point of an equity curve; bot 0 is the account."""
        self._append("equity", (bot, time_ms, amount(equity), amount(cash), amount(exposure)))

    def keyed(self, space: str, changes: Mapping[str, str | None]) -> None:
        """Write values by key within ``space``; None deletes the key."""
        if not changes:
            return
        rows = self._rows.setdefault("keyed", [])
        rows.extend((space, key, value) for key, value in changes.items())

    def command(
        self, request_id: str, uid: int, pid: int, cmd: str, args: dict[str, Any], reply: Any, time_ms: int
    ) -> None:
        """Write a command and its reply, found again by :func:`botd.ledger.queries.recall`.

        ``time_ms`` is wall time: a request id is remembered for 24 h of the caller's day.
        """
        row = (request_id, uid, pid, cmd, _encode(args).decode(), _encode(reply).decode(), time_ms)
        self._append("commands", row)
        given = msgspec.Raw(row[4].encode())
        self._append("audit", audit.of_command(request_id, uid, pid, cmd, given, _code_of(row[5]), time_ms))

    def refusal(
        self, request_id: str, uid: int, pid: int, cmd: str, args: dict[str, Any], code: str, time_ms: int
    ) -> None:
        """Write that a command was turned away, with the code: the audit knows, and its id may be used again."""
        entry = audit.of_command(request_id, uid, pid, cmd, args, code, time_ms, admitted=False)
        self._append("audit", entry)

    @property
    def next_event(self) -> int:
        """The place of an event that would be written now, for one that is told later."""
        return len(self._events)

    def event(self, event: Event, at: int | None = None) -> None:
        """Write an event, last or at what :attr:`next_event` was; followers hear of it once it is durable."""
        self._events.insert(self.next_event if at is None else at, (event, _encode(event.data).decode()))
        entry = audit.of_event(event)
        if entry is not None:
            self._append("audit", entry)

    def take(self, sequence: int, event_seq: int) -> Batch:
        """Return what was appended as batch number ``sequence``, events numbered on from ``event_seq``."""
        rows, events = self._rows, []
        if self._events:
            numbered = rows.setdefault("events", [])
            for event, data in self._events:
                event_seq += 1
                numbered.append((event_seq, event.topic, event.time_ms, event.bot, data))
                events.append(
                    SequencedEvent(
                        seq=event_seq, topic=event.topic, time_ms=event.time_ms, bot=event.bot, data=event.data
                    )
                )
        self._rows, self._events = {}, []
        return Batch(rows, events, sum(map(len, rows.values())), sequence, event_seq)

    def _append(self, table: str, row: Row) -> None:
        if not _PLAIN.issuperset(map(type, row)):
            row = tuple(map(_plain, row))
        rows = self._rows.get(table)
        if rows is None:
            self._rows[table] = [row]
        else:
            rows.append(row)


def _plain(value: Any) -> str | int | float | None:
    """Return a value SQLite takes; TypeError here, at the caller, and not later in the writer for all."""
    if value is None:
        return None
    if isinstance(value, str):
        return str(value)
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    raise TypeError(f"the ledger cannot keep {value!r} of type {type(value).__name__}")


def order_sequence(order: Order) -> int:
    """Return the bot's order number out of a client order id of ours (P7K3QX-bot-sequence-check), else 0."""
    parts = order.client_order_id.split("-")
    ours = len(parts) == 4 and parts[1] == str(order.bot) and parts[2].isdecimal()
    return int(parts[2]) if ours else 0
