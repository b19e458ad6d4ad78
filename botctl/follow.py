"""Following events: subscribe, take the snapshot, go on live; find gaps by number and fill them.

PUB/SUB loses what is sent before a subscription is in place, and everything while the daemon is away, so numbers
are the truth: an event is given once, in order, whichever way it came. Nothing here prints, but what the user must
know (the daemon left, it came back, its ledger is another one) is told through the session.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from typing import Any

from botctl.exit_codes import TIMEOUT, UNAVAILABLE, Fault
from botctl.session import Session
from botd.control.protocol import HEARTBEAT, WELCOME

SILENCE_S = 1.0  # after so long without a message, ask whether the daemon is still the same
RETRY_S = 0.25
PAGE = 500
SIGNS = (WELCOME.encode(), HEARTBEAT.encode())
Event = dict[str, Any]


class Follower:
    """Gives every event once, in order, across gaps and restarts of the daemon."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._socket: Any = None
        self._path = ""
        self._epoch: Any = None
        self._last = 0
        self._until = None if session.timeout_s is None else time.monotonic() + session.timeout_s

    def _left(self) -> float:
        """Return the seconds for which it may go on."""
        return float("inf") if self._until is None else self._until - time.monotonic()

    def follow(self, since_seq: int | None, newest: int) -> Iterator[Event]:
        """Yield events after ``since_seq`` (None: the ``newest`` ones), then all that come, until ``--timeout``."""
        self._subscribe(self._session.call("hello"))
        head = self._session.call("events", {"limit": max(1, newest)})
        self._epoch = head.get("epoch")
        rows = head["rows"]
        self._last = since_seq if since_seq is not None else int(rows[-1]["seq"]) if rows else 0
        if since_seq is None and newest:
            yield from rows
        yield from self._resume()
        while (left := self._left()) > 0:
            if self._socket.poll(min(SILENCE_S, left) * 1000):
                yield from self._live()
            else:
                yield from self._resume()

    def _live(self) -> Iterator[Event]:
        event = _decode(self._socket.recv_multipart())
        if event is None or event.get("epoch") != self._epoch or int(event["seq"]) > self._last + 1:
            yield from self._resume()  # a new connection, another ledger, or something was lost
        elif int(event["seq"]) > self._last:
            self._last += 1
            yield event

    def _resume(self) -> Iterator[Event]:
        """Make sure of the daemon, and yield what was missed."""
        told = False
        missed: list[Event] = []
        while True:
            try:
                hello = self._session.call("hello")
                self._subscribe(hello)
                self._new_epoch(hello.get("epoch"))
                for event in self._missed():
                    missed.append(event)
            except Fault as fault:
                if fault.exit_code not in (UNAVAILABLE, TIMEOUT) or self._left() <= 0:
                    raise
                self._session.client.close()
                if not told:
                    self._session.say("botctl: botd is away; waiting for it")
                    told = True
                time.sleep(RETRY_S)
                continue
            if told:
                self._session.say("botctl: botd is back")
            yield from missed
            return

    def _new_epoch(self, epoch: Any) -> None:
        if epoch == self._epoch or epoch is None:
            return
        head = int(self._session.call("events", {"limit": 1}).get("seq") or 0)
        if head < self._last:
            self._session.say(f"botctl: another ledger (epoch {epoch}): its events are numbered anew")
            self._last = 0
        else:
            self._session.say(f"botctl: botd was restarted (epoch {epoch}); going on after event {self._last}")
        self._epoch = epoch

    def _missed(self) -> Iterator[Event]:
        for event in events_after(self._session, self._last):
            if int(event["seq"]) > self._last:
                self._last = int(event["seq"])
                yield event

    def _subscribe(self, hello: dict[str, Any]) -> None:
        path = str(hello.get("events") or "").removeprefix("ipc://")
        if path == self._path and self._socket is not None:
            return
        import zmq

        if self._socket is not None:
            self._socket.close()
        self._path = path
        self._socket = zmq.Context.instance().socket(zmq.SUB)
        self._socket.set(zmq.LINGER, 0)
        self._socket.set(zmq.RCVHWM, 10_000)
        self._socket.set(zmq.RECONNECT_IVL, 50)
        self._socket.set(zmq.RECONNECT_IVL_MAX, 500)
        self._socket.subscribe(b"")
        self._socket.connect("ipc://" + path)


def events_after(session: Session, seq: int, topics: Sequence[str] = ()) -> Iterator[Event]:
    """Yield the events of the ledger after ``seq``, page by page."""
    while True:
        wire: dict[str, Any] = {"since_seq": seq, "limit": PAGE}
        if topics:
            wire["topics"] = list(topics)
        rows = session.call("events", wire)["rows"]
        yield from rows
        if len(rows) < PAGE:
            return
        seq = int(rows[-1]["seq"])


def _decode(frames: list[bytes]) -> Event | None:
    """Return the event of a message, or None for what says only that something may have been missed."""
    try:
        event = json.loads(frames[-1]) if len(frames) == 2 and frames[0] not in SIGNS else None
    except ValueError:
        return None
    return event if isinstance(event, dict) and isinstance(event.get("seq"), int) else None
