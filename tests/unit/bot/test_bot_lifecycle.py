"""States and what may follow what; when a failing bot is tried again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botd.bot.lifecycle import RESTING, TRADING, TRANSITIONS, BotState, RestartPolicy

HOUR = 3_600_000


def test_the_words_on_the_wire() -> None:
    assert [state.value for state in BotState] == [
        "created", "starting", "running", "degraded", "paused", "stopping", "stopped", "backoff", "failed",
    ]  # fmt: skip


def test_every_state_has_its_row_and_none_follows_itself() -> None:
    assert set(TRANSITIONS) == set(BotState)
    assert all(state not in after for state, after in TRANSITIONS.items())


def test_every_bot_can_be_stopped_and_every_stopped_one_started() -> None:
    assert all(BotState.STOPPED in after for state, after in TRANSITIONS.items() if state is not BotState.STOPPED)
    assert all(BotState.STARTING in TRANSITIONS[state] for state in RESTING)


def test_running_and_paused_are_reached_through_starting_only_or_from_each_other() -> None:
    for goal in TRADING:
        before = {state for state, after in TRANSITIONS.items() if goal in after}
        assert before <= TRADING | {BotState.STARTING}


def test_a_trading_bot_rests_nowhere() -> None:
    assert not TRADING & RESTING


@given(st.integers(1, 10**6), st.integers(1, 4), st.integers(0, 2**41))
def test_the_wait_doubles_is_jittered_by_half_and_depends_on_nothing_else(bot: int, failures: int, now: int) -> None:
    policy = RestartPolicy(first_s=5, cap_s=300, attempts=5)
    wait = 5000 * 2 ** (failures - 1)
    retry = policy.retry_ms(bot, failures, now)
    assert retry is not None and wait / 2 <= retry - now <= wait
    assert retry == RestartPolicy(first_s=5, cap_s=300, attempts=5).retry_ms(bot, failures, now)


def test_bots_that_fail_together_are_not_tried_together() -> None:
    assert len({RestartPolicy().retry_ms(bot, 1, 0) for bot in range(1, 50)}) > 40


def test_the_wait_is_capped() -> None:
    policy = RestartPolicy(first_s=5, cap_s=20, attempts=100)
    waits = [policy.retry_ms(1, failures, 0) for failures in range(1, 99)]
    assert max(wait for wait in waits if wait is not None) <= 20_000


def test_after_so_many_attempts_it_gives_up() -> None:
    policy = RestartPolicy(attempts=3)
    assert [policy.retry_ms(1, failures, 0) is None for failures in (1, 2, 3, 4)] == [False, False, True, True]


@pytest.mark.parametrize(("passed", "forgets"), [(0, False), (HOUR - 1, False), (HOUR, True)])
def test_an_hour_without_a_failure_forgets(passed: int, forgets: bool) -> None:
    assert RestartPolicy(forget_s=3600).forgets(1_000_000, 1_000_000 + passed) is forgets
