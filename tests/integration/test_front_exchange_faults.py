"""What goes wrong with requests: effect, answer and time of each named fault, over HTTP and at the seam without."""

from __future__ import annotations

import ast
import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.fakes.binance import Rules, exchange
from tests.fakes.binance.exchange import DEFAULT_KEY, Answer, Door, ExchangeFault, Lost, named, seeded
from tests.fakes.binance.exchange.fault_plan import KINDS, NAMED, ExchangeFaults, of_json
from tests.fakes.exchange_case import Case, hmac_signature, order, trading

LIMIT = order("BUY", "LIMIT", "1", price="90")
WIRE = order("BUY", "LIMIT", "0.01", price="50000")
ORDER: dict[str, Any] = {"method": "POST", "path": "/api/v3/order", "times": 1}


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(test(), 20)

    asyncio.run(bounded())


ANSWERED: list[tuple[str, int, int | bytes | None, bool]] = [
    ("5xx_with_effect", 502, b"<html>", True),
    ("5xx_without_effect", 502, b"<html>", False),
    ("503_unknown_with_effect", 503, None, True),
    ("503_unknown_without_effect", 503, None, False),
    ("-1006_with_effect", 500, -1006, True),
    ("-1006_without_effect", 500, -1006, False),
    ("-1007_with_effect", 504, -1007, True),
    ("-1007_without_effect", 504, -1007, False),
    ("-1008", 503, -1008, False),
    ("-1015", 429, -1015, False),
    ("-1021", 400, -1021, False),
    ("-2010", 400, -2010, False),
    ("403", 403, b"<html>", False),
    ("429", 429, -1003, False),
    ("418", 418, -1003, False),
    ("200_truncated", 200, b'{"symbol"', True),
    ("200_html", 200, b"<html>", True),
    ("200_empty", 200, b"", True),
]


@pytest.mark.parametrize(("name", "status", "body", "effect"), ANSWERED, ids=[each[0] for each in ANSWERED])
def test_an_answer_says_one_thing_and_the_books_another(
    name: str, status: int, body: int | bytes | None, effect: bool
) -> None:
    async def test() -> None:
        async with trading() as (exchange, trader):
            exchange.inject(named(name, **(ORDER | {"times": 1})))
            got = await trader.send("POST", "order", **WIRE)
            assert got[0] == status
            if isinstance(body, int):
                assert got[1]["code"] == body
            elif body is not None:
                assert isinstance(got[1], bytes) and got[1].startswith(body)
            assert len(exchange.books.orders) == effect

    run(test)


@pytest.mark.parametrize(("name", "effect"), [("accept_then_timeout", True), ("lost_request", False)])
def test_a_silent_request_leaves_the_client_waiting(name: str, effect: bool) -> None:
    async def test() -> None:
        async with trading() as (exchange, trader):
            exchange.inject(named(name, **ORDER))
            with pytest.raises(TimeoutError):
                await trader.send("POST", "order", timeout_s=0.1, **WIRE)
            assert len(exchange.books.orders) == effect
            assert (await trader.send("POST", "order", **WIRE))[0] == 200

    run(test)


@pytest.mark.parametrize(("name", "effect"), [("cut_before", False), ("cut_after", True)])
def test_a_connection_is_cut_before_or_after_the_effect(name: str, effect: bool) -> None:
    async def test() -> None:
        async with trading() as (exchange, trader):
            exchange.inject(named(name, **ORDER))
            with pytest.raises(aiohttp.ClientError):
                await trader.send("POST", "order", **WIRE)
            assert len(exchange.books.orders) == effect

    run(test)


def test_an_order_arrives_after_its_client_gave_up_but_not_after_its_window() -> None:
    case = Case()
    case.venue.inject(named("timeout_then_accept", **(ORDER | {"times": 2})))
    assert case.ask("POST", "order", **LIMIT) == [Lost()]
    assert not case.books.orders
    case.clock.advance(2000)
    assert len(case.books.orders) == 1
    assert case.ask("POST", "order", recvWindow="1500", **LIMIT) == [Lost()]
    case.clock.advance(60_000)
    assert len(case.books.orders) == 1
    case.venue.inject(named("timeout_then_accept", how="unchecked", **ORDER))
    case.ask("POST", "order", recvWindow="1500", **LIMIT)
    case.clock.advance(2000)
    assert len(case.books.orders) == 2


