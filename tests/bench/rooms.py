"""What one step of a room costs: a risk decision, a candle event without orders, the level index, ledger commits."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

from botd.market.levels import LevelIndex
from botd.market.simulated.synthetic import SyntheticSource
from tests.bench.figures import Options, Row
from tests.fakes.exchange_desk import Desk
from tests.fakes.ledger_rows import fill, open_ledger, order, position, record
from tests.fakes.risk_case import Portfolio, Room, request

LANE = ("BTC/USDT", "1m")
YEAR_MS = 525_600 * 60_000


def run(options: Options) -> list[Row]:
    """Return microseconds a step, the best of several batches."""
    fills = 1_000 if options.quick else 10_000
    few, many = _levels(10), _levels(10_000)
    return [
        Row("risk decision, preset paper", _risk(), "us"),
        Row("candle opens, 100 orders in other lanes", _event(), "us", bound=1.0),
        Row("candle closes, 10,000 levels armed", many, "us", peer="10 levels armed", theirs=few),
        Row("synthetic market, a year ahead", _seek() / 1000, "ms", bound=1000),
        Row("commit of nothing", asyncio.run(_idle_commits()), "us"),
        Row("durable fills, a batch each", asyncio.run(_durable_fills(fills)), "/s", bound=5_000, at_least=True),
    ]


def _best(call: Callable[[], object], times: int, batches: int = 15) -> float:
    """Return microseconds a call, the best batch."""
    best = float("inf")
    for _ in range(batches):
        began = time.perf_counter()
        for _ in range(times):
            call()
        best = min(best, (time.perf_counter() - began) / times)
    return best * 1e6


def _risk() -> float:
    room = Room(rate_limit=False, duplicate_order=False)
    question = request("1", portfolio=Portfolio(), slippage=0.0005, fee=0.001)
    return _best(lambda: room.gate.decide(question), 200)


def _event() -> float:
    desk = Desk()
    for number in range(100):
        desk.send("buy", "limit", price=90, symbol="BNB/USDT", quantity="0.1", client_order_id=f"b{number}")
    return _best(lambda: desk.exchange.on_open("BTC/USDT", "1m", 0, 100.0), 2000)


class _Deaf:
    def on_level(self, kind: str, price: float) -> None: ...


def _levels(count: int) -> float:
    index = LevelIndex()
    for number in range(count):
        index.arm(LANE, number, _Deaf(), 50.0 - number / 1000, 150.0 + number / 1000)
    return _best(lambda: index.on_closed(LANE, 100.0, 101.0, 99.0), 500)


def _seek() -> float:
    source = SyntheticSource(["BTC/USDT"], "1m", 0, 1)
    return _best(lambda: (source.seek(YEAR_MS), source.next()), 1, 3)


async def _idle_commits() -> float:
    with tempfile.TemporaryDirectory() as folder:
        ledger = open_ledger(Path(folder))
        spent = _best(lambda: ledger.commit(), 2000)
        await ledger.close()
    return spent


async def _durable_fills(count: int) -> float:
    """Order, fill and position of each in a batch of its own, through group commit."""
    with tempfile.TemporaryDirectory() as folder:
        ledger = open_ledger(Path(folder))
        ledger.journal.bot(record(1))
        await ledger.commit()
        began = time.perf_counter()
        for number in range(count):
            ledger.journal.order(order(1, number))
            ledger.journal.fill(fill(number), Decimal(1))
            ledger.journal.position(position())
            ledger.commit()
            await ledger.drain(256)
        await ledger.flush()
        seconds = time.perf_counter() - began
        await ledger.close()
    return count / seconds
