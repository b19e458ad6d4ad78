"""Unmodified ccxt trades on the front: orders, pairs, trades, balances, and the user's stream of ccxt.pro."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.fakes.binance import BinanceFront, CandleMarket, Exchange
from tests.fakes.binance.exchange import DEFAULT_KEY, ApiKey, made_key, named
from tests.fakes.binance.tls import LoopbackResolver, ThrowAwayCA, loopback_session

ccxt = pytest.importorskip("ccxt.pro")

OPTIONS = {
    "defaultType": "spot",
    "fetchMarkets": {"types": ["spot"]},
    "fetchCurrencies": False,
    "fetchMargins": False,
    "warnOnFetchOpenOrdersWithoutSymbol": False,
}


def redirected(value: Any, front: BinanceFront, key: str = "") -> Any:
    """Return ccxt's table of urls with every one of them on loopback."""
    if isinstance(value, dict):
        inside = key if key in ("ws-api", "sapi") else ""
        return {name: redirected(inner, front, inside or name) for name, inner in value.items()}
    if value.startswith("ws"):
        return front.ws_url + ("/ws-api/v3" if key == "ws-api" else "/stream")
    return front.rest_url + ("/sapi/v1" if key == "sapi" else "/api/v3")


@asynccontextmanager
async def trading(exchange: Exchange, key: str, secret: str) -> AsyncIterator[Any]:
    front = await BinanceFront(CandleMarket(["BTCUSDT", "BNBUSDT"]), exchange=exchange).start()
    exchange.set_price("BTCUSDT", "60000.00", "60001.00")
    client = ccxt.binance({"apiKey": key, "secret": secret, "options": dict(OPTIONS), "timeout": 5000})
    client.urls["api"] = redirected(client.urls["api"], front)
    try:
        await client.load_markets()
        yield client
    finally:
        await client.close()
        await front.stop()
    exchange.books.check()


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(test(), 20)

    asyncio.run(bounded())


def hmac_account() -> tuple[Exchange, str, str]:
    return Exchange({"USDT": "100000", "BTC": "1"}), DEFAULT_KEY.key, DEFAULT_KEY.secret


def ed25519_account() -> tuple[Exchange, str, str]:
    private = Ed25519PrivateKey.generate()
    key = ApiKey(made_key("ed"), public=private.public_key().public_bytes_raw())
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return Exchange({"USDT": "100000", "BTC": "1"}, keys=[key]), key.key, pem


@pytest.mark.parametrize("account", [hmac_account, ed25519_account], ids=["hmac", "ed25519"])
def test_ccxt_places_finds_cancels_and_reads_its_trades_and_balance(account: Callable[[], Any]) -> None:
    exchange, key, secret = account()

    async def test() -> None:
        async with trading(exchange, key, secret) as client:
            bought = await client.create_order(
                "BTC/USDT", "market", "buy", 0.01, None, {"newClientOrderId": "my-1", "newOrderRespType": "FULL"}
            )
            assert (bought["status"], bought["filled"], bought["average"]) == ("closed", 0.01, 60001.0)
            assert bought["fees"][0] == {"currency": "BTC", "cost": 0.00001}
            resting = await client.create_order("BTC/USDT", "limit", "buy", 0.01, 50000, {"newClientOrderId": "my-2"})
            [found] = await client.fetch_open_orders("BTC/USDT")
            assert found["id"] == resting["id"] and found["clientOrderId"] == "my-2"
            byname = await client.fetch_order(None, "BTC/USDT", {"origClientOrderId": "my-2"})
            assert byname["status"] == "open"
            balance = await client.fetch_balance()
            assert balance["USDT"]["used"] == 500.0 and balance["BTC"]["free"] == 1.00999
            gone = await client.cancel_order(resting["id"], "BTC/USDT")
            assert gone["status"] == "canceled"
            trades = await client.fetch_my_trades("BTC/USDT")
            assert [(trade["order"], trade["amount"], trade["takerOrMaker"]) for trade in trades] == [
                (bought["id"], 0.01, "taker")
            ]
            stop = await client.create_order("BTC/USDT", "STOP_LOSS_LIMIT", "sell", 0.01, 58900, {"stopPrice": 59000})
            assert [each["info"]["type"] for each in await client.fetch_open_orders()] == ["STOP_LOSS_LIMIT"]
            await client.cancel_all_orders("BTC/USDT")
            assert exchange.books.orders[int(stop["id"])].status == "CANCELED"
            pair = await client.privatePostOrderListOco({
                "symbol": "BTCUSDT", "side": "SELL", "quantity": "0.01", "aboveType": "LIMIT_MAKER",
                "abovePrice": "61000.00", "belowType": "STOP_LOSS", "belowStopPrice": "59000.00",
            })  # fmt: skip
            assert pair["listOrderStatus"] == "EXECUTING"
            told = await client.sapiGetAccountApiRestrictions()
            assert told["enableSpotAndMarginTrading"] is True
            rates = await client.privateGetAccountCommission({"symbol": "BTCUSDT"})
            assert rates["standardCommission"]["taker"] == "0.00100000"

    run(test)


