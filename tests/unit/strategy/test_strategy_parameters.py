"""Parameters: what is taken, what is refused, and in which words."""

from decimal import Decimal

import pytest

from botd.domain.errors import InvalidError
from botd.strategy.parameters import (
    amount,
    boolean,
    check_parameters,
    choice,
    duration,
    duration_ms,
    duration_text,
    fraction,
    integer,
    number,
)

DECLARED = {"period": integer(14, low=2, high=500), "oversold": number(30, low=0, high=100)}


@pytest.mark.parametrize(
    ("parameter", "given", "value"),
    [
        (integer(14), "20", 20),
        (integer(14), 20, 20),
        (integer(14), 20.0, 20),
        (number(30), "27.5", 27.5),
        (number(30), Decimal("27.5"), 27.5),
        (amount(), "50000.10", Decimal("50000.10")),
        (amount(), 1e-5, Decimal("0.00001")),
        (fraction(0.03), "3%", 0.03),
        (fraction(0.03), " 0.5 % ", 0.005),
        (fraction(0.03), 0.03, 0.03),
        (duration("1h"), "90s", 90_000),
        (duration("1h"), "1.5h", 5_400_000),
        (boolean(False), "yes", True),
        (boolean(False), True, True),
        (choice("up", "down", default="up"), "down", "down"),
    ],
)
def test_text_and_json_give_the_same_value(parameter, given, value):
    parsed = parameter.parse("x", given)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize("given", ["nan", "inf", "-inf", float("nan"), float("inf"), "1e999", "1e999999999", "", "x"])
@pytest.mark.parametrize("parameter", [integer(5), number(5), amount(5), fraction(0.1)])
def test_what_is_not_a_finite_number_is_refused(parameter, given):
    with pytest.raises(InvalidError, match="x must be a"):
        parameter.parse("x", given)


@pytest.mark.parametrize(
    ("parameter", "given"),
    [
        (integer(14), "14.5"),
        (integer(14), True),
        (integer(14), None),
        (integer(14), [14]),
        (integer(14), "1_4"),
        (number(30), "30%"),
        (amount(), "0"),
        (amount(), "-5"),
        (duration("1h"), 60),
        (duration("1h"), "60"),
        (duration("1h"), "0s"),
        (duration("1h"), "1 fortnight"),
        (boolean(True), "maybe"),
        (boolean(True), 2),
        (choice("up", "down", default="up"), "left"),
        (choice("up", "down", default="up"), 1),
    ],
)
def test_values_of_the_wrong_kind_are_refused(parameter, given):
    with pytest.raises(InvalidError):
        parameter.parse("x", given)


def test_a_value_out_of_bounds_is_answered_with_the_bounds():
    with pytest.raises(InvalidError) as caught:
        check_parameters("strategy rsi", DECLARED, {"period": "1"})
    assert caught.value.message == "strategy rsi: period must be an integer from 2 to 500, not 1"


def test_an_unknown_name_is_answered_with_the_nearest_one():
    with pytest.raises(InvalidError) as caught:
        check_parameters("strategy rsi", DECLARED, {"perod": 14})
    assert caught.value.message == "strategy rsi: no parameter 'perod'; did you mean 'period'?"
    assert caught.value.hint == "parameters: period, oversold"


def test_a_required_parameter_must_be_given():
    with pytest.raises(InvalidError, match="strategy dca: amount is required"):
        check_parameters("strategy dca", {"amount": amount()}, {})


def test_what_is_not_given_has_its_default():
    assert check_parameters("strategy rsi", DECLARED, {"period": 7}) == {"period": 7, "oversold": 30.0}


@pytest.mark.parametrize(
    ("parameter", "given", "plain", "shown"),
    [
        (integer(14), "20", 20, "20"),
        (number(30), "30", 30, "30"),
        (number(30), "2.5", 2.5, "2.5"),
        (amount(), "0.00010000", "0.00010000", "0.00010000"),
        (amount(), "1e-5", "0.00001", "0.00001"),
        (fraction(0.03), "3%", 0.03, "3%"),
        (fraction(0.03), "0.125%", 0.00125, "0.125%"),
        (duration("1h"), "3600s", "1h", "1h"),
        (duration("1h"), "90m", "90m", "90m"),
        (boolean(True), "off", False, "false"),
    ],
)
def test_the_plain_form_is_one_for_all_spellings_and_reads_back(parameter, given, plain, shown):
    value = parameter.parse("x", given)
    assert parameter.plain(value) == plain
    assert parameter.show(value) == shown
    assert parameter.parse("x", parameter.plain(value)) == value


def test_bounds_are_told_in_the_words_of_the_kind():
    assert integer(5).expected() == "an integer"
    assert integer(5, low=1).expected() == "an integer of at least 1"
    assert fraction(0.1, high=0.5).expected() == "a fraction such as 3% or 0.03 of at most 50%"
    assert choice("up", "down").expected() == "one of up, down"


def test_durations_read_and_write():
    assert [duration_ms(text) for text in ("500ms", "1m", "1d")] == [500, 60_000, 86_400_000]
    assert [duration_text(ms) for ms in (500, 60_000, 129_600_000)] == ["500ms", "1m", "36h"]
    with pytest.raises(ValueError, match="whole number of milliseconds"):
        duration_ms("0.5ms")
