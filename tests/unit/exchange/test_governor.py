"""Request weight on a virtual clock: windows, headers, lanes, pacing, and silence while the exchange wants it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from botd.domain.clock import VirtualClock, WallClock
from botd.domain.errors import BusyError, UnavailableError
from botd.exchange.binance.weights import weight_of
from botd.exchange.governor import GUARD_MS, USED_HEADER, Governor, Lane

MINUTE = 60_000


class Desk:
    """A governor, its clock, and an exchange that notes when requests came."""

    def __init__(self, limit: int = 6000) -> None:
        self.clock = VirtualClock()
        self.governor = Governor(self.clock, limit=limit)
        self.sent: list[tuple[int, str]] = []
        self.start = self.clock.now_ms()

    async def call(
        self, weight: int, lane: Lane = Lane.MARKET, *, used: int | None = None, status: int = 200, took_s: float = 0.0,
        patience_s: float = 30.0, name: str = "", **headers: str,
    ) -> None:  # fmt: skip
        async with self.governor.permit(weight, lane, patience_s=patience_s) as permit:
            self.sent.append((self.clock.now_ms() - self.start, name))
            if took_s:
                await asyncio.sleep(0)
                self.clock.advance(self.clock.now_ms() + round(took_s * 1000))
            told = {} if used is None else {USED_HEADER: str(used)}
            permit.answered(status, told | {name.replace("_", "-"): value for name, value in headers.items()})

    def pass_s(self, seconds: float) -> None:
        self.clock.advance(self.clock.now_ms() + round(seconds * 1000))


def run(scene: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scene, 10))


def test_weights_are_those_of_the_exchange() -> None:
    assert [weight_of(name) for name in ("exchangeInfo", "klines", "time", "account")] == [20, 2, 1, 20]
    assert (weight_of("ticker/bookTicker", {"symbol": "BTCUSDT"}), weight_of("ticker/bookTicker", {})) == (2, 4)
    assert (weight_of("openOrders"), weight_of("openOrders", {"symbol": "X"})) == (80, 6)
    assert (weight_of("myTrades"), weight_of("myTrades", {"orderId": 1})) == (20, 5)


def test_a_request_goes_at_once_while_there_is_budget() -> None:
    async def scene() -> None:
        desk = Desk()
        for _ in range(10):
            await desk.call(2)
        assert [at for at, _ in desk.sent] == [0] * 10
        assert desk.governor.used == 20

    run(scene())


def test_the_answers_headers_are_the_truth() -> None:
    async def scene() -> None:
        desk = Desk()
        await desk.call(2, used=4000)  # others use this address too
        assert desk.governor.used == 4000
        await desk.call(2, used=3000)  # an answer that overtook the one before
        assert desk.governor.used == 4000
        with pytest.raises(BusyError, match="4000 of 6000, history may use 3000"):
            await desk.call(2, Lane.HISTORY, patience_s=5)

    run(scene())


def test_what_is_under_way_is_added_to_what_the_header_says() -> None:
    async def scene() -> None:
        desk = Desk()
        async with desk.governor.permit(20, Lane.MARKET), desk.governor.permit(2, Lane.MARKET) as second:
            second.answered(200, {USED_HEADER: "100"})
            assert desk.governor.used == 120
        # the first was never answered: it stays counted
        assert desk.governor.used == 120
        assert desk.governor.statistics()["unanswered"] == 1

    run(scene())


def test_windows_are_aligned_to_the_exchanges_clock() -> None:
    async def scene() -> None:
        desk = Desk(limit=100)
        desk.governor.set_offset(20_000)  # there it is 20 s past the minute
        await desk.call(70)
        await desk.call(10, patience_s=60)
        assert desk.sent[-1][0] == pytest.approx(40_000 + GUARD_MS, abs=300)

    run(scene())


def test_each_lane_has_its_share_and_protection_has_all_of_it() -> None:
    async def scene() -> None:
        desk = Desk(limit=1000)
        await desk.call(2, used=965)
        for lane in (Lane.HISTORY, Lane.MARKET, Lane.ENTRY, Lane.RECONCILE):
            with pytest.raises(BusyError):
                await desk.call(2, lane, patience_s=1)
        await desk.call(4, Lane.CANCEL, patience_s=0.5)
        await desk.call(30, Lane.PROTECTIVE, patience_s=0.5)

    run(scene())


def test_who_waits_in_a_better_lane_goes_first() -> None:
    async def scene() -> None:
        desk = Desk(limit=100)
        await desk.call(2, used=100)
        calls = [
            desk.call(2, lane, name=lane.name, patience_s=90)
            for lane in (Lane.HISTORY, Lane.ENTRY, Lane.MARKET, Lane.PROTECTIVE, Lane.RECONCILE, Lane.CANCEL)
        ]
        await asyncio.gather(*calls)
        assert [name for _, name in desk.sent[1:]] == [lane.name for lane in Lane]

    run(scene())


def test_history_is_spread_over_the_minute() -> None:
    async def scene() -> None:
        desk = Desk(limit=6000)
        await asyncio.gather(*(desk.call(2, Lane.HISTORY, patience_s=600) for _ in range(200)))
        times = [at for at, _ in desk.sent]
        # half of 6000 a minute is 50 a second: 25 requests of weight 2
        assert times[-1] >= 7_900
        for at in times:
            assert sum(at <= other < at + 1000 for other in times) <= 26

    run(scene())


def test_the_budget_is_never_exceeded_whatever_is_asked_for() -> None:
    async def scene() -> None:
        desk = Desk(limit=600)
        used: dict[int, int] = {}

        async def call(weight: int, lane: Lane) -> None:
            async with desk.governor.permit(weight, lane, patience_s=10_000) as permit:
                minute = desk.clock.now_ms() // MINUTE
                used[minute] = used.get(minute, 0) + weight
                await asyncio.sleep(0)
                permit.answered(200, {USED_HEADER: str(used[minute])})

        await asyncio.gather(*(call(2 + i % 19, Lane(i % 6)) for i in range(400)))
        assert len(used) > 4
        assert max(used.values()) <= 600

    run(scene())


@pytest.mark.parametrize("status, after, silent_s", [(429, "17", 17), (418, "180", 180), (418, None, 120)])
def test_nothing_is_sent_until_retry_after_is_over(status: int, after: str | None, silent_s: int) -> None:
    async def scene() -> None:
        desk = Desk()
        headers = {} if after is None else {"Retry_After": after}
        await desk.call(2, status=status, **headers)
        with pytest.raises(UnavailableError, match=str(status)):
            await desk.call(2, Lane.PROTECTIVE, patience_s=10)
        await asyncio.gather(*(desk.call(2, patience_s=3600) for _ in range(5)))
        later = [at for at, _ in desk.sent[1:]]
        assert silent_s * 1000 <= later[0] <= silent_s * 1000 + 1_500
        assert len(later) == 5

    run(scene())


def test_a_429_without_retry_after_is_over_with_the_minute() -> None:
    async def scene() -> None:
        desk = Desk()
        desk.pass_s(45)
        await desk.call(2, status=429)
        assert 15 <= desk.governor.blocked_s <= 17

    run(scene())


def test_after_a_ban_one_request_goes_alone() -> None:
    async def scene() -> None:
        desk = Desk()
        await desk.call(2, status=418, Retry_After="5")
        desk.pass_s(7)
        first = desk.governor.permit(2, Lane.MARKET)
        await first.__aenter__()
        second = asyncio.create_task(desk.call(2))
        await asyncio.sleep(0)
        assert not second.done()
        first.answered(200, {})
        await second
        await first.__aexit__(None, None, None)

    run(scene())


def test_a_second_ban_while_the_first_one_lasts_does_not_shorten_it() -> None:
    async def scene() -> None:
        desk = Desk()
        async with desk.governor.permit(2, Lane.MARKET) as one, desk.governor.permit(2, Lane.MARKET) as other:
            one.answered(418, {"Retry-After": "300"})
            other.answered(429, {"Retry-After": "3"})
        assert desk.governor.blocked_s > 299

    run(scene())


@pytest.mark.parametrize("status, at_least_s", [(403, 300), (451, 3600)])
def test_a_firewall_or_a_region_is_not_asked_again_and_again(status: int, at_least_s: int) -> None:
    async def scene() -> None:
        desk = Desk()
        await desk.call(2, status=status)
        assert desk.governor.blocked_s >= at_least_s
        assert str(status) in desk.governor.detail

    run(scene())


@pytest.mark.parametrize("header", ["", "many", "nan", "-5", "1e300"])
def test_a_header_that_is_no_number_is_ignored(header: str) -> None:
    async def scene() -> None:
        desk = Desk()
        async with desk.governor.permit(2, Lane.MARKET) as permit:
            permit.answered(200, {USED_HEADER: header})
        assert desk.governor.used == 2

    run(scene())


def test_who_stops_waiting_takes_nothing_with_him() -> None:
    async def scene() -> None:
        desk = Desk(limit=100)
        await desk.call(2, used=100)
        waiting = asyncio.create_task(desk.call(2, patience_s=90))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        desk.pass_s(61)
        assert desk.governor.used == 0
        await desk.call(2)
        assert desk.governor.statistics()["waiting"] == 0

    run(scene())


def test_a_step_of_our_clock_that_is_taken_back_leaves_no_minute_that_never_ends() -> None:
    async def scene() -> None:
        desk = Desk(limit=100)
        desk.governor.set_offset(30 * 86_400_000)  # it stepped, and nobody has noticed yet
        await desk.call(60)
        desk.governor.set_offset(0)
        for _ in range(3):
            await desk.call(60, patience_s=0.5)
            desk.pass_s(61)

    run(scene())


def test_who_waits_for_the_count_of_orders_alone_is_not_looked_at_without_end() -> None:
    async def scene() -> None:
        clock = Looks()
        governor = Governor(clock)
        governor.orders.refused(2.0)
        async with governor.permit(1, Lane.ENTRY, patience_s=5, orders=1) as permit:
            permit.answered(200, {})
        assert clock.sleeps < 20

    run(scene())


class Looks(WallClock):
    """Counts how often it is slept by, a tenth as long."""

    sleeps = 0

    def monotonic(self) -> float:
        return super().monotonic() * 10

    async def sleep(self, seconds: float) -> None:
        self.sleeps += 1
        await super().sleep(seconds / 10)
