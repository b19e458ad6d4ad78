"""The guard of a position: its stop, target and trailing level, in every state of the bot until it is flat.

Levels belong to the position, not to the bot: a stopped, paused or failed bot's stop still sells. The
guard arms them in the market's price-level index and asks the bot to sell when one is reached.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal

from botd.domain import rules
from botd.domain.bot_spec import BotSpec
from botd.domain.candle import Candle
from botd.domain.position import Position
from botd.market.feed import Lane
from botd.market.levels import LevelIndex

STOP, TARGET = "stop", "target"


class Guard:
    """Watches one position. ``sell(reason, price)`` is called when a level is reached, ``raised()`` when
    the highest price since the entry rose.

    On candle feeds a trail rises at the close of a candle. On tick feeds it rises with the ticks: the
    highest price is itself armed as a level, so that only ticks above it cost anything.
    """

    def __init__(
        self,
        owner: int,
        lane: Lane,
        levels: LevelIndex,
        *,
        by_ticks: bool,
        sell: Callable[[str, float], None],
        raised: Callable[[], None],
    ) -> None:
        self._owner = owner
        self._lane = lane
        self._levels = levels
        self._by_ticks = by_ticks
        self._sell = sell
        self._raised = raised
        self._position: Position | None = None
        self._inside = False
        """Bought within the candle that closes now: how high it was after that is not known."""
        self._peak = _Peak(self)

    def entered(self, position: Position, spec: BotSpec, entry: float, *, inside: bool = False) -> None:
        """Fix the levels of a position from its entry price (the average, where it was built in parts).

        ``inside``: a limit order filled within the candle that closes now. The stop is live at once; the
        target is not before the next candle, and neither a high before the entry lifts the trail.
        """
        if spec.trailing_stop or spec.break_even:
            position.highest = max(entry, position.highest or entry)
        _fix(position, spec, entry)
        self._inside = inside
        self.watch(position)

    def watch(self, position: Position) -> None:
        """Arm the levels that the position has (after an entry, or after a restart)."""
        self._position = position
        self._arm(position)

    def cleared(self) -> None:
        """The position is flat: nothing to watch."""
        if self._position is not None:
            self._levels.disarm(self._lane, self._owner)
            self._levels.disarm(self._lane, -self._owner)
            self._position = None
        self._inside = False

    def on_closed(self, candle: Candle) -> None:
        """Raise trail and break-even by a closed candle's high (candle feeds)."""
        position, inside = self._position, self._inside
        if position is None or self._by_ticks:
            return
        self._inside = False
        if not inside or position.entry_time_ms != candle.open_time:
            self.on_price(candle.high)
        if inside:
            self._arm(position)

    def on_price(self, price: float) -> None:
        """Raise trail and break-even by a price."""
        position = self._position
        if position is None or position.highest is None or price <= position.highest or not _rises(position):
            return
        position.highest = price
        _lift(position, _paid(position))
        self._arm(position)
        self._raised()

    def on_level(self, kind: str, price: float) -> None:
        """Called by the level index: sell, and say which level it was."""
        self._sell(self._reason(kind), price)

    def stop(self) -> float | None:
        """Return the level that sells on the way down: the trailing one where it is above the fixed."""
        position = self._position
        if position is None:
            return None
        if position.trailing is None or position.highest is None:
            return position.stop
        fixed = rules.NONE if position.stop is None else position.stop
        return rules.trailing_level(position.highest, position.trailing, fixed)

    def _arm(self, position: Position) -> None:
        target = None if self._inside else position.target
        self._levels.arm(self._lane, self._owner, self, self.stop(), target)
        if self._by_ticks and position.highest is not None and _rises(position):
            above = math.nextafter(position.highest, math.inf)
            self._levels.arm(self._lane, -self._owner, self._peak, None, above)

    def _reason(self, kind: str) -> str:
        if kind == TARGET:
            return "take_profit"
        position = self._position
        fixed = position.stop if position else None
        level = self.stop()
        return "stop_loss" if fixed is not None and level is not None and level <= fixed else "trailing_stop"


class _Peak:
    """Listens to the level just above the highest price."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    def on_level(self, kind: str, price: float) -> None:
        self._guard.on_price(price)


def change_levels(position: Position, spec: BotSpec, entry: Decimal) -> None:
    """Recompute the levels of an open position after ``set`` changed the spec; the highest price stays.

    They count from the price paid. ``entry``, the average cost of what is held, may be more than that (a fee
    in the base asset); it counts where part of the position was sold.
    """
    price = _paid(position, entry)
    if (spec.trailing_stop or spec.break_even) and position.highest is None:
        position.highest = price
    _fix(position, spec, price)


def _fix(position: Position, spec: BotSpec, entry: float) -> None:
    """Fix the levels from the entry price, the range (``position.atr``) and the highest price since.

    An ATR stop that lies below zero is none.
    """
    atr = rules.NONE if position.atr is None else position.atr
    by_atr = rules.atr_stop_level(entry, atr, _number(spec.atr_stop))
    stop = rules.higher(rules.stop_level(entry, _number(spec.stop_loss)), by_atr)
    position.stop = stop if stop > 0.0 else None
    position.target = rules.target_level(entry, float(spec.take_profit)) if spec.take_profit else None
    position.trailing = float(spec.trailing_stop) if spec.trailing_stop else None
    position.break_even = float(spec.break_even) if spec.break_even else None
    _lift(position, entry)


def _lift(position: Position, entry: float) -> None:
    """Lift the fixed stop to the entry price, once the highest price says so; it never falls again."""
    if position.break_even is None or position.highest is None:
        return
    stop = rules.NONE if position.stop is None else position.stop
    stop = rules.break_even_level(entry, position.highest, position.break_even, stop)
    position.stop = None if math.isnan(stop) else stop


def _paid(position: Position, entry: Decimal | None = None) -> float:
    """Return the price paid, or the average cost of what is left where a part was sold."""
    entry = position.entry_price if entry is None else entry
    if position.bought_quantity and not position.sold_quantity:
        return float(position.bought_notional / position.bought_quantity)
    return rules.NONE if entry is None else float(entry)


def _rises(position: Position) -> bool:
    """Tell whether a higher price moves a level."""
    return position.trailing is not None or position.break_even is not None


def _number(value: Decimal | None) -> float:
    return rules.NONE if value is None else float(value)
