"""User data through the WebSocket API: subscribing with a signature, the events and their letters, the ends of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.fakes.binance import Exchange, Fault, Rules
from tests.fakes.binance.exchange import ApiKey, ExchangeFault, Fees, made_key, named
from tests.fakes.exchange_case import ed25519_signature, oco, order, trading

LIMIT = order("BUY", "LIMIT", "0.02", price="50000")
LETTERS = "eEscSofqpPFgCxXrilzLnNTtIwmMOZYQWV"
SHOWN = ("c", "C", "x", "X", "l", "z", "t", "n", "N", "w")


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(test(), 20)

    asyncio.run(bounded())


def inner(events: list[dict[str, Any]], kind: str | None = None) -> list[dict[str, Any]]:
    found = [event["event"] for event in events]
    return [event for event in found if kind in (None, event["e"])]


def test_an_orders_life_is_told_with_binances_letters() -> None:
    async def test() -> None:
        async with trading() as (exchange, trader):
            socket = await trader.connect()
            assert (await socket.subscribe())["result"] == {"subscriptionId": 0}
            placed = await trader.get("POST", "order", newClientOrderId="mine", **LIMIT)
            exchange.venue.fill("mine", "0.005")
            await trader.get(
                "DELETE", "order", symbol="BTCUSDT", origClientOrderId="mine", newClientOrderId="my-cancel"
            )
            events = await socket.arrived()
            assert {event["subscriptionId"] for event in events} == {0}
            reports = inner(events, "executionReport")
            assert "".join(reports[0]) == LETTERS
            shown = [{key: report[key] for key in SHOWN} for report in reports]
            trade = exchange.books.trades[0]
            assert shown == [
                {"c": "mine", "C": "", "x": "NEW", "X": "NEW", "l": "0.00000000", "z": "0.00000000", "t": -1, "n": "0",
                 "N": None, "w": True},
                {"c": "mine", "C": "", "x": "TRADE", "X": "PARTIALLY_FILLED", "l": "0.00500000", "z": "0.00500000",
                 "t": trade.id, "n": "0.000005", "N": "BTC", "w": True},
                {"c": "my-cancel", "C": "mine", "x": "CANCELED", "X": "CANCELED", "l": "0.00000000", "z": "0.00500000",
                 "t": -1, "n": "0", "N": None, "w": False},
            ]  # fmt: skip
            assert {report["i"] for report in reports} == {placed["orderId"]}
            positions = inner(events, "outboundAccountPosition")
            assert positions[0]["B"] == [
                {"a": "BTC", "f": "1.00000000", "l": "0.00000000"},
                {"a": "USDT", "f": "99000.00000000", "l": "1000.00000000"},
            ]
            assert positions[-1]["B"][1] == {"a": "USDT", "f": "99750.00000000", "l": "0.00000000"}

    run(test)


def test_a_pairs_life_is_told_with_list_status() -> None:
    async def test() -> None:
        async with trading(Exchange({"BTC": "1", "BNB": "1", "USDT": "0"}, fees=Fees(in_bnb=True))) as (
            exchange,
            trader,
        ):
            socket = await trader.connect()
            await socket.subscribe()
            pair = oco(quantity="0.01", abovePrice="61000", belowStopPrice="59000", belowPrice="58900")
            await trader.get("POST", "orderList/oco", **pair)
            exchange.set_price("BTCUSDT", "61000.00", "61001.00")
            exchange.venue.deposit("USDT", "7")
            events = inner(await socket.arrived())
            told = [event.get("l", "") + event.get("x", "") + event.get("eR", "") for event in events
                    if event["e"] in ("listStatus", "executionReport")]  # fmt: skip
            assert told == [
                "EXEC_STARTED", "0.00000000NEW", "0.00000000NEW", "0.00000000EXPIREDOCO_TRIGGER", "0.01000000TRADE",
                "ALL_DONE",
            ]  # fmt: skip
            assert [event["e"] for event in events[-2:]] == ["balanceUpdate", "outboundAccountPosition"]

    run(test)


def test_who_does_not_sign_well_is_not_subscribed() -> None:
    async def test() -> None:
        async with trading() as (exchange, trader):
            socket = await trader.connect()
            good = socket.signed()
            codes = []
            for params in (
                {**good, "signature": "0" * 64},
                {**good, "apiKey": made_key("unknown")},
                {name: value for name, value in good.items() if name != "signature"},
                {name: value for name, value in good.items() if name != "apiKey"},
                socket.signed(timestamp=1),
                {**good, "recvWindow": 3000},
            ):
                answer = await socket.ask("userDataStream.subscribe.signature", params)
                codes.append((answer["status"], answer["error"]["code"]))
            assert codes == [(400, -1022), (401, -2015), (400, -1102), (400, -1102), (400, -1021), (400, -1022)]
            assert exchange.venue.stream.subscribers == 0
            assert (await socket.subscribe())["status"] == 200
            assert (await socket.subscribe())["error"]["code"] == -2035
            other = await trader.connect()
            assert (await other.subscribe())["result"]["subscriptionId"] == 0
            assert exchange.venue.stream.subscribers == 2
            await other.socket.close()
            await asyncio.sleep(0.02)
            assert exchange.venue.stream.subscribers == 1

    run(test)


def test_ping_time_status_orders_and_unsubscribing_work_over_the_socket() -> None:
    async def test() -> None:
        async with trading() as (exchange, trader):
            socket = await trader.connect()
            assert (await socket.ask("ping"))["result"] == {}
            assert (await socket.ask("time"))["result"] == {"serverTime": trader.front.clock.now_ms()}
            assert (await socket.ask("nonsense"))["error"]["code"] == -1020
            await socket.socket.send_str("{no json")
            assert (await socket.arrived())[0]["error"]["code"] == -1135
            await socket.subscribe()
            assert (await socket.ask("session.subscriptions"))["result"] == [{"subscriptionId": 0}]
            placed = await socket.ask("order.place", socket.signed(**LIMIT))
            assert placed["result"]["status"] == "NEW"
            status = await socket.ask(
                "order.status", socket.signed(symbol="BTCUSDT", orderId=placed["result"]["orderId"])
            )
            assert status["result"]["status"] == "NEW"
            refused = await socket.ask("order.place", socket.signed(**(LIMIT | {"quantity": "100"})))
            assert (refused["status"], refused["error"]["code"]) == (400, -2010)
            await socket.arrived()
            assert (await socket.ask("userDataStream.unsubscribe", {"subscriptionId": 0}))["status"] == 200
            assert inner(await socket.arrived())[0]["e"] == "eventStreamTerminated"
            exchange.venue.deposit("USDT", "1")
            assert await socket.arrived() == []

    run(test)


def test_an_ed25519_session_logs_on_and_subscribes_without_a_signature() -> None:
    private = Ed25519PrivateKey.generate()
    key = ApiKey(made_key("ed"), public=private.public_key().public_bytes_raw())

    async def test() -> None:
        async with trading(Exchange(keys=[key]), key=key, sign=ed25519_signature(private)) as (exchange, trader):
            socket = await trader.connect()
            assert (await socket.ask("userDataStream.subscribe"))["status"] == 401
            assert (await socket.ask("session.logon", socket.signed()))["result"]["apiKey"] == key.key
            assert (await socket.ask("userDataStream.subscribe"))["result"] == {"subscriptionId": 0}
            signed = await trader.connect()
            assert (await signed.subscribe())["status"] == 200
            exchange.venue.deposit("USDT", "1")
            assert len(await socket.arrived()) == len(await signed.arrived()) == 2

    run(test)


def test_events_are_dropped_doubled_late_and_out_of_order_as_planned() -> None:
    async def test() -> None:
        async with trading() as (exchange, trader):
            socket = await trader.connect()
            await socket.subscribe()

            async def numbers() -> list[int]:
                return [event["i"] for event in inner(await socket.arrived(), "executionReport")]

            async def place() -> int:
                number: int = (await trader.get("POST", "order", **LIMIT))["orderId"]
                return number

            only: dict[str, Any] = {"event": "executionReport", "times": 1}
            exchange.inject(named("events_dropped", **only))
            lost, kept = await place(), await place()
            assert await numbers() == [kept] and lost in exchange.books.orders
            exchange.inject(named("events_twice", **only))
            first = await place()
            assert await numbers() == [first]
            await trader.front.advance(300)
            assert await numbers() == [first]
            exchange.inject(named("events_reordered", **only))
            first, second = await place(), await place()
            assert await numbers() == [second, first]
            exchange.inject(named("events_late", **only))
            first, second = await place(), await place()
            assert await numbers() == [second]
            await trader.front.advance(5000)
            assert await numbers() == [first]
            assert len([event for event in exchange.venue.stream.sent if event["e"] == "executionReport"]) == 7

    run(test)


@pytest.mark.parametrize(("how", "code"), [("fin", 1006), ("rst", 1006), ("close", 1001)])
def test_a_users_connection_is_cut_while_market_streams_go_on(how: str, code: int) -> None:
    async def test() -> None:
        async with trading() as (exchange, trader):
            market = await trader.session.ws_connect(trader.front.ws_url + "/ws/btcusdt@trade")
            socket = await trader.connect()
            await socket.subscribe()
            exchange.inject(named("stream_cut", how=how))
            assert await socket.end() == code
            assert len(trader.front.record.open_connections()) == 1 and exchange.venue.stream.subscribers == 0
            await market.close()

    run(test)


def test_a_stream_dies_silently_ends_with_a_word_or_cannot_be_had() -> None:
    async def test() -> None:
        async with trading() as (exchange, trader):
            dead, fresh = await trader.connect(), await trader.connect()
            await dead.subscribe()
            exchange.inject(named("stream_half_open"))
            await fresh.subscribe()
            exchange.venue.deposit("USDT", "1")
            assert await dead.arrived() == [] and len(await fresh.arrived()) == 2
            exchange.inject(named("stream_end"))
            assert inner(await fresh.arrived())[-1]["e"] == "eventStreamTerminated"
            exchange.venue.deposit("USDT", "1")
            assert await fresh.arrived() == []
            exchange.inject(ExchangeFault(kind="stream_refuse", for_ms=1000))
            third = await trader.connect()
            assert (await third.subscribe())["status"] == 500
            await trader.front.advance(1000)
            assert (await third.subscribe())["status"] == 200

    run(test)


def test_a_session_is_pinged_lives_its_day_and_is_cut_by_the_fronts_own_faults() -> None:
    async def test() -> None:
        rules = Rules(timers="market", ping_s=600, pong_s=1800)
        async with trading(rules=rules) as (exchange, trader):
            socket = await trader.connect()
            await socket.subscribe()
            ending = asyncio.create_task(socket.end())
            await trader.front.advance(86_400_000)
            assert await ending == 1001 and trader.front.record.endings() == {"life": 1}
            again = await trader.connect()
            await again.subscribe()
            trader.front.inject(Fault(kind="shutdown", delay_ms=1000))
            assert (await again.arrived())[0]["event"]["e"] == "serverShutdown"
            trader.front.inject(Fault(kind="cut"))
            assert await again.end() == 1006 and exchange.venue.stream.subscribers == 0

    run(test)
