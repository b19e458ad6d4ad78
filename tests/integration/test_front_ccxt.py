"""Unmodified ccxt and ccxt.pro work against the Binance-wire front: its urls redirected, and with production urls."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.binance import BinanceFront, CandleMarket, Fault, Pace, RunningClock
from tests.fakes.binance.tls import LoopbackResolver, ThrowAwayCA, loopback_session

ccxt = pytest.importorskip("ccxt.pro")

MINUTE = 60_000
QUICK = Pace(kline_ms=100, book_ms=50, close_ms=(5, 20))
SPOT_ONLY = {
    "defaultType": "spot",
    "fetchMarkets": {"types": ["spot"]},
    "fetchCurrencies": False,
    "fetchMargins": False,
}


def redirected(value: Any, rest: str, streams: str) -> Any:
    """Return ccxt's table of urls with every one of them on loopback: a missed one would be the internet."""
    if isinstance(value, dict):
        return {key: redirected(inner, rest, streams) for key, inner in value.items()}
    # ccxt knows the spot streams by this word in their url.
    return f"{streams}/stream" if value.startswith("ws") else rest + "/api/v3"


@asynccontextmanager
async def exchange(front: BinanceFront) -> AsyncIterator[Any]:
    client = ccxt.binance({"options": dict(SPOT_ONLY), "timeout": 5000})
    client.urls["api"] = redirected(client.urls["api"], front.rest_url, front.ws_url)
    try:
        yield client
    finally:
        await client.close()


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(test(), 20)

    asyncio.run(bounded())


def market() -> CandleMarket:
    return CandleMarket(["BTCUSDT", "ETHUSDT", "S001USDT"], pace=QUICK)


def test_ccxt_loads_markets_with_one_request_and_reads_candles_tickers_and_trades() -> None:
    async def test() -> None:
        front = await BinanceFront(market()).start()
        async with exchange(front) as client:
            markets = await client.load_markets()
            assert front.record.paths() == {"/api/v3/exchangeInfo": 1}
            assert set(markets) == {"BTC/USDT", "ETH/USDT", "S001/USDT"}
            btc = markets["BTC/USDT"]
            assert (btc["active"], btc["precision"]["price"], btc["limits"]["cost"]["min"]) == (True, 0.01, 5.0)
            start = int(time.time() * 1000) // MINUTE * MINUTE - 20 * MINUTE
            rows = await client.fetch_ohlcv("BTC/USDT", "1m", since=start, limit=10)
            truth = front.market.truth("BTCUSDT", "1m", start, start + 10 * MINUTE)  # type: ignore[attr-defined]
            assert [row[0] for row in rows] == [bar.open_time for bar in truth]
            assert [row[4] for row in rows] == [bar.close / 100 for bar in truth]
            ticker = await client.fetch_ticker("ETH/USDT")
            assert 0 < ticker["bid"] < ticker["ask"] and ticker["low"] <= ticker["last"] <= ticker["high"]
            books = await client.fetch_bids_asks(["BTC/USDT"])
            assert books["BTC/USDT"]["bid"] < books["BTC/USDT"]["ask"]
            trades = await client.fetch_trades("BTC/USDT", limit=5)
            assert len(trades) == 5 and trades[-1]["price"] > 0
            book = await client.fetch_order_book("BTC/USDT", 5)
            assert len(book["bids"]) == len(book["asks"]) == 5
        await front.stop()

    run(test)


def test_ccxt_pro_follows_candles_over_their_close_and_quotes() -> None:
    async def test() -> None:
        # A minute lasts two seconds: ccxt sees candles close.
        clock = RunningClock(speed=30)
        front = await BinanceFront(
            CandleMarket(["BTCUSDT"], pace=Pace(kline_ms=3000, book_ms=3000)), clock=clock
        ).start()
        async with exchange(front) as client:
            seen: dict[int, float] = {}
            while len(seen) < 3:
                for row in await client.watch_ohlcv("BTC/USDT", "1m"):
                    seen[row[0]] = row[4]
            first, second, _ = sorted(seen)
            truth = front.market.truth("BTCUSDT", "1m", first, second + MINUTE)  # type: ignore[attr-defined]
            assert [seen[first], seen[second]] == [bar.close / 100 for bar in truth]
            quotes = await client.watch_bids_asks(["BTC/USDT"])
            assert quotes["BTC/USDT"]["bid"] < quotes["BTC/USDT"]["ask"]
            assert front.record.subscribed() == {"btcusdt@kline_1m", "btcusdt@bookTicker"}
        await asyncio.sleep(0.05)
        assert front.record.endings() == {"client": len(front.record.connections)}
        await front.stop()

    run(test)


def test_ccxt_raises_its_own_errors_for_a_limit_a_ban_and_a_gateway_error() -> None:
    async def test() -> None:
        front = await BinanceFront(market()).start()
        async with exchange(front) as client:
            await client.load_markets()
            for fault, kind, status in (
                (Fault(kind="error", status=502, how="html"), ccxt.ExchangeNotAvailable, "502"),
                (Fault(kind="limited", retry_after_s=1), ccxt.DDoSProtection, "429"),
                (Fault(kind="banned", retry_after_s=60), ccxt.DDoSProtection, "418"),
            ):
                front.inject(fault)
                with pytest.raises(kind, match=status):
                    await client.fetch_time()
                front.mend(fault)
        await front.stop()

    run(test)


def test_production_urls_reach_the_front_through_a_loopback_resolver(tmp_path: Path) -> None:
    async def test() -> None:
        authority = ThrowAwayCA(tmp_path)
        front = await BinanceFront(market(), tls=authority.server_context()).start()
        resolver = LoopbackResolver(front.port)
        client = ccxt.binance({"options": dict(SPOT_ONLY), "timeout": 5000})
        client.session = loopback_session(resolver, authority.client_context())
        own = client.session
        try:
            await client.load_markets()
            assert len(await client.watch_ohlcv("BTC/USDT", "1m")) == 1
            quote = await client.watch_bids_asks(["ETH/USDT"])
            assert quote["ETH/USDT"]["bid"] > 0
            assert set(resolver.asked) == {"api.binance.com", "stream.binance.com"}
            with pytest.raises(OSError):
                await resolver.resolve("example.com", 443)
        finally:
            await client.close()
            await own.close()
            await front.stop()

    run(test)
