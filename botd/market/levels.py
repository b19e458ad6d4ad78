"""The price-level index: whose stop or target did the market reach?

Levels are kept sorted per lane, so a candle or a tick costs what it touches, not what is armed. The index
says only that a level was reached and at what price it triggers; what to do about it is the owner's
business (the position's guard), and so is disarming.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from dataclasses import dataclass
from math import inf, isnan
from typing import Any

from botd.market.feed import Lane, LevelListener

STOP = "stop"
TARGET = "target"
TICK_LANE = "tick"
"""The interval under which levels are armed on tick feeds."""


@dataclass(slots=True)
class _Armed:
    owner: int
    listener: LevelListener
    stop: float
    target: float


class _LaneLevels:
    """The levels of one lane: two sorted lists of (level, owner)."""

    __slots__ = ("owners", "stops", "targets")

    def __init__(self) -> None:
        self.owners: dict[int, _Armed] = {}
        self.stops: list[tuple[float, int]] = []
        self.targets: list[tuple[float, int]] = []

    def add(self, armed: _Armed) -> None:
        self.owners[armed.owner] = armed
        if armed.stop > -inf:
            insort(self.stops, (armed.stop, armed.owner))
        if armed.target < inf:
            insort(self.targets, (armed.target, armed.owner))

    def within(self, high: float, low: float) -> bool:
        """Tell whether the nearest of the levels is reached: mostly none is."""
        stops, targets = self.stops, self.targets
        return bool(stops and stops[-1][0] >= low) or bool(targets and targets[0][0] <= high)

    def remove(self, owner: int) -> None:
        armed = self.owners.pop(owner, None)
        if armed is None:
            return
        if armed.stop > -inf:
            del self.stops[bisect_left(self.stops, (armed.stop, owner))]
        if armed.target < inf:
            del self.targets[bisect_left(self.targets, (armed.target, owner))]


class LevelIndex:
    """Stops (reached from above) and targets (reached from below) of long positions, per lane.

    In one event all stops fire before any target, each by rising owner number. Callbacks may arm and
    disarm anything: whoever was disarmed or moved out of reach meanwhile does not fire, whoever is newly
    armed waits for the next event, and an owner whose stop fired does not fire its target as well.
    """

    def __init__(self) -> None:
        self._lanes: dict[Lane, _LaneLevels] = {}
        self._ticks: dict[str, _LaneLevels] = {}
        """Those of them that are tick lanes, by symbol."""
        self._fired = 0

    def arm(self, lane: Lane, owner: int, listener: LevelListener, stop: float | None, target: float | None) -> None:
        """Set the levels of ``owner`` in ``lane``, in place of those it had; None or NaN is no level."""
        levels = self._lanes.get(lane)
        if levels is None:
            levels = self._lanes[lane] = _LaneLevels()
            if lane[1] == TICK_LANE:
                self._ticks[lane[0]] = levels
        levels.remove(owner)
        levels.add(
            _Armed(
                owner,
                listener,
                -inf if stop is None or isnan(stop) else stop,
                inf if target is None or isnan(target) else target,
            )
        )

    def disarm(self, lane: Lane, owner: int) -> None:
        """Take the levels of ``owner`` away; nothing happens where there are none."""
        levels = self._lanes.get(lane)
        if levels is None:
            return
        levels.remove(owner)
        if not levels.owners:
            del self._lanes[lane]
            if lane[1] == TICK_LANE:
                del self._ticks[lane[0]]

    def on_open(self, lane: Lane, price: float) -> None:
        """A candle opened: stops that the open jumped over trigger at the open.

        Targets wait for the close, also those: a candle that reaches the stop as well counts as stopped.
        """
        levels = self._lanes.get(lane)
        if levels is not None:
            self._fire(levels, price, -inf, price)

    def on_closed(self, lane: Lane, open_: float, high: float, low: float) -> None:
        """A candle closed: levels within its range trigger at the level, at the open where that was beyond."""
        levels = self._lanes.get(lane)
        if levels is not None:
            self._fire(levels, open_, high, low)

    def on_tick(self, symbol: str, price: float) -> None:
        """The price to sell at moved: levels of the symbol's tick lane trigger at it."""
        levels = self._ticks.get(symbol)
        if levels is not None and levels.within(price, price):
            self._fire(levels, price, price, price)

    def statistics(self) -> dict[str, Any]:
        """Return how many lanes and owners are armed, and how many levels fired."""
        return {
            "lanes": len(self._lanes),
            "armed": sum(len(levels.owners) for levels in self._lanes.values()),
            "fired": self._fired,
        }

    def _fire(self, levels: _LaneLevels, first: float, high: float, low: float) -> None:
        """Fire the stops above ``low`` and the targets below ``high``; what ``first`` is beyond triggers there."""
        stops = levels.stops[bisect_left(levels.stops, (low,)) :]
        targets = levels.targets[: bisect_right(levels.targets, (high, inf))]
        if not stops and not targets:
            return
        # The records, not the numbers: an owner armed anew from within a callback waits for the next event.
        stopped = [levels.owners[owner] for _, owner in sorted(stops, key=_by_owner)]
        reached = [levels.owners[owner] for _, owner in sorted(targets, key=_by_owner)]
        done = set()
        for armed in stopped:
            if levels.owners.get(armed.owner) is armed:
                done.add(armed.owner)
                self._fired += 1
                armed.listener.on_level(STOP, min(armed.stop, first))
        for armed in reached:
            if levels.owners.get(armed.owner) is armed and armed.owner not in done:
                self._fired += 1
                armed.listener.on_level(TARGET, max(armed.target, first))


def _by_owner(entry: tuple[float, int]) -> int:
    return entry[1]
