"""The table of outcomes: only what is listed is a refusal, whatever the words say."""

from __future__ import annotations

import pytest

from botd.exchange.binance.outcomes import TABLE, Operation, Outcome, classify
from tests.fakes.binance_answers import ANSWERS, GivenAnswer


@pytest.mark.parametrize("operation", list(Operation), ids=str)
@pytest.mark.parametrize("given", ANSWERS, ids=lambda given: given.name)
def test_an_answer_proves_what_it_proves(given: GivenAnswer, operation: Operation) -> None:
    assert classify(operation, given.status, given.code, given.message) is given.outcome(operation)


def test_every_row_of_the_table_is_met_by_an_answer() -> None:
    unmet = [
        row
        for row in TABLE
        if not any(row.fits(operation, *given[1:4]) for given in ANSWERS for operation in Operation)
    ]
    assert unmet == []


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.statuses}{row.codes}{row.message[:20]}")
def test_no_row_fits_a_status_that_proves_nothing(row: object) -> None:
    fits = row.fits  # type: ignore[attr-defined]
    code, message = row.codes[0], row.message  # type: ignore[attr-defined]
    for status in (0, 200, 202, 302, 404, 408, 409, 410, 500, 502, 503, 504, 599):
        assert not any(fits(operation, status, code, message) for operation in Operation)


@pytest.mark.parametrize("code", [-1000, -1001, -1006, -1007, -1008])
def test_a_code_of_an_unknown_execution_is_never_a_refusal(code: int) -> None:
    for status in range(200, 600):
        for operation in Operation:
            assert classify(operation, status, code, "Account has insufficient") is Outcome.UNKNOWN


def test_200_counts_where_it_is_the_order_that_was_asked_about() -> None:
    done = {operation: classify(operation, 200, readable=True) for operation in Operation}
    assert done == {
        Operation.CREATE: Outcome.PLACED, Operation.CANCEL: Outcome.CANCELED, Operation.QUERY: Outcome.FOUND,
    }  # fmt: skip
    assert {classify(operation, 200) for operation in Operation} == {Outcome.UNKNOWN}


def test_only_a_query_proves_that_there_is_no_such_order() -> None:
    assert classify(Operation.CREATE, 400, -2013, "Order does not exist.") is Outcome.UNKNOWN
    assert classify(Operation.QUERY, 400, -2011, "Unknown order sent.") is Outcome.UNKNOWN
