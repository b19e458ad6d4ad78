"""A symbol's filters, read from its row of exchangeInfo, and whether an order passes them: -1013 and -1111.

The row is the truth: a fault that changes it changes what passes, and what exchangeInfo says, together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from tests.fakes.binance.exchange.orders import STOPS, NewOrder, Refused


@dataclass(frozen=True)
class Standing:
    """What the filters must know of the account and the market. ``adding``: orders that the request adds."""

    average: Decimal
    open_orders: int
    open_stops: int
    holding: Decimal
    """The base asset, free and locked, and the quantities of open buys."""
    adding: int = 1


class SymbolRules:
    """The filters of one row."""

    def __init__(self, row: Mapping[str, Any]) -> None:
        self.row = row
        self.symbol: str = row["symbol"]
        self.base: str = row["baseAsset"]
        self.quote: str = row["quoteAsset"]
        self.status: str = row["status"]
        self._filters: dict[str, Mapping[str, Any]] = {entry["filterType"]: entry for entry in row["filters"]}
        self.tick = self._value("PRICE_FILTER", "tickSize")
        self.step = self._value("LOT_SIZE", "stepSize")

    def _value(self, name: str, key: str) -> Decimal:
        """Return a value of a filter; zero where the filter or the value is absent: no rule."""
        return Decimal(str(self._filters.get(name, {}).get(key, 0)))

    def check(self, asked: NewOrder, standing: Standing) -> None:
        """Refuse an order that fails a filter."""
        self._supported(asked)
        for price in (asked.price, asked.stop_price):
            if price:
                self._grid("PRICE_FILTER", price, "minPrice", "maxPrice", "tickSize")
        if asked.price and not asked.price * asked.quantity:
            raise Refused(-1013, "Invalid quantity.")
        self._percent(asked, standing)
        if asked.quantity or asked.type != "MARKET":
            self._grid("LOT_SIZE", asked.quantity, "minQty", "maxQty", "stepSize")
        if asked.type in ("MARKET", "STOP_LOSS", "TAKE_PROFIT") and asked.quantity:
            self._grid("MARKET_LOT_SIZE", asked.quantity, "minQty", "maxQty", "stepSize")
        self._notional(asked, standing)
        if asked.trailing_delta:
            self._trailing(asked)
        self._counts(asked, standing)

    def _supported(self, asked: NewOrder) -> None:
        if asked.type not in self.row["orderTypes"]:
            kind = asked.type.replace("_", " ").capitalize()
            raise Refused(-1013, f"{kind} orders are not supported for this symbol.")
        if asked.quote_quantity and not self.row.get("quoteOrderQtyMarketAllowed", True):
            raise Refused(-1013, "Quote order qty market orders are not support for this symbol.")

    def _grid(self, name: str, value: Decimal, least: str, most: str, step: str) -> None:
        low, high, grid = (self._value(name, key) for key in (least, most, step))
        if (low and value < low) or (high and value > high) or (grid and value % grid):
            raise Refused(-1013, f"Filter failure: {name}")

    def _percent(self, asked: NewOrder, standing: Standing) -> None:
        side = "bid" if asked.side == "BUY" else "ask"
        for name, up, down in (
            ("PERCENT_PRICE", "multiplierUp", "multiplierDown"),
            ("PERCENT_PRICE_BY_SIDE", f"{side}MultiplierUp", f"{side}MultiplierDown"),
        ):
            most, least = self._value(name, up), self._value(name, down)
            if not asked.price or not standing.average:
                continue
            if (most and asked.price > standing.average * most) or asked.price < standing.average * least:
                raise Refused(-1013, f"Filter failure: {name}")

    def _notional(self, asked: NewOrder, standing: Standing) -> None:
        market = not asked.price
        value = asked.quote_quantity or (asked.price or standing.average) * asked.quantity
        for name, to_market in (("MIN_NOTIONAL", "applyToMarket"), ("NOTIONAL", "applyMinToMarket")):
            least = self._value(name, "minNotional")
            if value < least and (not market or self._filters[name].get(to_market, True)):
                raise Refused(-1013, f"Filter failure: {name}")
        most = self._value("NOTIONAL", "maxNotional")
        if most and value > most and (not market or self._filters["NOTIONAL"].get("applyMaxToMarket", False)):
            raise Refused(-1013, "Filter failure: NOTIONAL")

    def _trailing(self, asked: NewOrder) -> None:
        above = (asked.side == "BUY") == asked.type.startswith("STOP_LOSS")
        where = "Above" if above else "Below"
        least = self._value("TRAILING_DELTA", f"minTrailing{where}Delta")
        most = self._value("TRAILING_DELTA", f"maxTrailing{where}Delta")
        if asked.trailing_delta < least or (most and asked.trailing_delta > most):
            raise Refused(-1013, "Filter failure: TRAILING_DELTA")

    def _counts(self, asked: NewOrder, standing: Standing) -> None:
        most = self._value("MAX_NUM_ORDERS", "maxNumOrders")
        if asked.type != "MARKET" and most and standing.open_orders + standing.adding > most:
            raise Refused(-1013, "Filter failure: MAX_NUM_ORDERS")
        stops = self._value("MAX_NUM_ALGO_ORDERS", "maxNumAlgoOrders")
        if asked.type in STOPS and stops and standing.open_stops + 1 > stops:
            raise Refused(-1013, "Filter failure: MAX_NUM_ALGO_ORDERS")
        position = self._value("MAX_POSITION", "maxPosition")
        if asked.side == "BUY" and position and standing.holding + asked.quantity > position:
            raise Refused(-1013, "Filter failure: MAX_POSITION")

    def whole(self, quantity: Decimal) -> Decimal:
        """Return the largest multiple of the step that is not more."""
        return quantity - quantity % self.step if self.step else quantity


def changed(row: Mapping[str, Any], changes: Mapping[str, Mapping[str, Any]], status: str = "") -> dict[str, Any]:
    """Return a row with other values in its filters, and another status."""
    filters = [{**entry, **changes.get(entry["filterType"], {})} for entry in row["filters"]]
    known = {entry["filterType"] for entry in filters}
    filters += [{"filterType": name, **values} for name, values in changes.items() if name not in known]
    return {**row, "filters": filters, "status": status or row["status"]}
