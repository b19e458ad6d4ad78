"""An exchange's public side through ccxt: imported late, restricted to spot, pointed where configured.

ccxt is slow to import and generous with requests: the client made here asks for exactly one list of
markets. It signs nothing and holds no key. What it returns is turned into botd's own values here, so that
ccxt's dictionaries do not spread.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

from botd.domain.amounts import plain
from botd.domain.candle import Candle
from botd.domain.errors import ConfigError
from botd.domain.hints import did_you_mean
from botd.domain.instrument import ZERO, Instrument

_TICK_SIZE = 4  # ccxt's word for "precision is the step itself"


async def make_client(exchange: str, *, testnet: bool, rest: str | None, stream: str | None) -> Any:
    """Return a ccxt.pro client that has not spoken to anybody yet; ConfigError for an unknown exchange."""
    library = await asyncio.to_thread(importlib.import_module, "ccxt.pro")
    # At DEBUG ccxt would log every url.
    logging.getLogger("ccxt").setLevel(logging.INFO)
    if exchange not in library.exchanges:
        raise ConfigError(f"exchange: {exchange!r} has no streams in ccxt", did_you_mean(exchange, library.exchanges))
    client = getattr(library, exchange)(
        {
            "enableRateLimit": True,
            "timeout": 10_000,
            "newUpdates": True,
            "options": {
                "defaultType": "spot",
                "fetchMarkets": {"types": ["spot"]},
                "fetchCurrencies": False,
                "fetchMargins": False,
            },
        }
    )
    if testnet:
        client.set_sandbox_mode(True)
    client.urls["api"] = redirected(client.urls["api"], rest, stream, spot_marker=exchange.startswith("binance"))
    return client


def redirected(urls: Mapping[str, Any], rest: str | None, stream: str | None, *, spot_marker: bool) -> dict[str, Any]:
    """Return ccxt's url table with every base replaced, the paths kept: a missed one would still be the internet.

    ``rest`` replaces http urls, ``stream`` WebSocket urls; None leaves those alone. ccxt tells Binance's spot
    streams by ``/stream`` somewhere in the url; where the new one has it not (``spot_marker``), it is added as
    a fragment, which never leaves this machine.
    """

    def move(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: move(inner) for key, inner in value.items()}
        if not isinstance(value, str):
            return value
        base = stream if value.startswith("ws") else rest
        if base is None:
            return value
        moved = base.rstrip("/") + urlsplit(value).path
        if value.startswith("ws") and spot_marker and "/stream" not in moved:
            moved += "#/stream"
        return moved

    return {key: move(value) for key, value in urls.items()}


def instruments_of(client: Any) -> dict[str, Instrument]:
    """Return the spot pairs of a client whose markets are loaded, by symbol."""
    found = {}
    for market in client.markets.values():
        if market.get("spot") and "/" in market["symbol"]:
            found[market["symbol"]] = _instrument(market, client.precisionMode)
    return found


def _instrument(market: Mapping[str, Any], precision_mode: int) -> Instrument:
    limits = market.get("limits") or {}
    told = market.get("info")
    info: Mapping[str, Any] = told if isinstance(told, Mapping) else {}
    filters = {row.get("filterType"): row for row in info.get("filters") or []}
    return Instrument(
        symbol=market["symbol"],
        base=market["base"],
        quote=market["quote"],
        tick=_grid(market["precision"].get("price"), precision_mode),
        step=_grid(market["precision"].get("amount"), precision_mode),
        min_quantity=_limit(limits, "amount", "min"),
        max_quantity=_limit(limits, "amount", "max"),
        min_notional=_limit(limits, "cost", "min"),
        max_notional=_limit(limits, "cost", "max"),
        max_orders=int(filters.get("MAX_NUM_ORDERS", {}).get("maxNumOrders", 200)),
        max_algo_orders=int(filters.get("MAX_NUM_ALGO_ORDERS", {}).get("maxNumAlgoOrders", 5)),
        status=str(info.get("status") or ("TRADING" if market.get("active") is not False else "BREAK")),
    )


def _grid(precision: Any, mode: int) -> Decimal:
    """Return a tick or step; zero (no grid) where the exchange names none."""
    if precision is None:
        return ZERO
    return plain(Decimal(str(precision))) if mode == _TICK_SIZE else Decimal(1).scaleb(-int(precision))


def _limit(limits: Mapping[str, Any], what: str, end: str) -> Decimal:
    value = (limits.get(what) or {}).get(end)
    return ZERO if value is None else plain(Decimal(str(value)))


def candle_of(row: list[Any]) -> Candle:
    """Return a row of ``fetch_ohlcv`` as a candle; ValueError or TypeError for what is none."""
    open_time, *prices = row
    candle = Candle(int(open_time), *(float(price) for price in prices[:5]))
    if not all(math.isfinite(price) for price in (candle.open, candle.high, candle.low, candle.close)):
        raise ValueError(f"candle {row} is not finite")
    return candle
