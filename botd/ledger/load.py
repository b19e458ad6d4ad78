"""Reading back what the orchestrator needs after any end, at once and in time that does not grow with history.

It may not write.
"""

from __future__ import annotations

import sqlite3
from decimal import Decimal
from typing import Any

import msgspec

from botd.domain.bot_spec import BotSpec
from botd.domain.order import PANIC_SEQUENCE, Order, OrderStatus, OrderType, Purpose, Side
from botd.domain.position import Position
from botd.ledger.checksums import sound
from botd.ledger.records import ACCOUNT, Book, BotRecord, Loaded
from botd.ledger.tables import TABLES, Row

_EXACT = {"quantity", "cost", "bought_quantity", "bought_notional", "sold_quantity", "sold_notional"}
_EXACT |= {"fees", "realized_pnl", "price", "stop_price", "filled", "filled_notional"}
_ENUMS = {"side": Side, "type": OrderType, "purpose": Purpose, "status": OrderStatus}


def load(connection: sqlite3.Connection) -> Loaded:
    """Return the state as of the last commit. sqlite3.Error, MsgspecError, DamagedRowError: a damaged file."""
    sound(connection, "meta")
    bots = [_bot(row) for row in sound(connection, "bots", "WHERE number > ? ORDER BY number", (ACCOUNT,))]
    numbers = [ACCOUNT, *(bot.number for bot in bots)]
    return Loaded(
        bots=[bot for bot in bots if bot.removed_ms is None],
        removed=[bot for bot in bots if bot.removed_ms is not None],
        positions=_positions(connection),
        books=_books(connection),
        open_orders=_open_orders(connection),
        strategy_states=_strategy_states(connection),
        kv=_keyed(connection),
        last_sequence=_last_sequences(connection, numbers),
        trade_counts=dict(connection.execute("SELECT bot, count(*) FROM trades GROUP BY bot").fetchall()),
        trade_ids=_trade_ids(connection),
        next_bot_number=max(numbers) + 1,
    )


def last_outcomes(connection: sqlite3.Connection) -> dict[int, str]:
    """Return the outcome of each bot's last decision."""
    numbers = [row[0] for row in connection.execute("SELECT number FROM bots")]
    last = "SELECT outcome FROM decisions WHERE bot = ? ORDER BY time_ms DESC, id DESC LIMIT 1"
    found = {number: connection.execute(last, (number,)).fetchone() for number in numbers}
    return {number: row[0] for number, row in found.items() if row is not None}


def _bot(row: Row) -> BotRecord:
    number, _name, spec, *rest = row
    fields = dict(
        zip(("desired", "state", "since_ms", "reason", "failures", "created_ms", "removed_ms"), rest, strict=True)
    )
    return msgspec.convert(
        {"number": number, "spec": msgspec.json.decode(str(spec), type=BotSpec), **fields}, BotRecord
    )


def _positions(connection: sqlite3.Connection) -> list[Position]:
    rows = sound(connection, "positions", "ORDER BY bot, symbol")
    return [Position(**fields) for row in rows if (fields := _fields("positions", row))["quantity"]]


def _books(connection: sqlite3.Connection) -> dict[int, Book]:
    return {
        int(str(bot)): Book(cash=Decimal(str(cash)), realized=Decimal(str(realized)), fees=Decimal(str(fees)))
        for bot, cash, realized, fees in sound(connection, "books", "ORDER BY bot")
    }


def _open_orders(connection: sqlite3.Connection) -> list[Order]:
    rows = sound(connection, "orders", "WHERE rank < 4 ORDER BY +id")  # by id alone SQLite would read all that ended
    return [_order(_fields("orders", row)) for row in rows]


def _trade_ids(connection: sqlite3.Connection) -> dict[str, list[str]]:
    """Return the trade ids of the fills of open orders: a report that comes again must not count again."""
    found: dict[str, list[str]] = {}
    partial = "SELECT bot, client_order_id FROM orders WHERE rank < 4 AND filled <> '0'"  # rare, hence no index
    for bot, order in connection.execute(partial).fetchall():
        rows = connection.execute("SELECT trade_id FROM fills WHERE bot = ? AND client_order_id = ?", (bot, order))
        found[order] = [row[0] for row in rows]
    return found


def _order(fields: dict[str, Any]) -> Order:
    for name in ("rank", "sequence"):
        del fields[name]
    fields["cancel_requested"] = bool(fields["cancel_requested"])
    return Order(**fields)


def _fields(table: str, row: Row) -> dict[str, Any]:
    """Return a row by column, amounts as Decimal and words as their enumeration."""
    fields: dict[str, Any] = {}
    value: Any
    for name, value in zip(TABLES[table].columns, row, strict=True):
        if value is not None and name in _EXACT:
            value = Decimal(str(value))
        elif name in _ENUMS:
            value = _ENUMS[name](value)
        fields[name] = value
    return fields


def _strategy_states(connection: sqlite3.Connection) -> dict[int, dict[str, object]]:
    rows = sound(connection, "strategy_states")
    return {int(str(bot)): msgspec.json.decode(str(state)) for bot, state in rows}


def _keyed(connection: sqlite3.Connection) -> dict[str, dict[str, str]]:
    spaces: dict[str, dict[str, str]] = {}
    for space, key, value in sound(connection, "keyed", "ORDER BY space, key"):
        spaces.setdefault(str(space), {})[str(key)] = str(value)
    return spaces


def _last_sequences(connection: sqlite3.Connection, numbers: list[int]) -> dict[int, int]:
    last = "SELECT max(sequence) FROM orders WHERE bot = ? AND sequence < ?"
    found = {number: connection.execute(last, (number, PANIC_SEQUENCE)).fetchone()[0] for number in numbers}
    return {number: sequence for number, sequence in found.items() if sequence}
