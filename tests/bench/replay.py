"""The replay of a month of minutes by a whole botd, and what the ledger makes durable in a second."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
import time
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from botd.domain.clock import WallClock
from botd.domain.order import Fill, Side
from botd.ledger.store import Ledger
from tests.bench.figures import Options, Row, median, quantile
from tests.bench.fleet import CAPITAL, Wire, launch
from tests.e2e.conftest import DATA, Botd

MONTH = DATA / "ohlcv" / "BTCUSDT-1m-2024-08.csv.gz"
MONTH_S = 60.0
FILLS_PER_S, INTENT_P99_MS = 5_000.0, 2.0
SYNTHETIC_CANDLES = 20_000
POLL_S = 0.025
THREE = ("rsi", "macd", "mean_reversion")


def run(options: Options) -> list[Row]:
    """Measure both."""
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        home = Path(directory)
        rows = []
        for strategies in (THREE,) if options.quick else (("rsi",), THREE):
            rows += _replay(home / f"with{len(strategies)}", strategies)
        return [*rows, *asyncio.run(_durable(home, 1_000 if options.quick else 5_000))]


def _replay(home: Path, strategies: Sequence[str]) -> list[Row]:
    """Play the month as fast as the bots can follow."""
    source: dict[str, Any] = {"source": "replay", "files": {"BTC/USDT": str(MONTH)}}
    if not MONTH.exists():
        source = {"source": "synthetic", "symbols": ["BTC/USDT"]}
    config = {"market": {**source, "interval": "1m", "speed": 0, "autoplay": False}, "log": {"level": "warning"}}
    botd = Botd(home, {**config, "risk": {"preset": "off"}})
    try:
        launch(botd)
        with Wire(botd.socket) as wire:
            for name in strategies:
                spec = {"name": name, "strategy": name, "symbol": "BTC/USDT", "interval": "1m", "capital": str(CAPITAL)}
                wire.call("create", {"spec": spec, "start": True})
            began = time.perf_counter()
            wire.call("market.play")
            while (status := wire.call("market.status"))["state"] != "ended":
                if not MONTH.exists() and status["candles"] >= SYNTHETIC_CANDLES:
                    break
                time.sleep(POLL_S)
            seconds = time.perf_counter() - began
            fills = wire.call("health")["orders"]["fills"]
    finally:
        botd.stop()
    candles = status["candles"]
    told = f"replay, {candles:,} candles, {len(strategies)} bot{'s' * (len(strategies) > 1)}"
    return [
        Row(told, seconds, "s", bound=MONTH_S, note=f"{fills} fills, every decision and equity point kept"),
        Row(f"{told}: candles a second", candles / seconds, "/s"),
    ]


async def _durable(home: Path, count: int) -> list[Row]:
    """Commit fills one by one, each waited for, and many at once, which share a sync; a plain table of SQLite beside
    it, one by one."""
    ledger = Ledger.open(home / "durable.db", {"mode": "paper", "source": "bench"}, clock=WallClock())
    try:
        alone = []
        for number in range(count):
            began = time.perf_counter()
            ledger.journal.fill(_fill(number), Decimal(0))
            await ledger.commit()
            alone.append(time.perf_counter() - began)
        began = time.perf_counter()
        for number in range(count, count + 10 * count):
            ledger.journal.fill(_fill(number), Decimal(0))
            ledger.commit()
            if ledger.pending > 200:
                await ledger.drain(100)
        await ledger.flush()
        together = 10 * count / (time.perf_counter() - began)
    finally:
        await ledger.close()
    plain = _plain(home / "plain.db", count)
    return [
        Row(
            "durable fills, up to 200 commits waiting",
            together,
            "/s",
            "sqlite3, a FULL commit each",
            1 / median(plain),
            FILLS_PER_S,
            at_least=True,
        ),
        Row(
            "one fill, commit to durable, p50",
            median(alone) * 1000,
            "ms",
            "sqlite3, a FULL commit",
            median(plain) * 1000,
        ),
        Row(
            "one fill, commit to durable, p99",
            quantile(alone, 0.99) * 1000,
            "ms",
            "sqlite3, a FULL commit",
            quantile(plain, 0.99) * 1000,
            INTENT_P99_MS,
        ),
    ]


def _plain(path: Path, count: int) -> list[float]:
    """Return the seconds of inserting one row each, in the thread that wants it, with the ledger's durability."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE fills (id INTEGER PRIMARY KEY, symbol, trade, bot, side, quantity, price, time)")
    taken = []
    for number in range(count):
        began = time.perf_counter()
        row = ("BTC/USDT", str(number), 1, "buy", "0.125", "100.25", number)
        connection.execute("INSERT INTO fills VALUES (NULL, ?, ?, ?, ?, ?, ?, ?)", row)
        taken.append(time.perf_counter() - began)
    connection.close()
    return taken


def _fill(number: int) -> Fill:
    return Fill(
        trade_id=str(number),
        client_order_id=f"bench-1-{number}-x",
        bot=1,
        symbol="BTC/USDT",
        side=(Side.BUY, Side.SELL)[number % 2],
        quantity=Decimal("0.125"),
        price=Decimal("100.25"),
        fee=Decimal("0.0125"),
        fee_asset="USDT",
        time_ms=number,
    )
