"""The rules of fills as a plain loop over candles: slow, obvious, written from the rules alone.

It imports nothing of botd, so that what botd does can be held against it trade by trade.
"""

from __future__ import annotations

import csv
import gzip
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import talib


@dataclass
class Rows:
    time: list[int]
    open: list[float]
    high: list[float]
    low: list[float]
    close: list[float]


@dataclass
class PlainTrade:
    entry_time: int
    exit_time: int
    quantity: float
    entry_price: float
    exit_price: float
    pnl: float
    exit_reason: str
    bars: int


def read_rows(path: Path) -> Rows:
    with gzip.open(path, "rt") as file:
        rows = list(csv.DictReader(file))
    return Rows(
        [int(row["open_time_ms"]) for row in rows],
        *([float(row[key]) for row in rows] for key in ("open", "high", "low", "close")),
    )


def signals(strategy: str, rows: Rows) -> tuple[list[bool], list[bool]]:
    """Enter and exit of every candle, over the whole history, by TA-Lib's definitions."""
    close = np.array(rows.close)
    tolerance = 1e-9 * close
    with np.errstate(invalid="ignore"):
        if strategy == "rsi":
            rsi = talib.RSI(close, 14)
            enter, leave = rsi < 30 - 1e-7, rsi > 70 + 1e-7
        elif strategy == "macd":
            _, _, histogram = talib.MACD(close, 12, 26, 9)
            enter, leave = histogram > tolerance, histogram < -tolerance
        elif strategy == "mean_reversion":
            _, middle, lower = talib.BBANDS(close, 20, 2, 2)
            enter, leave = close < lower - tolerance, close > middle + tolerance
        elif strategy == "ema_cross":
            difference = talib.EMA(close, 12) - talib.EMA(close, 26)
            enter, leave = difference > tolerance, difference < -tolerance
        elif strategy == "breakout":
            highest = np.concatenate(([np.nan], talib.MAX(np.array(rows.high), 20)[:-1]))
            lowest = np.concatenate(([np.nan], talib.MIN(np.array(rows.low), 10)[:-1]))
            enter, leave = close > highest + tolerance, close < lowest - tolerance
        else:
            raise ValueError(strategy)
    return enter.tolist(), leave.tolist()


@dataclass
class Played:
    """``trades`` with the one still open at the end as the last (``end_of_data``, at the last close)."""

    trades: list[PlainTrade]
    equity: list[float]
    exposure: list[float]
    skipped: int


def play(
    rows: Rows,
    enter: list[bool],
    leave: list[bool],
    *,
    capital: float,
    step: float,
    **how: Any,
) -> list[PlainTrade]:
    """Return the closed round trips of one bot; how it sizes, stops and pays: see :func:`play_all`."""
    trades = play_all(rows, enter, leave, capital=capital, step=step, **how).trades
    return [trade for trade in trades if trade.exit_reason != "end_of_data"]


def play_all(
    rows: Rows,
    enter: list[bool],
    leave: list[bool],
    *,
    capital: float,
    step: float,
    min_notional: float = 5.0,
    min_quantity: float = 0.0,
    fee: float = 0.001,
    maker_fee: float | None = None,
    slippage: float = 0.0,
    stop_loss: float | None = None,
    take_profit: float | None = None,
    trailing: float | None = None,
    atr: list[float] | None = None,
    atr_stop: float | None = None,
    break_even: float | None = None,
    time_stop: int | None = None,
    fraction: float = 1.0,
    risk: float | None = None,
) -> Played:
    """Play one bot; with ``risk`` it is sized by the distance to its nearest stop.

    ``atr`` is each candle's average true range and ``atr_stop`` how many of them below the entry the stop lies;
    ``break_even`` the gain after which the stop is at the entry; ``time_stop`` the candles a position may last.
    """
    cash, quantity = capital, 0.0
    entry = stop = target = highest = invested = 0.0
    entry_index = skipped = 0
    pending = ""
    pending_quantity = pending_atr = 0.0
    trades: list[PlainTrade] = []
    equity: list[float] = []
    exposure: list[float] = []

    def sell(index: int, price: float, reason: str, rate: float = fee) -> None:
        nonlocal cash, quantity
        proceeds = quantity * price * (1 - rate)
        times = rows.time[entry_index], rows.time[index]
        profit = proceeds - invested
        trades.append(PlainTrade(*times, quantity, entry, price, profit, reason, index - entry_index))
        cash += proceeds
        quantity = 0.0

    for i in range(len(rows.time)):
        open_, high, low, close = rows.open[i], rows.high[i], rows.low[i], rows.close[i]
        # 1. the market order decided at the last close fills at this open
        if pending == "buy":
            entry = open_ * (1 + slippage)
            quantity, entry_index, highest = pending_quantity, i, entry
            invested = quantity * entry * (1 + fee)
            cash -= invested
            stops = [entry * (1 - stop_loss)] if stop_loss else []
            stops += [entry - atr_stop * pending_atr] if atr_stop else []
            stop = max(stops, default=math.nan)
            target = entry * (1 + take_profit) if take_profit else math.nan
        elif pending:
            sell(i, open_ * (1 - slippage), pending)
        pending = ""
        # 2. stop, then target
        if quantity:
            level, reason = stop, "stop_loss"
            if break_even and highest >= entry * (1 + break_even) and not level > entry:
                level = entry
            if trailing and not (level >= (1 - trailing) * highest):
                level, reason = (1 - trailing) * highest, "trailing_stop"
            if open_ <= level:
                sell(i, open_ * (1 - slippage), reason)
            elif low <= level:
                sell(i, level * (1 - slippage), reason)
            elif open_ >= target:
                sell(i, open_, "take_profit", fee if maker_fee is None else maker_fee)
            elif high >= target:
                sell(i, target, "take_profit", fee if maker_fee is None else maker_fee)
            highest = max(highest, high)
        # 3. the signals of the close
        if quantity and leave[i]:
            pending = "signal"
        elif quantity and time_stop and i - entry_index == time_stop - 1:
            pending = "time_stop"
        elif not quantity and enter[i] and not leave[i] and (not atr_stop or (atr and atr[i] > 1e-9 * close)):
            wanted = fraction * cash / (close * (1 + slippage) * (1 + fee))
            if risk is not None:
                distances = [level for level in (stop_loss, trailing) if level is not None]
                distances += [atr_stop * atr[i] / close] if atr_stop and atr else []
                most = cash / (close * (1 + slippage) * (1 + fee))
                wanted = min(risk * cash / (close * min(distances)), most)
            pending_quantity = math.floor(wanted / step + 1e-9) * step
            pending_atr = atr[i] if atr else math.nan
            if pending_quantity <= 0 or pending_quantity < min_quantity or pending_quantity * close < min_notional:
                skipped += 1
            else:
                pending = "buy"
        exposure.append(quantity * close)
        equity.append(cash + quantity * close)
    if quantity:
        last = len(rows.time) - 1
        profit = quantity * rows.close[last] - invested
        times, bars = (rows.time[entry_index], rows.time[last]), last - entry_index
        trades.append(PlainTrade(*times, quantity, entry, rows.close[last], profit, "end_of_data", bars))
    return Played(trades, equity, exposure, skipped)
