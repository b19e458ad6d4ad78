"""The WebSocket API: requests as JSON, the user's events to who subscribed with a signature.

A session is a :class:`tests.fakes.binance.connection.Connection` (pings, life, cuts) that answers other requests.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from aiohttp import WSMsgType

from tests.fakes.binance.connection import Connection
from tests.fakes.binance.exchange import requests, signatures
from tests.fakes.binance.exchange.api import ENDPOINTS, PUBLIC
from tests.fakes.binance.exchange.calls import Call, Lost, Outcome
from tests.fakes.binance.exchange.events import terminated
from tests.fakes.binance.exchange.keys import ApiKey
from tests.fakes.binance.exchange.orders import Refused
from tests.fakes.binance.record import ConnectionSeen
from tests.fakes.binance.wire import PONG, frame

if TYPE_CHECKING:
    from tests.fakes.binance.exchange.wire import Exchange

_CALLS = {
    "time": ("GET", "/api/v3/time"),
    "order.place": ("POST", "/api/v3/order"),
    "order.test": ("POST", "/api/v3/order/test"),
    "order.cancel": ("DELETE", "/api/v3/order"),
    "order.status": ("GET", "/api/v3/order"),
    "order.cancelReplace": ("POST", "/api/v3/order/cancelReplace"),
    "openOrders.cancelAll": ("DELETE", "/api/v3/openOrders"),
    "openOrders.status": ("GET", "/api/v3/openOrders"),
    "orderList.place.oco": ("POST", "/api/v3/orderList/oco"),
    "orderList.cancel": ("DELETE", "/api/v3/orderList"),
    "orderList.status": ("GET", "/api/v3/orderList"),
    "allOrders": ("GET", "/api/v3/allOrders"),
    "myTrades": ("GET", "/api/v3/myTrades"),
    "account.status": ("GET", "/api/v3/account"),
    "account.commission": ("GET", "/api/v3/account/commission"),
    "account.rateLimits.orders": ("GET", "/api/v3/rateLimit/order"),
}


class Subscription:
    """One subscription of a session to the user's events."""

    def __init__(self, session: Session, number: int) -> None:
        self.number = number
        self._session = session

    def event(self, event: dict[str, Any]) -> None:
        self._session.say({"subscriptionId": self.number, "event": event})

    def cut(self, how: str) -> None:
        self._session.trouble(how)


