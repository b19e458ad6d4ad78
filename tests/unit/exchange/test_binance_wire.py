"""Orders, fills and events as Binance writes them: exact amounts, whose id it is, and bytes that are no message."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from botd.domain.order import Order, OrderStatus, OrderType, Side
from botd.exchange.binance import user_events
from botd.exchange.binance.order_wire import order_params, pair_params, remote_order, reports, text, wire_orders

REPORT = {
    "e": "executionReport", "E": 5, "s": "BTCUSDT", "c": "L-7-1", "S": "SELL", "o": "STOP_LOSS_LIMIT", "f": "GTC",
    "q": "0.30000000", "p": "49900.10", "P": "50000.00", "g": -1, "C": "", "x": "TRADE", "X": "PARTIALLY_FILLED",
    "r": "NONE", "i": 42, "l": "0.10000000", "z": "0.20000000", "L": "49901.00000000", "n": "0.00001234", "N": "BNB",
    "T": 99, "t": 7, "w": True, "m": False, "O": 90, "Z": "9980.2", "d": 4, "V": "NONE",
}  # fmt: skip
ANSWER = {
    "symbol": "BTCUSDT", "orderId": 42, "orderListId": -1, "clientOrderId": "L-7-1", "transactTime": 99, "price": "0",
    "origQty": "0.30", "executedQty": "0.30", "cummulativeQuoteQty": "15000.3", "status": "FILLED", "type": "MARKET",
    "side": "BUY", "timeInForce": "GTC", "origQuoteOrderQty": "0.0",
}  # fmt: skip


def frame(event: dict[str, Any], *, wrapped: bool = True, **changes: Any) -> bytes:
    told = {**event, **changes}
    return json.dumps({"subscriptionId": 0, "event": told} if wrapped else told).encode()


def event(**changes: Any) -> user_events.ExecutionReport:
    found = user_events.decode(frame(REPORT, **changes))
    assert isinstance(found, user_events.ExecutionReport)
    return found


def order(kind: str, side: str = "sell", **values: Any) -> Order:
    amounts = {name: Decimal(value) for name, value in values.items()}
    return Order(
        client_order_id=f"L-7-{kind}", bot=7, symbol="BTC/USDT", interval="1m", side=Side(side), type=OrderType(kind),
        **{"quantity": Decimal("0.10"), **amounts},
    )  # fmt: skip


def test_a_trade_is_a_report_with_its_fill_and_the_fee_as_it_was_taken() -> None:
    report = event().report("BTC/USDT", 7)
    assert (report.client_order_id, report.status, report.filled) == ("L-7-1", OrderStatus.PARTIAL, Decimal("0.2"))
    fill = report.fill
    assert fill is not None
    assert (fill.trade_id, fill.quantity, fill.price) == ("7", Decimal("0.1"), Decimal("49901"))
    assert (fill.fee, fill.fee_asset, fill.side, fill.time_ms) == (Decimal("0.00001234"), "BNB", Side.SELL, 99)


@pytest.mark.parametrize(
    "kind, status, expected",
    [
        ("NEW", "NEW", OrderStatus.OPEN),
        ("CANCELED", "CANCELED", OrderStatus.CANCELED),
        ("REPLACED", "CANCELED", OrderStatus.CANCELED),
        ("REJECTED", "REJECTED", OrderStatus.REJECTED),
        ("TRADE", "FILLED", OrderStatus.FILLED),
        ("EXPIRED", "EXPIRED", OrderStatus.EXPIRED),
        ("TRADE_PREVENTION", "EXPIRED_IN_MATCH", OrderStatus.EXPIRED),
        ("NEW", "PENDING_NEW", OrderStatus.OPEN),
    ],
)
def test_every_kind_of_report_has_its_status(kind: str, status: str, expected: OrderStatus) -> None:
    report = event(x=kind, X=status).report("BTC/USDT", 7)
    assert report.status is expected
    assert (report.fill is not None) == (kind == "TRADE")


def test_a_cancel_is_about_the_order_and_not_about_itself() -> None:
    report = event(x="CANCELED", X="CANCELED", c="web_cancel_9", C="L-7-1").report("BTC/USDT", 7)
    assert report.client_order_id == "L-7-1"


def test_a_refusal_carries_its_reason_and_a_new_word_is_an_error() -> None:
    assert event(x="REJECTED", X="REJECTED", r="INSUFFICIENT_BALANCES").report("B", 7).reason == "INSUFFICIENT_BALANCES"
    with pytest.raises(ValueError, match="unknown order status 'TELEPORTED'"):
        event(X="TELEPORTED").report("BTC/USDT", 7)


def test_events_come_wrapped_or_bare() -> None:
    position = {"e": "outboundAccountPosition", "E": 1, "u": 2, "B": [{"a": "BTC", "f": "1.5", "l": "0.5"}]}
    update = {"e": "balanceUpdate", "E": 1, "a": "USDT", "d": "-100.50000000", "T": 3}
    for wrapped in (True, False):
        found = user_events.decode(frame(position, wrapped=wrapped))
        assert isinstance(found, user_events.AccountPosition)
        assert found.holdings()["BTC"].total == 2
        moved = user_events.decode(frame(update, wrapped=wrapped))
        assert isinstance(moved, user_events.BalanceUpdate)
        assert (moved.asset, moved.amount, moved.time_ms) == ("USDT", Decimal("-100.5"), 3)
    ended = user_events.decode(b'{"event":{"e":"eventStreamTerminated","E":1}}')
    assert isinstance(ended, user_events.Ended)
    assert user_events.decode(b'{"event":{"e":"externalLockUpdate","a":"X"}}') is None


def test_answers_to_requests_are_told_from_events() -> None:
    done = user_events.decode(b'{"id":3,"status":200,"result":{"subscriptionId":0},"rateLimits":[]}')
    assert done == user_events.Reply(3, 200, subscription=0)
    refused = user_events.decode(b'{"id":null,"status":401,"error":{"code":-2015,"msg":"Invalid API-key"}}')
    assert refused == user_events.Reply(0, 401, -2015, "Invalid API-key")


@pytest.mark.parametrize(
    "bad",
    [b"", b"null", b"[]", b"<html>", b'{"event":{"e":"executionReport"}}', frame(REPORT)[:-20], frame(REPORT, z="x"),
     b"\xff\xfe", b'{"event":7}', frame(REPORT, q=None), b"[" * 100_000],
)  # fmt: skip
def test_bytes_that_are_no_message_are_an_error_that_shows_nothing_of_them(bad: bytes) -> None:
    with pytest.raises(user_events.EventError) as caught:
        user_events.decode(bad)
    assert "L-7-1" not in str(caught.value)


def test_an_answer_with_fills_is_a_report_a_fill_and_the_last_has_the_status() -> None:
    fills = [
        {"price": "50000.0", "qty": "0.1", "commission": "0.0001", "commissionAsset": "BTC", "tradeId": 5},
        {"price": "50001.5", "qty": "0.2", "commission": "0.0002", "commissionAsset": "BTC", "tradeId": 6},
    ]
    (wire,) = wire_orders(json.dumps({**ANSWER, "fills": fills}).encode())
    found = list(reports(wire, "BTC/USDT", 7))
    assert [(report.status, report.filled) for report in found] == [
        (OrderStatus.PARTIAL, None), (OrderStatus.FILLED, Decimal("0.3")),
    ]  # fmt: skip
    assert sum(report.fill.notional for report in found if report.fill) == Decimal("15000.3")


def test_the_answer_to_a_cancel_names_the_order_by_its_old_id() -> None:
    told = {**ANSWER, "origClientOrderId": "L-7-1", "clientOrderId": "x9", "status": "CANCELED", "executedQty": "0.1"}
    (wire,) = wire_orders(json.dumps(told).encode())
    (report,) = reports(wire, "BTC/USDT", 7)
    assert (report.client_order_id, report.status, report.filled) == ("L-7-1", OrderStatus.CANCELED, Decimal("0.1"))
    both = json.dumps([told, {"orderListId": 3, "symbol": "BTCUSDT", "orderReports": [told, told]}]).encode()
    assert len(wire_orders(both)) == 3


@pytest.mark.parametrize("bad", [b"", b"{}", b"null", b'"x"', b"<html>", b'{"orderId":1}', b"[1]", b"[[]]x"])
def test_what_is_no_order_is_none(bad: bytes) -> None:
    with pytest.raises(ValueError, match="no order"):
        wire_orders(bad)


def test_a_quote_total_that_was_not_kept_is_zero() -> None:
    (wire,) = wire_orders(json.dumps({**ANSWER, "cummulativeQuoteQty": "-1.00000000"}).encode())
    assert remote_order(wire, lambda name: "BTC/USDT").filled_notional == 0


@pytest.mark.parametrize(
    "value, written", [("100", "100"), ("1E+3", "1000"), ("0.00001000", "0.00001"), ("1e-8", "0.00000001")]
)
def test_amounts_are_written_plainly(value: str, written: str) -> None:
    assert text(Decimal(value)) == written


def test_an_order_is_asked_for_with_what_its_kind_takes() -> None:
    takes = {kind: order_params(order(kind, price="60", stop_price="50"), "BTCUSDT").keys() for kind in OrderType}
    has_price = {kind for kind, names in takes.items() if "price" in names}
    assert has_price == {
        OrderType.LIMIT, OrderType.LIMIT_MAKER, OrderType.STOP_LOSS_LIMIT, OrderType.TAKE_PROFIT_LIMIT,
    }  # fmt: skip
    assert {kind for kind, names in takes.items() if "timeInForce" in names} == has_price - {OrderType.LIMIT_MAKER}
    assert {kind for kind, names in takes.items() if "stopPrice" in names} == {
        OrderType.STOP_LOSS, OrderType.STOP_LOSS_LIMIT, OrderType.TAKE_PROFIT, OrderType.TAKE_PROFIT_LIMIT,
    }  # fmt: skip
    with pytest.raises(ValueError, match="needs a stop price"):
        order_params(order("stop_loss"), "BTCUSDT")


def test_of_a_pair_the_higher_one_is_above_whatever_the_order_in_which_they_were_given() -> None:
    profit, stop = order("limit_maker", price="70"), order("stop_loss_limit", stop_price="50", price="49")
    for first, second in ((profit, stop), (stop, profit)):
        params = pair_params(first, second, "BTCUSDT", "list")
        assert (params["aboveType"], params["abovePrice"], params["belowType"]) == (
            "LIMIT_MAKER",
            "70",
            "STOP_LOSS_LIMIT",
        )
        assert (params["belowStopPrice"], params["belowPrice"], params["belowTimeInForce"]) == ("50", "49", "GTC")
        assert (params["quantity"], params["side"], params["listClientOrderId"]) == ("0.1", "SELL", "list")
