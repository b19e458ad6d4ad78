"""The ledger's tables: their columns, keys and how a row is written, in one place.

Schema creation and the writer's statements both come from here. Amounts are TEXT decimals, times INTEGER
milliseconds of trading time, JSON is TEXT. It may not touch a connection.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

Row = tuple[str | int | float | None, ...]
Policy = Literal["replace", "ignore", "append"]
CHECKSUM = "checksum"


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """One table. ``columns`` are written in this order, the key's columns first.

    ``policy`` says what happens to a row whose key is there already: replace it, ignore the new one, or
    (append) there is no such case. ``serial`` adds an INTEGER PRIMARY KEY ``id`` in order of writing,
    with a unique index on the key, if there is one.
    """

    name: str
    columns: dict[str, type]
    key: tuple[str, ...] = ()
    policy: Policy = "replace"
    serial: bool = False
    nullable: frozenset[str] = frozenset()
    indexes: tuple[tuple[str, ...], ...] = ()
    partial: tuple[tuple[str, str, str], ...] = ()
    """Partial indexes: (name, column, condition)."""
    belongs_to_bot: bool = False
    checked: bool = True
    """Each row carries a checksum of its columns (:mod:`botd.ledger.checksums`)."""

    @property
    def stored(self) -> dict[str, type]:
        """The columns as they are in the file."""
        return {**self.columns, CHECKSUM: int} if self.checked else self.columns

    @property
    @cache  # noqa: B019 - the tables are constants of this module
    def floats(self) -> frozenset[int]:
        """Which columns are floats, by place."""
        return frozenset(at for at, kind in enumerate(self.columns.values()) if kind is float)

    @cache  # noqa: B019 - the tables are constants of this module
    def insert(self, rows: int) -> str:
        """Return the statement that writes ``rows`` rows at once.

        One statement for many rows takes and gives back the interpreter's lock once: with a busy event
        loop in the same process ``executemany`` is ten times slower, measured.
        """
        columns = self.stored
        one = "(" + ",".join("?" * len(columns)) + ")"
        head = f"INSERT INTO {self.name} ({','.join(columns)}) VALUES {','.join([one] * rows)}"
        if self.policy == "append":
            return head
        target = f" ON CONFLICT ({','.join(self.key)}) DO "
        if self.policy == "ignore":
            return head + target + "NOTHING"
        rest = [column for column in columns if column not in self.key]
        return head + target + "UPDATE SET " + ",".join(f"{column}=excluded.{column}" for column in rest)


_POSITION = {"bot": int, "symbol": str, "quantity": str, "cost": str, "stop": float, "target": float}
_POSITION |= {"trailing": float, "highest": float, "entry_time_ms": int, "entry_bar": int}
_POSITION |= dict.fromkeys(("bought_quantity", "bought_notional", "sold_quantity", "sold_notional"), str)
_POSITION |= {"fees": str, "realized_pnl": str}

_ORDER = {"client_order_id": str, "bot": int, "sequence": int, "symbol": str, "interval": str, "side": str}
_ORDER |= {"type": str, "quantity": str, "price": str, "stop_price": str, "trigger_price": float}
_ORDER |= {"purpose": str, "intent_reason": str, "status": str, "rank": int, "exchange_order_id": str}
_ORDER |= {"filled": str, "filled_notional": str, "reason": str, "cancel_requested": int}
_ORDER |= {"created_ms": int, "updated_ms": int}

_FILL = {"symbol": str, "trade_id": str, "client_order_id": str, "bot": int, "side": str, "quantity": str}
_FILL |= {"price": str, "fee": str, "fee_asset": str, "realized_pnl": str, "time_ms": int}

_TRADE = {"bot": int, "symbol": str, "side": str, "quantity": str, "entry_time_ms": int, "exit_time_ms": int}
_TRADE |= {"entry_price": str, "exit_price": str, "pnl": str, "return_pct": float, "fees": str}
_TRADE |= {"exit_reason": str, "bars": int}

_BOT = {"number": int, "name": str, "spec": str, "desired": str, "state": str, "since_ms": int}
_BOT |= {"reason": str, "failures": int, "created_ms": int, "removed_ms": int}

_COMMAND = {"request_id": str, "uid": int, "pid": int, "cmd": str, "args": str, "reply": str, "time_ms": int}

_ADJUSTMENT = {"bot": int, "symbol": str, "trade_id": str, "kind": str, "amount": str, "time_ms": int}

_AUDIT = {"id": int, "time_ms": int, "kind": str, "entry": str, "mac": str}

ALL = (
    Table("meta", {"key": str, "value": str}, ("key",)),
    Table("bots", _BOT, ("number",), nullable=frozenset({"removed_ms"})),
    Table("books", {"bot": int, "cash": str, "realized": str, "fees": str}, ("bot",), belongs_to_bot=True),
    Table(
        "positions",
        _POSITION,
        ("bot", "symbol"),
        nullable=frozenset({"stop", "target", "trailing", "highest"}),
        belongs_to_bot=True,
    ),
    Table(
        "orders",
        _ORDER,
        ("client_order_id",),
        serial=True,
        nullable=frozenset({"price", "stop_price", "trigger_price"}),
        indexes=(("bot",), ("bot", "sequence"), ("exchange_order_id",)),
        partial=(("orders_open", "rank", "rank < 4"),),
    ),
    Table("fills", _FILL, ("symbol", "trade_id"), "ignore", serial=True, indexes=(("bot",),)),
    Table("adjustments", _ADJUSTMENT, policy="append", serial=True, indexes=(("symbol", "trade_id"),)),
    Table("trades", _TRADE, policy="append", serial=True, indexes=(("bot",),), belongs_to_bot=True),
    Table(
        "decisions",
        {"bot": int, "time_ms": int, "outcome": str, "changed": int, "data": str},
        policy="append",
        serial=True,
        indexes=(("bot", "time_ms"),),
        partial=(("decisions_same", "time_ms", "changed = 0"),),
    ),
    Table("equity", {"bot": int, "time_ms": int, "equity": str, "cash": str, "exposure": str}, ("bot", "time_ms")),
    Table("commands", _COMMAND, policy="append", serial=True, indexes=(("request_id",),)),
    Table("events", {"seq": int, "topic": str, "time_ms": int, "bot": str, "data": str}, ("seq",), "append"),
    Table("keyed", {"space": str, "key": str, "value": str}, ("space", "key")),
    Table("strategy_states", {"bot": int, "state": str}, ("bot",), belongs_to_bot=True),
    Table("audit", _AUDIT, ("id",), "append", checked=False),
)

TABLES = {table.name: table for table in ALL}
