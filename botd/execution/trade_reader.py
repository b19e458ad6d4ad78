"""Reading our executions by a cursor for each symbol: what is missing of our orders is booked, the rest is others'.

A trade is somebody else's only where no order of ours could be its own; until that is clear the cursor waits.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from botd.domain.clock import Clock
from botd.domain.errors import BotdError
from botd.domain.events import Event
from botd.domain.order import PANIC_SEQUENCE, Order, OrderStatus, Purpose
from botd.exchange.remote import RemoteExchange, RemoteOrder, RemoteTrade, UnlistedError
from botd.execution.account import AccountBook
from botd.execution.client_ids import parse_client_order_id
from botd.execution.durable import KeptOrder, OrderArchive
from botd.execution.gateway import Gateway
from botd.execution.learning import Learner
from botd.ledger.records import amount

logger = logging.getLogger("botd.execution")

MOST_PAGES = 50


class TradeReader:
    """Reads a symbol's trades from where it stopped."""

    def __init__(
        self,
        *,
        exchange: RemoteExchange,
        gateway: Gateway,
        learner: Learner,
        account: AccountBook,
        archive: OrderArchive,
        clock: Clock,
        tell: Callable[[Event], None],
        instance: str,
    ) -> None:
        self._exchange = exchange
        self._gateway = gateway
        self._learner = learner
        self._account = account
        self._archive = archive
        self._clock = clock
        self._tell = tell
        self._instance = instance
        self._externals: set[tuple[str, str]] = set()
        self.vanished: set[str] = set()
        """Symbols in which the exchange does not know the last trade any more."""
        self.active: set[str] = set()
        """Symbols whose trades may have news."""
        self.was_read: set[str] = set()
        """Symbols of which everything was read since the start: what was sold while botd was down is booked."""

    def know_external(self, symbol: str, exchange_order_id: str) -> None:
        """Say that an order of the account is not ours."""
        self._externals.add((symbol, exchange_order_id))

    async def read_all(self, symbols: Iterable[str]) -> None:
        """Read what is new of several, in this order. QueryFailedError: of some there is still news to come."""
        left = list(symbols)
        while left:
            try:
                await self.read(left[0])
            except UnlistedError:  # its trades are for nobody to read; what they moved shows in the balances
                logger.info("%s is not listed any more: its trades are not read", left[0])
            except BotdError:
                self.active.update(left)
                raise
            self.was_read.add(left.pop(0))

    async def read(self, symbol: str) -> bool:
        """Read what is new; False while a trade cannot be told to be ours or another's."""
        for _ in range(MOST_PAGES):
            fresh = await self._page(symbol)
            certain = True
            for trade in fresh:
                ours = await self._take_ours(trade)
                certain = certain and (ours or self._take_external(trade))
                if certain:
                    self._account.move_cursor(symbol, trade.trade_id)
            if not fresh or not certain:
                return certain and symbol not in self.vanished
        return False

    def adopt(self, kept: KeptOrder) -> Order:
        """Put an order from the ledger back into the table; return the table's own, where it is there already."""
        table = self._gateway.table
        known = table.find(kept.order.client_order_id)
        if known is not None:
            return known
        if kept.order.status.is_open:
            self._exchange.know({kept.order.client_order_id: kept.order.symbol})  # it may be cancelled yet
            table.keep(kept.order, kept.trade_ids)
        else:
            table.adopt(kept.order, kept.trade_ids)
        return kept.order

    # -- inside

    async def _page(self, symbol: str) -> list[RemoteTrade]:
        cursor = self._account.cursors.get(symbol)
        if cursor is None:
            return list(await self._exchange.find_trades(symbol, since_ms=self._account.opened_ms))
        found = await self._exchange.find_trades(symbol, from_id=cursor)
        if any(trade.trade_id == cursor for trade in found):
            self.vanished.discard(symbol)
            return [trade for trade in found if trade.trade_id != cursor]
        self.vanished.add(symbol)  # the first answer holds the cursor's own trade, wherever that still exists
        return []

    async def _take_ours(self, trade: RemoteTrade) -> bool:
        """Book a trade where it is one of ours; False where it is not, or not known to be."""
        order = await self._order_of(trade)
        if order is None:  # while the ledger was asked, a report may have named it
            order = self._gateway.table.find_by_exchange_id(trade.symbol, trade.exchange_order_id)
        if order is None:
            return False
        if self._learner.book(order, trade):
            logger.info("trade %s of %s was not reported", trade.trade_id, order.client_order_id)
        return True

    def _take_external(self, trade: RemoteTrade) -> bool:
        """Take a trade of somebody else into account; False where it may yet be one of ours."""
        if (trade.symbol, trade.exchange_order_id) not in self._externals:
            nameless = [o for o in self._gateway.open_orders(trade.symbol) if not o.exchange_order_id]
            for candidate in nameless:
                self._gateway.table.doubt(candidate, "a trade of an order not known here yet")
            if nameless:
                return False
        self._account.on_external(trade)
        data = {
            "symbol": trade.symbol,
            "side": trade.side.value,
            "quantity": amount(trade.quantity),
            "price": amount(trade.price),
            "trade_id": trade.trade_id,
            "exchange_order_id": trade.exchange_order_id,
        }
        self._tell(Event(topic="account.external", time_ms=trade.time_ms, data=data))
        return True

    async def _order_of(self, trade: RemoteTrade) -> Order | None:
        order = self._gateway.table.find_by_exchange_id(trade.symbol, trade.exchange_order_id)
        if order is not None or (trade.symbol, trade.exchange_order_id) in self._externals:
            return order
        kept = await self._archive.by_exchange_id(trade.symbol, trade.exchange_order_id)
        since = self._account.opened_ms
        if kept is not None and self._account.epoch and since is not None and kept.order.created_ms < since:
            kept = None  # the exchange began anew since: another order has that number now
        return await self._named(trade) if kept is None else self.adopt(kept)

    async def _named(self, trade: RemoteTrade) -> Order | None:
        """Ask whose order it is that nobody here knows by its number: an order of ours whose answer was never heard,
        whatever was made of that since, or a sale that ``botctl panic`` made while botd was dead."""
        found = await self._exchange.find_numbered(trade.symbol, trade.exchange_order_id)
        if found is None:
            return None
        ours = parse_client_order_id(found.client_order_id)
        if ours is None or ours[0] != self._instance:
            self.know_external(trade.symbol, trade.exchange_order_id)
            return None
        known = self._gateway.table.find(found.client_order_id)
        if known is not None:
            return known
        kept = await self._archive.by_client_id(found.client_order_id)
        if kept is not None:
            return self.adopt(kept)
        return await self._panic_sale(found, ours[1]) if ours[2] >= PANIC_SEQUENCE else None

    async def _panic_sale(self, found: RemoteOrder, bot: int) -> Order:
        """Take in a sale of ``botctl panic``: an exit of the bot that its id names."""
        order = Order(
            client_order_id=found.client_order_id,
            bot=bot,
            symbol=found.symbol,
            interval="",
            side=found.side,
            type=found.type,
            quantity=found.quantity,
            purpose=Purpose.EXIT,
            intent_reason="panic",
            status=OrderStatus.UNKNOWN,
            exchange_order_id=found.exchange_order_id,
            created_ms=found.created_ms,
            updated_ms=found.updated_ms,
        )
        self._gateway.table.keep(order)
        await self._learner.learn(order, found)
        return order
