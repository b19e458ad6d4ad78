"""Whether the tables say what the audit's chain says: every order, fill and command with the values it was told with.

The chain proves that its entries are as they were written; this holds the rows beside them. It reads only, in one
pass over the entries, and keeps in memory no more than the orders that are open or differ.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from botd.domain.order import OrderStatus
from botd.ledger import audit

Facts = dict[str, Any]
_FILL = {"order": "client_order_id", "bot": "bot", "side": "side", "quantity": "quantity", "price": "price"}
_FILL |= {"fee": "fee", "fee_asset": "fee_asset"}
_ORDER = {"status": "status", "filled": "filled", "exchange_order_id": "exchange_order_id", "bot": "bot"}
_ORDER |= {"symbol": "symbol", "side": "side", "type": "type", "quantity": "quantity", "price": "price"}
_ORDER |= {"stop_price": "stop_price", "purpose": "purpose", "intent": "intent_reason"}
_ENDED = frozenset(status.value for status in OrderStatus if not status.is_open)
UNAUDITED = ("orders", "fills", "commands")
"""Tables whose rows of before the audit have no entry; up to which one is in the meta row ``unaudited_<table>``."""


def differences(connection: sqlite3.Connection) -> Iterator[str]:
    """Tell in words each row that differs from its entry, has none, or is missing. The chain itself is not judged."""
    connection.row_factory, before = sqlite3.Row, connection.row_factory
    try:
        held = _Held(connection)
        for number, _, kind, entry, _ in audit.entries(connection):
            facts = _decoded(entry)
            if facts is not None:
                yield from held.take(int(str(number)), str(kind), facts)
        yield from held.end()
    finally:
        connection.row_factory = before


class _Held:
    """What was read of the entries so far, held against the rows."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._kinds: dict[str, Callable[[int, Facts], str]] = {"fill": self._fill, "command": self._command}
        self._open: dict[str, tuple[int, Facts]] = {}
        self._wrong: dict[str, tuple[int, Facts]] = {}
        self._counts = dict.fromkeys(UNAUDITED, 0)

    def take(self, number: int, kind: str, facts: Facts) -> Iterator[str]:
        """Take the next entry; yield what is wrong with the row it tells of, where that is sure already."""
        if kind == "order":
            self._order(number, facts)
        elif kind in self._kinds and (wrong := self._kinds[kind](number, facts)):
            yield wrong

    def end(self) -> Iterator[str]:
        """Yield what is wrong with the orders as the last entries tell of them, and the rows that no entry knows."""
        for order, (number, facts) in {**self._open, **self._wrong}.items():
            if wrong := self._order_differs(number, order, facts):
                yield wrong
        for table in UNAUDITED:
            yield from self._unknown(table)

    def _fill(self, number: int, facts: Facts) -> str:
        self._counts["fills"] += 1
        symbol, trade = facts.get("symbol"), facts.get("trade")
        row = self._row("SELECT * FROM fills WHERE symbol = ? AND trade_id = ?", symbol, trade)
        return _differs(f"the fill {trade} of {symbol}", number, row, facts, _FILL)

    def _order(self, number: int, facts: Facts) -> None:
        order = str(facts.get("order"))
        known = self._open.pop(order, None) or self._wrong.pop(order, None)
        self._counts["orders"] += "quantity" in facts  # its first entry
        told = {**known[1], **facts} if known else facts
        if facts.get("status") not in _ENDED:
            self._open[order] = number, told
        elif self._order_differs(number, order, told):  # a later entry may still explain it
            self._wrong[order] = number, told

    def _order_differs(self, number: int, order: str, facts: Facts) -> str:
        row = self._row("SELECT * FROM orders WHERE client_order_id = ?", order)
        return _differs(f"the order {order}", number, row, facts, _ORDER)

    def _command(self, number: int, facts: Facts) -> str:
        if facts.get("admitted") is False:
            return ""  # refused before anything was done: only the audit keeps it
        self._counts["commands"] += 1
        named = f"the command {facts.get('cmd')} ({facts.get('request')})"
        rows = self._connection.execute("SELECT * FROM commands WHERE request_id = ?", (facts.get("request"),))
        found = [{**dict(row), "args": _decoded(row["args"])} for row in rows.fetchall()]
        wanted = {key: facts.get(key) for key in ("cmd", "uid", "pid", "args")}
        if any(all(row[key] == value for key, value in wanted.items()) for row in found):
            return ""
        return f"{named} is not in the ledger as entry {number} of the audit has it"

    def _unknown(self, table: str) -> Iterator[str]:
        """Yield the rows without an entry; they are looked for only where the numbers do not fit."""
        first = self._row("SELECT value FROM meta WHERE key = ?", f"unaudited_{table}")
        after = int(first["value"]) if first else 0
        rows = self._row(f"SELECT count(*) AS n FROM {table} WHERE id > ?", after)
        if rows is None or rows["n"] == self._counts[table]:
            return
        kind, key, path = {
            "orders": ("order", "client_order_id", "json_extract(entry, '$.order')"),
            "fills": (
                "fill",
                "symbol || ' ' || trade_id",
                "json_extract(entry, '$.symbol') || ' ' || json_extract(entry, '$.trade')",
            ),
            "commands": ("command", "request_id", "json_extract(entry, '$.request')"),
        }[table]
        told = f"SELECT coalesce({path}, '') FROM audit WHERE kind = ? AND json_valid(entry)"
        found = self._connection.execute(
            f"SELECT {key} AS named FROM {table} WHERE id > ? AND {key} NOT IN ({told}) ORDER BY id", (after, kind)
        )
        yield from (f"the {kind} {row['named']} is in the ledger, and no entry of the audit knows it" for row in found)

    def _row(self, sql: str, *parameters: object) -> sqlite3.Row | None:
        row: sqlite3.Row | None = self._connection.execute(sql, parameters).fetchone()
        return row


def _differs(named: str, number: int, row: sqlite3.Row | None, facts: Facts, columns: dict[str, str]) -> str:
    if row is None:
        return f"{named} is missing in the ledger: entry {number} of the audit tells of it"
    for key, column in columns.items():
        if key in facts and facts[key] != row[column]:
            return f"{named} has {column} {row[column]}, entry {number} of the audit says {facts[key]}"
    return ""


def _decoded(text: object) -> Facts | None:
    try:
        found = msgspec.json.decode(str(text))
    except msgspec.DecodeError:
        return None  # the chain says that it is damaged
    return found if isinstance(found, dict) else None
