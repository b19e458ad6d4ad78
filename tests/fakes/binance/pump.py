"""The front's timetable: streams that are subscribed to, a capture's tape, and whatever else is due at a time.

One timer of the clock, one heap; everything due is done in the order of its time. It does not know what is sent.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterator

from tests.fakes.binance.clock import FrontClock, Handle
from tests.fakes.binance.market import Market, StreamEvent

Sink = Callable[[str, StreamEvent], None]


class _Source:
    """A stream that is going, with the event that comes next."""

    __slots__ = ("event", "events", "going", "stream")

    def __init__(self, stream: str, events: Iterator[StreamEvent], event: StreamEvent) -> None:
        self.stream = stream
        self.events = events
        self.event = event
        self.going = True


class Pump:
    """Hands events to the sink when their time has come. :meth:`open` and :meth:`shut` are counted by the hub."""

    def __init__(self, clock: FrontClock, market: Market, sink: Sink) -> None:
        self._clock = clock
        self._market = market
        self._sink = sink
        self._heap: list[tuple[float, int, _Source | Callable[[], None]]] = []
        self._count = itertools.count()
        self._sources: dict[str, _Source] = {}
        self._timer: Handle | None = None
        self._due: float = 0.0
        self.events = 0
        self.late_most_ms = 0.0

    def at(self, time_ms: float, action: Callable[[], None]) -> None:
        """Do something at a time of the clock."""
        heapq.heappush(self._heap, (time_ms, next(self._count), action))
        self._arm()

    def open(self, stream: str) -> None:
        """Begin with a stream: its events after now. Nothing for a stream the market does not have."""
        events = self._market.stream(stream, self._clock.now_ms())
        first = next(events, None) if events is not None else None
        if events is not None and first is not None:
            source = self._sources[stream] = _Source(stream, events, first)
            self._push(source)
            self._arm()

    def shut(self, stream: str) -> None:
        source = self._sources.pop(stream, None)
        if source is not None:
            source.going = False

    def play(self) -> None:
        """Begin with the market's tape, if it has one."""
        tape = self._market.tape(self._clock.now_ms())
        if tape is not None:
            self._roll(tape)

    def stop(self) -> None:
        self._heap.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _roll(self, tape: Iterator[tuple[str, StreamEvent]]) -> None:
        following = next(tape, None)
        if following is not None:
            stream, event = following

            def play() -> None:
                self._sink(stream, event)
                self.events += 1
                self._roll(tape)

            self.at(event.time_ms, play)

    def _push(self, source: _Source) -> None:
        heapq.heappush(self._heap, (source.event.time_ms, next(self._count), source))

    def _arm(self) -> None:
        if not self._heap:
            return
        due = self._heap[0][0]
        if self._timer is not None:
            if self._due <= due:
                return
            self._timer.cancel()
        self._due = due
        self._timer = self._clock.call_at(due, self._run)

    def _run(self) -> None:
        # While it runs the timer is set, so that actions do not arm it.
        now = self._clock.now_ms()
        self._due = float("-inf")
        heap, late = self._heap, 0.0
        try:
            while heap and heap[0][0] <= now:
                due, _, item = heapq.heappop(heap)
                late = max(late, now - due)
                if isinstance(item, _Source):
                    self._play(item)
                else:
                    item()
        finally:
            self.late_most_ms = max(self.late_most_ms, late)
            self._timer = None
            self._arm()

    def _play(self, source: _Source) -> None:
        if source.going:
            self._sink(source.stream, source.event)
            self.events += 1
            following = next(source.events, None)
            if following is not None:
                source.event = following
                self._push(source)
