"""Monitors: when they fire, for how long, what a release and a transfer mean, and that they remember."""

from __future__ import annotations

from decimal import Decimal

import pytest

from botd.domain.candle import Candle
from tests.fakes.risk_case import DAY, NOON, Room, intent

MIDNIGHT = DAY + 86_400_000
MINUTE = 60_000


@pytest.fixture
def room() -> Room:
    return Room(preset="live")


def equity(room: Room, bot: int, value: str, now_ms: int = NOON) -> None:
    room.monitors.on_equity(bot, Decimal(value), now_ms)


# -- daily loss


def test_a_bots_daily_loss_reduces_that_bot_until_midnight(room: Room):
    equity(room, 1, "1000", DAY)
    equity(room, 1, "970.01")  # 2.999 %
    assert room.code("0.1") == ""
    equity(room, 1, "970")  # 3 %
    verdict = room.decide("0.2")
    assert verdict.code == "DAILY_LOSS"
    assert (verdict.checks[-1].value, verdict.checks[-1].limit) == (pytest.approx(0.03), 0.03)
    assert "until 2026-01-02T00:00:00Z" in verdict.detail
    assert room.code("0.2", intent(bot=2)) == ""
    assert room.states.state("bot:1", NOON) == "reduce"


def test_the_accounts_daily_loss_binds_every_bot(room: Room):
    equity(room, 0, "1000", DAY)
    equity(room, 0, "950")  # 5 %
    assert room.code("0.1") == "DAILY_LOSS"
    assert room.code("0.1", intent(bot=9)) == "DAILY_LOSS"


def test_at_midnight_it_lifts_itself_and_the_day_starts_anew(room: Room):
    equity(room, 1, "1000", DAY)
    equity(room, 1, "960")
    assert room.code("0.1", now_ms=MIDNIGHT - 1) == "DAILY_LOSS"
    assert room.code("0.1", now_ms=MIDNIGHT) == ""
    equity(room, 1, "940", MIDNIGHT)  # the new day's start
    equity(room, 1, "920", MIDNIGHT + MINUTE)  # 2.1 %
    assert room.monitors.loss(1) == pytest.approx(20 / 940)
    assert room.states.state("bot:1", MIDNIGHT + MINUTE) == "active"
    assert room.code("0.1", now_ms=MIDNIGHT + MINUTE) == ""


def test_it_counts_open_equity_from_the_days_start_not_from_its_high(room: Room):
    equity(room, 1, "1000", DAY)
    equity(room, 1, "1050")
    equity(room, 1, "980")  # 2 % below the start, 6.7 % below the high
    assert room.states.quiet


# -- drawdown


def test_a_drawdown_halts_until_a_person_releases_and_the_release_rebases_the_peak(room: Room):
    room.settings.set({"daily_loss": "off"})
    equity(room, 1, "1000", DAY)
    equity(room, 1, "1200")
    equity(room, 1, "1080")  # 10 % below 1200
    assert room.code("0.1") == "MAX_DRAWDOWN"
    assert room.code("0.1", now_ms=MIDNIGHT + 1) == "MAX_DRAWDOWN"
    room.states.release("bot:1", now_ms=NOON, by="ann")
    assert room.monitors.drawdown(1) == 0.0
    equity(room, 1, "1070")
    assert room.code("0.1") == ""
    equity(room, 1, "972")  # 10 % below 1080
    assert room.code("0.2") == "MAX_DRAWDOWN"


def test_the_accounts_drawdown_is_its_own(room: Room):
    room.settings.set({"daily_loss": "off"})
    equity(room, 0, "1000")
    equity(room, 0, "851")
    assert room.states.quiet
    equity(room, 0, "850")  # 15 %
    assert room.code("0.1", intent(bot=5)) == "MAX_DRAWDOWN"


def test_releasing_a_halt_does_not_forgive_a_drawdown_that_has_not_fired(room: Room):
    equity(room, 1, "1000", DAY)
    room.states.halt("bot:1", now_ms=NOON)
    room.states.release("bot:1", now_ms=NOON)
    equity(room, 1, "975")
    assert room.monitors.drawdown(1) == pytest.approx(0.025)


