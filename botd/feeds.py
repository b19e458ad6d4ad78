"""Which market a configuration asks for: its source of candles or prices, and its cache.

Part of the composition root: concrete classes are chosen here, imported only when the configuration needs them.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec

from botd.config import Config, InstrumentConfig
from botd.domain.clock import Clock
from botd.domain.instrument import Instrument
from botd.market.cache.cache import MemoryCache, ReadableCache
from botd.market.feed import CandleSource
from botd.market.manager import MarketManager


def candle_source(config: Config) -> CandleSource | None:
    """Return the simulated market of a configuration, None where the exchange makes the market."""
    market = config.market
    if market.source == "synthetic":
        from botd.market.simulated.synthetic import SyntheticSource

        return SyntheticSource(market.symbols, market.interval, market.start, market.seed)
    if market.source == "replay":
        from botd.market.simulated.replay import ReplaySource

        return ReplaySource(market.files, market.interval)
    return None


def candle_cache(config: Config, clock: Clock, instance: str) -> ReadableCache:
    """Return where prices and candles are kept for others to read; ``instance`` keeps ledgers apart on one server."""
    redis = config.redis
    if redis.host is None:
        return MemoryCache()
    from botd.market.cache.redis_cache import RedisCache

    return RedisCache(redis.host, redis.port, clock, prefix=f"botd:{instance}:")


def exchange_feed(config: Config, market: MarketManager, clock: Clock) -> Any:
    """Return the live feed: our own streams for Binance, ccxt.pro for every other exchange."""
    where: dict[str, Any] = {
        "testnet": config.testnet,
        "rest": config.endpoints.rest,
        "stream": config.endpoints.stream,
    }
    if config.exchange == "binance":
        from botd.market.binance.binance_feed import BinanceFeed

        return BinanceFeed(market=market, clock=clock, **where)
    from botd.market.by_ccxt.exchange_feed import ExchangeFeed

    return ExchangeFeed(exchange=config.exchange, market=market, clock=clock, **where)


def with_grids(found: Mapping[str, Instrument], configured: Mapping[str, InstrumentConfig]) -> dict[str, Instrument]:
    """Return the instruments with what the configuration says of them in place of what was found."""
    grids = dict(found)
    for symbol, grid in configured.items():
        if symbol in grids:
            given: dict[str, Decimal] = {
                key: value for key in ("tick", "step", "min_notional") if (value := getattr(grid, key)) is not None
            }
            grids[symbol] = msgspec.structs.replace(grids[symbol], **given)
    return grids
