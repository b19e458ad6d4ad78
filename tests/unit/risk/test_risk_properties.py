"""What holds whatever the settings and states: sales go, and no number that is none passes a limit."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from botd.domain.order import OrderType, Purpose, Side
from botd.risk.controls import CONTROLS
from tests.fakes.risk_case import BTC, NOON, Portfolio, Room, intent, limit, request, resting, sale, spec

SWITCHES = [control.name for control in CONTROLS if not control.fixed]
SCOPES = ["account", "symbol:BTC/USDT", "bot:1"]
ODD = [math.nan, math.inf, -math.inf, -1.0, 0.0]
ODD_DECIMALS = [Decimal(text) for text in ("NaN", "sNaN", "Infinity", "-Infinity", "-1", "0")]

rooms = st.builds(
    lambda preset, keys, scope, state, trips: _room(preset, keys, scope, state, trips),
    st.sampled_from(["paper", "live", "off"]),
    st.dictionaries(st.sampled_from(SWITCHES), st.booleans(), max_size=6),
    st.sampled_from(SCOPES),
    st.sampled_from(["halt", "reduce", "release"]),
    st.lists(st.sampled_from(["DAILY_LOSS", "MAX_DRAWDOWN", "REJECT_STORM", "CONSECUTIVE_LOSSES"]), max_size=3),
)


def _room(preset: str, keys: dict[str, bool], scope: str, state: str, trips: list[str]) -> Room:
    room = Room(preset=preset, **keys)
    getattr(room.states, state)(scope, now_ms=NOON)
    for code in trips:
        room.states.trip("bot:1", code, "halted", now_ms=NOON)
    return room


@given(
    room=rooms,
    purpose=st.sampled_from(list(Purpose)),
    thousandths=st.integers(min_value=50, max_value=10**9),
    what=st.fixed_dictionaries(
        {
            "not_ready": st.sampled_from([(), ("market",)]),
            "stale_ms": st.sampled_from([None, 10**9]),
            "bot_cash": st.sampled_from([Decimal(0), Decimal(-5), Decimal(1000)]),
            "bot_equity": st.sampled_from([None, Decimal(0)]),
            "volume": st.sampled_from([None, 0.0]),
            "exchange_degraded": st.sampled_from(["", "banned"]),
            "portfolio": st.sampled_from(
                [Portfolio(equity=None, gross=None, cash=Decimal(0)), Portfolio(orders=[resting(2, Side.BUY, "100")])]
            ),
            "spec": st.sampled_from([spec(), spec(mode="live")]),
            "slippage": st.sampled_from([0.0, 0.9, math.nan]),
        }
    ),
)
@settings(max_examples=150, deadline=None)
def test_a_sale_the_exchange_takes_always_goes_in_full(
    room: Room, purpose: Purpose, thousandths: int, what: dict[str, Any]
):
    quantity = Decimal(thousandths) / 1000
    for _ in range(3):  # again and again: no window or rate holds it either
        verdict = room.gate.decide(request(str(quantity), intent(side=Side.SELL, purpose=purpose), **what))
        assert verdict.allowed and verdict.quantity == quantity and verdict.delay_s == 0.0


@given(room=rooms, quantity=st.decimals(min_value="0.000001", max_value=10**9, places=6), price=st.sampled_from(ODD))
@settings(max_examples=60, deadline=None)
def test_a_triggered_sale_goes_whatever_its_size_and_the_last_price(room: Room, quantity: Decimal, price: float):
    what = sale(type=OrderType.STOP_LOSS, trigger_price=99.5, stop_price=Decimal("99.5"), reference_price=price)
    assert room.gate.decide(request(str(quantity), what)).allowed


@given(preset=st.sampled_from(["paper", "live", "off"]), bad=st.sampled_from(ODD_DECIMALS))
def test_no_odd_quantity_or_limit_price_passes(preset: str, bad: Decimal):
    room = Room(preset=preset)
    assert not room.decide(str(bad)).allowed
    odd_limit = msgspec.structs.replace(limit("100"), price=bad)
    assert not room.decide("0.5", odd_limit).allowed
    assert not room.decide(str(bad), sale()).allowed


@given(preset=st.sampled_from(["paper", "live", "off"]), bad=st.sampled_from(ODD))
def test_no_odd_reference_price_passes(preset: str, bad: float):
    assert not Room(preset=preset).decide("0.5", intent(reference_price=bad)).allowed


@pytest.mark.parametrize("bad", ODD_DECIMALS)
def test_no_odd_amount_makes_room(bad: Decimal):
    live = Room(preset="live")
    for what in (
        {"bot_cash": bad},
        {"bot_equity": bad},
        {"portfolio": Portfolio(cash=bad)},
        {"portfolio": Portfolio(equity=bad)},
        {"spec": spec(capital=bad)},
    ):
        assert not live.decide("0.1", **what).allowed, what
    assert not Room(preset="paper").decide("0.1", bot_cash=bad).allowed


@pytest.mark.parametrize("bad", [Decimal("NaN"), Decimal("Infinity")])
def test_no_odd_exposure_makes_room(bad: Decimal):
    live = Room(preset="live")
    assert live.code("0.1", portfolio=Portfolio(gross=bad)) == "MAX_EXPOSURE"
    assert live.code("0.1", portfolio=Portfolio(by_symbol={"BTC/USDT": bad})) == "MAX_POSITION"


@pytest.mark.parametrize("bad", ODD)
def test_no_odd_volume_makes_room(bad: float):
    assert Room(preset="live").code("0.1", volume=bad) == "MAX_ORDER_SIZE"


money = st.decimals(min_value=0, max_value=10**5, places=2)


@given(
    wanted=st.integers(min_value=1, max_value=10**7),
    cash=money,
    equity=money,
    free=money,
    gross=money,
    held=money,
    slippage=st.floats(min_value=0, max_value=0.005),
    fee=st.floats(min_value=0, max_value=0.01),
    volume=st.floats(min_value=0, max_value=1e5),
)
@settings(max_examples=200, deadline=None)
def test_what_passes_keeps_every_limit_and_the_exchanges_filters(
    wanted: int,
    cash: Decimal,
    equity: Decimal,
    free: Decimal,
    gross: Decimal,
    held: Decimal,
    slippage: float,
    fee: float,
    volume: float,
):
    portfolio = Portfolio(equity=equity, cash=free, gross=gross, by_symbol={"BTC/USDT": held})
    quantity = Decimal(wanted) / 1000
    verdict = Room(preset="live").gate.decide(
        request(
            str(quantity),
            portfolio=portfolio,
            bot_cash=cash,
            bot_equity=cash,
            slippage=slippage,
            fee=fee,
            volume=volume,
        )
    )
    if not verdict.allowed:
        return
    sent = float(verdict.quantity)
    value, cost = sent * 100, sent * 100 * (1 + slippage) * (1 + fee)
    slack = 1e-6
    assert 0 < verdict.quantity <= quantity
    assert not BTC.refusal(verdict.quantity, Decimal(100), limit_price=False)
    assert cost <= 0.1 * float(equity) + slack
    assert cost <= min(float(cash), 1000) + slack and cost <= float(free) * 0.998 + slack
    assert value + float(held) <= 0.2 * float(equity) + slack
    assert value + float(gross) <= float(equity) + slack
    assert sent <= 0.05 * volume + slack


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["entry", "equity", "trade", "reject", "halt", "release", "set"]),
            st.integers(min_value=1, max_value=3),
            st.integers(min_value=700, max_value=1100),
            st.integers(min_value=60_000, max_value=20_000_000),
        ),
        max_size=25,
    ),
    cut=st.integers(min_value=0, max_value=25),
)
@settings(max_examples=60, deadline=None)
def test_a_restart_at_any_moment_changes_no_decision(steps: list[tuple[str, int, int, int]], cut: int):
    keys: dict[str, Any] = {"repeated_execution": {"hour": 2, "day": 4}, "consecutive_losses": 2}
    steady, other, now = Room(preset="live", **keys), Room(preset="live", **keys), NOON
    ledger: dict[str, dict[str, str]] = {"states": {}, "risk": {}}
    for i, (what, bot, value, pause) in enumerate(steps):
        now += pause
        assert _step(steady, what, bot, value, now) == _step(other, what, bot, value, now)
        _keep(ledger["states"], other.states.drain_changes())
        _keep(ledger["risk"], other.gate.drain_changes())
        if i == cut:
            other = Room(preset="live", **keys)
            other.states.restore(ledger["states"])
            other.gate.restore(ledger["risk"])
    assert other.states.causes() == steady.states.causes()


def _keep(rows: dict[str, str], changes: dict[str, str | None]) -> None:
    for key, text in changes.items():
        if text is None:
            rows.pop(key, None)
        else:
            rows[key] = text


def _step(room: Room, what: str, bot: int, value: int, now_ms: int) -> Any:
    if what == "entry":
        verdict = room.decide("0.1", intent(bot=bot), now_ms=now_ms)
        # the equity last seen is shown, not kept: it is known again with the next mark
        return verdict.code, verdict.quantity, verdict.delay_s
    if what == "equity":
        room.monitors.on_equity(bot % 2, Decimal(value), now_ms)
    elif what == "trade":
        room.monitors.on_trade_closed(bot, Decimal(value - 1000), now_ms)
    elif what == "reject":
        room.monitors.on_reject(bot, now_ms)
    elif what == "halt":
        room.states.halt(f"bot:{bot}", now_ms=now_ms)
    elif what == "release":
        # as an operator would, after a mark: without one the peak starts at the next equity
        room.monitors.on_equity(bot % 2, Decimal(value), now_ms)
        room.states.release("account" if bot % 2 == 0 else "bot:1", now_ms=now_ms)
    else:
        room.gate.set({"daily_loss": f"{value / 100}%"}, now_ms=now_ms, bot=bot)
    return None
