"""Pauses between attempts double up to a limit that leaves time to settle an order in doubt."""

import pytest

from botd.execution.evidence import Policy
from botd.orchestrator.health import LONGEST_PAUSE_S, pauses

SETTLED_S = 60.0
"""Once an outage ends, the ledger says what the exchange says within so long."""


@pytest.mark.parametrize(("failures", "longest"), [(1, 0.5), (2, 1.0), (5, 8.0), (6, LONGEST_PAUSE_S), (10_000, 10.0)])
def test_a_pause_doubles_with_each_failure_and_is_never_less_than_half(failures: int, longest: float) -> None:
    assert pauses(lambda: 1.0)(failures) == longest
    assert pauses(lambda: 0.0)(failures) == longest / 2


def test_the_longest_pause_leaves_an_order_in_doubt_the_time_that_its_proof_takes() -> None:
    policy = Policy()
    assert LONGEST_PAUSE_S + policy.age_s < SETTLED_S
