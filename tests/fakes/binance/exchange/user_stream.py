"""The user's events on their way to who subscribed: whole and in order, or as a fault plan has it. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from tests.fakes.binance.exchange.events import terminated
from tests.fakes.binance.exchange.fault_plan import ExchangeFault, ExchangeFaults

Event = dict[str, Any]


class Subscriber(Protocol):
    """Who is told: a WebSocket session, or the seam of a simulation."""

    def event(self, event: Event) -> None: ...

    def cut(self, how: str) -> None:
        """End, as a fault has it: fin, rst, close, half_open."""
        ...


class UserStream:
    """``at(time, action)``: the timetable late events are put on. ``sent`` keeps the truth, before any fault."""

    def __init__(
        self, faults: ExchangeFaults, now: Callable[[], int], at: Callable[[float, Callable[[], None]], object]
    ) -> None:
        self.sent: list[Event] = []
        self.delivered = 0
        self._faults = faults
        self._now = now
        self._at = at
        self._subscribers: list[Subscriber] = []
        self._held: list[list[Any]] = []

    def subscribe(self, subscriber: Subscriber) -> None:
        self._subscribers.append(subscriber)

    def unsubscribe(self, subscriber: Subscriber) -> None:
        self._subscribers = [other for other in self._subscribers if other is not subscriber]

    @property
    def subscribers(self) -> int:
        return len(self._subscribers)

    def publish(self, event: Event) -> None:
        """Send an event as the faults that hold now have it."""
        self.sent.append(event)
        delays = [0]
        for fault in self._faults.events(event, self._now()):
            if fault.kind == "event_missing":
                return
            if fault.kind == "event_late":
                delays = [delay + fault.delay_ms for delay in delays]
            elif fault.kind == "event_duplicated":
                delays = [delay + turn * fault.delay_ms for turn in range(fault.count + 1) for delay in delays]
            else:
                self._held.append([fault.count, event])
                return
        for delay in delays:
            self._send(event, delay)
        self._release()

    def _send(self, event: Event, delay_ms: int) -> None:
        if delay_ms:
            self._at(self._now() + delay_ms, lambda: self._deliver(event))
        else:
            self._deliver(event)

    def _deliver(self, event: Event) -> None:
        self.delivered += 1
        for subscriber in list(self._subscribers):
            subscriber.event(event)

    def _release(self) -> None:
        """Send what has been overtaken often enough."""
        for entry in self._held:
            entry[0] -= 1
        due, self._held = [entry for entry in self._held if entry[0] <= 0], [e for e in self._held if e[0] > 0]
        for entry in due:
            self._deliver(entry[1])

    def flush(self) -> None:
        """Send everything that still waits to be overtaken."""
        due, self._held = self._held, []
        for entry in due:
            self._deliver(entry[1])

    def trouble(self, fault: ExchangeFault) -> None:
        """End connections or subscriptions as a fault has it."""
        for subscriber in list(self._subscribers):
            if fault.kind == "stream_end":
                subscriber.event(terminated(self._now()))
                self.unsubscribe(subscriber)
            else:
                subscriber.cut("half_open" if fault.kind == "stream_half_open" else fault.how or "fin")
