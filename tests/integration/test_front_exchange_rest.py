"""Signed REST over real HTTP: keys, signatures, times, weights, the shapes of the answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from yarl import URL

from tests.fakes.binance import Exchange, FrontThread, ManualClock
from tests.fakes.binance.exchange import DEFAULT_KEY, ApiKey, ExchangeFault, made_key, named
from tests.fakes.exchange_case import Trader, ed25519_signature, hmac_signature, oco, order, trading

LIMIT = order("BUY", "LIMIT", "0.01", price="50000")


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(test(), 20)

    asyncio.run(bounded())


@pytest.mark.parametrize("body", [False, True], ids=["query", "body"])
def test_an_order_is_placed_found_and_cancelled_with_an_hmac_key(body: bool) -> None:
    async def test() -> None:
        async with trading() as (exchange, trader):
            placed = await trader.get("POST", "order", body=body, newClientOrderId="a:b/c._-Z", **LIMIT)
            assert list(placed) == [
                "symbol", "orderId", "orderListId", "clientOrderId", "transactTime", "price", "origQty", "executedQty",
                "origQuoteOrderQty", "cummulativeQuoteQty", "status", "timeInForce", "type", "side", "workingTime",
                "fills", "selfTradePreventionMode",
            ]  # fmt: skip
            found = await trader.get("GET", "order", symbol="BTCUSDT", origClientOrderId="a:b/c._-Z")
            assert found["orderId"] == placed["orderId"] and found["status"] == "NEW" and found["isWorking"] is True
            assert await trader.get("GET", "openOrders") == [found]
            gone = await trader.get("DELETE", "order", symbol="BTCUSDT", origClientOrderId="a:b/c._-Z")
            assert (gone["status"], gone["origClientOrderId"]) == ("CANCELED", "a:b/c._-Z")
            assert await trader.get("GET", "openOrders", symbol="BTCUSDT") == []
            assert (await trader.get("GET", "allOrders", symbol="BTCUSDT"))[0]["status"] == "CANCELED"
            assert exchange.books.of_client("a:b/c._-Z")[0].status == "CANCELED"

    run(test)


def test_an_ed25519_key_signs_too_and_its_signature_is_case_sensitive() -> None:
    private = Ed25519PrivateKey.generate()
    key = ApiKey(made_key("ed"), public=private.public_key().public_bytes_raw())
    sign = ed25519_signature(private)

    async def test() -> None:
        async with trading(Exchange(keys=[key]), key=key, sign=sign) as (_, trader):
            for number in range(20):  # base64 has signs that must be percent-encoded
                assert (await trader.send("GET", "order", symbol="BTCUSDT", orderId=number))[1]["code"] == -2013
            stamp = trader.front.clock.now_ms()
            wrong = sign(f"timestamp={stamp}").swapcase()
            assert (await trader.get("GET", "account", timestamp=stamp, signature=wrong))["code"] == -1022

    run(test)


@pytest.mark.parametrize(
    ("options", "status", "code"),
    [
        ({"headers": {}}, 401, -2014),
        ({"headers": {"X-MBX-APIKEY": "short"}}, 401, -2014),
        ({"headers": {"X-MBX-APIKEY": made_key("unknown")}}, 401, -2015),
        ({"signature": ""}, 400, -1102),
        ({"signature": "0" * 64}, 400, -1022),
        ({"timestamp": ""}, 400, -1102),
        ({"timestamp": ManualClock().now_ms() + 1000}, 400, -1021),
        ({"timestamp": ManualClock().now_ms() - 5001}, 400, -1021),
        ({"timestamp": ManualClock().now_ms() - 3001, "recvWindow": 3000}, 400, -1021),
        ({"recvWindow": 60001}, 400, -1131),
        ({"timestamp": ManualClock().now_ms() + 999}, 200, None),
        ({"timestamp": ManualClock().now_ms() - 60000, "recvWindow": 60000}, 200, None),
        ({"timestamp": ManualClock().now_ms() * 1000}, 200, None),
    ],
)
def test_keys_signatures_and_times_are_checked(options: dict[str, Any], status: int, code: int | None) -> None:
    async def test() -> None:
        async with trading() as (exchange, trader):
            given = await trader.send("POST", "order", **LIMIT, **options)
            assert (given[0], given[1].get("code")) == (status, code)
            assert len(exchange.books.orders) == (status == 200)

    run(test)


def test_what_is_signed_must_be_what_is_sent_percent_encoded_and_whole() -> None:
    async def test() -> None:
        async with trading() as (exchange, trader):
            stamp = trader.front.clock.now_ms()
            parameters = {**LIMIT, "newClientOrderId": "a:b", "timestamp": stamp}
            plain = "&".join(f"{name}={value}" for name, value in parameters.items())
            encoded = "&".join(f"{name}={quote(str(value), safe='')}" for name, value in parameters.items())
            answers = []
            for sent, signed in ((encoded, plain), (encoded + "&price=1", encoded), (encoded, encoded.upper())):
                url = f"{trader.front.rest_url}/api/v3/order?{sent}&signature={hmac_signature(signed)}"
                headers = {"X-MBX-APIKEY": trader.key.key}
                response = await trader.session.post(URL(url, encoded=True), headers=headers)
                answers.append((await response.json())["code"])
            assert answers == [-1022, -1101, -1022] and not exchange.books.orders
            # Half in the query, half in the body: put together without a separator.
            split = (f"symbol=BTCUSDT&timestamp={stamp}", "side=BUY&type=MARKET&quantity=0.01")
            url = f"{trader.front.rest_url}/api/v3/order?{split[0]}"
            data = f"{split[1]}&signature={hmac_signature(split[0] + split[1]).upper()}"
            response = await trader.session.post(URL(url, encoded=True), headers=headers, data=data)
            assert (await response.json())["status"] == "FILLED"

    run(test)


def test_a_key_may_do_what_it_is_allowed_to_and_tells_so() -> None:
    watcher = ApiKey(made_key("watcher"), secret="s" * 64, trades=False, ip_bound=False)

    async def test() -> None:
        exchange = Exchange(keys=[watcher])
        async with trading(exchange, key=watcher, sign=lambda text: hmac_signature(text, "s" * 64)) as (_, trader):
            assert (await trader.get("POST", "order", **LIMIT))["code"] == -2015
            assert (await trader.get("GET", "account"))["canTrade"] is False
            told = await trader.get("GET", "/sapi/v1/account/apiRestrictions")
            assert (told["enableSpotAndMarginTrading"], told["enableWithdrawals"], told["ipRestrict"]) == (
                False, False, False,
            )  # fmt: skip
        async with trading(Exchange(testnet=True)) as (_, trader):
            assert (await trader.send("GET", "/sapi/v1/account/apiRestrictions"))[0] == 404

    run(test)


def test_orders_that_succeed_weigh_nothing_and_failed_ones_and_reads_their_weight() -> None:
    async def test() -> None:
        async with trading() as (_, trader):
            used = []
            for method, path, parameters in (
                ("POST", "order", LIMIT),
                ("DELETE", "openOrders", {"symbol": "BTCUSDT"}),
                ("DELETE", "openOrders", {"symbol": "BTCUSDT"}),
                ("GET", "account", {}),
                ("GET", "openOrders", {}),
                ("GET", "openOrders", {"symbol": "BTCUSDT"}),
                ("GET", "order", {"symbol": "BTCUSDT", "orderId": "1"}),
                ("GET", "myTrades", {"symbol": "BTCUSDT"}),
                ("GET", "myTrades", {"symbol": "BTCUSDT", "orderId": "1"}),
                ("GET", "allOrders", {"symbol": "BTCUSDT"}),
            ):
                _, _, headers = await trader.send(method, path, **parameters)
                used.append(int(headers["X-MBX-USED-WEIGHT-1M"]))
            assert [after - before for before, after in zip([0, *used], used, strict=False)] == [
                0, 0, 1, 20, 80, 6, 4, 20, 5, 20,
            ]  # fmt: skip

    run(test)


def test_order_count_headers_come_with_orders_and_their_limit_is_429_with_retry_after() -> None:
    async def test() -> None:
        async with trading(Exchange({"USDT": "100000"}, orders_10s=2)) as (_, trader):
            for count in ("1", "2"):
                _, _, headers = await trader.send("POST", "order", **LIMIT)
                assert (headers["X-MBX-ORDER-COUNT-10S"], headers["X-MBX-ORDER-COUNT-1D"]) == (count, count)
            status, body, headers = await trader.send("POST", "order", **LIMIT)
            assert (status, body["code"], "Retry-After" in headers) == (429, -1015, True)
            assert body["msg"] == "Too many new orders; current limit is 2 orders per 10 SECOND."
            assert [row["count"] for row in await trader.get("GET", "rateLimit/order")] == [2, 2]

    run(test)


def test_a_ban_of_the_exchange_is_one_of_the_whole_address() -> None:
    async def test() -> None:
        async with trading() as (exchange, trader):
            exchange.inject(named("418", times=1, retry_after_s=60))
            status, body, headers = await trader.send("POST", "order", **LIMIT)
            assert (status, body["code"], headers["Retry-After"]) == (418, -1003, "60")
            public = await trader.session.get(trader.front.rest_url + "/api/v3/time")
            assert public.status == 418 and len(trader.front.record.while_banned()) == 1
            await trader.front.advance(60_000)
            assert (await trader.send("POST", "order", **LIMIT))[0] == 200
            exchange.inject(named("429", times=1))
            assert (await trader.send("POST", "order", **LIMIT))[0] == 429
            exchange.mend_all()
            assert (await trader.send("POST", "order", **LIMIT))[0] == 200

    run(test)


def test_listen_keys_are_gone() -> None:
    async def test() -> None:
        async with trading() as (_, trader):
            for method in ("POST", "PUT", "DELETE"):
                assert (await trader.send(method, "userDataStream"))[0] == 410

    run(test)


def test_exchange_info_tells_of_changed_filters_and_status_and_orders_are_judged_by_them() -> None:
    async def test() -> None:
        async with trading() as (exchange, trader):
            fault = ExchangeFault(
                kind="filters",
                symbol="BTCUSDT",
                filters={"LOT_SIZE": {"minQty": "0.10000000", "stepSize": "0.10000000"}},
            )
            exchange.inject(fault)
            answer = await trader.session.get(trader.front.rest_url + "/api/v3/exchangeInfo?symbol=BTCUSDT")
            [row] = (await answer.json())["symbols"]
            assert next(each for each in row["filters"] if each["filterType"] == "LOT_SIZE")["stepSize"] == "0.10000000"
            assert (await trader.get("POST", "order", **LIMIT))["msg"] == "Filter failure: LOT_SIZE"
            exchange.mend(fault)
            assert (await trader.get("POST", "order", **LIMIT))["status"] == "NEW"
            exchange.inject(named("cancel_only", symbol="BTCUSDT"))
            assert (await trader.get("POST", "order", **LIMIT))["msg"] == "Market is closed."
            assert (await trader.get("DELETE", "openOrders", symbol="BTCUSDT"))[0]["status"] == "CANCELED"
            answer = await trader.session.get(trader.front.rest_url + "/api/v3/exchangeInfo")
            assert (await answer.json())["symbols"][0]["status"] == "CANCEL_ONLY"

    run(test)


def test_a_pair_over_the_wire_and_commission_and_account_shapes() -> None:
    async def test() -> None:
        async with trading() as (_, trader):
            pair = oco(quantity="0.01", abovePrice="61000", belowStopPrice="59000", belowPrice="58900")
            placed = await trader.get("POST", "orderList/oco", newOrderRespType="FULL", **pair)
            assert placed["contingencyType"] == "OCO" and placed["listOrderStatus"] == "EXECUTING"
            assert placed["orderReports"][0]["workingTime"] == -1 and placed["orderReports"][1]["fills"] == []
            assert len(await trader.get("GET", "openOrderList")) == 1
            gone = await trader.get("DELETE", "orderList", symbol="BTCUSDT", orderListId=placed["orderListId"])
            assert gone["listStatusType"] == "ALL_DONE"
            rates = await trader.get("GET", "account/commission", symbol="BTCUSDT")
            assert rates["standardCommission"]["taker"] == "0.00100000"
            account = await trader.get("GET", "account", omitZeroBalances="true")
            assert account["balances"] == [
                {"asset": "BTC", "free": "1.00000000", "locked": "0.00000000"},
                {"asset": "USDT", "free": "100000.00000000", "locked": "0.00000000"},
            ]

    run(test)


def test_another_process_steers_and_reads_the_books_through_the_side_door() -> None:
    exchange = Exchange({"USDT": "100000"})
    with FrontThread(["BTCUSDT"], clock=ManualClock(), exchange=exchange) as thread:

        async def steer() -> Any:
            import aiohttp

            async with aiohttp.ClientSession() as session:
                trader = Trader(thread.front, session, DEFAULT_KEY, hmac_signature)
                door = thread.rest_url + "/_front/"
                await session.post(door + "price?symbol=BTCUSDT&bid=60000&ask=60001")
                await trader.get("POST", "order", newClientOrderId="mine", **LIMIT)
                await session.post(door + "fill?client=mine&quantity=0.005")
                await session.post(door + "deposit?asset=BNB&amount=2")
                await session.post(door + "exchange_fault", json={"kind": "error", "code": -1008, "effect": False})
                refused = await trader.get("POST", "order", **LIMIT)
                await session.post(door + "exchange_mend")
                told = await (await session.get(door + "books")).json()
                return refused["code"], told

        code, told = asyncio.run(steer())
        assert code == -1008 and told["faults"] == [] and told["balances"]["BNB"] == ["2", "0"]
        assert [(row["client_id"], row["status"], row["executed"]) for row in told["orders"]] == [
            ("mine", "PARTIALLY_FILLED", "0.00500000")
        ]
