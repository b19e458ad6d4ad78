"""A ban is kept as a row: told once, taken back by the next botd, gone when it is over."""

from __future__ import annotations

import asyncio
import json

import pytest

from botd.domain.clock import VirtualClock
from botd.domain.errors import BusyError
from botd.exchange.ban_memory import KEY, BanMemory
from botd.exchange.governor import Governor, Lane

MINUTE = 60_000
DAY = 24 * 60 * MINUTE


class Place:
    """A governor and what it remembers."""

    def __init__(self, clock: VirtualClock) -> None:
        self.governor = Governor(clock)
        self.memory = BanMemory(self.governor, clock)


def test_a_ban_is_told_once_and_its_end_too() -> None:
    clock = VirtualClock()
    place = Place(clock)
    assert place.memory.drain_changes() == {}
    place.governor.hold(300.0, "418: this address is banned")
    row = json.loads(place.memory.drain_changes()[KEY] or "")
    assert row == {
        "until_ms": clock.now_ms() + 5 * MINUTE,
        "why": "418: this address is banned",
        "left_s": 300.0,
        "written_s": 0.0,
    }
    clock.advance(clock.now_ms() + MINUTE)
    assert place.memory.drain_changes() == {}
    clock.advance(clock.now_ms() + 5 * MINUTE)
    assert place.memory.drain_changes() == {KEY: None}
    assert place.memory.drain_changes() == {}


def test_the_next_botd_holds_to_it_for_the_rest() -> None:
    clock = VirtualClock()
    before, after = Place(clock), Place(clock)
    before.governor.hold(300.0, "418: this address is banned")
    rows = {key: row for key, row in before.memory.drain_changes().items() if row}
    clock.advance(clock.now_ms() + MINUTE)
    after.memory.restore(rows)
    assert after.governor.blocked_s == pytest.approx(240.0)
    assert "418" in after.governor.detail
    assert after.memory.drain_changes() == {}, "it is there already"


def _restarted(step_ms: int, *, after_ms: int, rebooted: bool, offset_ms: int = 0) -> Governor:
    """Return what a botd started ``after_ms`` holds to of a ban of five minutes, our clock having stepped meanwhile."""
    before = Place(clock := VirtualClock())
    clock.advance(clock.now_ms() + 10 * MINUTE)
    before.governor.set_offset(offset_ms)
    before.governor.hold(300.0, "418: this address is banned")
    rows = {key: row for key, row in before.memory.drain_changes().items() if row}
    now_ms = clock.now_ms() + after_ms + step_ms
    up_ms = MINUTE if rebooted else 10 * MINUTE + after_ms
    later = VirtualClock(now_ms - up_ms)
    later.advance(now_ms)
    after = Place(later)
    after.memory.restore(rows)
    return after.governor


@pytest.mark.parametrize("step_ms", [-2 * DAY, -10 * MINUTE, -30_000, 30_000])
@pytest.mark.parametrize("rebooted", [False, True])
def test_a_step_of_our_clock_makes_no_ban_longer_than_it_was(step_ms: int, rebooted: bool) -> None:
    held = _restarted(step_ms, after_ms=MINUTE, rebooted=rebooted).blocked_s
    if not rebooted:
        assert held == pytest.approx(240.0)  # a minute has passed on the clock that does not step
    elif step_ms > 0:
        assert held == pytest.approx(210.0)  # what is ahead by half a minute takes no more than that
    else:
        assert 240.0 <= held <= 300.0


def test_the_end_is_kept_in_the_exchanges_time_where_it_is_known() -> None:
    """Our clock was an hour behind, which the exchange's answers had told, and was put right before the next start."""
    held = _restarted(60 * MINUTE, after_ms=MINUTE, rebooted=True, offset_ms=60 * MINUTE)
    assert held.blocked_s == pytest.approx(240.0)


def test_a_ban_that_seems_over_is_tried_with_one_request_alone() -> None:
    async def ask_two() -> int:
        governor = _restarted(DAY, after_ms=MINUTE, rebooted=True)
        assert governor.blocked_s == 0
        async with governor.permit(1, Lane.RECONCILE):
            with pytest.raises(BusyError):
                async with governor.permit(1, Lane.RECONCILE, patience_s=0.5):
                    pass
            return int(governor.statistics()["sent"])

    assert asyncio.run(ask_two()) == 1


@pytest.mark.parametrize("left_ms", [-1, 4 * 24 * 60 * MINUTE])
def test_a_row_that_is_over_or_cannot_be_is_let_go(left_ms: int) -> None:
    clock = VirtualClock()
    place = Place(clock)
    place.memory.restore({KEY: json.dumps({"until_ms": clock.now_ms() + left_ms, "why": "418"})})
    assert place.governor.blocked_s == 0
    assert place.memory.drain_changes() == {KEY: None}