def test_a_429_without_a_retry_after_is_an_answer_and_no_ban() -> None:
    async def test() -> None:
        async with trading() as (exchange, trader):
            exchange.inject(ExchangeFault(kind="error", code=-1003, status=429, message="Slow down.", times=1))
            assert (await trader.send("POST", "order", **WIRE))[0] == 429
            assert (await trader.send("POST", "order", **WIRE))[0] == 200

    run(test)


def test_the_engines_timeout_is_heard_of_after_its_ten_seconds() -> None:
    case = Case()
    case.venue.inject(named("-1007_after_ten_seconds", **ORDER))
    outcomes = case.ask("POST", "order", **LIMIT)
    assert outcomes == [] and len(case.books.orders) == 1
    case.clock.advance(10_000)
    assert outcomes[0].status == 504 and outcomes[0].body["code"] == -1007  # type: ignore[union-attr]


def test_slow_requests_and_slow_answers_differ_in_when_the_effect_is() -> None:
    case = Case()
    case.venue.inject(named("slow", **ORDER))
    outcomes = case.ask("POST", "order", **LIMIT)
    assert outcomes == [] and not case.books.orders
    case.clock.advance(800)
    assert isinstance(outcomes[0], Answer) and outcomes[0].body["transactTime"] == case.clock.now_ms
    case.venue.inject(named("slow_answer", **ORDER))
    outcomes = case.ask("POST", "order", **LIMIT)
    assert outcomes == [] and len(case.books.orders) == 2
    case.clock.advance(3000)
    assert len(outcomes) == 1
    case.venue.inject(named("slow", delay_ms=5001, **ORDER))
    outcomes = case.ask("POST", "order", **LIMIT)
    case.clock.advance(5001)
    assert outcomes[0].body["code"] == -1021 and len(case.books.orders) == 2  # type: ignore[union-attr]


def test_nothing_is_done_while_banned_and_who_asks_is_remembered() -> None:
    case = Case()
    case.venue.inject(named("429", times=1))
    [refused] = case.ask("POST", "order", **LIMIT)
    assert isinstance(refused, Answer) and (refused.status, refused.headers["retry-after"]) == (429, "10")
    assert not case.venue.while_banned
    case.clock.advance(9_999)
    assert case.ask("GET", "account")[0].status == 429  # type: ignore[union-attr]
    assert [call.path for call in case.venue.while_banned] == ["/api/v3/account"]
    case.clock.advance(1)
    assert case.code("BUY", "LIMIT", "1", price="90") is None


def test_a_just_placed_order_is_unknown_for_seconds_and_trades_and_balances_come_late() -> None:
    case = Case()
    for name in ("just_placed_unknown", "trades_lag", "balance_lag", "open_orders_lag"):
        case.venue.inject(named(name))
    case.clock.advance(10_000)
    placed = case.order("BUY", "LIMIT", "1", price="102", newClientOrderId="mine")

    def seen() -> tuple[Any, int, str]:
        found = case.get("GET", "order", symbol="BTCUSDT", origClientOrderId="mine")
        trades = case.get("GET", "myTrades", symbol="BTCUSDT")
        balances = {row["asset"]: row["free"] for row in case.get("GET", "account")["balances"]}
        return found.get("code", found.get("status")), len(trades), balances["USDT"]

    assert placed["status"] == "FILLED" and seen() == (-2013, 0, "10000.00000000")
    case.clock.advance(3_999)
    assert seen() == (-2013, 0, "10000.00000000")
    case.clock.advance(1)
    assert seen() == ("FILLED", 1, "9899.00000000")


