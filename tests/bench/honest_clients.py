"""Client libraries, unmodified, against an exchange at a port of this machine: one line each of what they read.

Run by :mod:`.honest_front` with the interpreter of an environment that has them; imports nothing of this project.
``honest_clients.py PORT [NAME...]``; ends with 1 where one of them fails.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import logging
import sys
import traceback
from collections.abc import Awaitable, Callable
from typing import Any

TIMEOUT_S = 30.0
EVENTS = 3


def on_loopback(value: Any, port: int) -> Any:
    """Return ccxt's table of urls with every one of them on this machine."""
    if isinstance(value, dict):
        return {key: on_loopback(inner, port) for key, inner in value.items()}
    return f"ws://127.0.0.1:{port}/stream" if value.startswith("ws") else f"http://127.0.0.1:{port}/api/v3"


def _ccxt_client(library: Any, port: int) -> Any:
    options = {"fetchMarkets": {"types": ["spot"]}, "fetchCurrencies": False, "fetchMargins": False}
    client = library.binance({"options": {"defaultType": "spot", **options}})
    client.urls["api"] = on_loopback(client.urls["api"], port)
    return client


async def ccxt_rest(port: int) -> str:
    """ccxt's synchronous client, on a thread."""
    import ccxt

    def read() -> str:
        client = _ccxt_client(ccxt, port)
        markets = client.load_markets()
        rows = client.fetch_ohlcv("BTC/USDT", "1m", limit=1000)
        ticker = client.fetch_ticker("BTC/USDT")
        trades = client.fetch_trades("BTC/USDT", limit=10)
        assert len(rows) == 1000 and ticker["bid"] < ticker["ask"] and len(trades) == 10
        return f"{len(markets)} markets, {len(rows)} klines, bid {ticker['bid']} ask {ticker['ask']}"

    return await asyncio.to_thread(read)


async def ccxt_pro(port: int) -> str:
    import ccxt.pro

    client = _ccxt_client(ccxt.pro, port)
    try:
        markets = await client.load_markets()
        wanted = [["BTC/USDT", "1m"], ["ETH/USDT", "1m"]]
        for _ in range(EVENTS):
            candles = await client.watch_ohlcv_for_symbols(wanted)
            quotes = await client.watch_bids_asks(["BTC/USDT"])
        trades = await client.watch_trades("BTC/USDT")
        ticker = await client.watch_ticker("ETH/USDT")
        [(symbol, _)] = candles.items()
        assert trades[-1]["price"] > 0 and ticker["high"] >= ticker["low"]
        return f"{len(markets)} markets, klines of {symbol}, trades, tickers, bid {quotes['BTC/USDT']['bid']} live"
    finally:
        await client.close()


async def python_binance(port: int) -> str:
    from binance import AsyncClient, BinanceSocketManager  # type: ignore[import-not-found]

    AsyncClient.API_URL = f"http://127.0.0.1:{port}/api"  # its setting for another exchange, as its url templates are
    client = await AsyncClient.create()
    try:
        info = await client.get_exchange_info()
        rows = await client.get_klines(symbol="BTCUSDT", interval="1m", limit=1000)
        book = await client.get_orderbook_ticker(symbol="BTCUSDT")
        BinanceSocketManager.STREAM_URL = f"ws://127.0.0.1:{port}/"
        manager = BinanceSocketManager(client)
        seen: dict[str, int] = {}
        for socket in (
            manager.kline_socket("BTCUSDT", interval="1m"),
            manager.symbol_book_ticker_socket("BTCUSDT"),
            manager.multiplex_socket(["btcusdt@kline_1m", "ethusdt@bookTicker", "btcusdt@aggTrade"]),
        ):
            async with socket as stream:
                for _ in range(EVENTS):
                    event = await stream.recv()
                    assert event.get("e") != "error", event
                    kind = event.get("stream") or event.get("e") or "bookTicker"
                    seen[kind] = seen.get(kind, 0) + 1
        assert len(rows) == 1000 and float(book["bidPrice"]) < float(book["askPrice"])
        assert seen["kline"] == EVENTS and seen["bookTicker"] == EVENTS
        live = f"live {sum(seen.values())} events"
        return f"{len(info['symbols'])} markets, {len(rows)} klines, bid {book['bidPrice']}, {live}"
    finally:
        await client.close_connection()


async def binance_sdk_spot(port: int) -> str:
    import binance_common.configuration as configuration  # type: ignore[import-not-found]
    from binance_sdk_spot.spot import Spot  # type: ignore[import-not-found]

    spot = Spot(
        config_rest_api=configuration.ConfigurationRestAPI(base_path=f"http://127.0.0.1:{port}", timeout=10_000),
        config_ws_streams=configuration.ConfigurationWebSocketStreams(stream_url=f"ws://127.0.0.1:{port}"),
    )
    info = await asyncio.to_thread(lambda: spot.rest_api.exchange_info().data())
    rows = await asyncio.to_thread(lambda: spot.rest_api.klines(symbol="BTCUSDT", interval="1m", limit=1000).data())
    book = await asyncio.to_thread(lambda: spot.rest_api.ticker_book_ticker(symbol="BTCUSDT").data())
    assert len(rows) == 1000
    connection = await spot.websocket_streams.create_connection()
    try:
        events: asyncio.Queue[Any] = asyncio.Queue()
        klines = await connection.kline(symbol="btcusdt", interval="1m")
        klines.on("message", events.put_nowait)
        quotes = await connection.book_ticker(symbol="btcusdt")
        quotes.on("message", events.put_nowait)
        kinds: set[str] = set()
        while len(kinds) < 2:
            event = await events.get()
            kinds.add(type(event).__name__)
            value = event.k.c if hasattr(event, "k") else event.b
            assert float(value) > 0 and not event.additional_properties, event
        price = book.actual_instance.bid_price if hasattr(book, "actual_instance") else book.bid_price
        return f"{len(info.symbols)} markets, {len(rows)} klines, bid {price}, live {' and '.join(sorted(kinds))}"
    finally:
        await connection.close_connection(close_session=True)


CLIENTS: dict[str, tuple[str, Callable[[int], Awaitable[str]]]] = {
    "ccxt": ("ccxt", ccxt_rest),
    "ccxt.pro": ("ccxt", ccxt_pro),
    "python-binance": ("python-binance", python_binance),
    "binance-sdk-spot": ("binance-sdk-spot", binance_sdk_spot),
}


async def main(port: int, names: list[str]) -> int:
    failed = 0
    for name in names or CLIENTS:
        package, read = CLIENTS[name]
        version = importlib.metadata.version(package)
        try:
            line = "ok: " + await asyncio.wait_for(read(port), TIMEOUT_S)
        except Exception as error:  # whatever a library raises is the finding
            failed += 1
            traceback.print_exc()
            line = f"FAILED: {type(error).__name__}: {error}"
        print(f"{name} {version} {line}", flush=True)
    return min(failed, 1)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    sys.exit(asyncio.run(main(int(sys.argv[1]), sys.argv[2:])))
