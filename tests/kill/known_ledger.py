"""A ledger of which the state after every batch is known, and what a botd that opens a damaged one finds."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import sqlite3
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from botd.domain.errors import BotdError
from botd.domain.events import Event
from botd.domain.order import OrderStatus
from botd.ledger import schema, writer
from botd.ledger.journal import Journal
from botd.ledger.tables import ALL
from tests.fakes.ledger_rows import START, fill, open_ledger, order, position, record, trade

FILE, LOG = "ledger.db", "ledger.db-wal"
_FILES = (FILE, LOG, "audit.key", "audit.heads")


@dataclass(frozen=True)
class Known:
    """A ledger's files as they were on disk, and its state by batch: (digest of the balances, digest of all)."""

    directory: Path
    states: dict[int, tuple[str, str]]

    @property
    def log(self) -> bytes:
        """The write-ahead log, whole."""
        return (self.directory / LOG).read_bytes()


@dataclass(frozen=True)
class Opened:
    """What opening a ledger gave: a refusal in words, or the batch it stands at with its state."""

    refusal: str = ""
    batch: int = -1
    balances: str = ""
    all: str = ""


def journal_batch(journal: Journal, number: int, bots: int) -> None:
    """Append a batch of one bot's turn: an order that fills, money that moves, a trade now and then."""
    bot = 1 + number % bots
    cash = Decimal(1000) - Decimal(number) / 100
    journal.order(order(bot, number))
    journal.order(order(bot, number, status=OrderStatus.FILLED, filled=Decimal("0.01"), filled_notional=Decimal(600)))
    journal.fill(fill(number, bot, client_order_id=f"PABCDE-{bot}-{number}-07"), Decimal(number))
    journal.book(bot, cash, Decimal(number) / 7, Decimal(number) / 1000)
    journal.position(position(bot, quantity=Decimal(number) / 100, cost=Decimal(6 * number)))
    journal.equity(bot, START + number * 60_000, cash * 2, cash, cash)
    journal.keyed("market", {"cursor": str(START + number)})
    journal.event(Event(topic="order.filled", time_ms=START, bot=f"bot{bot}", data={"n": number}))
    if number % 3 == 0:
        journal.trade(trade(bot, bars=number))


def make(directory: Path, batches: int, *, bots: int = 5, checkpoint_at: int = 0, closed: bool = False) -> Known:
    """Write a ledger of ``batches`` batches; copy its files as a crash would leave them, or (``closed``) after its
    end. ``checkpoint_at`` moves the log into the file once, at that batch."""
    return asyncio.run(_make(directory, batches, bots, checkpoint_at, closed))


async def _make(directory: Path, batches: int, bots: int, checkpoint_at: int, closed: bool) -> Known:
    live = directory / "live"
    live.mkdir(parents=True)
    kept, writer._CHECKPOINT_EACH = writer._CHECKPOINT_EACH, 10**9
    try:
        ledger = open_ledger(live)
        for number in range(1, bots + 1):
            ledger.journal.bot(record(number))
            ledger.journal.book(number, Decimal(1000), Decimal(0), Decimal(0))
            ledger.journal.position(position(number))
        reader = schema.connect(live / FILE, write=False)
        states: dict[int, tuple[str, str]] = {0: _state(reader)}
        for number in range(1, batches + 1):
            journal_batch(ledger.journal, number, bots)
            await ledger.commit()
            states[number] = _state(reader)
            if number == checkpoint_at:
                mover = schema.connect(live / FILE, write=True)
                mover.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
                mover.close()
        reader.close()
        if not closed:
            copy(live, directory / "known")
        await ledger.close()
        if closed:
            copy(live, directory / "known")
    finally:
        writer._CHECKPOINT_EACH = kept
    return Known(directory / "known", states)


def copy(source: Path, target: Path) -> None:
    """Copy a ledger's files, whatever was in ``target`` before."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    for name in _FILES:
        if (source / name).exists():
            shutil.copyfile(source / name, target / name)


def reopen(directory: Path) -> Opened:
    """Open, load and check, as botd does before anything trades."""
    return asyncio.run(_reopen(directory))


async def _reopen(directory: Path) -> Opened:
    try:
        ledger = open_ledger(directory)
    except BotdError as error:
        return Opened(refusal=error.message)
    try:
        ledger.load()
        damage = await ledger.check()
        if damage is not None:
            return Opened(refusal=damage)
        reader = schema.connect(directory / FILE, write=False)
        try:
            batch = int(schema.meta(reader, "batch") or 0)
            return Opened("", batch, *_state(reader))
        finally:
            reader.close()
    except BotdError as error:
        return Opened(refusal=error.message)
    except sqlite3.DatabaseError as error:
        return Opened(refusal=str(error))
    finally:
        await ledger.close()


def _state(connection: sqlite3.Connection) -> tuple[str, str]:
    """Return a digest of what money depends on, and one of every row."""
    money, everything = hashlib.sha256(), hashlib.sha256()
    for table in ALL:
        names = ",".join(table.columns)
        for row in connection.execute(f"SELECT {names} FROM {table.name} ORDER BY {names}"):
            said = repr(row).encode()
            everything.update(said)
            if table.name in ("books", "positions", "fills", "orders", "keyed", "meta"):
                money.update(said)
    return money.hexdigest(), everything.hexdigest()
