"""One test a control and a way: what it denies, what it cuts, what it lets through. Price 100, equity 1000."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from botd.domain.instrument import ZERO
from botd.domain.order import OrderStatus, OrderType, Purpose, Side
from botd.risk.controls import CONTROLS
from tests.fakes.risk_case import BTC, NOON, Portfolio, Room, alone, intent, limit, only, request, resting, sale, spec

LIVE = {"spec": spec(mode="live"), "unarmed": ""}


# -- the whole


def test_an_allowed_entry_shows_every_gate_of_its_preset_in_order():
    room = Room(preset="live")
    verdict = room.decide("0.5")
    assert verdict.allowed and verdict.quantity == Decimal("0.5") and verdict.code == ""
    assert [check.gate for check in verdict.checks] == [control.name for control in CONTROLS]
    assert all(check.passed for check in verdict.checks)


def test_the_first_failure_wins_and_is_the_last_check():
    room = Room(preset="live")
    verdict = room.decide("0.5", not_ready=["market"], stale_ms=99_000)
    assert verdict.code == "NOT_READY"
    assert [check.passed for check in verdict.checks] == [True, True, False]
    assert (verdict.quantity, verdict.detail) == (ZERO, "not ready: market")


def test_checks_that_are_off_are_not_made():
    gates = [check.gate for check in Room(preset="off").decide().checks]
    assert gates == ["mode", "trading_state", "filters", "funds", "budget"]


def test_only_controls_that_are_on_ask_the_portfolio():
    portfolio = Portfolio()
    Room(preset="off").decide(portfolio=portfolio)
    assert portfolio.asked == ["free", "open_orders"]  # funds; the bot's own open entries (budget)


def test_a_paper_entry_of_all_cash_passes_uncut_with_costs():
    room = Room()
    # 1000 / (100 * 1.0005 * 1.001) = 9.985
    verdict = room.decide("9.985", slippage=0.0005, fee=0.001)
    assert verdict.quantity == Decimal("9.985") and verdict.shrunk_by == []


# -- mode


def test_a_live_bot_needs_live_trading_armed():
    assert Room("live", preset="live").code(spec=spec(mode="live")) == "MODE_NOT_ARMED"
    assert Room("live", preset="live").code("0.5", **LIVE) == ""


def test_a_live_bot_never_trades_under_preset_off():
    assert Room(preset="off").code(**LIVE) == "MODE_NOT_ARMED"


def test_a_paper_bot_needs_no_arming():
    assert Room().code() == ""


# -- trading state


@pytest.mark.parametrize("scope", ["account", "symbol:BTC/USDT", "bot:1"])
def test_a_halt_of_any_scope_around_an_entry_denies_it(scope: str):
    room = Room(preset="off")
    room.states.halt(scope, now_ms=NOON, by="ann")
    verdict = room.decide()
    assert verdict.code == "TRADING_HALTED"
    named = scope.replace("bot:1", "bot:alpha")
    assert named in verdict.detail and "by ann" in verdict.detail
    release = {"account": "botctl release", "symbol": "botctl release --symbol BTC/USDT"}
    assert verdict.detail.endswith(release.get(scope.partition(":")[0], "botctl release alpha"))


@pytest.mark.parametrize("scope", ["symbol:ETH/USDT", "bot:2"])
def test_a_halt_elsewhere_does_not(scope: str):
    room = Room()
    room.states.halt(scope, now_ms=NOON)
    assert room.code() == ""


def test_reduce_denies_entries_with_its_own_code():
    room = Room()
    room.states.reduce("account", now_ms=NOON)
    assert room.code() == "REDUCE_ONLY"


def test_the_worst_scope_counts():
    room = Room()
    room.states.reduce("account", now_ms=NOON)
    room.states.halt("bot:1", now_ms=NOON)
    assert room.code() == "TRADING_HALTED"


def test_a_release_lets_entries_through_again():
    room = Room()
    room.states.halt("account", now_ms=NOON)
    room.states.release("account", now_ms=NOON)
    assert room.code() == ""


# -- readiness, freshness, symbol


def test_what_is_not_ready_is_named():
    verdict = only("readiness").decide(not_ready=["market", "cache"])
    assert (verdict.code, verdict.detail) == ("NOT_READY", "not ready: market, cache")


def test_a_stale_price_denies_with_its_age():
    room = only("price_freshness")
    verdict = room.decide(stale_ms=10_001)
    assert verdict.code == "STALE_MARKET_DATA"
    assert (verdict.checks[-1].value, verdict.checks[-1].limit) == (10.001, 10.0)
    assert room.code(stale_ms=10_000) == ""
    assert room.code("2", stale_ms=140_000, freshness_limit_ms=150_000) == ""  # a candle feed's own limit


def test_only_the_bots_own_symbol_in_status_trading_and_on_the_list():
    room = only("symbol_allowlist", ["ETH/USDT"])
    assert "not in risk.symbol_allowlist" in room.decide().detail
    broken = msgspec.structs.replace(BTC, status="BREAK")
    assert only("symbol_allowlist").code(instrument=broken) == "SYMBOL_NOT_ALLOWED"
    assert only("symbol_allowlist").code(spec=spec(symbol="ETH/USDT")) == "SYMBOL_NOT_ALLOWED"
    assert only("symbol_allowlist", ["BTC/USDT"]).code() == ""


# -- filters


@pytest.mark.parametrize(
    ("quantity", "what", "words"),
    [
        ("0.049", None, "NOTIONAL: 4.9 USDT is below the minimum 5"),
        ("0.0004", None, "LOT_SIZE"),
        ("1", limit("100.001"), "PRICE_FILTER"),
        ("0", None, "above zero"),
        ("-1", None, "above zero"),
        ("NaN", None, "finite"),
        ("Infinity", None, "finite"),
        ("1E+40", None, "more than any order"),
        ("1", intent(reference_price=float("nan")), "finite"),
        ("1", intent(reference_price=float("inf")), "finite"),
        ("1", limit("NaN"), "finite"),
        ("1", limit("1E+40"), "more than any order"),
        ("1", intent(type=OrderType.STOP_LOSS), "stop price"),
    ],
)
def test_what_the_exchange_would_refuse_is_denied(quantity: str, what: Any, words: str):
    verdict = Room(preset="off").decide(quantity, what)
    assert verdict.code == "FILTER" and words in verdict.detail


@pytest.mark.parametrize("field", ["slippage", "fee"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -0.5, 1.0])
def test_costs_that_are_no_costs_are_denied(field: str, bad: float):
    assert Room(preset="off").code(**{field: bad}) == "FILTER"


def test_an_entry_is_rounded_down_to_the_step():
    verdict = Room(preset="off").decide("0.5006")
    assert verdict.quantity == Decimal("0.500")
    assert "rounded down from 0.5006" in verdict.detail


def test_resting_orders_are_counted_against_the_exchange():
    full = msgspec.structs.replace(BTC, max_orders=2)
    orders = [resting(2, Side.BUY, "90"), resting(3, Side.BUY, "91")]
    room = Room(preset="off")
    assert room.code("1", limit("95"), instrument=full, portfolio=Portfolio(orders=orders)) == "FILTER"
    assert room.code("1", limit("95"), instrument=full, portfolio=Portfolio(orders=orders[:1])) == ""
    assert room.code("1", instrument=full, portfolio=Portfolio(orders=orders)) == ""  # a market order never rests


def test_stop_orders_are_counted_too():
    stops = [
        resting(2, Side.SELL, "90", type=OrderType.STOP_LOSS, stop_price=Decimal(90), name=str(i)) for i in range(5)
    ]
    stop_entry = intent(type=OrderType.STOP_LOSS, stop_price=Decimal(110))
    verdict = Room(preset="off").decide("1", stop_entry, portfolio=Portfolio(orders=stops))
    assert "MAX_NUM_ALGO_ORDERS" in verdict.detail


# -- price collar


def test_a_limit_price_far_above_the_market_is_denied():
    room = only("price_collar")
    assert room.code("1", limit("102.01")) == "PRICE_COLLAR"  # 2.01 % > 2 %
    assert room.code("1", limit("102")) == ""
    assert room.code("1", limit("50")) == ""  # a buy far below the market waits, it does not overpay


def test_a_market_order_that_will_slip_far_is_denied():
    room = only("price_collar")
    assert room.code(slippage=0.0051) == "PRICE_COLLAR"
    assert room.code(slippage=0.005) == ""


# -- order value


def test_order_value_of_preset_live_is_a_share_of_the_accounts_equity():
    # 10 % of 2000 = 200, at 100: 2
    verdict = alone("max_order_value").decide("5", portfolio=Portfolio(equity=Decimal(2000)))
    assert verdict.allowed and verdict.quantity == Decimal(2)
    assert verdict.detail == "shrunk from 5 to 2.000 by max_order_value"
    assert verdict.shrunk_by == ["max_order_value"]


def test_order_value_of_preset_paper_is_a_share_of_the_bots_equity():
    verdict = Room().decide(
        "12",
        bot_cash=Decimal(2000),
        bot_equity=Decimal(1000),
        portfolio=Portfolio(equity=Decimal(10**6), cash=Decimal(10**6)),
    )
    assert verdict.shrunk_by == ["max_order_value"] and verdict.quantity == Decimal(10)


def test_order_value_as_an_amount_counts_slippage_and_fee():
    # 250 / (100 * 1.01 * 1.001) = 2.4728 -> 2.472
    verdict = alone("max_order_value", "250").decide("5", slippage=0.01, fee=0.001)
    assert verdict.quantity == Decimal("2.472")


def test_a_limit_that_leaves_less_than_the_minimum_denies():
    verdict = alone("max_order_value").decide("1", portfolio=Portfolio(equity=Decimal(49)))  # 4.9 < 5
    assert verdict.code == "MAX_ORDER_VALUE"
    assert "shrunk from 1 to 0.049 by max_order_value: below the minimum notional 5 USDT" in verdict.detail


def test_an_unknown_equity_denies():
    assert alone("max_order_value").code(portfolio=Portfolio(equity=None)) == "MAX_ORDER_VALUE"
    assert alone("max_position").code(portfolio=Portfolio(equity=None)) == "MAX_POSITION"
    assert alone("max_exposure").code(portfolio=Portfolio(gross=None)) == "MAX_EXPOSURE"


# -- order size


def test_order_size_is_a_share_of_the_minutes_volume():
    # 5 % of 20 = 1
    verdict = only("max_order_size").decide("3", volume=20.0)
    assert verdict.quantity == Decimal(1) and verdict.shrunk_by == ["max_order_size"]
    assert only("max_order_size").code("1", volume=20.0) == ""


def test_no_volume_and_no_trades_deny():
    assert only("max_order_size").code(volume=None) == "MAX_ORDER_SIZE"
    assert only("max_order_size").code(volume=0.0) == "MAX_ORDER_SIZE"


# -- position, exposure


def test_position_counts_what_all_bots_hold_of_the_symbol():
    # 20 % of 1000 = 200, 150 held: room 50, at 100: 0.5
    portfolio = Portfolio(by_symbol={"BTC/USDT": Decimal(150), "ETH/USDT": Decimal(900)})
    verdict = only("max_position").decide("1", portfolio=portfolio)
    assert verdict.quantity == Decimal("0.5")
    assert (verdict.checks[6 - 3].value, verdict.checks[6 - 3].limit) == (250.0, 200.0)


def test_a_full_position_denies():
    portfolio = Portfolio(by_symbol={"BTC/USDT": Decimal(200)})
    assert only("max_position").code(portfolio=portfolio) == "MAX_POSITION"


def test_exposure_counts_everything_held():
    # 100 % of 1000, 970 held: room 30: 0.3
    verdict = only("max_exposure").decide("1", portfolio=Portfolio(gross=Decimal(970)))
    assert verdict.quantity == Decimal("0.3") and verdict.shrunk_by == ["max_exposure"]
    assert only("max_exposure").code(portfolio=Portfolio(gross=Decimal(996))) == "MAX_EXPOSURE"  # room 4 < 5


def test_exposure_as_an_amount():
    verdict = only("max_exposure", "500").decide("9", portfolio=Portfolio(gross=Decimal(100)))
    assert verdict.quantity == Decimal(4)


def test_a_negative_exposure_makes_no_room():
    verdict = only("max_position").decide("9", portfolio=Portfolio(by_symbol={"BTC/USDT": Decimal(-500)}))
    assert verdict.quantity == Decimal(2)


def test_the_smallest_of_several_limits_decides_and_each_is_named():
    room = Room(preset="live")
    # order value 10 % of 1000 -> 1; size 5 % of 12 -> 0.6; position 20 % - 160 -> 0.4
    portfolio = Portfolio(by_symbol={"BTC/USDT": Decimal(160)})
    verdict = room.decide("5", volume=12.0, portfolio=portfolio)
    assert verdict.shrunk_by == ["max_order_value", "max_order_size", "max_position"]
    assert verdict.quantity == Decimal("0.4")


# -- open orders


def test_open_orders_are_counted_by_symbol_bot_and_account():
    room = only("max_open_orders", {"symbol": 2, "bot": 3, "account": 4})
    others = [resting(2, Side.BUY, f"{90 + i}") for i in range(2)]
    elsewhere = [resting(2, Side.BUY, f"{80 + i}", symbol="ETH/USDT") for i in range(4)]
    mine = [resting(1, Side.BUY, f"{70 + i}", symbol="ETH/USDT", quantity="0.1") for i in range(3)]
    buy = limit("95")
    assert "of the symbol" in room.decide("1", buy, portfolio=Portfolio(orders=others)).detail
    assert "of the bot" in room.decide("1", buy, portfolio=Portfolio(orders=mine)).detail
    assert "of the account" in room.decide("1", buy, portfolio=Portfolio(orders=elsewhere)).detail
    assert room.code("1", buy, portfolio=Portfolio(orders=others[:1] + mine[:1])) == ""


def test_market_orders_neither_rest_nor_count():
    room = only("max_open_orders", {"symbol": 1})
    waiting = [resting(2, Side.BUY, "100", type=OrderType.MARKET)]
    assert room.code("1", limit("95"), portfolio=Portfolio(orders=waiting)) == ""
    assert room.code("2", portfolio=Portfolio(orders=[resting(2, Side.BUY, "90")])) == ""


# -- rates and repeats


def test_a_bot_may_burst_five_and_then_two_a_second():
    room = only("rate_limit")
    delays = [room.decide("0.1").delay_s for _ in range(8)]
    assert delays == [0, 0, 0, 0, 0, 0.5, 1.0, 1.5]
    assert room.decide("0.1", now_ms=NOON + 10_000).delay_s == 0


def test_a_wait_above_30_seconds_is_denied():
    room = only("rate_limit", {"bot": 2, "account": 1000})
    codes = [room.code("0.1") for _ in range(70)]
    # five at once, then 60 with waits of 0.5 s to 30 s
    assert codes == [""] * 65 + ["RATE_LIMIT"] * 5
    assert room.code("0.1", now_ms=NOON + 1000) == ""


def test_the_account_has_its_own_bucket():
    room = only("rate_limit", {"bot": 1000, "account": 8})
    delays = [room.decide("0.1", intent(bot=bot)).delay_s for bot in range(1, 11)]
    assert delays == [0] * 8 + [0.125, 0.25]


def test_denied_orders_take_no_token():
    room = only("rate_limit")
    for _ in range(50):
        assert room.code("0.1", bot_cash=ZERO) == "BUDGET_EXCEEDED"
    assert room.decide("0.1").delay_s == 0


def test_the_same_order_again_is_denied_for_its_window():
    room = only("duplicate_order")
    assert room.code() == ""
    assert room.code(now_ms=NOON + 9_999) == "DUPLICATE_ORDER"
    assert room.code(now_ms=NOON + 10_000) == ""
    assert room.code("1", limit("99")) == ""
    assert room.code("1.000", limit("99.00"), now_ms=NOON + 1_999) == "DUPLICATE_ORDER"
    assert room.code("1", limit("99"), now_ms=NOON + 2_000) == ""


def test_another_bot_price_or_quantity_is_another_order():
    room = only("duplicate_order")
    assert [room.code("1", limit("99")), room.code("1", limit("98")), room.code("2", limit("99"))] == ["", "", ""]
    assert room.code("1", limit("99", bot=2)) == ""


def test_entries_are_counted_by_hour_and_day():
    room = only("repeated_execution", {"hour": 2, "day": 3})
    hour = 3_600_000
    assert [room.code() for _ in range(3)] == ["", "", "REPEATED_EXECUTION"]
    assert room.code(what=intent(bot=2)) == ""
    assert room.code(now_ms=NOON + hour) == ""  # the first two left the hour
    assert "last day" in room.decide(now_ms=NOON + 2 * hour).detail
    assert room.code(now_ms=NOON + 24 * hour) == ""


def test_a_strategy_may_declare_more_entries():
    room = only("repeated_execution", {"hour": 1, "day": 1})
    assert [room.code(declared_entries=(2, 2)) for _ in range(3)] == ["", "", "REPEATED_EXECUTION"]


# -- self trade


def test_an_entry_that_would_hit_another_bots_sell_is_denied():
    room = only("self_trade")
    portfolio = Portfolio(orders=[resting(2, Side.SELL, "100.5", name="other")])
    assert room.code("1", limit("100.5"), portfolio=portfolio) == "SELF_TRADE"
    assert room.code("1", limit("100.4"), portfolio=portfolio) == ""
    assert room.code("1", slippage=0.01, portfolio=portfolio) == "SELF_TRADE"  # would pay up to 101
    assert room.code("1", slippage=0.001, portfolio=portfolio) == ""  # up to 100.1


def test_own_orders_stops_and_buys_are_not_hit():
    room = only("self_trade")
    stop = resting(2, Side.SELL, "99", type=OrderType.STOP_LOSS_LIMIT, stop_price=Decimal(99))
    orders = [resting(1, Side.SELL, "99"), stop, resting(2, Side.BUY, "101")]
    assert room.code("1", limit("100"), portfolio=Portfolio(orders=orders)) == ""


def test_an_exit_cancels_the_order_it_would_hit_first():
    room = only("self_trade")
    orders = [
        resting(2, Side.BUY, "100", name="hit"),
        resting(3, Side.BUY, "99", name="safe"),
        resting(1, Side.BUY, "101"),
    ]
    verdict = room.decide("1", sale(), portfolio=Portfolio(orders=orders))
    assert verdict.allowed and verdict.cancel_first == ["hit"]
    assert Room(preset="off").decide("1", sale(), portfolio=Portfolio(orders=orders)).cancel_first == []


# -- funds and budget


def test_funds_are_what_is_free_less_the_margin():
    # live: 300 * 0.998 = 299.4, at 100: 2.994
    verdict = alone("budget", False).decide("5", portfolio=Portfolio(cash=Decimal(300)))
    assert verdict.quantity == Decimal("2.994") and verdict.shrunk_by == ["funds"]
    assert Room(preset="off").decide("5", portfolio=Portfolio(cash=Decimal(300))).quantity == Decimal(3)


def test_no_funds_deny():
    assert Room(preset="off").code(portfolio=Portfolio(cash=Decimal("4.9"))) == "INSUFFICIENT_FUNDS"


def test_the_budget_is_the_bots_cash_less_its_open_entries():
    # 1000 - 4 * 99 = 604, at 100: 6.04
    orders = [
        resting(1, Side.BUY, "99", quantity="4"),
        resting(1, Side.SELL, "120", quantity="9"),
        resting(2, Side.BUY, "99", quantity="9"),
    ]
    verdict = Room(preset="off").decide("9", portfolio=Portfolio(orders=orders, cash=Decimal(5000)))
    assert verdict.quantity == Decimal("6.04") and verdict.shrunk_by == ["budget"]


def test_a_waiting_market_order_is_reserved_at_the_present_price_with_its_costs():
    # 1000 - 4 * 100 * 1.01 = 596, / 101 = 5.90099
    orders = [resting(1, Side.BUY, "1", quantity="4", type=OrderType.MARKET)]
    verdict = Room(preset="off").decide("9", slippage=0.01, portfolio=Portfolio(orders=orders, cash=Decimal(5000)))
    assert verdict.quantity == Decimal("5.900")


def test_the_budget_grows_with_the_equity_on_paper_but_not_in_preset_live():
    rich = {"bot_cash": Decimal(3000), "bot_equity": Decimal(3000), "portfolio": Portfolio(cash=Decimal(9000))}
    assert Room(preset="off").decide("50", **rich).quantity == Decimal(30)
    assert alone("budget").decide("50", **rich).quantity == Decimal(10)  # capital 1000


def test_a_share_of_the_budget_counts_what_is_invested():
    # half of 1000 = 500 may be invested, 300 is: room 200
    verdict = only("budget", "50%").decide("9", bot_cash=Decimal(700))
    assert verdict.quantity == Decimal(2)


def test_a_spent_budget_denies():
    assert Room(preset="off").code(bot_cash=ZERO) == "BUDGET_EXCEEDED"
    assert Room(preset="off").code(bot_equity=None) == "BUDGET_EXCEEDED"


# -- the exchange


def test_orders_without_a_known_outcome_stop_a_live_bot():
    room = Room("live", preset="live")
    unknown = resting(1, Side.BUY, "90", quantity="0.1", status=OrderStatus.UNKNOWN)
    assert room.code("0.5", portfolio=Portfolio(orders=[unknown]), **LIVE) == "UNKNOWN_OUTSTANDING"
    others = [resting(b, Side.BUY, "90", status=OrderStatus.UNKNOWN) for b in (2, 3, 4)]
    assert room.code("0.5", portfolio=Portfolio(orders=others[:2]), **LIVE) == ""
    assert room.code("0.4", portfolio=Portfolio(orders=others), **LIVE) == "UNKNOWN_OUTSTANDING"


def test_a_degraded_exchange_takes_no_entries():
    verdict = Room().decide(exchange_degraded="banned until 12:00")
    assert (verdict.code, verdict.detail) == ("EXCHANGE_DEGRADED", "banned until 12:00")


# -- sales


def test_a_sale_is_rounded_down_and_the_rest_is_dust():
    verdict = Room().decide("0.9995", sale())
    assert verdict.quantity == Decimal("0.999")
    assert verdict.detail == "0.999 of 0.9995"


def test_dust_is_not_sent():
    verdict = Room().decide("0.04", sale())
    assert (verdict.allowed, verdict.code) == (False, "FILTER")
    assert Room().code("0.0004", sale()) == "FILTER"


def test_a_triggered_exit_goes_even_as_dust():
    verdict = Room().decide("0.04", sale(type=OrderType.STOP_LOSS, stop_price=Decimal(95), trigger_price=95.0))
    assert verdict.allowed and verdict.quantity == Decimal("0.04")


def test_where_the_exchange_takes_any_sale_a_small_one_goes():
    assert Room().decide("0.04", sale(), exits_any_size=True).allowed


def test_a_sale_above_the_exchanges_maximum_sells_the_maximum():
    small = msgspec.structs.replace(BTC, max_quantity=Decimal(2), max_notional=Decimal(150))
    assert Room().decide("5", sale(), instrument=small).quantity == Decimal("1.5")


def test_a_buy_that_calls_itself_an_exit_is_bound_like_any_buy():
    room = Room()
    room.states.halt("account", now_ms=NOON)
    assert room.code("1", intent(purpose=Purpose.EXIT)) == "TRADING_HALTED"


# -- the rest


def test_largest_names_the_control_that_binds():
    room = Room(preset="live")
    portfolio = Portfolio(by_symbol={"BTC/USDT": Decimal(160)})
    assert room.gate.largest(request(portfolio=portfolio)) == (Decimal("0.4"), "max_position")
    assert room.gate.statistics() == {"allowed": 0, "denied": {}, "shrunk": {}}


def test_statistics_count_by_code():
    room = Room()
    room.decide("12")
    room.decide("1", not_ready=["market"])
    assert room.gate.statistics() == {
        "allowed": 1,
        "denied": {"NOT_READY": 1},
        "shrunk": {"max_order_value": 1},
    }


def test_a_removed_bot_leaves_nothing_behind():
    room = Room(preset="live")
    room.decide("0.5")
    room.states.halt("bot:1", now_ms=NOON)
    room.gate.set({"max_open_orders": 3}, now_ms=NOON, bot=1)
    room.monitors.on_equity(1, Decimal(1000), NOON)
    room.monitors.on_trade_closed(1, Decimal(-1), NOON)
    assert room.gate.drain_changes() and room.states.drain_changes()
    room.gate.forget(1)
    assert room.gate.drain_changes() == {
        "entries:1": None,
        "equity:1": None,
        "override:bot:1:max_open_orders": None,
        "streak:1": None,
    }
    assert room.states.drain_changes() == {"bot:1|MANUAL": None}
