"""What the exchange lists: its spot pairs with their filters, statuses and order types, and the account's order limits.

Read from one ``exchangeInfo`` answer, which is kept until the next one. Nothing is asked here.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

import msgspec

from botd.domain.amounts import plain
from botd.domain.errors import NotFoundError
from botd.domain.instrument import ZERO, Instrument
from botd.domain.order import OrderType

TRADING = "TRADING"
GONE = "DELISTED"
"""The status of a pair that was listed and is not any more."""
_INTERVALS = {"SECOND": "S", "MINUTE": "M", "HOUR": "H", "DAY": "D"}


class _Filter(msgspec.Struct, rename="camel"):
    filter_type: str
    tick_size: Decimal = ZERO
    step_size: Decimal = ZERO
    min_qty: Decimal = ZERO
    max_qty: Decimal = ZERO
    min_notional: Decimal = ZERO
    max_notional: Decimal = ZERO
    max_num_orders: int = 200
    max_num_algo_orders: int = 5


class _Symbol(msgspec.Struct, rename="camel"):
    symbol: str
    status: str
    base_asset: str
    quote_asset: str
    filters: list[_Filter]
    order_types: list[str] = []
    is_spot_trading_allowed: bool = True
    oco_allowed: bool = False


class _RateLimit(msgspec.Struct, rename="camel"):
    rate_limit_type: str
    interval: str = ""
    interval_num: int = 1
    limit: int = 0


class ExchangeInfo(msgspec.Struct, rename="camel"):
    """The answer, as far as botd reads it."""

    symbols: list[_Symbol]
    rate_limits: list[_RateLimit] = []


class Listed(msgspec.Struct, frozen=True):
    """One pair: the exchange's name of it, its grid, and what kinds of orders it takes."""

    name: str
    instrument: Instrument
    order_types: frozenset[OrderType] = frozenset()
    oco: bool = False


class Listing:
    """See the module. Mappings are replaced, never changed: they may be kept."""

    def __init__(self) -> None:
        self.pairs: Mapping[str, Listed] = {}
        self.instruments: Mapping[str, Instrument] = {}
        self.order_limits: Mapping[str, int] = {}
        """Orders an account may place, by window: ``10S``, ``1D``."""
        self._symbols: Mapping[str, str] = {}

    def take(self, info: ExchangeInfo) -> None:
        """Take a whole answer in place of the one before; a pair that is missing in it stays, as delisted."""
        found = _pairs(info)
        for symbol, old in self.pairs.items():
            if found and symbol not in found:
                instrument = msgspec.structs.replace(old.instrument, status=GONE)
                found[symbol] = msgspec.structs.replace(old, instrument=instrument)
        self._set(found)
        self.order_limits = {
            f"{limit.interval_num}{_INTERVALS.get(limit.interval, '?')}": limit.limit
            for limit in info.rate_limits
            if limit.rate_limit_type == "ORDERS" and limit.limit > 0
        }

    def update(self, info: ExchangeInfo) -> None:
        """Take an answer about some pairs; the others stay as they are."""
        self._set({**self.pairs, **_pairs(info)})

    def _set(self, pairs: Mapping[str, Listed]) -> None:
        self.pairs = pairs
        self.instruments = {symbol: listed.instrument for symbol, listed in pairs.items()}
        self._symbols = {listed.name: symbol for symbol, listed in pairs.items()}

    def name(self, symbol: str) -> str:
        """Return the exchange's name of ``BTC/USDT``; NotFoundError where it lists no such pair."""
        listed = self.pairs.get(symbol)
        if listed is None:
            raise NotFoundError(f"{symbol}: no such symbol on binance")
        return listed.name

    def symbol(self, name: str) -> str:
        """Return our name of ``BTCUSDT``; the same for one that is not listed."""
        return self._symbols.get(name, name)


def _pairs(info: ExchangeInfo) -> dict[str, Listed]:
    found = {}
    for symbol in info.symbols:
        if symbol.is_spot_trading_allowed and symbol.base_asset and symbol.quote_asset:
            listed = _listed(symbol)
            found[listed.instrument.symbol] = listed
    return found


def _listed(symbol: _Symbol) -> Listed:
    known = {item.name: item for item in OrderType}
    types = frozenset(known[name] for name in symbol.order_types if name in known)
    return Listed(symbol.symbol, _instrument(symbol), types, symbol.oco_allowed)


def _instrument(symbol: _Symbol) -> Instrument:
    rules = {rule.filter_type: rule for rule in symbol.filters}
    none = _Filter("")
    price, lot = rules.get("PRICE_FILTER", none), rules.get("LOT_SIZE", none)
    most = [rule.max_qty for rule in (lot, rules.get("MARKET_LOT_SIZE", none)) if rule.max_qty]
    notional = rules.get("NOTIONAL") or rules.get("MIN_NOTIONAL", none)
    return Instrument(
        symbol=f"{symbol.base_asset}/{symbol.quote_asset}",
        base=symbol.base_asset,
        quote=symbol.quote_asset,
        tick=plain(price.tick_size),
        step=plain(lot.step_size),
        min_quantity=plain(lot.min_qty),
        max_quantity=plain(min(most, default=ZERO)),  # botd sells at market, and its stops do
        min_notional=plain(notional.min_notional),
        max_notional=plain(notional.max_notional),
        max_orders=rules.get("MAX_NUM_ORDERS", none).max_num_orders,
        max_algo_orders=rules.get("MAX_NUM_ALGO_ORDERS", none).max_num_algo_orders,
        status=symbol.status,
    )
