"""The account's REST endpoints as functions from a call to an answer: no sockets, no signatures, no faults.

An endpoint is a row of :data:`ENDPOINTS`. Market data is elsewhere; exchangeInfo and the time are here, because a
fault may change them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.fakes.binance.exchange import requests, shapes
from tests.fakes.binance.exchange.calls import Answer, Call
from tests.fakes.binance.exchange.orders import Order, OrderList, Refused
from tests.fakes.binance.exchange.requests import Parameters
from tests.fakes.binance.listings import LIMITS

if TYPE_CHECKING:
    from tests.fakes.binance.exchange.venue import Venue

DAY = 86_400_000
PUBLIC, READ, TRADE = "public", "read", "trade"


class Endpoint(NamedTuple):
    """``free``: a call that succeeds weighs nothing. ``reads``: the parameters it knows, those of every call apart."""

    handler: Callable[[Api, Call, int], Any]
    weight: int | Callable[[Parameters], int] = 1
    security: str = READ
    reads: str = ""
    free: bool = False

    def cost(self, given: Parameters) -> int:
        return self.weight(given) if callable(self.weight) else self.weight


class Api:
    """The endpoints of one venue. ``lag``: how many ms a read does not know."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self._engine = venue.engine
        self._books = venue.books

    def answer(self, call: Call, lag_ms: int = 0) -> Answer:
        """Do what is asked, or refuse it; both are an answer."""
        endpoint = ENDPOINTS.get((call.method, call.path))
        if endpoint is None:
            return Answer(404, b"<html><body><h2>404 Not found</h2></body></html>", {"content-type": "text/html"})
        try:
            self._known(endpoint, call)
            result = endpoint.handler(self, call, lag_ms)
        except Refused as refused:
            body: dict[str, Any] = {"code": refused.code, "msg": refused.message}
            if refused.data is not None:
                body["data"] = refused.data
            after = {"retry-after": str(self._engine.counts.retry_after_s())} if refused.code == -1015 else {}
            return Answer(refused.status, body, after)
        headers = self._engine.counts.headers() if endpoint.security == TRADE and call.method == "POST" else {}
        return Answer(200, result, headers)

    @staticmethod
    def _known(endpoint: Endpoint, call: Call) -> None:
        if endpoint.security == PUBLIC:
            return
        known = {"timestamp", "recvWindow", "signature", *endpoint.reads.split()}
        read = len(known & call.parameters.keys())
        if read < len(call.parameters):
            message = f"Not all sent parameters were read; read '{read}' parameter(s) but was sent "
            raise Refused(-1104, message + f"'{len(call.parameters)}'.")

    # -- the exchange --------------------------------------------------------------------------------------------

    def ping(self, call: Call, lag_ms: int) -> Any:
        return {}

    def time(self, call: Call, lag_ms: int) -> Any:
        return {"serverTime": self._venue.server_ms()}

    def exchange_info(self, call: Call, lag_ms: int) -> Any:
        """Return the rows as faults have them now."""
        given = call.parameters
        if "symbol" in given:
            names = [self._symbol(given)]
        elif "symbols" in given:
            names = [self._engine.rules(name).symbol for name in requests.names(given, "symbols")]
        else:
            names = list(self._venue.rows)
        return {
            "timezone": "UTC",
            "serverTime": self._venue.server_ms(),
            "rateLimits": [
                *({**limit, "limit": most} for limit, most in self._engine.counts.described()),
                *(limit for limit in LIMITS if limit["rateLimitType"] != "ORDERS"),
            ],
            "exchangeFilters": [],
            "symbols": [self._venue.row(name) for name in names],
        }

    def restrictions(self, call: Call, lag_ms: int) -> Any:
        return self._venue.keys[call.key].restrictions(self._venue.start_ms)

    def gone(self, call: Call, lag_ms: int) -> Any:
        raise Refused(-1016, "This service is no longer available.", 410)

    def order_counts(self, call: Call, lag_ms: int) -> Any:
        return self._engine.counts.rows()

    # -- orders --------------------------------------------------------------------------------------------------

    def place(self, call: Call, lag_ms: int) -> Any:
        asked = requests.new_order(call.parameters)
        return shapes.placed(self._engine.place(asked), asked.response)

    def test(self, call: Call, lag_ms: int) -> Any:
        self._engine.examine(requests.new_order(call.parameters))
        return {}

    def cancel(self, call: Call, lag_ms: int) -> Any:
        given = call.parameters
        symbol, number, name = self._address(given)
        self._venue.race(symbol, number, name)
        only = given.get("cancelRestrictions", "")
        cancel_id = requests.client_id(given, "newClientOrderId")
        cancelled = self._engine.cancel(symbol, number, name, cancel_id, only)
        pair = self._engine.matcher.list_of(cancelled[0])
        return self._pair_row(pair, cancelled) if pair else shapes.cancelled(cancelled[0])

    def cancel_all(self, call: Call, lag_ms: int) -> Any:
        symbol = self._symbol(call.parameters)
        for order in self._books.open_orders(symbol):
            self._venue.race(symbol, order.id, "")
        rows = []
        for group in self._engine.cancel_all(symbol):
            pair = self._engine.matcher.list_of(group[0])
            rows.append(self._pair_row(pair, group) if pair else shapes.cancelled(group[0]))
        return rows

    def replace(self, call: Call, lag_ms: int) -> Any:
        given = call.parameters
        asked = requests.new_order(given)
        modes = ("STOP_ON_FAILURE", "ALLOW_FAILURE")
        mode = requests.choice(given, "cancelReplaceMode", modes, -1102, "Invalid cancelReplaceMode.")
        number, name = requests.address(given, "cancelOrderId", "cancelOrigClientOrderId")
        counts = self._engine.counts
        if any(counts.used(window) >= most for window, most in counts.limits.items()):
            counts.take(1)
        self._venue.race(asked.symbol, number, name)
        data: dict[str, Any] = {"cancelResult": "SUCCESS", "newOrderResult": "SUCCESS"}
        try:
            cancel_id = requests.client_id(given, "cancelNewClientOrderId")
            gone = self._engine.cancel(asked.symbol, number, name, cancel_id, given.get("cancelRestrictions", ""))
            data["cancelResponse"] = shapes.cancelled(gone[0])
        except Refused as refused:
            data |= {"cancelResult": "FAILURE", "cancelResponse": _inner(refused), "newOrderResponse": None}
            if mode == "STOP_ON_FAILURE":
                data["newOrderResult"] = "NOT_ATTEMPTED"
                raise Refused(-2022, "Order cancel-replace failed.", 400, data) from None
        try:
            data["newOrderResponse"] = shapes.placed(self._engine.place(asked), asked.response)
        except Refused as refused:
            data |= {"newOrderResult": "FAILURE", "newOrderResponse": _inner(refused)}
        results = (data["cancelResult"], data["newOrderResult"])
        if results == ("FAILURE", "FAILURE"):
            raise Refused(-2022, "Order cancel-replace failed.", 400, data)
        if "FAILURE" in results:
            raise Refused(-2021, "Order cancel-replace partially failed.", 409, data)
        return data

    def oco(self, call: Call, lag_ms: int) -> Any:
        above, below = requests.oco_legs(call.parameters)
        pair, legs = self._engine.place_oco(above, below, requests.client_id(call.parameters, "listClientOrderId"))
        reports = [shapes.placed(leg, above.response) for leg in legs]
        return shapes.order_list(pair, legs, pair.created_ms, reports)

    def cancel_pair(self, call: Call, lag_ms: int) -> Any:
        given = call.parameters
        symbol = self._symbol(given)
        number, name = requests.address(given, "orderListId", "listClientOrderId")
        cancel_id = requests.client_id(given, "newClientOrderId")
        found = self._engine.found_pair(number, name)
        for leg in found.order_ids if found else ():
            self._venue.race(symbol, leg, "")
        pair = self._engine.cancel_pair(symbol, number, name, cancel_id)
        return self._pair_row(pair, self._legs(pair))

    # -- reading -------------------------------------------------------------------------------------------------

    def query(self, call: Call, lag_ms: int) -> Any:
        found = self._engine.found(*self._address(call.parameters))
        order = found and self._as_told(found, lag_ms)
        if order is None:
            raise Refused(-2013, "Order does not exist.")
        return shapes.queried(order)

    def open_orders(self, call: Call, lag_ms: int) -> Any:
        symbol = self._symbol(call.parameters) if "symbol" in call.parameters else None
        orders = self._books.orders.values() if lag_ms else self._books.open_orders(symbol)
        told = (self._as_told(order, lag_ms) for order in orders if symbol in (None, order.symbol))
        return [shapes.queried(order) for order in told if order is not None and order.open]

    def all_orders(self, call: Call, lag_ms: int) -> Any:
        given = call.parameters
        symbol, first = self._symbol(given), requests.long(given, "orderId")
        start, end = _window(given)
        orders = [
            told
            for order in self._books.orders.values()
            if order.symbol == symbol and _within(order.created_ms, start, end)
            if (told := self._as_told(order, lag_ms)) is not None
        ]
        if first is not None:
            orders = [order for order in orders if order.id >= first]
        return [shapes.queried(order) for order in _page(orders, given, first is not None or start is not None)]

    def my_trades(self, call: Call, lag_ms: int) -> Any:
        given = call.parameters
        symbol, first, order = self._symbol(given), requests.long(given, "fromId"), requests.long(given, "orderId")
        start, end = _window(given)
        if first is not None and (start is not None or end is not None):
            raise Refused(-1128, "Combination of optional parameters invalid.")
        latest = self._venue.now() - lag_ms
        trades = [
            trade
            for trade in self._books.trades_of(symbol)
            if (not lag_ms or trade.time_ms <= latest)
            and _within(trade.time_ms, start, end)
            and (first is None or trade.id >= first)
            and (order is None or trade.order_id == order)
        ]
        return [shapes.my_trade(trade) for trade in _page(trades, given, first is not None or start is not None)]

    def account(self, call: Call, lag_ms: int) -> Any:
        now = self._books.updated_ms, self._books.both()
        updated_ms, balances = self._books.both_at(self._venue.now() - lag_ms) if lag_ms else now
        return shapes.account(
            balances, self._engine.matcher.fees, updated_ms, self._venue.uid,
            can_trade=self._venue.keys[call.key].trades if call.key in self._venue.keys else True,
            omit_zero=requests.flag(call.parameters, "omitZeroBalances"),
        )  # fmt: skip

    def commission(self, call: Call, lag_ms: int) -> Any:
        return shapes.commission(self._symbol(call.parameters), self._engine.matcher.fees)

    def pair(self, call: Call, lag_ms: int) -> Any:
        found = self._engine.found_pair(*requests.address(call.parameters, "orderListId", "origClientOrderId"))
        if found is None:
            raise Refused(-2018, "Order list does not exist.")
        return shapes.order_list(found, self._legs(found), found.created_ms)

    def pairs(self, call: Call, lag_ms: int) -> Any:
        return [shapes.order_list(pair, self._legs(pair), pair.created_ms) for pair in self._books.lists.values()]

    def open_pairs(self, call: Call, lag_ms: int) -> Any:
        return [row for row in self.pairs(call, lag_ms) if row["listOrderStatus"] == "EXECUTING"]

    # -- small things --------------------------------------------------------------------------------------------

    def _as_told(self, order: Order, lag_ms: int) -> Order | None:
        return order.as_of(self._venue.now() - lag_ms) if lag_ms else order

    def _symbol(self, given: Parameters) -> str:
        return self._engine.rules(requests.mandatory(given, "symbol")).symbol

    def _address(self, given: Parameters) -> tuple[str, int | None, str]:
        return self._symbol(given), *requests.address(given, "orderId", "origClientOrderId")

    def _legs(self, pair: OrderList) -> list[Order]:
        return [self._books.orders[number] for number in pair.order_ids]

    def _pair_row(self, pair: OrderList, cancelled: Sequence[Order]) -> Any:
        reports = [shapes.cancelled(order) for order in sorted(cancelled, key=lambda each: each.id)]
        return shapes.order_list(pair, self._legs(pair), self._venue.now(), reports)