def test_a_read_that_lags_tells_of_orders_as_they_were() -> None:
    case = Case()
    number = case.order("BUY", "LIMIT", "1", price="90", newClientOrderId="mine")["orderId"]
    case.clock.advance(1000)
    case.venue.fill("mine", "0.4")
    case.clock.advance(1000)
    case.venue.fill("mine")
    for path in ("/api/v3/order", "/api/v3/openOrders", "/api/v3/allOrders"):
        case.venue.inject(ExchangeFault(kind="lag", path=path, delay_ms=1000))
    row = case.get("GET", "order", symbol="BTCUSDT", orderId=number)
    assert (row["status"], row["executedQty"], row["updateTime"]) == (
        "PARTIALLY_FILLED", "0.40000000", case.clock.now_ms - 1000,
    )  # fmt: skip
    assert case.get("GET", "openOrders") == case.get("GET", "allOrders", symbol="BTCUSDT") == [row]
    case.clock.advance(1000)
    assert case.get("GET", "openOrders") == []
    case.venue.mend_all()
    assert case.get("GET", "order", symbol="BTCUSDT", orderId=number)["status"] == "FILLED"


def test_the_door_weighs_checks_and_bans_without_a_wire() -> None:
    case = Case()
    door = Door(case.venue, Rules(weight=100))
    got: list[Any] = []

    def knock(method: str, path: str, text: str, key: str = DEFAULT_KEY.key, secret: str = DEFAULT_KEY.secret) -> Any:
        text += f"&timestamp={case.clock.now_ms}"
        target = f"/api/v3/{path}?{text}&signature={hmac_signature(text, secret)}"
        door.knock(method, target, {"x-mbx-apikey": key}, b"", got.append)
        outcome = got.pop()
        return outcome.status, json.loads(outcome.body), outcome.headers

    text = "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=90"
    status, body, headers = knock("POST", "order", text)
    assert (status, body["status"], headers["x-mbx-used-weight-1m"], headers["x-mbx-order-count-10s"]) == (
        200, "NEW", "0", "1",
    )  # fmt: skip
    assert knock("POST", "order", text, secret="wrong")[1]["code"] == -1022
    assert knock("POST", "order", text, key="")[0] == 401
    assert knock("GET", "openOrders", "symbol=BTCUSDT")[2]["x-mbx-used-weight-1m"] == "8"
    for _ in range(4):
        assert knock("GET", "account", "")[0] == 200
    status, body, headers = knock("GET", "account", "")
    assert (status, body["code"], headers["retry-after"]) == (429, -1003, "60") and not door.told_to_wait
    assert knock("POST", "order", text)[0] == 429 and len(door.told_to_wait) == 1
    case.clock.advance(60_000)
    case.venue.inject(named("418", times=1))
    assert knock("POST", "order", text)[0] == knock("GET", "account", "")[0] == 418
    case.clock.advance(120_000)
    assert knock("POST", "order", text)[0] == 200 and len(case.books.orders) == 2


def test_an_order_fills_while_its_cancel_is_on_the_way() -> None:
    case = Case()
    number = case.order("BUY", "LIMIT", "1", price="90")["orderId"]
    case.venue.inject(named("cancel_partial_race", times=1))
    case.venue.inject(named("cancel_fill_race", times=1))
    gone = case.get("DELETE", "order", symbol="BTCUSDT", orderId=number)
    assert (gone["status"], gone["executedQty"]) == ("CANCELED", "0.50000000")
    number = case.order("BUY", "LIMIT", "1", price="90")["orderId"]
    refused = case.get("DELETE", "order", symbol="BTCUSDT", orderId=number)
    assert (refused["code"], refused["msg"]) == (-2011, "Unknown order sent.")
    assert case.books.orders[number].status == "FILLED"
    assert case.get("GET", "order", symbol="BTCUSDT", orderId=number)["status"] == "FILLED"
    case.venue.check()


def test_fills_come_in_parts_and_pieces() -> None:
    case = Case()
    case.venue.inject(named("partial_fills", share="0.4"))
    case.venue.inject(named("split_fills", count=2))
    placed = case.order("BUY", "LIMIT", "1", price="101", newOrderRespType="FULL")
    assert (placed["status"], [fill["qty"] for fill in placed["fills"]]) == (
        "PARTIALLY_FILLED", ["0.20000000", "0.20000000"],
    )  # fmt: skip
    for _ in range(2):
        case.venue.set_price("BTCUSDT", "100", "101")
    [found] = case.books.orders.values()
    assert found.status == "FILLED" and [str(trade.quantity.normalize()) for trade in found.trades] == [
        "0.2", "0.2", "0.2", "0.2", "0.1", "0.1",
    ]  # fmt: skip


