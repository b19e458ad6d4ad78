"""A ban is kept as a row: told once, taken back by the next botd, gone when it is over."""

from __future__ import annotations

import json

import pytest

from botd.domain.clock import VirtualClock
from botd.exchange.ban_memory import KEY, BanMemory
from botd.exchange.governor import Governor

MINUTE = 60_000


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
    assert row == {"until_ms": clock.now_ms() + 5 * MINUTE, "why": "418: this address is banned"}
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


@pytest.mark.parametrize("left_ms", [-1, 4 * 24 * 60 * MINUTE])
def test_a_row_that_is_over_or_cannot_be_is_let_go(left_ms: int) -> None:
    clock = VirtualClock()
    place = Place(clock)
    place.memory.restore({KEY: json.dumps({"until_ms": clock.now_ms() + left_ms, "why": "418"})})
    assert place.governor.blocked_s == 0
    assert place.memory.drain_changes() == {KEY: None}
