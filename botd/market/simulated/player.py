"""The player of a simulated market: takes moments from a candle source and hands them to the manager in time.

Market time runs ``speed`` times as fast as wall time from when it began to play: the time the daemon was
down, paused or stalled is not caught up. Speed 0 is as fast as the bots can follow. A hole in the data is
skipped at once at any speed. It neither builds candles nor stores the cursor (the ``settle`` hook does).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from botd.domain.candle import interval_ms
from botd.domain.clock import MarketClock
from botd.market.feed import CandleSource, Moment
from botd.market.manager import MarketManager

PLAYING = "playing"
PAUSED = "paused"
ENDED = "ended"

_BREATH_S = 0.005
"""Work between two yields to the loop."""

_NAP_S = 0.2
"""The longest sleep at once, so that a pause is noticed."""

_LATE_S = 1.0
"""Further behind than this, the market goes on from now instead of rushing after."""


class Player:
    """See the module. :meth:`run` belongs into a task of its own and returns when the data end.

    ``cursor_ms`` is the time of the last moment whose effects are kept; None begins at the beginning.
    ``on_state`` is told playing, paused and ended when it changes; ended after the last moment's effects.
    ``brake`` is asked after each moment, outside of the market's lock, and awaited where it says so.
    """

    def __init__(
        self,
        *,
        source: CandleSource,
        manager: MarketManager,
        clock: MarketClock,
        speed: float,
        playing: bool,
        cursor_ms: int | None,
        on_state: Callable[[str], None],
        brake: Callable[[], Awaitable[None] | None] | None = None,
    ) -> None:
        self._source = source
        self._manager = manager
        self._clock = clock
        self._speed = speed
        self._on_state = on_state
        self._brake = brake
        self._length = interval_ms(source.interval)
        self._cursor_ms = cursor_ms
        self._breath = 0.0
        self._began = (0.0, 0)
        """(monotonic seconds, market milliseconds) that pacing counts from."""
        source.seek(cursor_ms)
        self._next: Moment | None = source.next()
        self._state = ENDED if self._next is None else PLAYING if playing else PAUSED
        self._changed = asyncio.Event()
        self._rebase()

    @property
    def state(self) -> str:
        """playing, paused or ended."""
        return self._state

    @property
    def cursor_ms(self) -> int | None:
        """Time of the last moment delivered, None before the first."""
        return self._cursor_ms

    def play(self) -> None:
        """Go on; nothing changes when it plays already or has ended."""
        if self._state == PAUSED:
            self._rebase()
            self._turn(PLAYING)

    def pause(self) -> None:
        """Stand still after the moment under way; nothing changes when it stands or has ended."""
        if self._state == PLAYING:
            self._turn(PAUSED)

    def status(self) -> dict[str, Any]:
        """Return state, source, speed, time, cursor_ms, interval, symbols, gaps and candles so far."""
        cursor = self._cursor_ms
        gaps = self._source.statistics()["gaps"]
        return {
            "state": self._state,
            "source": self._source.name,
            "speed": self._speed,
            "time": self._clock.now_ms(),
            "cursor_ms": cursor,
            "interval": self._source.interval,
            "symbols": list(self._source.symbols),
            "gaps": [] if cursor is None else [gap for gap in gaps if gap["to_ms"] <= cursor],
            "candles": 0 if cursor is None else self._closed_by(cursor),
        }

    async def run(self) -> None:
        """Play until the data end; while paused it waits. Errors of a moment are raised here."""
        self._rebase()
        while self._state != ENDED:
            self._changed.clear()
            if self._state == PAUSED:
                await self._changed.wait()
            elif await self._due():
                await self._deliver()

    async def _deliver(self) -> None:
        moment = self._next
        if moment is not None:
            await self._manager.deliver(moment)
            self._cursor_ms = moment.time_ms
            self._next = self._source.next()
        if self._next is None:
            self._turn(ENDED)
        elif self._brake is not None and (waiting := self._brake()) is not None:
            await waiting

    async def _due(self) -> bool:
        """Wait until the next moment is due; False when it was paused meanwhile."""
        now = self._clock.monotonic()
        if not self._speed or self._next is None:
            return await self._breathe(now)
        time_ms = self._next.time_ms
        began, market_ms = self._began
        if self._cursor_ms is not None and time_ms - self._cursor_ms > self._length:
            # A hole: nobody trades in it, so the market goes on at once behind it.
            began, market_ms = self._began = (now, time_ms)
        due = began + (time_ms - market_ms) / 1000 / self._speed
        if now - due > _LATE_S:
            self._began = (now, time_ms)
        if due - now < 0.001:
            return await self._breathe(now)
        while self._state == PLAYING and self._began[0] == began and (left := due - self._clock.monotonic()) > 0:
            await self._clock.sleep(min(left, _NAP_S))
        self._breath = self._clock.monotonic()
        return self._state == PLAYING and self._began[0] == began

    async def _breathe(self, now: float) -> bool:
        if now - self._breath > _BREATH_S:
            await asyncio.sleep(0)
            self._breath = self._clock.monotonic()
        return self._state == PLAYING

    def _rebase(self) -> None:
        """Count wall time from now; market time from the cursor, or from the first moment, which is due at once."""
        first = self._next.time_ms if self._next else 0
        market_ms = first if self._cursor_ms is None else self._cursor_ms
        self._began = (self._clock.monotonic(), market_ms)

    def _closed_by(self, cursor_ms: int) -> int:
        """Return how many base candles closed at or before ``cursor_ms``."""
        before = cursor_ms - self._length + 1
        return sum(self._source.bar_index(symbol, self._source.interval, before) for symbol in self._source.symbols)

    def _turn(self, state: str) -> None:
        self._state = state
        self._changed.set()
        self._on_state(state)
