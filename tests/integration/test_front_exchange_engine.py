"""The exchange's engine without a wire: what is accepted, how it trades, what it costs, and books that always hold."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import pytest

from tests.fakes.binance.exchange import Fees, seeded
from tests.fakes.exchange_case import Case, oco, order

D = Decimal


def test_a_market_order_trades_through_the_levels_and_pays_in_what_it_receives() -> None:
    case = Case()
    case.venue.set_price("BTCUSDT", "100", "101", ask_quantity="1", asks=[("102", None)])
    answer = case.order("BUY", "MARKET", "3")
    assert (answer["status"], answer["executedQty"], answer["cummulativeQuoteQty"]) == (
        "FILLED", "3.00000000", "305.00000000",
    )  # fmt: skip
    assert [(fill["price"], fill["qty"], fill["commission"], fill["commissionAsset"]) for fill in answer["fills"]] == [
        ("101.00000000", "1.00000000", "0.00100000", "BTC"),
        ("102.00000000", "2.00000000", "0.00200000", "BTC"),
    ]
    assert case.books.both() == {"BTC": (D("12.997"), 0), "USDT": (D("9695"), 0)}
    case.venue.check()


def test_a_sale_pays_in_quote_and_with_bnb_in_bnb_while_there_is_any() -> None:
    case = Case("BTCUSDT", "BNBUSDT", balances={"BTC": "10", "BNB": "0.001", "USDT": "0"}, fees=Fees(in_bnb=True))
    case.venue.set_price("BNBUSDT", "500", "501")
    [fill] = case.order("SELL", "MARKET", "1")["fills"]
    assert (fill["commission"], fill["commissionAsset"]) == ("0.00015000", "BNB")
    [fill] = case.order("SELL", "MARKET", "7")["fills"]
    assert (fill["commission"], fill["commissionAsset"]) == ("0.70000000", "USDT")
    case.venue.check()


def test_quote_order_quantity_spends_no_more_than_it_says_in_whole_steps() -> None:
    case = Case()
    answer = case.order("BUY", "MARKET", None, quoteOrderQty="1000")
    assert (answer["executedQty"], answer["origQty"], answer["origQuoteOrderQty"]) == (
        "9.90000000", "9.90000000", "1000.00000000",
    )  # fmt: skip
    assert D(answer["cummulativeQuoteQty"]) <= 1000
    case.venue.check()


def test_a_market_order_without_enough_offers_expires_with_what_it_got() -> None:
    case = Case()
    case.venue.set_price("BTCUSDT", "100", "101", ask_quantity="1")
    answer = case.order("BUY", "MARKET", "3")
    assert (answer["status"], answer["executedQty"]) == ("EXPIRED", "1.00000000")
    assert case.heard.events[-2]["eR"] == "INSUFFICIENT_LIQUIDITY"
    case.venue.check()


def test_a_limit_order_takes_then_rests_then_fills_at_its_own_price_as_a_maker() -> None:
    case = Case()
    case.venue.set_price("BTCUSDT", "100", "101", ask_quantity="1")
    answer = case.order("BUY", "LIMIT", "3", price="101.50")
    assert (answer["status"], answer["executedQty"]) == ("PARTIALLY_FILLED", "1.00000000")
    assert case.books.locked("USDT") == D("203")
    case.venue.printed("BTCUSDT", "101.40", "0.5")
    case.venue.set_price("BTCUSDT", "99", "101.50", ask_quantity="9")
    [found] = case.books.of_client(answer["clientOrderId"])
    assert [(trade.price, trade.quantity, trade.maker) for trade in found.trades] == [
        (D("101"), D("1"), False), (D("101.50"), D("0.5"), True), (D("101.50"), D("1.5"), True),
    ]  # fmt: skip
    assert found.status == "FILLED" and case.books.locked("USDT") == 0
    case.venue.check()


@pytest.mark.parametrize(
    ("force", "offered", "status", "executed"),
    [
        ("IOC", "1", "EXPIRED", "1.00000000"),
        ("FOK", "1", "EXPIRED", "0.00000000"),
        ("FOK", "5", "FILLED", "3.00000000"),
    ],
)
def test_ioc_takes_what_there_is_and_fok_all_or_nothing(force: str, offered: str, status: str, executed: str) -> None:
    case = Case()
    case.venue.set_price("BTCUSDT", "100", "101", ask_quantity=offered)
    answer = case.order("BUY", "LIMIT", "3", price="101", timeInForce=force)
    assert (answer["status"], answer["executedQty"]) == (status, executed)
    assert case.books.locked("USDT") == 0


@pytest.mark.parametrize(
    ("side", "kind", "stop", "moves"),
    [
        ("SELL", "STOP_LOSS", "95", ("96", "94.90")),
        ("BUY", "STOP_LOSS", "105", ("104", "105.10")),
        ("SELL", "TAKE_PROFIT", "105", ("104", "105")),
        ("BUY", "TAKE_PROFIT", "95", ("96", "95")),
    ],
)
def test_a_stop_waits_for_its_price_and_then_goes_to_the_market(
    side: str, kind: str, stop: str, moves: tuple[str, str]
) -> None:
    case = Case()
    answer = case.order(side, kind, "1", stopPrice=stop)
    assert set(answer) == {"symbol", "orderId", "orderListId", "clientOrderId", "transactTime"}
    [found] = case.books.open_orders("BTCUSDT")
    case.venue.set_price("BTCUSDT", moves[0], str(D(moves[0]) + 1))
    assert found.open and not found.working
    case.venue.set_price("BTCUSDT", moves[1], str(D(moves[1]) + 1))
    assert found.status == "FILLED"
    assert case.heard.reports() == ["NEW NEW", "NEW NEW", "TRADE FILLED"]
    case.venue.check()


def test_a_stop_limit_rests_at_its_limit_once_it_is_triggered() -> None:
    case = Case()
    case.order("SELL", "STOP_LOSS_LIMIT", "1", stopPrice="95", price="94")
    [found] = case.books.open_orders("BTCUSDT")
    case.venue.set_price("BTCUSDT", "93", "93.50")
    assert found.open and found.working and case.books.locked("BTC") == 1
    case.venue.set_price("BTCUSDT", "94", "94.50")
    assert found.status == "FILLED" and found.trades[0].price == 94


def test_a_trailing_stop_follows_the_price_and_fires_when_it_turns() -> None:
    case = Case()
    case.order("SELL", "STOP_LOSS", "1", trailingDelta="500")
    [found] = case.books.open_orders("BTCUSDT")
    for price in ("100", "120", "114.01"):
        case.venue.set_price("BTCUSDT", price, str(D(price) + 1))
    assert found.open
    case.venue.set_price("BTCUSDT", "114", "115")
    assert found.status == "FILLED"


REFUSED: list[tuple[str, dict[str, Any], int, str]] = [
    ("funds", order("BUY", "LIMIT", "1000", price="100"), -2010, "insufficient balance"),
    ("funds of a sale", order("SELL", "MARKET", "11"), -2010, "insufficient balance"),
    ("maker that takes", order("BUY", "LIMIT_MAKER", "1", price="101"), -2010, "immediately match"),
    ("stop that is past", order("SELL", "STOP_LOSS", "1", stopPrice="100"), -2010, "trigger immediately"),
    ("tick", order("BUY", "LIMIT", "1", price="100.001"), -1013, "Filter failure: PRICE_FILTER"),
    ("tick of a stop", order("SELL", "STOP_LOSS", "1", stopPrice="90.001"), -1013, "Filter failure: PRICE_FILTER"),
    ("step", order("BUY", "LIMIT", "1.0001", price="100"), -1013, "Filter failure: LOT_SIZE"),
    ("least", order("BUY", "LIMIT", "0", price="100"), -1013, "Invalid quantity."),
    ("notional", order("BUY", "LIMIT", "0.04", price="100"), -1013, "Filter failure: NOTIONAL"),
    ("notional of a market order", order("BUY", "MARKET", "0.04"), -1013, "Filter failure: NOTIONAL"),
    ("percent", order("BUY", "LIMIT", "1", price="501"), -1013, "Filter failure: PERCENT_PRICE_BY_SIDE"),
    ("trailing", order("SELL", "STOP_LOSS", "1", trailingDelta="5"), -1013, "Filter failure: TRAILING_DELTA"),
    ("precision", order("BUY", "LIMIT", "1", price="100.123456789"), -1111, "too much precision"),
    ("no price", order("BUY", "LIMIT", "1"), -1102, "'price'"),
    ("no quantity", order("BUY", "MARKET", None), -1102, "'quantity' or 'quoteOrderQty'"),
    ("price too many", order("BUY", "MARKET", "1", price="100"), -1106, "'price'"),
    ("time too many", order("BUY", "MARKET", "1", timeInForce="GTC"), -1106, "'timeInForce'"),
    ("side", order("HOLD", "MARKET", "1"), -1117, "Invalid side"),
    ("type", order("BUY", "ICEBERG", "1"), -1116, "Invalid orderType"),
    ("time in force", order("BUY", "LIMIT", "1", price="100", timeInForce="GTX"), -1115, "Invalid timeInForce"),
    ("client id", order("BUY", "MARKET", "1", newClientOrderId="a b"), -1100, "'newClientOrderId'"),
    ("long client id", order("BUY", "MARKET", "1", newClientOrderId="a" * 37), -1100, "'newClientOrderId'"),
    ("not a number", order("BUY", "MARKET", "1e3"), -1100, "'quantity'"),
    ("symbol", {**order("BUY", "MARKET", "1"), "symbol": "NONE"}, -1121, "Invalid symbol"),
    ("unknown parameter", order("BUY", "MARKET", "1", reduceOnly="true"), -1104, "Not all sent parameters"),
]


@pytest.mark.parametrize(("parameters", "code", "message"), [each[1:] for each in REFUSED], ids=[e[0] for e in REFUSED])
def test_what_is_wrong_with_an_order_is_answered_with_its_code(
    parameters: dict[str, Any], code: int, message: str
) -> None:
    case = Case()
    before = case.books.both()
    answer = case.get("POST", "order", **parameters)
    assert answer["code"] == code and message in answer["msg"]
    assert not case.books.orders and case.books.both() == before and not case.heard.events


def test_counts_of_open_orders_and_stops_are_bounded_and_bind_again_after_a_cancel() -> None:
    case = Case()
    for _ in range(5):
        assert case.code("SELL", "STOP_LOSS", "0.1", stopPrice="90") is None
    answer = case.order("SELL", "STOP_LOSS", "0.1", stopPrice="90")
    assert answer["msg"] == "Filter failure: MAX_NUM_ALGO_ORDERS"
    case.get("DELETE", "openOrders", symbol="BTCUSDT")
    assert case.code("SELL", "STOP_LOSS", "0.1", stopPrice="90") is None


def test_a_client_id_is_unique_among_open_orders_only() -> None:
    case = Case()
    again = {"newClientOrderId": "mine:1/a.b_c-D", "price": "90"}
    assert case.code("BUY", "LIMIT", "1", **again) is None
    answer = case.order("BUY", "LIMIT", "1", **again)
    assert (answer["code"], answer["msg"]) == (-2010, "Duplicate order sent.")
    cancelled = case.get("DELETE", "order", symbol="BTCUSDT", origClientOrderId="mine:1/a.b_c-D")
    assert cancelled["origClientOrderId"] == "mine:1/a.b_c-D" != cancelled["clientOrderId"]
    assert case.code("BUY", "LIMIT", "1", **again) is None
    for _ in range(2):
        assert case.code("BUY", "MARKET", "0.1", newClientOrderId="twice") is None
    assert len(case.books.of_client("twice")) == 2


def test_the_legs_of_a_pair_share_their_funds_and_the_first_to_act_ends_the_other() -> None:
    case = Case()
    answer = case.get("POST", "orderList/oco", **oco(newOrderRespType="RESULT"))
    assert [report["type"] for report in answer["orderReports"]] == ["STOP_LOSS_LIMIT", "LIMIT_MAKER"]
    assert case.books.locked("BTC") == 1
    case.venue.set_price("BTCUSDT", "110", "110.50", bid_quantity="0.4")
    stop, limit = (case.books.orders[each["orderId"]] for each in answer["orders"])
    assert (stop.status, stop.expiry, limit.status) == ("EXPIRED", "OCO_TRIGGER", "PARTIALLY_FILLED")
    assert case.books.locked("BTC") == D("0.6")
    row = case.get("GET", "orderList", orderListId=answer["orderListId"])
    assert row["listOrderStatus"] == "EXECUTING"
    case.venue.set_price("BTCUSDT", "111", "112")
    assert limit.status == "FILLED" and case.heard.events[-1]["L"] == "ALL_DONE"
    case.venue.check()


def test_the_stop_of_a_pair_ends_the_limit_and_a_cancel_of_one_is_a_cancel_of_both() -> None:
    case = Case()
    first = case.get("POST", "orderList/oco", **oco())
    case.venue.set_price("BTCUSDT", "89.50", "90")
    states = [case.books.orders[each["orderId"]].status for each in first["orders"]]
    assert states == ["FILLED", "EXPIRED"]
    case.venue.set_price("BTCUSDT", "100", "101")
    second = case.get("POST", "orderList/oco", **oco())
    gone = case.get("DELETE", "order", symbol="BTCUSDT", orderId=second["orders"][1]["orderId"])
    assert gone["listOrderStatus"] == "ALL_DONE" and [row["status"] for row in gone["orderReports"]] == ["CANCELED"] * 2
    third = case.get("POST", "orderList/oco", **oco(listClientOrderId="pair"))
    assert case.get("POST", "orderList/oco", **oco(listClientOrderId="pair"))["msg"] == "Duplicate order sent."
    gone = case.get("DELETE", "orderList", symbol="BTCUSDT", listClientOrderId="pair")
    assert gone["orderListId"] == third["orderListId"] and case.books.locked("BTC") == 0
    case.venue.check()


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"abovePrice": "99.00"}, -2010),
        ({"belowStopPrice": "100.00"}, -2010),
        ({"quantity": "11"}, -2010),
        ({"belowType": "LIMIT_MAKER", "belowStopPrice": None, "belowTimeInForce": None}, -1168),
        ({"aboveType": "STOP_LOSS", "abovePrice": None, "aboveStopPrice": "110"}, -1197),
        ({"belowType": None}, -1102),
        ({"belowTimeInForce": None}, -1102),
    ],
)
def test_a_pair_that_is_none_is_refused_whole(changes: dict[str, Any], code: int) -> None:
    case = Case()
    assert case.get("POST", "orderList/oco", **oco(**changes))["code"] == code
    assert not case.books.orders and not case.heard.events


def test_a_replacement_tells_what_of_it_was_done() -> None:
    case = Case()
    old = case.order("BUY", "LIMIT", "1", price="90")
    new = order("BUY", "LIMIT", "1", price="91") | {"cancelReplaceMode": "STOP_ON_FAILURE"}
    done = case.get("POST", "order/cancelReplace", **new, cancelOrderId=old["orderId"])
    assert (done["cancelResult"], done["newOrderResult"]) == ("SUCCESS", "SUCCESS")
    failed = case.get("POST", "order/cancelReplace", **new, cancelOrderId=old["orderId"])
    assert (failed["code"], failed["data"]["newOrderResult"]) == (-2022, "NOT_ATTEMPTED")
    number = done["newOrderResponse"]["orderId"]
    [half] = case.ask("POST", "order/cancelReplace", **{**new, "price": "0.01"}, cancelOrderId=number)
    assert half.status == 409 and half.body["code"] == -2021  # type: ignore[union-attr]
    assert half.body["data"]["newOrderResponse"]["code"] == -1013  # type: ignore[union-attr]
    assert not case.books.open_orders()


def test_order_counts_have_windows_of_the_clock_and_a_fill_gives_one_back() -> None:
    case = Case()
    case.venue.engine.counts.limits[10_000] = 3
    for _ in range(3):
        assert case.code("BUY", "LIMIT", "0.1", price="90") is None
    [refused] = case.ask("POST", "order", **order("BUY", "LIMIT", "0.1", price="90"))
    assert (refused.status, refused.body["code"], refused.headers["retry-after"]) == (429, -1015, "10")  # type: ignore[union-attr]
    case.venue.fill(case.books.open_orders()[0].client_id, "0.05")
    [placed] = case.ask("POST", "order", **order("BUY", "LIMIT", "0.1", price="90"))
    assert placed.headers == {"x-mbx-order-count-10s": "3", "x-mbx-order-count-1d": "3"}  # type: ignore[union-attr]
    case.clock.advance(10_000)
    assert case.code("BUY", "LIMIT", "0.1", price="90") is None


def test_trades_are_read_by_cursor_by_order_and_within_a_day() -> None:
    case = Case()
    for _ in range(5):
        case.order("BUY", "MARKET", "0.1")
        case.clock.advance(1000)
    rows = case.get("GET", "myTrades", symbol="BTCUSDT")
    assert [row["id"] for row in case.get("GET", "myTrades", symbol="BTCUSDT", fromId=rows[3]["id"])] == [
        row["id"] for row in rows[3:]
    ]
    assert case.get("GET", "myTrades", symbol="BTCUSDT", orderId=rows[2]["orderId"]) == rows[2:3]
    assert case.get("GET", "myTrades", symbol="BTCUSDT", startTime=rows[1]["time"], limit=2) == rows[1:3]
    assert case.get("GET", "myTrades", symbol="BTCUSDT", limit=2) == rows[3:]
    wide = {"startTime": rows[0]["time"], "endTime": rows[0]["time"] + 86_400_001}
    assert case.get("GET", "myTrades", symbol="BTCUSDT", **wide)["code"] == -1127
    assert case.get("GET", "myTrades", symbol="BTCUSDT", fromId=1, startTime=1)["code"] == -1128


def test_a_deposit_is_told_and_booked() -> None:
    case = Case()
    case.venue.deposit("USDT", "500.5")
    assert [event["e"] for event in case.heard.events] == ["balanceUpdate", "outboundAccountPosition"]
    assert case.heard.events[0]["d"] == "500.50000000" and case.heard.events[1]["B"][0]["f"] == "10500.50000000"
    assert case.books.transfers[0].amount == D("500.5")
    case.venue.check()


def test_somebody_else_trades_on_the_account_and_a_reset_forgets_everything() -> None:
    case = Case()
    case.venue.order(**order("BUY", "LIMIT", "1", price="90", newClientOrderId="theirs"))
    case.order("BUY", "MARKET", "1")
    assert [row["clientOrderId"] for row in case.get("GET", "openOrders")] == ["theirs"]
    assert len(case.venue.calls) == 2
    case.venue.reset()
    assert case.get("GET", "openOrders") == case.get("GET", "myTrades", symbol="BTCUSDT") == []
    assert case.books.both() == {"BTC": (10, 0), "USDT": (10_000, 0)}
    assert case.order("BUY", "MARKET", "1")["status"] == "FILLED"
    case.venue.check()


def storm(seed: int, steps: int = 150) -> Case:
    """Do so many random things under a random plan of faults; the books are checked after each."""
    dice = random.Random(seed)
    case = Case(
        "BTCUSDT", "ETHUSDT", "BNBUSDT", balances={"USDT": "10000", "BTC": "10", "ETH": "20", "BNB": "1"}, seed=seed,
        fees=Fees(in_bnb=dice.random() < 0.5), faults=seeded(seed, 200_000, 30),
    )  # fmt: skip
    for _ in range(steps):
        symbol, side = dice.choice(["BTCUSDT", "ETHUSDT"]), dice.choice(["BUY", "SELL"])
        low, high = sorted(f"{dice.randrange(8000, 12000) / 100:06.2f}" for _ in range(2))
        quantity = f"{dice.randrange(50, 3000) / 1000:.3f}"
        named = {"newClientOrderId": f"c{dice.randrange(60)}"} if dice.random() < 0.7 else {}
        orders: list[dict[str, Any]] = [
            order(side, "MARKET", quantity),
            order(side, "MARKET", None, quoteOrderQty=low),
            order(side, "LIMIT", quantity, price=low, timeInForce=dice.choice(["GTC", "GTC", "IOC", "FOK"])),
            order(side, "LIMIT_MAKER", quantity, price=high),
            order(side, dice.choice(["STOP_LOSS", "TAKE_PROFIT"]), quantity, stopPrice=low),
            order(side, dice.choice(["STOP_LOSS", "TAKE_PROFIT"]), quantity, trailingDelta=dice.randrange(10, 500)),
            order(side, dice.choice(["STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT"]), quantity, price=high, stopPrice=low),
        ]
        chosen = {**dice.choice(orders), "symbol": symbol}
        what, resting = dice.randrange(8), case.books.open_orders()
        if what < 3:
            case.ask("POST", "order", **chosen, **named)
        elif what == 3:
            pair = oco(symbol=symbol, quantity=quantity, abovePrice=high, belowStopPrice=low, belowPrice=low)
            case.ask("POST", "orderList/oco", **pair)
        elif what == 4 and resting:
            gone = dice.choice(resting)
            case.ask("DELETE", "order", symbol=gone.symbol, orderId=gone.id)
        elif what == 5 and resting:
            gone = dice.choice(resting)
            mode = dice.choice(["STOP_ON_FAILURE", "ALLOW_FAILURE"])
            replacing = {**chosen, "symbol": gone.symbol, "cancelReplaceMode": mode, "cancelOrderId": gone.id}
            case.ask("POST", "order/cancelReplace", **replacing)
        elif what == 6:
            case.venue.deposit("USDT", str(dice.randrange(1, 500)))
        else:
            ask = f"{float(low) + 0.5:.2f}"
            sizes: dict[str, Any] = {
                "bid_quantity": dice.choice([None, "0.5"]),
                "ask_quantity": dice.choice([None, "0.5"]),
            }
            case.venue.set_price(symbol, low, ask, **sizes)
            case.venue.printed(symbol, high, dice.choice([None, "0.7"]))
        case.clock.advance(dice.randrange(0, 3000))
        case.venue.check()
    return case


def test_the_books_hold_after_every_step_of_a_storm_and_a_seed_plays_again() -> None:
    cases = [storm(seed) for seed in range(12)]
    kinds = {order.type for case in cases for order in case.books.orders.values() if order.trades}
    assert kinds == {
        "MARKET", "LIMIT", "LIMIT_MAKER", "STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT",
    }  # fmt: skip
    again = storm(5)
    assert again.venue.stream.sent == cases[5].venue.stream.sent
    assert again.heard.events == cases[5].heard.events and again.books.both() == cases[5].books.both()


def test_the_oracle_notices_what_does_not_add_up() -> None:
    case = Case()
    case.order("BUY", "MARKET", "1")
    case.venue.check()
    case.books.balances["USDT"] += D("0.00000001")
    with pytest.raises(AssertionError, match="USDT"):
        case.venue.check()
