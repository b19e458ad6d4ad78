"""What every REST request passes: faults, weights, bans, the endpoint, headers, the record."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from aiohttp import web

from tests.fakes.binance.clock import FrontClock
from tests.fakes.binance.faults import Fault, FaultPlan
from tests.fakes.binance.limits import Limits, Verdict
from tests.fakes.binance.record import Record, RequestSeen
from tests.fakes.binance.rest import ApiError, Desk, Request, Route

_ALLOWED_METHODS = {"GET", "POST", "PUT", "DELETE"}


class RestGate:
    """Answers the HTTP requests of all desks."""

    def __init__(
        self, desks: Sequence[Desk], clock: FrontClock, limits: Limits, plan: FaultPlan, record: Record, weight: int
    ) -> None:
        self._routes: dict[tuple[str, str], Route] = {}
        self._clock = clock
        self._limits = limits
        self._plan = plan
        self._record = record
        self._weight = weight
        for desk in desks:
            self.add(desk)

    def add(self, desk: Desk) -> None:
        """Open a further desk; its endpoints replace those of the same path."""
        self._routes.update(desk.routes())

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer a request as it is due: after its faults, and within its weights."""
        arrived_ns, parameters = time.monotonic_ns(), dict(request.query)
        if request.can_read_body and request.content_type == "application/x-www-form-urlencoded":
            parameters |= {key: str(value) for key, value in (await request.post()).items()}
        route = self._routes.get((request.method, request.path))
        weight = route.cost(parameters) if route else 1
        address = request.remote or ""
        verdict = self._verdict(address, request.path, parameters, weight)
        seen = RequestSeen(
            time_ms=self._clock.now_ms(), method=request.method, path=request.path, parameters=parameters,
            weight=weight, used=verdict.used, status=verdict.status, banned=verdict.told,
            arrived_ns=arrived_ns,
        )  # fmt: skip
        self._record.request(seen)
        await self._wait(request.path, parameters)
        if route is not None and route.serve is not None and self._reaches(request.path, parameters, verdict):
            response: web.StreamResponse = await route.serve(request)
            if route.free and response.status == 200:
                verdict = verdict._replace(used=self._limits.give_back(address, weight))
        else:
            response = self._respond(request, route, parameters, verdict)
        seen.status = response.status
        response.headers["x-mbx-uuid"] = str(uuid.uuid4())
        response.headers["x-mbx-used-weight"] = response.headers["x-mbx-used-weight-1m"] = str(verdict.used)
        return response

    def _reaches(self, path: str, parameters: Mapping[str, str], verdict: Verdict) -> bool:
        """Tell whether nothing on the way answers instead of the endpoint."""
        return verdict.status == 200 and self._fault("error", path, parameters) is None

    def _verdict(self, address: str, path: str, parameters: Mapping[str, str], weight: int) -> Verdict:
        verdict = self._limits.take(address, weight)
        for kind, status in (("banned", 418), ("limited", 429)):
            fault = self._fault(kind, path, parameters)
            if fault is not None:
                return self._limits.sentence(address, status, fault.retry_after_s)._replace(told=verdict.told)
        return verdict

    async def _wait(self, path: str, parameters: Mapping[str, str]) -> None:
        slow = self._fault("slow", path, parameters)
        if slow is not None:
            await asyncio.sleep(slow.delay_ms / 1000)
        while self._fault("hang", path, parameters) is not None:
            await asyncio.sleep(0.01)

    def _respond(
        self, request: web.Request, route: Route | None, parameters: Mapping[str, str], verdict: Verdict
    ) -> web.Response:
        if verdict.status != 200:
            return self._refusal(verdict)
        error = self._fault("error", request.path, parameters)
        if error is not None:
            return _broken(error)
        if route is None or route.handler is None:
            return _unknown(request)
        stale = self._fault("stale", request.path, parameters)
        if stale is not None and stale.path == "*" and request.path.endswith("/time"):
            stale = None  # a replica that lags still tells the time
        now = self._clock.now_ms() - (stale.delay_ms if stale else 0)
        try:
            result = route.handler(Request(parameters, request.headers, now))
        except ApiError as refused:
            return _json({"code": refused.code, "msg": refused.message}, refused.status)
        if request.path.endswith("/klines"):
            result = self._left(result, request.path, parameters)
        body = msgspec.json.encode(result)
        if self._fault("rest_truncated", request.path, parameters):
            body = body[: len(body) // 2]
        return _response(body, 200)

    def _left(self, rows: list[Any], path: str, parameters: Mapping[str, str]) -> list[Any]:
        """Return the kline rows that no fault withholds."""
        symbol = parameters.get("symbol", "")
        holes = [
            fault
            for fault in self._plan.active
            if fault.kind == "rest_missing" and fault.concerns_request(path, symbol)
        ]

        def withheld(open_time: int) -> bool:
            return any(
                (not fault.opens or open_time in fault.opens) and self._plan.happens(fault, f"{symbol}/{open_time}")
                for fault in holes
            )

        return [row for row in rows if not withheld(row[0])]

    def _fault(self, kind: str, path: str, parameters: Mapping[str, str]) -> Fault | None:
        if not self._plan.active:
            return None
        return self._plan.requests(kind, path, parameters.get("symbol", ""), str(len(self._record.requests)))

    def _refusal(self, verdict: Verdict) -> web.Response:
        if verdict.status == 418:
            message = f"Way too much request weight used; IP banned until {verdict.until_ms}. "
            message += "Please use WebSocket Streams for live updates to avoid bans."
        else:
            message = f"Too much request weight used; current limit is {self._weight} request weight per 1 MINUTE. "
            message += "Please use WebSocket Streams for live updates to avoid polling the API."
        response = _json({"code": -1003, "msg": message}, verdict.status)
        left_ms = max(0, verdict.until_ms - self._clock.now_ms())
        response.headers["Retry-After"] = str(-(-left_ms // 1000))
        return response


def _broken(fault: Fault) -> web.Response:
    if fault.how == "html":
        return web.Response(status=fault.status, text="<html><h2>The request could not be satisfied</h2></html>",
                            content_type="text/html")  # fmt: skip
    if fault.how == "empty":
        return web.Response(status=fault.status)
    return _json({"code": -1000, "msg": "An unknown error occurred while processing the request."}, fault.status)


def _unknown(request: web.Request) -> web.Response:
    if request.method not in _ALLOWED_METHODS:
        return web.Response(status=405)
    return web.Response(status=404, text="<html><body><h2>404 Not found</h2></body></html>", content_type="text/html")


def _json(data: Any, status: int) -> web.Response:
    return _response(msgspec.json.encode(data), status)


def _response(body: bytes, status: int) -> web.Response:
    return web.Response(body=body, status=status, headers={"Content-Type": "application/json;charset=UTF-8"})
