"""The exchange without a wire: engine, books, endpoints, user's events and faults, on an injected clock and seed.

    venue = Venue(rows, now=clock.now_ms, at=clock.call_at, seed=7, balances={"USDT": Decimal(10_000)})
    venue.set_price("BTCUSDT", "60000", "60001")
    venue.call(Call("POST", "/api/v3/order", {...}), done)      # done(outcome), now or when the clock says so

HTTP and WebSocket are put before it by :mod:`.wire`; a deterministic simulation calls it as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any

from tests.fakes.binance.exchange import requests
from tests.fakes.binance.exchange.api import ENDPOINTS, PUBLIC, TRADE, Api
from tests.fakes.binance.exchange.books import Books
from tests.fakes.binance.exchange.calls import Answer, Call, Course, Lost, Outcome, broken
from tests.fakes.binance.exchange.engine import Engine
from tests.fakes.binance.exchange.fault_plan import STREAM_KINDS, ExchangeFault, ExchangeFaults
from tests.fakes.binance.exchange.filters import changed
from tests.fakes.binance.exchange.keys import DEFAULT_KEY, ApiKey
from tests.fakes.binance.exchange.matching import Fees
from tests.fakes.binance.exchange.order_counts import OrderCounts
from tests.fakes.binance.exchange.orders import Order, Refused
from tests.fakes.binance.exchange.user_stream import UserStream

Row = Mapping[str, Any]
Number = str | Decimal | int
START = {"USDT": Decimal(10_000)}


class Venue:
    """``rows``: exchangeInfo's rows by symbol. ``at(time_ms, action)``: the timetable of everything that is late."""

    def __init__(
        self,
        rows: Mapping[str, Row],
        *,
        now: Callable[[], int],
        at: Callable[[float, Callable[[], None]], object],
        seed: int = 0,
        balances: Mapping[str, Decimal] | None = None,
        keys: Iterable[ApiKey] = (DEFAULT_KEY,),
        fees: Fees | None = None,
        faults: ExchangeFaults | Iterable[ExchangeFault] = (),
        counts: OrderCounts | None = None,
        begin: bool = True,
    ) -> None:
        self.now = now
        self.at = at
        self.uid = 354_937_868
        self.keys = {key.key: key for key in keys}
        self.faults = faults if isinstance(faults, ExchangeFaults) else ExchangeFaults(faults, seed)
        self.start_ms = now()
        self.rows = dict(rows)
        self.books = Books(START if balances is None else balances, self.start_ms)
        self.stream = UserStream(self.faults, now, at)
        self.calls: list[tuple[int, Call]] = []
        """(time, call) of everything that was asked, refused or not."""
        self.while_banned: list[Call] = []
        self._changed: dict[str, tuple[object, Row]] = {}
        self._banned_until = 0
        self._banned_with = 429
        self.engine = Engine(
            self.books, now=now, row_of=self.row, emit=self.stream.publish, counts=counts or OrderCounts(now),
            fees=fees, tempering=self, seed=seed,
        )  # fmt: skip
        self.api = Api(self)
        for symbol in self.rows:
            self.engine.rules(symbol)
        if begin:
            self.begin()

    def begin(self) -> None:
        """Count the times of the faults from now."""
        self.start_ms = self.now()
        self.faults.begin(self.start_ms)
        for fault, start in self.faults.entries:
            self._schedule(fault, start)

    # -- steering ------------------------------------------------------------------------------------------------

    def set_price(
        self,
        symbol: str,
        bid: Number,
        ask: Number,
        *,
        last: Number | None = None,
        bid_quantity: Number | None = None,
        ask_quantity: Number | None = None,
        bids: Iterable[tuple[Number, Number | None]] | None = None,
        asks: Iterable[tuple[Number, Number | None]] | None = None,
        fills: bool = True,
    ) -> None:
        """Move a market; orders trade at once. Quantities bound what can be traded until the next move.

        ``bids``, ``asks``: further levels behind the best ones. ``last``: what stops look at (the bid). ``fills``:
        whether it also fills what rests, or only public trades do.
        """
        deep = [(_exact(price), _maybe(left)) for price, left in bids or ()]
        high = [(_exact(price), _maybe(left)) for price, left in asks or ()]
        self.engine.set_price(
            symbol, [(_exact(bid), _maybe(bid_quantity)), *deep], [(_exact(ask), _maybe(ask_quantity)), *high],
            _maybe(last), fills=fills,
        )  # fmt: skip

    def printed(self, symbol: str, price: Number, quantity: Number | None = None) -> None:
        """Let a public trade happen: fills what rests at its price or better, at most its quantity."""
        self.engine.printed(symbol, _exact(price), _maybe(quantity))

    def fill(self, client_id: str, quantity: Number | None = None, price: Number | None = None) -> None:
        """Let an open order trade, whatever the market is."""
        for order in self.books.of_client(client_id):
            self.engine.fill(order, _maybe(quantity), _maybe(price))

    def check(self) -> None:
        """Fail where the books do not hold, or the funds held back are not those of open orders."""
        found = self.engine.faults()
        assert not found, "; ".join(found)

    def deposit(self, asset: str, amount: Number) -> None:
        self.engine.deposit(asset, _exact(amount))

    def inject(self, fault: ExchangeFault) -> ExchangeFault:
        """Let something go wrong from now on (``at_ms`` later), for its ``for_ms``."""
        self.faults.inject(fault, self.now())
        self._schedule(fault, self.now())
        return fault

    def mend(self, fault: ExchangeFault) -> None:
        self.faults.mend(fault)

    def mend_all(self) -> None:
        """End all faults and bans; events that were held back come."""
        self.faults.clear()
        self._banned_until = 0
        self.stream.flush()

    def order(self, **parameters: str) -> Order:
        """Place an order as somebody else with this account does: no fault and no record of a call is in between."""
        return self.engine.place(requests.new_order(parameters))

    def reset(self, balances: Mapping[str, Decimal] | None = None) -> None:
        """Forget every order and trade and begin anew, as the testnet does every month."""
        self.books.reset(self.books.start if balances is None else balances, self.now())

    def _schedule(self, fault: ExchangeFault, start_ms: int) -> None:
        if fault.kind in STREAM_KINDS:
            due = start_ms + fault.at_ms
            if due <= self.now():
                self.stream.trouble(fault)
            else:
                self.at(due, lambda: self.stream.trouble(fault))

    # -- what faults change --------------------------------------------------------------------------------------

    def server_ms(self) -> int:
        """Return what the exchange's clock shows."""
        return self.now() + self.faults.skew_ms(self.now())

    def row(self, symbol: str) -> Row | None:
        """Return a symbol's row of exchangeInfo as it is now."""
        row = self.rows.get(symbol)
        if row is None or not self.faults.entries:
            return row
        faults = self.faults.symbol_faults(symbol, self.now())
        if not faults:
            return row
        token = (tuple(id(fault) for fault in faults), id(row))
        known = self._changed.get(symbol)
        if known is None or known[0] != token:
            values: dict[str, Mapping[str, Any]] = {}
            for fault in faults:
                values |= fault.filters
            status = next((fault.how for fault in faults if fault.kind == "status"), "")
            known = self._changed[symbol] = (token, changed(row, values, status))
        return known[1]

    def most(self, order: Order) -> Decimal | None:
        share = self.faults.share(order, self.now())
        if share is None:
            return None
        rules = self.engine.rules(order.symbol)
        return max(rules.whole(order.quantity * share), rules.step)

    def pieces(self, order: Order) -> int:
        return self.faults.pieces(order, self.now())

    def race(self, symbol: str, order_id: int | None, client_id: str) -> None:
        """Let an order fill that is about to be cancelled, where a fault wants it."""
        order = self.engine.found(symbol, order_id, client_id, only_open=True)
        share = self.faults.race(order, self.now()) if order is not None else None
        if order is not None and share is not None:
            self.engine.fill(order, order.left * share)

    # -- requests ------------------------------------------------------------------------------------------------

    def admit(self, call: Call) -> None:
        """Refuse a call for its key or its time, as before the engine. Signatures are the wire's."""
        endpoint = ENDPOINTS.get((call.method, call.path))
        if endpoint is None or endpoint.security == PUBLIC:
            return
        key = self.keys.get(call.key)
        if key is None or (endpoint.security == TRADE and not key.trades) or not key.reads:
            raise Refused(-2015, "Invalid API-key, IP, or permissions for action.", 401)
        requests.check_time(call.parameters, self.server_ms())

    def call(self, call: Call, done: Callable[[Outcome], None]) -> None:
        """Take a request and tell its outcome: at once, or when ``at`` says so."""
        now = self.now()
        self.calls.append((now, call))
        if now < self._banned_until:
            self.while_banned.append(call)
            done(self._ban(self._banned_until - now))
            return
        course = self.faults.course(call, now)
        if course.plain:
            done(self._effect(call, course))
        elif course.lost is not None or course.instead is not None:
            # What the client hears does not wait for what the engine does.
            if course.effect:
                self._in(course.effect_after_ms, lambda: self._effect(call, course))
            heard = self._instead(course.instead) if course.instead is not None else course.lost or Lost()
            self._in(course.answer_after_ms, lambda: done(heard))
        else:
            self._in(course.effect_after_ms, lambda: self._finish(course, self._effect(call, course), done))

    def _in(self, delay_ms: int, action: Callable[[], object]) -> None:
        if delay_ms:
            self.at(self.now() + delay_ms, lambda: (action(), None)[1])
        else:
            action()

    def _effect(self, call: Call, course: Course) -> Answer:
        """Do what is asked; a request that is too old by now does not reach the engine."""
        try:
            if not course.unchecked:
                self.admit(call)
        except Refused as refused:
            return Answer(refused.status, {"code": refused.code, "msg": refused.message})
        return self.api.answer(call, self.faults.lag_ms(call, self.now()) if call.method == "GET" else 0)

    def _finish(self, course: Course, truth: Answer, done: Callable[[Outcome], None]) -> None:
        outcome = broken(truth, course.broken) if course.broken and truth.status == 200 else truth
        self._in(course.answer_after_ms, lambda: done(outcome))

    def _instead(self, answer: Answer) -> Answer:
        if answer.body is not None:
            return answer
        self._banned_with = answer.status
        left_ms = int(answer.headers["retry-after"]) * 1000
        self._banned_until = self.now() + left_ms
        return self._ban(left_ms)

    def _ban(self, left_ms: int) -> Answer:
        if self._banned_with == 418:
            message = f"Way too much request weight used; IP banned until {self._banned_until}. "
        else:
            message = "Too much request weight used; current limit is 6000 request weight per 1 MINUTE. "
        body = {"code": -1003, "msg": message + "Please use WebSocket Streams for live updates to avoid bans."}
        return Answer(self._banned_with, body, {"retry-after": str(-(-left_ms // 1000))})


def _exact(value: Number) -> Decimal:
    return value if isinstance(value, Decimal) else Decimal(value)


def _maybe(value: Number | None) -> Decimal | None:
    return None if value is None else _exact(value)
