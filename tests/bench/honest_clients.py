"""Client libraries, unmodified, against an exchange at a port of this machine: one line each of what they read.

Run by :mod:`.honest_front` with the interpreter of an environment that has them; imports nothing of this project.
``honest_clients.py PORT [NAME...]``; ends with 1 where one of them fails. ``FRONT_KEY`` and ``FRONT_SECRET`` are what
they trade with, in an account that has USDT and BTC.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import logging
import os
import sys
import traceback
from collections.abc import Awaitable, Callable
from typing import Any

TIMEOUT_S = 30.0
EVENTS = 3
KEY, SECRET = os.environ.get("FRONT_KEY", ""), os.environ.get("FRONT_SECRET", "")
RESTING = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.001"}


def on_loopback(value: Any, port: int, place: str = "") -> Any:
    """Return ccxt's table of urls with every one of them on this machine."""
    if isinstance(value, dict):
        inside = place if place == "ws-api" else ""
        return {key: on_loopback(inner, port, inside or key) for key, inner in value.items()}
    if value.startswith("ws"):
        return f"ws://127.0.0.1:{port}/" + ("ws-api/v3" if place == "ws-api" else "stream")
    return f"http://127.0.0.1:{port}/" + ("sapi/v1" if place == "sapi" else "api/v3")


def prices_below(last: float) -> dict[str, str]:
    """Return the prices of an order that rests and of a pair around a price."""
    factors = {"rest": 0.9, "gain": 1.1, "stop": 0.92, "loss": 0.91}
    return {name: f"{last * factor:.2f}" for name, factor in factors.items()}


def _ccxt_client(library: Any, port: int) -> Any:
    options = {"fetchMarkets": {"types": ["spot"]}, "fetchCurrencies": False, "fetchMargins": False}
    client = library.binance({"apiKey": KEY, "secret": SECRET, "options": {"defaultType": "spot", **options}})
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


async def ccxt_orders(port: int) -> str:
    """ccxt's synchronous client, on a thread."""
    import ccxt

    def trade() -> str:
        client = _ccxt_client(ccxt, port)
        price = prices_below(client.fetch_ticker("BTC/USDT")["bid"])
        bought = client.create_order("BTC/USDT", "market", "buy", 0.001)
        resting = client.create_order("BTC/USDT", "limit", "buy", 0.001, float(price["rest"]))
        assert bought["status"] == "closed" and bought["id"] in [
            row["order"] for row in client.fetch_my_trades("BTC/USDT")
        ]
        assert resting["id"] in [row["id"] for row in client.fetch_open_orders("BTC/USDT")]
        assert client.fetch_order(resting["id"], "BTC/USDT")["status"] == "open"
        assert client.cancel_order(resting["id"], "BTC/USDT")["status"] == "canceled"
        pair = client.private_post_orderlist_oco({
            "symbol": "BTCUSDT", "side": "SELL", "quantity": "0.001", "aboveType": "LIMIT_MAKER",
            "abovePrice": price["gain"], "belowType": "STOP_LOSS", "belowStopPrice": price["stop"],
        })  # fmt: skip
        client.private_delete_orderlist({"symbol": "BTCUSDT", "orderListId": pair["orderListId"]})
        return f"bought at {bought['average']}, cancelled, a pair, {client.fetch_balance()['BTC']['free']} BTC free"

    return await asyncio.to_thread(trade)


async def ccxt_pro_orders(port: int) -> str:
    import ccxt.pro

    client = _ccxt_client(ccxt.pro, port)
    try:
        price = prices_below((await client.fetch_ticker("BTC/USDT"))["bid"])
        watching = asyncio.create_task(client.watch_orders("BTC/USDT"))
        balance = asyncio.create_task(client.watch_balance())
        await asyncio.sleep(0.5)
        placed = await client.create_order("BTC/USDT", "limit", "buy", 0.001, float(price["rest"]))
        [heard] = await watching
        assert heard["id"] == placed["id"] and heard["status"] == "open"
        held = (await balance)["USDT"]["used"]
        gone = await client.cancel_order(placed["id"], "BTC/USDT")
        return f"heard order {heard['id']}, {held} USDT held, then {gone['status']}"
    finally:
        await client.close()