def test_a_transfer_is_neither_gain_nor_loss(room: Room):
    equity(room, 0, "1000", DAY)
    room.monitors.adjust(0, Decimal(-500))
    equity(room, 0, "500")
    assert room.states.quiet
    equity(room, 0, "475")  # 5 % of 500
    assert room.code("0.1") == "DAILY_LOSS"


@pytest.mark.parametrize("value", [None, Decimal("NaN"), Decimal("Infinity"), Decimal("-Infinity")])
def test_an_unknown_equity_is_no_mark(room: Room, value: Decimal | None):
    equity(room, 1, "1000", DAY)
    room.drain = room.gate.drain_changes()  # type: ignore[attr-defined]
    room.monitors.on_equity(1, value, NOON)
    assert room.states.quiet and room.gate.drain_changes() == {}


def test_equity_at_nothing_is_a_full_drawdown(room: Room):
    equity(room, 1, "1000", DAY)
    equity(room, 1, "-50")
    assert room.monitors.drawdown(1) == 1.0
    assert room.states.state("bot:1", NOON) == "halted"


# -- losing streak, rejects


def test_five_losing_trades_in_a_row_pause_the_bot_for_four_hours(room: Room):
    for pnl in ("-1", "-1", "2", "-1", "-1", "-1", "0", "-1", "-1", "-1", "-1"):
        room.monitors.on_trade_closed(1, Decimal(pnl), NOON)
    assert room.code("0.1") == "" and room.monitors.streak(1) == 4
    room.monitors.on_trade_closed(1, Decimal(-1), NOON)
    assert room.code("0.2") == "CONSECUTIVE_LOSSES"
    assert room.code("0.2", now_ms=NOON + 4 * 3_600_000 - 1) == "CONSECUTIVE_LOSSES"
    assert room.code("0.2", now_ms=NOON + 4 * 3_600_000) == ""
    assert room.monitors.streak(1) == 0


def test_five_rejects_within_a_minute_halt_the_bot_until_released(room: Room):
    for i in range(4):
        room.monitors.on_reject(1, NOON + i * 1000)
    room.monitors.on_reject(1, NOON + MINUTE)  # the first left the window
    assert room.code("0.1") == ""
    room.monitors.on_reject(1, NOON + MINUTE)
    assert room.code("0.2") == "REJECT_STORM"
    room.states.release("bot:1", now_ms=NOON + MINUTE)
    assert room.code("0.2") == ""
    room.monitors.on_reject(1, NOON + MINUTE)
    assert room.code("0.3") == ""


def test_twenty_rejects_of_any_bots_halt_the_account(room: Room):
    for i in range(20):
        room.monitors.on_reject(1 + i % 10, NOON)
    assert room.code("0.1", intent(bot=99)) == "REJECT_STORM"


# -- violent moves


def candle(minute: int, close: float) -> Candle:
    return Candle(NOON + minute * MINUTE, 100.0, max(100.0, close), min(100.0, close), close, 1.0)


def test_a_minute_of_more_than_five_percent_stops_entries_in_the_symbol(room: Room):
    room.monitors.on_candle("BTC/USDT", candle(0, 100.0))
    room.monitors.on_candle("BTC/USDT", candle(1, 105.0))
    assert room.states.quiet  # 5 % is not more than 5 %
    room.monitors.on_candle("BTC/USDT", candle(2, 99.7))  # -5.05 %
    now = NOON + 3 * MINUTE
    assert room.code("0.1", now_ms=now) == "VOLATILITY_HALT"
    assert room.code("0.1", now_ms=now + 15 * MINUTE - 1) == "VOLATILITY_HALT"
    assert room.code("0.1", now_ms=now + 15 * MINUTE) == ""


