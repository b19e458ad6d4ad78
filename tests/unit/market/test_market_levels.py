"""The price-level index against a plain list, and its order of firing."""

from __future__ import annotations

import math
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from botd.market.levels import LevelIndex

LANE = ("BTC/USDT", "1m")


class Owner:
    def __init__(
        self, number: int, log: list[tuple[int, str, float]], then: Callable[[str], None] = lambda kind: None
    ) -> None:
        self.number, self.log, self.then = number, log, then

    def on_level(self, kind: str, price: float) -> None:
        self.log.append((self.number, kind, price))
        self.then(kind)


_level = st.one_of(st.none(), st.just(math.nan), st.integers(80, 120).map(float))
_steps = st.lists(
    st.one_of(
        st.tuples(st.just("arm"), st.integers(1, 8), _level, _level),
        st.tuples(st.just("disarm"), st.integers(1, 8)),
        st.tuples(st.just("open"), st.integers(80, 120).map(float)),
        st.tuples(st.just("closed"), *[st.integers(80, 120).map(float)] * 3),
    ),
    max_size=40,
)


def _naive(
    armed: dict[int, tuple[float, float]], open_: float, high: float, low: float
) -> list[tuple[int, str, float]]:
    stops = [(n, "stop", open_ if open_ <= s else s) for n, (s, _) in sorted(armed.items()) if s >= low]
    done = {n for n, _, _ in stops}
    at = {n: open_ if open_ >= target else target for n, (_, target) in armed.items()}
    targets = [(n, "target", at[n]) for n, (_, t) in sorted(armed.items()) if t <= high and n not in done]
    return stops + targets


@given(_steps)
def test_index_fires_what_a_plain_list_fires(steps: list[tuple]) -> None:
    index, armed, log = LevelIndex(), {}, []
    for step in steps:
        log.clear()
        if step[0] == "arm":
            _, number, stop, target = step

            def disarm(kind: str, number: int = number) -> None:
                index.disarm(LANE, number)

            index.arm(LANE, number, Owner(number, log, disarm), stop, target)
            armed[number] = (
                -math.inf if stop is None or math.isnan(stop) else stop,
                math.inf if target is None or math.isnan(target) else target,
            )
        elif step[0] == "disarm":
            index.disarm(LANE, step[1])
            armed.pop(step[1], None)
        else:
            low, open_, high = sorted(step[1:] * 3)[:: len(step) - 1]
            if step[0] == "open":
                index.on_open(LANE, open_)
                expected = _naive(armed, open_, -math.inf, low)
            else:
                index.on_closed(LANE, open_, high, low)
                expected = _naive(armed, open_, high, low)
            assert log == expected
            for number, _, _ in expected:
                del armed[number]
    assert index.statistics()["armed"] == len(armed)


def test_stops_fire_before_targets_and_by_owner_number() -> None:
    index, log = LevelIndex(), []
    for number, stop, target in ((5, 95.0, 200.0), (2, 50.0, 104.0), (9, 96.0, 200.0), (1, 50.0, 105.0)):
        index.arm(LANE, number, Owner(number, log), stop, target)
    index.on_closed(LANE, 100.0, 106.0, 94.0)
    assert log == [(5, "stop", 95.0), (9, "stop", 96.0), (1, "target", 105.0), (2, "target", 104.0)]


def test_a_jump_over_a_level_triggers_at_the_open() -> None:
    index, log = LevelIndex(), []
    index.arm(LANE, 1, Owner(1, log, lambda kind: index.disarm(LANE, 1)), 95.0, 105.0)
    index.on_open(LANE, 90.0)
    index.arm(LANE, 1, Owner(1, log, lambda kind: index.disarm(LANE, 1)), 95.0, 105.0)
    index.on_open(LANE, 110.0)
    assert log == [(1, "stop", 90.0)]  # the target waits: the candle may still reach the stop
    index.on_closed(LANE, 110.0, 111.0, 96.0)
    assert log[1:] == [(1, "target", 110.0)]


def test_a_candle_that_opens_beyond_the_target_and_reaches_the_stop_is_the_stop() -> None:
    index, log = LevelIndex(), []
    index.arm(LANE, 1, Owner(1, log), 95.0, 105.0)
    index.on_open(LANE, 110.0)
    index.on_closed(LANE, 110.0, 111.0, 94.0)
    assert log == [(1, "stop", 95.0)]


def test_both_touched_in_one_candle_is_the_stop_only() -> None:
    index, log = LevelIndex(), []
    index.arm(LANE, 1, Owner(1, log), 95.0, 105.0)
    index.on_closed(LANE, 100.0, 110.0, 90.0)
    assert log == [(1, "stop", 95.0)]


def test_an_owner_disarmed_by_another_does_not_fire() -> None:
    index, log = LevelIndex(), []
    index.arm(LANE, 1, Owner(1, log, lambda kind: index.disarm(LANE, 2)), 95.0, None)
    index.arm(LANE, 2, Owner(2, log), 95.0, None)
    index.on_closed(LANE, 99.0, 100.0, 90.0)
    assert log == [(1, "stop", 95.0)]


def test_levels_armed_from_within_a_callback_wait_for_the_next_event() -> None:
    index, log = LevelIndex(), []

    def again(kind: str) -> None:
        if len(log) == 1:
            index.arm(LANE, 1, Owner(1, log, again), 95.0, None)
            index.arm(LANE, 3, Owner(3, log), 96.0, None)

    index.arm(LANE, 1, Owner(1, log, again), 95.0, None)
    index.on_closed(LANE, 99.0, 100.0, 90.0)
    assert log == [(1, "stop", 95.0)]
    index.on_closed(LANE, 99.0, 100.0, 90.0)
    assert log[1:] == [(1, "stop", 95.0), (3, "stop", 96.0)]


def test_lanes_do_not_touch_each_other_and_ticks_have_their_own() -> None:
    index, log = LevelIndex(), []
    index.arm(("BTC/USDT", "5m"), 1, Owner(1, log), 95.0, None)
    index.arm(("BTC/USDT", "tick"), 2, Owner(2, log), 95.0, None)
    index.on_closed(LANE, 99.0, 100.0, 90.0)
    assert log == []
    index.on_tick("BTC/USDT", 94.5)
    assert log == [(2, "stop", 94.5)]
