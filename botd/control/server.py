"""The control server: from a frame that came in to the one answer that goes out.

Each request passes, in this order: rate of its peer, frames and JSON, version, command, role, request id seen
before, arguments, a free place. Then its handler runs as a task of its own; the deadline bounds the reply,
never the work. Nothing that arrives here may end the daemon, and no reply carries a traceback.

It knows no bot: what a command does is the handlers' business.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec
import zmq

from botd.control import protocol
from botd.control.access import Caller
from botd.control.arguments import decode
from botd.control.call import Call, Waiter
from botd.control.door import Door
from botd.control.handler import Handler
from botd.control.limits import Limits, PeerRates
from botd.control.memory import Key, Remembered, RequestMemory
from botd.control.protocol import ProtocolError, Request
from botd.control.reader import BATCH
from botd.control.refusals import Refusals, Tell
from botd.control.replies import encode_refusal, encode_result
from botd.control.requests import known_only
from botd.domain.clock import Clock, random_token
from botd.domain.errors import BotdError, BusyError, ForbiddenError, UnavailableError
from botd.domain.hints import did_you_mean

logger = logging.getLogger(__name__)

Record = Callable[[str, Caller, str, dict[str, Any], msgspec.Raw], Awaitable[None]]
"""Keep ``(request_id, caller, cmd, args, reply)`` of an operate command; the reply is JSON already."""
Recall = Callable[[str], Awaitable[Sequence[Remembered]]]
"""Return what is kept under a request id from the last 24 hours, of whichever caller."""

WATCH_S = 5.0
LEDGER_PATIENCE_S = 5.0
"""How long an answer waits for its record, and an urgent command for the question whether it was done before."""
FLOOD_PAUSE_S = 0.005
REFERENCE_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"


class ControlServer:
    """Answers the requests of all doors."""

    def __init__(
        self,
        doors: Sequence[Door],
        handlers: Mapping[str, Handler],
        *,
        clock: Clock,
        limits: Limits | None = None,
        memory: RequestMemory | None = None,
        record: Record | None = None,
        recall: Recall | None = None,
        tell_refused: Tell | None = None,
    ) -> None:
        self._doors = list(doors)
        self._handlers = handlers
        self._clock = clock
        self._limits = limits or Limits()
        self._rates = PeerRates(self._limits, clock)
        self._memory = memory or RequestMemory(clock)
        self._record = record
        self._recall = recall
        self._refusals = Refusals(clock, tell_refused)
        self._running: set[Call] = set()
        self._operating: dict[Key, Call] = {}
        self._recording: set[asyncio.Future[None]] = set()
        self._refused_in_batch = 0
        self._watch: asyncio.TimerHandle | None = None
        self._closing = False

    # -- life

    def bind(self) -> None:
        """Open the doors; ConfigError where one cannot be. On the running loop, with the locks held."""
        try:
            for door in self._doors:
                door.bind(self._on_message, self._pause_s)
        except BotdError:
            self._close_doors()
            raise
        self._watch_doors()

    async def close(self, grace_s: float = 2.0) -> None:
        """Take no more requests, wait for those at work, cancel what is left, send the last answers."""
        self._closing = True
        for patience_s in (grace_s, 1.0):
            tasks = [call.task for call in self._running if call.task is not None]
            if tasks:
                await asyncio.wait(tasks, timeout=patience_s)
            for task in tasks:
                task.cancel()
        if self._recording:
            await asyncio.wait(self._recording, timeout=1.0)
        await self._refusals.close()
        self._close_doors()

    def _close_doors(self) -> None:
        self._closing = True
        if self._watch is not None:
            self._watch.cancel()
        for door in self._doors:
            door.close()

    def _watch_doors(self) -> None:
        for door in self._doors:
            door.watch()
        self._watch = asyncio.get_running_loop().call_later(WATCH_S, self._watch_doors)

    def _pause_s(self) -> float:
        """Leave a flood of refused requests alone for a moment: the loop belongs to trading."""
        refused, self._refused_in_batch = self._refused_in_batch, 0
        return FLOOD_PAUSE_S if refused > BATCH // 2 else 0.0

    # -- one message

    def _on_message(self, door: Door, frames: list[zmq.Frame]) -> None:
        routing_id = frames[0].bytes
        try:
            caller = _caller_of(frames[-1])
            self._admit(door, routing_id, caller, frames[1:])
            return
        except (BotdError, ProtocolError) as error:
            self._refused_in_batch += 1
            refusal = error
        except Exception as failure:
            refusal = self._unexpected("a request that could not be read", failure)
        request_id = protocol.request_id_of(frames[-1].buffer[:256].tobytes())
        self._refuse(door, routing_id, request_id, refusal)

    def _admit(self, door: Door, routing_id: bytes, caller: Caller, frames: list[zmq.Frame]) -> None:
        peer = (caller.uid, caller.pid) if caller.pid else (caller.key, routing_id)
        if not self._rates.take(peer, sum(len(frame) for frame in frames)):
            raise BusyError(
                f"more than {self._limits.per_second:g} requests a second from one program", "ask again in a second"
            )
        if len(frames) != protocol.MAX_FRAMES - 1:
            raise ProtocolError("INVALID", f"a request has the frames [{protocol.TAG.decode()}][json]")
        if len(frames[1]) > protocol.MAX_REQUEST_BYTES:
            raise ProtocolError("INVALID", f"{len(frames[1])} bytes are too many, at most {protocol.MAX_REQUEST_BYTES}")
        request = self._read(frames[0].bytes, frames[1].bytes)
        waiter = Waiter(door, routing_id)
        try:
            handler = self._handler(request, caller)
            if handler.kind == "operate" and self._is_repeated(request, caller, waiter):
                return
            args = decode(handler.schema, request.args)
        except (BotdError, ProtocolError) as error:
            self._tell_refused(request, caller, error)
            raise
        self._find_place(handler)
        call = Call(request, caller, handler, args)
        self._start(call)
        self._wait(call, waiter, request.deadline_ms)

    def _read(self, tag: bytes, raw: bytes) -> Request:
        """Return the request, also of another version where the command works across versions."""
        version = protocol.version_of(tag)
        if version == protocol.VERSION:
            return protocol.decode_request(raw)
        if version is None:
            raise ProtocolError("INVALID", f"the first frame must be {protocol.TAG.decode()}")
        try:
            request = protocol.decode_request(raw, lenient=True)
        except ProtocolError:
            request = None
        handler = self._handlers.get(request.cmd) if request is not None else None
        if request is None or handler is None or not handler.cross_version:
            raise _other_version(version)
        if request.cmd == "stop" and request.args.get("all") is not True:
            raise _other_version(version)
        request.args = known_only(handler.schema, request.args)
        return request

    def _handler(self, request: Request, caller: Caller) -> Handler:
        handler = self._handlers.get(request.cmd)
        if handler is None:
            hint = did_you_mean(request.cmd, self._handlers)
            raise ProtocolError("USAGE", f"no command {protocol.shown(request.cmd)}", hint)
        if handler.kind == "operate" and caller.role != "operator":
            raise ForbiddenError(f"{request.cmd}: uid {caller.uid} may look, not operate", "ask the owner of botd")
        return handler

    def _is_repeated(self, request: Request, caller: Caller, waiter: Waiter) -> bool:
        """Answer, or make wait, a request whose id came before."""
        key = (caller.identity, request.id)
        if (call := self._operating.get(key)) is not None:
            call.check_same(request)
            if len(call.waiters) >= self._limits.waiters:
                fact = f"{request.cmd}: too many wait for the answer to request {request.id}"
                raise BusyError(fact, "ask again in a moment")
            self._wait(call, waiter, request.deadline_ms)
            return True
        if (remembered := self._memory.find(key)) is not None:
            remembered.check_same(request.id, request.cmd, request.args)
            self._answer(waiter, remembered.payload())
            return True
        return False

    def _tell_refused(self, request: Request, caller: Caller, error: BotdError | ProtocolError) -> None:
        """Let the audit know of an operator's command that does not even begin."""
        handler = self._handlers.get(request.cmd)
        if handler is not None and handler.kind == "operate":
            self._refusals.add(request, caller, error.code)

    def _find_place(self, handler: Handler) -> None:
        if self._closing:
            raise UnavailableError("botd is stopping", "see: botctl daemon status")
        places = self._limits.in_flight + (self._limits.reserved if handler.cross_version else 0)
        if len(self._running) >= places:
            raise BusyError(f"{len(self._running)} requests are at work", "ask again in a moment")

    # -- one request at work

    def _start(self, call: Call) -> None:
        name = f"control {call.request.cmd} {call.request.id}"
        call.task = asyncio.get_running_loop().create_task(self._work(call), name=name)
        call.task.add_done_callback(lambda task: self._finished(call, task))
        self._running.add(call)
        if call.handler.kind == "operate":
            self._operating[call.key] = call

    def _wait(self, call: Call, waiter: Waiter, deadline_ms: int) -> None:
        call.waiters.append(waiter)
        loop = asyncio.get_running_loop()
        waiter.timer = loop.call_later(deadline_ms / 1000, self._expired, call, waiter, deadline_ms)

    async def _work(self, call: Call) -> bytes:
        """Return the reply, of this run or of the first one."""
        request = call.request
        try:
            if call.handler.kind == "operate" and (first := await self._recalled(call)) is not None:
                return first
        except BotdError as error:
            self._tell_refused(request, call.caller, error)
            return encode_refusal(request.id, error)
        payload = await self._run(call)
        if call.handler.kind == "operate":
            await self._remember(call, payload)
        return payload

    async def _run(self, call: Call) -> bytes:
        request = call.request
        try:
            return encode_result(request.id, await call.handler.fn(call.args, call.caller))
        except BotdError as error:
            return encode_refusal(request.id, error)
        except Exception as failure:
            return encode_refusal(request.id, self._unexpected(f"{request.cmd} {request.id}", failure))

    def _finished(self, call: Call, task: asyncio.Task[bytes]) -> None:
        self._running.discard(call)
        self._operating.pop(call.key, None)
        if task.cancelled():
            fact = f"{call.request.cmd}: botd is stopping, it may be half done"
            error: BotdError = UnavailableError(fact, "look before you repeat it, once botd runs again")
            payload = encode_refusal(call.request.id, error)
        elif (failure := task.exception()) is not None:
            error = self._unexpected(f"{call.request.cmd} {call.request.id}", failure)
            payload = encode_refusal(call.request.id, error)
        else:
            payload = task.result()
        for waiter in call.waiters:
            self._answer(waiter, payload)
        call.waiters.clear()

    def _expired(self, call: Call, waiter: Waiter, deadline_ms: int) -> None:
        call.waiters.remove(waiter)
        error = ProtocolError(
            "TIMEOUT",
            f"{call.request.cmd}: not finished within {deadline_ms / 1000:g} s",
            "the work goes on; the same request id gets its answer",
        )
        self._refuse(waiter.door, waiter.routing_id, call.request.id, error)

    # -- the ledger's memory

    async def _recalled(self, call: Call) -> bytes | None:
        """Return the first answer from before a restart. An urgent command does not wait for a slow ledger."""
        if self._recall is None:
            return None
        request = call.request
        try:
            rows = await asyncio.wait_for(self._recall(request.id), LEDGER_PATIENCE_S)
        except Exception as error:
            logger.warning("%s %s: the ledger does not say whether it was done: %r", request.cmd, request.id, error)
            if call.handler.cross_version:
                return None
            raise UnavailableError(
                f"{request.cmd}: the ledger does not answer, nothing was done", "see: botctl health"
            ) from None
        for row in rows:
            if row.uid == call.caller.uid and self._memory.is_fresh(row):
                row.check_same(request.id, request.cmd, request.args)
                return row.payload()
        return None

    async def _remember(self, call: Call, payload: bytes) -> None:
        request, caller = call.request, call.caller
        remembered = Remembered(caller.uid, request.cmd, request.args, payload, self._clock.wall_ms())
        self._memory.keep(call.key, remembered)
        if self._record is None:
            return
        record = self._record(request.id, caller, request.cmd, request.args, msgspec.Raw(payload))
        recording = asyncio.ensure_future(record)
        self._recording.add(recording)
        recording.add_done_callback(self._recorded)
        await asyncio.wait([recording], timeout=LEDGER_PATIENCE_S)

    def _recorded(self, recording: asyncio.Future[None]) -> None:
        self._recording.discard(recording)
        if not recording.cancelled() and (error := recording.exception()) is not None:
            logger.error("a command was done, and could not be recorded: %r", error)

    # -- answers

    def _answer(self, waiter: Waiter, payload: bytes) -> None:
        if waiter.timer is not None:
            waiter.timer.cancel()
        waiter.door.send(waiter.routing_id, payload)

    def _refuse(self, door: Door, routing_id: bytes, request_id: str | None, error: BotdError | ProtocolError) -> None:
        door.send(routing_id, encode_refusal(request_id, error))

    def _unexpected(self, what: str, failure: BaseException) -> BotdError:
        """Log the failure in full, and return what the caller may know of it."""
        reference = random_token(REFERENCE_ALPHABET, 8)
        logger.error("control: %s failed unexpectedly, reference %s", what, reference, exc_info=failure)
        return BotdError(
            f"something unexpected happened inside botd, reference {reference}", f"its log says what: {reference}"
        )


def _caller_of(frame: zmq.Frame) -> Caller:
    """Return who sent a frame, in the words of the ZAP handler."""
    try:
        return Caller.from_user_id(str(frame.get("User-Id")))
    except (zmq.ZMQError, ValueError, KeyError):
        raise ForbiddenError("this connection was not admitted") from None


def _other_version(version: int) -> ProtocolError:
    return ProtocolError(
        "VERSION",
        f"this botd speaks {protocol.TAG.decode()}, the request botd/{version}",
        f"only {', '.join(protocol.CROSS_VERSION)} work across versions: use the botctl that came with this botd",
    )
