"""The rules of fills over arrays, compiled: one bot, one symbol, long only, from the first candle to the last.

The formulas are those of :mod:`botd.domain.rules`, the very functions; here is only what happens in which order.

- A decision is taken at the close of candle *i*; its market order fills at the open of *i+1*. In candle *j*: the
  waiting market order at the open, then the stop, then the target, then (at the close) the signals: ``exit`` while in
  a position, ``enter`` while flat, exit wins. After a stop or target in *j* the signal at the close of *j* counts.
- Stop and target are fixed at entry from the entry's fill price and live from the entry's candle on. The fixed stop is
  the higher of the percentage stop and the ATR stop; the trailing stop is never below it.
- ATR stop: entry - multiple x ATR(period) of the *decision* candle. While that ATR is undefined or zero (1e-9 of the
  close) no entry is made. It is told as ``stop_loss``.
- Break-even: once the highest high from the entry candle to *j-1* reached entry x (1 + trigger), the fixed stop of
  candle *j* is not below the entry's fill price (fees are not in it). Told as ``stop_loss`` too.
- Time stop of N candles: at the close of the N-th candle in the position (the entry's is the first) a market sell is
  decided, so it fills at the open N candles after the entry's: ``bars`` = N. Where the ``exit`` signal is true at
  that close too, it is a ``signal``. A hole in the data counts no candles.
- Risk sizing measures by the nearest of the stops there are: percentage, trailing, multiple x ATR / close.
- ``taker_fee`` on market and stop fills, ``maker_fee`` on targets; slippage on market and stop fills.

It opens nothing, allocates nothing and checks nothing: :mod:`botd.backtest.run` gives it sound arrays.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from botd.backtest.compiler import compiled, part, take
from botd.domain import rules

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
Outcome = tuple[int, int]

take(rules)

SIGNAL, STOP_LOSS, TRAILING_STOP, TAKE_PROFIT, TIME_STOP, END_OF_DATA = range(1, 7)
REASONS = ("", "signal", "stop_loss", "trailing_stop", "take_profit", "time_stop", "end_of_data")
"""Names of the reasons, by number."""


class Numbers(NamedTuple):
    """What the kernel knows of a bot: floats, NaN where there is no such thing.

    ``least`` is the smallest quantity, in steps where there is a step, else in base units. ``time_stop`` is in
    candles.
    """

    capital: float
    fraction: float
    risk: float
    stop_loss: float
    take_profit: float
    trailing: float
    atr_multiple: float
    break_even: float
    time_stop: float
    maker_fee: float
    taker_fee: float
    slippage: float
    step: float
    least: float
    min_notional: float


class Arrays(NamedTuple):
    """Sound candles: float64, of one length, low <= open, close <= high, all above zero."""

    open: Floats
    high: Floats
    low: Floats
    close: Floats


class Room(NamedTuple):
    """Where the kernel writes: a row a trade in the first ten, a row a candle in the last two.

    ``held`` is the cash beside the position, ``cash`` that after the trade. The last two are empty where nobody
    looks at the curve.
    """

    entry_row: Ints
    exit_row: Ints
    quantity: Floats
    entry_price: Floats
    exit_price: Floats
    pnl: Floats
    fees: Floats
    reason: NDArray[np.uint8]
    held: Floats
    cash: Floats
    equity: Floats
    exposure: Floats


def sealed(values: NDArray[Any]) -> NDArray[Any]:
    """Return a contiguous view that cannot be written to: given arrays of one kind, the kernel is compiled once."""
    view = np.ascontiguousarray(values).view()
    view.setflags(write=False)
    return view


def make_room(candles: int, trades: int) -> Room:
    """Return room for so many candles and trades. There are never more trades than candles that say ``enter``."""
    quantity, entry_price, exit_price, pnl, fees, held, cash = (np.empty(trades) for _ in range(7))
    return Room(
        entry_row=np.empty(trades, np.int64),
        exit_row=np.empty(trades, np.int64),
        quantity=quantity,
        entry_price=entry_price,
        exit_price=exit_price,
        pnl=pnl,
        fees=fees,
        reason=np.empty(trades, np.uint8),
        held=held,
        cash=cash,
        equity=np.empty(candles),
        exposure=np.empty(candles),
    )


@compiled
def walk(candles: Arrays, enter: Flags, leave: Flags, atr: Floats, numbers: Numbers, room: Room) -> Outcome:
    """Play the candles; return (trades written, entries skipped as below the minimum notional).

    All arrays are as long as the candles, except ``atr``, which is empty where there is no ATR stop. A position open
    at the end is the last trade, ``end_of_data``: its exit price is the last close, its pnl has no exit fee.
    """
    cash = numbers.capital
    trades = skipped = row = 0
    while True:
        # Flat, up to the next close that says enter.
        first, row = row, _next_entry(row, enter, leave)
        room.equity[first : row + 1] = cash
        room.exposure[first : row + 1] = 0.0
        if row == len(enter):
            return trades, skipped
        range_then = atr[row] if len(atr) else rules.NONE
        quantity = _size(cash, candles.close[row], range_then, numbers)
        row += 1
        if quantity < 0.0:
            skipped += 1
        elif quantity > 0.0 and row < len(enter):
            # In a position, up to the candle that sells; at that one's close the signals count again.
            row, cash = _hold(candles, leave, row, cash, quantity, range_then, trades, numbers, room)
            trades += 1
            if row == len(enter):
                return trades, skipped


@part
def held_until(room: Room, trade: int) -> int:
    """Return the first row at whose close a trade's position is not held any more."""
    return int(room.exit_row[trade]) + int(room.reason[trade] == END_OF_DATA)


