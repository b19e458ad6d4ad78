"""Backtests by accident: random candles, signals and terms, and what the plain loop makes of the same.

The candles jump, stand still and have holes; levels are so near that they are gapped over, touched together and
touched in the candle of the entry.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
import talib

from botd.backtest.history import History, from_candles
from botd.backtest.kernel import REASONS, Room, make_room, sealed
from botd.backtest.run import Decisions, average_ranges, play, tape_of
from botd.backtest.terms import Terms
from botd.domain.candles import Candles
from botd.domain.instrument import Instrument
from tests.fakes.plain_loop import Played, Rows, play_all

START, MINUTE = 1_704_067_200_000, 60_000
BOTS: dict[str, dict[str, Any]] = {
    "rsi": {"stop_loss": "0.02", "take_profit": "0.04"},
    "macd": {"atr_stop": "2", "break_even": "0.005", "risk_per_trade": "0.01"},
    "mean_reversion": {"trailing_stop": "0.015", "time_stop": 12},
    "ema_cross": {"slippage": "0", "maker_fee": "0.0002", "take_profit": "0.01", "fraction": "0.3"},
    "breakout": {"stop_loss": "0.01", "trailing_stop": "0.02", "break_even": "0.01", "time_stop": 100},
}
"""What the catalogue's signal strategies are played with on recorded candles: together they use all there is."""


@dataclass
class Case:
    history: History
    decisions: Decisions
    terms: Terms

    def play(self) -> tuple[Room, int, dict[str, Any]]:
        """Play it by the kernel; return the room, how many trades are in it, and the statistics."""
        room = make_room(len(self.decisions.enter), int(np.count_nonzero(self.decisions.enter)) + 1)
        atr = average_ranges(self.history, self.terms)
        return room, *play(tape_of(self.history), self.decisions, atr, self.terms, room)

    def plain(self) -> Played:
        """Play it by the plain loop."""
        rows, terms, instrument = self.history.candles, self.terms, self.history.instrument
        atr = talib.ATR(rows.high, rows.low, rows.close, terms.atr_period).tolist() if terms.atr_stop else None
        columns = (rows.time, rows.open, rows.high, rows.low, rows.close)
        return play_all(
            Rows(*(column.tolist() for column in columns)),
            self.decisions.enter.tolist(),
            self.decisions.exit.tolist(),
            capital=float(terms.capital),
            step=float(instrument.step),
            min_notional=float(instrument.min_notional),
            min_quantity=float(instrument.min_quantity),
            fee=float(terms.taker_fee),
            maker_fee=float(terms.maker_fee),
            slippage=float(terms.slippage),
            stop_loss=_number(terms.stop_loss),
            take_profit=_number(terms.take_profit),
            trailing=_number(terms.trailing_stop),
            atr=atr,
            atr_stop=_number(terms.atr_stop),
            break_even=_number(terms.break_even),
            time_stop=terms.time_stop,
            fraction=1.0 if terms.fraction is None else float(terms.fraction),
            risk=_number(terms.risk_per_trade),
        )


def assert_same(case: Case) -> int:
    """Hold the kernel to the plain loop, trade by trade and candle by candle; return how many trades there were."""
    room, count, statistics = case.play()
    expected = case.plain()
    assert count == len(expected.trades)
    time = case.history.candles.time
    for k, trade in enumerate(expected.trades):
        told = (time[room.entry_row[k]], time[room.exit_row[k]], REASONS[room.reason[k]])
        assert told == (trade.entry_time, trade.exit_time, trade.exit_reason), k
        assert room.exit_row[k] - room.entry_row[k] == trade.bars
        assert room.quantity[k] == pytest.approx(trade.quantity, rel=1e-12)
        assert room.entry_price[k] == pytest.approx(trade.entry_price, rel=1e-12)
        assert room.exit_price[k] == pytest.approx(trade.exit_price, rel=1e-12)
        assert room.pnl[k] == pytest.approx(trade.pnl, rel=1e-9, abs=1e-12 * trade.quantity * trade.entry_price)
    scale = 1e-11 * float(case.terms.capital)
    np.testing.assert_allclose(room.equity, expected.equity, rtol=1e-9, atol=scale)
    np.testing.assert_allclose(room.exposure, expected.exposure, rtol=1e-9, atol=scale)
    assert statistics["skipped_min_notional"] == expected.skipped
    return count


