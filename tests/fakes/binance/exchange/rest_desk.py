"""Signed REST before the venue: parameters read off the wire, keys and signatures checked, outcomes made real.

A lost answer is a connection that stays silent until the client leaves, or one that is cut.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

from aiohttp import web

from tests.fakes.binance.exchange import door
from tests.fakes.binance.exchange.api import ENDPOINTS
from tests.fakes.binance.exchange.calls import Answer, Lost, Outcome
from tests.fakes.binance.exchange.orders import Refused
from tests.fakes.binance.rest import Route

if TYPE_CHECKING:
    from tests.fakes.binance.exchange.wire import Exchange

_JSON = "application/json;charset=UTF-8"
_GONE_POLL_S = 0.02


class AccountDesk:
    """The account's endpoints for :class:`tests.fakes.binance.rest_gate.RestGate`."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def routes(self) -> Mapping[tuple[str, str], Route]:
        return {
            place: Route(endpoint.cost, None, serve=self.serve, free=endpoint.free)
            for place, endpoint in ENDPOINTS.items()
            if not (self._exchange.testnet and place[1].startswith("/sapi/"))
        }

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer a request: refused at the door, or as the venue has it."""
        # As it was sent: what is signed is not what a library makes of it.
        query = request.raw_path.partition("?")[2]
        body = (await request.read()).decode("utf-8", "replace")
        key = request.headers.get("X-MBX-APIKEY", "")
        try:
            call = door.read(self._exchange.venue, request.method, request.path, query, body, key)
        except Refused as refused:
            return _response(door.refusal(refused))
        outcome = await self._exchange.outcome(call)
        if isinstance(outcome, Lost):
            return await _lose(request, outcome)
        if door.is_ban(outcome):
            seconds = int(outcome.headers["retry-after"])
            self._exchange.front.limits.sentence(request.remote or "", outcome.status, seconds)
        return _response(outcome)


async def _lose(request: web.Request, lost: Lost) -> web.StreamResponse:
    transport = request.transport
    if lost.cut:
        if transport is not None:
            transport.abort()
    else:
        while request.transport is not None and not request.transport.is_closing():
            await asyncio.sleep(_GONE_POLL_S)
    return web.Response()


def _response(outcome: Outcome) -> web.Response:
    assert isinstance(outcome, Answer)
    headers = {"content-type": _JSON, **outcome.headers}
    return web.Response(body=outcome.encoded(), status=outcome.status, headers=headers)