@part
def _next_entry(row: int, enter: Flags, leave: Flags) -> int:
    """Return the first row from ``row`` on that says enter and not exit, or the number of rows."""
    entering, leaving = enter[row:], leave[row:]
    for k in range(len(entering)):
        if entering[k] and not leaving[k]:
            return row + k
    return len(enter)


@part
def _hold(
    candles: Arrays,
    leave: Flags,
    first: int,
    cash: float,
    quantity: float,
    atr: float,
    trade: int,
    numbers: Numbers,
    room: Room,
) -> tuple[int, float]:
    """Buy at the open of row ``first`` and hold; return the row that sold (the number of rows: none) and the cash."""
    entry = highest = rules.buy_price(candles.open[first], numbers.slippage)
    cash = _buy(cash, quantity, entry, trade, first, numbers, room)
    fixed = _fixed_stop(entry, atr, numbers)
    target = rules.target_level(entry, numbers.take_profit)
    stop, level = _stops(entry, highest, fixed, numbers)
    rises = not (math.isnan(numbers.trailing) and math.isnan(numbers.break_even))
    end = first + int(numbers.time_stop) if first + numbers.time_stop < len(leave) else len(leave)
    # Slices, counted from zero: compiled code then need not ask at each access whether the index is negative.
    low, high, close, told = candles.low[first:end], candles.high[first:end], candles.close[first:end], leave[first:end]
    equity, exposure = room.equity[first:end], room.exposure[first:end]
    drawn = len(equity) > 0
    for k in range(len(low)):
        # What neither low nor high reaches cannot fill: the open lies between them.
        if low[k] <= level or high[k] >= target:
            reason, price = _reached(candles.open[first + k], high[k], low[k], stop, level, target)
            return first + k, _sell(cash, quantity, price, reason, trade, first + k, numbers, room)
        if rises and high[k] > highest:
            highest = high[k]
            stop, level = _stops(entry, highest, fixed, numbers)
        if drawn:
            value = quantity * close[k]
            exposure[k] = value
            equity[k] = cash + value
        if told[k]:
            end = first + k + 1
            break
    if end == len(leave):
        return end, _leave_open(cash, quantity, candles.close[-1], trade, end - 1, room)
    reason = SIGNAL if leave[end - 1] else TIME_STOP
    return end, _sell(cash, quantity, candles.open[end], reason, trade, end, numbers, room)