class Session(Connection):
    """A connection to the WebSocket API."""

    def __init__(self, seen: ConnectionSeen, exchange: Exchange) -> None:
        front = exchange.front
        super().__init__(seen, False, rules=front.rules, clock=front.clock, timers=front.timers, hub=front.hub)
        self._exchange = exchange
        self._subscriptions: dict[int, Subscription] = {}
        self._next = 0
        self._key: ApiKey | None = None
        self._since_ms = 0

    def say(self, message: dict[str, Any]) -> None:
        self.send(frame(json.dumps(message, separators=(",", ":")).encode()))

    def announce(self, event: bytes) -> None:
        """Send an event that belongs to no subscription."""
        self.send(frame(b'{"event":%b}' % event))

    def trouble(self, how: str) -> None:
        """End, or go dead, as a fault has it."""
        if how == "half_open":
            self.freeze()
        elif how == "close":
            self.close("cut", 1001)
        else:
            self.cut("cut", how)

    def end(self, why: str) -> None:
        for subscription in self._subscriptions.values():
            self._exchange.venue.stream.unsubscribe(subscription)
        self._subscriptions = {}
        super().end(why)

    def _received(self, message: Any) -> None:
        self.seen.received += 1
        if message.type is WSMsgType.TEXT:
            self._asked(message.data)
        elif message.type is WSMsgType.PING:
            self.send(frame(message.data, PONG))
        elif message.type is WSMsgType.PONG:
            self.ponged(bytes(message.data))

    # -- requests ------------------------------------------------------------------------------------------------

    def _asked(self, text: str) -> None:
        try:
            request = json.loads(text)
        except ValueError:
            request = None
        if not isinstance(request, dict) or not isinstance(request.get("method"), str):
            self._refuse(None, Refused(-1135, "Invalid JSON Request"))
            return
        number, given = request.get("id"), request.get("params") or {}
        verdict = self._exchange.front.limits.take(self.seen.address, 2)
        if verdict.status != 200:
            self._refuse(number, Refused(-1003, "Too much request weight used.", verdict.status))
            return
        try:
            parameters = {str(name): _text(value) for name, value in given.items()}
            method = request["method"].removeprefix("v3/")
            special = _METHODS.get(method)
            if special is not None:
                self._answer(number, 200, special(self, parameters))
            elif method in _CALLS:
                self._call(number, *_CALLS[method], parameters)
            else:
                raise Refused(-1020, "This operation is not supported.")
        except Refused as refused:
            self._refuse(number, refused)

    def _call(self, number: Any, method: str, path: str, parameters: dict[str, str]) -> None:
        if ENDPOINTS[method, path].security == PUBLIC:
            call = Call(method, path, parameters)
        else:
            key = self._signed(parameters)
            call = Call(method, path, {name: parameters[name] for name in parameters if name != "apiKey"}, key.key)
            self._exchange.venue.admit(call)

        def done(outcome: Outcome) -> None:
            if isinstance(outcome, Lost):
                if outcome.cut:
                    self.cut("cut")
            elif isinstance(outcome.body, bytes):
                self.send(frame(outcome.body))
            elif outcome.status == 200:
                self._answer(number, 200, outcome.body)
            else:
                self.say({"id": number, "status": outcome.status, "error": outcome.body})

        self._exchange.ask(call, done)

    def _signed(self, parameters: Mapping[str, str]) -> ApiKey:
        """Return the key of a request: its own, signed for, or the session's."""
        if self._key is not None and "apiKey" not in parameters:
            return self._key
        requests.mandatory(parameters, "apiKey")
        key = signatures.key_of(self._exchange.venue.keys, parameters["apiKey"])
        signatures.check_socket(key, parameters)
        requests.check_time(parameters, self._exchange.venue.server_ms())
        return key

    def _answer(self, number: Any, status: int, result: Any) -> None:
        used = self._exchange.front.limits.used(self.seen.address)
        limits = [{"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1,
                   "limit": self._exchange.front.rules.weight, "count": used}]  # fmt: skip
        self.say({"id": number, "status": status, "result": result, "rateLimits": limits})

    def _refuse(self, number: Any, refused: Refused) -> None:
        self.say({"id": number, "status": refused.status, "error": {"code": refused.code, "msg": refused.message}})

    # -- sessions and subscriptions ------------------------------------------------------------------------------

    def ping(self, parameters: Mapping[str, str]) -> Any:
        return {}

    def logon(self, parameters: Mapping[str, str]) -> Any:
        requests.mandatory(parameters, "apiKey")
        key = self._signed(parameters)
        if not key.public:
            raise Refused(-4056, "HMAC_SHA256 API key is not supported.")
        self._key, self._since_ms = key, self._exchange.venue.now()
        return self.status(parameters)

    def logout(self, parameters: Mapping[str, str]) -> Any:
        self._key = None
        return self.status(parameters)

    def status(self, parameters: Mapping[str, str]) -> Any:
        return {
            "apiKey": self._key.key if self._key else None,
            "authorizedSince": self._since_ms if self._key else None,
            "connectedSince": self.seen.opened_ms,
            "returnRateLimits": True,
            "serverTime": self._exchange.venue.server_ms(),
            "userDataStream": bool(self._subscriptions),
        }

    def subscribe_signed(self, parameters: Mapping[str, str]) -> Any:
        for name in ("apiKey", "timestamp"):
            requests.mandatory(parameters, name)
        return self._subscribe(self._signed(parameters))

    def subscribe(self, parameters: Mapping[str, str]) -> Any:
        if self._key is None:
            raise Refused(-2015, "Invalid API-key, IP, or permissions for action.", 401)
        return self._subscribe(self._key)

    def _subscribe(self, key: ApiKey) -> Any:
        if not key.reads:
            raise Refused(-2015, "Invalid API-key, IP, or permissions for action.", 401)
        if self._exchange.refuses_streams():
            raise Refused(-1000, "An unknown error occurred while processing the request.", 500)
        if self._subscriptions:
            raise Refused(-2035, "User Data Stream subscription already active.")
        subscription = self._subscriptions[self._next] = Subscription(self, self._next)
        self._next += 1
        self._exchange.venue.stream.subscribe(subscription)
        return {"subscriptionId": subscription.number}

    def unsubscribe(self, parameters: Mapping[str, str]) -> Any:
        wanted = requests.long(parameters, "subscriptionId")
        for number in list(self._subscriptions):
            if wanted in (None, number):
                subscription = self._subscriptions.pop(number)
                subscription.event(terminated(self._exchange.venue.now()))
                self._exchange.venue.stream.unsubscribe(subscription)
        return {}

    def subscriptions(self, parameters: Mapping[str, str]) -> Any:
        return [{"subscriptionId": number} for number in self._subscriptions]


_METHODS: dict[str, Callable[[Session, Mapping[str, str]], Any]] = {
    "ping": Session.ping,
    "session.logon": Session.logon,
    "session.logout": Session.logout,
    "session.status": Session.status,
    "session.subscriptions": Session.subscriptions,
    "userDataStream.subscribe.signature": Session.subscribe_signed,
    "userDataStream.subscribe": Session.subscribe,
    "userDataStream.unsubscribe": Session.unsubscribe,
}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value) if isinstance(value, list | dict) else str(value)
