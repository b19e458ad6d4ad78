"""What each check shows of what it saw, and where exactly it draws its line. Price 100, equity 1000."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from botd.domain.decision import GateCheck
from botd.domain.instrument import ZERO
from botd.domain.order import OrderStatus, OrderType, Side
from botd.risk.case import Verdict, expected_price, number
from botd.risk.checks_order import MOST_STEPS, order_price, unreasonable
from botd.risk.checks_order import resting as waiting
from botd.risk.monitors import Monitors
from botd.risk.trading_state import HALTED, REDUCE
from tests.fakes.risk_case import BTC, NOON, Portfolio, Room, alone, intent, limit, only, resting, sale, spec

LIVE = {"spec": spec(mode="live"), "unarmed": ""}


def last(room: Room, quantity: str = "1", what: Any = None, **changes: Any) -> GateCheck:
    """Return the check of the one control of a room that is not always on."""
    always = ("mode", "trading_state", "filters", "funds", "budget")
    (found,) = [one for one in room.decide(quantity, what, **changes).checks if one.gate not in always]
    return found


def shown(check: GateCheck) -> tuple[bool, Any, Any, str]:
    return check.passed, check.value, check.limit, check.detail


# -- what a verdict says


def test_a_denial_tells_value_limit_and_words_of_what_failed_and_leaves_out_what_is_empty():
    verdict = only("price_freshness").decide(stale_ms=10_001)
    assert verdict.told == {
        "value": "10.001",
        "limit": "10.0",
        "detail": "the price is 10.001 s old, limit 10 s",
    }
    one = GateCheck(gate="one", passed=False, value=1.0, limit=None, detail="one")
    checks = [one, msgspec.structs.replace(one, value=None, detail="two")]
    assert Verdict(allowed=False, quantity=ZERO, checks=checks).told == {"detail": "two"}
    assert Room().decide("0.5").told == {}


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (OrderType.MARKET, 100.0),
        (OrderType.LIMIT, 98.0),
        (OrderType.STOP_LOSS, 97.0),
        (OrderType.STOP_LOSS_LIMIT, 98.0),
        (OrderType.TAKE_PROFIT, 97.0),
    ],
)
def test_an_order_is_valued_at_its_limit_else_its_stop_else_the_price_of_the_decision(kind: OrderType, expected: float):
    what = intent(type=kind, price=Decimal(98), stop_price=Decimal(97))
    assert expected_price(what) == expected
    exact = Decimal(98) if kind.has_limit else Decimal(repr(expected))
    assert order_price(what, expected) == exact
    bare = intent(type=kind)
    assert expected_price(bare) == 100.0 and order_price(bare, 100.0) == Decimal(100)


def test_what_is_unknown_is_no_number():
    assert all(math.isnan(number(value)) for value in (None, Decimal("Infinity"), Decimal("NaN")))
    assert math.isnan(number("words"))  # type: ignore[arg-type]
    assert number(Decimal("1.5")) == 1.5


def test_only_market_orders_are_expected_to_slip():
    # 1000 / (100 * 1.01): 9.900; at a limit 10
    assert Room(preset="off").decide("10", slippage=0.01).quantity == Decimal("9.900")
    assert Room(preset="off").decide("10", limit("100"), slippage=0.01).quantity == 10


def test_an_order_that_need_not_wait_is_not_delayed():
    assert Room(preset="off").decide().delay_s == 0.0


# -- yes or no


def test_a_check_that_passes_shows_what_it_saw():
    portfolio = Portfolio(orders=[resting(2, Side.SELL, "120")])
    verdict = Room("live", preset="live").decide("0.5", portfolio=portfolio, **LIVE)
    checks = {check.gate: check for check in verdict.checks}
    assert {name: (check.value, check.limit) for name, check in checks.items() if name in SEEN} == SEEN
    assert all(check.passed for check in checks.values())


SEEN = {
    "mode": ("live", "armed"),
    "trading_state": ("active", "active"),
    "readiness": ("ready", "ready"),
    "price_freshness": ("fresh", 10.0),
    "symbol_allowlist": ("BTC/USDT", "any"),
    "filters": ("0.5", "the exchange's filters"),
    "price_collar": (0.0, 0.005),
    "max_open_orders": ("market order", None),
    "rate_limit": (0.0, 30.0),
    "duplicate_order": (None, 10.0),
    "repeated_execution": (0.0, 30.0),
    "self_trade": (100.0, None),
    "unknown_outstanding": (0.0, 1.0),
    "exchange_degraded": ("ok", 0.5),
}


def test_a_paper_bot_is_armed_and_has_no_unknown_orders():
    checks = {check.gate: check for check in Room().decide("0.5").checks}
    assert (checks["mode"].value, checks["mode"].limit) == ("paper", "armed")
    assert (checks["unknown_outstanding"].value, checks["unknown_outstanding"].limit) == (0.0, 1.0)


def test_a_halt_elsewhere_still_shows_the_state():
    room = Room(preset="off")
    room.states.halt("bot:2", now_ms=NOON)
    check = room.decide().checks[1]
    assert (check.gate, check.passed, check.value) == ("trading_state", True, "active")


def test_the_age_of_a_price_is_shown_in_seconds_and_bound_by_its_own_limit():
    assert shown(last(only("price_freshness"), stale_ms=9_000)) == (True, 9.0, 10.0, "")
    own = last(only("price_freshness"), stale_ms=150_000, freshness_limit_ms=150_000)
    assert shown(own) == (True, 150.0, 150.0, "")
    assert not last(only("price_freshness"), stale_ms=150_001, freshness_limit_ms=150_000).passed


def test_the_allowlist_is_shown_in_order():
    room = only("symbol_allowlist", ["SOL/USDT", "ETH/USDT"])
    assert shown(last(room)) == (False, "BTC/USDT", "ETH/USDT,SOL/USDT", "BTC/USDT is not in risk.symbol_allowlist")
    room = only("symbol_allowlist", ["SOL/USDT", "BTC/USDT"])
    assert shown(last(room)) == (True, "BTC/USDT", "BTC/USDT,SOL/USDT", "")
    foreign = last(only("symbol_allowlist"), spec=spec(symbol="ETH/USDT"))
    assert shown(foreign) == (False, "BTC/USDT", "any", "BTC/USDT is not the bot's symbol ETH/USDT")


def test_an_instrument_of_another_symbol_is_not_the_bots():
    other = msgspec.structs.replace(BTC, symbol="ETH/USDT")
    assert only("symbol_allowlist").code(instrument=other) == "SYMBOL_NOT_ALLOWED"


# -- the monitors


@pytest.mark.parametrize(
    ("control", "code", "scope", "state"),
    [
        ("daily_loss", "DAILY_LOSS", "bot:1", REDUCE),
        ("daily_loss", "DAILY_LOSS", "account", REDUCE),
        ("max_drawdown", "MAX_DRAWDOWN", "bot:1", HALTED),
        ("max_drawdown", "MAX_DRAWDOWN", "account", HALTED),
        ("consecutive_losses", "CONSECUTIVE_LOSSES", "bot:1", REDUCE),
        ("reject_storm", "REJECT_STORM", "bot:1", HALTED),
        ("reject_storm", "REJECT_STORM", "account", HALTED),
        ("volatility_halt", "VOLATILITY_HALT", "symbol:BTC/USDT", REDUCE),
    ],
)
def test_a_trip_denies_where_it_happened_and_is_shown_elsewhere(control: str, code: str, scope: str, state: str):
    room = alone(control)
    room.states.trip(scope, code, state, now_ms=NOON)
    verdict = room.decide("0.5", spec=spec(mode="live"), unarmed="")
    assert verdict.code == code and scope.replace("bot:1", "bot:alpha") in verdict.detail
    elsewhere = alone(control)
    elsewhere.states.trip("bot:2", code, state, now_ms=NOON)
    assert last(elsewhere, "0.5", **LIVE).passed


def test_losses_drawdowns_and_rejects_of_bot_and_account_are_shown_apart():
    room = Room("live", preset="live")
    watch: Monitors = room.monitors
    for scope, after in ((1, "990"), (0, "980")):
        watch.on_equity(scope, Decimal(1000), NOON)
        watch.on_equity(scope, Decimal(after), NOON)
    for scope, share in (("bot:1", 0.01), ("account", 0.02)):
        for code in ("DAILY_LOSS", "MAX_DRAWDOWN"):
            assert _tripped(room, scope, code).value == pytest.approx(share)


def test_rejects_of_the_bot_and_of_the_account_are_shown_apart():
    for scope, count in (("bot:1", 1.0), ("account", 2.0)):
        room = Room("live", preset="live")
        room.monitors.on_reject(1, NOON)
        room.monitors.on_reject(2, NOON)
        assert _tripped(room, scope, "REJECT_STORM").value == count


def _tripped(room: Room, scope: str, code: str) -> GateCheck:
    """Trip a control, and return what the denial showed."""
    room.states.trip(scope, code, HALTED, now_ms=NOON)
    check: GateCheck = room.decide("0.5", **LIVE).checks[-1]
    room.states.lift(scope, code, now_ms=NOON)
    assert check.gate == code.lower() and not check.passed
    return check


def test_a_limit_that_is_off_counts_no_orders_without_an_outcome():
    unknown = [resting(1, Side.BUY, "90", quantity="0.1", status=OrderStatus.UNKNOWN) for _ in range(4)]
    for part in ("bot", "account"):
        room = Room("live", preset="live", unknown_outstanding={part: False})
        other = "account" if part == "bot" else "bot"
        verdict = room.decide("0.5", portfolio=Portfolio(orders=unknown), **LIVE)
        assert f"4 orders of the {other} have no known outcome" in verdict.detail
        assert (verdict.checks[-1].value, verdict.code) == (4.0, "UNKNOWN_OUTSTANDING")


# -- numbers


@pytest.mark.parametrize(
    ("quantity", "price", "sound"),
    [
        ("1", 100.0, True),
        ("0", 100.0, False),
        ("-0.5", 100.0, False),
        ("0.5", 0.5, True),
        ("1", 0.0, False),
        ("1", -0.5, False),
        ("NaN", 100.0, False),
        ("1", math.inf, False),
    ],
)
def test_a_quantity_and_a_price_are_finite_and_above_zero(quantity: str, price: float, sound: bool):
    assert (unreasonable(Decimal(quantity), price, BTC) == "") is sound


def test_more_steps_or_ticks_than_any_order_has_are_refused_and_so_many_are_not():
    assert MOST_STEPS == 1_000_000_000_000_000_000
    most, dearest = BTC.step * MOST_STEPS, float(BTC.tick) * MOST_STEPS
    assert unreasonable(most, dearest, BTC) == ""
    assert unreasonable(most + BTC.step, 100.0, BTC) == f"quantity {most + BTC.step} is more than any order has"
    assert "price" in unreasonable(Decimal(1), math.nextafter(dearest, math.inf), BTC)
    free = msgspec.structs.replace(BTC, step=ZERO, tick=ZERO)
    assert unreasonable(Decimal("1E+40"), 1e40, free) == ""


@pytest.mark.parametrize("field", ["slippage", "fee"])
def test_costs_from_nothing_to_all_but_everything_are_costs(field: str):
    for share in (0.0, 0.5):
        assert Room(preset="off").code("1", **{field: share}) == ""
    for share in (-0.01, 1.0, 1.5):
        assert f"{field} {share} must be from 0 to 1" in Room(preset="off").decide("1", **{field: share}).detail


def test_a_stop_without_a_price_or_at_no_number_is_refused():
    for price in (None, Decimal("NaN"), ZERO):
        verdict = Room(preset="off").decide("1", intent(type=OrderType.STOP_LOSS, stop_price=price))
        assert f"stop price {price} must be finite" in verdict.detail
    assert Room(preset="off").code("1", intent(type=OrderType.STOP_LOSS, stop_price=Decimal(101))) == ""


def test_room_for_one_more_order_is_room():
    three = msgspec.structs.replace(BTC, max_orders=3, max_algo_orders=2)
    stop = intent(type=OrderType.STOP_LOSS, stop_price=Decimal(110))
    waiting_stops = [
        resting(2, Side.SELL, "90", type=OrderType.STOP_LOSS, stop_price=Decimal(90), name=str(i)) for i in range(2)
    ]
    one = Portfolio(orders=waiting_stops[:1])
    assert Room(preset="off").code("1", stop, instrument=three, portfolio=one) == ""
    both = Portfolio(orders=waiting_stops)
    verdict = Room(preset="off").decide("1", stop, instrument=three, portfolio=both)
    assert verdict.detail == "MAX_NUM_ALGO_ORDERS: 2 stop orders of BTC/USDT wait, the exchange takes 2"
    assert Room(preset="off").code("1", limit("95"), instrument=three, portfolio=both) == ""
    full = Portfolio(orders=[*waiting_stops, resting(3, Side.BUY, "90")])
    verdict = Room(preset="off").decide("1", limit("95"), instrument=three, portfolio=full)
    assert verdict.detail == "MAX_NUM_ORDERS: 3 orders of BTC/USDT rest, the exchange takes 3"


# -- the collar, neighbours, rates, repeats


def test_the_collar_shows_how_far_and_a_part_that_is_off_binds_nothing():
    room = only("price_collar", {"limit": "2%", "market": False})
    assert last(room, "1", limit("101")).value == pytest.approx(0.01)
    assert [check.gate for check in room.decide(slippage=0.5).checks].count("price_collar") == 0
    assert last(only("price_collar"), slippage=0.004).value == 0.004
    assert last(only("price_collar"), slippage=0.005 + 1e-9).passed  # what binary rounding may add


def test_the_open_orders_shown_are_those_with_the_least_room():
    room = only("max_open_orders", {"symbol": 9, "bot": 8, "account": 4})
    orders = [resting(1, Side.BUY, "90", name="a", quantity="0.1"), resting(2, Side.BUY, "80", symbol="ETH/USDT")]
    check = last(room, "1", limit("95"), portfolio=Portfolio(orders=orders))
    assert (check.value, check.limit) == (2.0, 4.0)  # room for 8, 7 and 2
    room = only("max_open_orders", {"symbol": 4, "bot": 4, "account": 9})
    mine = [resting(1, Side.BUY, "90", name="a", quantity="0.1", symbol="ETH/USDT")]
    check = last(room, "1", limit("95"), portfolio=Portfolio(orders=mine))
    assert (check.value, check.limit) == (1.0, 4.0)  # of the bot: room for 3
    nothing = last(room, "1", limit("95"))
    assert (nothing.value, nothing.limit) == (0.0, 4.0)
    assert waiting([*mine, resting(1, Side.BUY, "90", type=OrderType.MARKET)]) == 1


def test_the_last_place_is_a_place():
    room = only("max_open_orders", {"symbol": 2})
    one = Portfolio(orders=[resting(2, Side.BUY, "90")])
    assert room.code("1", limit("95"), portfolio=one) == ""


def test_a_queued_order_says_how_long_it_waits():
    room = only("rate_limit", {"bot": 1, "account": 1000})
    checks = [last(room, "0.1") for _ in range(7)]
    assert [(check.value, check.limit, check.detail) for check in checks[4:]] == [
        (0.0, 30.0, ""),
        (1.0, 30.0, "queued for 1.0 s"),
        (2.0, 30.0, "queued for 2.0 s"),
    ]


def test_of_two_waits_the_longer_counts():
    room = only("rate_limit", {"bot": 1, "account": 2})
    # the bot's sixth waits 1 s, the account's ninth waits 0.5 s, then 1 s
    assert [room.decide("0.1").delay_s for _ in range(6)][-1] == 1.0
    assert [room.decide("0.1", intent(bot=2)).delay_s for _ in range(4)] == [0, 0, 0.5, 1.0]


def test_the_same_order_is_denied_with_its_age_and_a_part_that_is_off_binds_nothing():
    room = only("duplicate_order", {"limit": False, "market": "10s"})
    assert [room.code("1", limit("99")) for _ in range(2)] == ["", ""]
    assert room.code() == ""
    check = last(room, now_ms=NOON + 2_500)
    assert (check.value, check.limit) == (2.5, 10.0)
    assert check.detail == "the same order was placed 2.5 s ago, limit 10 s"
    assert shown(last(room, now_ms=NOON + 10_000)) == (True, 10.0, 10.0, "")


def test_a_sale_and_a_purchase_or_two_types_are_not_the_same_order():
    room = only("duplicate_order", {"limit": "9s", "market": "9s"})
    maker = intent(type=OrderType.LIMIT_MAKER, price=Decimal(99))
    assert [room.code("1", limit("99")), room.code("1", maker), room.code("1.5", maker)] == ["", "", ""]
    assert [room.code("10"), room.code("1E+1")] == ["", "DUPLICATE_ORDER"]


def test_the_entries_of_the_hour_are_shown_else_those_of_the_day():
    room = only("repeated_execution", {"hour": 3, "day": 5})
    room.decide()
    assert shown(last(room, now_ms=NOON + 1)) == (True, 1.0, 3.0, "")
    day = only("repeated_execution", {"hour": False, "day": 5})
    day.decide()
    assert shown(last(day, now_ms=NOON + 1)) == (True, 1.0, 5.0, "")
    full = only("repeated_execution", {"hour": 1, "day": 5})
    full.decide()
    assert shown(last(full)) == (False, 1.0, 1.0, "1 entries in the last hour, limit 1")


def test_the_day_may_be_declared_apart_from_the_hour():
    room = only("repeated_execution", {"hour": 2, "day": 2})
    assert [room.code(declared_entries=(3, 1)) for _ in range(3)] == ["", "", "REPEATED_EXECUTION"]
    room = only("repeated_execution", {"hour": 2, "day": 2})
    assert [room.code(declared_entries=(1, 3)) for _ in range(3)] == ["", "", "REPEATED_EXECUTION"]


def test_an_entry_that_would_meet_a_sell_names_it_and_its_price():
    other = resting(2, Side.SELL, "100", name="other")
    check = last(only("self_trade"), portfolio=Portfolio(orders=[other]))
    assert shown(check) == (False, 100.0, 100.0, "would hit other of bot 2, a sell at 100")
    maker = resting(2, Side.SELL, "100", type=OrderType.LIMIT_MAKER)
    assert only("self_trade").code(portfolio=Portfolio(orders=[maker])) == "SELF_TRADE"
    assert only("self_trade").code(portfolio=Portfolio(orders=[resting(2, Side.SELL, "100", symbol="ETH/USDT")])) == ""
    odd = msgspec.structs.replace(other, price=None)
    assert only("self_trade").code(portfolio=Portfolio(orders=[odd])) == ""


@pytest.mark.parametrize(
    ("what", "slippage", "hits"),
    [
        (sale(), 0.0, ["at100"]),
        (sale(), 0.02, ["at100", "at99"]),
        (sale(trigger_price=99.0), 0.0, ["at100", "at99"]),
        (sale(type=OrderType.LIMIT, price=Decimal(99)), 0.5, ["at100", "at99"]),
        (sale(type=OrderType.LIMIT, price=Decimal(101)), 0.5, []),
    ],
)
def test_a_sale_hits_the_buys_of_others_at_its_price_or_above(what: Any, slippage: float, hits: list[str]):
    orders = [
        resting(2, Side.BUY, "100", name="at100"),
        resting(2, Side.BUY, "99", name="at99"),
        resting(2, Side.SELL, "200", name="a sale"),
        resting(2, Side.BUY, "200", type=OrderType.STOP_LOSS_LIMIT, name="a stop"),
        resting(1, Side.BUY, "200", name="its own"),
    ]
    verdict = only("self_trade").decide("1", what, slippage=slippage, portfolio=Portfolio(orders=orders))
    assert verdict.cancel_first == hits
