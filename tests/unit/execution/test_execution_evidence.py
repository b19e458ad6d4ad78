"""The policy of doubt, row by row: what proves that an order was never placed, and what proves nothing."""

from __future__ import annotations

import pytest

from botd.execution import evidence
from botd.execution.evidence import PROOFS, Case, Policy, Reading

POLICY = Policy()
CLEAN = Reading(orders_clean=True, trades_clean=True, balances_clean=True)


def proven(**changes: object) -> Case:
    """A case in which everything is proved at 46 s."""
    case = Case(client_order_id="c", began_s=0, next_s=0, negatives=3, counted_s=28, reading=CLEAN, reading_s=45.5)
    for name, value in changes.items():
        setattr(case, name, value)
    return case


def test_all_proofs_together_prove_it() -> None:
    assert evidence.missing(proven(), 46, POLICY) == []


@pytest.mark.parametrize(
    ("changes", "now_s", "lacking"),
    [
        ({"existed": True}, 46, {"existence"}),
        ({}, 44.9, {"age"}),
        ({"negatives": 2}, 46, {"negatives"}),
        ({"reading": None}, 46, {"orders", "trades", "balances"}),
        ({"reading_s": 44.9}, 46, {"orders", "trades", "balances"}),
        ({"reading": Reading(orders_clean=False, trades_clean=True, balances_clean=True)}, 46, {"orders"}),
        ({"reading": Reading(orders_clean=True, trades_clean=False, balances_clean=True)}, 46, {"trades"}),
        ({"reading": Reading(orders_clean=True, trades_clean=True, balances_clean=False)}, 46, {"balances"}),
        ({"negatives": 0, "errors": 100}, 100_000, {"negatives"}),
        ({"negatives": 100, "reading": None}, 100_000, {"orders", "trades", "balances"}),
    ],
)
def test_each_proof_is_needed_and_neither_errors_nor_time_replace_it(
    changes: dict[str, object], now_s: float, lacking: set[str]
) -> None:
    assert {proof.name for proof in evidence.missing(proven(**changes), now_s, POLICY)} == lacking


def test_every_row_has_a_case_above() -> None:
    assert {proof.name for proof in PROOFS} == {"existence", "age", "negatives", "orders", "trades", "balances"}


def test_the_question_is_asked_at_1_2_4_8_s_and_then_every_10() -> None:
    case, times, now = evidence.begin("c", 100.0, POLICY, existed=False), [], 100.0
    while len(times) < 7:
        now += 0.5
        if now >= case.next_s:
            times.append(now - 100)
            evidence.asked(case, now, POLICY)
    assert times == [1, 2, 4, 8, 18, 28, 38]


def test_an_order_that_existed_is_asked_for_at_once() -> None:
    assert evidence.begin("c", 100.0, POLICY, existed=True).next_s == 100.0


def test_negative_answers_count_10_s_apart() -> None:
    case = evidence.begin("c", 0.0, POLICY, existed=False)
    counted = []
    for at in (1, 2, 4, 8, 10.9, 11, 20.9, 21, 30):
        evidence.heard_no(case, at, POLICY)
        counted.append(case.negatives)
    assert counted == [1, 1, 1, 1, 1, 2, 2, 3, 3]


def test_an_error_counts_as_nothing() -> None:
    case = proven(negatives=0)
    for _ in range(50):
        evidence.heard_nothing(case)
    assert (case.errors, case.negatives) == (50, 0)


@pytest.mark.parametrize(
    ("changes", "now_s", "due"),
    [
        ({"reading": None}, 46, True),
        ({"reading_s": 10.0}, 46, True),
        ({"reading": Reading(orders_clean=True, trades_clean=False, balances_clean=True)}, 46, True),
        ({"reading": None}, 30, False),
        ({"reading": None, "negatives": 2}, 46, False),
        ({"reading": None, "existed": True}, 46, False),
        ({}, 46, False),
    ],
)
def test_the_account_is_read_when_only_that_lacks(changes: dict[str, object], now_s: float, due: bool) -> None:
    assert evidence.look_is_due(proven(**changes), now_s, POLICY) is due


def test_what_was_observed_is_told_in_a_line() -> None:
    line = evidence.told(proven(asked=6, errors=2), 46)
    assert line == (
        "in doubt for 46 s, asked 6 times, 3 negative answers, 2 without an answer, open orders clean, "
        "trades clean, balances clean"
    )
