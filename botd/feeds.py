"""Which market a configuration asks for: its source of candles or prices, and its cache.

Part of the composition root: concrete classes are chosen here, imported only when the configuration needs them.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

from botd.config import Config, InstrumentConfig
from botd.domain.candle import interval_ms
from botd.domain.clock import Clock
from botd.domain.instrument import Instrument
from botd.market.cache.cache import MemoryCache, ReadableCache
from botd.market.feed import CandleSource, Quote
from botd.market.manager import MarketManager

if TYPE_CHECKING:
    from botd.exchange.binance.site import Site


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


def last_quotes(source: CandleSource, now_ms: int) -> Iterator[tuple[str, Quote]]:
    """Yield each symbol's price as of a time: what is known after a restart, before the market moves again."""
    for symbol in source.symbols:
        last = source.history(symbol, source.interval, now_ms, 1)
        if len(last):
            close = float(last.close[-1])
            yield symbol, Quote(close, close, close, int(last.time[-1]) + interval_ms(source.interval))


def candle_cache(config: Config, clock: Clock, instance: str) -> ReadableCache:
    """Return where prices and candles are kept for others to read; ``instance`` keeps ledgers apart on one server."""
    redis = config.redis
    if redis.host is None:
        return MemoryCache()
    from botd.market.cache.redis_cache import RedisCache

    return RedisCache(redis.host, redis.port, clock, prefix=f"botd:{instance}:")


def exchange_feed(
    config: Config,
    market: MarketManager,
    clock: Clock,
    on_listing: Callable[[], None],
    instance: str,
    site: Site | None = None,
) -> Any:
    """Return the live feed: the exchange's, published where that is configured, or what another daemon publishes.

    ``on_listing`` is called whenever it has looked its symbols up again; ``instance`` tells others who publishes;
    ``site`` is shared with the account, where there is one.
    """
    redis = config.redis
    if redis.host is None or not (redis.publish or config.market.source == "redis"):
        return _own_feed(config, market, clock, on_listing, site)
    from botd.market.cache.redis_link import RedisLink
    from botd.market.shared.messages import Keys

    keys = Keys(config.exchange, config.testnet)
    if config.market.source == "redis":
        from botd.market.shared.shared_feed import SharedFeed

        link = RedisLink(redis.host, redis.port, clock, meanwhile="the market grows stale")
        return SharedFeed(link, keys, market=market, clock=clock, seed=instance, on_listing=on_listing)
    from botd.market.shared.published_feed import PublishedFeed
    from botd.market.shared.publisher import Publisher

    feed = _own_feed(config, market, clock, on_listing, site)
    publisher = Publisher(
        RedisLink(redis.host, redis.port, clock, meanwhile="the market is not shared"),
        keys,
        market=market,
        clock=clock,
        name=f"{instance}@{socket.gethostname()}",
        exchange_ms=getattr(feed, "exchange_ms", clock.now_ms),
        instruments=feed.instruments,
    )
    return PublishedFeed(feed, publisher)


def _own_feed(
    config: Config, market: MarketManager, clock: Clock, on_listing: Callable[[], None], site: Site | None
) -> Any:
    """Return a connection to the exchange: our own streams for Binance, ccxt.pro for every other one."""
    where: dict[str, Any] = {
        "testnet": config.testnet,
        "rest": config.endpoints.rest,
        "stream": config.endpoints.stream,
    }
    if config.exchange == "binance":
        from botd.market.binance.binance_feed import BinanceFeed

        return BinanceFeed(market=market, clock=clock, on_listing=on_listing, site=site, **where)
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
