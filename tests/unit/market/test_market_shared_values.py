"""What followers believe, without a Redis: messages, epochs, times, lanes that are wanted, streams compared."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from market_world import SteppingClock

from botd.config import ConfigError, from_mapping
from botd.domain.candle import Candle
from botd.domain.instrument import Instrument
from botd.market.cache.cache import MemoryCache
from botd.market.cache.redis_link import RedisLink
from botd.market.candles import window_of
from botd.market.feed import Quote
from botd.market.manager import MarketManager
from botd.market.shared import messages
from botd.market.shared.fence import ANEW, NEXT, OLD, Fence, SharedTime
from botd.market.shared.lane_stream import Found, Mend, opened_of, read_mark
from botd.market.shared.messages import (
    SCHEMA,
    KeptCandle,
    KeptInstruments,
    Keys,
    News,
    SharedQuote,
    encode,
    shared_candle,
)
from botd.market.shared.shared_prices import SharedPrices
from botd.market.shared.wanted import KEEP_S, WantedLanes

MINUTE = 60_000
NOW = 1_767_225_600_000
LANE = ("BTC/USDT", "1m")
KEYS = Keys("binance")
BTC = Instrument(symbol="BTC/USDT", base="BTC", quote="USDT", tick=Decimal("0.01"), step=Decimal("0.00001"))


def candle(minute: int, high: float = 102.0) -> Candle:
    return Candle(NOW - 100 * MINUTE + minute * MINUTE, 100.0, high, 99.0, 101.0, 3.0)


def entry(found: Candle, lane: tuple[str, str] = LANE, **changed: Any) -> bytes:
    kept = KeptCandle(SCHEMA, 7, found.open_time + MINUTE, NOW, shared_candle(lane, found))
    return encode(msgspec.structs.replace(kept, **changed)).encode()


# -- values


def test_an_entry_is_the_candle_of_its_lane_and_time() -> None:
    assert messages.decode_candle(LANE, candle(5).open_time, entry(candle(5)), NOW) == (7, candle(5))


@pytest.mark.parametrize(
    "raw",
    [
        *(None, b"", b"garbage", b"\xff", b"null", b"[]", b"[1,2,3,4,5]", "text", 7),
        entry(candle(6)),
        entry(candle(5), ("ETH/USDT", "1m")),
        entry(candle(5), ("BTC/USDT", "5m")),
        entry(candle(5), schema=SCHEMA + 1),
        entry(candle(5, high=100.5)),
        entry(Candle(candle(5).open_time, 100.0, 102.0, -1.0, 101.0, 3.0)),
        entry(Candle(candle(5).open_time, 100.0, 102.0, 99.0, 101.0, -3.0)),
    ],
)
def test_what_is_anything_else_is_no_candle(raw: object) -> None:
    assert messages.decode_candle(LANE, candle(5).open_time, raw, NOW) is None


def test_a_candle_that_cannot_have_closed_is_none() -> None:
    early = candle(102)
    assert messages.decode_candle(LANE, early.open_time, entry(early), NOW) is None


def test_a_message_of_an_absurd_epoch_is_none() -> None:
    good = News(SCHEMA, NOW, 1, NOW, NOW, [], [])
    assert messages.decode_news(encode(good).encode(), NOW) == good
    for changed in ({"time": 0}, {"epoch": NOW * 2}, {"epoch": 0}, {"seq": 0}, {"schema": 9}):
        assert messages.decode_news(encode(msgspec.structs.replace(good, **changed)).encode(), NOW) is None


def test_instruments_that_cannot_be_are_left_out() -> None:
    bad = [msgspec.structs.replace(BTC, symbol="nonsense"), msgspec.structs.replace(BTC, tick=Decimal("NaN"))]
    raw = encode(KeptInstruments(SCHEMA, 1, NOW, NOW, [BTC, *bad])).encode()
    assert messages.decode_instruments(raw) == {"BTC/USDT": BTC}
    assert messages.decode_instruments(b"garbage") == {}


@pytest.mark.parametrize(
    "member",
    [b"", b"garbage", b"BTC/USDT 1m", b"BTC/USDT 7m 5", b"btc 1m 5", b"BTC/USDT 1m -5", b"BTC/USDT 1m 99999999"],
)
def test_a_wanted_lane_that_is_none_is_passed_over(member: bytes) -> None:
    assert messages.parse_wanted(member) is None
    assert messages.parse_wanted(b"BTC/USDT 1m 60") == (LANE, 60)


# -- who is believed, and what time it is


def test_messages_of_one_epoch_follow_each_other() -> None:
    fence = Fence(10.0)
    judged = [fence.judge(*message, 0.0) for message in [(5, 1), (5, 2), (5, 4), (5, 5), (6, 1), (6, 2)]]
    assert judged == [ANEW, NEXT, ANEW, NEXT, ANEW, NEXT]


def test_an_older_epoch_is_believed_only_when_the_newer_was_silent_for_long() -> None:
    fence = Fence(10.0)
    fence.judge(6, 1, 100.0)
    assert [fence.judge(5, 9, 105.0), fence.judge(5, 10, 109.9), fence.judge(5, 11, 110.0)] == [OLD, OLD, ANEW]
    assert fence.judge(5, 12, 110.1) == NEXT


def test_the_message_that_was_least_late_tells_the_time() -> None:
    time = SharedTime()
    for late_ms, at_s in ((40, 1.0), (5, 2.0), (1_000, 3.0)):
        time.heard(NOW + 2_000 - late_ms, NOW, at_s)
    assert time.offset_ms == 1_995
    time.heard(NOW + 2_000 - 900, NOW, 310.0)
    assert time.offset_ms == 1_995  # of the window before
    time.heard(NOW + 2_000 - 900, NOW, 700.0)
    assert time.offset_ms == 1_100


def test_a_clock_of_ours_that_steps_back_is_noticed_at_once() -> None:
    time = SharedTime()
    time.heard(NOW, NOW, 1.0)
    time.heard(NOW + 1_000, NOW - 5_000 + 1_000, 2.0)
    assert time.offset_ms == 5_000


# -- a lane's stream beside our candles


def found(candles: list[Candle], length: int | None = None, mark: bytes | None = b"60 60") -> Found:
    entries = [(f"{c.open_time}-0".encode(), {b"c": entry(c)}) for c in reversed(candles[-16:])]
    return Found(LANE, [len(candles) if length is None else length, entries, mark], NOW)


def mend(there: Found, ours: list[Candle]) -> Mend:
    return Mend(KEYS, LANE, window_of("1m", ours), 60, there, (9, NOW))


OURS = [candle(minute) for minute in range(60)]


def verbs(found: Mend) -> list[str]:
    return [command[0] for command in found.commands]


def test_a_stream_in_step_needs_nothing() -> None:
    found_mend = mend(found(OURS), OURS)
    assert (found_mend.anew, found_mend.told, found_mend.last) == (False, [], OURS[-1].open_time)
    assert verbs(found_mend) == ["HSET", "EXPIRE"]


def test_what_is_newer_is_added_and_told() -> None:
    found_mend = mend(found(OURS[:-2], length=60), OURS)
    assert (found_mend.anew, found_mend.told) == (False, OURS[-2:])
    assert verbs(found_mend) == ["XADD", "XADD", "HSET", "EXPIRE"]


def test_a_stream_that_is_ahead_of_us_is_left_as_it_is() -> None:
    found_mend = mend(found([*OURS, candle(60), candle(61)]), OURS)
    assert (found_mend.anew, found_mend.told, found_mend.last) == (False, [], candle(61).open_time)


@pytest.mark.parametrize(
    "there",
    [
        found([]),
        found(OURS, length=59),
        found(OURS, mark=None),
        found(OURS, mark=b"40 40"),
        found([*OURS[:50], *OURS[51:]]),
        found([*OURS[:50], candle(50, high=777.0), *OURS[51:]]),
        Found(LANE, [TypeError("WRONGTYPE"), TypeError("WRONGTYPE"), None], NOW),
        Found(LANE, [61, [(b"9999999999999-0", {b"c": b"x"}), (b"5-0", {b"c": b"y"})], b"60 60"], NOW),
    ],
)
def test_a_stream_that_is_wrong_is_written_anew(there: Found) -> None:
    found_mend = mend(there, OURS)
    assert found_mend.anew
    assert verbs(found_mend) == ["UNLINK", *["XADD"] * 60, "HSET", "EXPIRE"]
    assert found_mend.told


def test_what_differs_is_told_with_our_values() -> None:
    found_mend = mend(found([*OURS[:50], candle(50, high=777.0), *OURS[51:]]), OURS)
    assert found_mend.told == [candle(50)]


def test_marks_and_ids_of_another_make_are_none() -> None:
    assert [read_mark(raw) for raw in (b"60 47", b"60", b"", None, b"a b", b"60 47 1")] == [(60, 47)] + [(0, 0)] * 5
    assert [opened_of(raw) for raw in (b"120000-0", b"120000-1", b"garbage", b"-0")] == [120_000, 0, 0, 0]


# -- lanes that are wanted


class Market:
    def __init__(self) -> None:
        self.clock = SteppingClock(NOW)
        self.manager = MarketManager(
            clock=self.clock, cache=MemoryCache(), base_interval=None, on_event=lambda event: None,
            candle_feed=False, lookback=60,
        )  # fmt: skip
        self.news = 0
        self.wanted = WantedLanes(self.manager, self.clock, self._changed)

    def _changed(self) -> None:
        self.news += 1

    def take(self, *members: bytes, after_s: float = 1.0) -> set[str]:
        self.clock.advance(self.clock.now_ms() + round(after_s * 1000))
        return self.wanted.take(list(members), {"BTC/USDT": BTC})


def test_a_lane_that_is_wanted_is_subscribed_to_and_let_go_when_nobody_asks() -> None:
    market = Market()
    assert market.take(b"BTC/USDT 1m 30", b"DOGE/USDT 1m 30", b"garbage") == {"BTC/USDT"}
    assert market.manager.lanes() == {LANE: 60}
    assert (market.wanted.garbage, market.manager.warmup(*LANE)) == (2, 30)
    for _ in range(int(KEEP_S) - 1):
        market.take()
    assert market.manager.lanes() == {LANE: 60}
    market.take(after_s=2.0)
    assert (market.manager.lanes(), market.wanted.symbols) == ({}, frozenset())


def test_the_time_in_which_nobody_could_ask_does_not_count() -> None:
    market = Market()
    market.take(b"BTC/USDT 1m 30")
    market.take(after_s=6 * 3600)
    assert market.manager.lanes() == {LANE: 60}


def test_the_most_demanding_reader_decides_how_much_history_there_is() -> None:
    market = Market()
    market.take(b"BTC/USDT 1m 30", b"BTC/USDT 1m 90")
    assert (market.manager.lanes(), market.manager.warmup(*LANE)) == ({LANE: 90}, 90)
    market.take(b"BTC/USDT 1m 200")
    assert market.manager.lanes() == {LANE: 200}


def test_a_candle_of_a_wanted_lane_is_news() -> None:
    market = Market()
    market.take(b"BTC/USDT 1m 30")
    market.manager.load_history(*LANE, window_of("1m", OURS))
    market.manager.on_candle(*LANE, candle(60))
    market.manager.on_tick("BTC/USDT", Quote(1.0, 2.0, 1.5, NOW))
    assert (market.news, list(market.wanted.news)) == (1, [LANE])
    assert market.wanted.lanes[LANE].fresh == [candle(60)]


def test_the_news_of_a_lane_go_with_the_lane() -> None:
    """Written later they would cut its stream to what is kept of a lane that nobody keeps: nothing."""
    market = Market()
    market.take(b"BTC/USDT 1m 30")
    market.manager.load_history(*LANE, window_of("1m", OURS))
    market.manager.on_candle(*LANE, candle(60))
    for _ in range(40):
        market.take(after_s=2.0)
    assert (market.wanted.lanes, market.wanted.news) == ({}, {})


def test_a_step_of_our_clock_that_is_taken_back_freezes_no_shared_price() -> None:
    market = Market()
    link = RedisLink("127.0.0.1", 1, market.clock, meanwhile="")
    prices = SharedPrices(market.manager, link, KEYS, market.clock, SharedTime())
    prices.follow({"BTC/USDT"})
    market.clock.step_ms = 3_600_000
    prices.take(SharedQuote("BTC/USDT", 100.0, 100.5, 100.25, NOW + 3_600_000))
    market.clock.step_ms = 0
    prices.take(SharedQuote("BTC/USDT", 101.0, 101.5, 101.25, NOW))
    assert market.manager.quote("BTC/USDT") == Quote(101.0, 101.5, 101.25, NOW)


def test_a_price_that_is_hard_to_believe_is_forgotten_with_its_symbol() -> None:
    market = Market()
    link = RedisLink("127.0.0.1", 1, market.clock, meanwhile="")
    prices = SharedPrices(market.manager, link, KEYS, market.clock, SharedTime())
    prices.follow({"BTC/USDT"})
    prices.take(SharedQuote("BTC/USDT", 100.0, 100.5, 100.25, NOW))
    prices.take(SharedQuote("BTC/USDT", 200.0, 200.5, 200.25, NOW))
    assert set(prices.suspects) == {"BTC/USDT"}  # Redis is asked for it, again and again
    prices.follow(set())
    assert prices.suspects == {}


# -- configuration


@pytest.mark.parametrize(
    ("redis", "source", "says"),
    [
        ({"publish": True}, "exchange", "redis.publish: needs redis.host"),
        ({"publish": True, "host": "h"}, "redis", "a redis market cannot be published"),
        ({"publish": True, "host": "h"}, "synthetic", "a synthetic market cannot be published"),
    ],
)
def test_only_the_exchanges_market_is_published(redis: dict[str, Any], source: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        from_mapping({"market": {"source": source}, "redis": redis})


def test_a_ledger_is_bound_to_the_market_of_redis_by_exchange_and_testnet() -> None:
    config = from_mapping({"market": {"source": "redis"}, "redis": {"host": "h"}, "testnet": True})
    assert config.world() == {
        "mode": "paper", "exchange": "binance", "testnet": True, "account": "paper", "market": {"source": "redis"},
    }  # fmt: skip
    assert not config.simulated