def case_of(seed: int) -> Case:
    """Return the case number ``seed``."""
    rng = random.Random(seed)
    return case_by(rng, rng.choice((2, 3, 20, 150, 400)))


def case_by(rng: random.Random, count: int) -> Case:
    """Return a case of so many candles, as ``rng`` draws it."""
    rows = random_candles(rng, count)
    often = rng.choice((0.02, 0.1, 0.5))
    chances = often, often * rng.choice((0.0, 0.2, 1.0))
    enter, leave = (sealed(np.array([rng.random() < chance for _ in range(len(rows))])) for chance in chances)
    instrument = Instrument(
        symbol="ABC/USDT",
        base="ABC",
        quote="USDT",
        tick=Decimal("0.01"),
        step=Decimal(rng.choice(("0.00001", "0.001", "0.1", "1"))),
        min_quantity=Decimal(rng.choice(("0", "0", "2"))),
        min_notional=Decimal(rng.choice(("0", "5", "400"))),
    )
    return Case(from_candles(rows, "ABC/USDT", instrument), Decisions(enter, leave), random_terms(rng))


def random_candles(rng: random.Random, count: int) -> Candles:
    """Return a walk around 100 with jumps, holes and candles that do not move."""
    spread = rng.choice((0.0005, 0.004, 0.02))
    minute, price = 0, 100.0
    lines = []
    for _ in range(count):
        minute += 1 if rng.random() < 0.98 else rng.randint(2, 90)
        jump = _drawn(rng, 5 * spread) if rng.random() < 0.05 else 0.0
        open_ = max(0.01, round(price * (1 + jump), 2))
        close = open_ if rng.random() < 0.1 else max(0.01, round(open_ * math.exp(_drawn(rng, spread)), 2))
        high, low = max(open_, close), min(open_, close)
        if rng.random() < 0.8:
            high = round(high * (1 + abs(_drawn(rng, spread))), 2)
            low = max(0.01, min(low, round(low * (1 - abs(_drawn(rng, spread))), 2)))
        lines.append((START + minute * MINUTE, open_, max(high, open_, close), low, close, 1.0))
        price = close
    time, *values = zip(*lines, strict=True)
    return Candles("1m", np.array(time, np.int64), *(np.array(column) for column in values))


def _drawn(rng: random.Random, deviation: float) -> float:
    """Return a normal number; hypothesis draws them from all there are."""
    return max(-6 * deviation, min(6 * deviation, rng.gauss(0, deviation)))


def random_terms(rng: random.Random) -> Terms:
    """Return terms in which everything there is occurs."""

    def some(chance: float, *choices: str) -> Decimal | None:
        return Decimal(rng.choice(choices)) if rng.random() < chance else None

    how: dict[str, Any] = {
        "stop_loss": some(0.5, "0.001", "0.01", "0.05"),
        "take_profit": some(0.5, "0.002", "0.01", "0.06"),
        "trailing_stop": some(0.4, "0.002", "0.01", "0.05"),
        "atr_stop": some(0.3, "0.5", "2", "300"),
        "atr_period": rng.choice((1, 3, 14)),
        "break_even": some(0.3, "0.001", "0.01"),
        "time_stop": rng.choice((None, None, 1, 2, 7, 40)),
        "maker_fee": Decimal(rng.choice(("0", "0.0002", "0.001"))),
        "taker_fee": Decimal(rng.choice(("0", "0.001"))),
        "slippage": Decimal(rng.choice(("0", "0.0005", "0.004"))),
        "capital": Decimal(rng.choice(("20", "1000", "123456.78"))),
    }
    stops = how["stop_loss"] or how["trailing_stop"] or how["atr_stop"]
    sizing = "risk_per_trade" if stops and rng.random() < 0.4 else "fraction"
    return Terms(**how, **{sizing: Decimal(rng.choice(("0.004", "0.05", "0.5", "1")))})


def terms_of(name: str) -> Terms:
    """Return the terms of one of :data:`BOTS`."""
    how = BOTS[name].items()
    return Terms(**{key: Decimal(value) if isinstance(value, str) else value for key, value in how})


def _number(value: Decimal | None) -> float | None:
    return None if value is None else float(value)
