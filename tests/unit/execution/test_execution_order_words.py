"""The words of an order: its types, its statuses, and the whole table of what may follow what, spelled out."""

from __future__ import annotations

from decimal import Decimal

import pytest

from botd.domain.order import (
    PANIC_SEQUENCE,
    TRANSITIONS,
    Fill,
    Intent,
    Order,
    OrderStatus,
    OrderType,
    Purpose,
    Report,
    Side,
    offered,
)
from tests.fakes.fake_exchange import fill_of

STATUSES = ("intent", "unknown", "open", "partial", "canceled", "expired", "rejected", "not_placed", "denied", "filled")

FOLLOWS = {
    "intent": "unknown open partial canceled expired rejected denied filled",
    "unknown": "open partial canceled expired rejected not_placed filled",
    "open": "partial canceled expired rejected filled",
    "partial": "partial canceled expired filled",
    "canceled": "filled",
    "expired": "filled",
    "rejected": "filled",
    "not_placed": "filled",
    "denied": "",
    "filled": "",
}


def _order(quantity: str, filled: str = "0", **changes: object) -> Order:
    values: dict[str, object] = {
        "client_order_id": "o",
        "bot": 1,
        "symbol": "BTC/USDT",
        "interval": "1m",
        "side": Side.SELL,
        "type": OrderType.LIMIT,
        "quantity": Decimal(quantity),
        "filled": Decimal(filled),
    }
    return Order(**values | changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("before", STATUSES)
def test_what_may_follow_a_status(before: str) -> None:
    assert {status.value for status in TRANSITIONS[OrderStatus(before)]} == set(FOLLOWS[before].split())


def test_ranks_go_up_along_an_orders_life_and_the_first_four_are_open() -> None:
    assert [OrderStatus(status).rank for status in STATUSES] == [0, 1, 2, 3, 4, 4, 4, 4, 4, 5]
    assert [status for status in STATUSES if OrderStatus(status).is_open] == ["intent", "unknown", "open", "partial"]


def test_which_types_carry_a_limit_and_which_wait_for_a_stop_price() -> None:
    limits = [kind.value for kind in OrderType if kind.has_limit]
    assert limits == ["limit", "limit_maker", "stop_loss_limit", "take_profit_limit"]
    triggers = [kind.value for kind in OrderType if kind.has_trigger]
    assert triggers == ["stop_loss", "stop_loss_limit", "take_profit", "take_profit_limit"]


def test_a_new_order_is_an_entrys_intent_of_which_nothing_has_filled() -> None:
    order = _order("2")
    assert (order.purpose, order.status, order.cancel_requested) == (Purpose.ENTRY, OrderStatus.INTENT, False)
    assert (order.created_ms, order.updated_ms, order.remaining, order.average) == (0, 0, 2, None)


def test_what_remains_and_the_mean_price_follow_from_the_fills() -> None:
    order = _order("3", "2", filled_notional=Decimal(210))
    assert (order.remaining, order.average) == (1, 105)
    assert fill_of("o", "t", "0.5").notional == 50


def test_only_a_limit_maker_that_protects_is_a_target() -> None:
    kinds = [(kind, purpose) for kind in OrderType for purpose in Purpose]
    targets = [pair for pair in kinds if _order("1", type=pair[0], purpose=pair[1]).is_target]
    assert targets == [(OrderType.LIMIT_MAKER, Purpose.PROTECTION)]


def test_the_legs_of_a_pair_offer_the_same_coins_and_purchases_offer_none() -> None:
    stop = _order("2", type=OrderType.STOP_LOSS, purpose=Purpose.PROTECTION)
    target = _order("2", "0.5", type=OrderType.LIMIT_MAKER, purpose=Purpose.PROTECTION)
    sale, entry = _order("1", purpose=Purpose.EXIT), _order("9", side=Side.BUY)
    assert offered([]) == 0
    assert offered([entry]) == 0
    assert offered([target, stop]) == offered([stop, target]) == 2
    assert offered([stop, target, sale, entry]) == 3


def test_what_an_exchange_or_a_bot_does_not_say_is_nothing() -> None:
    report = Report(client_order_id="o", status=OrderStatus.OPEN, time_ms=1)
    assert (report.fill, report.filled, report.reason, report.exchange_order_id) == (None, None, "", "")
    intent = Intent(
        bot=1,
        symbol="BTC/USDT",
        interval="1m",
        side=Side.BUY,
        type=OrderType.MARKET,
        purpose=Purpose.ENTRY,
        reason="signal",
        reference_price=1.0,
    )
    assert (intent.quantity, intent.price, intent.stop_price, intent.trigger_price) == (None, None, None, None)


def test_orders_of_panic_count_from_a_number_that_no_bot_reaches() -> None:
    assert PANIC_SEQUENCE == 1_000_000_000_000


def test_a_fill_cannot_be_changed() -> None:
    fill: Fill = fill_of("o", "t", "1")
    with pytest.raises(AttributeError):
        fill.quantity = Decimal(2)  # type: ignore[misc]
