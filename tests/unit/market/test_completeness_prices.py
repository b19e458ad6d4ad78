"""A symbol's price: which ticks are believed, and when the stream is not."""

from __future__ import annotations

import math

import pytest

from botd.market.binance.price_watch import DISTRUST_MS, JUMP_AGE_MS, QUIET_MS, UNSEEN_MS, PriceWatch

T0 = 1_767_225_600_000


class Watch:
    """A watch that heard 100.0 / 100.1 at T0."""

    def __init__(self) -> None:
        self.watch = PriceWatch(T0)
        self.updates = 0
        assert self.tick(100.0, 0)

    def tick(self, bid: float, ms: int, update: int | None = None) -> bool:
        self.updates += 1
        return self.watch.on_tick(bid, bid + 0.1, self.updates if update is None else update, T0 + ms) is not None

    def rest(self, bid: float, ms: int) -> bool:
        """Take REST's quote; tells whether the stream is distrusted."""
        return self.watch.on_rest(bid, bid + 0.1, T0 + ms)[1]


def test_a_tick_is_a_quote_with_our_time() -> None:
    watch = PriceWatch(T0)
    quote = watch.on_tick(10.0, 11.0, 5, T0)
    assert quote is not None and (quote.bid, quote.ask, quote.last, quote.time_ms) == (10.0, 11.0, 10.5, T0)


@pytest.mark.parametrize("bid, ask", [(0.0, 1.0), (-1.0, 1.0), (2.0, 1.0), (math.nan, 1.0), (1.0, math.inf)])
def test_absurd_ticks_are_quarantined(bid: float, ask: float) -> None:
    watch = PriceWatch(T0)
    assert watch.on_tick(bid, ask, 1, T0) is None
    assert watch.counts["quarantined"] == 1


def test_what_two_connections_say_twice_counts_once() -> None:
    w = Watch()
    assert w.tick(101.0, 10, update=7)
    assert not w.tick(100.5, 11, update=6)
    assert not w.tick(101.0, 12, update=7)
    assert w.watch.counts["old"] == 2
    # after a restart of the exchange its numbers may begin anew
    assert w.tick(101.0, 12 + DISTRUST_MS, update=1)


def test_a_jump_waits_for_rest() -> None:
    w = Watch()
    assert not w.tick(70.0, 500)
    assert w.watch.wants_rest(T0 + 600)
    assert not w.rest(70.1, 700)
    assert w.watch.last is not None and w.watch.last.bid == 70.1
    assert w.tick(70.2, 800)


def test_a_jump_that_rest_denies_stays_out() -> None:
    w = Watch()
    assert not w.tick(170.0, 500)
    w.rest(100.0, 600)
    assert w.watch.last is not None and w.watch.last.bid == 100.0
    assert not w.tick(170.0, 700)
    assert w.tick(100.2, 800)


def test_a_jump_that_lasts_is_believed_without_rest() -> None:
    w = Watch()
    taken = [w.tick(70.0 + ms / 1e5, ms) for ms in range(500, 6000, 500)]
    assert taken.index(True) * 500 == 3000
    assert all(taken[6:])


def test_one_wrong_tick_among_good_ones_is_never_believed() -> None:
    w = Watch()
    for ms in range(100, 8000, 100):
        assert w.tick(300.0 if ms % 500 == 0 else 100.0, ms) == (ms % 500 != 0)


def test_after_a_silence_the_price_may_be_anywhere() -> None:
    assert Watch().tick(60.0, JUMP_AGE_MS + 1)


def test_a_quiet_symbol_is_compared_with_rest_and_fresh_when_it_is_the_same() -> None:
    w = Watch()
    assert not w.watch.wants_rest(T0 + QUIET_MS - 1)
    assert w.watch.wants_rest(T0 + QUIET_MS)
    for ms in range(QUIET_MS, 60_000, QUIET_MS):
        assert not w.rest(100.0, ms)
        assert w.watch.age_ms(T0 + ms) == 0
    assert w.watch.doubt == ""


def test_a_stream_is_distrusted_when_rest_moved_for_ten_seconds() -> None:
    w = Watch()
    said = [w.rest(100.0 + ms / 1000, ms) for ms in range(4_000, 12_000, 1_000)]
    assert said == [False] * 6 + [True] * 2  # from 10 s of silence on
    assert w.watch.doubt == "REST has another price"
    assert w.watch.last is not None and w.watch.last.bid == 111.0  # exits go by what REST says
    assert w.tick(111.0, 12_500)
    assert w.watch.doubt == ""


def test_a_tick_that_is_under_way_when_rest_answers_is_no_reason_for_distrust() -> None:
    w = Watch()
    assert not w.rest(101.0, 60_000)
    assert w.tick(101.0, 60_030)
    assert not w.rest(101.0, 64_100)
    assert w.watch.doubt == ""


def test_a_stream_that_never_said_anything_is_held_to_what_rest_said_first() -> None:
    watch = PriceWatch(T0)
    assert watch.wants_rest(T0)
    said = [watch.on_rest(50.0 + (ms > 0), 51.0 + (ms > 0), T0 + ms)[1] for ms in (0, 5_000, 6_000)]
    assert said == [False, False, True]


def test_where_no_connection_carries_the_stream_it_is_doubted_after_ten_seconds() -> None:
    w = Watch()
    for ms in range(0, DISTRUST_MS, 1000):
        w.watch.on_time(T0 + ms, ms < 1000)
        assert w.watch.doubt == ""
    w.watch.on_time(T0 + DISTRUST_MS, False)
    assert w.watch.doubt == "no connection"
    w.watch.trust(T0 + DISTRUST_MS + 1)
    assert w.watch.doubt == ""


def test_without_rest_a_live_connection_vouches_for_a_minute() -> None:
    w = Watch()
    quote = w.watch.on_rest_failed(T0 + 5_000, spoke_ms=T0 + 4_500)
    assert quote is not None and quote.time_ms == T0 + 4_500, "no younger than what its connection said last"
    assert w.watch.on_rest_failed(T0 + 5_000, spoke_ms=T0 + 4_500) is None
    assert w.watch.on_rest_failed(T0 + 6_000, spoke_ms=None) is None
    assert w.watch.on_rest_failed(T0 + UNSEEN_MS + 1, spoke_ms=T0 + UNSEEN_MS) is None


def test_a_step_of_our_clock_that_is_taken_back_leaves_no_quiet_symbol_unasked() -> None:
    w = Watch()
    assert w.tick(100.0, 3_600_000)
    w.watch.on_time(T0 + 1_000, True)
    assert not w.watch.wants_rest(T0 + 1_000)
    assert w.watch.wants_rest(T0 + 1_000 + QUIET_MS)
    w.watch.on_time(T0 + 2_000, False)
    w.watch.on_time(T0 + 2_000 + DISTRUST_MS, False)
    assert w.watch.doubt == "no connection"
