"""The account's own events through Binance's WebSocket API: subscribed with a signature, watched, made anew.

A link is up when the exchange has acknowledged the subscription. It is probed with requests of its own, so that a
half-open one is noticed within seconds; near the end of its life, or when the server announces its shutdown, the
next one is subscribed before it is closed. So events may come twice, and what happened while none was up comes
not at all: whoever listens asks for it after each ``on_up(True)``. Here nothing is remembered and nothing judged.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import msgspec
import picows

from botd.domain.clock import Clock
from botd.domain.errors import BotdError
from botd.exchange.binance import user_events
from botd.exchange.binance.dial import LONGEST_FRAME, ConnectionFailed
from botd.exchange.binance.signing import Signer
from botd.exchange.binance.site import Site
from botd.exchange.binance.stream_rules import Backoff, Chance, StreamRules
from botd.exchange.governor import Lane

PATH = "/ws-api/v3"
PROBE_S = 15.0  # a sign of life is asked for so often
_CONNECT_WEIGHT = 4
"""A connection weighs 2, a subscription 2."""
_LOOK_S = 0.25  # the link is looked at so often

logger = logging.getLogger("botd.exchange")


class _Link(picows.WSListener):
    """One connection: hands out events, answers pings, keeps the replies that somebody waits for."""

    def __init__(self, on_event: Callable[[user_events.Event], None], counts: dict[str, int]) -> None:
        super().__init__()
        self.reason = ""
        """Why it ended; empty while it lives."""
        self.is_leaving = False
        """The server has announced its end."""
        self.heard = 0
        self.transport: picows.WSTransport | None = None
        self._on_event = on_event
        self._counts = counts
        self._parts: list[bytes] = []
        self._waiting: dict[int, asyncio.Future[user_events.Reply]] = {}
        self._changed = asyncio.Event()

    async def ask(self, method: str, params: dict[str, Any], within_s: float) -> user_events.Reply:
        """Send a request and return its answer; ConnectionFailed where there is none."""
        number = max(self._waiting, default=0) + 1
        waiting: asyncio.Future[user_events.Reply] = asyncio.get_running_loop().create_future()
        self._waiting[number] = waiting
        request = {"id": number, "method": method} | ({"params": params} if params else {})
        try:
            if self.transport is None or self.reason:
                raise ConnectionFailed(self.reason or "not connected")
            self.transport.send(picows.WSMsgType.TEXT, msgspec.json.encode(request))
            async with asyncio.timeout(within_s):
                return await waiting
        except TimeoutError:
            raise ConnectionFailed(f"{method} was not answered within {within_s:g} s") from None
        finally:
            self._waiting.pop(number, None)
            waiting.cancel()

    async def changed(self, within_s: float) -> None:
        """Wait until it ends, or the server announces that, at most so long."""
        try:
            async with asyncio.timeout(within_s):
                await self._changed.wait()
        except TimeoutError:
            pass

    def end(self, reason: str) -> None:
        """Nothing more comes through it."""
        if self.reason:
            return
        self.reason = reason
        self._changed.set()
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(ConnectionFailed(reason))
        if self.transport is not None:
            self.transport.disconnect(graceful=False)

    def close(self, reason: str = "closed") -> None:
        """End it in order: the server is told."""
        if self.transport is not None and not self.reason:
            self.transport.send_close(picows.WSCloseCode.OK)
        self.end(reason)

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        self.heard += 1
        kind = frame.msg_type
        if kind == picows.WSMsgType.PING:
            transport.send_pong(frame.get_payload_as_bytes())
        elif kind == picows.WSMsgType.CLOSE:
            self.end(f"closed by the server: {frame.get_close_code():d} {frame.get_close_reason() or ''}".rstrip())
        elif kind != picows.WSMsgType.PONG:
            self._parts.append(frame.get_payload_as_bytes())
            if sum(map(len, self._parts)) > LONGEST_FRAME:
                self.end("a message without end")
            elif frame.fin:
                data, self._parts = b"".join(self._parts), []
                self._take(data)

    def on_ws_disconnected(self, transport: picows.WSTransport) -> None:
        self.end("cut")

    def _take(self, data: bytes) -> None:
        try:
            message = user_events.decode(data)
        except user_events.EventError as error:
            self._counts["garbage"] += 1
            logger.warning("user stream: a frame that is no message: %s", error)
            return
        if isinstance(message, user_events.Reply):
            waiting = self._waiting.get(message.id)
            if waiting is not None and not waiting.done():
                waiting.set_result(message)
        elif isinstance(message, user_events.Ended):
            if message.kind == "serverShutdown":
                self.is_leaving = True
                self._changed.set()
            else:
                self.end("the exchange has terminated the event stream")
        elif message is not None:
            self._counts["events"] += 1
            try:
                self._on_event(message)
            except Exception:  # a listener's mistake is not the stream's end
                logger.exception("user stream: an event of kind %s was not taken", type(message).__name__)


class UserStream:
    """See the module. :meth:`run` for ever; ``on_up`` is told at every (re)subscription and at every loss."""

    def __init__(
        self,
        site: Site,
        signer: Signer,
        *,
        clock: Clock,
        rng: Chance,
        on_event: Callable[[user_events.Event], None],
        on_up: Callable[[bool], None],
        rules: StreamRules | None = None,
        probe_s: float = PROBE_S,
    ) -> None:
        self.is_up = False
        self.trouble = "not connected yet"
        """Why it is down; empty while it is up."""
        self._site = site
        self._signer = signer
        self._clock = clock
        self._on_event = on_event
        self._on_up = on_up
        self._rules = rules or StreamRules()
        self._probe_s = probe_s
        self._backoff = Backoff(self._rules, rng)
        self._counts = dict.fromkeys(("events", "garbage", "subscribed", "lost", "failures"), 0)

    async def run(self) -> None:
        """Keep a subscribed link. Troubles of the network never end it."""
        link: _Link | None = None
        try:
            while True:
                try:
                    following = await self._open()
                except ConnectionFailed as failure:
                    if link is None or link.reason:
                        self._down(str(failure))
                    await self._clock.sleep(self._backoff.pause_s(failure.at_least_s))
                    continue
                if link is not None:
                    link.close("replaced")
                link = following
                self._up()
                await self._watch(link)
                if link.reason:
                    self._down(link.reason)
                    await self._clock.sleep(self._backoff.pause_s())
        finally:
            if link is not None:
                link.close()
            self.is_up = False

    def statistics(self) -> dict[str, Any]:
        return {"up": self.is_up, "trouble": self.trouble, **self._counts}

    async def _open(self) -> _Link:
        """Return a link that carries our events; ConnectionFailed says why there is none."""
        link = _Link(self._on_event, self._counts)
        permit = self._site.governor.permit(_CONNECT_WEIGHT, Lane.RECONCILE, patience_s=self._rules.open_s)
        try:
            async with permit:
                try:
                    link.transport = await self._site.dial_user(PATH, link, self._rules)
                except ConnectionFailed as failure:
                    if failure.status:  # a ban holds for every way to the exchange
                        permit.answered(failure.status, failure.told)
                    raise
                params = self._signer.request({"timestamp": self._site.time.now_ms(), "recvWindow": 5000})
                reply = await link.ask("userDataStream.subscribe.signature", params, self._rules.reply_s)
                permit.answered(reply.status, self._told(reply))
        except ConnectionFailed:
            link.end("not subscribed")
            raise
        except BotdError as refusal:  # the governor's
            raise ConnectionFailed(refusal.message, self._site.governor.blocked_s) from None
        except BaseException:  # cancelled: the socket must not outlive us
            link.end("not subscribed")
            raise
        if reply.status != 200:
            link.close("refused")
            if reply.code == -1021:
                self._site.time.distrust()
            said = f"the subscription is refused: {reply.status}, {reply.code} {reply.message}"[:200]
            raise ConnectionFailed(said, self._site.governor.blocked_s)
        return link

    async def _watch(self, link: _Link) -> None:
        """Return when the link has ended, or when it is time for the next one."""
        born = self._clock.monotonic()
        probed, heard, heard_s = born, -1, born
        while not link.reason and not link.is_leaving:
            now = self._clock.monotonic()
            if link.heard != heard:
                heard, heard_s = link.heard, now
            if now - born >= self._rules.lifetime_s - self._rules.overlap_s:
                return
            if now - born >= self._rules.stable_s:
                self._backoff.succeeded()
            if now - heard_s >= self._rules.silence_s:
                link.end(f"silent for {self._rules.silence_s:g} s")
                return
            if now - probed >= self._probe_s:
                probed = now
                await self._probe(link)
            await link.changed(_LOOK_S)

    async def _probe(self, link: _Link) -> None:
        """Ask for a sign of life; what the exchange answers does not matter."""
        if self._site.governor.blocked_s:
            return  # silence alone must tell
        try:
            async with self._site.governor.permit(1, Lane.RECONCILE, patience_s=self._rules.reply_s) as permit:
                reply = await link.ask("ping", {}, self._rules.reply_s)
                permit.answered(reply.status, self._told(reply))
        except ConnectionFailed as failure:
            link.end(str(failure))
        except BotdError:
            pass  # no budget for it now

    def _told(self, reply: user_events.Reply) -> dict[str, str]:
        """Return what an answer asks for, as REST's headers would."""
        left_ms = reply.retry_at_ms - self._site.time.now_ms()
        return {"Retry-After": f"{left_ms / 1000:.3f}"} if reply.retry_at_ms and left_ms > 0 else {}

    def _up(self) -> None:
        self._counts["subscribed"] += 1
        logger.info("user stream: subscribed")
        self.is_up, self.trouble = True, ""
        self._on_up(True)

    def _down(self, reason: str) -> None:
        was_up, self.is_up, self.trouble = self.is_up, False, reason
        self._counts["lost" if was_up else "failures"] += 1
        log = logger.warning if was_up or self._counts["failures"] == 1 else logger.debug
        log("user stream: %s", reason)
        if was_up:
            self._on_up(False)
