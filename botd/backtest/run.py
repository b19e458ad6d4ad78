"""One backtest: the signals over the whole history, the kernel over the signals, the figures of what came of it.

    history = from_store(store, "BTC/USDT", "1m")           # or from_file, from_candles
    result = backtest(history, "rsi", strategy, Terms(stop_loss=Decimal("0.02")), clock)
    result.row()                                            # the keys of `botctl backtest`
    result.trade_list()                                     # and of its --trades

It prints and writes nothing, and never gives figures of candles or signals that are not what they should be.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from functools import cache, lru_cache
from typing import Any

import numpy as np
import talib
from numpy.typing import NDArray

from botd.backtest.compiler import keep_memory, loading
from botd.backtest.history import History
from botd.backtest.kernel import END_OF_DATA, REASONS, Arrays, Numbers, Outcome, Room, make_room, sealed, walk
from botd.backtest.sums import Sums, curve_sums, sum_up, trade_sums
from botd.backtest.terms import Terms
from botd.domain.candle import interval_ms
from botd.domain.candles import Candles
from botd.domain.clock import Clock, rfc3339
from botd.domain.errors import InvalidError
from botd.domain.instrument import Instrument
from botd.domain.order import Fill
from botd.domain.position import Trade
from botd.report.statistics import Account, buy_and_hold_pct, figures
from botd.strategy.base import SignalStrategy
from botd.strategy.faults import raised
from botd.strategy.inputs import signals_of
from botd.strategy.warmup import warmup_of

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

_NO_ATR = np.empty(0)
_NO_ATR.setflags(write=False)


@dataclass(frozen=True, slots=True)
class Decisions:
    """What a strategy says at every candle that is traded on. ``notes`` are lines for people."""

    enter: Flags
    exit: Flags
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tape:
    """The candles that are traded on, made once for all that is played on them."""

    time: Ints
    arrays: Arrays
    interval: str
    instrument: Instrument

    @property
    def elapsed_ms(self) -> int:
        """From the first to the last open time."""
        return int(self.time[-1] - self.time[0])


@dataclass(frozen=True, slots=True)
class Result:
    """A backtest that was played. ``time``, ``equity`` and ``exposure`` have a row a candle traded on.

    ``statistics`` has the keys of a ``stats`` row except ``name``. The arrays of trades are in ``room``: its first
    ``count`` rows, of which the last may be a position still open (``end_of_data``). ``fills`` are the event engine's.
    """

    name: str
    history: History
    terms: Terms
    room: Room
    count: int
    statistics: dict[str, Any]
    seconds: float
    notes: tuple[str, ...]
    fills: tuple[Fill, ...] = ()

    @property
    def time(self) -> Ints:
        """Open times."""
        return self.history.candles.time[self.history.begin :]

    @property
    def equity(self) -> Floats:
        return self.room.equity

    @property
    def exposure(self) -> Floats:
        return self.room.exposure

    def row(self) -> dict[str, Any]:
        """Return the keys of ``botctl backtest``."""
        candles, begin = self.history.candles, self.history.begin
        return {
            "name": self.name,
            **self.statistics,
            "candles": len(self.time),
            "first": rfc3339(int(self.time[0])),
            "last": rfc3339(int(self.time[-1])),
            "seconds": self.seconds,
            "candles_per_s": len(self.time) / self.seconds if self.seconds > 0 else None,
            "buy_and_hold_pct": buy_and_hold_pct(float(candles.open[begin]), float(candles.close[-1])),
        }

    def trades(self) -> list[Trade]:
        """Return the round trips as exact values; one still open is the last, its exit the last close."""
        room, time, step = self.room, self.time, self.history.instrument.step
        pnl, worth = room.pnl[: self.count], room.quantity[: self.count] * room.entry_price[: self.count]
        return [
            Trade(
                bot=0,
                symbol=self.history.symbol,
                quantity=_on_grid(float(room.quantity[k]), step),
                entry_time_ms=int(time[room.entry_row[k]]),
                exit_time_ms=int(time[room.exit_row[k]]),
                entry_price=_exact(room.entry_price[k]),
                exit_price=_exact(room.exit_price[k]),
                pnl=_exact(pnl[k]),
                return_pct=float(pnl[k] / worth[k] * 100),
                fees=_exact(room.fees[k]),
                exit_reason=REASONS[room.reason[k]],
                bars=int(room.exit_row[k] - room.entry_row[k]),
            )
            for k in range(self.count)
        ]

    def trade_list(self) -> list[dict[str, Any]]:
        """Return the rows of ``trade_list``; a position still open has no exit time, its exit price is the last
        close."""
        return [
            {
                "bot": self.name,
                "symbol": trade.symbol,
                "side": trade.side,
                "quantity": f"{trade.quantity:f}",
                "entry_time": rfc3339(trade.entry_time_ms),
                "exit_time": None if trade.exit_reason == REASONS[END_OF_DATA] else rfc3339(trade.exit_time_ms),
                "entry_price": f"{trade.entry_price:f}",
                "exit_price": f"{trade.exit_price:f}",
                "pnl": f"{trade.pnl:f}",
                "return_pct": trade.return_pct,
                "fees": f"{trade.fees:f}",
                "exit_reason": trade.exit_reason,
                "bars": trade.bars,
            }
            for trade in self.trades()
        ]


def backtest(history: History, name: str, strategy: SignalStrategy, terms: Terms, clock: Clock) -> Result:
    """Play ``strategy`` (named ``name`` in rows and errors) over ``history``.

    Raises InvalidError for a strategy that fails or that does not give signals, and where too few candles gave none.
    ``seconds`` is what signals, kernel and figures took together, with the kernel loaded.
    """
    load_kernel()
    began = clock.monotonic()
    decisions = decide(history, name, strategy)
    atr = average_ranges(history, terms)
    room = make_room(len(decisions.enter), int(np.count_nonzero(decisions.enter)) + 1)
    count, statistics = play(tape_of(history), decisions, atr, terms, room)
    notes = (*history.notes, *decisions.notes)
    return Result(name, history, terms, room, count, statistics, clock.monotonic() - began, notes)


@cache
def load_kernel() -> None:
    """Load the compiled code (or compile it, where it is not kept yet) by playing two candles."""
    keep_memory()
    ones = np.ones(2)
    rows = Candles("1m", np.array([60_000, 120_000]), ones, ones, ones, ones, ones)
    instrument = Instrument(symbol="A/B", base="A", quote="B", tick=Decimal(1), step=Decimal(1))
    nothing = sealed(np.zeros(2, np.bool_))
    tape = tape_of(History(rows, instrument))
    with loading():
        play(tape, Decisions(nothing, nothing), _NO_ATR, Terms(), make_room(2, 1))


def decide(history: History, name: str, strategy: SignalStrategy) -> Decisions:
    """Return the signals over the whole history, of the candles that are traded on."""
    candles = history.seen_by(name, strategy)
    try:
        signals = signals_of(strategy, candles)
    except Exception as error:  # a user's code may raise anything
        raise InvalidError(f"strategy {name}: {raised(error)}") from None
    for side, flags in (("enter", signals.enter), ("exit", signals.exit)):
        kind, shape = getattr(flags, "dtype", type(flags).__name__), getattr(flags, "shape", ())
        if kind != np.bool_ or shape != history.candles.time.shape:
            raise InvalidError(
                f"strategy {name}: {side} must be an array of {len(history.candles)} booleans, not {kind} {shape}"
            )
    enter, leave = signals.enter[history.begin :], signals.exit[history.begin :]
    notes = warm_notes(history, name, warmup_of(name, strategy), enter, leave) + input_notes(candles, history.begin)
    return Decisions(sealed(enter), sealed(leave), notes)


def tape_of(history: History) -> Tape:
    """Return the candles that are traded on as the kernel takes them."""
    rows, begin = history.candles, history.begin
    time, *prices = (sealed(column[begin:]) for column in (rows.time, rows.open, rows.high, rows.low, rows.close))
    return Tape(time, Arrays(*prices), rows.interval, history.instrument)


def average_ranges(history: History, terms: Terms, atr: Callable[..., Floats] = talib.ATR) -> Floats:
    """Return ATR (by ``atr``) of every candle that is traded on; an empty array where there is no ATR stop."""
    if terms.atr_stop is None:
        return _NO_ATR
    rows = history.candles
    return sealed(atr(rows.high, rows.low, rows.close, terms.atr_period)[history.begin :])


def play(tape: Tape, decisions: Decisions, atr: Floats, terms: Terms, room: Room) -> tuple[int, dict[str, Any]]:
    """Play the candles into ``room``; return how many trades there are, and the keys of ``stats`` except ``name``."""
    count, skipped = trade(tape, decisions, atr, terms, room)
    sums = sum_up(tape.time, tape.arrays.close, float(terms.capital), room, count, skipped)
    return count, made_of(sums, tape, terms)


def made_of(sums: Sums, tape: Tape, terms: Terms) -> dict[str, Any]:
    """Return the keys of ``stats`` except ``name``."""
    account = Account(
        capital=terms.capital,
        realized_pnl=_exact(sums.realized),
        unrealized_pnl=_exact(sums.unrealized),
        equity=_exact(sums.last_equity),
        fees=_exact(sums.fees),
        traded=_exact(sums.traded),
        skipped_min_notional=int(sums.skipped),
    )
    return figures(trade_sums(sums), curve_sums(sums, tape.elapsed_ms), account, tape.interval)


def trade(tape: Tape, decisions: Decisions, atr: Floats, terms: Terms, room: Room) -> Outcome:
    """Let the kernel trade the candles into ``room``; return (trades, entries skipped as too small)."""
    numbers = numbers_of(terms, tape.instrument)
    return walk(tape.arrays, decisions.enter, decisions.exit, atr, numbers, room)


def warm_notes(history: History, name: str, warmup: int, enter: Flags, leave: Flags) -> tuple[str, ...]:
    """Tell, or refuse, where there are fewer candles than the warm-up."""
    there = len(history.candles)
    if there >= warmup:
        return ()
    fact = f"{there} candles are fewer than the {warmup} that {name} warms up on"
    if not enter.any() and not leave.any():
        lane = f"{history.symbol} {history.candles.interval}"
        raise InvalidError(
            f"{lane}: {fact}, and they gave no signal", "load more candles, or choose a smaller interval"
        )
    return (f"{fact}: its first signals depend on where the data begin",)


def input_notes(candles: Candles, begin: int, said: str = "signal") -> tuple[str, ...]:
    """Tell, or refuse, where candles that a strategy reads besides are not there; nothing where it reads none.

    ``said`` is what it gives: a signal, a decision.
    """
    notes = []
    for one in (candles.inputs or {}).values():
        words, fresh, before = one.words, one.fresh[begin:], int(one.fresh[begin:].argmax())
        if not one.fresh.any():
            since = rfc3339(int(candles.time[0]))[:10]
            remedy = f"botctl data download --symbol {one.symbol} --interval {one.interval} --from {since}"
            raise InvalidError(f"{words}: no candle is there when the strategy asks for one", remedy)
        without = len(fresh) - int(np.count_nonzero(fresh))
        if before * interval_ms(candles.interval) <= interval_ms(one.interval):
            without -= before  # the first one had not closed yet: nothing is missing
        if without:
            notes.append(f"no {said}s at {without} candles: {words} has no candle for them")
        early = int(one.latest[begin + before]) + 1
        if fresh.any() and early < one.needs:
            fact = f"{words}: the first {said} sees {early} of the {one.needs} candles that the strategy wants"
            notes.append(f"{fact}: it depends on where the data begin")
    return tuple(notes)


@lru_cache(maxsize=4096)
def numbers_of(terms: Terms, instrument: Instrument) -> Numbers:
    """Return what the kernel knows: NaN for what is not there."""
    step = float(instrument.step)
    least = instrument.min_quantity
    if instrument.step:
        least = (instrument.min_quantity / instrument.step).to_integral_value(ROUND_CEILING)
    return Numbers(
        capital=float(terms.capital),
        fraction=1.0 if terms.fraction is None else float(terms.fraction),
        risk=_number(terms.risk_per_trade),
        stop_loss=_number(terms.stop_loss),
        take_profit=_number(terms.take_profit),
        trailing=_number(terms.trailing_stop),
        atr_multiple=_number(terms.atr_stop),
        break_even=_number(terms.break_even),
        time_stop=_number(terms.time_stop),
        maker_fee=float(terms.maker_fee),
        taker_fee=float(terms.taker_fee),
        slippage=float(terms.slippage),
        step=step,
        least=float(least),
        min_notional=float(instrument.min_notional),
    )


def _number(value: Decimal | int | None) -> float:
    return math.nan if value is None else float(value)


def _exact(value: float) -> Decimal:
    return Decimal(repr(float(value)))


def _on_grid(quantity: float, step: Decimal) -> Decimal:
    return round(quantity / float(step)) * step if step else _exact(quantity)
