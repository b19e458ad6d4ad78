"""What stops need beside levels: the average true range that they are measured by, and how long a position may last.

The formulas are the domain's, the levels the guard's. An ATR stop is measured by the last candle that closed before
the entry's: for a signal that is the candle of the decision. The range of what is held is kept in the ledger, so that
``set`` after a restart moves no level that it does not name. It decides nothing but that time is up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from botd.domain import rules
from botd.domain.bot_spec import BotSpec
from botd.domain.candle import Candle
from botd.domain.decision import GateCheck
from botd.domain.order import Fill
from botd.strategy.warmup import wilder_warmup

if TYPE_CHECKING:
    from botd.bot.bot import Bot

SPACE = "atr"


class Kept(msgspec.Struct, frozen=True):
    """The range of a holding, known again by the time of its entry."""

    entry_ms: int
    atr: float


def candles_needed(spec: BotSpec) -> int:
    """Return how many candles the ATR stop looks back, so that its range equals that over the whole history."""
    return 0 if spec.atr_stop is None else wilder_warmup(spec.atr_period)


def range_now(bot: Bot, closed_by_ms: int | None = None) -> float:
    """Return the ATR of the last candle (that closed by then); NaN without an ATR stop, or while it is not defined."""
    spec = bot.spec
    if spec.atr_stop is None:
        return rules.NONE
    rows = bot.desk.market.window(*bot.lane, candles_needed(spec) + 1)
    count = len(rows)
    while closed_by_ms is not None and count and int(rows.time[count - 1]) + bot.length_ms > closed_by_ms:
        count -= 1
    if count <= spec.atr_period:
        return rules.NONE
    import talib  # late: half of a start's time, and few bots need it

    begin = max(0, count - candles_needed(spec))
    high, low, close = (column[begin:count] for column in (rows.high, rows.low, rows.close))
    return float(talib.ATR(high, low, close, spec.atr_period)[-1])


def measure(bot: Bot, fill: Fill) -> None:
    """Measure the range at the first fill of a holding."""
    position = bot.book.position
    if bot.spec.atr_stop is not None and position.bought_quantity == fill.quantity and not position.sold_quantity:
        _keep(bot, range_now(bot, fill.time_ms))


def remeasure(bot: Bot, before: BotSpec) -> None:
    """Measure the range of a holding anew where ``set`` brought another ATR stop."""
    spec = bot.spec
    if spec.atr_stop is not None and (bot.book.position.atr is None or spec.atr_period != before.atr_period):
        _keep(bot, range_now(bot))


def restore(bot: Bot, row: str) -> None:
    """Take up what the ledger does not keep with the position."""
    position, spec = bot.book.position, bot.spec
    if not bot.holds:
        return
    position.break_even = None if spec.break_even is None else float(spec.break_even)
    kept = msgspec.json.decode(row, type=Kept) if row else None
    if kept is not None and kept.entry_ms == position.entry_time_ms and spec.atr_stop is not None:
        position.atr = kept.atr


def sell_overdue(bot: Bot, candle: Candle) -> None:
    """Sell what is held for as many candles as it may, unless a sale is under way: at the next open, in any state."""
    limit = bot.spec.time_stop
    if limit is None or not bot.holds or bot.exit.under_way:
        return
    bars = bot.desk.market.bar_index(*bot.lane, candle.open_time) - bot.book.position.entry_bar + 1
    if bars >= limit and bot.sell_all("time_stop", candle.close) is not None:
        detail = f"held for {bars} candles"
        bot.decided("exited", [GateCheck(gate="time_stop", passed=True, value=bars, limit=limit, detail=detail)], {})


def _keep(bot: Bot, atr: float) -> None:
    position = bot.book.position
    position.atr = None if atr != atr else atr
    kept = None if position.atr is None else msgspec.json.encode(Kept(position.entry_time_ms, atr)).decode()
    bot.desk.journal.keyed(SPACE, {str(bot.number): kept})
