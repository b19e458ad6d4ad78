"""A position's stop, target and trail: fixed at entry, by the candle or by the tick, until it is flat."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from botd.bot.guard import Guard, change_levels
from botd.domain.bot_spec import BotSpec
from botd.domain.candle import Candle
from botd.domain.position import Position
from botd.market.levels import LevelIndex

LANE = ("BTC/USDT", "1m")
TICKS = ("BTC/USDT", "tick")


def spec(**stops: str) -> BotSpec:
    exact: Any = {key: Decimal(value) for key, value in stops.items()}
    return BotSpec(name="a", strategy="rsi", symbol="BTC/USDT", interval="1m", capital=Decimal(1), **exact)


class Room:
    def __init__(self, by_ticks: bool = False) -> None:
        self.levels, self.sold, self.raised = LevelIndex(), list[tuple[str, float]](), 0
        self.position = Position(bot=1, symbol="BTC/USDT", quantity=Decimal(1), cost=Decimal(100))
        self.guard = Guard(
            1, TICKS if by_ticks else LANE, self.levels, by_ticks=by_ticks,
            sell=lambda reason, price: self.sold.append((reason, price)), raised=self._raised,
        )  # fmt: skip

    def _raised(self) -> None:
        self.raised += 1

    def enter(self, price: float = 100.0, **stops: str) -> None:
        self.guard.entered(self.position, spec(**stops), price)

    def candle(self, open_: float, high: float, low: float, close: float | None = None) -> None:
        """A candle as the market manager tells it: the open, then the close, levels before the bot's guard."""
        self.levels.on_open(LANE, open_)
        self.levels.on_closed(LANE, open_, high, low)
        self.guard.on_closed(Candle(0, open_, high, low, low if close is None else close, 1.0))


def test_stop_and_target_are_fixed_from_the_entry_price() -> None:
    room = Room()
    room.enter(200.0, stop_loss="0.02", take_profit="0.04")
    assert (room.position.stop, room.position.target) == (200.0 * (1 - 0.02), 200.0 * (1 + 0.04))
    assert room.guard.stop() == room.position.stop


def test_without_stops_nothing_is_armed_and_nothing_sells() -> None:
    room = Room()
    room.enter()
    room.candle(100, 1e9, 1e-9)
    assert room.guard.stop() is None and room.sold == []


@pytest.mark.parametrize(
    ("candle", "sold"),
    [
        ((100, 101, 99), []),
        ((100, 101, 98), [("stop_loss", 98.0)]),
        ((97, 99, 96), [("stop_loss", 97.0)]),  # the open gapped through
        ((100, 104, 99), [("take_profit", 104.0)]),
        ((105, 106, 105), [("take_profit", 105.0)]),
        ((100, 110, 90), [("stop_loss", 98.0)]),  # both touched: the pessimistic one
    ],
)
def test_a_candle_sells_at_the_level_or_at_the_open_beyond_it(candle: Any, sold: list[tuple[str, float]]) -> None:
    room = Room()
    room.enter(100.0, stop_loss="0.02", take_profit="0.04")
    room.guard._sell = lambda reason, price: (room.sold.append((reason, price)), room.guard.cleared())  # type: ignore
    room.candle(*candle)
    assert room.sold == sold


def test_a_trail_rises_with_the_highs_of_closed_candles_and_never_falls() -> None:
    room = Room()
    room.enter(100.0, trailing_stop="0.1")
    assert room.guard.stop() == pytest.approx(90)
    room.candle(100, 120, 95)  # its own high does not lift the stop that its own low would hit
    assert room.sold == [] and room.guard.stop() == pytest.approx(108) and room.raised == 1
    room.candle(115, 118, 110)
    assert room.guard.stop() == pytest.approx(108) and room.raised == 1
    room.candle(112, 113, 107)
    assert room.sold == [("trailing_stop", pytest.approx(108))]


def test_a_trail_is_never_below_the_fixed_stop() -> None:
    room = Room()
    room.enter(100.0, trailing_stop="0.1", stop_loss="0.05")
    assert room.guard.stop() == pytest.approx(95)
    room.candle(100, 100.5, 94)
    assert room.sold == [("stop_loss", pytest.approx(95))]


def test_on_ticks_the_trail_rises_with_each_new_high() -> None:
    room = Room(by_ticks=True)
    room.enter(100.0, trailing_stop="0.1")
    for price in (101.0, 110.0, 105.0):
        room.levels.on_tick("BTC/USDT", price)
    assert room.position.highest == 110.0 and room.raised == 2
    room.levels.on_tick("BTC/USDT", 98.9)
    assert room.sold == [("trailing_stop", 98.9)]


def test_a_flat_position_is_watched_no_more() -> None:
    room = Room()
    room.enter(100.0, stop_loss="0.02", trailing_stop="0.1")
    room.guard.cleared()
    room.candle(50, 200, 1)
    assert room.sold == [] and room.guard.stop() is None and room.levels.statistics()["armed"] == 0
    ticks = Room(by_ticks=True)
    ticks.enter(100.0, trailing_stop="0.1")
    ticks.guard.cleared()
    assert ticks.levels.statistics()["armed"] == 0


def test_after_a_restart_the_levels_of_the_ledger_are_armed_again() -> None:
    before, after = Room(), Room()
    before.enter(100.0, trailing_stop="0.1", take_profit="0.5")
    before.candle(100, 120, 95)
    after.position = before.position
    after.guard.watch(after.position)
    assert after.guard.stop() == before.guard.stop() == pytest.approx(108)
    after.candle(110, 111, 107)
    assert after.sold == [("trailing_stop", pytest.approx(108))]


def test_a_second_purchase_keeps_the_highest_price() -> None:
    room = Room()
    room.enter(100.0, trailing_stop="0.1")
    room.candle(100, 130, 99)
    room.enter(110.0, trailing_stop="0.1")
    assert room.position.highest == 130.0


def test_a_changed_spec_moves_the_levels_and_keeps_the_highest_price() -> None:
    room = Room()
    room.enter(100.0, stop_loss="0.02", trailing_stop="0.1")
    room.candle(100, 130, 99)
    change_levels(room.position, spec(stop_loss="0.05", take_profit="0.5", trailing_stop="0.2"), Decimal(100))
    room.guard.watch(room.position)
    assert (room.position.stop, room.position.target) == (95.0, 150.0)
    assert room.guard.stop() == pytest.approx(104)
    change_levels(room.position, spec(), Decimal(100))
    room.guard.watch(room.position)
    assert room.guard.stop() is None and room.position.target is None


def test_a_trail_added_later_counts_from_the_entry_price() -> None:
    room = Room()
    room.enter(100.0)
    change_levels(room.position, spec(trailing_stop="0.1"), Decimal(100))
    assert room.position.highest == 100.0