def test_eight_standard_deviations_stop_entries_after_an_hour_of_candles(room: Room):
    closes = [100.0 + 0.1 * (i % 2) for i in range(61)]  # moves of 0.1 %: sigma 0.001
    for i, close in enumerate(closes):
        room.monitors.on_candle("BTC/USDT", candle(i, close))
    room.monitors.on_candle("BTC/USDT", candle(61, closes[-1] * 1.0075))
    assert room.states.quiet  # 7.5 sigma
    room.monitors.on_candle("ETH/USDT", candle(61, 100.9))  # no spread known yet
    assert room.states.quiet
    room.monitors.on_candle("BTC/USDT", candle(62, closes[-1] * 1.0075 * 1.02))
    assert "sigma" in room.changes[-1].detail


@pytest.mark.parametrize("close", [float("nan"), float("inf"), 0.0, -1.0])
def test_a_candle_that_is_no_number_is_violent_and_leaves_no_trace(room: Room, close: float):
    room.monitors.on_candle("BTC/USDT", candle(0, 100.0))
    before = room.monitors.drain_changes()
    room.monitors.on_candle("BTC/USDT", candle(1, close))
    assert room.states.state("symbol:BTC/USDT", NOON + 2 * MINUTE) == "reduce"
    assert room.monitors.drain_changes() == before


# -- off, and durable


def test_in_preset_paper_nothing_is_watched_or_kept():
    room = Room()
    for bot in (0, 1):
        equity(room, bot, "1000", DAY)
        equity(room, bot, "1")
    for _ in range(30):
        room.monitors.on_trade_closed(1, Decimal(-1), NOON)
        room.monitors.on_reject(1, NOON)
    room.monitors.on_candle("BTC/USDT", candle(0, 1.0))
    assert room.states.quiet and room.gate.drain_changes() == {}


def test_switching_a_control_off_lifts_what_it_had_set(room: Room):
    equity(room, 1, "1000", DAY)
    equity(room, 1, "850")  # daily loss and drawdown
    room.states.halt("bot:1", now_ms=NOON)
    room.gate.set({"daily_loss": "off"}, now_ms=NOON)
    assert [code for _, code, _ in room.states.causes()] == ["MANUAL", "MAX_DRAWDOWN"]
    room.gate.set({"max_drawdown": "off"}, now_ms=NOON, bot=1)
    assert [code for _, code, _ in room.states.causes()] == ["MANUAL"]


def test_a_bots_own_limit_is_watched_at_once():
    room = Room()
    room.gate.set({"daily_loss": "1%"}, now_ms=NOON, bot=1)
    for bot in (1, 2):
        equity(room, bot, "1000")
        equity(room, bot, "985")
    assert [scope for scope, _, _ in room.states.causes()] == ["bot:1"]


def test_after_a_restart_the_monitors_go_on_where_they_were(room: Room):
    equity(room, 1, "1000", DAY)
    equity(room, 1, "1100")
    for _ in range(4):
        room.monitors.on_trade_closed(1, Decimal(-1), NOON)
        room.monitors.on_reject(2, NOON)
    for i in range(70):
        room.monitors.on_candle("BTC/USDT", candle(i, 100.0 + 0.1 * (i % 2)))
    again = room.reopened(preset="live")
    for each in (room, again):
        equity(each, 1, "991")  # 9.9 % below the peak
        assert each.monitors.drawdown(1) == pytest.approx(109 / 1100)
        each.monitors.on_trade_closed(1, Decimal(-1), NOON)
        each.monitors.on_reject(2, NOON)
        each.monitors.on_candle("BTC/USDT", candle(70, 101.0))
        equity(each, 1, "990")
    assert again.states.causes() == room.states.causes()
    assert {code for _, code, _ in again.states.causes()} == {
        "CONSECUTIVE_LOSSES",
        "REJECT_STORM",
        "VOLATILITY_HALT",
        "MAX_DRAWDOWN",
    }
    assert again.gate.drain_changes() == room.gate.drain_changes()


def test_a_drawdown_released_right_after_a_restart_starts_at_the_next_equity(room: Room):
    equity(room, 1, "1000", DAY)
    equity(room, 1, "800")
    again = room.reopened(preset="live")
    again.states.release("bot:1", now_ms=NOON)
    equity(again, 1, "790")
    assert again.monitors.drawdown(1) == 0.0