def _inner(refused: Refused) -> dict[str, Any]:
    return {"code": refused.code, "msg": refused.message}


def _window(given: Parameters) -> tuple[int | None, int | None]:
    start, end = requests.long(given, "startTime"), requests.long(given, "endTime")
    if start is not None and end is not None and end - start > DAY:
        raise Refused(-1127, "More than 24 hours between startTime and endTime.")
    if start is not None and end is None:
        end = start + DAY
    return start, end


def _within(time_ms: int, start: int | None, end: int | None) -> bool:
    return (start is None or time_ms >= start) and (end is None or time_ms <= end)


def _page(rows: list[Any], given: Parameters, oldest: bool) -> list[Any]:
    most = requests.limit(given)
    return rows[:most] if oldest else rows[-most:]


def _either(name: str, given_weight: int, absent: int) -> Callable[[Mapping[str, str]], int]:
    return lambda given: given_weight if name in given else absent


_ORDER = (
    "symbol side type timeInForce quantity quoteOrderQty price newClientOrderId strategyId strategyType stopPrice "
    "trailingDelta icebergQty newOrderRespType selfTradePreventionMode pegPriceType pegOffsetValue pegOffsetType"
)
_REPLACE = (
    " cancelReplaceMode cancelNewClientOrderId cancelOrigClientOrderId cancelOrderId cancelRestrictions "
    "orderRateLimitExceededMode"
)
_LEG = "Type ClientOrderId IcebergQty Price StopPrice TrailingDelta TimeInForce StrategyId StrategyType"
_OCO = "symbol listClientOrderId side quantity newOrderRespType selfTradePreventionMode " + " ".join(
    place + name for place in ("above", "below") for name in _LEG.split()
)
_PERIOD = " startTime endTime limit"
ENDPOINTS: dict[tuple[str, str], Endpoint] = {
    ("GET", "/api/v3/ping"): Endpoint(Api.ping, security=PUBLIC),
    ("GET", "/api/v3/time"): Endpoint(Api.time, security=PUBLIC),
    ("GET", "/api/v3/exchangeInfo"): Endpoint(Api.exchange_info, 20, PUBLIC),
    ("POST", "/api/v3/order"): Endpoint(Api.place, 1, TRADE, _ORDER, free=True),
    ("POST", "/api/v3/order/test"): Endpoint(Api.test, 1, TRADE, _ORDER + " computeCommissionRates"),
    ("DELETE", "/api/v3/order"): Endpoint(
        Api.cancel, 1, TRADE, "symbol orderId origClientOrderId newClientOrderId cancelRestrictions", free=True
    ),
    ("DELETE", "/api/v3/openOrders"): Endpoint(Api.cancel_all, 1, TRADE, "symbol", free=True),
    ("POST", "/api/v3/order/cancelReplace"): Endpoint(Api.replace, 1, TRADE, _ORDER + _REPLACE, free=True),
    ("POST", "/api/v3/orderList/oco"): Endpoint(Api.oco, 1, TRADE, _OCO, free=True),
    ("DELETE", "/api/v3/orderList"): Endpoint(
        Api.cancel_pair, 1, TRADE, "symbol orderListId listClientOrderId newClientOrderId", free=True
    ),
    ("GET", "/api/v3/order"): Endpoint(Api.query, 4, READ, "symbol orderId origClientOrderId"),
    ("GET", "/api/v3/openOrders"): Endpoint(Api.open_orders, _either("symbol", 6, 80), READ, "symbol"),
    ("GET", "/api/v3/allOrders"): Endpoint(Api.all_orders, 20, READ, "symbol orderId" + _PERIOD),
    ("GET", "/api/v3/myTrades"): Endpoint(
        Api.my_trades, _either("orderId", 5, 20), READ, "symbol orderId fromId" + _PERIOD
    ),
    ("GET", "/api/v3/account"): Endpoint(Api.account, 20, READ, "omitZeroBalances"),
    ("GET", "/api/v3/account/commission"): Endpoint(Api.commission, 20, READ, "symbol"),
    ("GET", "/api/v3/rateLimit/order"): Endpoint(Api.order_counts, 40, READ),
    ("GET", "/api/v3/orderList"): Endpoint(Api.pair, 4, READ, "orderListId origClientOrderId"),
    ("GET", "/api/v3/allOrderList"): Endpoint(Api.pairs, 20, READ, "fromId" + _PERIOD),
    ("GET", "/api/v3/openOrderList"): Endpoint(Api.open_pairs, 6, READ),
    ("GET", "/sapi/v1/account/apiRestrictions"): Endpoint(Api.restrictions, 1, READ),
    ("POST", "/api/v3/userDataStream"): Endpoint(Api.gone, 2, PUBLIC),
    ("PUT", "/api/v3/userDataStream"): Endpoint(Api.gone, 2, PUBLIC),
    ("DELETE", "/api/v3/userDataStream"): Endpoint(Api.gone, 2, PUBLIC),
}
