"""What the exchange says over the WebSocket API holds for REST too; and cancels of orders of before the restart."""

from __future__ import annotations

import asyncio
import json
import random
import time
from typing import Any

import pytest
from aiohttp import web

from botd.domain.clock import WallClock
from botd.exchange.binance.signing import make_signer
from botd.exchange.binance.site import Site
from botd.exchange.binance.user_stream import UserStream
from tests.fakes.binance.exchange import DEFAULT_KEY, named
from tests.fakes.binance.exchange.ws_api import Session
from tests.fakes.live_account import account, play, venue


def test_a_ban_told_to_a_subscription_is_kept_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def banned(self: Session, text: str) -> None:
        now = int(time.time() * 1000)
        error = {
            "code": -1003,
            "msg": "Way too much request weight used; IP banned.",
            "data": {"retryAfter": now + 600_000},
        }
        self.say({"id": json.loads(text)["id"], "status": 418, "error": error})

    async def scene() -> None:
        async with venue() as front, account(front) as live:
            monkeypatch.setattr(Session, "_asked", banned)
            front.exchange.inject(named("stream_cut", times=1))
            await live.until(lambda: live.site.governor.blocked_s)
            assert 590 < live.site.governor.blocked_s < 605

    play(scene)


@pytest.mark.parametrize(("status", "least"), [(418, 599), (429, 599), (403, 599)])
def test_a_ban_told_to_a_handshake_is_kept(status: int, least: float) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=status, headers={"Retry-After": "600"})

    async def scene() -> None:
        app = web.Application()
        app.router.add_route("*", "/{any:.*}", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        server = web.TCPSite(runner, "127.0.0.1", 0)
        await server.start()
        host, port = runner.addresses[0]
        clock = WallClock()
        site = Site(clock, rest=f"http://{host}:{port}", ws_api=f"ws://{host}:{port}")
        stream = UserStream(
            site, make_signer(DEFAULT_KEY.key, DEFAULT_KEY.secret), clock=clock, rng=random.Random(1),
            on_event=lambda event: None, on_up=lambda up: None,
        )  # fmt: skip
        running = asyncio.create_task(stream.run())
        try:
            async with asyncio.timeout(10):
                while not site.governor.blocked_s:
                    await asyncio.sleep(0.01)
            assert least < site.governor.blocked_s < 605 and str(status) in site.governor.why
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await site.close()
            await runner.cleanup()

    asyncio.run(scene())


def test_an_order_that_a_question_found_working_can_be_cancelled() -> None:
    async def scene() -> None:
        async with venue() as front, account(front) as live:
            mine = live.submit(kind="limit", price="50000")
            await live.settled(mine)
            async with account(front) as again:
                again.exchange.cancel(mine)
                await again.until(lambda: again.doubts)
                found: Any = await again.exchange.find_order("BTC/USDT", mine)
                assert found.status.is_open
                again.exchange.cancel(mine)
                await again.until(lambda: not front.exchange.books.open_orders())

    play(scene)
