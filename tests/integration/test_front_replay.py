"""The Binance-wire front plays recorded captures and candle files as they are."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.fakes.binance import (
    BinanceFront,
    CandleMarket,
    FollowedClock,
    ManualClock,
    Pace,
    ReplayMarket,
    RunningClock,
    TableBars,
)
from tests.fakes.binance.listings import data_directory

MINUTE = 60_000
DATA = data_directory() or Path("/nonexistent")
recorded = pytest.mark.skipif(not DATA.is_dir(), reason="recorded data is absent: set BOTD_TEST_DATA to its directory")


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(test(), 20)

    asyncio.run(bounded())


async def _frames(front: BinanceFront, path: str, count: int) -> list[str]:
    async with aiohttp.ClientSession() as session, session.ws_connect(front.ws_url + path, max_msg_size=0) as socket:
        return [(await socket.receive(5)).data for _ in range(count)]


@recorded
def test_a_capture_goes_over_the_wire_byte_for_byte_from_its_first_subscription_on() -> None:
    path = DATA / "ws_raw" / "cryptofeed_BINANCE_FUTURES.ws.1.0.gz"

    async def test() -> None:
        market = ReplayMarket(path)
        # Half a minute of market in a third of a second.
        clock = RunningClock(market.start_ms, 300, held=True)
        front = await BinanceFront(market, clock=clock, release_at=len(market.streams)).start()
        await asyncio.sleep(0.05)
        assert front.pump.events == 0
        seen = await _frames(front, "/stream?streams=" + "/".join(market.streams), len(market.frames))
        with gzip.open(path, "rt") as source:
            lines = [line.rstrip("\n").partition(": ")[2] for line in source]
        assert seen == [line for line in lines if line.startswith('{"stream"')]
        closed = [row for row in map(json.loads, seen) if row["data"].get("k", {}).get("x")]
        assert [row["data"]["k"]["t"] for row in closed] == [open_time for *_, open_time in front.record.closings]
        await front.stop()

    run(test)


@recorded
def test_rest_behind_a_capture_knows_its_candles_and_quotes_as_of_then() -> None:
    path = DATA / "ws_raw" / "hft_spot_btcusdt_20240808.gz"
    history = {"BTCUSDT": DATA / "klines12" / "BTCUSDT-1m-2024-08.csv.gz"}

    async def test() -> None:
        own, official = ReplayMarket(path), ReplayMarket(path, history)
        first = own.start_ms // MINUTE * MINUTE + MINUTE
        last = own.end_ms // MINUTE * MINUTE
        made = own.klines("BTCUSDT", "1m", last + MINUTE, first, last)
        # The candles of its trades are the official ones in every complete minute; ids are its own.
        assert len(made) >= 5
        assert [bar[:10] for bar in made] == [
            bar[:10] for bar in official.klines("BTCUSDT", "1m", last + MINUTE, first, last)
        ]
        half = (own.start_ms + own.end_ms) // 2
        quote = own.quote("BTCUSDT", half)
        rows = [json.loads(payload) for time_ms, stream, payload in own.frames if "book" in stream and time_ms <= half]
        assert quote.bid == round(float(rows[-1]["b"]) * 100)

    run(test)


@recorded
def test_candles_of_a_file_are_served_as_they_are_and_their_hole_stays_a_hole() -> None:
    path = DATA / "klines12" / "BTCUSDT-1m-2018-02-07_12-outage.csv.gz"

    async def test() -> None:
        source = TableBars.of_files({"BTCUSDT": path})
        with gzip.open(path, "rt") as lines:
            rows = [line.split(",") for line in lines]
        opens = [int(row[0]) for row in rows]
        before = next(left for left, right in itertools.pairwise(opens) if right - left > MINUTE)
        market = CandleMarket(source=source, pace=Pace(kline_ms=0, close_ms=(5, 6)))
        front = await BinanceFront(market, clock=ManualClock(opens[-1])).start()
        async with aiohttp.ClientSession() as session:
            ask: dict[str, str | int] = {
                "symbol": "BTCUSDT",
                "interval": "1m",
                "startTime": before - MINUTE,
                "limit": 4,
            }
            answer = await (await session.get(f"{front.rest_url}/api/v3/klines", params=ask)).json()
        index = opens.index(before)
        wanted = [row for row in rows[index - 1 : index + 10] if int(row[0]) % MINUTE == 0][:4]
        assert [row[0] for row in answer] == [int(row[0]) for row in wanted]
        numbers = [[float(value) for value in row[:6]] + [float(row[7]), int(row[8])] for row in wanted]
        assert [[float(value) for value in row[:6]] + [float(row[7]), row[8]] for row in answer] == numbers
        await front.stop()

    run(test)


def test_candles_close_over_hours_of_virtual_time_each_once_and_in_order() -> None:
    start = 1_767_225_600_000

    async def test() -> None:
        market = CandleMarket(["BTCUSDT", "S001USDT"], pace=Pace(kline_ms=0), trades=1)
        front = await BinanceFront(market, clock=ManualClock(start)).start()
        async with aiohttp.ClientSession() as session:
            socket = await session.ws_connect(front.ws_url + "/stream?streams=btcusdt@kline_1m/s001usdt@kline_5m")
            await asyncio.sleep(0.02)
            await front.advance(6 * 60 * MINUTE + 3000)
            closed: dict[str, list[int]] = {"BTCUSDT": [], "S001USDT": []}
            while len(closed["BTCUSDT"]) < 361 or len(closed["S001USDT"]) < 73:
                row: Any = json.loads((await socket.receive(5)).data)["data"]
                closed[row["s"]].append(row["k"]["t"])
        assert closed["BTCUSDT"] == list(range(start - MINUTE, start + 360 * MINUTE, MINUTE))
        assert closed["S001USDT"] == list(range(start - 5 * MINUTE, start + 360 * MINUTE, 5 * MINUTE))
        await front.stop()

    run(test)


def test_a_clock_that_the_test_moves_elsewhere_is_followed() -> None:
    now = 1_767_225_600_000

    async def test() -> None:
        nonlocal now
        front = BinanceFront(CandleMarket(["BTCUSDT"], pace=Pace(kline_ms=0)), clock=FollowedClock(lambda: now))
        await front.start()
        waiting = asyncio.create_task(_frames(front, "/ws/btcusdt@kline_1m", 3))
        await asyncio.sleep(0.05)
        for _ in range(2):
            now += MINUTE
            await asyncio.sleep(0.01)
        now += 1000
        assert [json.loads(text)["k"]["x"] for text in await waiting] == [True] * 3
        await front.stop()

    run(test)
