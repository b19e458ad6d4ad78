"""A side door for benches and tests in another process: what was seen, faults, time. No client knows of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from aiohttp import web

from tests.fakes.binance.clock import ManualClock
from tests.fakes.binance.faults import Fault
from tests.fakes.binance.market import INTERVALS
from tests.fakes.binance.payloads import kline_row

if TYPE_CHECKING:
    from tests.fakes.binance.front import BinanceFront


class Steering:
    """``/_front/``: GET record, requests, connections, closings, statistics, truth; POST fault, advance.

    With an exchange: GET books; POST price, fill, deposit (``?symbol=&bid=&ask=``), exchange_fault, exchange_mend.
    """

    def __init__(self, front: BinanceFront) -> None:
        self._front = front

    async def answer(self, request: web.Request) -> web.Response:
        front, what = self._front, request.match_info["what"]
        record = front.record
        if what == "fault":
            front.inject(msgspec.json.decode(await request.read(), type=Fault))
            return _json({"active": front.plan.active})
        if what == "advance":
            assert isinstance(front.clock, ManualClock), "only a ManualClock can be advanced"
            await front.advance(float(request.query["ms"]))
            return _json({"now": front.clock.now_ms()})
        if what == "truth":
            return _json(self._truth(request))
        if front.exchange is not None:
            try:
                return _json(await front.exchange.steer(what, request))
            except KeyError:
                pass
        shown = {
            "record": record.summary(),
            "requests": record.requests,
            "connections": record.connections,
            "closings": record.closings,
            "closed_ns": record.closed_ns,
            "statistics": self.statistics(),
        }
        return _json(shown[what]) if what in shown else web.Response(status=404)

    def statistics(self) -> dict[str, float]:
        """Return what was sent, and how late the latest event was: whether the front itself keeps up."""
        front = self._front
        return {
            "now": front.clock.now_ms(),
            "events": front.pump.events,
            "published": front.hub.published,
            "sent": sum(seen.sent for seen in front.record.connections),
            "late_most_ms": front.pump.late_most_ms,
            "streams": len(front.hub.streams()),
        }

    def _truth(self, request: web.Request) -> list[object]:
        """Return the kline rows that are true now, whatever faults REST has."""
        given, market = request.query, self._front.market
        rows = market.klines(
            given["symbol"], given["interval"], self._front.clock.now_ms(), int(given["startTime"]), limit=100_000
        )
        return [kline_row(market.listings[given["symbol"]], INTERVALS[given["interval"]], bar) for bar in rows]


def _json(data: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(data), content_type="application/json")
