"""What is listed: symbols with their grids, and the exchangeInfo that says so.

The recorded exchangeInfo where ``$BOTD_TEST_DATA`` (default ``../shared/data``) has it, rows made here in the
same shape for every other symbol. It knows no prices but the typical one a random walk starts around.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RECORDED = "exchangeinfo/spot-2025-08-07-25symbols.json"
QUOTES = ("USDT", "USDC", "FDUSD", "BTC", "ETH", "BNB", "EUR", "TRY")
TYPICAL = {"BTC": 60000.0, "ETH": 3000.0, "BNB": 550.0, "SOL": 150.0, "LTC": 70.0, "XRP": 0.5, "ADA": 0.4, "DOGE": 0.1}
LIMITS = [
    {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000},
    {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 100},
    {"rateLimitType": "ORDERS", "interval": "DAY", "intervalNum": 1, "limit": 200000},
    {"rateLimitType": "RAW_REQUESTS", "interval": "MINUTE", "intervalNum": 5, "limit": 61000},
]
_ORDER_TYPES = ("LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT")
_SELF_TRADE = ("EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH", "DECREMENT")


@dataclass(frozen=True)
class Listing:
    """A symbol's grid: prices are whole multiples of 10^-price_decimals, quantities of 10^-quantity_decimals.

    ``row`` is its row in exchangeInfo, ``price`` a typical one.
    """

    symbol: str
    base: str
    quote: str
    price: float
    price_decimals: int
    quantity_decimals: int
    row: Mapping[str, Any]

    @property
    def trading(self) -> bool:
        return bool(self.row["status"] == "TRADING")


def data_directory() -> Path | None:
    """Return the directory of the recorded data, None where there is none."""
    default = Path(__file__).resolve().parents[4] / "shared" / "data"
    directory = Path(os.environ.get("BOTD_TEST_DATA") or default)
    return directory if directory.is_dir() else None


def recorded_info() -> dict[str, Any] | None:
    """Return the recorded exchangeInfo."""
    directory = data_directory()
    path = directory / RECORDED if directory else None
    return json.loads(path.read_text()) if path and path.is_file() else None


def synthetic_symbols(count: int) -> list[str]:
    """Return so many symbols that no exchange has: S000USDT, S001USDT ..."""
    return [f"S{number:03d}USDT" for number in range(count)]


def listings(symbols: Sequence[str] | int | None = None) -> dict[str, Listing]:
    """Return listings by symbol: those named, so many synthetic ones, or the recorded (else BTC and ETH)."""
    recorded = recorded_info()
    rows = {row["symbol"]: row for row in recorded["symbols"]} if recorded else {}
    if symbols is None:
        symbols = list(rows) or ["BTCUSDT", "ETHUSDT"]
    elif isinstance(symbols, int):
        symbols = synthetic_symbols(symbols)
    return {symbol: _listing(rows.get(symbol) or symbol_row(symbol)) for symbol in symbols}


def exchange_info(listed: Mapping[str, Listing], server_time: int) -> dict[str, Any]:
    """Return the answer of exchangeInfo for those symbols."""
    return {
        "timezone": "UTC",
        "serverTime": server_time,
        "rateLimits": LIMITS,
        "exchangeFilters": [],
        "symbols": [listing.row for listing in listed.values()],
    }


def symbol_row(symbol: str) -> dict[str, Any]:
    """Return a row of exchangeInfo for any symbol whose end names its quote asset."""
    quote = next((quote for quote in QUOTES if symbol.endswith(quote) and symbol != quote), symbol[-3:])
    base = symbol.removesuffix(quote)
    price, price_decimals, quantity_decimals = _grid_for(base, quote)
    tick, step = (f"{10.0**-decimals:.8f}" for decimals in (price_decimals, quantity_decimals))
    return {
        "symbol": symbol,
        "status": "TRADING",
        "baseAsset": base,
        "baseAssetPrecision": 8,
        "quoteAsset": quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8,
        "orderTypes": list(_ORDER_TYPES),
        "icebergAllowed": True,
        "ocoAllowed": True,
        "otoAllowed": True,
        "quoteOrderQtyMarketAllowed": True,
        "allowTrailingStop": True,
        "cancelReplaceAllowed": True,
        "amendAllowed": True,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": _filters(tick, step, price),
        "permissions": [],
        "permissionSets": [["SPOT"]],
        "defaultSelfTradePreventionMode": "EXPIRE_MAKER",
        "allowedSelfTradePreventionModes": list(_SELF_TRADE),
    }


def _filters(tick: str, step: str, price: float) -> list[dict[str, Any]]:
    most = f"{9_000_000 / price:.0f}.00000000"
    trailing = {f"{bound}Trailing{side}Delta": 10 if bound == "min" else 2000
                for bound in ("min", "max") for side in ("Above", "Below")}  # fmt: skip
    percent = {"bidMultiplierUp": "5", "bidMultiplierDown": "0.2", "askMultiplierUp": "5", "askMultiplierDown": "0.2"}
    return [
        {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": f"{price * 100:.0f}.00000000", "tickSize": tick},
        {"filterType": "LOT_SIZE", "minQty": step, "maxQty": most, "stepSize": step},
        {"filterType": "ICEBERG_PARTS", "limit": 10},
        {"filterType": "MARKET_LOT_SIZE", "minQty": "0.00000000", "maxQty": most, "stepSize": "0.00000000"},
        {"filterType": "TRAILING_DELTA", **trailing},
        {"filterType": "PERCENT_PRICE_BY_SIDE", **percent, "avgPriceMins": 5},
        {"filterType": "NOTIONAL", "minNotional": "5.00000000", "applyMinToMarket": True,
         "maxNotional": "9000000.00000000", "applyMaxToMarket": False, "avgPriceMins": 5},
        {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": 200},
        {"filterType": "MAX_NUM_ALGO_ORDERS", "maxNumAlgoOrders": 5},
    ]  # fmt: skip


def _grid_for(base: str, quote: str) -> tuple[float, int, int]:
    """Return a typical price, and decimals such that a tick is some three basis points and a step below a dollar."""
    dollars = TYPICAL.get(base) or 0.05 * 10 ** (zlib.crc32(base.encode()) % 4000 / 1000)
    price = dollars / TYPICAL.get(quote, 1.0)
    price_decimals = next((decimals for decimals in range(2, 8) if 10.0**-decimals <= price / 3000), 8)
    quantity_decimals = next((decimals for decimals in range(6) if 10.0**-decimals * dollars <= 1), 5)
    return price, price_decimals, min(quantity_decimals, 8 - price_decimals)


def _listing(row: Mapping[str, Any]) -> Listing:
    filters = {entry["filterType"]: entry for entry in row["filters"]}
    price, _, _ = _grid_for(row["baseAsset"], row["quoteAsset"])
    return Listing(
        symbol=row["symbol"],
        base=row["baseAsset"],
        quote=row["quoteAsset"],
        price=price,
        price_decimals=decimals_of(filters["PRICE_FILTER"]["tickSize"]),
        quantity_decimals=decimals_of(filters["LOT_SIZE"]["stepSize"]),
        row=row,
    )


def decimals_of(step: str) -> int:
    """Return 2 for 0.01000000, and for 1.23."""
    fraction = step.partition(".")[2]
    return len(fraction.rstrip("0"))


def with_decimals(symbol: str, price_decimals: int, quantity_decimals: int) -> Listing:
    """Return a made listing with a grid of one's own."""
    row = symbol_row(symbol)
    for entry in row["filters"]:
        if entry["filterType"] == "PRICE_FILTER":
            entry["tickSize"] = entry["minPrice"] = f"{10.0**-price_decimals:.8f}"
        elif entry["filterType"] == "LOT_SIZE":
            entry["stepSize"] = entry["minQty"] = f"{10.0**-quantity_decimals:.8f}"
    return _listing(row)