def test_ccxt_raises_its_own_errors_for_what_the_exchange_refuses() -> None:
    exchange, key, secret = hmac_account()

    async def test() -> None:
        async with trading(exchange, key, secret) as client:
            with pytest.raises(ccxt.InsufficientFunds):
                await client.create_order("BTC/USDT", "limit", "buy", 10, 50000)
            with pytest.raises(ccxt.OrderNotFound):
                await client.fetch_order("77", "BTC/USDT")
            with pytest.raises(ccxt.OrderNotFound):
                await client.cancel_order("77", "BTC/USDT")
            exchange.inject(named("-1021", times=1))
            with pytest.raises(ccxt.InvalidNonce):
                await client.create_order("BTC/USDT", "limit", "buy", 0.01, 50000)
            exchange.inject(named("accept_then_timeout", times=1))
            client.timeout = 100
            with pytest.raises(ccxt.RequestTimeout):
                await client.create_order("BTC/USDT", "limit", "buy", 0.01, 50000)
            assert len(exchange.books.open_orders()) == 1
            client.secret = "wrong"
            with pytest.raises(ccxt.AuthenticationError):
                await client.fetch_balance()

    run(test)


def test_ccxt_pro_hears_of_its_orders_trades_and_balance() -> None:
    exchange, key, secret = hmac_account()

    async def test() -> None:
        async with trading(exchange, key, secret) as client:
            watching = asyncio.create_task(client.watch_orders("BTC/USDT"))
            trades = asyncio.create_task(client.watch_my_trades("BTC/USDT"))
            while not exchange.venue.stream.subscribers:
                await asyncio.sleep(0.01)
            await client.create_order("BTC/USDT", "limit", "buy", 0.01, 50000, {"newClientOrderId": "mine"})
            [heard] = await watching
            assert (heard["clientOrderId"], heard["status"]) == ("mine", "open")
            exchange.venue.fill("mine", "0.004")
            [trade] = await trades
            assert (trade["amount"], trade["price"], trade["takerOrMaker"]) == (0.004, 50000.0, "maker")
            balance = asyncio.create_task(client.watch_balance())
            await asyncio.sleep(0.05)
            await client.cancel_order(None, "BTC/USDT", {"origClientOrderId": "mine"})
            assert (await balance)["USDT"]["used"] == 0.0

    run(test)


def test_with_production_urls_orders_and_the_users_stream_reach_the_front(tmp_path: Path) -> None:
    exchange, key, secret = hmac_account()

    async def test() -> None:
        authority = ThrowAwayCA(tmp_path)
        front = BinanceFront(CandleMarket(["BTCUSDT"]), exchange=exchange, tls=authority.server_context())
        await front.start()
        resolver = LoopbackResolver(front.port)
        client = ccxt.binance({"apiKey": key, "secret": secret, "options": dict(OPTIONS), "timeout": 5000})
        own = client.session = loopback_session(resolver, authority.client_context())
        try:
            await client.load_markets()
            watching = asyncio.create_task(client.watch_orders("BTC/USDT"))
            while not exchange.venue.stream.subscribers:
                await asyncio.sleep(0.01)
            placed = await client.create_order("BTC/USDT", "market", "buy", 0.001)
            assert (await watching)[0]["id"] == placed["id"]
            assert (await client.sapiGetAccountApiRestrictions())["ipRestrict"] is True
            assert set(resolver.asked) == {"api.binance.com", "ws-api.binance.com"}
        finally:
            await client.close()
            await own.close()
            await front.stop()

    run(test)
