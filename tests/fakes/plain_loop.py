"""The rules of fills as a plain loop over candles: slow, obvious, written from the rules alone.

It imports nothing of botd, so that what botd does can be held against it trade by trade.
"""

from __future__ import annotations

import csv
import gzip
import math
from dataclasses import dataclass
from pathlib import Path

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


def play(
    rows: Rows,
    enter: list[bool],
    leave: list[bool],
    *,
    capital: float,
    step: float,
    min_notional: float = 5.0,
    fee: float = 0.001,
    slippage: float = 0.0,
    stop_loss: float | None = None,
    take_profit: float | None = None,
    trailing: float | None = None,
    fraction: float = 1.0,
    risk: float | None = None,
) -> list[PlainTrade]:
    """Return the closed round trips of one bot; with ``risk`` it is sized by the distance to its nearer stop."""
    cash, quantity = capital, 0.0
    entry = stop = target = highest = invested = 0.0
    entry_index = 0
    pending = ""
    pending_quantity = 0.0
    trades: list[PlainTrade] = []

    def sell(index: int, price: float, reason: str) -> None:
        nonlocal cash, quantity
        proceeds = quantity * price * (1 - fee)
        trades.append(
            PlainTrade(
                rows.time[entry_index],
                rows.time[index],
                quantity,
                entry,
                price,
                proceeds - invested,
                reason,
                index - entry_index,
            )
        )
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
            stop = entry * (1 - stop_loss) if stop_loss else math.nan
            target = entry * (1 + take_profit) if take_profit else math.nan
        elif pending == "sell":
            sell(i, open_ * (1 - slippage), "signal")
        pending = ""
        # 2. stop, then target
        if quantity:
            level, reason = stop, "stop_loss"
            if trailing and not (stop >= (1 - trailing) * highest):
                level, reason = (1 - trailing) * highest, "trailing_stop"
            if open_ <= level:
                sell(i, open_ * (1 - slippage), reason)
            elif low <= level:
                sell(i, level * (1 - slippage), reason)
            elif open_ >= target:
                sell(i, open_, "take_profit")
            elif high >= target:
                sell(i, target, "take_profit")
            highest = max(highest, high)
        # 3. the signals of the close
        if quantity and leave[i]:
            pending = "sell"
        elif not quantity and enter[i] and not leave[i]:
            wanted = fraction * cash / (close * (1 + slippage) * (1 + fee))
            if risk is not None:
                distance = min(level for level in (stop_loss, trailing) if level is not None)
                wanted = min(risk * cash / (close * distance), cash / (close * (1 + slippage) * (1 + fee)))
            pending_quantity = math.floor(wanted / step + 1e-9) * step
            if pending_quantity * close >= min_notional:
                pending = "buy"
    return trades
