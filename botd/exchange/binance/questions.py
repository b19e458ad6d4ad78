"""What is asked of Binance about the account: orders, trades, balances, commission, and what the key may do.

Each question is one page or a few, through the governor's lane for reconciling; the answer is a value, ``None`` where
the exchange says that it knows no such order, or QueryFailedError. It changes nothing and remembers nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, TypeVar

import msgspec

from botd.domain.errors import BotdError, NotFoundError
from botd.domain.instrument import ZERO
from botd.exchange.binance.client import Answer, RestError, decoded
from botd.exchange.binance.order_wire import (
    WireAccount,
    WireOrder,
    WireTrade,
    remote_order,
    remote_trade,
)
from botd.exchange.binance.outcomes import Operation, Outcome, classify
from botd.exchange.binance.signing import Signer
from botd.exchange.binance.site import Site
from botd.exchange.binance.weights import weight_of
from botd.exchange.governor import Lane
from botd.exchange.remote import QueryFailedError, RemoteOrder, RemoteTrade, UnlistedError

PAGE = 1000  # rows in one answer, the most that Binance gives
DAY_MS = 86_400_000  # the longest window of myTrades
RECV_WINDOW_MS = 10_000  # a question may be late: it changes nothing
_PATIENCE_S = 30.0  # for a permit

Kind = TypeVar("Kind")


class RefusedError(QueryFailedError):
    """The exchange would not answer; ``exchange_code`` is its own, 0 where it has none."""

    def __init__(self, message: str, exchange_code: int) -> None:
        super().__init__(message, "it is asked again")
        self.exchange_code = exchange_code


class _Rates(msgspec.Struct):
    maker: Decimal = ZERO
    taker: Decimal = ZERO


class _Discount(msgspec.Struct, rename="camel"):
    enabled_for_account: bool = False
    enabled_for_symbol: bool = False
    discount_asset: str | None = None
    discount: Decimal = ZERO


class _Commission(msgspec.Struct, rename="camel"):
    standard_commission: _Rates
    special_commission: _Rates = msgspec.field(default_factory=_Rates)
    tax_commission: _Rates = msgspec.field(default_factory=_Rates)
    discount: _Discount = msgspec.field(default_factory=_Discount)


class Commission(msgspec.Struct, frozen=True):
    """What the account pays on a pair, as fractions; ``discount``: the factor on it when paid in ``discount_asset``."""

    maker: Decimal
    taker: Decimal
    discount_asset: str = ""
    discount: Decimal = Decimal(1)


class KeyPermissions(msgspec.Struct, rename="camel", frozen=True):
    """What the API key may do."""

    ip_restrict: bool = False
    enable_spot_and_margin_trading: bool = False
    enable_withdrawals: bool = False
    enable_internal_transfer: bool = False
    permits_universal_transfer: bool = False

    @property
    def takes_money_out(self) -> list[str]:
        """What of it could move money away from the account."""
        found = {
            "withdrawals": self.enable_withdrawals,
            "internal transfers": self.enable_internal_transfer,
            "universal transfers": self.permits_universal_transfer,
        }
        return [name for name, may in found.items() if may]


class Questions:
    """See the module. ``page``: rows in one answer."""

    def __init__(self, site: Site, signer: Signer, page: int = PAGE) -> None:
        self._site = site
        self._signer = signer
        self._page = page

    async def find_order(self, symbol: str, client_order_id: str) -> RemoteOrder | None:
        """Return an order by its client id; None where the exchange answers that it knows no such order."""
        wanted = {"symbol": self._name(symbol), "origClientOrderId": client_order_id}
        return await self._one(wanted, lambda wire: wire.client_order_id == client_order_id)

    async def find_numbered(self, symbol: str, exchange_order_id: str) -> RemoteOrder | None:
        """Return an order, anybody's, by the exchange's own id; None as above."""
        wanted = {"symbol": self._name(symbol), "orderId": exchange_order_id}
        return await self._one(wanted, lambda wire: str(wire.order_id) == exchange_order_id)

    async def _one(self, wanted: dict[str, Any], is_it: Callable[[WireOrder], bool]) -> RemoteOrder | None:
        answer = await self._ask("order", wanted)
        wire = _readable(answer, is_it)
        outcome = classify(Operation.QUERY, answer.status, answer.code, answer.message, readable=wire is not None)
        if outcome is Outcome.NO_SUCH_ORDER:
            return None
        if wire is None or outcome is not Outcome.FOUND:
            said = f"{answer.code} {answer.message}" if answer.code else "an answer that is none"
            raise QueryFailedError(f"order: {outcome}: HTTP {answer.status}, {said}"[:300], "it is asked again")
        return self._order(wire)

    async def find_open_orders(self, symbol: str | None = None) -> list[RemoteOrder]:
        """Return the account's working orders, everybody's, of one symbol or all."""
        params = {} if symbol is None else {"symbol": self._name(symbol)}
        return [self._order(wire) for wire in await self._get("openOrders", params, list[WireOrder])]

    async def find_orders(self, symbol: str, *, from_id: str | None = None, since_ms: int | None = None,
                          ) -> list[RemoteOrder]:  # fmt: skip
        """Return one page (1000) of a symbol's orders, ended ones too, oldest first: from an order id, or a time."""
        params: dict[str, Any] = {"symbol": self._name(symbol), "limit": self._page}
        if from_id is not None:
            params["orderId"] = int(from_id)
        elif since_ms is not None:
            params["startTime"] = since_ms
        return [self._order(wire) for wire in await self._get("allOrders", params, list[WireOrder])]

    async def find_trades(self, symbol: str, *, from_id: str | None = None, order_id: str | None = None,
                          since_ms: int | None = None) -> list[RemoteTrade]:  # fmt: skip
        """Return our executions, oldest first: after a trade id (inclusive), of one order, or since a time.

        A page has 1000 rows, a window of the exchange is a day at most: as many are asked for as it takes.
        """
        base: dict[str, Any] = {"symbol": self._name(symbol), "limit": self._page}
        if order_id is not None:
            rows = await self._trades(base | {"orderId": int(order_id)})
        elif from_id is not None:
            rows = await self._trades_from(base, int(from_id))
        elif since_ms is not None:
            rows = await self._trades_since(base, since_ms)
        else:
            rows = await self._trades(base)
        return [remote_trade(row, self._site.listing.symbol) for row in sorted(rows, key=lambda row: row.id)]

    async def find_account(self) -> WireAccount:
        """Return the balances, and whether the account may trade."""
        return await self._get("account", {"omitZeroBalances": "true"}, WireAccount)

    async def find_commission(self, symbol: str) -> Commission:
        """Return what the account pays on a symbol."""
        told = await self._get("account/commission", {"symbol": self._name(symbol)}, _Commission)
        parts = (told.standard_commission, told.special_commission, told.tax_commission)
        rates = sum((part.maker for part in parts), ZERO), sum((part.taker for part in parts), ZERO)
        discount = told.discount
        if discount.enabled_for_account and discount.enabled_for_symbol and discount.discount_asset:
            return Commission(*rates, discount.discount_asset, discount.discount)
        return Commission(*rates)

    async def find_permissions(self) -> KeyPermissions:
        """Return what the key may do. The test network has no such question."""
        return await self._get("account/apiRestrictions", {}, KeyPermissions, base="/sapi/v1")

    # -- inside

    def _name(self, symbol: str) -> str:
        try:
            return self._site.listing.name(symbol)
        except NotFoundError as error:
            raise UnlistedError(error.message) from None

    def _order(self, wire: WireOrder) -> RemoteOrder:
        try:
            return remote_order(wire, self._site.listing.symbol)
        except ValueError as error:
            raise QueryFailedError(f"an order that cannot be read: {error}") from None

    async def _trades(self, params: dict[str, Any]) -> list[WireTrade]:
        return await self._get("myTrades", params, list[WireTrade])

    async def _trades_from(self, base: dict[str, Any], first: int) -> list[WireTrade]:
        found: list[WireTrade] = []
        while True:
            rows = await self._trades(base | {"fromId": first})
            found += rows
            if len(rows) < self._page:
                return found
            first = max(row.id for row in rows) + 1

    async def _trades_since(self, base: dict[str, Any], since_ms: int) -> list[WireTrade]:
        """The latest page, where that goes back far enough; else windows of a day until one is full, and from there on
        by trade id, which goes on to the present."""
        found = await self._trades(base)
        if len(found) < self._page or min(row.time for row in found) < since_ms:
            return [row for row in found if row.time >= since_ms]
        found, start, now = [], since_ms, self._site.time.now_ms()
        while start <= now:
            rows = await self._trades(base | {"startTime": start, "endTime": start + DAY_MS - 1})
            found += rows
            if len(rows) >= self._page:
                return found + await self._trades_from(base, max(row.id for row in rows) + 1)
            start += DAY_MS
        return found

    async def _get(self, endpoint: str, params: dict[str, Any], kind: type[Kind], base: str = "/api/v3") -> Kind:
        answer = await self._ask(endpoint, params, base)
        try:
            return decoded(endpoint, answer, kind)
        except RestError as error:
            raise RefusedError(error.message, error.exchange_code) from None
        except NotFoundError as error:
            raise UnlistedError(error.message) from None

    async def _ask(self, endpoint: str, params: dict[str, Any], base: str = "/api/v3") -> Answer:
        try:
            answer = await self._site.client.call(
                "GET",
                f"{base}/{endpoint}",
                params,
                weight=weight_of(endpoint, params),
                lane=Lane.RECONCILE,
                signer=self._signer,
                patience_s=_PATIENCE_S,
                recv_window_ms=RECV_WINDOW_MS,
            )
        except BotdError as error:
            raise QueryFailedError(error.message, error.hint) from None
        if answer.code == -1021:
            self._site.time.distrust()
        return answer


def _readable(answer: Answer, is_it: Callable[[WireOrder], bool]) -> WireOrder | None:
    """Return the order that was asked for; None where the answer is something else."""
    if answer.status != 200:
        return None
    try:
        wire = decoded("order", answer, WireOrder)
    except RestError:
        return None
    return wire if is_it(wire) else None
