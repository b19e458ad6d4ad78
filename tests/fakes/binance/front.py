"""The front itself: one server for REST and streams, and the faults of its connections.

It composes: market -> pump -> frame faults -> hub -> connections, and REST beside them.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import ssl
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

from tests.fakes.binance.candle_market import CandleMarket
from tests.fakes.binance.clock import FrontClock, ManualClock, MarketTimers, RunningClock, Timers, WallTimers
from tests.fakes.binance.connection import GOING_AWAY, Connection
from tests.fakes.binance.fault_frames import FrameFaults
from tests.fakes.binance.faults import Fault, FaultPlan
from tests.fakes.binance.hub import Hub
from tests.fakes.binance.limits import Limits
from tests.fakes.binance.market import Market, Quote, StreamEvent
from tests.fakes.binance.payloads import book_payload
from tests.fakes.binance.pump import Pump
from tests.fakes.binance.record import ConnectionSeen, Record
from tests.fakes.binance.rest import Desk, PublicDesk
from tests.fakes.binance.rest_gate import RestGate
from tests.fakes.binance.rules import Rules
from tests.fakes.binance.steering import Steering
from tests.fakes.binance.tables import units

if TYPE_CHECKING:
    from tests.fakes.binance.exchange.wire import Exchange

_DRAIN_ABOVE = 256 * 1024
_PONG_TURNS = 50


class BinanceFront:
    """A Binance spot exchange on loopback.

    ``market``: candles, a capture, or a number of synthetic symbols; ``clock``: real, accelerated, manual;
    ``faults``: a plan or its entries; ``rules``: the wire's numbers; ``desks``: further REST endpoints;
    ``release_at``: a held clock is let go when so many streams are subscribed to. ``tls`` makes it https and wss.
    ``exchange``: an account with orders (:mod:`tests.fakes.binance.exchange`).
    """

    host = "127.0.0.1"

    def __init__(
        self,
        market: Market | Sequence[str] | int | None = None,
        *,
        clock: FrontClock | None = None,
        faults: FaultPlan | Iterable[Fault] = (),
        rules: Rules | None = None,
        desks: Sequence[Desk] = (),
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        release_at: int | None = None,
        exchange: Exchange | None = None,
    ) -> None:
        given = market is None or isinstance(market, int | Sequence)
        self.market: Market = CandleMarket(market) if given else market  # type: ignore[arg-type, assignment]
        self.clock: FrontClock = clock or RunningClock()
        self.plan = faults if isinstance(faults, FaultPlan) else FaultPlan(faults)
        self.rules = rules or Rules()
        self.port = port
        self.record = Record()
        self.start_ms = 0
        self._tls = tls
        self._release_at = release_at
        self.timers: Timers = MarketTimers(self.clock) if self.rules.timers == "market" else WallTimers()
        self.pump = Pump(self.clock, self.market, self._deliver)
        self.hub = Hub(self._opened, self.pump.shut, stamped=self.rules.stamped)
        self._frames = FrameFaults(self.plan, self.clock, self.pump.at, self.hub.publish, self.hub.publish_bare)
        self.limits = Limits(self.rules, self.clock, self.timers)
        self.rest = RestGate(
            [PublicDesk(self.market), *desks], self.clock, self.limits, self.plan, self.record, self.rules.weight
        )
        self.steering = Steering(self)
        self.connections: dict[int, Connection] = {}
        self._numbers = itertools.count(1)
        self._runner: web.AppRunner | None = None
        self._listening: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.exchange = exchange
        if exchange is not None:
            exchange.attach(self)

    # -- life ----------------------------------------------------------------------------------------------------

    async def start(self) -> BinanceFront:
        """Listen, and begin with the plan of faults; also again after :meth:`stop`, on the same port, the plan anew."""
        app = web.Application(client_max_size=4 * 1024 * 1024)
        app.router.add_get("/ws", self._stream)
        app.router.add_get("/ws/{streams:.*}", self._stream)
        app.router.add_get("/stream", self._stream)
        app.router.add_get("/stream/{rest:.*}", self._stream)
        if self.exchange is not None:
            app.router.add_get("/ws-api/v3", self.exchange.socket)
        app.router.add_route("*", "/_front/{what}", self.steering.answer)
        app.router.add_route("*", "/{path:.*}", self.rest.answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.05)
        await self._runner.setup()
        await self._listen()
        self.start_ms, self.plan.active = self.clock.now_ms(), []
        if isinstance(self.clock, ManualClock):
            self.clock.between = self.drained
        for fault in self.plan.faults:
            if fault.kind == "zero_trades":
                self._silence(fault, self.start_ms + fault.at_ms)
        self.plan.schedule(self.start_ms, self.pump.at, self._begin)
        if self.exchange is not None:
            self.exchange.begin()
        self.pump.play()
        return self

    async def stop(self) -> None:
        """End everything: connections are cut, nobody listens."""
        self.pump.stop()
        if self._listening is not None:
            self._listening.close()
        for connection in list(self.connections.values()):
            connection.cut("stop")
        for task in list(self._tasks):
            task.cancel()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _listen(self) -> None:
        assert self._runner is not None and self._runner.server is not None
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((self.host, self.port))
        self.port = listener.getsockname()[1]
        loop = asyncio.get_running_loop()
        self._listening = await loop.create_server(self._runner.server, sock=listener, ssl=self._tls, backlog=512)

    @property
    def rest_url(self) -> str:
        return f"{'https' if self._tls else 'http'}://{self.host}:{self.port}"

    @property
    def ws_url(self) -> str:
        """The base of the streams: ``/ws`` and ``/stream`` come after it."""
        return f"{'wss' if self._tls else 'ws'}://{self.host}:{self.port}"

    # -- what a test does ----------------------------------------------------------------------------------------

    def inject(self, fault: Fault) -> Fault:
        """Let something go wrong now, for its ``for_ms``; :meth:`mend` ends it earlier."""
        self.plan.put(fault, self.clock.now_ms(), self._now_or_at, self._begin)
        if fault.kind == "zero_trades":
            self._silence(fault, self.clock.now_ms())
        return fault

    def mend(self, fault: Fault) -> None:
        """End a fault that was injected or planned."""
        self.plan.end(fault)
        if fault.kind == "refuse":
            self._spawn(self._listen_again())

    async def advance(self, milliseconds: float) -> None:
        """Move a manual clock on; everything due by then has been sent when this returns."""
        assert isinstance(self.clock, ManualClock), "only a ManualClock can be advanced"
        await self.clock.advance(milliseconds)

    def publish(self, stream: str, event: dict[str, Any] | bytes) -> None:
        """Send an event of the test's own to all who have the stream; no fault touches it."""
        self.hub.publish(stream, event if isinstance(event, bytes) else msgspec.json.encode(event))

    def quote(self, symbol: str, bid: str, ask: str, quantity: str = "1") -> None:
        """Hold a symbol's quote, in REST and on its stream, and send it at once."""
        listing = self.market.listings[symbol]
        prices, amount = (units(bid, listing.price_decimals), units(ask, listing.price_decimals)), units(
            quantity, listing.quantity_decimals
        )  # fmt: skip
        held = Quote(prices[0], amount, prices[1], amount)
        self.market.pin(symbol, held)
        stream, now = f"{symbol.lower()}@bookTicker", self.clock.now_ms()
        self._frames.deliver(stream, StreamEvent(now, book_payload(listing, held, now)))

    async def drained(self) -> None:
        """Wait until the clients have taken what was sent, where much of it waits.

        With the market's timers also for their pongs, a moment of real time: virtual minutes are shorter than any way.
        """
        while any(connection.waiting() > _DRAIN_ABOVE for connection in self.connections.values()):
            await asyncio.sleep(0.001)
        if self.rules.timers == "market":
            for _ in range(_PONG_TURNS):
                if not any(connection.owes_pong() for connection in self.connections.values()):
                    break
                await asyncio.sleep(0.001)

    # -- streams -------------------------------------------------------------------------------------------------

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        combined = request.path.startswith("/stream")
        named = request.query.get("streams", "") if combined else request.match_info.get("streams", "")

        def made(seen: ConnectionSeen) -> Connection:
            return Connection(seen, combined, rules=self.rules, clock=self.clock, timers=self.timers, hub=self.hub)

        return await self.accept(request, made, [name for name in named.split("/") if name])

    async def accept(
        self, request: web.Request, make: Callable[[ConnectionSeen], Connection], streams: Sequence[str] = ()
    ) -> web.StreamResponse:
        """Serve a WebSocket, from its handshake to its end."""
        half_open = self.plan.holds("half_open")
        if half_open is not None:  # accepted by the kernel, and never answered
            await asyncio.Event().wait()
        if not self.limits.connect(request.remote or ""):
            self.record.refused_connections += 1
            return web.json_response({"code": -1003, "msg": "Too many connections."}, status=429)
        response = web.WebSocketResponse(autoping=False, compress=False)
        if not response.can_prepare(request):
            return web.Response(status=400, text="WebSocket upgrade expected")
        await response.prepare(request)
        seen = ConnectionSeen(number=next(self._numbers), path=request.path_qs, opened_ms=self.clock.now_ms())
        seen.address = request.remote or ""
        self.record.connections.append(seen)
        connection = self.connections[seen.number] = make(seen)
        assert isinstance(request.transport, asyncio.Transport)
        try:
            await connection.run(response, request.transport, list(streams))
        finally:
            connection.end("client")
            del self.connections[seen.number]
        return response

    def _opened(self, stream: str) -> None:
        self.pump.open(stream)
        if self._release_at is not None and len(self.hub.streams()) >= self._release_at:
            self._release_at = None
            if isinstance(self.clock, RunningClock):
                self.clock.release()

    def _deliver(self, stream: str, event: StreamEvent) -> None:
        if event.closes is not None:
            self.record.closing(event.time_ms, stream, event.closes)
        self._frames.deliver(stream, event)

    # -- faults of connections and of the market -----------------------------------------------------------------

    def _now_or_at(self, time_ms: float, action: Any) -> None:
        if time_ms <= self.clock.now_ms():
            action()
        else:
            self.pump.at(time_ms, action)

    def _begin(self, fault: Fault) -> None:
        if fault.kind == "cut":
            for connection in self._concerned(fault):
                self._cut(connection, fault.how)
            self.plan.end(fault)
        elif fault.kind == "half_open":
            for connection in self._concerned(fault):
                connection.freeze()
            if fault.for_ms is None:
                self.plan.end(fault)
        elif fault.kind == "refuse":
            assert self._listening is not None
            self._listening.close()
            if fault.for_ms is not None:
                self.pump.at(self.clock.now_ms() + fault.for_ms, lambda: self._spawn(self._listen_again()))
        elif fault.kind == "shutdown":
            self._shut_down(fault)

    def _concerned(self, fault: Fault) -> list[Connection]:
        """Return the connections that have a stream the fault is about; all, where it is about all."""
        everyone = list(self.connections.values())
        if fault.symbol == "*" and fault.stream == "*":
            return everyone
        return [each for each in everyone if any(fault.concerns(stream, None) for stream in each.listed())]

    def _cut(self, connection: Connection, how: str) -> None:
        if how == "close":
            connection.close("cut", GOING_AWAY)
        else:
            connection.cut("cut", how or "fin")

    def _shut_down(self, fault: Fault) -> None:
        """Announce it, and end the connections of now; those made meanwhile are with another server."""
        now, concerned = self.clock.now_ms(), self._concerned(fault)
        for connection in concerned:
            connection.announce(b'{"e":"serverShutdown","E":%d}' % now)

        def end() -> None:
            for connection in concerned:
                connection.close("shutdown", GOING_AWAY)
            self.plan.end(fault)

        self.pump.at(now + fault.delay_ms, end)

    async def _listen_again(self) -> None:
        if self._listening is not None and not self._listening.is_serving():
            await self._listen()

    def _silence(self, fault: Fault, start_ms: int) -> None:
        if fault.for_ms is None:
            raise ValueError("zero_trades needs for_ms")
        for symbol in self.market.listings:
            if fault.concerns_request("", symbol):
                self.market.silence(symbol, start_ms, start_ms + fault.for_ms)

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work, name="front fault")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