async def python_binance_orders(port: int) -> str:
    from binance import AsyncClient, BinanceSocketManager

    AsyncClient.API_URL = f"http://127.0.0.1:{port}/api"
    AsyncClient.WS_API_URL = f"ws://127.0.0.1:{port}/ws-api/v3"
    client = await AsyncClient.create(KEY, SECRET)
    try:
        price = prices_below(float((await client.get_orderbook_ticker(symbol="BTCUSDT"))["bidPrice"]))
        async with BinanceSocketManager(client).user_socket() as stream:
            bought = await client.create_order(symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.001")
            placed = await client.create_order(**RESTING, price=price["rest"])
            found = await client.get_order(symbol="BTCUSDT", orderId=placed["orderId"])
            gone = await client.cancel_order(symbol="BTCUSDT", orderId=placed["orderId"])
            pair = await client.create_oco_order(
                symbol="BTCUSDT", side="SELL", quantity="0.001", aboveType="LIMIT_MAKER", abovePrice=price["gain"],
                belowType="STOP_LOSS_LIMIT", belowStopPrice=price["stop"], belowPrice=price["loss"],
                belowTimeInForce="GTC",
            )  # fmt: skip
            events: list[str] = []
            while events.count("listStatus") < 1:
                event = await stream.recv()
                events.append(event["e"])
        trades = await client.get_my_trades(symbol="BTCUSDT", orderId=bought["orderId"])
        assert (found["status"], gone["status"], bought["status"]) == ("NEW", "CANCELED", "FILLED")
        await client.cancel_order(symbol="BTCUSDT", orderId=pair["orders"][0]["orderId"])
        account = await client.get_account()
        return f"{len(trades)} trade, a pair, {len(events)} events, {len(account['balances'])} balances"
    finally:
        await client.close_connection()


async def binance_sdk_spot_orders(port: int) -> str:
    import binance_common.configuration as configuration
    from binance_sdk_spot.spot import Spot

    address = f"127.0.0.1:{port}"
    signed = {"api_key": KEY, "api_secret": SECRET}
    spot = Spot(
        config_rest_api=configuration.ConfigurationRestAPI(base_path=f"http://{address}", timeout=10_000, **signed),
        config_ws_api=configuration.ConfigurationWebSocketAPI(stream_url=f"ws://{address}/ws-api/v3", **signed),
    )
    connection = await spot.websocket_api.create_connection()
    try:
        told = await connection.user_data_stream_subscribe_signature()
        events: asyncio.Queue[Any] = asyncio.Queue()
        told.stream.on("message", events.put_nowait)

        def trade() -> tuple[Any, Any, Any]:
            rest = spot.rest_api
            bought = rest.new_order(symbol="BTCUSDT", side="BUY", type="MARKET", quantity=0.001).data()
            found = rest.get_order(symbol="BTCUSDT", order_id=bought.order_id).data()
            trades = rest.my_trades(symbol="BTCUSDT", order_id=bought.order_id).data()
            account = rest.get_account(omit_zero_balances=True).data()
            for answer in (bought, found, trades[0], account):
                assert not answer.additional_properties, answer
            return bought, trades, account

        bought, trades, account = await asyncio.to_thread(trade)
        kinds: set[str] = set()
        while len(kinds) < 2:
            event = await events.get()
            event = getattr(event, "actual_instance", event)
            assert not event.additional_properties, event
            kinds.add(type(event).__name__)
        heard = " and ".join(sorted(kinds))
        return f"{bought.status} with {len(trades)} trade, {len(account.balances)} balances, live {heard}"
    finally:
        await connection.close_connection(close_session=True)


CLIENTS: dict[str, tuple[str, Callable[[int], Awaitable[str]]]] = {
    "ccxt": ("ccxt", ccxt_rest),
    "ccxt.pro": ("ccxt", ccxt_pro),
    "python-binance": ("python-binance", python_binance),
    "binance-sdk-spot": ("binance-sdk-spot", binance_sdk_spot),
    "ccxt-orders": ("ccxt", ccxt_orders),
    "ccxt.pro-orders": ("ccxt", ccxt_pro_orders),
    "python-binance-orders": ("python-binance", python_binance_orders),
    "binance-sdk-spot-orders": ("binance-sdk-spot", binance_sdk_spot_orders),
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
