"""The simulated exchange: one matching engine behind the exchange seam, fed by the market.

It keeps the account (:mod:`~botd.exchange.simulated_account`) and the open orders
(:mod:`~botd.exchange.simulated_book`), admits orders (:mod:`~botd.exchange.admission`), fills them as
:mod:`~botd.exchange.matching` says, and reports synchronously. A listener may submit and cancel from
within a report: an event works on the orders that it found, and looks again before each fill.

Candle feeds follow BACKTEST.md: a market order fills at the next OPEN of its lane, an order with a
``trigger_price`` within :meth:`SimulatedExchange.submit`, resting orders on OPEN and CLOSED of candles that
open no earlier than the order. With ``max_volume_pct`` all fills of a candle happen on CLOSED, where its
volume is known (market orders at its open price); orders with a trigger price stay whole.
Tick feeds fill at the quote, ``latency_ms`` of trading time after the order was sent.

It sets no timers, knows no bots, and writes nothing: its state is handed out as rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import msgspec

from botd.domain.amounts import EXACT, money
from botd.domain.candle import Candle
from botd.domain.clock import Clock
from botd.domain.instrument import Instrument
from botd.domain.order import Fill, Order, OrderStatus, Report
from botd.exchange import admission, matching
from botd.exchange.exchange import Balance, ReportListener
from botd.exchange.matching import Bar, Match, Quote, Triggered
from botd.exchange.simulated_account import Account, FeePolicy
from botd.exchange.simulated_book import Book, Lane, RestingOrder

SEQUENCE = "sequence"
TICK = "tick"


class Sequences(msgspec.Struct):
    """The last exchange order id and trade id given; neither is ever given again."""

    order: int = 0
    trade: int = 0


class SimulatedExchange:
    """An account on an exchange that exists in this process only. Fractions are fractions (0.001 is 0.1 %)."""

    in_process = True

    def __init__(
        self,
        instruments: Mapping[str, Instrument],
        *,
        clock: Clock,
        maker_fee: Decimal,
        taker_fee: Decimal,
        slippage: Decimal,
        balance: Mapping[str, Decimal],
        candle_feed: bool,
        fee_asset: str = "quote",
        latency_ms: int = 0,
        max_volume_pct: Decimal | None = None,
    ) -> None:
        """``fee_asset``: quote, base or an asset's name. ``max_volume_pct``: a fraction of the candle's volume."""
        self._instruments = dict(instruments)
        self._clock = clock
        self._fees = FeePolicy(maker=maker_fee, taker=taker_fee, asset=fee_asset)
        self._slippage = float(slippage)
        self._candle_feed = candle_feed
        self._latency_ms = 0 if candle_feed else latency_ms
        self._max_volume = float(max_volume_pct) if max_volume_pct and candle_feed else None
        self._allowance: Decimal | None = None
        """What may still fill of the candle at hand."""
        self._account = Account(balance)
        self._book = Book()
        self._sequences = Sequences()
        self._sequences_changed = False
        self._prices: dict[str, float] = {}
        self._quotes: dict[str, Quote] = {}
        self._lane_times: dict[Lane, int] = {}
        self._delayed: dict[str, RestingOrder] = {}
        self._listener: ReportListener = lambda report: None
        self._counts = dict.fromkeys(("orders", "fills", "rejected", "canceled", "unknown_cancels", "duplicates"), 0)

    # -- the exchange's seam

    def listen(self, listener: ReportListener) -> None:
        """Send every report to ``listener``."""
        self._listener = listener

    def submit(self, order: Order) -> None:
        """Take, refuse or fill an order; the reports come before this returns."""
        if order.client_order_id in self._book.orders:
            self._counts["duplicates"] += 1
            self._report(self._book.orders[order.client_order_id], reason=admission.DUPLICATE)
            return
        self._counts["orders"] += 1
        last = self._prices.get(order.symbol)
        refusal = admission.refusal(
            order,
            self._instruments.get(order.symbol),
            last,
            resting=self._book.resting(order.symbol),
            algo=self._book.algo(order.symbol),
            min_notional=not admission.may_leave_small(order, self._candle_feed),
        )
        if refusal:
            self._reject(order, refusal)
            return
        asset, unit, priced = admission.reservation(
            order, self._instruments[order.symbol], last, self._fees, self._slippage
        )
        needed = money(EXACT.multiply(order.quantity, unit))
        if not admission.affordable(order.side, needed, self._account.free(asset)):
            self._reject(order, admission.INSUFFICIENT)
            return
        self._arrive(self._accept(order, asset, unit, priced), order)

    def cancel(self, client_order_id: str) -> None:
        """End an open order. A finished one is reported as it ended; an unknown id is only counted."""
        order = self._book.orders.get(client_order_id)
        if order is not None:
            self._counts["canceled"] += 1
            self._end(order, OrderStatus.CANCELED)
            return
        self._counts["unknown_cancels"] += 1
        finished = self._book.finished.get(client_order_id)
        if finished is not None:
            status, exchange_order_id = finished
            self._tell(client_order_id, status, exchange_order_id, admission.UNKNOWN_ORDER)

    def list_instruments(self, instruments: Mapping[str, Instrument]) -> None:
        """Take instruments that became known after the start, or whose filters changed."""
        self._instruments.update(instruments)

    def instruments(self) -> Mapping[str, Instrument]:
        """Return what may be traded, by symbol."""
        return self._instruments

    def balances(self) -> Mapping[str, Balance]:
        """Return the account's balances, by asset."""
        return self._account.balances()

    def open_orders(self, symbol: str | None = None) -> list[Order]:
        """Return the open orders, of one symbol if given, in order of arrival."""
        return [order.as_order() for order in self._book.orders.values() if symbol in (None, order.symbol)]

    def statistics(self) -> dict[str, Any]:
        """Return the counters, and how many orders are open."""
        return {**self._counts, "open_orders": len(self._book.orders)}

    # -- the market's seam

    def on_open(self, symbol: str, interval: str, open_time: int, price: float) -> None:
        """A candle opened: waiting market orders fill, then stops, targets and limits that the open passed."""
        if not self._candle_feed:
            return
        lane = (symbol, interval)
        self._prices[symbol] = price
        self._lane_times[lane] = open_time
        if self._max_volume is None and self.reaches(lane, price, price):
            self._allowance = None
            self._match(self._book.lanes[lane].values(), Bar(price, price, price), open_time, is_open=True)

    def on_closed(self, symbol: str, interval: str, candle: Candle) -> None:
        """A candle closed: resting orders that its range touched fill, but for sales above the market."""
        if not self._candle_feed:
            return
        self._prices[symbol] = candle.close
        self._lane_times[symbol, interval] = candle.open_time
        limited = self._max_volume is not None
        self._allowance = matching.exact(candle.volume * self._max_volume) if self._max_volume is not None else None
        if self.reaches((symbol, interval), candle.low, candle.high):
            orders = self._book.lanes[symbol, interval]
            due = [order for order in orders.values() if (limited or order.rests) and not matching.sells_above(order)]
            if due:
                self._match(due, Bar(candle.open, candle.high, candle.low), candle.open_time)

    def after_levels(self, symbol: str, interval: str, candle: Candle) -> None:
        """Stops of positions had their turn (the pessimistic order): now sales above the market fill."""
        if self._candle_feed and self.reaches((symbol, interval), candle.low, candle.high):
            due = [order for order in self._book.lanes[symbol, interval].values() if matching.sells_above(order)]
            self._match(due, Bar(candle.open, candle.high, candle.low), candle.open_time)

    def reaches(self, lane: Lane, low: float, high: float) -> bool:
        """Tell whether prices between ``low`` and ``high`` can do anything to an open order of a lane."""
        orders = self._book.lanes.get(lane)
        if not orders:
            return False
        if lane not in self._book.reaches:
            self._book.reaches[lane] = matching.reach_of(orders.values())
        return self._book.reaches[lane].is_touched(low, high)

    def on_tick(self, symbol: str, quote: Quote) -> None:
        """A price changed: what the latency has delayed arrives, then resting orders of the symbol."""
        if self._candle_feed:
            return
        self._quotes[symbol] = quote
        self._prices[symbol] = quote.last
        if self._delayed:
            self.settle_due()
        orders = self._book.lanes.get((symbol, TICK))
        if orders:
            for order in sorted(orders.values(), key=matching.turn):
                if self._book.holds(order) and order.client_order_id not in self._delayed:
                    self._meet_quote(order)

    def settle_due(self) -> None:
        """Let the delayed orders arrive whose latency is over, at the latest quote (tick feeds).

        Every tick calls it; in a quiet market a timer may.
        """
        now = self._clock.now_ms()
        for order in list(self._delayed.values()):
            if order.active_ms <= now and order.symbol in self._quotes and self._book.holds(order):
                del self._delayed[order.client_order_id]
                self._meet_quote(order)

    def prime(self, symbol: str, quote: Quote) -> None:
        """Tell the latest price after a restart, filling nothing: prices are the market's, not part of the state."""
        self._prices[symbol] = quote.last
        if not self._candle_feed:
            self._quotes[symbol] = quote

    # -- the state

    def drain_changes(self) -> dict[str, str | None]:
        """Return key -> JSON (None: deleted) of everything that changed since the last call."""
        rows = self._book.drain() | self._account.drain()
        if self._sequences_changed:
            rows[SEQUENCE] = msgspec.json.encode(self._sequences).decode()
            self._sequences_changed = False
        return rows

    def restore(self, rows: Mapping[str, str]) -> None:
        """Go on from the rows that were drained before; without any, the configured balance stands."""
        if not rows:
            return
        self._account = Account.restored(rows)
        self._book = Book.restored(rows)
        self._sequences = msgspec.json.decode(rows[SEQUENCE], type=Sequences) if SEQUENCE in rows else Sequences()
        self._sequences_changed = False
        self._delayed = {}
        for order in self._book.orders.values():
            self._account.reserve(order.asset, order.reservation())
            if not self._candle_feed and not order.arrived:
                self._delayed[order.client_order_id] = order

    # -- orders in

    def _accept(self, order: Order, asset: str, unit: Decimal, priced: bool) -> RestingOrder:
        now = self._clock.now_ms()
        self._sequences.order += 1
        self._sequences_changed = True
        resting = RestingOrder.of(
            order,
            exchange_order_id=self._sequences.order,
            lane=(order.symbol, order.interval if self._candle_feed else TICK),
            created_ms=now,
            active_ms=now + self._latency_ms,
            asset=asset,
            unit=unit,
            priced=priced,
        )
        self._book.add(resting)
        self._account.reserve(asset, resting.reservation())
        return resting

    def _arrive(self, resting: RestingOrder, order: Order) -> None:
        """Fill at once what fills at once; else acknowledge."""
        if self._candle_feed and order.trigger_price is not None:
            match = matching.at_once(order.type, order.side, order.trigger_price, self._slippage)
            closing = self._lane_times.get((order.symbol, order.interval))
            self._fill(resting, match, resting.quantity, matching.fill_time(order, self._clock.now_ms(), closing))
            return
        if not self._candle_feed:
            if self._latency_ms or order.symbol not in self._quotes:
                self._delayed[order.client_order_id] = resting
            else:
                self._meet_quote(resting)
        if self._book.holds(resting) and not resting.filled:
            self._report(resting)

    def _reject(self, order: Order, reason: str) -> None:
        self._counts["rejected"] += 1
        self._tell(order.client_order_id, OrderStatus.REJECTED, reason=reason)

    # -- matching

    def _match(self, orders: Iterable[RestingOrder], bar: Bar, open_time: int, *, is_open: bool = False) -> None:
        """Hold the orders that are old enough against one candle event; the allowance caps the sum filled."""
        due = [order for order in orders if order.active_ms <= open_time]
        if len(due) > 1:
            due.sort(key=matching.turn)
        for order in due:
            if not self._book.holds(order):
                continue
            outcome = matching.in_bar(order, bar, self._slippage)
            if isinstance(outcome, Match):
                quantity = order.remaining
                if self._allowance is not None:
                    quantity = min(quantity, self._instruments[order.symbol].floor_quantity(self._allowance))
                    self._allowance -= quantity
                if quantity > 0:
                    self._fill(order, outcome, quantity, open_time)
            elif isinstance(outcome, Triggered):
                order.triggered = True
                order.active_ms = open_time if is_open else open_time + 1
                self._book.touch(order)

    def _meet_quote(self, order: RestingOrder) -> None:
        """Hold an order that has arrived against the latest quote."""
        outcome = matching.at_quote(order, self._quotes[order.symbol], self._slippage)
        if not order.arrived or isinstance(outcome, Triggered):
            order.arrived = True
            order.triggered = order.triggered or isinstance(outcome, Triggered)
            self._book.touch(order)
        if isinstance(outcome, Match):
            self._fill(order, outcome, order.remaining, self._clock.now_ms())

    def _fill(self, order: RestingOrder, match: Match, quantity: Decimal, time_ms: int) -> None:
        """Book one fill and report it; nothing may touch ``order`` after the report."""
        if not order.priced and not self._covers(order, match, quantity):
            self._end(order, OrderStatus.EXPIRED, admission.INSUFFICIENT)
            return
        reserved = order.reservation()
        order.filled = EXACT.add(order.filled, quantity)
        self._account.reserve(order.asset, EXACT.subtract(order.reservation(), reserved))
        fill = self._book_fill(order, match, quantity, time_ms)
        self._counts["fills"] += 1
        if order.remaining:
            self._book.touch(order)
            self._report(order, fill=fill)
        else:
            self._book.finish(order, OrderStatus.FILLED)
            self._report(order, OrderStatus.FILLED, fill=fill)

    def _book_fill(self, order: RestingOrder, match: Match, quantity: Decimal, time_ms: int) -> Fill:
        """Move the balances; return the fill."""
        fee_asset, fee = self._fees.settle(
            self._account,
            self._instruments[order.symbol],
            order.side,
            quantity,
            match.price,
            maker=match.maker,
            prices=self._prices,
        )
        self._sequences.trade += 1
        self._sequences_changed = True
        return Fill(
            trade_id=str(self._sequences.trade),
            client_order_id=order.client_order_id,
            bot=order.bot,
            symbol=order.symbol,
            side=order.side,
            quantity=quantity,
            price=match.price,
            fee=fee,
            fee_asset=fee_asset,
            time_ms=time_ms,
        )

    def _covers(self, order: RestingOrder, match: Match, quantity: Decimal) -> bool:
        """Tell whether the balance covers a buy that was accepted before any price was known."""
        cost = EXACT.multiply(EXACT.multiply(quantity, match.price), EXACT.add(Decimal(1), self._fees.taker))
        return admission.affordable(order.side, cost, self._account.free(order.asset))

    def _end(self, order: RestingOrder, status: OrderStatus, reason: str = "") -> None:
        self._account.reserve(order.asset, order.reservation().copy_negate())
        self._delayed.pop(order.client_order_id, None)
        self._book.finish(order, status)
        self._report(order, status, reason=reason)

    def _report(
        self, order: RestingOrder, status: OrderStatus | None = None, reason: str = "", fill: Fill | None = None
    ) -> None:
        self._tell(order.client_order_id, status or order.status, str(order.exchange_order_id), reason, fill)

    def _tell(
        self,
        client_order_id: str,
        status: OrderStatus,
        exchange_order_id: str = "",
        reason: str = "",
        fill: Fill | None = None,
    ) -> None:
        self._listener(
            Report(
                client_order_id=client_order_id,
                status=status,
                time_ms=self._clock.now_ms(),
                exchange_order_id=exchange_order_id,
                reason=reason,
                fill=fill,
            )
        )
