"""A bot's seat in the event engine: when it must be told of a candle, what it says there, and what became of it.

A signal strategy is asked once, over the whole history: ``strategy.check`` refuses those to which that makes a
difference. Its production mind finds the answer in the shared evaluation, as it would in the daemon. An event strategy
is told of every candle; what it reads besides is looked up in arrays of the whole history, cut at what has closed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from botd.backtest.engine_market import Track
from botd.backtest.history import History
from botd.backtest.kernel import END_OF_DATA, REASONS, Room, make_room
from botd.backtest.run import Result, input_notes, warm_notes
from botd.backtest.scan import next_touch
from botd.backtest.terms import Terms
from botd.bot.bot import Bot
from botd.bot.evaluation import Evaluation
from botd.bot.lifecycle import TRADING
from botd.domain.candle import Candle
from botd.domain.errors import InvalidError
from botd.domain.order import Fill
from botd.domain.position import Trade
from botd.market.feed import Lane
from botd.report.statistics import Account, Curve, statistics
from botd.strategy.base import Signals, SignalStrategy
from botd.strategy.examination import asked
from botd.strategy.warmup import warmup_of

Rows = NDArray[np.int64]


Limits = dict[str, int]


class Answers:
    """What a signal strategy says of every candle."""

    def __init__(self, history: History, name: str, strategy: SignalStrategy) -> None:
        candles = history.seen_by(name, strategy)
        self.signals: Signals = asked(name, strategy, candles)
        enter, leave = self.signals.enter, self.signals.exit
        self.enter_rows: Rows = np.flatnonzero(enter & ~leave)
        self.exit_rows: Rows = np.flatnonzero(leave)
        begin = history.begin
        warm = warm_notes(history, name, warmup_of(name, strategy), enter[begin:], leave[begin:])
        self.notes = warm + input_notes(candles, begin)

    def tell(self, row: int, evaluation: Evaluation, candle: Candle) -> None:
        """Let the evaluation have what is said at ``row``."""
        signals = self.signals
        evaluation.enter, evaluation.exit = bool(signals.enter[row]), bool(signals.exit[row])
        evaluation.notes = {name: _value(values, row) for name, values in signals.notes.items()}
        evaluation.candle_time = candle.open_time


class Seat:
    """One bot on its track. ``every``: it must be told of every candle."""

    def __init__(
        self,
        bot: Bot,
        track: Track,
        answers: Answers | None,
        evaluation: Evaluation | None,
        every: bool,
        reaches: Callable[[Lane, float, float], bool],
        notes: tuple[str, ...] = (),
    ) -> None:
        """``reaches`` says whether prices from low to high can do anything to an open order of a lane."""
        self.bot = bot
        self.track = track
        self._answers = answers
        self._evaluation = evaluation
        self._every = every or answers is None
        self._reaches = reaches
        self._notes = answers.notes if answers is not None else notes
        self.trades: list[Trade] = []
        self.turns: list[tuple[int, float, float]] = []
        """(row, cash and holding after it) of every fill."""
        self.fills: list[Fill] = []
        self._heard = 0
        """Of how many of them the strategy has been told."""
        self.traded = Decimal(0)
        self.limits: Limits = {}
        """What the risk gate did to its orders, and how often."""

    def acts_on_open(self) -> bool:
        """Tell whether the next open can do something: a fill, a level that it passes, a hook that waits for it."""
        bot = self.bot
        if self._answers is not None:
            return bot.holds or bool(bot.orders())
        if len(self.turns) > self._heard or self.track.row >= self.track.count:
            return True
        price = float(self.track.rows.open[self.track.row])
        if bot.holds and (price <= _level(bot.guard.stop()) or price >= _level(bot.book.position.target)):
            return True
        return self._reaches(self.track.key, price, price)

    def next_row(self, first: int) -> int:
        """Return the first row from ``first`` on in which a signal, a level, an order or the time can do anything."""
        answers, bot = self._answers, self.bot
        if self._every or answers is None or bot.orders():
            return first
        if not bot.holds:
            return _next(answers.enter_rows, first, self.track.count)
        position, end = bot.book.position, _next(answers.exit_rows, first, self.track.count)
        if bot.spec.time_stop is not None:
            end = min(end, max(first, position.entry_bar + bot.spec.time_stop - 1))
        stop = bot.guard.stop()
        rises = position.trailing is not None or position.break_even is not None
        highest = position.highest if rises else None
        if stop is None and position.target is None and highest is None:
            return end
        rows = self.track.rows
        return int(next_touch(rows.low, rows.high, first, end, _level(stop), _level(position.target), _level(highest)))

    def on_closed(self, row: int, candle: Candle) -> None:
        """Tell the bot; a strategy that failed ends the run."""
        if self._answers is not None and self._evaluation is not None:
            self._answers.tell(row, self._evaluation, candle)
        self._heard = len(self.turns)
        self.bot.on_closed(candle)
        self._check()

    def on_open(self, open_time: int, price: float) -> None:
        """Tell the bot."""
        self._heard = len(self.turns)
        self.bot.on_open(open_time, price)
        self._check()

    def _check(self) -> None:
        bot = self.bot
        if bot.state not in TRADING:
            raise InvalidError(f"strategy {bot.spec.strategy}: {bot.record.reason}")

    # -- afterwards

    def result(self, history: History, terms: Terms, seconds: float) -> Result:
        """Return what became of it, in the shape of the kernel's."""
        equity, exposure = self._curve(history)
        room = self._room(history, equity, exposure)
        book, candles = self.bot.book, history.candles
        last = Decimal(repr(float(candles.close[-1])))
        account = Account(
            capital=book.capital,
            realized_pnl=book.realized_pnl,
            unrealized_pnl=book.unrealized_pnl(last),
            equity=book.equity(last),
            fees=book.fees,
            traded=self.traded,
            skipped_min_notional=self.bot.skipped_min_notional,
        )
        curve = Curve(candles.time[history.begin :], equity, exposure)
        told = statistics(curve, self.trades, account, candles.interval)
        spec, did = self.bot.spec, ", ".join(f"{what} {count:,}" for what, count in sorted(self.limits.items()))
        limited = (f"{spec.symbol} {spec.strategy}: orders that a limit denied or cut: {did}",) if did else ()
        notes = (*history.notes, *self._notes, *limited)
        return Result(self.bot.name, history, terms, room, len(room.entry_row), told, seconds, notes, tuple(self.fills))

    def _curve(self, history: History) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return equity and exposure at every close: cash and holding change with fills only."""
        begin, count = history.begin, len(history.candles)
        rows = np.array([begin, *(row for row, _, _ in self.turns), count], np.int64)
        lengths = np.diff(rows)
        capital = float(self.bot.book.capital)
        cash = np.repeat(np.array([capital, *(cash for _, cash, _ in self.turns)]), lengths)
        held = np.repeat(np.array([0.0, *(held for _, _, held in self.turns)]), lengths)
        exposure = held * history.candles.close[begin:]
        return cash + exposure, exposure

    def _room(self, history: History, equity: NDArray[np.float64], exposure: NDArray[np.float64]) -> Room:
        trades = list(self.trades)
        if self.bot.holds:
            trades.append(self._open_trade(history))
        room = make_room(0, len(trades))._replace(equity=equity, exposure=exposure)
        time = history.candles.time[history.begin :]
        for k, trade in enumerate(trades):
            room.entry_row[k] = np.searchsorted(time, trade.entry_time_ms)
            room.exit_row[k] = np.searchsorted(time, trade.exit_time_ms)
            room.quantity[k], room.pnl[k], room.fees[k] = float(trade.quantity), float(trade.pnl), float(trade.fees)
            room.entry_price[k], room.exit_price[k] = float(trade.entry_price), float(trade.exit_price)
            room.reason[k] = REASONS.index(trade.exit_reason)
        return room

    def _open_trade(self, history: History) -> Trade:
        """Return the position that the data ended: valued at the last close, without an exit's fee."""
        position, candles = self.bot.book.position, history.candles
        price = Decimal(repr(float(candles.close[-1])))
        entry = position.entry_price or price
        pnl = position.realized_pnl + position.quantity * price - position.cost
        return Trade(
            bot=position.bot,
            symbol=position.symbol,
            quantity=position.quantity,
            entry_time_ms=position.entry_time_ms,
            exit_time_ms=int(candles.time[-1]),
            entry_price=entry,
            exit_price=price,
            pnl=pnl,
            return_pct=float(pnl / position.cost * 100),
            fees=position.fees,
            exit_reason=REASONS[END_OF_DATA],
            bars=len(candles) - 1 - position.entry_bar,
        )


def _next(rows: Rows, first: int, end: int) -> int:
    """Return the first of sorted ``rows`` that is not before ``first``, ``end`` where there is none."""
    at = int(rows.searchsorted(first))
    return int(rows[at]) if at < len(rows) else end


def _level(value: float | None) -> float:
    return math.nan if value is None else value


def _value(values: Any, row: int) -> float | None:
    number = float(values[row]) if hasattr(values, "__len__") else float(values)
    return number if number == number else None
