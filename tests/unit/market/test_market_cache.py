"""The price cache in memory, what is believed of a stored value, and the circuit breaker."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from botd.domain.candle import Candle
from botd.domain.clock import VirtualClock
from botd.market.cache.breaker import Breaker
from botd.market.cache.cache import MemoryCache
from botd.market.cache.cache_values import decode_candle, decode_quote, encode_candle, encode_quote
from botd.market.feed import Quote

NOW = 1_767_225_600_000
QUOTE = Quote(99.9, 100.1, 100.0, NOW)
CANDLE = Candle(NOW - 60_000, 1.1, 1.3, 0.9, 1.2, 7.5)


def candle(minute: int, close: float = 100.0) -> Candle:
    return Candle(NOW + minute * 60_000, 100.0, 110.0, 90.0, close, 1.0)


def test_memory_keeps_the_latest_quote_and_the_last_candles_of_each_lane() -> None:
    cache = MemoryCache(keep=3)
    cache.put_quote("BTC/USDT", Quote(1.0, 1.0, 1.0, 1))
    cache.put_quote("BTC/USDT", QUOTE)
    for minute in range(5):
        cache.put_candle("BTC/USDT", "1m", candle(minute))
    assert asyncio.run(cache.latest("BTC/USDT")) == QUOTE
    assert asyncio.run(cache.latest("ETH/USDT")) is None
    assert asyncio.run(cache.candles("BTC/USDT", "1m", 2)) == [candle(3), candle(4)]
    assert asyncio.run(cache.candles("BTC/USDT", "1m", 9)) == [candle(2), candle(3), candle(4)]
    assert asyncio.run(cache.candles("BTC/USDT", "5m", 9)) == asyncio.run(cache.candles("BTC/USDT", "1m", 0)) == []
    assert cache.status()["status"] == "ok"


def test_the_same_candle_again_replaces_itself_and_an_older_one_is_passed_over() -> None:
    cache = MemoryCache()
    for one in (candle(0), candle(1), candle(1, close=101.0), candle(0, close=50.0)):
        cache.put_candle("BTC/USDT", "1m", one)
    assert asyncio.run(cache.candles("BTC/USDT", "1m", 9)) == [candle(0), candle(1, close=101.0)]
    assert cache.since(("BTC/USDT", "1m"), candle(1).open_time) == [candle(1, close=101.0)]


def test_a_value_is_read_as_it_was_written() -> None:
    assert decode_quote("BTC/USDT", encode_quote("BTC/USDT", QUOTE, NOW), NOW) == QUOTE
    assert decode_candle("BTC/USDT", "1m", encode_candle("BTC/USDT", "1m", CANDLE, NOW), NOW) == CANDLE
    stored = json.loads(encode_quote("BTC/USDT", QUOTE, NOW + 5))
    assert (stored["schema"], stored["time"], stored["written"]) == (1, NOW, NOW + 5)


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 2},
        {"symbol": "ETH/USDT"},
        {"time": NOW + 60_001},
        {"time": -1},
        {"time": "soon"},
        {"bid": -1.0},
        {"bid": 101.0},
        {"last": 0.0},
        {"last": 1e999},
        {"ask": None},
        {"more": 1},
    ],
)
def test_a_quote_that_does_not_fit_is_garbage(change: dict[str, Any]) -> None:
    stored = json.loads(encode_quote("BTC/USDT", QUOTE, NOW)) | change
    assert decode_quote("BTC/USDT", json.dumps(stored).encode(), NOW) is None


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 0},
        {"symbol": "ETH/USDT"},
        {"interval": "5m"},
        {"open_time": NOW - 60_001, "time": NOW - 1},
        {"open_time": NOW + 120_000, "time": NOW + 180_000},
        {"time": NOW},
        {"high": 1.1},
        {"low": 1.15},
        {"volume": -1},
        {"volume": 1e999},
    ],
)
def test_a_candle_that_does_not_fit_is_garbage(change: dict[str, Any]) -> None:
    stored = json.loads(encode_candle("BTC/USDT", "1m", CANDLE, NOW)) | {"open": 1.1} | change
    if change == {"time": NOW}:
        stored["time"] = NOW + 1
    assert decode_candle("BTC/USDT", "1m", json.dumps(stored).encode(), NOW) is None


@pytest.mark.parametrize("value", [None, b"", b"garbage", b"\xff\x00", b"[]", b"null", b"[" * 10_000, "text", 7])
def test_nothing_that_is_found_raises(value: object) -> None:
    assert decode_quote("BTC/USDT", value, NOW) is None
    assert decode_candle("BTC/USDT", "1m", value, NOW) is None
    assert decode_candle("BTC/USDT", "9m", value, NOW) is None


def test_the_breaker_opens_at_the_third_failure_in_a_row_and_tries_once_in_five_seconds() -> None:
    clock = VirtualClock(NOW)
    breaker = Breaker(clock)
    assert [breaker.failed(), breaker.failed()] == [False, False]
    assert breaker.allows()
    assert breaker.failed()  # the one that opens it says so: one warning an outage
    assert not breaker.allows()
    assert breaker.wait_s() == 5.0
    clock.advance(NOW + 5_000)
    assert breaker.allows()
    assert not breaker.allows()  # half-open: one trial
    assert not breaker.failed()
    clock.advance(NOW + 10_000)
    assert breaker.allows()
    assert breaker.succeeded()
    assert breaker.allows()
    assert not breaker.is_open


def test_a_success_between_failures_starts_the_count_anew() -> None:
    breaker = Breaker(VirtualClock(NOW))
    breaker.failed()
    breaker.failed()
    assert not breaker.succeeded()
    assert not breaker.failed()
    assert not breaker.is_open
