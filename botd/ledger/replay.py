"""Replaying every fill from the beginning: the books that come of it are those that are kept, to the last digit.

Beside the fills it needs what a fill does not say by itself (table ``adjustments``): what a fee in a third asset was
worth in quote, and what was written off as dust after which fill. It reads only.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import msgspec

from botd.domain.amounts import EXACT
from botd.domain.instrument import ZERO
from botd.domain.order import Fill, Side
from botd.ledger.accounting import BotBook
from botd.ledger.records import ACCOUNT, amount

FEE_VALUE, DUST = "fee_value", "dust"
_FILLS = """SELECT f.trade_id, f.client_order_id, f.bot, f.symbol, f.side, f.quantity, f.price, f.fee, f.fee_asset,
    f.time_ms, (SELECT a.amount FROM adjustments a WHERE a.symbol = f.symbol AND a.trade_id = f.trade_id
        AND a.kind = 'fee_value') AS worth
    FROM fills f WHERE f.bot > 0 ORDER BY f.id"""
_POSITION = ("quantity", "cost", "bought_quantity", "bought_notional", "sold_quantity", "sold_notional", "fees")

State = dict[str, Any]
"""Books by bot, and holdings by bot and symbol, as text."""


def replayed(connection: sqlite3.Connection) -> State:
    """Return the books that the fills make."""
    books: dict[tuple[int, str], BotBook] = {}
    dust = _Dust(connection)
    for row in connection.execute(_FILLS).fetchall():
        fill, worth = _fill(row[:-1]), row[-1]
        book = books.setdefault((fill.bot, fill.symbol), BotBook(fill.bot, fill.symbol, ZERO))
        dust.before(book, fill.time_ms)
        book.apply(fill, reason="", bar=0, fee_value_quote=None if worth is None else Decimal(worth))
        dust.after(book, fill.trade_id)
    for book in books.values():
        dust.before(book, None)
    return _state(connection, books)


def kept(connection: sqlite3.Connection) -> State:
    """Return the books as the ledger keeps them."""
    rows = connection.execute("SELECT bot, cash, realized, fees FROM books WHERE bot > 0").fetchall()
    columns = ", ".join(_POSITION)
    held = connection.execute(f"SELECT bot, symbol, {columns} FROM positions WHERE bot > 0").fetchall()
    return {
        "books": {str(bot): dict(zip(("cash", "realized", "fees"), values, strict=True)) for bot, *values in rows},
        "positions": {f"{bot} {symbol}": dict(zip(_POSITION, values, strict=True)) for bot, symbol, *values in held},
    }


def differences(connection: sqlite3.Connection) -> Iterator[str]:
    """Tell in words where the books are not what the fills make."""
    found, stored = replayed(connection), kept(connection)
    for kind in ("books", "positions"):
        for key in sorted({*found[kind], *stored[kind]}):
            want, have = found[kind].get(key), stored[kind].get(key)
            nothing = {name: "0" for name in (have or want or {}) if name != "cash"}
            for name in nothing | ({"cash": ""} if kind == "books" and want and have else {}):
                one, other = (want or nothing).get(name, "0"), (have or nothing).get(name, "0")
                if one != other:
                    yield f"bot {key}: {name} is {other}, its fills make it {one}"


def state_hash(state: State) -> str:
    """Return a name of a state that equal states share."""
    return hashlib.sha256(msgspec.json.encode(state, order="sorted")).hexdigest()


class _Dust:
    """What was written off, by the fill after which it was; without one, by time."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        rows = connection.execute(
            "SELECT bot, symbol, trade_id, time_ms FROM adjustments WHERE kind = 'dust' ORDER BY id"
        ).fetchall()
        self._by_fill = {(bot, symbol, trade) for bot, symbol, trade, _ in rows if trade}
        self._by_time: dict[tuple[int, str], list[int]] = {}
        for bot, symbol, trade, time_ms in rows:
            if not trade:
                self._by_time.setdefault((bot, symbol), []).append(time_ms)

    def before(self, book: BotBook, time_ms: int | None) -> None:
        """Write off what was written off before a time (None: ever)."""
        waiting = self._by_time.get((book.bot, book.symbol), [])
        while waiting and (time_ms is None or waiting[0] < time_ms):
            waiting.pop(0)
            _write_off(book)

    def after(self, book: BotBook, trade_id: str) -> None:
        """Write off what was written off right after a fill."""
        if (book.bot, book.symbol, trade_id) in self._by_fill:
            _write_off(book)


def _write_off(book: BotBook) -> None:
    book.close_dust(book.position.quantity + 1, reason="", bar=0, time_ms=0)


def _fill(row: tuple[Any, ...]) -> Fill:
    trade_id, order, bot, symbol, side, quantity, price, fee, fee_asset, time_ms = row
    return Fill(
        trade_id=trade_id,
        client_order_id=order,
        bot=bot,
        symbol=symbol,
        side=Side(side),
        quantity=Decimal(quantity),
        price=Decimal(price),
        fee=Decimal(fee),
        fee_asset=fee_asset,
        time_ms=time_ms,
    )


def _state(connection: sqlite3.Connection, books: dict[tuple[int, str], BotBook]) -> State:
    capitals = {
        number: Decimal(str(msgspec.json.decode(spec)["capital"]))
        for number, spec in connection.execute("SELECT number, spec FROM bots WHERE number > ?", (ACCOUNT,))
    }
    sums: dict[int, tuple[Decimal, ...]] = {}
    for (bot, _), book in books.items():
        one = (book.realized_pnl, book.fees, book.position.cost)
        sums[bot] = tuple(map(EXACT.add, sums.get(bot, (ZERO, ZERO, ZERO)), one))
    return {
        "books": {
            str(bot): {
                "cash": amount(EXACT.subtract(EXACT.add(capitals.get(bot, ZERO), realized), cost)),
                "realized": amount(realized),
                "fees": amount(fees),
            }
            for bot, (realized, fees, cost) in sums.items()
        },
        "positions": {
            f"{bot} {symbol}": {name: amount(getattr(book.position, name)) for name in _POSITION}
            for (bot, symbol), book in books.items()
        },
    }
