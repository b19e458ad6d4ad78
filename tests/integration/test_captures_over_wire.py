"""Recorded captures, sent by the front over a real WebSocket: what botd makes of them are the exchange's candles."""

from __future__ import annotations

import asyncio
import csv
import gzip
import itertools
import json
import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from botd.domain.candle import Candle
from botd.domain.clock import WallClock, seeded_random
from botd.market.binance import wire
from botd.market.binance.shards import Shards
from tests.fakes.binance import BinanceFront, ReplayMarket, RunningClock
from tests.fakes.binance.listings import data_directory
from tests.fakes.live_bench import MINUTE, LiveBench, with_bench

DATA = data_directory() or Path("/nonexistent")
TRADES = DATA / "ws_raw" / "hft_spot_btcusdt_20240808.gz"
OFFICIAL = DATA / "klines12" / "BTCUSDT-1m-2024-08.csv.gz"
CANDLES = DATA / "ws_raw" / "cryptofeed_BINANCE_FUTURES.ws.1.0.gz"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="recorded data is absent: set BOTD_TEST_DATA to it")
SPEED = 300.0
PLACES = 8


def candle_of(trades: list[wire.Trade]) -> dict[str, Any]:
    """Put a minute's trades together as the exchange does."""
    ordered = sorted(trades, key=lambda trade: trade.trade_id)
    prices = [trade.price for trade in ordered]
    return {
        "prices": (prices[0], max(prices), min(prices), prices[-1]),
        "volume": round(math.fsum(trade.quantity for trade in ordered), PLACES),
        "trades": len({trade.trade_id for trade in ordered}),
    }


def official(first: int, end: int) -> dict[int, dict[str, Any]]:
    """Return the recorded candles that open in a span."""
    with gzip.open(OFFICIAL, "rt") as file:
        rows = [row for row in csv.reader(file) if row[0].isdigit() and first <= int(row[0]) < end]
    return {
        int(row[0]): {
            "prices": tuple(float(value) for value in row[1:5]),
            "volume": round(float(row[5]), PLACES),
            "trades": int(row[8]),
        }
        for row in rows
    }


async def heard(market: ReplayMarket, streams: set[str], count: int) -> list[wire.Message]:
    """Play a capture through the stream client; return the messages once ``count`` frames of the market came."""
    clock = RunningClock(market.start_ms, SPEED, held=True)
    front = await BinanceFront(market, clock=clock, release_at=len(streams)).start()
    found: list[wire.Message] = []
    over = asyncio.Event()

    def take(frame: bytes) -> None:
        message = wire.decode(frame)
        assert message is not None
        found.append(message)
        if len(found) == count:
            over.set()

    shards = Shards(front.ws_url, on_message=take, clock=WallClock(), rng=seeded_random(0))
    shards.set_streams(streams)
    running = asyncio.create_task(shards.run())
    try:
        await asyncio.wait_for(over.wait(), 60)
    finally:
        await shards.close()
        await running
        await front.stop()
    return found


def test_the_trades_of_a_capture_give_the_official_candles_of_every_complete_minute() -> None:
    market = ReplayMarket(TRADES)
    streams = {"btcusdt@trade", "btcusdt@bookTicker"}
    count = sum(stream in streams for _, stream, _ in market.frames)
    messages = asyncio.run(heard(market, streams, count))

    trades = [message for message in messages if isinstance(message, wire.Trade)]
    tickers = [message.update for message in messages if isinstance(message, wire.BookTicker)]
    assert len(trades) + len(tickers) == count
    assert tickers == sorted(tickers)
    # The first and the last minute are recorded in part.
    first = trades[0].time_ms // MINUTE * MINUTE + MINUTE
    end = trades[-1].time_ms // MINUTE * MINUTE
    minutes = itertools.groupby(
        sorted((t for t in trades if first <= t.time_ms < end), key=lambda t: t.time_ms), lambda t: t.time_ms // MINUTE
    )
    made = {minute * MINUTE: candle_of(list(found)) for minute, found in minutes}
    assert made == official(first, end)
    assert len(made) >= 5


def test_the_closed_candles_of_a_capture_come_through_the_live_feed_exactly() -> None:
    market = ReplayMarket(CANDLES)
    closed: dict[str, list[Any]] = {}
    for _, _, payload in market.frames:
        row = json.loads(payload)
        if row.get("k", {}).get("x"):
            closed.setdefault(row["s"], []).append(row["k"])
    opens = {bar["t"] for bars in closed.values() for bar in bars}
    start = min(opens) + 5_000  # time to connect before the capture begins
    assert start < market.start_ms

    async def scene(bench: LiveBench) -> None:
        readers = {name: bench.read(f"{name.removesuffix('USDT')}/USDT") for name in closed}
        await bench.play((market.end_ms - start) / 1000 + 3.0)
        for name, bars in closed.items():
            symbol = f"{name.removesuffix('USDT')}/USDT"
            wanted = [Candle(bar["t"], *(float(Decimal(bar[key])) for key in "ohlcv")) for bar in bars]
            assert readers[name].candles == wanted, name
            window = bench.manager.window(symbol, "1m", 10)
            assert [window.candle(row) for row in range(len(window))] == wanted
            row = bench.feed.statistics()["symbols"][symbol]
            assert (row["lanes"]["1m"]["by_rest"], row["synthetic"], row["gaps"]) == (0, 0, 0)

    assert sum(map(len, closed.values())) == 4
    with_bench(LiveBench(market=market, start_ms=start), scene)
