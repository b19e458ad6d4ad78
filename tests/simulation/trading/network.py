"""The network of the simulation: requests and the user's events between botd's client and the exchange's door.

Everything takes a little time each way, drawn by the seed. What was sent arrives, whether who sent it lives or not;
what is answered to the dead is lost. A request made while the exchange had said to wait is noted.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import picows

from botd.exchange.binance.dial import ConnectionFailed
from botd.exchange.binance.transport import Carried, NoAnswerError
from tests.fakes.binance.exchange import requests, signatures
from tests.fakes.binance.exchange.calls import Answer, Lost, Outcome
from tests.fakes.binance.exchange.door import Door
from tests.fakes.binance.exchange.orders import Refused
from tests.fakes.binance.exchange.venue import Venue
from tests.simulation.trading.timeline import Timeline, VirtualLoop

URL = "https://simulated"
TIMEOUT_S = 15.0
DURABLE_S = 2.0
"""What was heard is on disk after so long: gathered for a twentieth of a second, then a slow commit."""
_ADDRESS = "here"


class Network:
    """Between all lives of botd and one exchange. ``struck`` is told of each order on its way: a crash may come."""

    def __init__(self, timeline: Timeline, venue: Venue, seed: int) -> None:
        self.timeline = timeline
        self.venue = venue
        self.door = Door(venue)
        self.dice = random.Random(f"network {seed}")
        self.counts: Counter[str] = Counter()
        self.while_banned: list[str] = []
        self.down_until_s = 0.0
        """No connection can be made until then."""
        self.struck: Callable[[str], bool] = lambda when: False
        self._wait_until_s = 0.0
        self._heard_s = 0.0
        self._wires: list[UserWire] = []

    def delay_s(self) -> float:
        return self.dice.uniform(0.001, 0.03)

    def is_down(self) -> bool:
        return self.timeline.now_s < self.down_until_s

    def asked(self, method: str, path: str) -> None:
        """Note a request that leaves."""
        self.counts[f"{method} {path}"] += 1
        if self.timeline.now_s < self._wait_until_s:
            left = self._wait_until_s - self.timeline.now_s
            self.while_banned.append(f"{method} {path} at {self.timeline.now_s:.3f} s, {left:.1f} s too early")

    def heard(self, outcome: Outcome) -> None:
        """Note an answer that arrives: it may tell to wait."""
        if isinstance(outcome, Answer) and outcome.status in (418, 429):
            after = next((text for name, text in outcome.headers.items() if name.lower() == "retry-after"), None)
            if after is not None and b"-1003" in outcome.encoded():
                self._heard_s = self.timeline.now_s
                self._wait_until_s = max(self._wait_until_s, self.timeline.now_s + int(after) - 0.25)

    def lost(self) -> None:
        """A process is gone: what it heard so late that no disk can have it, nobody knows."""
        if self.timeline.now_s - self._heard_s < DURABLE_S:
            self._wait_until_s = 0.0

    def cut_all(self) -> None:
        """End the connections of a process that is gone."""
        for wire in list(self._wires):
            wire.leave()
        self.venue.stream.flush()  # what was held back on them is lost with them

    def opened(self, wire: UserWire) -> None:
        self._wires.append(wire)

    def left(self, wire: UserWire) -> None:
        self._wires = [other for other in self._wires if other is not wire]


class DoorTransport:
    """One life's way to REST (:class:`botd.exchange.binance.transport.Transport`)."""

    def __init__(self, network: Network, loop: VirtualLoop) -> None:
        self._network = network
        self._loop = loop

    async def carry(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Carried:
        """Send a request once and return the whole answer; NoAnswerError where none came."""
        network, timeline = self._network, self._network.timeline
        target = url.removeprefix(URL)
        path = target.partition("?")[0]
        if network.is_down():
            await asyncio.sleep(network.delay_s())
            network.counts["not connected"] += 1
            raise NoAnswerError(f"{path}: no connection", sent=False)
        network.asked(method, path)
        waiting: asyncio.Future[Outcome] = self._loop.create_future()
        if method == "POST" and network.struck("before"):
            self._loop.crash_after(0)
            await waiting

        def arrived() -> None:
            network.door.knock(method, target, headers, body or b"", answered)
            if method == "POST" and network.struck("after") and not self._loop.dead:
                self._loop.crash_after(0)

        def answered(outcome: Outcome) -> None:
            timeline.after(network.delay_s(), lambda: self._deliver(waiting, outcome))

        timeline.after(network.delay_s(), arrived)
        try:
            async with asyncio.timeout(TIMEOUT_S):
                outcome = await waiting
        except TimeoutError:
            raise NoAnswerError(f"{path}: no answer within {TIMEOUT_S:g} s", sent=True) from None
        if isinstance(outcome, Lost):
            raise NoAnswerError(f"{path}: cut", sent=True)
        return outcome.status, {name.title(): text for name, text in outcome.headers.items()}, outcome.encoded()

    def _deliver(self, waiting: asyncio.Future[Outcome], outcome: Outcome) -> None:
        if self._loop.dead:
            return
        if isinstance(outcome, Lost) and not outcome.cut:
            return  # nothing comes: the client gives up by itself
        if not waiting.done():  # what comes to one who has hung up is not heard
            self._network.heard(outcome)
            waiting.set_result(outcome)

    async def close(self) -> None:
        """Nothing is held."""


class Frame:
    """A text frame, as far as a listener looks at one."""

    msg_type = picows.WSMsgType.TEXT
    fin = True

    def __init__(self, payload: bytes) -> None:
        self._payload = payload

    def get_payload_as_bytes(self) -> bytes:
        return self._payload


class UserWire:
    """A connection to the WebSocket API: the client's transport, and the venue's subscriber."""

    def __init__(self, network: Network, loop: VirtualLoop, listener: Any) -> None:
        self._network = network
        self._loop = loop
        self._listener = listener
        self._open = True
        self._frozen = False
        self._last_s = 0.0

    # -- the client's side

    def send(self, kind: Any, data: bytes) -> None:
        request = json.loads(data)
        self._network.timeline.after(self._network.delay_s(), lambda: self._asked(request))

    def send_pong(self, data: bytes) -> None: ...

    def send_close(self, code: Any) -> None:
        self.leave()

    def disconnect(self, graceful: bool = True) -> None:
        self.leave()

    def leave(self) -> None:
        """The connection is gone."""
        self._open = False
        self._network.venue.stream.unsubscribe(self)
        self._network.left(self)

    # -- the venue's side

    def event(self, event: dict[str, Any]) -> None:
        self._say({"subscriptionId": 0, "event": event})

    def cut(self, how: str) -> None:
        if how == "half_open":
            self._frozen = True
            return
        self._network.venue.stream.unsubscribe(self)
        self._later(lambda: self._listener.on_ws_disconnected(self))

    # -- inside

    def _asked(self, request: dict[str, Any]) -> None:
        if not self._open or self._frozen:
            return
        number = request["id"]
        try:
            if request["method"] == "userDataStream.subscribe.signature":
                self._subscribe({name: str(value) for name, value in request["params"].items()})
        except Refused as refused:
            error = {"code": refused.code, "msg": refused.message}
            self._say({"id": number, "status": refused.status, "error": error})
            return
        self._say({"id": number, "status": 200, "result": {}})

    def _subscribe(self, parameters: dict[str, str]) -> None:
        venue = self._network.venue
        key = signatures.key_of(venue.keys, parameters.get("apiKey", ""))
        signatures.check_socket(key, parameters)
        requests.check_time(parameters, venue.server_ms())
        if any(venue.faults.hit(fault) for fault in venue.faults.holding(venue.now(), "stream_refuse")):
            raise Refused(-1000, "An unknown error occurred while processing the request.", 500)
        venue.stream.subscribe(self)

    def _say(self, message: dict[str, Any]) -> None:
        if self._open and not self._frozen:
            frame = Frame(json.dumps(message, separators=(",", ":")).encode())
            self._later(lambda: self._listener.on_ws_frame(self, frame))

    def _later(self, tell: Callable[[], None]) -> None:
        """In the order of a connection: nothing overtakes."""
        self._last_s = max(self._last_s, self._network.timeline.now_s + self._network.delay_s())
        self._network.timeline.at_s(self._last_s, lambda: tell() if self._open and not self._loop.dead else None)


class Dialer:
    """One life's way to the WebSocket API."""

    def __init__(self, network: Network, loop: VirtualLoop) -> None:
        self._network = network
        self._loop = loop

    async def __call__(self, url: str, listener: Any, rules: Any) -> Any:
        await asyncio.sleep(self._network.delay_s())
        if self._network.is_down():
            raise ConnectionFailed("no connection")
        self._network.door.limits.take(_ADDRESS, 2)
        wire = UserWire(self._network, self._loop, listener)
        self._network.opened(wire)
        return wire