def test_while_a_symbol_is_halted_nothing_trades_and_in_cancel_only_cancels_go() -> None:
    case = Case()
    number = case.order("BUY", "LIMIT", "1", price="90")["orderId"]
    case.venue.inject(named("halt", symbol="BTCUSDT", for_ms=1000))
    case.venue.inject(named("cancel_only", symbol="BTCUSDT", at_ms=1000, for_ms=1000))
    assert case.get("POST", "order", **LIMIT)["code"] == -1013
    case.venue.set_price("BTCUSDT", "80", "81")
    assert case.get("DELETE", "order", symbol="BTCUSDT", orderId=number)["code"] == -2011
    assert case.get("GET", "exchangeInfo", symbol="BTCUSDT")["symbols"][0]["status"] == "HALT"
    case.clock.advance(1000)
    assert case.get("POST", "order", **LIMIT)["msg"] == "Market is closed."
    assert case.books.orders[number].open
    assert case.get("DELETE", "order", symbol="BTCUSDT", orderId=number)["status"] == "CANCELED"
    case.clock.advance(1000)
    assert case.get("POST", "order", **LIMIT)["status"] == "FILLED"


def test_a_clock_that_is_wrong_refuses_requests_that_are_right() -> None:
    case = Case()
    case.venue.inject(named("clock_ahead", delay_ms=6000, for_ms=10))
    assert case.get("POST", "order", **LIMIT)["code"] == -1021
    assert case.get("GET", "time")["serverTime"] == case.clock.now_ms + 6000
    case.clock.advance(10)
    case.venue.inject(named("clock_behind", for_ms=10))
    assert "ahead" in case.get("POST", "order", **LIMIT)["msg"]
    case.clock.advance(10)
    assert case.code("BUY", "LIMIT", "1", price="90") is None


def test_entries_choose_by_method_path_client_id_count_and_chance() -> None:
    case = Case()
    only = ExchangeFault(kind="error", code=-1008, effect=False, client="protect-*", skip=1, times=2)
    case.venue.inject(only)
    codes = [case.code("BUY", "LIMIT", "1", price="90", newClientOrderId=f"protect-{n}") for n in range(5)]
    assert codes == [None, -1008, -1008, None, None]
    assert case.code("BUY", "LIMIT", "1", price="90", newClientOrderId="entry") is None
    case.venue.mend(only)
    case.venue.inject(ExchangeFault(kind="error", code=-1008, effect=False, path="/myTrades", chance=0.5))
    hits = [isinstance(case.get("GET", "myTrades", symbol="BTCUSDT"), dict) for _ in range(100)]
    assert 30 < sum(hits) < 70 and "code" not in case.get("GET", "account")


def test_a_plan_is_data_and_a_seed_draws_the_same_again() -> None:
    assert {values["kind"] for values in NAMED.values()} <= set(KINDS)
    plans: list[ExchangeFaults] = [seeded(seed, 3_600_000) for seed in (1, 1, 2)]
    for plan in plans:
        plan.begin(0)
    assert plans[0].entries == plans[1].entries != plans[2].entries
    read = of_json(b'[{"kind": "error", "code": -1007, "at_ms": 5, "times": 1}]')
    read.begin(100)
    assert read.holding(104, "error") == [] and read.holding(105, "error")[0].code == -1007
    with pytest.raises(ValueError, match="no fault 'nonsense'"):
        ExchangeFault(kind="nonsense")


def test_the_exchange_knows_nothing_of_the_program_and_its_core_nothing_of_wires_or_the_wall_clock() -> None:
    wire = {"rest_desk", "ws_api", "wire"}
    for page in sorted(Path(exchange.__file__).parent.glob("*.py")):
        names = [
            node for node in ast.walk(ast.parse(page.read_text())) if isinstance(node, ast.Import | ast.ImportFrom)
        ]
        imported = {alias.name for node in names if isinstance(node, ast.Import) for alias in node.names}
        imported |= {node.module or "" for node in names if isinstance(node, ast.ImportFrom)}
        roots = {name.partition(".")[0] for name in imported}
        assert not roots & {"botd", "botctl", "strategies"}, page
        if page.stem not in wire:
            assert not roots & {"asyncio", "aiohttp", "socket", "time", "datetime"}, page
            assert not imported & {f"tests.fakes.binance.exchange.{name}" for name in wire}, page
