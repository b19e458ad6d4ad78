"""Sums of money are exact however many digits they have: 28, where Python stops by itself, are not enough for all."""

from __future__ import annotations

import sqlite3
from decimal import Decimal
from pathlib import Path
from typing import Any

from botd.domain.order import Side
from botd.exchange.simulated_account import Account, FeePolicy
from botd.ledger import replay
from botd.ledger.accounting import BotBook
from botd.ledger.lots import FifoBook
from tests.fakes.exchange_desk import BTC
from tests.fakes.ledger_rows import fill, open_ledger, record

CAPITAL = Decimal("50000000000000")
LONG = {"quantity": Decimal("9876543210987.12345678"), "price": Decimal("1.2345678901234567"), "fee": Decimal(0)}


def test_the_simulated_account_pays_for_a_fill_what_the_ledger_books() -> None:
    account, book = Account({"USDT": CAPITAL}), BotBook(1, "BTC/USDT", CAPITAL)
    free = FeePolicy(maker=Decimal(0), taker=Decimal(0), asset="quote")
    free.settle(account, BTC, Side.BUY, LONG["quantity"], LONG["price"], maker=False, prices={})
    book.apply(fill(1, **LONG), reason="signal", bar=0)
    assert account.total("USDT") == book.cash


def test_lots_cost_what_was_paid_for_them() -> None:
    lots, book = FifoBook("BTC/USDT"), BotBook(1, "BTC/USDT", CAPITAL)
    for number in (1, 2):
        lots.apply(fill(number, **LONG))
        book.apply(fill(number, **LONG), reason="signal", bar=0)
    assert (lots.cost, lots.quantity) == (book.position.cost, book.position.quantity)


def test_replaying_a_large_fill_gives_the_book_that_is_kept(tmp_path: Path, run_async: Any) -> None:
    book = BotBook(1, "BTC/USDT", CAPITAL)

    async def write() -> None:
        ledger = open_ledger(tmp_path)
        bot = record(1)
        bot.spec = type(bot.spec)(name="a", strategy="rsi", symbol="BTC/USDT", interval="1m", capital=CAPITAL)
        ledger.journal.bot(bot)
        applied = book.apply(fill(1, **LONG), reason="signal", bar=0)
        ledger.journal.fill(fill(1, **LONG), applied.realized_pnl)
        ledger.journal.position(book.position)
        ledger.journal.book(1, book.cash, book.realized_pnl, book.fees)
        await ledger.commit()
        await ledger.close()

    run_async(write())
    connection = sqlite3.connect(tmp_path / "ledger.db")
    assert list(replay.differences(connection)) == []
    connection.close()
