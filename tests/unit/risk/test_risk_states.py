"""Trading states: scopes, causes kept apart, what a release lifts, what time lifts, durability."""

from __future__ import annotations

from botd.risk.trading_state import MANUAL, StateChange, TradingStates
from tests.fakes.risk_case import DAY, NOON

MIDNIGHT = DAY + 86_400_000


def test_a_halt_says_what_changed_and_the_second_one_that_nothing_did():
    states = TradingStates()
    first = states.halt("account", now_ms=NOON, by="uid 1000")
    assert (first.before, first.after, first.changed, first.code) == ("active", "halted", True, MANUAL)
    again = states.halt("account", now_ms=NOON + 1)
    assert (again.before, again.after, again.changed) == ("halted", "halted", False)


def test_reduce_takes_the_place_of_a_halt():
    states = TradingStates()
    states.halt("bot:3", now_ms=NOON)
    change = states.reduce("bot:3", now_ms=NOON)
    assert (change.before, change.after, change.changed) == ("halted", "reduce", True)


def test_a_release_of_what_is_active_changes_nothing():
    change = TradingStates().release("account", now_ms=NOON)
    assert (change.before, change.after, change.changed) == ("active", "active", False)


def test_midnight_lifts_a_daily_loss_but_never_a_persons_halt():
    states = TradingStates()
    states.trip("account", "DAILY_LOSS", "reduce", now_ms=NOON, until_ms=MIDNIGHT)
    states.halt("account", now_ms=NOON)
    assert states.state("account", MIDNIGHT - 1) == "halted"
    (change,) = states.expire(MIDNIGHT)
    assert (change.code, change.lifted, change.remaining) == ("DAILY_LOSS", ["DAILY_LOSS"], [MANUAL])
    assert states.state("account", MIDNIGHT) == "halted"


def test_a_release_lifts_what_waits_for_a_person_and_leaves_what_ends_by_itself():
    states = TradingStates()
    states.halt("bot:1", now_ms=NOON)
    states.trip("bot:1", "MAX_DRAWDOWN", "halted", now_ms=NOON)
    states.trip("bot:1", "DAILY_LOSS", "reduce", now_ms=NOON, until_ms=MIDNIGHT)
    change = states.release("bot:1", now_ms=NOON, by="ann")
    assert (change.before, change.after) == ("halted", "reduce")
    assert change.lifted == [MANUAL, "MAX_DRAWDOWN"] and change.remaining == ["DAILY_LOSS"]


def test_scopes_are_apart():
    states = TradingStates()
    states.reduce("symbol:BTC/USDT", now_ms=NOON)
    states.halt("bot:1", now_ms=NOON)
    assert states.effective(1, "ETH/USDT", NOON)[0] == "halted"
    assert states.effective(2, "BTC/USDT", NOON)[0] == "reduce"
    assert states.effective(2, "ETH/USDT", NOON) == ("active", None)
    states.release("account", now_ms=NOON)
    assert states.effective(1, "BTC/USDT", NOON)[0] == "halted"


def test_a_cause_past_its_time_does_not_count_even_before_it_is_cleared_away():
    states = TradingStates()
    states.trip("symbol:BTC/USDT", "VOLATILITY_HALT", "reduce", now_ms=NOON, until_ms=NOON + 900_000)
    assert states.effective(1, "BTC/USDT", NOON + 899_999)[0] == "reduce"
    assert states.effective(1, "BTC/USDT", NOON + 900_000)[0] == "active"


def test_a_trip_again_prolongs_but_never_shortens():
    states = TradingStates()
    states.trip("bot:1", "X", "halted", now_ms=NOON, until_ms=NOON + 100)
    assert states.trip("bot:1", "X", "halted", now_ms=NOON, until_ms=NOON + 200).changed
    assert not states.trip("bot:1", "X", "halted", now_ms=NOON, until_ms=NOON + 150).changed
    assert states.state("bot:1", NOON + 199) == "halted"


def test_everybody_hears_of_every_change_once():
    heard: list[StateChange] = []
    states = TradingStates(heard.append)
    states.halt("account", now_ms=NOON)
    states.halt("account", now_ms=NOON)
    states.trip("bot:1", "DAILY_LOSS", "reduce", now_ms=NOON, until_ms=MIDNIGHT)
    states.expire(MIDNIGHT)
    states.release("account", now_ms=MIDNIGHT)
    assert [(c.scope, c.after) for c in heard] == [
        ("account", "halted"),
        ("bot:1", "reduce"),
        ("bot:1", "active"),
        ("account", "active"),
    ]


def test_states_survive_a_restart():
    states = TradingStates()
    states.halt("symbol:BTC/USDT", now_ms=NOON, by="ann", detail="news")
    states.trip("bot:1", "DAILY_LOSS", "reduce", now_ms=NOON, until_ms=MIDNIGHT, detail="lost 3 %")
    rows = states.drain_changes()
    again = TradingStates()
    again.restore({key: text for key, text in rows.items() if text is not None})
    assert again.causes() == states.causes()
    assert again.drain_changes() == {} and states.drain_changes() == {}
    assert [c.scope for c in again.expire(MIDNIGHT)] == ["bot:1"]
    assert again.drain_changes() == {"bot:1|DAILY_LOSS": None}


def test_equal_states_give_equal_rows():
    one, two = TradingStates(), TradingStates()
    for scope in ("bot:2", "account"):
        one.halt(scope, now_ms=NOON)
    for scope in ("account", "bot:2"):
        two.halt(scope, now_ms=NOON)
    assert list(one.drain_changes().items()) == list(two.drain_changes().items())