@part
def _size(cash: float, price: float, atr: float, numbers: Numbers) -> float:
    """Return the quantity of an entry decided at ``price``; 0 where there is none, -1 where it is too small."""
    if not math.isnan(numbers.atr_multiple) and not rules.measures(atr, price):
        return 0.0
    if math.isnan(numbers.risk):
        wanted = rules.fraction_quantity(cash, numbers.fraction, price, numbers.slippage, numbers.taker_fee)
    else:
        distance = rules.nearer(numbers.stop_loss, numbers.trailing)
        distance = rules.nearer(distance, numbers.atr_multiple * atr / price)
        wanted = rules.risk_quantity(cash, numbers.risk, price, distance)
        most = rules.fraction_quantity(cash, 1.0, price, numbers.slippage, numbers.taker_fee)
        if wanted > most:
            wanted = most
    units = rules.whole_steps(wanted, numbers.step) if numbers.step > 0.0 else wanted
    quantity = units * numbers.step if numbers.step > 0.0 else units
    if units <= 0.0 or units < numbers.least or not quantity * price >= numbers.min_notional:
        return -1.0
    return quantity


@part
def _fixed_stop(entry: float, atr: float, numbers: Numbers) -> float:
    """Return the stop that is fixed at entry; ``atr`` is that of the decision candle."""
    by_atr = rules.atr_stop_level(entry, atr, numbers.atr_multiple)
    return rules.higher(rules.stop_level(entry, numbers.stop_loss), by_atr)


@part
def _stops(entry: float, highest: float, fixed: float, numbers: Numbers) -> tuple[float, float]:
    """Return the fixed stop, lifted to break-even where it is due, and the level that counts: the trail above it."""
    stop = rules.break_even_level(entry, highest, numbers.break_even, fixed)
    return stop, rules.trailing_level(highest, numbers.trailing, stop)


@part
def _reached(open_: float, high: float, low: float, stop: float, level: float, target: float) -> tuple[int, float]:
    """Return the level that sells in a candle that touches one, and at which price: the stop before the target."""
    price = rules.stop_fill(open_, low, level)
    if math.isnan(price):
        return TAKE_PROFIT, rules.target_fill(open_, high, target)
    return (STOP_LOSS if level <= stop else TRAILING_STOP), price


@part
def _buy(cash: float, quantity: float, price: float, trade: int, row: int, numbers: Numbers, room: Room) -> float:
    """Begin the row of a trade; return the cash that is left."""
    fee = rules.fee_amount(price, quantity, numbers.taker_fee)
    room.entry_row[trade], room.quantity[trade] = row, quantity
    room.entry_price[trade], room.fees[trade] = price, fee
    room.held[trade] = left = cash - quantity * price - fee
    return left


@part
def _sell(
    cash: float, quantity: float, price: float, reason: int, trade: int, row: int, numbers: Numbers, room: Room
) -> float:
    """End the row of a trade; return the cash that there is then. Targets do not slip and pay the maker's fee."""
    if reason != TAKE_PROFIT:
        price = rules.sell_price(price, numbers.slippage)
    rate = numbers.maker_fee if reason == TAKE_PROFIT else numbers.taker_fee
    fee = rules.fee_amount(price, quantity, rate)
    room.exit_row[trade], room.exit_price[trade], room.reason[trade] = row, price, reason
    room.fees[trade] += fee
    room.pnl[trade] = quantity * price - quantity * room.entry_price[trade] - room.fees[trade]
    room.cash[trade] = left = cash + quantity * price - fee
    return left


@part
def _leave_open(cash: float, quantity: float, price: float, trade: int, row: int, room: Room) -> float:
    """End the row of a trade that the data ended; return the cash, which does not change."""
    room.exit_row[trade], room.exit_price[trade], room.reason[trade] = row, price, END_OF_DATA
    room.pnl[trade] = quantity * price - quantity * room.entry_price[trade] - room.fees[trade]
    room.cash[trade] = cash
    return cash
