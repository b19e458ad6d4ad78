"""The collector of cycles: its pauses are counted, what stays for good is out of its sight, and what left is found."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from botd.domain.clock import VirtualClock, WallClock
from botd.orchestrator.garbage import SETTLED_LOOKS, THRESHOLDS, Garbage
from botd.orchestrator.health import LoopLag


@pytest.fixture
def garbage() -> Iterator[Garbage]:
    gc.unfreeze()
    made = Garbage(WallClock())
    made.start()
    yield made
    made.stop()


def settle(garbage: Garbage, held: int) -> None:
    for _ in range(SETTLED_LOOKS + 1):
        garbage.look(held)


def test_every_collection_is_counted_with_its_length(garbage: Garbage) -> None:
    before = garbage.statistics()
    gc.collect()
    after = garbage.statistics()
    assert after["gc_runs"] == before["gc_runs"] + 1
    assert after["gc_ms_max"] <= after["gc_ms_total"]
    assert after["gc_ms_max"] > 0


def test_what_has_settled_is_out_of_sight_without_a_collection(garbage: Garbage) -> None:
    runs = garbage.statistics()["gc_runs"]
    garbage.look(5)
    assert gc.get_freeze_count() == 0, "not before it has settled"
    settle(garbage, 5)
    assert gc.get_freeze_count() > 1000
    assert garbage.statistics()["gc_runs"] - runs <= 1  # one of the youngest may have come meanwhile


def test_a_few_bots_more_or_less_are_no_reason_and_many_are(garbage: Garbage) -> None:
    settle(garbage, 100)
    frozen = gc.get_freeze_count()
    kept = [[number] for number in range(5000)]
    settle(garbage, 105)
    assert gc.get_freeze_count() == frozen
    settle(garbage, 200)
    assert gc.get_freeze_count() >= frozen + len(kept)


def test_bots_that_were_removed_are_found(garbage: Garbage) -> None:
    class Thing:
        me: Thing

    thing = Thing()
    thing.me = thing
    seen = weakref.ref(thing)
    settle(garbage, 100)
    del thing
    gc.collect()
    assert seen() is not None, "out of sight"
    settle(garbage, 50)
    assert seen() is None


def test_the_interpreter_is_left_as_it_was() -> None:
    before = gc.get_threshold(), list(gc.callbacks)
    garbage = Garbage(VirtualClock())
    garbage.start()
    garbage.start()
    assert gc.get_threshold() == THRESHOLDS
    assert len(gc.callbacks) == len(before[1]) + 1
    garbage.stop()
    garbage.stop()
    assert (gc.get_threshold(), gc.callbacks) == before


def test_health_shows_the_pauses_beside_the_lag() -> None:
    assert {"lag_ms_p99", "gc_runs", "gc_ms_total", "gc_ms_max"} <= LoopLag(VirtualClock()).statistics().keys()
