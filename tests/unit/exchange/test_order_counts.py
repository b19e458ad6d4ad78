"""Order counts on a virtual clock: the exchange's word, windows of its clock, room for stops, and who pays."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from botd.domain.clock import VirtualClock
from botd.domain.errors import BusyError
from botd.exchange.governor import Governor, Lane

TEN = 10_000


class Desk:
    """A governor that places orders, and an exchange that says how many it has counted."""

    def __init__(self, limit: int = 10) -> None:
        self.clock = VirtualClock()
        self.governor = Governor(self.clock)
        self.governor.orders.set_limits({"10S": limit})
        self.start = self.clock.now_ms()
        self.sent: list[tuple[int, str]] = []

    async def place(
        self, lane: Lane = Lane.ENTRY, *, told: int | None = None, status: int = 200, code: int = 0, orders: int = 1,
        patience_s: float = 30.0, bot: int = 1, name: str = "", **headers: str,
    ) -> None:  # fmt: skip
        permit = self.governor.permit(1, lane, patience_s=patience_s, orders=orders, free=True, bot=bot)
        async with permit:
            self.sent.append((self.clock.now_ms() - self.start, name))
            given = {"X-MBX-ORDER-COUNT-10S": str(told)} if told is not None else {}
            permit.answered(status, given | {key.replace("_", "-"): value for key, value in headers.items()}, code)

    @property
    def used(self) -> int:
        used: int = self.governor.orders.statistics()["10S"]["used"]
        return used


def run(scene: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scene, 10))


def test_what_the_exchange_says_last_is_the_truth() -> None:
    async def scene() -> None:
        desk = Desk()
        await desk.place(told=7)
        assert desk.used == 7
        await desk.place(told=3)  # fills take orders off the count
        assert desk.used == 3

    run(scene())


def test_without_a_header_placed_and_unknown_orders_count_and_refused_ones_do_not() -> None:
    async def scene() -> None:
        desk = Desk()
        await desk.place()
        await desk.place(status=400)
        await desk.place(status=503)
        async with desk.governor.permit(1, Lane.ENTRY, orders=1):
            pass  # no answer
        assert desk.used == 3

    run(scene())


def test_entries_leave_room_for_stops() -> None:
    async def scene() -> None:
        desk = Desk(limit=20)
        await desk.place(told=17)
        with pytest.raises(BusyError, match="order count"):
            await desk.place(patience_s=1)
        for told in (18, 19, 20):
            await desk.place(Lane.PROTECTIVE, told=told)
        with pytest.raises(BusyError):
            await desk.place(Lane.PROTECTIVE, patience_s=1)

    run(scene())


def test_a_pair_counts_twice() -> None:
    async def scene() -> None:
        desk = Desk()
        await desk.place(told=9)
        with pytest.raises(BusyError):
            await desk.place(Lane.PROTECTIVE, orders=2, patience_s=1)
        await desk.place(Lane.PROTECTIVE, orders=1)

    run(scene())


def test_windows_turn_with_the_exchanges_clock() -> None:
    async def scene() -> None:
        desk = Desk()
        desk.governor.set_offset(4_000)  # there it is four seconds past
        await desk.place(told=10)
        await desk.place(patience_s=20)
        assert 5_900 <= desk.sent[-1][0] <= 6_400

    run(scene())


def test_who_waits_for_the_count_holds_up_no_cancel_and_no_question() -> None:
    async def scene() -> None:
        desk = Desk()
        await desk.place(told=10)
        waiting = asyncio.create_task(desk.place(Lane.PROTECTIVE, name="stop"))
        await asyncio.sleep(0)
        for lane in (Lane.CANCEL, Lane.RECONCILE, Lane.MARKET):
            async with desk.governor.permit(1, lane) as permit:
                desk.sent.append((desk.clock.now_ms() - desk.start, lane.name))
                permit.answered(200, {})
        await waiting
        assert [name for _, name in desk.sent[1:]] == ["CANCEL", "RECONCILE", "MARKET", "stop"]
        assert desk.sent[-1][0] >= TEN

    run(scene())


@pytest.mark.parametrize("after, silent_ms", [("7", 7_000), (None, TEN)])
def test_too_many_orders_silence_orders_alone(after: str | None, silent_ms: int) -> None:
    async def scene() -> None:
        desk = Desk()
        headers = {} if after is None else {"Retry_After": after}
        await desk.place(status=429, code=-1015, **headers)
        assert desk.governor.blocked_s == 0
        async with desk.governor.permit(4, Lane.RECONCILE, patience_s=0.1) as permit:
            permit.answered(200, {})
        await desk.place(Lane.PROTECTIVE)
        assert silent_ms <= desk.sent[-1][0] <= silent_ms + 500

    run(scene())


def test_every_bot_has_its_bill() -> None:
    async def scene() -> None:
        desk = Desk()
        await desk.place(bot=3, told=1)
        await desk.place(bot=3, status=400)
        async with desk.governor.permit(20, Lane.RECONCILE) as permit:
            permit.answered(200, {})
        bills = desk.governor.limits()["bots"]
        assert bills[3] == {"requests": 2, "weight": 1, "orders": 2, "failed": 1}  # a placed order weighs nothing
        assert bills[0] == {"requests": 1, "weight": 20, "orders": 0, "failed": 0}
        assert desk.governor.used == 21

    run(scene())


def test_what_was_not_sent_counts_for_nothing() -> None:
    async def scene() -> None:
        desk = Desk()
        async with desk.governor.permit(5, Lane.ENTRY, orders=2) as permit:
            permit.not_sent()
        limits = desk.governor.limits()
        assert (desk.governor.used, desk.used, limits["orders"]["under_way"], limits["bots"]) == (0, 0, 0, {})

    run(scene())


@pytest.mark.parametrize("told", ["", "many", "-1", "1e3", "99999999999"])
def test_a_count_that_is_no_number_is_ignored(told: str) -> None:
    async def scene() -> None:
        desk = Desk()
        await desk.place(X_MBX_ORDER_COUNT_10S=told)
        assert desk.used == 1

    run(scene())


def test_a_step_of_our_clock_that_is_taken_back_leaves_no_window_that_never_ends() -> None:
    """For a month no exit could be sent after a hundred orders, if windows only went forward."""

    async def scene() -> None:
        desk = Desk()
        await desk.place(told=1)
        desk.governor.set_offset(30 * 86_400_000)  # it stepped, and nobody has noticed yet
        await desk.place(told=2)
        desk.governor.set_offset(0)
        for _ in range(20):
            await desk.place(told=3, patience_s=0.5)
        assert desk.used == 3

    run(scene())
