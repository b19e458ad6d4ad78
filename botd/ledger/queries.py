"""The ledger's lists, as the rows that ``botctl`` prints.

Each function returns (rows, cursor): oldest first, newest last, at most ``limit``; the cursor, given back,
continues after the last row, and is None at the end. ``last`` returns the newest so many instead. Amounts
are strings, times RFC 3339, ``bot`` the bot's name. It reads only, through the ledger's reading pool.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Protocol

import msgspec

from botd.domain.clock import rfc3339
from botd.domain.errors import InvalidError
from botd.domain.position import Position
from botd.ledger.accounting import average
from botd.ledger.records import amount, optional_amount

PageOf = tuple[list[dict[str, Any]], str | None]
REMEMBERED_MS = 24 * 3_600_000
PAGE = 1000
_CURSOR = re.compile(r"^(-?\d{1,19})(?:_(-?\d{1,19}))?$")


class Reader(Protocol):
    """The part of the ledger that queries need."""

    async def query(self, sql: str, params: Sequence[Any] = ()) -> list[dict[str, Any]]: ...


@dataclass(frozen=True, slots=True)
class _List:
    """How one list is read: ``order`` are the columns that rise from row to row."""

    table: str
    order: tuple[str, ...]
    time: str
    row: Callable[[dict[str, Any]], dict[str, Any]]
    named: bool = True


@dataclass(slots=True)
class _Where:
    """Conditions on the table ``t`` and their parameters."""

    conditions: list[str]
    parameters: list[Any]

    def add(self, condition: str, *parameters: Any) -> None:
        self.conditions.append(condition)
        self.parameters.extend(parameters)

    def sql(self) -> str:
        return f" WHERE {' AND '.join(self.conditions)}" if self.conditions else ""


async def orders(
    ledger: Reader,
    *,
    bots: Sequence[int] | None = None,
    symbol: str | None = None,
    status: str | None = None,
    open_only: bool = False,
    since_ms: int | None = None,
    until_ms: int | None = None,
    cursor: str | None = None,
    limit: int = PAGE,
    last: int | None = None,
) -> PageOf:
    """Return orders in order of creation; times bind the creation."""
    where = _filters(_ORDERS, bots, symbol, since_ms, until_ms)
    if status is not None:
        where.add("t.status = ?", status)
    if open_only:
        where.add("t.rank < 4")
    return await _page(ledger, _ORDERS, where, cursor, limit, last)


async def fills(
    ledger: Reader,
    *,
    bots: Sequence[int] | None = None,
    symbol: str | None = None,
    since_ms: int | None = None,
    until_ms: int | None = None,
    cursor: str | None = None,
    limit: int = PAGE,
    last: int | None = None,
) -> PageOf:
    """Return fills in the order they were booked."""
    where = _filters(_FILLS, bots, symbol, since_ms, until_ms)
    return await _page(ledger, _FILLS, where, cursor, limit, last)


async def trades(
    ledger: Reader,
    *,
    bots: Sequence[int] | None = None,
    symbol: str | None = None,
    since_ms: int | None = None,
    until_ms: int | None = None,
    cursor: str | None = None,
    limit: int = PAGE,
    last: int | None = None,
) -> PageOf:
    """Return finished round trips in the order they ended; times bind the exit."""
    where = _filters(_TRADES, bots, symbol, since_ms, until_ms)
    return await _page(ledger, _TRADES, where, cursor, limit, last)


async def equity(
    ledger: Reader,
    *,
    bots: Sequence[int] | None = None,
    since_ms: int | None = None,
    until_ms: int | None = None,
    cursor: str | None = None,
    limit: int = PAGE,
    last: int | None = None,
) -> PageOf:
    """Return equity points by time; bot 0 is the account, named ""."""
    where = _filters(_EQUITY, bots, None, since_ms, until_ms)
    return await _page(ledger, _EQUITY, where, cursor, limit, last)


async def decisions(
    ledger: Reader,
    *,
    bots: Sequence[int] | None = None,
    outcome: str | None = None,
    since_ms: int | None = None,
    until_ms: int | None = None,
    cursor: str | None = None,
    limit: int = PAGE,
    last: int | None = None,
) -> PageOf:
    """Return decisions by time, each with its gates and notes."""
    where = _filters(_DECISIONS, bots, None, since_ms, until_ms)
    if outcome is not None:
        where.add("t.outcome = ?", outcome)
    return await _page(ledger, _DECISIONS, where, cursor, limit, last)


async def decision_at(ledger: Reader, bot: int, at_ms: int | None = None) -> dict[str, Any] | None:
    """Return the last decision of ``bot``, or the last one up to ``at_ms``; None where there is none."""
    found, _ = await decisions(ledger, bots=[bot], until_ms=at_ms, last=1)
    return found[0] if found else None


async def events(
    ledger: Reader,
    *,
    since_seq: int | None = None,
    topics: Sequence[str] | None = None,
    bot: str | None = None,
    since_ms: int | None = None,
    until_ms: int | None = None,
    cursor: str | None = None,
    limit: int = PAGE,
    last: int | None = None,
) -> PageOf:
    """Return events after ``since_seq``; a topic also stands for all below it (``bot`` for ``bot.state``)."""
    where = _filters(_EVENTS, None, None, since_ms, until_ms)
    if since_seq is not None:
        where.add("t.seq > ?", since_seq)
    if bot is not None:
        where.add("t.bot = ?", bot)
    if topics:
        topic = "t.topic = ? OR substr(t.topic, 1, length(?) + 1) = ? || '.'"
        where.add("(" + " OR ".join([topic] * len(topics)) + ")", *(name for name in topics for _ in range(3)))
    return await _page(ledger, _EVENTS, where, cursor, limit, last)


async def commands(
    ledger: Reader,
    *,
    uid: int | None = None,
    since_ms: int | None = None,
    until_ms: int | None = None,
    cursor: str | None = None,
    limit: int = PAGE,
    last: int | None = None,
) -> PageOf:
    """Return the commands given, by whom and with what arguments; times are wall time."""
    where = _filters(_COMMANDS, None, None, since_ms, until_ms)
    if uid is not None:
        where.add("t.uid = ?", uid)
    return await _page(ledger, _COMMANDS, where, cursor, limit, last)


async def recall(ledger: Reader, request_id: str, now_ms: int) -> list[dict[str, Any]]:
    """Return what was asked under ``request_id`` within 24 h of wall time and what was answered, newest first.

    Keys: uid, cmd, args, reply (values), time_ms.
    """
    wanted = "SELECT uid, cmd, args, reply, time_ms FROM commands WHERE request_id = ? AND time_ms > ? ORDER BY id DESC"
    rows = await ledger.query(wanted, (request_id, now_ms - REMEMBERED_MS))
    return [
        {**row, "args": msgspec.json.decode(row["args"]), "reply": msgspec.json.decode(row["reply"])} for row in rows
    ]


def open_trade_row(position: Position, name: str, *, bar: int, price: Decimal | None) -> dict[str, Any]:
    """Return the last row of ``trades`` for a position still open: no exit, valued at ``price`` if there is one."""
    worth = None if price is None else position.realized_pnl + position.quantity * price - position.cost
    bought = position.bought_notional
    return {
        "bot": name,
        "symbol": position.symbol,
        "side": "long",
        "quantity": amount(position.quantity),
        "entry_time": rfc3339(position.entry_time_ms),
        "exit_time": None,
        "entry_price": amount(average(position.cost, position.quantity)) if position.quantity else None,
        "exit_price": None,
        "pnl": optional_amount(worth),
        "return_pct": float(worth) / float(bought) * 100 if worth is not None and bought else None,
        "fees": amount(position.fees),
        "exit_reason": None,
        "bars": bar - position.entry_bar,
    }


# -- inside


def _filters(
    shape: _List, bots: Sequence[int] | None, symbol: str | None, since_ms: int | None, until_ms: int | None
) -> _Where:
    where = _Where([], [])
    if bots is not None and len(bots) == 1:
        where.add("t.bot = ?", bots[0])
    elif bots is not None:
        where.add("t.bot IN (SELECT value FROM json_each(?))", msgspec.json.encode(list(bots)).decode())
    if symbol is not None:
        where.add("t.symbol = ?", symbol)
    if since_ms is not None:
        where.add(f"t.{shape.time} >= ?", since_ms)
    if until_ms is not None:
        where.add(f"t.{shape.time} <= ?", until_ms)
    return where


async def _page(
    ledger: Reader, shape: _List, where: _Where, cursor: str | None, limit: int, last: int | None
) -> PageOf:
    if cursor is not None:
        position = _parse_cursor(cursor, len(shape.order))
        where.add(f"({_columns(shape)}) > ({','.join('?' * len(position))})", *position)
    direction = "" if last is None else " DESC"
    order = ", ".join(f"t.{column}{direction}" for column in shape.order)
    join = " LEFT JOIN bots ON bots.number = t.bot" if shape.named else ""
    name = ", bots.name AS bot_name" if shape.named else ""
    count = max(1, limit) + 1 if last is None else max(0, last)
    sql = f"SELECT t.*{name} FROM {shape.table} t{join}{where.sql()} ORDER BY {order} LIMIT ?"
    rows = await ledger.query(sql, (*where.parameters, count))
    if last is not None:
        return [shape.row(row) for row in reversed(rows)], None
    more = len(rows) == count
    rows = rows[: count - 1]
    following = "_".join(str(rows[-1][column]) for column in shape.order) if more else None
    return [shape.row(row) for row in rows], following


def _columns(shape: _List) -> str:
    return ", ".join(f"t.{column}" for column in shape.order)


def _parse_cursor(cursor: str, parts: int) -> list[int]:
    match = _CURSOR.match(cursor)
    numbers = [int(part) for part in match.groups() if part is not None] if match else []
    if len(numbers) != parts or any(abs(number) >= 2**63 for number in numbers):
        raise InvalidError(f"{cursor!r} is not a cursor of this list", "give back `next` of the page before")
    return numbers


def _name(row: dict[str, Any]) -> str:
    return row["bot_name"] or ""


def _order_row(row: dict[str, Any]) -> dict[str, Any]:
    filled = Decimal(row["filled"])
    return {
        "client_order_id": row["client_order_id"],
        "exchange_order_id": row["exchange_order_id"],
        "bot": _name(row),
        "symbol": row["symbol"],
        "side": row["side"],
        "type": row["type"],
        "quantity": row["quantity"],
        "price": row["price"],
        "stop_price": row["stop_price"],
        "filled": row["filled"],
        "average": amount(average(Decimal(row["filled_notional"]), filled)) if filled else None,
        "status": row["status"],
        "reason": row["reason"] or row["intent_reason"],
        "purpose": row["purpose"],
        "intent": row["intent_reason"],
        "created": rfc3339(row["created_ms"]),
        "updated": rfc3339(row["updated_ms"]),
    }


def _fill_row(row: dict[str, Any]) -> dict[str, Any]:
    keys = ("trade_id", "client_order_id", "symbol", "side", "quantity", "price", "fee", "fee_asset", "realized_pnl")
    return {"bot": _name(row), **{key: row[key] for key in keys}, "time": rfc3339(row["time_ms"])}


def _trade_row(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "bot": _name(row),
        "symbol": row["symbol"],
        "side": row["side"],
        "quantity": row["quantity"],
        "entry_time": rfc3339(row["entry_time_ms"]),
        "exit_time": rfc3339(row["exit_time_ms"]),
        "entry_price": row["entry_price"],
        "exit_price": row["exit_price"],
        "pnl": row["pnl"],
        "return_pct": row["return_pct"],
        "fees": row["fees"],
        "exit_reason": row["exit_reason"],
        "bars": row["bars"],
    }


def _equity_row(row: dict[str, Any]) -> dict[str, Any]:
    point = {key: row[key] for key in ("equity", "cash", "exposure")}
    return {"bot": _name(row), "time": rfc3339(row["time_ms"]), **point}


def _decision_row(row: dict[str, Any]) -> dict[str, Any]:
    data = msgspec.json.decode(row["data"])
    return {"name": _name(row), "at": rfc3339(row["time_ms"]), "outcome": row["outcome"], **data}


def _event_row(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "seq": row["seq"],
        "ts": rfc3339(row["time_ms"]),
        "topic": row["topic"],
        "bot": row["bot"],
        "data": msgspec.json.decode(row["data"]),
    }


def _command_row(row: dict[str, Any]) -> dict[str, Any]:
    keys = ("request_id", "uid", "pid", "cmd")
    args = msgspec.json.decode(row["args"])
    return {**{key: row[key] for key in keys}, "args": args, "time": rfc3339(row["time_ms"])}


_ORDERS = _List("orders", ("id",), "created_ms", _order_row)
_FILLS = _List("fills", ("id",), "time_ms", _fill_row)
_TRADES = _List("trades", ("id",), "exit_time_ms", _trade_row)
_EQUITY = _List("equity", ("time_ms", "bot"), "time_ms", _equity_row)
_DECISIONS = _List("decisions", ("time_ms", "id"), "time_ms", _decision_row)
_EVENTS = _List("events", ("seq",), "time_ms", _event_row, named=False)
_COMMANDS = _List("commands", ("id",), "time_ms", _command_row, named=False)
