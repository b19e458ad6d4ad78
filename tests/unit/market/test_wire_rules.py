"""Message budget, connection budget and pauses, in virtual time."""

from __future__ import annotations

from botd.domain.clock import VirtualClock, seeded_random
from botd.exchange.binance.stream_rules import AttemptBudget, Backoff, MessageBudget, StreamRules

RULES = StreamRules()


def at(clock: VirtualClock, seconds: float) -> None:
    clock.advance(1_767_225_600_000 + round(seconds * 1000))


def test_requests_are_a_quarter_of_a_second_apart() -> None:
    clock = VirtualClock()
    budget = MessageBudget(RULES, clock)
    assert budget.request_wait_s() == 0
    budget.requested()
    assert budget.request_wait_s() == 0.25
    at(clock, 0.25)
    assert budget.request_wait_s() == 0


def test_a_pong_always_has_room_beside_requests() -> None:
    clock = VirtualClock()
    budget = MessageBudget(RULES, clock)
    for turn in range(20):
        at(clock, turn * 0.25)
        assert budget.request_wait_s() == 0
        budget.requested()
        assert budget.pong_wait_s() == 0


def test_five_messages_fill_a_second_for_pongs_and_requests() -> None:
    clock = VirtualClock()
    budget = MessageBudget(RULES, clock)
    for number in range(5):
        at(clock, number / 10)
        assert budget.pong_wait_s() == 0
        budget.answered()
    assert budget.pong_wait_s() == 0.6  # the first left at 0.0, now it is 0.4
    assert round(budget.request_wait_s(), 9) == 0.7  # the second left at 0.1
    assert budget.count == 5


def test_however_messages_are_asked_for_no_second_holds_more_than_five() -> None:
    clock, rng = VirtualClock(), seeded_random(3)
    budget = MessageBudget(RULES, clock)
    sent: list[float] = []
    for step in range(5_000):
        at(clock, step * 0.013)
        if rng.random() < 0.2 and budget.pong_wait_s() == 0:
            budget.answered()
            sent.append(clock.monotonic())
        if rng.random() < 0.8 and budget.request_wait_s() == 0:
            budget.requested()
            sent.append(clock.monotonic())
    assert len(sent) > 100
    assert all(later - first >= 1.0 for first, later in zip(sent, sent[5:], strict=False))


def test_connections_tried_stay_within_five_minutes_budget() -> None:
    clock = VirtualClock()
    budget = AttemptBudget(RULES, clock)
    for _ in range(RULES.attempts):
        assert budget.wait_s() == 0
        budget.tried()
    assert RULES.attempts < 300 and budget.wait_s() == 300
    at(clock, 300)
    assert budget.wait_s() == 0


class Highest:
    """Chance at its worst: always the longest pause."""

    def uniform(self, a: float, b: float, /) -> float:
        return b


def test_pauses_double_from_half_a_second_to_thirty() -> None:
    backoff = Backoff(RULES, Highest())
    assert [backoff.pause_s() for _ in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    backoff.succeeded()
    assert backoff.pause_s() == 0.5


def test_jitter_is_full_and_follows_the_seed() -> None:
    first, second = (Backoff(RULES, seeded_random("s")) for _ in range(2))
    pauses = [first.pause_s() for _ in range(200)]
    assert pauses == [second.pause_s() for _ in range(200)]
    late = pauses[10:]
    assert min(late) < 3 and max(late) > 27 and 12 < sum(late) / len(late) < 18


def test_what_the_server_asked_for_comes_on_top() -> None:
    backoff = Backoff(RULES, seeded_random(1))
    assert 120 <= backoff.pause_s(120.0) <= 120.5
