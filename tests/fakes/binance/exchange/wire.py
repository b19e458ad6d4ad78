"""The exchange on a front: REST desk, WebSocket API, the front's market as what orders trade with, steering.

exchange = Exchange(balances={"USDT": "10000"})
front = await BinanceFront(["BTCUSDT"], exchange=exchange).start()
exchange.set_price("BTCUSDT", "60000.00", "60000.01")       # else the orders trade with the front's market
exchange.books, exchange.venue.faults, exchange.inject(named("accept_then_timeout", times=1))
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

from tests.fakes.binance.exchange.books import Books
from tests.fakes.binance.exchange.calls import Call, Outcome
from tests.fakes.binance.exchange.fault_plan import ExchangeFault, ExchangeFaults
from tests.fakes.binance.exchange.keys import DEFAULT_KEY, ApiKey
from tests.fakes.binance.exchange.matching import Fees
from tests.fakes.binance.exchange.order_counts import OrderCounts
from tests.fakes.binance.exchange.rest_desk import AccountDesk
from tests.fakes.binance.exchange.venue import START, Number, Venue
from tests.fakes.binance.exchange.ws_api import Session
from tests.fakes.binance.market import text

if TYPE_CHECKING:
    from tests.fakes.binance.front import BinanceFront
    from tests.fakes.binance.record import ConnectionSeen

_PRINTS = 1000


class Exchange:
    """An account with a matching engine; given to :class:`BinanceFront` as ``exchange``.

    ``balances``: what it starts with. ``look_ms``: how often resting orders look at the front's market. ``volume``:
    the share of the market's quantities that the account may trade (None: as much as it wants). ``testnet``: there
    is no ``/sapi``.
    """

    def __init__(
        self,
        balances: Mapping[str, Number] | None = None,
        *,
        keys: Iterable[ApiKey] = (DEFAULT_KEY,),
        fees: Fees | None = None,
        faults: ExchangeFaults | Iterable[ExchangeFault] = (),
        seed: int = 0,
        orders_10s: int = 100,
        orders_day: int = 200_000,
        look_ms: int = 100,
        volume: Number | None = None,
        testnet: bool = False,
    ) -> None:
        self.front: BinanceFront
        self.venue: Venue
        self.testnet = testnet
        self.keys = tuple(keys)
        self._balances = START if balances is None else {name: Decimal(held) for name, held in balances.items()}
        self._fees = fees
        self._faults = faults
        self._seed = seed
        self._limits = (orders_10s, orders_day)
        self._look_ms = look_ms
        self._volume = None if volume is None else Decimal(volume)
        self._seen_ms: dict[str, int] = {}
        self._steered: set[str] = set()
        self._looking = False

    @property
    def books(self) -> Books:
        """The oracle."""
        return self.venue.books

    # -- the front's side ----------------------------------------------------------------------------------------

    def attach(self, front: BinanceFront) -> None:
        """Become a front's exchange; called by it."""
        self.front = front
        now = front.clock.now_ms
        self.venue = Venue(
            {symbol: listing.row for symbol, listing in front.market.listings.items()},
            now=now, at=front.pump.at, seed=self._seed, balances=self._balances, keys=self.keys, fees=self._fees,
            faults=self._faults, counts=OrderCounts(now, *self._limits), begin=False,
        )  # fmt: skip
        front.rest.add(AccountDesk(self))

    def begin(self) -> None:
        """Start counting the plan's times; called by the front when it listens."""
        self.venue.begin()
        self._looking = False
        self._watch()

    async def socket(self, request: web.Request) -> web.StreamResponse:
        """Serve a connection to the WebSocket API."""

        def made(seen: ConnectionSeen) -> Session:
            return Session(seen, self)

        return await self.front.accept(request, made)

    def refuses_streams(self) -> bool:
        faults = self.venue.faults
        return any(faults.hit(fault) for fault in faults.holding(self.venue.now(), "stream_refuse"))

    # -- requests ------------------------------------------------------------------------------------------------

    def ask(self, call: Call, done: Callable[[Outcome], None]) -> None:
        """Hand a request to the venue, with the market as it is now."""
        if call.symbol in self.venue.rows:
            self.look(call.symbol)
        self.venue.call(call, done)
        self._watch()

    async def outcome(self, call: Call) -> Outcome:
        waiting: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

        def done(outcome: Outcome) -> None:
            if not waiting.done():
                waiting.set_result(outcome)

        self.ask(call, done)
        return await waiting

    # -- the market ----------------------------------------------------------------------------------------------

    def look(self, symbol: str) -> None:
        """Let a symbol's orders trade with what the front's market has done since the last look."""
        if symbol in self._steered:
            self.venue.engine.look(symbol)
            return
        market, now, venue = self.front.market, self.front.clock.now_ms(), self.venue
        listing = market.listings[symbol]
        since = self._seen_ms.get(symbol, now)
        self._seen_ms[symbol] = now
        if since < now and venue.books.open_orders(symbol):
            for trade in market.prints(symbol, now, since + 1, limit=_PRINTS):
                quantity = self._share(Decimal(text(trade.quantity, listing.quantity_decimals)))
                venue.printed(symbol, text(trade.price, listing.price_decimals), quantity)
        quote = market.quote(symbol, now)
        prices = (text(quote.bid, listing.price_decimals), text(quote.ask, listing.price_decimals))
        sizes = (text(size, listing.quantity_decimals) for size in (quote.bid_quantity, quote.ask_quantity))
        bids, asks = (self._share(Decimal(size)) for size in sizes)
        last = text(market.last_price(symbol, now), listing.price_decimals)
        # With a share of the volume only trades fill what rests: else the quote would offer it a second time.
        free = self._volume is None
        venue.set_price(symbol, *prices, last=last, bid_quantity=bids, ask_quantity=asks, fills=free)

    def _share(self, quantity: Decimal) -> Decimal | None:
        return None if self._volume is None else quantity * self._volume

    def _watch(self) -> None:
        """Go on looking while there are open orders on a market that moves by itself."""
        if not self._looking and any(order.symbol not in self._steered for order in self.books.open_orders()):
            self._looking = True
            self.front.pump.at(self.front.clock.now_ms() + self._look_ms, self._look)

    def _look(self) -> None:
        self._looking = False
        for symbol in {order.symbol for order in self.books.open_orders()} - self._steered:
            self.look(symbol)
        self._watch()

    # -- steering ------------------------------------------------------------------------------------------------

    def set_price(self, symbol: str, bid: Number, ask: Number, **options: Any) -> None:
        """Hold a symbol's market here, in the streams and REST too; options are :meth:`Venue.set_price`'s."""
        self._steered.add(symbol)
        self.front.quote(symbol, str(bid), str(ask))
        self.venue.set_price(symbol, bid, ask, **options)

    def release(self, symbol: str) -> None:
        """Let a symbol's market move by itself again."""
        self._steered.discard(symbol)
        self._seen_ms[symbol] = self.front.clock.now_ms()
        self.front.market.pin(symbol, None)
        self._watch()

    def inject(self, fault: ExchangeFault) -> ExchangeFault:
        return self.venue.inject(fault)

    def mend(self, fault: ExchangeFault) -> None:
        self.venue.mend(fault)

    def mend_all(self) -> None:
        """End all faults of the exchange and every ban."""
        self.venue.mend_all()
        self.front.limits.forgive()

    async def steer(self, what: str, request: web.Request) -> object:
        """Answer the side door of another process; KeyError for what there is not."""
        given = dict(request.query)
        venue = self.venue
        if what == "price":
            self.set_price(given.pop("symbol"), given.pop("bid"), given.pop("ask"), **given)
        elif what == "fill":
            venue.fill(given["client"], given.get("quantity"), given.get("price"))
        elif what == "deposit":
            venue.deposit(given["asset"], given["amount"])
        elif what == "exchange_fault":
            self.inject(msgspec.json.decode(await request.read(), type=ExchangeFault))
        elif what == "exchange_mend":
            self.mend_all()
        elif what != "books":
            raise KeyError(what)
        return self.told()

    def told(self) -> dict[str, object]:
        """Return the books in a form for another process."""
        books = self.books
        return {
            "balances": {asset: [str(free), str(locked)] for asset, (free, locked) in books.both().items()},
            "orders": [
                {"id": order.id, "client_id": order.client_id, "symbol": order.symbol, "side": order.side,
                 "type": order.type, "status": order.status, "quantity": str(order.quantity),
                 "executed": str(order.executed), "list_id": order.list_id}
                for order in books.orders.values()
            ],
            "trades": [{"id": trade.id, "order_id": trade.order_id, "symbol": trade.symbol, "price": str(trade.price),
                        "quantity": str(trade.quantity), "buys": trade.buys} for trade in books.trades],
            "faults": books.faults(),
            "subscribers": self.venue.stream.subscribers,
            "calls": len(self.venue.calls),
            "while_banned": len(self.venue.while_banned),
        }  # fmt: skip
